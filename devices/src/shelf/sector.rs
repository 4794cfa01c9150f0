//! How a sector lies on a member disk: 512 bytes of data and a checksum behind them.
//!
//! Member disks are formatted with 520-byte sectors, as disks of arrays are, so that a sector
//! that rotted or tore is known from itself alone and costs no second write.

use std::sync::Arc;

use crc32fast::hash as crc32;

use crate::block::SECTOR_BYTES;

/// Bytes of a sector on a member disk.
pub const STORED_BYTES: usize = 520;

/// The data of one sector.
pub(super) type Block = Arc<[u8]>;

/// The CRC-32 of a sector of zeros. Checksums are kept as the difference to it, so that a disk
/// full of zeros is a disk full of good sectors and needs no initialisation.
const CRC_OF_ZEROS: u32 = 0xb2aa_7578;

/// The stored form of one sector: data, checksum, four bytes of zeros. Shorter data is filled up
/// with zeros.
pub(super) fn seal(data: &[u8]) -> Vec<u8> {
    let mut stored = data.to_vec();
    stored.resize(SECTOR_BYTES, 0);
    let checksum = crc32(&stored) ^ CRC_OF_ZEROS;
    stored.extend(checksum.to_le_bytes());
    stored.resize(STORED_BYTES, 0);
    stored
}

/// A stored sector that reads as bad: what is put where the right content is beyond recovery.
pub(super) fn bad_sector() -> Vec<u8> {
    let mut stored = seal(&[]);
    if let Some(checksum) = stored.get_mut(SECTOR_BYTES..) {
        checksum.fill(0xff);
    }
    stored
}

/// The data of a stored sector, whatever its checksum says.
pub(super) fn data(stored: &[u8]) -> &[u8] {
    stored.get(..SECTOR_BYTES).unwrap_or_default()
}

/// Whether a stored sector is as it was written.
pub(super) fn is_good(stored: &[u8]) -> bool {
    let Some((data, rest)) = stored.split_at_checked(SECTOR_BYTES) else {
        return false;
    };
    let checksum = u64::from(crc32(data) ^ CRC_OF_ZEROS);
    *rest == checksum.to_le_bytes()
}

/// Where a sector begins on a member disk.
pub(super) fn stored_address(sector: u64) -> u64 {
    sector.saturating_mul(STORED_BYTES as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_value_of_crc_32() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(&[0; SECTOR_BYTES]), CRC_OF_ZEROS);
    }

    #[test]
    fn zeros_are_good_and_every_flipped_bit_is_bad() {
        assert!(is_good(&[0; STORED_BYTES]));
        assert!(!is_good(&bad_sector()));
        let stored = seal(&[7; SECTOR_BYTES]);
        assert!(is_good(&stored));
        for bit in 0..STORED_BYTES * 8 {
            let mut rotten = stored.clone();
            rotten[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_good(&rotten), "bit {bit}");
        }
    }
}
