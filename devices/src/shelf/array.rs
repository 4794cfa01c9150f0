//! The shelf itself: what it consists of and how its rows are read.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::commit::{Cache, Rounds};
use super::drive::Drive;
use super::engine::Activity;
use super::geometry::{Geometry, Level, Place};
use super::redundancy::{self, Images};
use super::requests::{Port, Waiter};
use super::scrub::Scrub;
use super::sector;
use super::settings::{ShelfError, ShelfSettings};
use super::superblock::{MOST_MEMBERS, Superblock};
use crate::block::SECTOR_BYTES;
use crate::medium::Medium;
use crate::time::Nanos;

/// The place of a member in the array.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Slot {
    /// Which drive is in it.
    pub(super) drive: Option<usize>,
    /// The generation in which it joined.
    pub(super) joined: u64,
    /// Rows that are good on it.
    pub(super) rebuilt: u64,
}

/// A RAID array of member disks with spares, seen as one volume through any number of ports.
///
/// Drives are numbered as they were given: members first, then spares. A spare that took the
/// place of a member keeps its own number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Shelf {
    pub(super) settings: ShelfSettings,
    pub(super) geometry: Geometry,
    pub(super) drives: Vec<Drive>,
    pub(super) slots: Vec<Slot>,
    pub(super) powered: bool,
    /// How far it was advanced.
    pub(super) clock: Nanos,
    /// Of the newest superblocks.
    pub(super) generation: u64,
    /// Of the newest journal entry.
    pub(super) sequence: u64,
    /// Journal entries before this one must not be replayed.
    pub(super) journal_floor: u64,
    /// Rows that a replay of the newest journal entry would write.
    pub(super) journal_rows: BTreeSet<u64>,
    /// Whether rows are protected from the write hole.
    pub(super) journalled: bool,
    /// The superblocks do not say yet what is.
    pub(super) superblocks_due: bool,
    pub(super) activity: Activity,
    /// Rebuild and scrub rest until then.
    pub(super) background_at: Nanos,
    pub(super) scrub: Scrub,
    pub(super) cache: Cache,
    pub(super) rounds: Rounds,
    pub(super) waiters: Vec<Waiter>,
    pub(super) ports: BTreeMap<usize, Port>,
    pub(super) next_ticket: u64,
}

/// Who was read, and how much of it: what a request costs.
pub(super) type Tally = BTreeMap<usize, Access>;

/// Reads of one drive.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Access {
    pub(super) accesses: u64,
    pub(super) sectors: u64,
    /// The sector after the last one read: going on there is no new access.
    next: Option<u64>,
}

impl Shelf {
    /// An array on blank media (all zeros, for which parity is right already): superblocks are
    /// written, and that is all. It is off until [`Shelf::power_on`].
    ///
    /// # Errors
    /// The settings make no array of these media.
    pub fn create(
        settings: ShelfSettings,
        members: Vec<Medium>,
        spares: Vec<Medium>,
    ) -> Result<Shelf, ShelfError> {
        let mut shelf = Shelf::wire(settings, members, spares)?;
        for (number, slot) in shelf.slots.iter_mut().enumerate() {
            slot.drive = Some(number);
            slot.joined = 1;
            slot.rebuilt = shelf.geometry.rows;
        }
        shelf.generation = 1;
        for slot in 0..shelf.slots.len() {
            let superblock = shelf.superblock(slot);
            if let Some(drive) = shelf.drives.get_mut(slot) {
                drive.put(&superblock.run(drive));
                if drive.dead {
                    return Err(ShelfError::Medium(slot));
                }
            }
        }
        Ok(shelf)
    }

    /// An array on media that were one before, in whatever order. Media that are blank serve as
    /// spares; where all are blank, this is [`Shelf::create`]. Media of other arrays, or that were
    /// out of this one for a while, are failed. It is off until [`Shelf::power_on`].
    ///
    /// # Errors
    /// The settings make no array of these media.
    pub fn assemble(
        settings: ShelfSettings,
        members: Vec<Medium>,
        spares: Vec<Medium>,
    ) -> Result<Shelf, ShelfError> {
        let mut shelf = Shelf::wire(settings, members, spares)?;
        let blank = |drive: &Drive| Superblock::of(drive).is_none();
        if shelf.drives.iter().all(blank) {
            let spares = shelf.drives.split_off(shelf.geometry.members);
            let media = |drives: Vec<Drive>| drives.into_iter().map(|drive| drive.medium).collect();
            return Shelf::create(shelf.settings, media(shelf.drives), media(spares));
        }
        shelf.find_members(&mut Vec::new());
        Ok(shelf)
    }

    fn wire(
        settings: ShelfSettings,
        members: Vec<Medium>,
        spares: Vec<Medium>,
    ) -> Result<Shelf, ShelfError> {
        let level = settings.level;
        if !(level.fewest_members()..=MOST_MEMBERS).contains(&members.len()) {
            return Err(ShelfError::Members {
                level: level.number(),
                given: members.len(),
                fewest: level.fewest_members(),
                most: MOST_MEMBERS,
            });
        }
        let chunk_sectors = u64::from(settings.chunk_bytes) / SECTOR_BYTES as u64;
        if chunk_sectors == 0 || u64::from(settings.chunk_bytes) % SECTOR_BYTES as u64 != 0 {
            return Err(ShelfError::Chunk(settings.chunk_bytes));
        }
        let length = members.iter().map(Medium::len).min().unwrap_or(0);
        let geometry = Geometry {
            level,
            members: members.len(),
            chunk_sectors,
            rows: Geometry::rows_on(length, chunk_sectors),
        };
        if geometry.rows == 0 {
            return Err(ShelfError::Length(length));
        }
        Ok(Shelf {
            slots: vec![Slot::default(); members.len()],
            drives: members.into_iter().chain(spares).map(Drive::new).collect(),
            powered: false,
            clock: Nanos::ZERO,
            generation: 0,
            sequence: 0,
            journal_floor: 0,
            journal_rows: BTreeSet::new(),
            // Without redundancy there is nothing that could disagree.
            journalled: level != Level::Zero,
            superblocks_due: false,
            activity: Activity::Idle,
            background_at: Nanos::ZERO,
            scrub: Scrub::default(),
            cache: Cache::default(),
            rounds: Rounds::default(),
            waiters: Vec::new(),
            ports: BTreeMap::new(),
            next_ticket: 0,
            settings,
            geometry,
        })
    }

    /// Size of the volume in sectors of 512 bytes.
    pub fn sectors(&self) -> u64 {
        self.geometry.sectors()
    }

    /// Where a sector of the volume lies: the drive and the sector on it, as
    /// [`Shelf::rot`] takes them. Nothing where that member is missing.
    pub fn locate(&self, sector: u64) -> Option<(usize, u64)> {
        if sector >= self.sectors() {
            return None;
        }
        let Place {
            row,
            offset,
            column,
        } = self.geometry.place(sector);
        let slot = self.slots.get(self.geometry.slot_of(row, column))?;
        Some((slot.drive?, self.geometry.member_sector(row, offset)))
    }

    /// The content of the volume as a read would see it, cache included, without any effect on
    /// the array. False where some of it is beyond recovery or beyond the end.
    pub fn peek(&self, sector: u64, into: &mut [u8]) -> bool {
        let mut whole = true;
        for (sector, part) in (sector..).zip(into.chunks_mut(SECTOR_BYTES)) {
            match self.read_sector(sector, &mut Tally::new()) {
                Some((data, _)) => {
                    for (into, byte) in part.iter_mut().zip(data) {
                        *into = byte;
                    }
                }
                None => whole = false,
            }
        }
        whole
    }

    /// One sector of the volume and whether it had to be made from redundancy although its member
    /// is there (it rotted).
    pub(super) fn read_sector(&self, sector: u64, tally: &mut Tally) -> Option<(Vec<u8>, bool)> {
        if sector >= self.sectors() {
            return None;
        }
        if let Some(block) = self.cache.get(sector) {
            return Some((block.to_vec(), false));
        }
        let Place {
            row,
            offset,
            column,
        } = self.geometry.place(sector);
        let slot = self.geometry.slot_of(row, column);
        if let Some(data) = self.read_member(slot, row, offset, tally) {
            return Some((data, false));
        }
        let mut images = self.read_row(row, offset, tally);
        if !redundancy::complete(&self.geometry, row, &mut images) {
            return None;
        }
        let data = images.get_mut(slot).and_then(Option::take)?;
        Some((data, self.holds(slot, row)))
    }

    /// One sector of every slot, as far as it can be read.
    pub(super) fn read_row(&self, row: u64, offset: u64, tally: &mut Tally) -> Images {
        (0..self.slots.len())
            .map(|slot| self.read_member(slot, row, offset, tally))
            .collect()
    }

    /// One sector of a slot as it is, or is about to be; nothing where the member is missing, not
    /// rebuilt so far, or the checksum is wrong.
    fn read_member(
        &self,
        slot: usize,
        row: u64,
        offset: u64,
        tally: &mut Tally,
    ) -> Option<Vec<u8>> {
        let member_sector = self.geometry.member_sector(row, offset);
        let stored = match self.activity.pending(slot, member_sector) {
            Some(stored) => stored.clone(),
            None => {
                let drive = self.drive_with(slot, row)?;
                let access = tally.entry(drive).or_default();
                access.accesses += u64::from(access.next != Some(member_sector));
                access.next = Some(member_sector + 1);
                access.sectors += 1;
                self.drives.get(drive)?.stored(member_sector)?
            }
        };
        // Without redundancy doubtful data is all there is.
        let usable = self.geometry.level == Level::Zero || sector::is_good(&stored);
        usable.then(|| sector::data(&stored).to_vec())
    }

    /// The drive that holds `row` for `slot`.
    pub(super) fn drive_with(&self, slot: usize, row: u64) -> Option<usize> {
        let slot = self.slots.get(slot)?;
        slot.drive.filter(|_| row < slot.rebuilt)
    }

    /// Whether `slot` holds `row`.
    pub(super) fn holds(&self, slot: usize, row: u64) -> bool {
        self.drive_with(slot, row).is_some()
    }

    /// Whether a slot has a member that holds all its rows.
    pub(super) fn is_complete(&self, slot: &Slot) -> bool {
        slot.drive.is_some() && slot.rebuilt >= self.geometry.rows
    }

    /// Whether the members have noted what is.
    pub(super) fn superblocks_are_true(&self) -> bool {
        !self.superblocks_due && self.activity != Activity::Superblocks
    }

    /// Whether more members are missing than the level tolerates.
    pub(super) fn has_failed(&self) -> bool {
        let missing = |slot: &&Slot| !self.is_complete(slot);
        self.slots.iter().filter(missing).count() > self.geometry.tolerates()
    }

    /// The superblock of a slot as it should be.
    pub(super) fn superblock(&self, slot: usize) -> Superblock {
        Superblock {
            array_id: self.settings.array_id,
            generation: self.generation,
            journal_floor: self.journal_floor,
            level: self.geometry.level.number(),
            slot: u8::try_from(slot).unwrap_or(u8::MAX),
            chunk_sectors: self.geometry.chunk_sectors,
            rows: self.geometry.rows,
            rebuilt_rows: self.slots.get(slot).map_or(0, |slot| slot.rebuilt),
            joined: self.slots.iter().map(|slot| slot.joined).collect(),
        }
    }
}
