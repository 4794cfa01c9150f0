//! What people and harnesses do to an array: power, resets, boards, media, cuts.

use devices::board_control::ResetReason;
use devices::event::DeviceEvent;
use devices::power::{PowerLoss, Shape};
use devices::shelf::Shelf;

use super::event::{EventKind, Source, slot_letter};
use super::power::{ArmedCut, CutPoint, PowerDomain};
use super::{Array, ArrayError};
use crate::board::Controller;

impl Array {
    /// Gives a domain power. What has power already is left alone.
    pub fn power_on(&mut self, domain: PowerDomain) {
        if domain.has_shelf() && !self.shelf_powered {
            self.shelf_powered = true;
            self.note(Source::Shelf, EventKind::PoweredOn);
            let mut events = Vec::new();
            self.shared.shelf.power_on(self.now, &mut events);
            self.note_devices(Source::Shelf, events);
        }
        for slot in 0..self.boards.len() {
            if domain.has_board(slot) && self.boards[slot].controller().is_some() {
                self.power_board(slot);
            }
        }
        self.faces_changed();
        self.carry_out_midplane();
    }

    fn power_board(&mut self, slot: usize) {
        if self.boards[slot].powered() {
            return;
        }
        let number = u32::try_from(slot).unwrap_or(u32::MAX);
        self.shared.midplane.set_powered(number, true);
        self.shared.backplane.set_powered(slot, true);
        self.shared.hosts.set_powered(slot, true);
        self.boards[slot].power_on();
        self.note(Source::Board(slot), EventKind::PoweredOn);
        if self.shared.midplane.lines(number).held {
            self.note(Source::Board(slot), EventKind::Held);
        } else {
            self.begin_reset(slot, ResetReason::PowerOn);
        }
    }

    /// Takes a domain's power away at this instant. What is in progress is left in `shape`.
    pub fn power_cut(&mut self, domain: PowerDomain, shape: Shape) {
        let seed = self.next_loss_seed();
        let loss = PowerLoss {
            now: self.now,
            shape,
            seed,
        };
        let during = None;
        self.lose_power(domain, loss, &EventKind::PowerLost { during, shape });
    }

    /// Switches a domain off at this instant: devices end what is in progress, firmware is not asked.
    pub fn power_off(&mut self, domain: PowerDomain) {
        let loss = PowerLoss {
            now: self.now,
            shape: Shape::Done,
            seed: self.next_loss_seed(),
        };
        self.lose_power(domain, loss, &EventKind::PoweredOff);
    }

    pub(super) fn lose_power(&mut self, domain: PowerDomain, loss: PowerLoss, lost: &EventKind) {
        for slot in 0..self.boards.len() {
            if domain.has_board(slot) && self.boards[slot].powered() {
                let number = u32::try_from(slot).unwrap_or(u32::MAX);
                self.note(Source::Board(slot), lost.clone());
                let notices = self.boards[slot].power_lost(loss, &mut self.shared);
                self.note_board(slot, notices);
                self.leaving_reset[slot] = None;
                self.shared.midplane.set_powered(number, false);
                self.shared.backplane.set_powered(slot, false);
                self.shared.hosts.set_powered(slot, false);
            }
        }
        if domain.has_shelf() && self.shelf_powered {
            self.shelf_powered = false;
            self.note(Source::Shelf, lost.clone());
            let mut events = Vec::new();
            self.shared.shelf.power_lost(loss, &mut events);
            self.note_devices(Source::Shelf, events);
        }
        self.faces_changed();
        self.carry_out_midplane();
    }

    /// Resets a board from outside, as its reset button does.
    ///
    /// # Errors
    /// There is no such slot, or it has no power, or is held by its partner.
    pub fn reset(&mut self, slot: usize, reason: ResetReason) -> Result<(), ArrayError> {
        let board = self.boards.get(slot).ok_or(ArrayError::NoSlot(slot))?;
        let letter = slot_letter(slot);
        if !board.powered() {
            return Err(ArrayError::Slot {
                slot: letter,
                problem: "it has no power to reset it",
            });
        }
        if self
            .shared
            .midplane
            .lines(u32::try_from(slot).unwrap_or(u32::MAX))
            .held
        {
            return Err(ArrayError::Slot {
                slot: letter,
                problem: "its partner holds it in reset",
            });
        }
        self.begin_reset(slot, reason);
        Ok(())
    }

    /// Puts a controller into an empty slot; it stays without power until [`Array::power_on`].
    ///
    /// # Errors
    /// There is no such slot, or it is not empty.
    pub fn insert(&mut self, slot: usize, controller: Controller) -> Result<(), ArrayError> {
        let board = self.boards.get_mut(slot).ok_or(ArrayError::NoSlot(slot))?;
        if board.controller().is_some() {
            let problem = "there is a board in it already";
            return Err(ArrayError::Slot {
                slot: slot_letter(slot),
                problem,
            });
        }
        let serial = controller.serial.clone();
        board.insert(controller);
        let number = u32::try_from(slot).unwrap_or(u32::MAX);
        self.shared.midplane.set_present(number, true);
        self.note(Source::Board(slot), EventKind::Inserted { serial });
        Ok(())
    }

    /// Pulls the controller out of a slot, powered or not; what was in progress in its flash is left
    /// torn.
    ///
    /// # Errors
    /// There is no such slot, or it is empty.
    pub fn pull(&mut self, slot: usize) -> Result<Controller, ArrayError> {
        let board = self.boards.get(slot).ok_or(ArrayError::NoSlot(slot))?;
        if board.powered() {
            self.power_cut(PowerDomain::board(slot), Shape::Torn);
        }
        let number = u32::try_from(slot).unwrap_or(u32::MAX);
        self.shared.midplane.set_present(number, false);
        let problem = "there is no board in it";
        let empty = ArrayError::Slot {
            slot: slot_letter(slot),
            problem,
        };
        let controller = self.boards[slot].remove().ok_or(empty)?;
        self.note(
            Source::Board(slot),
            EventKind::Pulled {
                serial: controller.serial.clone(),
            },
        );
        self.carry_out_midplane();
        Ok(controller)
    }

    /// Shows all boards what changed outside them: service media, cables, neighbours' power.
    pub fn faces_changed(&mut self) {
        self.disturbed = true;
        for board in &mut self.boards {
            board.refresh_faces(&mut self.shared);
        }
    }

    /// Does something to the shelf that it has something to say about: fails a disk, starts a scrub.
    pub fn with_shelf(&mut self, act: impl FnOnce(&mut Shelf, &mut Vec<DeviceEvent>)) {
        self.disturbed = true;
        let mut events = Vec::new();
        act(&mut self.shared.shelf, &mut events);
        self.note_devices(Source::Shelf, events);
    }

    /// Whether the shelf has power.
    pub fn shelf_powered(&self) -> bool {
        self.shelf_powered
    }

    /// Arms a power cut; its number shows up in [`EventKind::CutFired`].
    pub fn arm(&mut self, point: CutPoint) -> u32 {
        let id = self.next_cut;
        self.next_cut += 1;
        self.cuts.push(ArmedCut { id, point, seen: 0 });
        id
    }

    /// Cuts that have not fired.
    pub fn armed(&self) -> impl Iterator<Item = (u32, &CutPoint)> {
        self.cuts.iter().map(|cut| (cut.id, &cut.point))
    }

    /// Forgets the cuts that have not fired.
    pub fn disarm(&mut self) {
        self.cuts.clear();
    }
}
