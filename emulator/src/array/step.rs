//! How an array advances.

use devices::board_control::{ResetKind, ResetReason};
use devices::can::CanBus;
use devices::event::DeviceEvent;
use devices::midplane::MidplaneCommand;
use devices::power::{PowerLoss, mix};
use devices::time::Nanos;

use super::event::{EventKind, Source};
use super::power::CutPoint;
use super::{Array, ArrayError, CrashPolicy, RESET_PULSE};
use crate::board::{BoardNotice, Cpu, Which};
use crate::engine::EngineError;

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Boards ran, or the clock moved to an event.
    Advanced,
    /// Nothing happens before the limit; the clock stands there.
    Idle,
}

impl Array {
    /// Lets every board that can run do so; where none can, moves the clock to the next event, at
    /// most to `until`.
    ///
    /// # Errors
    /// The host cannot run a board any more.
    pub fn step(&mut self, until: Nanos) -> Result<Step, ArrayError> {
        if self.runs_freely() {
            return self.step_freely(until);
        }
        let mut ran = false;
        for slot in 0..self.boards.len() {
            if self.boards[slot].runnable() {
                ran = true;
                self.run_board(slot)?;
            }
        }
        if ran {
            return Ok(Step::Advanced);
        }
        for index in 0..self.boards.len() {
            let attended = self.boards[index].attend();
            attended.map_err(|source| self.failed(index, source))?;
        }
        match self.deadline() {
            Some(at) if at <= until => {
                self.now = self.now.max(at);
                self.serve_all()?;
                Ok(Step::Advanced)
            }
            _ => {
                if until != Nanos::NEVER {
                    self.now = self.now.max(until);
                }
                Ok(Step::Idle)
            }
        }
    }

    /// When something next happens by itself; `None` when nothing ever will.
    pub fn deadline(&mut self) -> Option<Nanos> {
        let shared = &mut self.shared;
        let boards = self
            .boards
            .iter_mut()
            .filter_map(|board| board.deadline(shared))
            .min();
        let resets = self.leaving_reset.iter().flatten().map(|(at, _)| *at).min();
        let shelf = self.shared.shelf.deadline();
        let networks = self
            .shared
            .backplane
            .deadline()
            .into_iter()
            .chain(self.shared.hosts.deadline())
            .chain(self.shared.can.as_ref().and_then(CanBus::deadline))
            .filter(|at| *at > self.now);
        boards
            .into_iter()
            .chain(resets)
            .chain(shelf)
            .chain(networks)
            .min()
    }

    fn run_board(&mut self, slot: usize) -> Result<(), ArrayError> {
        let mut notices = Vec::new();
        let result = self.boards[slot].run(self.now, &mut self.shared, &mut notices);
        self.note_board(slot, notices);
        result.map_err(|source| self.failed(slot, source))?;
        let stopped = match self.boards[slot].cpu().clone() {
            Cpu::Crashed(report) => Some(EventKind::Crashed(report)),
            Cpu::Hung(report) => Some(EventKind::Hung(report)),
            Cpu::Halted => Some(EventKind::Halted),
            Cpu::Off | Cpu::InReset | Cpu::Live => None,
        };
        if let Some(kind) = stopped {
            let crashed = matches!(kind, EventKind::Crashed(_));
            self.note(self.place(slot), kind);
            if crashed && self.crash_policy == CrashPolicy::Reset {
                self.begin_reset(slot, ResetReason::Crash);
            }
        }
        self.settle(slot);
        Ok(())
    }

    /// Serves every device whose time may have come: those of boards with a deadline that is due,
    /// and of all where the shelf went on by itself or somebody did something to the array. To a board that
    /// sleeps nothing else can happen, and looking at all its rings costs more than anything else
    /// between two instants.
    pub(super) fn serve_all(&mut self) -> Result<(), ArrayError> {
        let shelf_due = self
            .shared
            .shelf
            .deadline()
            .is_some_and(|at| at <= self.now);
        let everybody = std::mem::take(&mut self.disturbed) || shelf_due;
        let mut shelf_events = Vec::new();
        self.shared.shelf.advance(self.now, &mut shelf_events);
        self.note_devices(Source::Shelf, shelf_events);
        if let Some(can) = &mut self.shared.can {
            can.advance(self.now);
        }
        for slot in 0..self.boards.len() {
            let board = &mut self.boards[slot];
            let due = |at: Nanos| at <= self.now;
            if board.powered() && (everybody || board.deadline(&mut self.shared).is_some_and(due)) {
                let mut notices = Vec::new();
                let which = if everybody { Which::All } else { Which::Due };
                board.service(which, self.now, &mut self.shared, &mut notices);
                self.note_board(slot, notices);
            }
            if let Some((at, reason)) = self.leaving_reset[slot]
                && at <= self.now
            {
                self.leave_reset(slot, reason)?;
            }
            self.settle(slot);
        }
        Ok(())
    }

    /// Carries out what a board's run or service asked for: its own reset, other boards' hold
    /// lines, fences, and armed power cuts.
    pub(super) fn settle(&mut self, slot: usize) {
        if let Some(kind) = self.boards[slot].take_reset_request() {
            let reason = match kind {
                ResetKind::Cold => ResetReason::Cold,
                ResetKind::Warm => ResetReason::Warm,
                ResetKind::Watchdog => ResetReason::Watchdog,
            };
            self.begin_reset(slot, reason);
        }
        self.carry_out_midplane();
        self.note_can();
        self.fire_cuts();
    }

    /// Tells what happened on the CAN bus: frames at the bus, what controllers made of them at their boards.
    pub(super) fn note_can(&mut self) {
        let events = self.shared.can.as_mut().map(CanBus::take_events);
        for event in events.into_iter().flatten() {
            let node = event.kind.node().map(usize::from);
            let source = node.map_or(Source::Can, |node| self.place(node));
            self.note(source, EventKind::Device(event.into()));
        }
    }

    pub(super) fn carry_out_midplane(&mut self) {
        for command in self.shared.midplane.take_commands() {
            self.disturbed = true;
            let (MidplaneCommand::Hold(slot)
            | MidplaneCommand::Release(slot)
            | MidplaneCommand::Fence(slot)) = command;
            let port = usize::try_from(slot).unwrap_or(usize::MAX);
            let controllers = self.boards.get_mut(..self.controllers);
            let Some(board) = controllers.unwrap_or_default().get_mut(port) else {
                continue;
            };
            match command {
                MidplaneCommand::Hold(_) if board.powered() => {
                    board.stop_in_reset(&mut self.shared);
                    self.leaving_reset[port] = None;
                    self.note(Source::Board(port), EventKind::Held);
                }
                MidplaneCommand::Release(_) if board.powered() => {
                    self.begin_reset(port, ResetReason::Released);
                }
                MidplaneCommand::Fence(_) => {
                    self.shared.shelf.fence(port);
                    self.note(Source::Board(port), EventKind::Fenced);
                }
                MidplaneCommand::Hold(_) | MidplaneCommand::Release(_) => {}
            }
        }
    }

    /// Puts a powered board into reset; it leaves after [`RESET_PULSE`].
    pub(super) fn begin_reset(&mut self, slot: usize, reason: ResetReason) {
        let number = u32::try_from(slot).unwrap_or(u32::MAX);
        self.disturbed = true;
        self.shared.midplane.slot_reset(number);
        if slot < self.controllers {
            self.shared.shelf.unfence(slot);
        }
        self.boards[slot].stop_in_reset(&mut self.shared);
        self.leaving_reset[slot] = Some((self.now + RESET_PULSE, reason));
    }

    fn leave_reset(&mut self, slot: usize, reason: ResetReason) -> Result<(), ArrayError> {
        self.leaving_reset[slot] = None;
        self.disturbed = true;
        let booted = self.boards[slot].boot(reason, self.now, &mut self.shared);
        booted.map_err(|source| self.failed(slot, source))?;
        let boots = self.boards[slot].boots();
        self.note(self.place(slot), EventKind::Booted { reason, boots });
        Ok(())
    }

    fn failed(&self, index: usize, source: EngineError) -> ArrayError {
        ArrayError::Engine {
            board: self.place(index),
            source,
        }
    }

    /// Looks at the operations that began since the last look, and cuts the power where a cut was
    /// armed for one of them.
    pub(super) fn fire_cuts(&mut self) {
        while self.examined < self.events.len() {
            let event = &self.events[self.examined];
            self.examined += 1;
            let EventKind::Device(DeviceEvent::OperationBegan(operation)) = event.kind else {
                continue;
            };
            let source = event.source;
            let mut fired = Vec::new();
            for cut in &mut self.cuts {
                if cut.matches(source, &operation) {
                    fired.push(*cut);
                }
            }
            self.cuts
                .retain(|cut| fired.iter().all(|fired| fired.id != cut.id));
            for cut in fired {
                let CutPoint {
                    domain,
                    shape,
                    seed,
                    ..
                } = cut.point;
                self.note(Source::Chassis, EventKind::CutFired { cut: cut.id });
                let loss = PowerLoss {
                    now: self.now,
                    shape,
                    seed,
                };
                let during = Some(operation.kind);
                self.lose_power(domain, loss, &EventKind::PowerLost { during, shape });
            }
        }
    }

    /// A fresh seed for a power loss nobody gave one.
    pub(super) fn next_loss_seed(&mut self) -> u64 {
        self.power_losses += 1;
        mix(self.seed, self.power_losses)
    }

    pub(super) fn note_board(&mut self, slot: usize, notices: Vec<BoardNotice>) {
        for notice in notices {
            match notice {
                BoardNotice::Device(event) => {
                    self.note(self.place(slot), EventKind::Device(event));
                }
                BoardNotice::Shelf(event) => self.note(Source::Shelf, EventKind::Device(event)),
                BoardNotice::LastWords(words) => {
                    self.note(self.place(slot), EventKind::LastWords(words));
                }
            }
        }
    }

    pub(super) fn note_devices(&mut self, source: Source, events: Vec<DeviceEvent>) {
        for event in events {
            self.note(source, EventKind::Device(event));
        }
    }
}
