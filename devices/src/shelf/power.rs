//! Losing power and coming back.

use super::array::{Shelf, Slot};
use super::commit::Rounds;
use super::engine::{Activity, Phase};
use super::journal::{Entry, Writes};
use super::scrub::Scrub;
use super::sector::Stored;
use super::superblock::Superblock;
use crate::event::DeviceEvent;
use crate::power::{PowerLoss, Shape, mix};
use crate::time::Nanos;

impl Shelf {
    /// Power comes: the members are asked who they are, and a journal entry that was not put in
    /// place completely is.
    pub fn power_on(&mut self, now: Nanos, events: &mut Vec<DeviceEvent>) {
        if self.powered {
            return;
        }
        self.powered = true;
        self.clock = self.clock.max(now);
        self.background_at = self.clock;
        self.find_members(events);
        self.replay(events);
        self.advance(self.clock, events);
    }

    /// Finds the members by their superblocks; the newest generation is the truth.
    pub(super) fn find_members(&mut self, events: &mut Vec<DeviceEvent>) {
        let array_id = self.settings.array_id;
        let found: Vec<Option<Superblock>> = self.drives.iter().map(Superblock::of).collect();
        let own = |superblock: &&Superblock| superblock.belongs_to(&self.geometry, array_id);
        let newest = found.iter().flatten().filter(own);
        let newest = newest.max_by_key(|superblock| superblock.generation);
        for slot in &mut self.slots {
            *slot = Slot::default();
        }
        for (number, superblock) in found.iter().enumerate() {
            let Some(superblock) = superblock else {
                continue;
            };
            let place = usize::from(superblock.slot);
            let joined = newest.and_then(|newest| newest.joined.get(place).copied());
            let welcome = superblock.belongs_to(&self.geometry, array_id)
                && joined == superblock.joined.get(place).copied()
                && joined != Some(0);
            let empty = |slot: &&mut Slot| slot.drive.is_none();
            match self.slots.get_mut(place).filter(empty) {
                Some(slot) if welcome => {
                    slot.drive = Some(number);
                    slot.joined = joined.unwrap_or(0);
                    slot.rebuilt = superblock.rebuilt_rows.min(self.geometry.rows);
                }
                _ => {
                    if let Some(drive) = self.drives.get_mut(number) {
                        drive.stale = true;
                    }
                    events.push(DeviceEvent::Notice(format!("member-stale member={number}")));
                }
            }
        }
        if let Some(newest) = newest {
            self.generation = newest.generation;
            self.journal_floor = newest.journal_floor;
            let members = self.slots.iter().zip(&newest.joined);
            self.superblocks_due = members.into_iter().any(|(slot, then)| slot.joined != *then);
        }
    }

    /// Goes on with the newest transaction whose journal entry is whole.
    fn replay(&mut self, events: &mut Vec<DeviceEvent>) {
        let members = self.slots.iter().filter_map(|slot| slot.drive);
        let entries = members.filter_map(|drive| {
            let entry = Entry::of(self.drives.get(drive)?, self.settings.array_id)?;
            (entry.sequence >= self.journal_floor).then_some(entry)
        });
        let newest = entries.max_by_key(|entry| entry.sequence);
        self.sequence = self.journal_floor.saturating_sub(1);
        self.journal_rows.clear();
        let Some(Entry {
            sequence,
            mut writes,
        }) = newest
        else {
            return;
        };
        self.sequence = sequence;
        self.journal_rows = self.rows_of(&writes);
        writes.retain(|write| {
            let row = self.geometry.row_of(write.sector);
            let drive = row.and_then(|row| self.drive_with(write.slot, row));
            let drive = drive.and_then(|drive| self.drives.get(drive));
            let sectors = write.stored.sectors();
            drive.is_some_and(|drive| {
                drive.stored(write.sector, sectors).as_ref() != Some(&write.stored)
            })
        });
        if !writes.is_empty() {
            let sectors = writes.sectors();
            events.push(DeviceEvent::Notice(format!(
                "journal-replayed sequence={sequence} sectors={sectors}"
            )));
            self.write_in_place(self.clock, &writes);
            let phase = Phase::InPlace;
            self.activity = Activity::Transaction { phase, writes };
        }
    }

    /// Power goes: what was in progress on each member takes the shape of the loss, what waited never
    /// happens, and of the cache nothing, something or everything is kept. What was asked and not done
    /// fails: a controller that still has its power must not wait for it for ever.
    pub fn power_lost(&mut self, loss: PowerLoss, events: &mut Vec<DeviceEvent>) {
        self.advance(loss.now, events);
        if !self.powered {
            return;
        }
        self.powered = false;
        for (unit, drive) in self.drives.iter_mut().enumerate() {
            drive.power_lost(unit, loss);
        }
        let cached = self.cache.drain();
        let kept = |sector: u64| match loss.shape {
            Shape::Lost => false,
            Shape::Torn => mix(!loss.seed, sector) & 1 == 0,
            Shape::Done => true,
        };
        let kept = cached.into_iter().filter(|(sector, _)| kept(*sector));
        self.save(kept.collect());
        self.refuse_unanswered();
        self.rounds = Rounds {
            begun: self.rounds.begun,
            ..Rounds::default()
        };
        self.scrub = Scrub::default();
        self.superblocks_due = false;
    }

    /// Puts what a loss of power spared of the cache on the members, with parity, in no time:
    /// it stands for writes that were reordered to come before those in progress.
    fn save(&mut self, mut kept: Vec<(u64, Stored)>) {
        match std::mem::replace(&mut self.activity, Activity::Idle) {
            // These rows are in doubt until the journal is replayed, and what comes from there must
            // not meet anything newer.
            Activity::Transaction { writes, .. } => {
                let mut doubtful = self.rows_of(&writes);
                doubtful.append(&mut self.journal_rows);
                kept.retain(|(sector, _)| !doubtful.contains(&self.geometry.place(*sector).row));
            }
            // Everything journaled is in place: an entry of nothing ends its story.
            _ if self.journalled && !kept.is_empty() => {
                self.sequence = self.sequence.saturating_add(1);
                let entry = Entry {
                    sequence: self.sequence,
                    writes: Writes::default(),
                };
                let run = entry.run(self.settings.array_id);
                for drive in self.journal_drives() {
                    if let Some(drive) = self.drives.get_mut(drive) {
                        drive.put(&run);
                    }
                }
            }
            _ => {}
        }
        if self.has_failed() {
            return;
        }
        for (slot, run) in self.plan(kept).runs() {
            let row = self.geometry.row_of(run.sector);
            let drive = row.and_then(|row| self.drive_with(slot, row));
            if let Some(drive) = drive.and_then(|drive| self.drives.get_mut(drive)) {
                drive.put(&run);
            }
        }
    }
}
