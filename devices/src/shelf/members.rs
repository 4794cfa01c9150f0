//! Members that fail, spares that step in, rows that are made anew.

use super::array::{Shelf, Slot, Tally};
use super::drive::{Drive, Run};
use super::engine::Activity;
use super::geometry::Geometry;
use super::redundancy;
use super::sector::{STORED_BYTES, Stored};
use crate::event::DeviceEvent;
use crate::medium::Medium;
use crate::time::Nanos;

/// How many times during a rebuild the members note how far it is.
const NOTES_PER_REBUILD: u64 = 16;

impl Shelf {
    /// A drive breaks: it answers nothing any more, and writes on their way to it are lost.
    pub fn fail_member(&mut self, member: usize, events: &mut Vec<DeviceEvent>) {
        if let Some(drive) = self.drives.get_mut(member) {
            drive.dead = true;
            if !self.slots.iter().any(|slot| slot.drive == Some(member)) {
                events.push(DeviceEvent::Notice(format!(
                    "member-failed member={member}"
                )));
            }
        }
        self.notice_dead_drives(events);
        self.advance(self.clock, events);
    }

    /// Puts another disk in the place of a drive. It counts as blank, whatever is on it: it is
    /// rebuilt if a member is missing, and a spare otherwise.
    pub fn replace_member(&mut self, member: usize, medium: Medium, events: &mut Vec<DeviceEvent>) {
        self.fail_member(member, events);
        if let Some(drive) = self.drives.get_mut(member) {
            *drive = Drive::new(medium);
            // It may have been a member of this very array.
            drive.put(&Run {
                sector: super::geometry::SUPERBLOCK_SECTOR,
                pieces: vec![Stored::from_bytes(&[0; 2 * STORED_BYTES])],
            });
            events.push(DeviceEvent::Notice(format!(
                "member-replaced member={member}"
            )));
        }
        self.advance(self.clock, events);
    }

    /// Silently flips a bit in each half of a sector of a drive, counted from its beginning.
    pub fn rot(&mut self, member: usize, sector: u64) {
        let Some(drive) = self.drives.get_mut(member) else {
            return;
        };
        if let Some(stored) = drive.stored(sector, 1) {
            let mut bytes = stored.to_vec();
            for byte in [100, 400] {
                if let Some(byte) = bytes.get_mut(byte) {
                    *byte ^= 0x10;
                }
            }
            drive.put(&Run {
                sector,
                pieces: vec![Stored::from_bytes(&bytes)],
            });
        }
    }

    /// Takes dead drives out of their slots.
    pub(super) fn notice_dead_drives(&mut self, events: &mut Vec<DeviceEvent>) {
        for (number, drive) in self.drives.iter_mut().enumerate() {
            if !drive.dead {
                continue;
            }
            drive.drop_writes();
            for slot in &mut self.slots {
                if slot.drive == Some(number) {
                    *slot = Slot::default();
                    self.superblocks_due = true;
                    let what = format!("member-failed member={number}");
                    events.push(DeviceEvent::Notice(what));
                }
            }
        }
    }

    /// Puts spares into empty slots.
    pub(super) fn adopt_spares(&mut self, events: &mut Vec<DeviceEvent>) {
        for number in 0..self.slots.len() {
            if self
                .slots
                .get(number)
                .is_none_or(|slot| slot.drive.is_some())
            {
                continue;
            }
            let Some(spare) = (0..self.drives.len()).find(|drive| self.is_spare(*drive)) else {
                return;
            };
            if let Some(slot) = self.slots.get_mut(number) {
                *slot = Slot {
                    drive: Some(spare),
                    ..Slot::default()
                };
            }
            self.superblocks_due = true;
            events.push(DeviceEvent::Notice(format!(
                "rebuild-began member={spare} slot={number}"
            )));
        }
    }

    /// Whether a drive could step in for a member.
    pub(super) fn is_spare(&self, number: usize) -> bool {
        let rows =
            |drive: &Drive| Geometry::rows_on(drive.medium.len(), self.geometry.chunk_sectors);
        let used = self.slots.iter().any(|slot| slot.drive == Some(number));
        let able = self
            .drives
            .get(number)
            .is_some_and(|drive| !drive.dead && !drive.stale && rows(drive) >= self.geometry.rows);
        able && !used
    }

    /// The slot to rebuild, if there is one.
    pub(super) fn slot_to_rebuild(&self) -> Option<usize> {
        self.slots
            .iter()
            .position(|slot| slot.drive.is_some() && !self.is_complete(slot))
    }

    /// Makes the next row of a new member from the others.
    pub(super) fn rebuild_row(&mut self, number: usize, now: Nanos) {
        let Some(&Slot {
            drive: Some(drive),
            rebuilt: row,
            ..
        }) = self.slots.get(number)
        else {
            return;
        };
        let (mut tally, mut pieces) = (Tally::new(), Vec::new());
        for offset in 0..self.geometry.chunk_sectors {
            let mut images = self.read_row(row, offset, &mut tally);
            let made = redundancy::complete(&self.geometry, row, &mut images);
            let image = images.get_mut(number).and_then(Option::take);
            pieces.push(image.filter(|_| made).unwrap_or_else(Stored::bad));
        }
        let ready = self.charge(now, &tally);
        let sector = self.geometry.member_sector(row, 0);
        if let Some(drive) = self.drives.get_mut(drive) {
            drive.write(Run { sector, pieces }, ready);
        }
        self.activity = Activity::Rebuild {
            slot: number,
            drive,
            row,
        };
    }

    /// A row of a new member was written.
    pub(super) fn rebuilt(
        &mut self,
        number: usize,
        drive: usize,
        row: u64,
        events: &mut Vec<DeviceEvent>,
    ) {
        let rows = self.geometry.rows;
        // It may have failed meanwhile.
        let same = |slot: &&mut Slot| slot.drive == Some(drive);
        let Some(slot) = self.slots.get_mut(number).filter(same) else {
            return;
        };
        slot.rebuilt = row + 1;
        let between_notes = rows.div_ceil(NOTES_PER_REBUILD);
        if slot.rebuilt == rows || slot.rebuilt % between_notes == 0 {
            self.superblocks_due = true;
        }
        if slot.rebuilt == rows {
            events.push(DeviceEvent::Notice(format!(
                "rebuild-finished member={drive} slot={number}"
            )));
        }
    }
}
