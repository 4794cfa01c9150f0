//! The journal: what closes the write hole.
//!
//! A row is more than one write, and power can go between two of them. So all sectors that
//! belong together are first written, with their addresses, to the journal of several members (one
//! more than may fail), then to their places. The entry is replayed at power-on: that is harmless
//! when it was complete and finishes it when it was not. An entry that is itself cut has a wrong
//! checksum and is as if it had never been begun.

use std::collections::BTreeMap;

use super::drive::{Drive, Run};
use super::geometry::{JOURNAL_SECTOR, JOURNAL_SECTORS};
use super::sector::{self, STORED_BYTES};
use crate::block::SECTOR_BYTES;

const MAGIC: [u8; 8] = *b"ABJOURN\x01";
/// Magic, array, sequence, bytes and checksum of what follows.
const HEADER_BYTES: usize = 8 + 8 + 8 + 8 + 4;
/// Slot and sector of a stored sector, and the sector.
const ITEM_BYTES: usize = 2 + 8 + STORED_BYTES;

/// Sectors of members, by (slot, sector), as they are stored.
pub(super) type Writes = BTreeMap<(usize, u64), Vec<u8>>;

/// Most stored sectors in one entry.
pub(super) fn most_sectors() -> usize {
    let bytes = usize::try_from(JOURNAL_SECTORS).unwrap_or(0) * SECTOR_BYTES;
    (bytes - HEADER_BYTES) / ITEM_BYTES
}

/// A journal entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) sequence: u64,
    pub(super) writes: Writes,
}

impl Entry {
    /// The write that puts it into the journal of a member.
    pub(super) fn run(&self, array_id: u64) -> Run {
        let mut body = Vec::new();
        for ((slot, sector), stored) in &self.writes {
            body.extend(u16::try_from(*slot).unwrap_or(u16::MAX).to_le_bytes());
            body.extend(sector.to_le_bytes());
            body.extend(stored);
        }
        let mut bytes = MAGIC.to_vec();
        bytes.extend(array_id.to_le_bytes());
        bytes.extend(self.sequence.to_le_bytes());
        bytes.extend(u32::try_from(body.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend(checksum(array_id, self.sequence, &body).to_le_bytes());
        bytes.extend(body);
        Run {
            sector: JOURNAL_SECTOR,
            stored: bytes.chunks(SECTOR_BYTES).flat_map(sector::seal).collect(),
        }
    }

    /// The entry in the journal of a drive, if it is whole.
    pub(super) fn of(drive: &Drive, array_id: u64) -> Option<Entry> {
        let first = drive.stored(JOURNAL_SECTOR)?;
        let (header, _) = sector::data(&first).split_at_checked(HEADER_BYTES)?;
        let (magic, rest) = header.split_first_chunk::<8>()?;
        let (array, rest) = rest.split_first_chunk::<8>()?;
        let (sequence, rest) = rest.split_first_chunk::<8>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (sum, _) = rest.split_first_chunk::<8>()?;
        let sequence = u64::from_le_bytes(*sequence);
        let length = usize::try_from(u32::from_le_bytes(*length)).ok()?;
        if *magic != MAGIC
            || u64::from_le_bytes(*array) != array_id
            || length > most_sectors() * ITEM_BYTES
            || !length.is_multiple_of(ITEM_BYTES)
        {
            return None;
        }
        let sectors = (HEADER_BYTES + length).div_ceil(SECTOR_BYTES) as u64;
        let mut bytes = Vec::new();
        for sector in 0..sectors {
            bytes.extend(sector::data(&drive.stored(JOURNAL_SECTOR + sector)?));
        }
        let body = bytes.get(HEADER_BYTES..HEADER_BYTES + length)?;
        if checksum(array_id, sequence, body) != u64::from_le_bytes(*sum) {
            return None;
        }
        let mut writes = Writes::new();
        for item in body.chunks(ITEM_BYTES) {
            let (slot, rest) = item.split_first_chunk::<2>()?;
            let (sector, stored) = rest.split_first_chunk::<8>()?;
            let slot = usize::from(u16::from_le_bytes(*slot));
            writes.insert((slot, u64::from_le_bytes(*sector)), stored.to_vec());
        }
        Some(Entry { sequence, writes })
    }
}

/// Over array, sequence and body, so that no mixture of two entries passes for one: FNV-1a with 64
/// bits. Not a CRC: the body consists of sectors that end with their own CRC, and to the CRC of
/// the whole any such sector is as good as any other.
fn checksum(array_id: u64, sequence: u64, body: &[u8]) -> u64 {
    let head = [array_id.to_le_bytes(), sequence.to_le_bytes()].concat();
    let step = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    head.iter().chain(body).fold(0xcbf2_9ce4_8422_2325, step)
}

/// Groups sectors into one write per stretch of consecutive ones on a member.
pub(super) fn runs(writes: &Writes) -> Vec<(usize, Run)> {
    let mut runs: Vec<(usize, Run)> = Vec::new();
    for ((slot, sector), stored) in writes {
        let end = |run: &Run| run.sector + (run.stored.len() / STORED_BYTES) as u64;
        match runs.last_mut() {
            Some((last, run)) if *last == *slot && end(run) == *sector => {
                run.stored.extend(stored);
            }
            _ => runs.push((
                *slot,
                Run {
                    sector: *sector,
                    stored: stored.clone(),
                },
            )),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::medium::Medium;

    fn entry(sequence: u64, sectors: usize) -> Entry {
        let stored =
            |n: usize| sector::seal(&(n as u64 + sequence * 1000).to_le_bytes().repeat(64));
        let address = |n: usize| (n % 3, 1000 + n as u64 / 3);
        Entry {
            sequence,
            writes: (0..sectors).map(|n| (address(n), stored(n))).collect(),
        }
    }

    #[test]
    fn the_greatest_entry_fits_and_reads_back() {
        let mut drive = Drive::new(Medium::memory(100_000, 0));
        assert_eq!(Entry::of(&drive, 7), None);
        for sectors in [0, 1, most_sectors()] {
            let entry = entry(3, sectors);
            let run = entry.run(7);
            assert!(run.stored.len() / STORED_BYTES <= 128);
            drive.put(&run);
            assert_eq!(Entry::of(&drive, 7), Some(entry));
            assert_eq!(Entry::of(&drive, 8), None, "of another array");
        }
    }

    #[test]
    fn an_entry_cut_anywhere_is_none() {
        let (old, new) = (entry(3, 9).run(7), entry(4, 9).run(7));
        for cut in (0..new.stored.len()).step_by(STORED_BYTES / 4) {
            let mut drive = Drive::new(Medium::memory(100_000, 0));
            drive.put(&old);
            let mut part = new.clone();
            part.stored.truncate(cut);
            drive.put(&part);
            let found = Entry::of(&drive, 7);
            // The last sector is only partly used: the entry may be whole before its write is.
            let whole = cut + STORED_BYTES > new.stored.len();
            assert!(
                match found {
                    Some(found) if cut == 0 => found == entry(3, 9),
                    Some(found) => whole && found == entry(4, 9),
                    None => cut > 0,
                },
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn consecutive_sectors_are_one_run() {
        let runs = runs(&entry(1, 9).writes);
        let shape: Vec<(usize, u64, usize)> = runs
            .iter()
            .map(|(slot, run)| (*slot, run.sector, run.stored.len() / STORED_BYTES))
            .collect();
        assert_eq!(shape, [(0, 1000, 3), (1, 1000, 3), (2, 1000, 3)]);
    }
}
