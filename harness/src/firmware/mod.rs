//! The reference firmware, built and packed when this program was (`harness/build`).

mod nodes;

use distribution::{Content, Module};
use image::Kind;

pub use nodes::{
    NODE_MODULES, combined_image, common_image, find_node, image_of_group, node_image,
    node_library, node_rom, node_versions,
};

/// One build of one level, or of what a node runs.
#[derive(Clone, Copy, Debug)]
pub struct Firmware {
    /// Name of its binary target: `l1`, `l2-1-0`, `l3-2-0-crash`, `node-rom-1-0`, `node-1-0-drive`.
    pub name: &'static str,
    /// Its level.
    pub kind: Kind,
    /// Its version, as in its header.
    pub version: &'static str,
    /// Which nodes an image is for; nothing where it is none of a node.
    pub content: Option<Content>,
    /// Of a ROM its contents, of all else an unsigned image file.
    pub bytes: &'static [u8],
    functions: &'static [(u64, u64, &'static str)],
}

static TABLE: &[Firmware] = include!(concat!(env!("OUT_DIR"), "/firmware_table.rs"));

/// Every build of every level and of nodes, ROMs first, each level by name.
pub fn all() -> &'static [Firmware] {
    TABLE
}

/// The build of `kind` with that version. Of nodes' images there is one for each type: [`find_node`].
pub fn find(kind: Kind, version: &str) -> Option<&'static Firmware> {
    TABLE.iter().find(|firmware| {
        firmware.kind == kind && firmware.version == version && firmware.content.is_none()
    })
}

impl Firmware {
    /// Start, length and name of every function, by address.
    pub fn functions(&self) -> &'static [(u64, u64, &'static str)] {
        self.functions
    }

    /// The function that `address` is in, and how far in: what a crash report shows. Right only for
    /// a board that runs this very build.
    pub fn function_at(&self, address: u64) -> Option<(&'static str, u64)> {
        let after = self
            .functions
            .partition_point(|(start, ..)| *start <= address);
        let (start, length, name) = self.functions.get(after.checked_sub(1)?)?;
        let offset = address - start;
        (offset < *length).then_some((*name, offset))
    }
}

#[cfg(test)]
mod tests {
    use image::ImageHeader;

    use super::*;

    #[test]
    fn every_level_has_its_builds_and_each_is_what_it_says() {
        for firmware in all() {
            let Firmware {
                name,
                kind,
                version,
                bytes,
                ..
            } = *firmware;
            let found = match firmware.content {
                Some(content) => find_node(content, version),
                None => find(kind, version),
            };
            assert_eq!(found.map(|found| found.name), Some(name));
            let rom_bytes = match kind {
                Kind::L1 => Some(0x1_0000),
                Kind::NodeRom if version == "1.0-resident" => Some(0x1_0000),
                Kind::NodeRom => Some(0x4000),
                _ => None,
            };
            if let Some(rom_bytes) = rom_bytes {
                assert_eq!(bytes.len(), rom_bytes);
                continue;
            }
            let header = ImageHeader::parse(bytes).expect(name);
            assert_eq!((header.kind, header.version.as_str()), (kind, version));
            assert_eq!(header.total_length(), bytes.len() as u64, "{name}");
        }
        for version in ["1.0", "1.1", "2.0"] {
            assert!(find(Kind::L2, version).is_some(), "L2 {version}");
        }
    }

    #[test]
    fn addresses_resolve_to_functions() {
        let l2 = find(Kind::L2, "1.0").expect("built");
        let named = |part: &str| {
            l2.functions
                .iter()
                .find(|(.., name)| name.contains(part))
                .copied()
        };
        let (start, length, name) = named("l2::run").expect("its main function");
        assert_eq!(l2.function_at(start), Some((name, 0)));
        assert_eq!(l2.function_at(start + length - 1), Some((name, length - 1)));
        assert_ne!(
            l2.function_at(start + length).map(|found| found.0),
            Some(name)
        );
        assert_eq!(l2.function_at(0), None);
    }
}
