//! How a sector lies on a member disk: 512 bytes of data and a checksum behind them.
//!
//! Member disks are formatted with 520-byte sectors, as disks of arrays are, so that a sector
//! that rotted or tore is known from itself alone and costs no second write.

use std::borrow::Cow;
use std::ops::Deref;

use crc32fast::hash as crc32;
use serde::{Deserialize, Serialize};

use crate::block::SECTOR_BYTES;
use crate::medium::Chunk;

/// Bytes of a sector on a member disk.
pub const STORED_BYTES: usize = 520;

/// Sectors in a block: a chunk of a medium in memory, or of the cache.
pub(super) const BLOCK_SECTORS: u64 = 8;
/// Bytes of a block as it is stored.
pub(super) const STORED_BLOCK_BYTES: usize = 8 * STORED_BYTES;
/// Bytes of data in a block.
pub(super) const BLOCK_BYTES: usize = 8 * SECTOR_BYTES;

/// The CRC-32 of a sector of zeros. Checksums are kept as the difference to it, so that a disk
/// full of zeros is a disk full of good sectors and needs no initialisation.
const CRC_OF_ZEROS: u32 = 0xb2aa_7578;

/// Consecutive sectors as they are stored: part of a chunk that others may share, and that may be lent.
///
/// With a checksum being the difference to that of zeros, it is linear: the exclusive or of good
/// sectors, checksums included, is a good sector.
#[derive(Clone, Debug, Eq, Serialize, Deserialize)]
pub(super) struct Part<'a> {
    chunk: Cow<'a, Chunk>,
    /// First sector within the chunk.
    first: u8,
    count: u8,
}

/// The same, not lent.
pub(super) type Stored = Part<'static>;

impl<'a> Part<'a> {
    /// Part of a chunk: at most what there is.
    pub(super) fn of(chunk: Cow<'a, Chunk>, first: u64, count: u64) -> Part<'a> {
        let first = first.min(BLOCK_SECTORS);
        let count = count.min(BLOCK_SECTORS - first);
        let small = |n| u8::try_from(n).unwrap_or(0);
        Part {
            chunk,
            first: small(first),
            count: small(count),
        }
    }

    /// To keep.
    pub(super) fn into_stored(self) -> Stored {
        Part {
            chunk: Cow::Owned(self.chunk.into_owned()),
            first: self.first,
            count: self.count,
        }
    }

    /// How many sectors.
    pub(super) fn sectors(&self) -> u64 {
        self.count.into()
    }

    /// Sectors of it: at most what there is.
    pub(super) fn slice(&self, first: u64, count: u64) -> Part<'a> {
        let first = first.min(self.sectors());
        let count = count.min(self.sectors() - first);
        Part::of(self.chunk.clone(), u64::from(self.first) + first, count)
    }

    /// Leaves so many sectors and gives the rest, if there is one.
    pub(super) fn split_off(&mut self, count: u64) -> Option<Part<'a>> {
        let rest = self.sectors().checked_sub(count).filter(|rest| *rest > 0)?;
        let later = self.slice(count, rest);
        *self = self.slice(0, count);
        Some(later)
    }

    /// Whether this is all of its chunk.
    pub(super) fn is_whole_chunk(&self) -> bool {
        self.sectors() == BLOCK_SECTORS
    }

    /// The chunk that this is part of.
    pub(super) fn chunk(&self) -> &Chunk {
        &self.chunk
    }

    /// The chunk that this is part of, to be exchanged.
    pub(super) fn chunk_mut(&mut self) -> &mut Chunk {
        self.chunk.to_mut()
    }

    /// The chunk that this is part of.
    pub(super) fn into_chunk(self) -> Chunk {
        self.chunk.into_owned()
    }

    /// Its sectors one by one.
    pub(super) fn each(&self) -> &[[u8; STORED_BYTES]] {
        self.as_chunks().0
    }

    /// The data of each sector, whatever its checksum says.
    pub(super) fn data(&self) -> impl Iterator<Item = &[u8]> {
        self.each().iter().map(|stored| &stored[..SECTOR_BYTES])
    }

    /// The data of the first sector.
    pub(super) fn first_data(&self) -> &[u8] {
        self.data().next().unwrap_or_default()
    }

    /// Whether all are as they were written.
    pub(super) fn is_good(&self) -> bool {
        self.each().iter().all(is_good)
    }
}

impl Stored {
    /// Up to eight sectors of which the stored bytes are these.
    pub(super) fn from_bytes(bytes: &[u8]) -> Stored {
        let mut block = [0; STORED_BLOCK_BYTES];
        let whole = bytes.len().min(block.len());
        block[..whole].copy_from_slice(&bytes[..whole]);
        Part::of(
            Cow::Owned(Chunk::new(block)),
            0,
            (whole / STORED_BYTES) as u64,
        )
    }

    /// The sectors of a stretch of data, at most eight; the last one filled up with zeros.
    pub(super) fn seal(data: &[u8]) -> Stored {
        let mut chunk = Chunk::zeros();
        let sectors = data.len().div_ceil(SECTOR_BYTES).max(1) as u64;
        let (places, _) = chunk.bytes_mut().as_chunks_mut();
        for (place, data) in places.iter_mut().zip(data.chunks(SECTOR_BYTES)) {
            place[..data.len()].copy_from_slice(data);
            seal(place);
        }
        Part::of(Cow::Owned(chunk), 0, sectors)
    }

    /// A sector that reads as bad: what is put where the right content is beyond recovery.
    pub(super) fn bad() -> Stored {
        let mut bad = [0; STORED_BYTES];
        bad[SECTOR_BYTES..].fill(0xff);
        Stored::from_bytes(&bad)
    }
}

impl Deref for Part<'_> {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let at = |sector: u8| usize::from(sector) * STORED_BYTES;
        let end = at(self.first + self.count);
        self.chunk.get(at(self.first)..end).unwrap_or_default()
    }
}

impl PartialEq for Part<'_> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

/// Puts the checksum, and four bytes of zeros, behind the data of a sector.
pub(super) fn seal(stored: &mut [u8; STORED_BYTES]) {
    let (data, rest) = stored.split_at_mut(SECTOR_BYTES);
    rest.copy_from_slice(&trailer(data));
}

/// Whether a stored sector is as it was written.
pub(super) fn is_good(stored: &[u8; STORED_BYTES]) -> bool {
    let (data, rest) = stored.split_at(SECTOR_BYTES);
    *rest == trailer(data)
}

/// What stands behind the data.
fn trailer(data: &[u8]) -> [u8; STORED_BYTES - SECTOR_BYTES] {
    u64::from(crc32(data) ^ CRC_OF_ZEROS).to_le_bytes()
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
        assert!(!Stored::bad().is_good());
        let mut stored = [7; STORED_BYTES];
        seal(&mut stored);
        assert!(is_good(&stored));
        for bit in 0..STORED_BYTES * 8 {
            let mut rotten = stored;
            rotten[bit / 8] ^= 1 << (bit % 8);
            assert!(!is_good(&rotten), "bit {bit}");
        }
    }

    #[test]
    fn sums_of_good_sectors_are_good() {
        let [a, b] = [3, 77].map(|byte| Stored::seal(&[byte; 1024]));
        let sum: Vec<u8> = a.iter().zip(&*b).map(|(a, b)| a ^ b).collect();
        assert_eq!(Stored::from_bytes(&sum), Stored::seal(&[3 ^ 77; 1024]));
    }

    #[test]
    fn parts_of_parts_stay_within() {
        let stored = Stored::seal(&[1; 8 * SECTOR_BYTES]);
        assert!(stored.is_whole_chunk());
        let part = stored.slice(2, 4);
        assert_eq!((part.sectors(), part.slice(3, 9).sectors()), (4, 1));
        assert_eq!(
            *part.slice(1, 2),
            stored[3 * STORED_BYTES..5 * STORED_BYTES]
        );
        assert_eq!(part.slice(9, 1).sectors(), 0);
    }
}
