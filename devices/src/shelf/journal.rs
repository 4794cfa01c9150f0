//! The journal: what closes the write hole.
//!
//! A row is more than one write, and power can go between two of them. So all sectors that
//! belong together are first written, with their addresses, to the journal of several members (one
//! more than may fail), then to their places. The entry is replayed at power-on: that is harmless
//! when it was complete and finishes it when it was not. An entry that is itself cut has a wrong
//! checksum and is as if it had never been begun.

use serde::{Deserialize, Serialize};

use super::drive::{Drive, Run};
use super::geometry::{JOURNAL_SECTOR, JOURNAL_SECTORS};
use super::sector::{BLOCK_BYTES, STORED_BYTES, Stored};
use crate::block::SECTOR_BYTES;
use crate::power::mix;

const MAGIC: [u8; 8] = *b"ABJOURN\x02";
/// Magic, array, sequence, bytes and checksum of what follows.
const HEADER_BYTES: usize = 8 + 8 + 8 + 8 + 4;
/// Slot and sector of a stored sector, and the sector.
const ITEM_BYTES: usize = 2 + 8 + STORED_BYTES;

/// Sectors of members, as they are stored: in order of slot and sector, none twice.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Writes(Vec<Write>);

/// Consecutive sectors of a slot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Write {
    pub(super) slot: usize,
    pub(super) sector: u64,
    pub(super) stored: Stored,
}

impl Writes {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn sectors(&self) -> u64 {
        self.0.iter().map(|write| write.stored.sectors()).sum()
    }

    pub(super) fn iter(&self) -> std::slice::Iter<'_, Write> {
        self.0.iter()
    }

    /// Keeps those of which `keep` says so.
    pub(super) fn retain(&mut self, keep: impl FnMut(&Write) -> bool) {
        self.0.retain(keep);
    }

    /// The first write that ends behind a sector of a slot.
    fn first_behind(&self, slot: usize, sector: u64) -> Option<&Write> {
        let before = |write: &Write| (write.slot, write.end()) <= (slot, sector);
        self.0.get(self.0.partition_point(before))
    }

    /// Whether any of so many sectors of a slot is to be written.
    pub(super) fn touch(&self, slot: usize, sector: u64, sectors: u64) -> bool {
        let first = self.first_behind(slot, sector);
        first.is_some_and(|write| {
            write.slot == slot && write.sector < sector.saturating_add(sectors)
        })
    }

    /// Sectors of a slot, where all are to be written by one write.
    pub(super) fn get(&self, slot: usize, sector: u64, sectors: u64) -> Option<Stored> {
        let write = self.first_behind(slot, sector)?;
        let skip = sector.checked_sub(write.sector)?;
        let there = write.slot == slot && sector.saturating_add(sectors) <= write.end();
        there.then(|| write.stored.slice(skip, sectors))
    }

    /// One write per stretch of consecutive sectors on a member.
    pub(super) fn runs(&self) -> Vec<(usize, Run)> {
        let follows = |a: &Write, b: &Write| (a.slot, a.end()) == (b.slot, b.sector);
        let stretches = self.0.chunk_by(follows);
        // To share one changes its count, and waits for it: better for all of them at once.
        self.0.iter().for_each(|write| write.stored.chunk().fetch());
        let run = |stretch: &[Write]| {
            let Write { slot, sector, .. } = *stretch.first()?;
            let pieces = stretch.iter().map(|write| write.stored.clone());
            let pieces = pieces.collect();
            Some((slot, Run { sector, pieces }))
        };
        stretches.filter_map(run).collect()
    }
}

impl Write {
    fn end(&self) -> u64 {
        self.sector.saturating_add(self.stored.sectors())
    }
}

impl FromIterator<Write> for Writes {
    /// No two may share a sector.
    fn from_iter<I: IntoIterator<Item = Write>>(writes: I) -> Writes {
        let mut writes: Vec<Write> = writes.into_iter().collect();
        writes.sort_by_key(|write| (write.slot, write.sector));
        Writes(writes)
    }
}

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
        let sectors = usize::try_from(self.writes.sectors()).unwrap_or(0);
        let mut bytes = Vec::with_capacity(HEADER_BYTES + sectors * ITEM_BYTES);
        bytes.extend([0; HEADER_BYTES]);
        for write in self.writes.iter() {
            for (sector, stored) in (write.sector..).zip(write.stored.each()) {
                bytes.extend(u16::try_from(write.slot).unwrap_or(u16::MAX).to_le_bytes());
                bytes.extend(sector.to_le_bytes());
                bytes.extend(stored);
            }
        }
        let (header, body) = bytes.split_at_mut(HEADER_BYTES);
        let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
        let sum = checksum(array_id, self.sequence, body).to_le_bytes();
        let [array, sequence] = [array_id, self.sequence].map(u64::to_le_bytes);
        let fields = [&MAGIC, &array, &sequence, &length.to_le_bytes()[..], &sum];
        header.copy_from_slice(&fields.concat());
        let pieces = bytes.chunks(BLOCK_BYTES);
        Run {
            sector: JOURNAL_SECTOR,
            pieces: pieces.map(Stored::seal).collect(),
        }
    }

    /// The entry in the journal of a drive, if it is whole.
    pub(super) fn of(drive: &Drive, array_id: u64) -> Option<Entry> {
        let first = drive.stored(JOURNAL_SECTOR, 1)?;
        let (header, _) = first.first_data().split_at_checked(HEADER_BYTES)?;
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
            bytes.extend(drive.stored(JOURNAL_SECTOR + sector, 1)?.first_data());
        }
        let body = bytes.get(HEADER_BYTES..HEADER_BYTES + length)?;
        if checksum(array_id, sequence, body) != u64::from_le_bytes(*sum) {
            return None;
        }
        let write = |item: &[u8]| {
            let (slot, rest) = item.split_first_chunk::<2>()?;
            let (sector, stored) = rest.split_first_chunk::<8>()?;
            let slot = usize::from(u16::from_le_bytes(*slot));
            let sector = u64::from_le_bytes(*sector);
            let stored = Stored::from_bytes(stored);
            Some(Write {
                slot,
                sector,
                stored,
            })
        };
        let mut writes: Writes = body.chunks(ITEM_BYTES).map(write).collect::<Option<_>>()?;
        // Whoever made this entry may have named a sector twice.
        writes.0.dedup_by_key(|write| (write.slot, write.sector));
        Some(Entry { sequence, writes })
    }
}

/// Over array, sequence and body, so that no mixture of two entries passes for one. Not a CRC: the
/// body consists of sectors that end with their own CRC, and to the CRC of the whole any such sector is
/// as good as any other. Four sums side by side, each a word at a time, because a journal is written
/// for everything that is written.
fn checksum(array_id: u64, sequence: u64, body: &[u8]) -> u64 {
    let mut sums = [array_id, sequence, body.len() as u64, 0];
    let mut add = |block: &[u8; 32]| {
        let (words, _) = block.as_chunks::<8>();
        for (sum, word) in sums.iter_mut().zip(words) {
            let mixed = (*sum ^ u64::from_le_bytes(*word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            *sum = mixed.rotate_left(29);
        }
    };
    let (blocks, rest) = body.as_chunks::<32>();
    blocks.iter().for_each(&mut add);
    let mut last = [0; 32];
    last[..rest.len()].copy_from_slice(rest);
    add(&last);
    sums.into_iter().fold(0, mix)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::medium::Medium;
    use crate::shelf::sector::stored_address;

    fn entry(sequence: u64, sectors: usize) -> Entry {
        let write = |n: usize| Write {
            slot: n % 3,
            sector: 1000 + n as u64 / 3,
            stored: Stored::seal(&(n as u64 + sequence * 1000).to_le_bytes().repeat(64)),
        };
        Entry {
            sequence,
            writes: (0..sectors).map(write).collect(),
        }
    }

    #[test]
    fn the_greatest_entry_fits_and_reads_back() {
        let mut drive = Drive::new(Medium::memory(100_000, 0));
        assert_eq!(Entry::of(&drive, 7), None);
        for sectors in [0, 1, most_sectors()] {
            let entry = entry(3, sectors);
            let run = entry.run(7);
            assert!(run.sectors() <= 128);
            drive.put(&run);
            assert_eq!(Entry::of(&drive, 7), Some(entry));
            assert_eq!(Entry::of(&drive, 8), None, "of another array");
        }
    }

    #[test]
    fn an_entry_cut_anywhere_is_none() {
        let (old, new) = (entry(3, 9).run(7), entry(4, 9).run(7));
        let bytes: Vec<u8> = new.pieces.iter().flat_map(|piece| piece.to_vec()).collect();
        for cut in (0..bytes.len()).step_by(STORED_BYTES / 4) {
            let mut medium = Medium::memory(100_000, 0);
            let mut drive = Drive::new(medium.clone());
            drive.put(&old);
            std::mem::swap(&mut drive.medium, &mut medium);
            medium
                .write(stored_address(JOURNAL_SECTOR), &bytes[..cut])
                .unwrap();
            drive.medium = medium;
            let found = Entry::of(&drive, 7);
            // The last sector is only partly used: the entry may be whole before its write is.
            let whole = cut + STORED_BYTES > bytes.len();
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
    fn every_word_of_the_body_counts_and_so_does_its_place() {
        let body: Vec<u8> = (0..=255).chain(0..44).collect();
        let sum = checksum(1, 2, &body);
        for byte in 0..body.len() {
            let mut other = body.clone();
            other[byte] ^= 1;
            assert_ne!(checksum(1, 2, &other), sum, "byte {byte}");
        }
        let mut other = body.clone();
        other.swap_with_slice(&mut [&body[32..64], &body[..32], &body[64..]].concat());
        assert_ne!(checksum(1, 2, &other), sum);
        assert_ne!(checksum(1, 2, &[&body[..], &[0]].concat()), sum);
        assert_ne!(checksum(2, 1, &body), sum);
    }

    #[test]
    fn consecutive_sectors_are_one_run() {
        let runs = entry(1, 9).writes.runs();
        let shape: Vec<(usize, u64, u64)> = runs
            .iter()
            .map(|(slot, run)| (*slot, run.sector, run.sectors()))
            .collect();
        assert_eq!(shape, [(0, 1000, 3), (1, 1000, 3), (2, 1000, 3)]);
    }

    #[test]
    fn writes_are_found_by_what_they_touch() {
        let stored = Stored::seal(&[5; 2048]);
        let write = |slot, sector| Write {
            slot,
            sector,
            stored: stored.clone(),
        };
        let writes: Writes = [write(1, 10), write(1, 14), write(0, 12)]
            .into_iter()
            .collect();
        let touched = |slot, sector, sectors| writes.touch(slot, sector, sectors);
        assert!(touched(1, 8, 3) && touched(1, 17, 5) && touched(0, 0, 99) && touched(0, 15, 1));
        assert!(
            !touched(1, 8, 2) && !touched(1, 18, 5) && !touched(0, 16, 9) && !touched(2, 0, 99)
        );
        assert_eq!(writes.get(1, 15, 2), Some(stored.slice(1, 2)));
        assert_eq!(writes.get(1, 13, 2), None, "of two writes");
        assert_eq!(writes.get(1, 9, 1), None);
    }
}
