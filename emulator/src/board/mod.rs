//! One controller slot: the controller in it, its device slots, its CPU and its life.
//!
//! ```text
//!              power on                      reset, watchdog, crash policy
//!    ┌─────┐ ───────────► ┌──────────────────┐ ◄───────────┐
//!    │ off │              │ running ⇄ waiting│ ────────────┤
//!    └─────┘ ◄─────────── └──────────────────┘             │
//!      ▲      power cut     │ hold    ▲ release  ┌─────────┴──────────┐
//!      │                    ▼         │          │ crashed/hung/halted│
//!      └──────────────── ┌────────┐───┘          └────────────────────┘
//!                        │in reset│
//!                        └────────┘
//! ```

mod controller;
mod fitted;
mod freely;
mod life;

use devices::board_control::BoardIdentity;
use devices::console::Console;
use devices::event::DeviceEvent;
use devices::panel::Framebuffer;
use devices::time::Nanos;
use serde::{Deserialize, Serialize};

pub use self::controller::{Broken, Controller};
use self::fitted::{Cores, Fitted, LocalCores};
pub use self::fitted::{DEVICE_NAMES, FLASH_SLOT, Fitting};
#[cfg(test)]
pub(crate) use self::fitted::{Serve, Serviced};
pub(crate) use self::life::Which;
use crate::engine::{Counters, CrashReport, Engine, EngineError, SavedEngine};
use crate::shared::Shared;
use crate::slot::{SavedSlot, Slot};

/// Whether and why a board's CPU runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Cpu {
    /// No power, or no board.
    Off,
    /// In reset: about to boot, or held by its partner.
    InReset,
    /// Running, or waiting for an event.
    Live,
    /// It could not continue.
    Crashed(CrashReport),
    /// It ran without touching a device.
    Hung(CrashReport),
    /// It halted for good.
    Halted,
}

/// Something a board reports to its array.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum BoardNotice {
    /// A device had something to say.
    Device(DeviceEvent),
    /// The shelf had, when the board asked it for something else.
    Shelf(DeviceEvent),
    /// What it wrote to its UART, up to a line end.
    LastWords(String),
}

/// One controller slot of the chassis.
#[derive(Debug)]
pub struct Board {
    engine: Box<dyn Engine>,
    slots: Vec<Slot>,
    fitted: Fitted,
    fitting: Fitting,
    local: LocalCores,
    controller: Option<Controller>,
    cpu: Cpu,
    powered: bool,
    last_words: String,
}

/// A board as plain data.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedBoard {
    engine: SavedEngine,
    slots: Vec<SavedSlot>,
    fitted: Fitted,
    local: LocalCores,
    controller: Option<Controller>,
    cpu: Cpu,
    powered: bool,
    last_words: String,
}

impl Board {
    /// An empty slot `index`; `identity` is what the chassis tells any board in it.
    pub(crate) fn new(
        index: usize,
        engine: Box<dyn Engine>,
        fitting: Fitting,
        identity: BoardIdentity,
        shared: &mut Shared,
    ) -> Board {
        let mut board = Board {
            engine,
            slots: (0..fitted::SLOTS).map(|_| Slot::default()).collect(),
            fitted: Fitted::new(index),
            fitting,
            local: LocalCores::new(identity),
            controller: None,
            cpu: Cpu::Off,
            powered: false,
            last_words: String::new(),
        };
        board.fit_faces(shared);
        board
    }

    /// The controller in the slot.
    pub fn controller(&self) -> Option<&Controller> {
        self.controller.as_ref()
    }

    /// The controller in the slot, to inject faults or look into its flash.
    pub fn controller_mut(&mut self) -> Option<&mut Controller> {
        self.controller.as_mut()
    }

    /// What the CPU does.
    pub fn cpu(&self) -> &Cpu {
        &self.cpu
    }

    /// Whether the slot has power.
    pub fn powered(&self) -> bool {
        self.powered
    }

    /// Resets since the controller was put into the slot.
    pub fn boots(&self) -> u32 {
        self.local.control.identity.boots
    }

    /// What the chassis and its settings tell the board. Changes show at the next reset.
    pub fn identity_mut(&mut self) -> &mut BoardIdentity {
        &mut self.local.control.identity
    }

    /// The console: what it printed, and what to type.
    pub fn console(&self) -> &Console {
        &self.local.console
    }

    /// The console, to type on.
    pub fn console_mut(&mut self) -> &mut Console {
        &mut self.local.console
    }

    /// The panel's picture.
    pub fn panel(&self) -> &Framebuffer {
        &self.local.panel
    }

    /// The boot ROM as the CPU reads it.
    pub fn rom(&self) -> Vec<u8> {
        self.engine.rom()
    }

    /// What running it has cost.
    pub fn counters(&self) -> Counters {
        self.engine.counters()
    }

    pub(crate) fn save(&mut self, base: Option<&SavedBoard>) -> Result<SavedBoard, EngineError> {
        Ok(SavedBoard {
            engine: self.engine.save(base.map(|base| &base.engine))?,
            slots: self.slots.iter().map(Slot::save).collect(),
            fitted: self.fitted.clone(),
            local: self.local.clone(),
            controller: self.controller.clone(),
            cpu: self.cpu.clone(),
            powered: self.powered,
            last_words: self.last_words.clone(),
        })
    }

    pub(crate) fn restore(&mut self, saved: &SavedBoard) -> Result<(), EngineError> {
        if saved.slots.len() != self.slots.len() {
            return Err(EngineError::Checkpoint(
                "it has another number of device slots",
            ));
        }
        self.engine.restore(&saved.engine)?;
        for (index, (slot, saved)) in self.slots.iter_mut().zip(&saved.slots).enumerate() {
            slot.restore(saved);
            self.engine.refresh(index, slot);
        }
        self.fitted.clone_from(&saved.fitted);
        self.local.clone_from(&saved.local);
        self.controller.clone_from(&saved.controller);
        self.break_rom();
        self.cpu = saved.cpu.clone();
        self.powered = saved.powered;
        self.last_words.clone_from(&saved.last_words);
        Ok(())
    }

    /// Shows the CPU the boot ROM as it is broken.
    fn break_rom(&mut self) {
        let byte = self.controller.as_ref().and_then(|c| c.broken.rom_byte);
        self.engine.break_rom(byte);
    }

    /// When a device of this board next has something to do by itself.
    pub(crate) fn deadline(&mut self, shared: &mut Shared) -> Option<Nanos> {
        let watchdog = self
            .local
            .control
            .watchdog_deadline()
            .filter(|_| self.powered);
        let mut cores = Cores {
            local: &mut self.local,
            controller: self.controller.as_mut(),
            shared,
        };
        let devices = self.fitted.deadline(&self.slots, &mut cores);
        devices.into_iter().chain(watchdog).min()
    }
}
