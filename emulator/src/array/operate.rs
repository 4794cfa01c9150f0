//! What people and harnesses do to an array: power, resets, boards, media, cuts.

use devices::board_control::ResetReason;
use devices::can::CanBus;
use devices::event::DeviceEvent;
use devices::power::{PowerLoss, Shape};
use devices::shelf::Shelf;
use devices::time::Nanos;

use super::event::{EventKind, Source};
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
            if self.is_in(slot, domain) && self.boards[slot].controller().is_some() {
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
        self.tell_power(slot, true);
        self.boards[slot].power_on();
        self.note(self.place(slot), EventKind::PoweredOn);
        if self.shared.midplane.lines(number).held {
            self.note(self.place(slot), EventKind::Held);
        } else {
            self.begin_reset(slot, ResetReason::PowerOn);
        }
    }

    fn is_in(&self, index: usize, domain: PowerDomain) -> bool {
        match index.checked_sub(self.controllers) {
            None => domain.has_board(index),
            Some(node) => domain.has_node(node),
        }
    }

    /// Tells the chassis' parts whether a board has power: those that are no controllers are not of the
    /// chassis.
    fn tell_power(&mut self, index: usize, powered: bool) {
        if let (Some(can), Ok(node)) = (&mut self.shared.can, index.try_into()) {
            can.set_powered(self.now, node, powered);
        }
        if index < self.controllers {
            let number = u32::try_from(index).unwrap_or(u32::MAX);
            self.shared.midplane.set_powered(number, powered);
            self.shared.backplane.set_powered(index, powered);
            self.shared.hosts.set_powered(index, powered);
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
            if self.is_in(slot, domain) && self.boards[slot].powered() {
                self.note(self.place(slot), lost.clone());
                let notices = self.boards[slot].power_lost(loss, &mut self.shared);
                self.note_board(slot, notices);
                self.leaving_reset[slot] = None;
                self.tell_power(slot, false);
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
    /// There is no such board, or it has no power, or is held by its partner.
    pub fn reset(&mut self, place: Source, reason: ResetReason) -> Result<(), ArrayError> {
        let index = self.index(place)?;
        let refused = |problem| Err(ArrayError::Place { place, problem });
        if !self.boards[index].powered() {
            return refused("it has no power to reset it");
        }
        let number = u32::try_from(index).unwrap_or(u32::MAX);
        if self.shared.midplane.lines(number).held {
            return refused("its partner holds it in reset");
        }
        self.begin_reset(index, reason);
        Ok(())
    }

    /// Puts a board into an empty place; it stays without power until [`Array::power_on`].
    ///
    /// # Errors
    /// There is no such place, or it is not empty.
    pub fn insert(&mut self, place: Source, controller: Controller) -> Result<(), ArrayError> {
        let index = self.index(place)?;
        if self.boards[index].controller().is_some() {
            let problem = "there is a board in it already";
            return Err(ArrayError::Place { place, problem });
        }
        let serial = controller.serial.clone();
        self.boards[index].insert(controller);
        self.tell_presence(index, true);
        self.note(place, EventKind::Inserted { serial });
        Ok(())
    }

    /// Pulls the board out of its place, powered or not; what was in progress in its flash is left
    /// torn.
    ///
    /// # Errors
    /// There is no such place, or it is empty.
    pub fn pull(&mut self, place: Source) -> Result<Controller, ArrayError> {
        let index = self.index(place)?;
        if self.boards[index].powered() {
            let domain = match place {
                Source::Node(node) => PowerDomain::node(node),
                _ => PowerDomain::board(index),
            };
            self.power_cut(domain, Shape::Torn);
        }
        self.tell_presence(index, false);
        let problem = "there is no board in it";
        let empty = ArrayError::Place { place, problem };
        let controller = self.boards[index].remove().ok_or(empty)?;
        let serial = controller.serial.clone();
        self.note(place, EventKind::Pulled { serial });
        self.carry_out_midplane();
        Ok(controller)
    }

    fn tell_presence(&mut self, index: usize, present: bool) {
        if index < self.controllers {
            let number = u32::try_from(index).unwrap_or(u32::MAX);
            self.shared.midplane.set_present(number, present);
        }
    }

    /// Which of all boards is meant.
    pub(super) fn index(&self, place: Source) -> Result<usize, ArrayError> {
        let index = match place {
            Source::Board(slot) if slot < self.controllers => Some(slot),
            Source::Node(node) => self.controllers.checked_add(node),
            _ => None,
        };
        let index = index.filter(|index| *index < self.boards.len());
        index.ok_or(ArrayError::NoPlace(place))
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

    /// Does something to the CAN bus: breaks something, plugs a cable. Nothing where there is no bus.
    pub fn with_can<T>(&mut self, act: impl FnOnce(&mut CanBus, Nanos) -> T) -> Option<T> {
        self.disturbed = true;
        let now = self.now;
        let done = self.shared.can.as_mut().map(|can| act(can, now));
        self.note_can();
        done
    }

    /// Whether the shelf has power.
    pub fn shelf_powered(&self) -> bool {
        self.shelf_powered
    }

    /// Arms a power cut; its number shows up in [`EventKind::CutFired`].
    pub fn arm(&mut self, point: CutPoint) -> u32 {
        if let (Source::Can, Some(can)) = (point.source, &mut self.shared.can) {
            can.tell_frames(true);
        }
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
