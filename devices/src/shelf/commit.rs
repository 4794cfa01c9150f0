//! From cache to members.
//!
//! A *round* takes everything that is dirty when it begins. It is cut into transactions that fit
//! into the journal; each computes its rows anew (data and parity), journals them and puts them in
//! place. Flushes, and writes that did not fit into the cache, wait for a round to end.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::array::{Shelf, Tally};
use super::engine::{Activity, Phase};
use super::geometry::{Level, Place, Role};
use super::journal::{self, Entry, Write, Writes};
use super::redundancy::{self, Images};
use super::sector::Stored;
use crate::block::BlockError;
use crate::event::DeviceEvent;
use crate::power::{Operation, OperationKind};
use crate::time::Nanos;

/// Rounds are numbered from one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rounds {
    /// The newest one that began.
    pub(super) begun: u64,
    /// Somebody waits for another one.
    pub(super) wanted: bool,
    /// When the running one has chosen what to write.
    pub(super) running: Option<Nanos>,
    /// Rebuild and scrub had their turn since the last one.
    pub(super) gave_way: bool,
}

impl Rounds {
    /// The number of the round that takes what is dirty now.
    pub(super) fn next(&self) -> u64 {
        self.begun + 1
    }
}

/// Blocks that make a usual transaction: as many as a journal entry holds.
const BATCH: usize = 16;

/// New sectors of a column of a row.
struct Change {
    place: Place,
    stored: Stored,
}

impl Change {
    fn end(&self) -> u64 {
        self.place.offset + self.stored.sectors()
    }
}

/// Offsets within a row that a batch has new sectors of, so that their parity is new as well. The sectors of a
/// batch are in order, so those of a row follow each other.
struct Protected {
    row: u64,
    /// By offset.
    seen: Vec<bool>,
}

impl Protected {
    /// Whether an offset of a row is new.
    fn insert(&mut self, row: u64, offset: u64) -> bool {
        if self.row != row {
            self.row = row;
            self.seen.fill(false);
        }
        let place = usize::try_from(offset).unwrap_or(usize::MAX);
        let seen = self.seen.get_mut(place);
        seen.is_some_and(|seen| !std::mem::replace(seen, true))
    }
}

impl Shelf {
    /// Begins a round: what is dirty now will be on the members when it ends.
    pub(super) fn begin_round(&mut self, now: Nanos, events: &mut Vec<DeviceEvent>) {
        let ends = now + self.settings.timing.cache;
        self.rounds.wanted = false;
        self.rounds.gave_way = false;
        self.rounds.begun += 1;
        self.rounds.running = Some(ends);
        self.cache.leaving = std::mem::take(&mut self.cache.dirty);
        events.push(DeviceEvent::OperationBegan(Operation {
            kind: OperationKind::Flush,
            unit: 0,
            address: 0,
            length: self.cache.bytes(),
            begins: now,
            ends,
        }));
    }

    /// Ends the running round and answers who waited for it.
    pub(super) fn end_round(&mut self, now: Nanos) {
        self.rounds.running = None;
        let begun = self.rounds.begun;
        self.answer_waiters(now, begun, Ok(()));
    }

    /// The array cannot keep what is in its cache.
    pub(super) fn abandon_cache(&mut self, now: Nanos, events: &mut Vec<DeviceEvent>) {
        let lost = self.cache.drain().len();
        if lost > 0 {
            let what = format!("cache-lost sectors={lost} cause=array-failed");
            events.push(DeviceEvent::MediumFault(what));
        }
        self.rounds.wanted = false;
        self.rounds.running = None;
        self.answer_waiters(now, u64::MAX, Err(BlockError::Failed));
    }

    /// Begins the next transaction of the running round.
    pub(super) fn begin_transaction(&mut self, now: Nanos) {
        let batch = self.next_batch();
        let writes = self.plan(batch);
        self.sequence = self.sequence.saturating_add(u64::from(self.journalled));
        let phase = if self.journalled {
            self.write_journal(now, &writes);
            Phase::Journal
        } else {
            self.write_in_place(now, &writes);
            Phase::InPlace
        };
        self.activity = Activity::Transaction { phase, writes };
    }

    /// Takes as much from the running round as one journal entry holds.
    fn next_batch(&mut self) -> Vec<(u64, Stored)> {
        let level = self.geometry.level;
        let (per_sector, per_place) = match level {
            Level::Zero => (1, 0),
            Level::One => (self.geometry.members, 0),
            Level::Five | Level::Six => (1, self.geometry.tolerates()),
        };
        let (mut batch, mut room) = (Vec::with_capacity(BATCH), journal::most_sectors());
        // Nothing is noted, and no room made for it, where there is no parity.
        let offsets = if per_place > 0 {
            self.geometry.chunk_sectors
        } else {
            0
        };
        let offsets = usize::try_from(offsets).unwrap_or(0);
        let mut protected = Protected {
            row: 0,
            seen: vec![false; offsets],
        };
        while let Some((sector, sectors)) = self.cache.leaving.first() {
            let mut fitting = 0;
            while fitting < sectors {
                let place = self.geometry.place(sector + fitting);
                let in_chunk = self.geometry.chunk_sectors - place.offset;
                let stretch = in_chunk.min(sectors - fitting);
                let taken = (0..stretch).take_while(|n| {
                    let new = per_place > 0 && protected.insert(place.row, place.offset + n);
                    let needed = per_sector + if new { per_place } else { 0 };
                    let left = room.checked_sub(needed);
                    room = left.unwrap_or(room);
                    left.is_some()
                });
                let taken = taken.count() as u64;
                fitting += taken;
                if taken < stretch {
                    break;
                }
            }
            if fitting > 0 {
                let taken = self.cache.leaving.take(sector, fitting);
                batch.extend(taken.map(|stored| (sector, stored)));
            }
            if fitting < sectors {
                break;
            }
        }
        batch
    }

    /// What must be written where, so that `batch` is in the volume and parity is right.
    /// It is in order of sectors.
    pub(super) fn plan(&self, batch: Vec<(u64, Stored)>) -> Writes {
        let mut changes = Vec::with_capacity(batch.len());
        for (mut sector, stored) in batch {
            let mut rest = Some(stored);
            while let Some(mut stored) = rest {
                let place = self.geometry.place(sector);
                let in_chunk = self.geometry.chunk_sectors - place.offset;
                rest = stored.split_off(in_chunk);
                sector += stored.sectors();
                changes.push(Change { place, stored });
            }
        }
        let mut writes = Vec::with_capacity(changes.len());
        if matches!(self.geometry.level, Level::Five | Level::Six) {
            for changes in changes.chunk_by(|a, b| a.place.row == b.place.row) {
                if let Some(first) = changes.first() {
                    self.plan_parity(first.place.row, changes, &mut writes);
                }
            }
        }
        for Change { place, stored } in changes {
            let Place { row, offset, .. } = place;
            let slot = self.geometry.slot_of(row, place.column);
            if self.geometry.level == Level::One {
                for mirror in (0..self.slots.len()).filter(|mirror| *mirror != slot) {
                    self.plan_write(row, offset, mirror, stored.clone(), &mut writes);
                }
            }
            self.plan_write(row, offset, slot, stored, &mut writes);
        }
        writes.into_iter().collect()
    }

    /// Adds sectors of a row where the slot has a member for them.
    fn plan_write(
        &self,
        row: u64,
        offset: u64,
        slot: usize,
        stored: Stored,
        writes: &mut Vec<Write>,
    ) {
        if self.holds(slot, row) {
            let sector = self.geometry.member_sector(row, offset);
            writes.push(Write {
                slot,
                sector,
                stored,
            });
        }
    }

    /// The parity of a row of which these changes are new.
    fn plan_parity(&self, row: u64, changes: &[Change], writes: &mut Vec<Write>) {
        // Between two of these offsets the same columns are new.
        let ends = changes
            .iter()
            .flat_map(|change| [change.place.offset, change.end()]);
        let ends: BTreeSet<u64> = ends.collect();
        for (begin, end) in ends.iter().zip(ends.iter().skip(1)) {
            let covers = |change: &&Change| change.place.offset <= *begin && *end <= change.end();
            let new: Vec<&Change> = changes.iter().filter(covers).collect();
            if new.is_empty() {
                continue;
            }
            match self.new_columns(row, *begin, end - begin, &new) {
                Some(images) => self.plan_parity_of(row, *begin, images, writes),
                // Each by itself: one may be bad, others not.
                None => {
                    for offset in *begin..*end {
                        let images = self.known_columns(row, offset, &new);
                        self.plan_parity_of(row, offset, images, writes);
                    }
                }
            }
        }
    }

    /// The columns of a row as they will be, where those that are not new can all be read.
    fn new_columns(&self, row: u64, offset: u64, sectors: u64, new: &[&Change]) -> Option<Images> {
        let mut images = vec![None; self.slots.len()];
        for ((slot, role), image) in self.geometry.roles(row).zip(&mut images) {
            if let Role::Data(column) = role {
                let new = new.iter().find(|change| change.place.column == column);
                *image = Some(match new {
                    Some(change) => change.stored.slice(offset - change.place.offset, sectors),
                    None => {
                        let read = self.read_member(slot, row, offset, sectors, &mut Tally::new());
                        read?.into_stored()
                    }
                });
            }
        }
        Some(images)
    }

    /// The same for one sector of each, what cannot be read made from redundancy, or missing.
    fn known_columns(&self, row: u64, offset: u64, new: &[&Change]) -> Images {
        let mut images = self.read_row(row, offset, &mut Tally::new());
        redundancy::complete(&self.geometry, row, &mut images);
        for ((_, role), image) in self.geometry.roles(row).zip(&mut images) {
            let own = |change: &&&Change| role == Role::Data(change.place.column);
            if let Some(change) = new.iter().find(own) {
                *image = Some(change.stored.slice(offset - change.place.offset, 1));
            }
        }
        images
    }

    /// The parity of these columns.
    fn plan_parity_of(&self, row: u64, offset: u64, mut images: Images, writes: &mut Vec<Write>) {
        let is_data = |role| matches!(role, Role::Data(_));
        let mut columns = self.geometry.roles(row).zip(&images);
        // Where a sector beside the new ones is beyond recovery, parity must not pretend to know it.
        let known = columns.all(|((_, role), image)| !is_data(role) || image.is_some());
        if known {
            redundancy::encode(&self.geometry, row, &mut images);
        }
        for ((slot, role), image) in self.geometry.roles(row).zip(images) {
            if !is_data(role) {
                let parity = image.filter(|_| known).unwrap_or_else(Stored::bad);
                self.plan_write(row, offset, slot, parity, writes);
            }
        }
    }

    /// Queues the journal entry for the members that keep it: one more than may fail.
    fn write_journal(&mut self, now: Nanos, writes: &Writes) {
        let entry = Entry {
            sequence: self.sequence,
            writes: writes.clone(),
        };
        let run = entry.run(self.settings.array_id);
        for drive in self.journal_drives() {
            if let Some(drive) = self.drives.get_mut(drive) {
                drive.write(run.clone(), now);
            }
        }
    }

    /// The drives that keep the journal: the first complete ones. Losing as many as the level
    /// tolerates leaves one of them.
    pub(super) fn journal_drives(&self) -> Vec<usize> {
        let complete = self.slots.iter().filter(|slot| self.is_complete(slot));
        complete
            .filter_map(|slot| slot.drive)
            .take(self.geometry.tolerates() + 1)
            .collect()
    }

    /// Queues the writes for where they belong.
    pub(super) fn write_in_place(&mut self, now: Nanos, writes: &Writes) {
        for (slot, run) in writes.runs() {
            let holder = self
                .geometry
                .row_of(run.sector)
                .and_then(|row| self.drive_with(slot, row));
            if let Some(drive) = holder.and_then(|drive| self.drives.get_mut(drive)) {
                drive.write(run, now);
            }
        }
    }

    /// The rows that `writes` are in.
    pub(super) fn rows_of(&self, writes: &Writes) -> BTreeSet<u64> {
        // No write goes beyond the end of a row.
        let sectors = writes.iter().map(|write| write.sector);
        let rows = sectors.filter_map(|sector| self.geometry.row_of(sector));
        // Most are the same as the one before.
        let mut rows: Vec<u64> = rows.collect();
        rows.dedup();
        rows.into_iter().collect()
    }
}
