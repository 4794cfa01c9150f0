//! From cache to members.
//!
//! A *round* takes everything that is dirty when it begins. It is cut into transactions that fit
//! into the journal; each computes its rows anew (data and parity), journals them and puts them in
//! place. Flushes, and writes that did not fit into the cache, wait for a round to end.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::array::{Shelf, Tally};
use super::engine::{Activity, Phase};
use super::geometry::{Level, Place, Role};
use super::journal::{self, Entry, Writes};
use super::redundancy;
use super::sector::{self, Block};
use crate::block::{BlockError, SECTOR_BYTES};
use crate::event::DeviceEvent;
use crate::power::{Operation, OperationKind};
use crate::time::Nanos;

/// The volatile write cache, by sector of the volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cache {
    /// Written since the running round began.
    pub(super) dirty: BTreeMap<u64, Block>,
    /// What the running round has still to do.
    pub(super) leaving: BTreeMap<u64, Block>,
}

impl Cache {
    pub(super) fn get(&self, sector: u64) -> Option<&Block> {
        self.dirty
            .get(&sector)
            .or_else(|| self.leaving.get(&sector))
    }

    pub(super) fn bytes(&self) -> u64 {
        ((self.dirty.len() + self.leaving.len()) * SECTOR_BYTES) as u64
    }

    /// Takes everything out, newest content of each sector.
    pub(super) fn drain(&mut self) -> BTreeMap<u64, Block> {
        let mut all = std::mem::take(&mut self.leaving);
        all.append(&mut self.dirty);
        all
    }
}

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
        self.answer_waiters(now, begun, &Ok(Vec::new()));
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
        self.answer_waiters(now, u64::MAX, &Err(BlockError::Failed));
    }

    /// Begins the next transaction of the running round.
    pub(super) fn begin_transaction(&mut self, now: Nanos) {
        let batch = self.next_batch();
        let writes = self.plan(&batch);
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
    fn next_batch(&mut self) -> BTreeMap<u64, Block> {
        let level = self.geometry.level;
        let (per_sector, per_place) = match level {
            Level::Zero => (1, 0),
            Level::One => (self.geometry.members, 0),
            Level::Five | Level::Six => (1, self.geometry.tolerates()),
        };
        let (mut batch, mut places, mut room) =
            (BTreeMap::new(), BTreeSet::new(), journal::most_sectors());
        while let Some(entry) = self.cache.leaving.first_entry() {
            let Place { row, offset, .. } = self.geometry.place(*entry.key());
            let parity = if places.insert((row, offset)) {
                per_place
            } else {
                0
            };
            let Some(left) = room.checked_sub(per_sector + parity) else {
                break;
            };
            room = left;
            let (sector, block) = entry.remove_entry();
            batch.insert(sector, block);
        }
        batch
    }

    /// What must be written where, so that `batch` is in the volume and parity is right.
    pub(super) fn plan(&self, batch: &BTreeMap<u64, Block>) -> Writes {
        let mut places: BTreeMap<(u64, u64), BTreeMap<usize, &Block>> = BTreeMap::new();
        for (sector, block) in batch {
            let place = self.geometry.place(*sector);
            places
                .entry((place.row, place.offset))
                .or_default()
                .insert(place.column, block);
        }
        let mut writes = Writes::new();
        for ((row, offset), columns) in places {
            self.plan_place(row, offset, &columns, &mut writes);
        }
        writes
    }

    /// The same for the sectors at one offset of one row.
    fn plan_place(
        &self,
        row: u64,
        offset: u64,
        columns: &BTreeMap<usize, &Block>,
        writes: &mut Writes,
    ) {
        let mut images = self.read_row(row, offset, &mut Tally::new());
        let old_is_known = redundancy::complete(&self.geometry, row, &mut images);
        for (slot, role) in self.geometry.roles(row) {
            let new = match role {
                Role::Data(column) => columns.get(&column),
                Role::P | Role::Q => None,
            };
            if let (Some(image), Some(new)) = (images.get_mut(slot), new) {
                *image = Some(new.to_vec());
            }
        }
        let is_data = |role| matches!(role, Role::Data(_));
        let data_is_known = || {
            let mut roles = self.geometry.roles(row);
            roles.all(|(slot, role)| !is_data(role) || matches!(images.get(slot), Some(Some(_))))
        };
        // Where a sector beside the new ones is beyond recovery, parity must not pretend to know it.
        let parity_is_known = old_is_known || data_is_known();
        if parity_is_known {
            redundancy::encode(&self.geometry, row, &mut images);
        }
        for (slot, role) in self.geometry.roles(row) {
            let stored = match role {
                Role::Data(column) if columns.contains_key(&column) => images.get(slot),
                Role::Data(_) => continue,
                Role::P | Role::Q if parity_is_known => images.get(slot),
                Role::P | Role::Q => None,
            };
            let stored = match stored {
                Some(Some(image)) => sector::seal(image),
                _ => sector::bad_sector(),
            };
            if self.holds(slot, row) {
                let sector = self.geometry.member_sector(row, offset);
                writes.insert((slot, sector), stored);
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
        for (slot, run) in journal::runs(writes) {
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
        let sectors = writes.keys().map(|(_, sector)| *sector);
        sectors
            .filter_map(|sector| self.geometry.row_of(sector))
            .collect()
    }
}
