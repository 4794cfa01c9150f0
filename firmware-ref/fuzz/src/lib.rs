//! What the fuzz targets share: good bytes with changes. Bytes out of nowhere end at the first magic
//! number or checksum; what is behind them is reached by changing what is good, and sealing it again.

use arbitrary::Arbitrary;
use image::{Kind, MANIFEST_SIZE};
use image_pack::{Recipe, image, package};

/// CRC-32 at the end of image headers and manifests.
const SEAL: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

/// Where bytes become others.
#[derive(Clone, Debug, Arbitrary)]
pub struct Change {
    at: u16,
    to: Vec<u8>,
}

/// Makes the changes that are inside.
pub fn change(bytes: &mut [u8], changes: &[Change]) {
    for Change { at, to } in changes {
        let at = usize::from(*at) % bytes.len().max(1);
        let room = bytes.get_mut(at..).unwrap_or_default();
        for (place, byte) in room.iter_mut().zip(to) {
            *place = *byte;
        }
    }
}

/// Seals the header or manifest of `length` bytes that `bytes` begin with.
pub fn seal(bytes: &mut [u8], length: usize) {
    if let Some(head) = bytes.get_mut(..length) {
        let crc = SEAL.checksum(&head[..length - 4]);
        head[length - 4..].copy_from_slice(&crc.to_le_bytes());
    }
}

/// A good image.
pub fn good_image(kind: Kind) -> Vec<u8> {
    let load_address = match kind {
        Kind::L2 => 0x10_0000,
        _ => 0x20_0000,
    };
    let recipe = Recipe {
        kind,
        version: "2.0".parse().expect("a version"),
        load_address,
        entry_offset: 16,
        components: &[],
    };
    image(&recipe, &[0x90; 700]).expect("a good recipe")
}

/// A good package of both levels.
pub fn good_package() -> Vec<u8> {
    let images = [Kind::L2, Kind::L3].map(good_image);
    let images: Vec<&[u8]> = images.iter().map(Vec::as_slice).collect();
    package("2.0".parse().expect("a version"), &images).expect("good images")
}

/// Bytes of a manifest.
pub const MANIFEST: usize = MANIFEST_SIZE;
