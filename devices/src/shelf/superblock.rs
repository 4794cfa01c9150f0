//! What every member says of itself and of the array: two copies at its beginning.
//!
//! An update overwrites the copy that is older or bad, so that however often it is cut, the newest
//! good one stays.

use serde::{Deserialize, Serialize};

use super::drive::{Drive, Run};
use super::geometry::{Geometry, SUPERBLOCK_COPIES, SUPERBLOCK_SECTOR};
use super::sector::Stored;

/// First bytes of a superblock; the last one is its version.
const MAGIC: [u8; 8] = *b"ABSHELF\x01";
/// Most members of an array: what fits into a superblock.
pub(super) const MOST_MEMBERS: usize = 32;

/// A superblock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Superblock {
    pub(super) array_id: u64,
    /// Grows with every change; the highest is the truth.
    pub(super) generation: u64,
    /// Journal entries before this one are history and must not be replayed.
    pub(super) journal_floor: u64,
    pub(super) level: u8,
    pub(super) slot: u8,
    pub(super) chunk_sectors: u64,
    pub(super) rows: u64,
    /// Rows of this member that are good: all of them unless it is being rebuilt.
    pub(super) rebuilt_rows: u64,
    /// Per slot, the generation in which its member joined; 0 where the slot is empty. A
    /// member whose own entry differs from the newest one was out of the array and is stale.
    pub(super) joined: Vec<u64>,
}

impl Superblock {
    /// The write that puts it on a drive.
    pub(super) fn run(&self, drive: &Drive) -> Run {
        let mut bytes = MAGIC.to_vec();
        let members = u8::try_from(self.joined.len()).unwrap_or(u8::MAX);
        bytes.extend([self.level, self.slot, members, 0, 0, 0, 0, 0]);
        let numbers = [
            self.array_id,
            self.generation,
            self.journal_floor,
            self.chunk_sectors,
            self.rows,
            self.rebuilt_rows,
        ];
        for number in numbers.iter().chain(&self.joined) {
            bytes.extend(number.to_le_bytes());
        }
        let newest = Superblock::newest(drive).map(|(sector, _)| sector);
        let copies = SUPERBLOCK_SECTOR..SUPERBLOCK_SECTOR + SUPERBLOCK_COPIES;
        Run {
            sector: copies
                .into_iter()
                .find(|sector| Some(*sector) != newest)
                .unwrap_or(SUPERBLOCK_SECTOR),
            pieces: vec![Stored::seal(&bytes)],
        }
    }

    /// The newest good superblock of a drive.
    pub(super) fn of(drive: &Drive) -> Option<Superblock> {
        Superblock::newest(drive).map(|(_, superblock)| superblock)
    }

    /// The same, and in which sector it is.
    fn newest(drive: &Drive) -> Option<(u64, Superblock)> {
        let good = |sector| {
            let stored = drive.stored(sector, 1)?;
            let data = stored.is_good().then(|| stored.first_data())?;
            Some((sector, Superblock::parse(data)?))
        };
        (SUPERBLOCK_SECTOR..SUPERBLOCK_SECTOR + SUPERBLOCK_COPIES)
            .filter_map(good)
            .max_by_key(|(_, superblock)| superblock.generation)
    }

    fn parse(bytes: &[u8]) -> Option<Superblock> {
        let (magic, rest) = bytes.split_first_chunk::<8>()?;
        let (&[level, slot, members, ..], rest) = rest.split_first_chunk::<8>()?;
        if *magic != MAGIC || usize::from(members) > MOST_MEMBERS {
            return None;
        }
        let (words, _) = rest.as_chunks::<8>();
        let mut numbers = words.iter().map(|word| u64::from_le_bytes(*word));
        Some(Superblock {
            level,
            slot,
            array_id: numbers.next()?,
            generation: numbers.next()?,
            journal_floor: numbers.next()?,
            chunk_sectors: numbers.next()?,
            rows: numbers.next()?,
            rebuilt_rows: numbers.next()?,
            joined: numbers.take(usize::from(members)).collect(),
        })
    }

    /// Whether it is one of this array.
    pub(super) fn belongs_to(&self, geometry: &Geometry, array_id: u64) -> bool {
        self.array_id == array_id
            && self.level == geometry.level.number()
            && self.joined.len() == geometry.members
            && self.chunk_sectors == geometry.chunk_sectors
            && self.rows == geometry.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::medium::Medium;
    use crate::power::{PowerLoss, Shape};
    use crate::shelf::pool::Pool;
    use crate::shelf::settings::DiskTiming;
    use crate::time::Nanos;

    fn superblock(generation: u64) -> Superblock {
        Superblock {
            array_id: 7,
            generation,
            journal_floor: 3,
            level: 6,
            slot: 2,
            chunk_sectors: 128,
            rows: 1000,
            rebuilt_rows: 12,
            joined: (0..MOST_MEMBERS as u64).collect(),
        }
    }

    #[test]
    fn written_and_read_is_the_same() {
        let mut drive = Drive::new(Medium::memory(65_536, 0));
        assert_eq!(Superblock::of(&drive), None);
        drive.put(&superblock(5).run(&drive));
        assert_eq!(Superblock::of(&drive), Some(superblock(5)));
    }

    #[test]
    fn cut_writes_leave_the_newest_good_one() {
        let timing = DiskTiming {
            read: Nanos(1),
            write: Nanos(1),
            byte: Nanos(5),
            cache: Nanos(1),
        };
        for shape in Shape::ALL {
            let mut drive = Drive::new(Medium::memory(65_536, 0));
            drive.put(&superblock(5).run(&drive));
            let mut expected = 5;
            for generation in 6..20 {
                let run = superblock(generation).run(&drive);
                drive.write(run, Nanos(0));
                drive.step(0, Nanos(0), timing, &mut Pool::default(), &mut Vec::new());
                let (now, seed) = (Nanos(1), generation);
                drive.power_lost(0, PowerLoss { now, shape, seed });
                if shape == Shape::Done {
                    expected = generation;
                }
                assert_eq!(Superblock::of(&drive), Some(superblock(expected)));
            }
        }
    }
}
