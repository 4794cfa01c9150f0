//! What nodes of the CAN bus run: their boot ROM, and the containers that masters broadcast.

use distribution::container::{Image, length, write};
use distribution::{Content, Module, VersionTag};
use emulator::rig::NodeGroup;
use image::{HEADER_SIZE, ImageHeader, Kind, Version};
use image_pack::Recipe;

use super::{Firmware, all, find};

/// The modules that nodes can be, in the order of their number.
pub const NODE_MODULES: [Module; 5] = [
    Module::Communication,
    Module::Work,
    Module::Xy,
    Module::Panel,
    Module::Drive,
];

/// The boot ROM of nodes with that version.
pub fn node_rom(version: &str) -> Option<&'static [u8]> {
    find(Kind::NodeRom, version).map(|firmware| firmware.bytes)
}

/// The image for one kind of module, or for all, with that version.
pub fn find_node(content: Content, version: &str) -> Option<&'static Firmware> {
    let mut nodes = all().iter().filter(|it| it.content == Some(content));
    nodes.find(|firmware| firmware.version == version)
}

/// A container with the images of all modules (CD28). A module that has no such build has the one without:
/// `2.0-crash` is 2.0 but where something crashes.
pub fn combined_image(version: &str) -> Option<Vec<u8>> {
    container(&NODE_MODULES.map(Content::Only), version)
}

/// The versions that a package of a controller can bring to nodes: [`node_library`].
pub fn node_versions() -> Vec<String> {
    let nodes = all()
        .iter()
        .filter_map(|it| Some((it.content?, it.version)));
    let mut versions: Vec<String> = nodes
        .map(|(content, version)| match content {
            Content::All => format!("{version}{COMMON}"),
            Content::Combined | Content::Only(_) => version.to_owned(),
        })
        .collect();
    versions.sort_unstable();
    versions.dedup();
    versions
}

/// What names the one image for all nodes instead of one for each type.
const COMMON: &str = "-common";

/// The image file that a package of a controller brings to nodes: a container is its body, which a controller
/// never runs. `2.0` has the images of all types, `2.0-common` the one for all.
pub fn node_library(version: &str) -> Option<Vec<u8>> {
    let container = match version.strip_suffix(COMMON) {
        Some(number) => common_image(number)?,
        None => combined_image(version)?,
    };
    let recipe = Recipe {
        kind: Kind::Node,
        version: version.parse().ok()?,
        load_address: 0,
        entry_offset: 0,
        components: &[],
    };
    image_pack::image(&recipe, &container).ok()
}

/// A container with the image of one module (CD29).
pub fn node_image(module: Module, version: &str) -> Option<Vec<u8>> {
    container(&[Content::Only(module)], version)
}

/// The container that the factory puts into the flash of the nodes of a group.
pub fn image_of_group(group: &NodeGroup) -> Option<Vec<u8>> {
    let module = u8::try_from(group.kind.code()).ok();
    node_image(Module::from_number(module?)?, &group.image)
}

/// A container with the one image that is for all nodes (CD35).
pub fn common_image(version: &str) -> Option<Vec<u8>> {
    container(&[Content::All], version)
}

fn container(contents: &[Content], version: &str) -> Option<Vec<u8>> {
    let (number, _build) = version.split_once('-').unwrap_or((version, ""));
    let mut images = Vec::new();
    let mut is_known = false;
    for content in contents {
        let exact = find_node(*content, version);
        is_known |= exact.is_some();
        images.push(part(exact.or_else(|| find_node(*content, number))?)?);
    }
    if !is_known {
        return None;
    }
    let mut bytes = vec![0; length(&images).ok()?];
    write(&images, &mut bytes).ok()?;
    Some(bytes)
}

fn part(firmware: &Firmware) -> Option<Image<'_>> {
    let header = ImageHeader::parse(firmware.bytes).ok()?;
    let version: Version = firmware.version.parse().ok()?;
    Some(Image {
        content: firmware.content?,
        version: VersionTag::from(&version),
        entry: header.entry_offset,
        bytes: firmware.bytes.get(HEADER_SIZE..)?,
    })
}

#[cfg(test)]
mod tests {
    use distribution::Contents;

    use super::*;

    /// Where a boot ROM puts images, and how much it takes.
    const LOAD: u32 = 0x3_0000;
    const ROOM: u32 = 0xb_0000;

    #[test]
    fn cd28_every_node_finds_its_image_in_a_combined_one() {
        for version in ["1.0", "2.0"] {
            let combined = combined_image(version).expect(version);
            let contents = Contents::check(&combined).expect(version);
            for module in NODE_MODULES {
                let part = contents.select(module).expect(version);
                assert_eq!(part.content, Content::Only(module));
                assert_eq!(part.version.to_string(), version);
                assert!(part.length < ROOM, "{module:?} {}", part.length);
                let firmware = find_node(Content::Only(module), version).expect(version);
                let header = ImageHeader::parse(firmware.bytes).expect(version);
                assert_eq!(header.load_address, LOAD, "{}", firmware.name);
                let alone = node_image(module, version).expect(version);
                let alone = Contents::check(&alone).expect(version);
                assert_eq!(alone.select(module).map(|it| it.crc), Some(part.crc));
            }
            assert!(contents.select(Module::Master).is_none());
        }
        assert_ne!(combined_image("1.0"), combined_image("2.0"));
        assert_eq!(combined_image("3.0"), None);
        assert_eq!(combined_image("2.0-nobody-has-this"), None);
    }

    #[test]
    fn cd35_every_node_finds_its_image_in_the_common_one() {
        for version in ["1.0", "2.0"] {
            let common = common_image(version).expect(version);
            let contents = Contents::check(&common).expect(version);
            for module in NODE_MODULES {
                let part = contents.select(module).expect(version);
                assert_eq!(part.content, Content::All);
                assert!(part.length < ROOM, "{module:?} {}", part.length);
            }
            assert!(contents.select(Module::Master).is_none());
        }
    }

    #[test]
    fn cd31_a_package_can_bring_whatever_is_listed() {
        let versions = node_versions();
        assert!(versions.iter().any(|version| version == "2.0-common"));
        for version in versions {
            let file = node_library(&version).expect(&version);
            let header = ImageHeader::parse(&file).expect(&version);
            assert_eq!(header.version.as_str(), version);
            assert!(Contents::check(&file[HEADER_SIZE..]).is_ok(), "{version}");
        }
    }

    #[test]
    fn the_boot_rom_ends_with_a_jump_and_its_sum() {
        let rom = node_rom("1.0").expect("built");
        assert_eq!(rom.get(rom.len() - 16), Some(&0xe9), "the reset vector");
        assert_eq!(node_rom("0.9"), None);
    }
}
