//! The shelf itself: what it consists of and how its rows are read.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::cache::Cache;
use super::commit::Rounds;
use super::drive::Drive;
use super::engine::Activity;
use super::geometry::{Geometry, Level, Place};
use super::redundancy::{self, Images};
use super::requests::{Port, Waiter};
use super::scrub::Scrub;
use super::sector::{BLOCK_SECTORS, Part, Stored};
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

/// What reading the volume found.
pub(super) enum Found<'a> {
    /// The next sectors.
    Good(Part<'a>),
    /// The next sector had rotted and was made from redundancy.
    Recovered(u64, Stored),
    /// The next sector is beyond recovery.
    Lost(u64),
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
        let there = self.sectors().saturating_sub(sector);
        let wanted = into.len().div_ceil(SECTOR_BYTES) as u64;
        let (mut whole, mut tally) = (wanted <= there, Tally::new());
        let mut places = into.chunks_mut(SECTOR_BYTES);
        let end = sector + wanted.min(there);
        self.read_sectors(sector, end, &mut tally, &mut |found| match found {
            Found::Good(stored) | Found::Recovered(_, stored) => {
                // The data first: it must not take a place that it has nothing for.
                for (data, place) in stored.data().zip(places.by_ref()) {
                    place.copy_from_slice(&data[..place.len()]);
                }
            }
            Found::Lost(_) => whole = false,
        });
        whole
    }

    /// Reads sectors of the volume from first to last and says what was found.
    pub(super) fn read_sectors<'a>(
        &'a self,
        first: u64,
        end: u64,
        tally: &mut Tally,
        found: &mut dyn FnMut(Found<'a>),
    ) {
        let mut sector = first;
        while sector < end {
            let place = self.geometry.place(sector);
            let in_chunk = self.geometry.chunk_sectors - place.offset;
            let next = end.min(sector + in_chunk);
            self.read_chunk(place, sector, next, tally, found);
            sector = next;
        }
    }

    /// The same for sectors that are all in the chunk that `place` is in.
    fn read_chunk<'a>(
        &'a self,
        place: Place,
        first: u64,
        end: u64,
        tally: &mut Tally,
        found: &mut dyn FnMut(Found<'a>),
    ) {
        let Place { row, column, .. } = place;
        let slot = self.geometry.slot_of(row, column);
        let mut sector = first;
        while sector < end {
            let offset = place.offset + (sector - first);
            let in_block = BLOCK_SECTORS - sector % BLOCK_SECTORS;
            let (sectors, cached) = self.cache.find(sector, in_block.min(end - sector));
            let stored = cached.or_else(|| self.read_member(slot, row, offset, sectors, tally));
            match stored {
                Some(stored) => found(Found::Good(stored)),
                None => {
                    for n in 0..sectors {
                        let one = self.read_or_make(slot, row, offset + n, tally);
                        found(match one {
                            Some((stored, false)) => Found::Good(stored),
                            Some((stored, true)) => Found::Recovered(sector + n, stored),
                            None => Found::Lost(sector + n),
                        });
                    }
                }
            }
            sector += sectors;
        }
    }

    /// One sector of a slot and whether it had to be made from redundancy although its member
    /// is there (it rotted).
    fn read_or_make(
        &self,
        slot: usize,
        row: u64,
        offset: u64,
        tally: &mut Tally,
    ) -> Option<(Stored, bool)> {
        if let Some(stored) = self.read_member(slot, row, offset, 1, tally) {
            return Some((stored.into_stored(), false));
        }
        let mut images = self.read_row(row, offset, tally);
        if !redundancy::complete(&self.geometry, row, &mut images) {
            return None;
        }
        let stored = images.get_mut(slot).and_then(Option::take)?;
        Some((stored, self.holds(slot, row)))
    }

    /// One sector of every slot, as far as it can be read.
    pub(super) fn read_row(&self, row: u64, offset: u64, tally: &mut Tally) -> Images {
        (0..self.slots.len())
            .map(|slot| {
                let read = self.read_member(slot, row, offset, 1, tally);
                read.map(Part::into_stored)
            })
            .collect()
    }

    /// Sectors of a slot, at most eight, as they are, or are about to be; nothing where the member is
    /// missing, not rebuilt so far, or a checksum is wrong. Also nothing, without any effect, where several
    /// are not all of a kind: then each must be read by itself.
    pub(super) fn read_member(
        &self,
        slot: usize,
        row: u64,
        offset: u64,
        sectors: u64,
        tally: &mut Tally,
    ) -> Option<Part<'_>> {
        let member_sector = self.geometry.member_sector(row, offset);
        let pending = self.activity.pending();
        let pending = pending.filter(|writes| writes.touch(slot, member_sector, sectors));
        // Without redundancy doubtful data is all there is.
        let usable = |stored: &Part<'_>| self.geometry.level == Level::Zero || stored.is_good();
        if let Some(writes) = pending {
            return writes.get(slot, member_sector, sectors).filter(usable);
        }
        let drive = self.drive_with(slot, row)?;
        let read = || self.drives.get(drive)?.stored(member_sector, sectors);
        let stored = read();
        let good = stored.as_ref().is_some_and(usable);
        if good || sectors == 1 {
            let access = tally.entry(drive).or_default();
            access.accesses += u64::from(access.next != Some(member_sector));
            access.next = Some(member_sector + sectors);
            access.sectors += sectors;
        }
        stored.filter(|_| good)
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
