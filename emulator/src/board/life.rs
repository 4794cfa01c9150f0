//! Power, reset, running and servicing a board.

use devices::board_control::{ResetKind, ResetReason};
use devices::event::DeviceEvent;
use devices::power::PowerLoss;
use devices::time::Nanos;

use super::fitted::{CONTROL, Cores, SHELF, SLOTS, Serve};
use super::{Board, BoardNotice, Controller, Cpu};
use crate::engine::{CrashReport, EngineError, Reset, Stop};
use crate::shared::Shared;

/// Stops of a CPU within one instant before the board counts as hung: a guest that notifies devices
/// for ever without waiting must not stop the array. The reference firmware needs fewer than 100.
const MAX_STOPS_PER_INSTANT: u32 = 10_000;
/// Longest line of last words.
const LAST_WORDS_BYTES: usize = 512;

/// Which devices of a board to serve.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// Each of them.
    All,
    /// Those with a deadline that has come.
    Due,
    /// That in one slot.
    One(usize),
}

impl Board {
    /// Gives every device slot its face.
    pub(crate) fn fit_faces(&mut self, shared: &mut Shared) {
        let mut cores = Cores {
            local: &mut self.local,
            controller: self.controller.as_mut(),
            shared,
        };
        for (index, slot) in self.slots.iter_mut().enumerate() {
            slot.fit(
                self.fitted
                    .face(index, &self.fitting, &mut cores)
                    .unwrap_or_default(),
            );
            self.engine.refresh(index, slot);
        }
    }

    /// Shows the driver configuration that changed from outside (a medium was inserted …).
    pub(crate) fn refresh_faces(&mut self, shared: &mut Shared) {
        let mut cores = Cores {
            local: &mut self.local,
            controller: self.controller.as_mut(),
            shared,
        };
        for (index, slot) in self.slots.iter_mut().enumerate() {
            if slot.face.device_id == 0 {
                continue;
            }
            let config = self
                .fitted
                .face(index, &self.fitting, &mut cores)
                .map(|face| face.config);
            if let Some(config) = config.filter(|config| *config != slot.face.config) {
                slot.face.config = config;
                slot.face.generation = slot.face.generation.wrapping_add(1);
                self.engine.refresh(index, slot);
            }
        }
    }

    /// Puts a controller into the empty slot.
    pub(crate) fn insert(&mut self, controller: Controller) {
        let identity = &mut self.local.control.identity;
        identity.serial.clone_from(&controller.serial);
        identity.straps = controller.straps;
        identity.boots = 0;
        self.controller = Some(controller);
    }

    /// Takes the controller out; it has lost power before.
    pub(crate) fn remove(&mut self) -> Option<Controller> {
        self.controller.take()
    }

    /// Power comes: the controller's chips start up. The CPU stays in reset until [`Board::boot`].
    pub(crate) fn power_on(&mut self) {
        self.powered = true;
        self.cpu = Cpu::InReset;
        if let Some(controller) = &mut self.controller {
            controller.flash.power_on();
        }
    }

    /// Power goes: everything volatile is gone, and what was in progress in the flash is left in
    /// the given shape.
    pub(crate) fn power_lost(&mut self, loss: PowerLoss, shared: &mut Shared) -> Vec<BoardNotice> {
        self.powered = false;
        self.cpu = Cpu::Off;
        self.engine.power_off();
        self.forget_requests(shared);
        let cut_off = self
            .local
            .console
            .power_lost()
            .map(DeviceEvent::ConsoleLine);
        self.local.panel.power_lost();
        let failed = self
            .controller
            .as_mut()
            .and_then(|controller| controller.flash.power_lost(loss).err());
        self.flush_last_words()
            .into_iter()
            .chain(cut_off.map(BoardNotice::Device))
            .chain(failed.map(|error| {
                BoardNotice::Device(DeviceEvent::MediumFault(format!(
                    "flash-file-failed {error}"
                )))
            }))
            .collect()
    }

    /// The reset line is pulled: the CPU stops and requests in progress are dropped.
    pub(crate) fn stop_in_reset(&mut self, shared: &mut Shared) {
        self.cpu = Cpu::InReset;
        self.engine.power_off();
        self.forget_requests(shared);
    }

    /// Leaves reset: the CPU will run from its reset vector.
    pub(crate) fn boot(
        &mut self,
        reason: ResetReason,
        now: Nanos,
        shared: &mut Shared,
    ) -> Result<(), EngineError> {
        self.forget_requests(shared);
        let calendar = shared.midplane.calendar_seconds(now);
        self.local.control.board_reset(reason, now, calendar);
        let reset = if reason == ResetReason::Warm {
            Reset::Warm
        } else {
            Reset::Cold
        };
        self.break_rom();
        self.fit_faces(shared);
        self.engine.reset(reset, &mut self.slots)?;
        self.cpu = Cpu::Live;
        Ok(())
    }

    fn forget_requests(&mut self, shared: &mut Shared) {
        self.local.control.stopped();
        let mut cores = Cores {
            local: &mut self.local,
            controller: self.controller.as_mut(),
            shared,
        };
        self.fitted.reset(&mut cores);
        if let Some(controller) = &mut self.controller {
            controller.flash.abandon();
        }
        for slot in &mut self.slots {
            slot.reset();
        }
    }

    /// Whether the CPU can run on at this instant.
    pub(crate) fn runnable(&self) -> bool {
        self.cpu == Cpu::Live && !self.local.control.waiting()
    }

    /// The reset the board asked for.
    pub(crate) fn take_reset_request(&mut self) -> Option<ResetKind> {
        self.local.control.take_reset_request()
    }

    /// Runs the CPU until it waits, stops or asks for a reset, serving its devices at `now`.
    pub(crate) fn run(
        &mut self,
        now: Nanos,
        shared: &mut Shared,
        notices: &mut Vec<BoardNotice>,
    ) -> Result<(), EngineError> {
        let result = self.run_to_wait(now, shared, notices);
        self.engine.rest();
        result
    }

    /// Deals with whoever else wants something of the machine while the board waits.
    pub(crate) fn attend(&mut self) -> Result<(), EngineError> {
        self.engine.attend(&mut self.slots)
    }

    fn run_to_wait(
        &mut self,
        now: Nanos,
        shared: &mut Shared,
        notices: &mut Vec<BoardNotice>,
    ) -> Result<(), EngineError> {
        for _ in 0..MAX_STOPS_PER_INSTANT {
            match self.engine.run(&mut self.slots)? {
                Stop::Notified { .. } => {
                    self.service(Which::All, now, shared, notices);
                    if !self.runnable() || self.local.control.reset_requested() {
                        return Ok(());
                    }
                }
                Stop::Printed(bytes) => {
                    for byte in bytes {
                        notices.extend(self.last_word(byte));
                    }
                }
                // Only of CPUs that run freely; this one goes on.
                Stop::Quiet | Stop::WantsReset => {}
                Stop::Crashed(report) => return self.stopped(Cpu::Crashed(report), notices),
                Stop::Hung(report) => return self.stopped(Cpu::Hung(report), notices),
                Stop::Halted => return self.stopped(Cpu::Halted, notices),
            }
        }
        let report = CrashReport {
            cause: format!("{MAX_STOPS_PER_INSTANT} notifications without a wait"),
            ..CrashReport::default()
        };
        self.stopped(Cpu::Hung(report), notices)
    }

    pub(super) fn stopped(
        &mut self,
        cpu: Cpu,
        notices: &mut Vec<BoardNotice>,
    ) -> Result<(), EngineError> {
        self.cpu = cpu;
        notices.extend(self.flush_last_words());
        Ok(())
    }

    /// Serves devices: board control first and (for what woke it) last, the others in slot order; all
    /// of them, or, where nobody touched rings or cores since the last time, those that are due.
    pub(crate) fn service(
        &mut self,
        which: Which,
        now: Nanos,
        shared: &mut Shared,
        notices: &mut Vec<BoardNotice>,
    ) {
        let mut events: Vec<DeviceEvent> = Vec::new();
        if !self.slots[CONTROL].live || self.slots[CONTROL].needs_reset {
            // The watchdog outlives the driver that armed it.
            self.local.control.check_watchdog(now);
        }
        for index in (0..SLOTS).chain([CONTROL]) {
            if self.slots[index].face.device_id == 0 {
                continue;
            }
            let slot = &mut self.slots[index];
            let mut cores = Cores {
                local: &mut self.local,
                controller: self.controller.as_mut(),
                shared,
            };
            let asked = match which {
                Which::All => true,
                Which::Due => index == CONTROL,
                Which::One(only) => index == only,
            };
            if !asked && !self.fitted.is_due(index, &mut cores, now) {
                continue;
            }
            let serve = Serve {
                slot,
                memory: self.engine.memory(),
                now,
                events: &mut events,
            };
            let serviced = self.fitted.service(index, &mut cores, serve);
            // What the shelf did has nothing to do with whose request it did it at; what a driver did has.
            notices.extend(events.drain(..).map(|event| match event {
                DeviceEvent::DriverFault { .. } => BoardNotice::Device(event),
                _ if index == SHELF => BoardNotice::Shelf(event),
                _ => BoardNotice::Device(event),
            }));
            if serviced.changed {
                self.engine.refresh(index, slot);
            }
            if self.fitting.runs_freely {
                let queues =
                    (0..slot.queues.len()).filter(|queue| serviced.returned & (1 << queue) != 0);
                for queue in queues {
                    self.engine.interrupt(index, queue);
                }
            }
            if index != CONTROL {
                let number = u32::try_from(index).unwrap_or(0);
                let control = &mut self.local.control;
                control.serviced(number, now, serviced.returned != 0, serviced.unfinished);
            }
        }
    }

    fn last_word(&mut self, byte: u8) -> Option<BoardNotice> {
        if byte == b'\n' || self.last_words.len() >= LAST_WORDS_BYTES {
            return self.flush_last_words();
        }
        self.last_words
            .push(if byte.is_ascii_graphic() || byte == b' ' {
                byte.into()
            } else {
                '?'
            });
        None
    }

    fn flush_last_words(&mut self) -> Option<BoardNotice> {
        let words = std::mem::take(&mut self.last_words);
        (!words.is_empty()).then_some(BoardNotice::LastWords(words))
    }
}
