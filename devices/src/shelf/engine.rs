//! The order of things in time.
//!
//! The array does one thing at a time, each of which is a set of member writes that go on in
//! parallel; the next one begins when all of them have ended. First what was begun, then
//! superblocks that are not true any more, then the cache, then rebuild and scrub.

use serde::{Deserialize, Serialize};

use super::array::{Shelf, Slot, Tally};
use super::journal::Writes;
use super::settings::DiskTiming;
use crate::block::SECTOR_BYTES;
use crate::event::DeviceEvent;
use crate::time::Nanos;

/// What the array waits for its drives to have done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Activity {
    /// Nothing.
    Idle,
    /// The members say who belongs to the array.
    Superblocks,
    /// Part of the cache goes to the members, or a journal entry is replayed.
    Transaction { phase: Phase, writes: Writes },
    /// A row of a new member is made from the others.
    Rebuild { slot: usize, drive: usize, row: u64 },
    /// What a scrub found wrong in a row is put right.
    Scrub,
}

/// How far a transaction is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Phase {
    /// The journal entry is being written.
    Journal,
    /// The sectors are being written where they belong.
    InPlace,
}

impl Activity {
    /// What sectors are about to become. All members must be read as they will be after a
    /// transaction: a mixture of old and new sectors gives wrong ones when others are made from it.
    pub(super) fn pending(&self) -> Option<&Writes> {
        match self {
            Activity::Transaction { writes, .. } => Some(writes),
            _ => None,
        }
    }
}

impl Shelf {
    /// Begins and ends everything that is due at or before `now`.
    pub fn advance(&mut self, now: Nanos, events: &mut Vec<DeviceEvent>) {
        if !self.powered {
            self.clock = self.clock.max(now);
            return;
        }
        self.go_on(self.clock, events);
        while let Some(next) = self.next_step().filter(|next| *next <= now) {
            // What should have begun in the past begins now.
            self.clock = self.clock.max(next);
            let timing = self.settings.timing;
            for (unit, drive) in self.drives.iter_mut().enumerate() {
                drive.step(unit, self.clock, timing, &mut self.cache.pool, events);
            }
            self.notice_dead_drives(events);
            self.go_on(self.clock, events);
        }
        self.clock = self.clock.max(now);
    }

    /// When it next has something to do or an answer to give; answers that can be taken already
    /// do not count.
    pub fn deadline(&self) -> Option<Nanos> {
        let answers = self.ports.values().flat_map(|port| &port.done);
        let answers = answers.map(|done| done.at).filter(|at| *at > self.clock);
        answers.chain(self.next_step()).min()
    }

    /// When a drive or the array itself next does something.
    fn next_step(&self) -> Option<Nanos> {
        if !self.powered {
            return None;
        }
        let drives = self.drives.iter().filter_map(|drive| drive.next());
        let idle = self.activity == Activity::Idle;
        let round = self.rounds.running.filter(|_| idle);
        // A round that is about to begin its writes comes first.
        let rests = idle && round.is_none();
        let background = (rests && self.has_background_work()).then_some(self.background_at);
        drives.chain(round).chain(background).min()
    }

    /// Ends what all drives are done with and begins the next thing, until drives are busy or
    /// there is nothing to do.
    fn go_on(&mut self, now: Nanos, events: &mut Vec<DeviceEvent>) {
        while self.drives.iter().all(|drive| drive.is_idle()) {
            match std::mem::replace(&mut self.activity, Activity::Idle) {
                Activity::Idle => {
                    if !self.choose(now, events) {
                        return;
                    }
                }
                Activity::Superblocks | Activity::Scrub => {}
                Activity::Transaction {
                    phase: Phase::Journal,
                    writes,
                } => {
                    self.write_in_place(now, &writes);
                    let phase = Phase::InPlace;
                    self.activity = Activity::Transaction { phase, writes };
                }
                Activity::Transaction {
                    phase: Phase::InPlace,
                    writes,
                } => self.journal_rows = self.rows_of(&writes),
                Activity::Rebuild { slot, drive, row } => self.rebuilt(slot, drive, row, events),
            }
        }
        // Writes queued just now begin at once where the drive is free. Even those that take no time do
        // not end here: what comes then is not begun here either.
        let timing = self.settings.timing;
        for (unit, drive) in self.drives.iter_mut().enumerate() {
            drive.begin(unit, now, timing, events);
        }
    }

    /// Begins the most urgent thing. False where there is nothing to do now.
    fn choose(&mut self, now: Nanos, events: &mut Vec<DeviceEvent>) -> bool {
        if self.has_failed() {
            self.abandon_cache(now, events);
            return false;
        }
        self.adopt_spares(events);
        if self.superblocks_due {
            self.write_superblocks(now);
            return true;
        }
        match self.rounds.running {
            Some(at) if at > now => return false,
            Some(_) if self.cache.leaving.is_empty() => {
                self.end_round(now);
                return true;
            }
            Some(_) => {
                self.begin_transaction(now);
                return true;
            }
            None => {}
        }
        // However many rounds are wanted, rebuild and scrub get a step between two of them.
        let background = self.has_background_work() && self.background_at <= now;
        let round = self.rounds.wanted && (self.rounds.gave_way || !background);
        if round {
            self.begin_round(now, events);
        } else if background {
            self.rounds.gave_way = true;
            self.work_in_background(now, events);
        }
        round || background
    }

    /// Tells every member who belongs to the array. No transaction is under way, so every journal
    /// entry so far is history.
    fn write_superblocks(&mut self, now: Nanos) {
        self.superblocks_due = false;
        self.generation = self.generation.saturating_add(1);
        self.journal_floor = self.sequence.saturating_add(1);
        for slot in 0..self.slots.len() {
            let joins = |slot: &Slot| slot.drive.is_some() && slot.joined == 0;
            if let Some(slot) = self.slots.get_mut(slot).filter(|slot| joins(slot)) {
                slot.joined = self.generation;
            }
        }
        for slot in 0..self.slots.len() {
            let superblock = self.superblock(slot);
            let drive = self.slots.get(slot).and_then(|slot| slot.drive);
            if let Some(drive) = drive.and_then(|drive| self.drives.get_mut(drive)) {
                drive.write(superblock.run(drive), now);
            }
        }
        self.activity = Activity::Superblocks;
    }

    /// Makes the drives pay for reads; returns when the last one is done.
    pub(super) fn charge(&mut self, now: Nanos, tally: &Tally) -> Nanos {
        let timing: DiskTiming = self.settings.timing;
        let mut done = now;
        for (drive, access) in tally {
            if let Some(drive) = self.drives.get_mut(*drive) {
                let bytes = access.sectors * SECTOR_BYTES as u64;
                done = done.max(drive.read(now, access.accesses, bytes, timing));
            }
        }
        done
    }
}
