//! Looking for what rotted before it is needed; and when rebuild and scrub get their turn.

use serde::{Deserialize, Serialize};

use super::array::{Shelf, Tally};
use super::engine::Activity;
use super::geometry::Level;
use super::journal::Write;
use super::redundancy;
use super::status::ScrubStatus;
use crate::event::DeviceEvent;
use crate::time::Nanos;

/// The scrub that is running, or the last one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Scrub {
    /// The row it looks at next, while it runs.
    pub(super) row: Option<u64>,
    pub(super) found: ScrubStatus,
}

impl Shelf {
    /// Starts to read every row and to put right what is wrong. A scrub that runs begins anew. It
    /// rests while a member is missing or being rebuilt, and a loss of power ends it.
    pub fn start_scrub(&mut self, now: Nanos, events: &mut Vec<DeviceEvent>) {
        self.advance(now, events);
        if !self.powered {
            return;
        }
        self.scrub = Scrub {
            row: Some(0),
            found: ScrubStatus {
                running: true,
                ..ScrubStatus::default()
            },
        };
        self.background_at = self.background_at.max(self.clock);
        self.advance(now, events);
    }

    /// Whether there is something to rebuild or to scrub.
    pub(super) fn has_background_work(&self) -> bool {
        let whole = || self.slots.iter().all(|slot| self.is_complete(slot));
        !self.has_failed()
            && (self.slot_to_rebuild().is_some() || (self.scrub.row.is_some() && whole()))
    }

    /// Does one row of rebuild, or else of scrub.
    pub(super) fn work_in_background(&mut self, now: Nanos, events: &mut Vec<DeviceEvent>) {
        match (self.slot_to_rebuild(), self.scrub.row) {
            (Some(slot), _) => self.rebuild_row(slot, now),
            (None, Some(row)) if row < self.geometry.rows => {
                self.scrub_row(row, now, events);
                self.scrub.row = Some(row + 1);
            }
            (None, Some(_)) => {
                self.scrub.row = None;
                self.scrub.found.running = false;
                let ScrubStatus { repaired, lost, .. } = self.scrub.found;
                events.push(DeviceEvent::Notice(format!(
                    "scrub-finished repaired={repaired} lost={lost}"
                )));
            }
            (None, None) => {}
        }
    }

    fn scrub_row(&mut self, row: u64, now: Nanos, events: &mut Vec<DeviceEvent>) {
        let (mut tally, mut writes) = (Tally::new(), Vec::new());
        for offset in 0..self.geometry.chunk_sectors {
            self.scrub_place(row, offset, &mut tally, &mut writes, events);
        }
        self.scrub.found.rows += 1;
        self.background_at = self.charge(now, &tally);
        // Not journaled: a repair that is cut leaves what was wrong before as wrong as it was.
        self.write_in_place(self.background_at, &writes.into_iter().collect());
        self.activity = Activity::Scrub;
    }

    fn scrub_place(
        &mut self,
        row: u64,
        offset: u64,
        tally: &mut Tally,
        writes: &mut Vec<Write>,
        events: &mut Vec<DeviceEvent>,
    ) {
        let member_sector = self.geometry.member_sector(row, offset);
        let stored = |slot| {
            let drive = self.drives.get(self.drive_with(slot, row)?)?;
            drive.stored(member_sector, 1)
        };
        let is_bad = |slot: &usize| stored(*slot).is_none_or(|stored| !stored.is_good());
        let bad: Vec<usize> = (0..self.slots.len()).filter(is_bad).collect();
        let read = self.read_row(row, offset, tally);
        let mut right = read.clone();
        let known = bad.is_empty()
            || self.geometry.level != Level::Zero
                && redundancy::complete(&self.geometry, row, &mut right);
        for slot in &bad {
            let fate = if known { "repaired" } else { "lost" };
            events.push(DeviceEvent::MediumFault(format!(
                "bad-sector-{fate} slot={slot} sector={member_sector}"
            )));
        }
        if !known {
            self.scrub.found.lost += bad.len() as u64;
            return;
        }
        // Every sector is good by itself now; do they belong together, too?
        redundancy::encode(&self.geometry, row, &mut right);
        for (slot, (is, should)) in read.iter().zip(&right).enumerate() {
            if let Some(image) = should.as_ref().filter(|_| is != should) {
                if !bad.contains(&slot) {
                    events.push(DeviceEvent::MediumFault(format!(
                        "parity-mismatch-repaired slot={slot} sector={member_sector}"
                    )));
                }
                self.scrub.found.repaired += 1;
                writes.push(Write {
                    slot,
                    sector: member_sector,
                    stored: image.clone(),
                });
            }
        }
    }
}
