use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use devices::virtio::GuestMemory;
use rustix::event::Timespec;

use super::installation::Installation;
use super::process::{Accelerator, Board, Process};
use super::rom::Rom;
use super::running::Running;
use super::{answers, cannot};
use crate::engine::ram::Ram;
use crate::engine::{Counters, Debugging, Engine, EngineError, Hardware, Reset, SavedEngine, Stop};
use crate::slot::Slot;
use crate::vhost_user::Connection;

/// One board's QEMU, or none while the board is in reset.
pub struct QemuEngine {
    installation: Arc<Installation>,
    accelerator: Accelerator,
    debugging: Option<Debugging>,
    hardware: Hardware,
    running: Option<Running>,
    rom: Rom,
    ram: Ram,
    ram_file: File,
    counters: Counters,
}

impl std::fmt::Debug for QemuEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("QemuEngine")
            .field("counters", &self.counters)
            .finish_non_exhaustive()
    }
}

impl QemuEngine {
    /// A board without power.
    ///
    /// # Errors
    /// The ROM is too large, or the host has no memory.
    pub fn new(
        installation: Arc<Installation>,
        accelerator: Accelerator,
        debugging: Option<Debugging>,
        hardware: Hardware,
    ) -> Result<QemuEngine, EngineError> {
        let beyond = (!hardware.machine.runs_freely()).then_some(answers::PLACE);
        let (ram, ram_file) = Ram::shared(hardware.ram_mib, beyond)?;
        Ok(QemuEngine {
            installation,
            accelerator,
            debugging,
            running: None,
            rom: Rom::new(&hardware.rom)?,
            hardware,
            ram,
            ram_file,
            counters: Counters::default(),
        })
    }

    fn count(&mut self, stop: &Stop) {
        self.counters.exits += 1;
        match stop {
            Stop::Notified { .. } => self.counters.notifications += 1,
            Stop::Printed(_) | Stop::Quiet => {}
            Stop::Crashed(_) | Stop::Hung(_) | Stop::Halted | Stop::WantsReset => {
                self.running = None;
            }
        }
    }
}

impl Engine for QemuEngine {
    fn run(&mut self, slots: &mut [Slot]) -> Result<Stop, EngineError> {
        let Some(running) = &mut self.running else {
            // A board in reset is not run.
            return Ok(Stop::Halted);
        };
        // Whoever debugs a board may look at it for as long as he likes.
        let (hang_limit, leave) = match &self.debugging {
            None => (self.hardware.hang_limit, None),
            Some(debugging) => (Duration::MAX, Some(debugging.leave.as_ref())),
        };
        let stop = running.run(slots, self.ram.memory(), hang_limit, leave)?;
        self.count(&stop);
        Ok(stop)
    }

    fn run_freely(&mut self, slots: &mut [Slot], patience: Duration) -> Result<Stop, EngineError> {
        let Some(running) = &mut self.running else {
            return Ok(Stop::Halted);
        };
        let stop = running.run_freely(slots, patience)?;
        self.count(&stop);
        Ok(stop)
    }

    fn interrupt(&mut self, slot: usize, queue: usize) {
        if let Some(running) = &self.running {
            running.interrupt(slot, queue);
        }
    }

    fn type_bytes(&mut self, bytes: &[u8]) -> usize {
        // A serial port that takes nothing at the moment is asked again.
        let running = self.running.as_mut();
        running.map_or(0, |running| running.type_bytes(bytes))
    }

    fn reset(&mut self, reset: Reset, slots: &mut [Slot]) -> Result<(), EngineError> {
        self.running = None;
        if reset == Reset::Cold {
            self.ram.clear();
        }
        for slot in slots.iter_mut() {
            slot.reset();
        }
        self.counters.resets += 1;
        let board = Board {
            accelerator: self.accelerator,
            debug_port: self.debugging.as_ref().map(|it| it.port),
            hardware: &self.hardware,
            ram: &self.ram_file,
            rom: self.rom.file(),
            faces: slots.iter().map(|slot| &slot.face).collect(),
        };
        let (process, ends) = Process::start(&self.installation, &board)?;
        let mut devices = Vec::new();
        for (end, slot) in ends.devices.into_iter().zip(slots.iter()) {
            let connect =
                |end| Connection::new(end, slot.face.clone(), Some(self.ram.memory().clone()));
            devices.push(
                end.map(connect)
                    .transpose()
                    .map_err(cannot("be connected with"))?,
            );
        }
        if self.debugging.is_some() {
            devices
                .iter_mut()
                .flatten()
                .for_each(Connection::expect_pauses);
        }
        let clocked = !self.hardware.machine.runs_freely();
        self.running = Some(Running::new(
            process,
            ends.monitor,
            ends.serial,
            devices,
            clocked,
        )?);
        Ok(())
    }

    fn rest(&mut self) {
        // A debugger talks to QEMU, not to the guest.
        if let (Some(running), None) = (&mut self.running, &self.debugging) {
            running.pause();
        }
    }

    fn attend(&mut self, slots: &mut [Slot]) -> Result<(), EngineError> {
        if let (Some(running), Some(_)) = (&mut self.running, &self.debugging) {
            running.attend(slots, Some(&Timespec::default()))?;
        }
        Ok(())
    }

    fn power_off(&mut self) {
        self.running = None;
    }

    fn refresh(&mut self, index: usize, slot: &mut Slot) {
        if let Some(running) = &mut self.running {
            running.refresh(index, &slot.face);
        }
    }

    fn memory(&self) -> &GuestMemory {
        self.ram.memory()
    }

    fn save(&mut self, _base: Option<&SavedEngine>) -> Result<SavedEngine, EngineError> {
        Err(EngineError::Checkpoint(
            "the QEMU engine cannot make one; use --engine kvm",
        ))
    }

    fn restore(&mut self, _saved: &SavedEngine) -> Result<(), EngineError> {
        Err(EngineError::Checkpoint(
            "the QEMU engine cannot go back to one; use --engine kvm",
        ))
    }

    fn rom(&self) -> Vec<u8> {
        self.rom.bytes().to_vec()
    }

    fn break_rom(&mut self, at: Option<u16>) {
        self.rom.break_at(at);
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}
