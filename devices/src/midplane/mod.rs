//! What the controllers of a chassis share: locks, hold lines and the calendar clock.
//!
//! * `lock.rs` — single-owner locks with an epoch (the fencing token) and fencing take-over.
//! * `slots.rs` — the lines of each slot: present, powered, held in reset, fenced.
//!
//! The midplane decides; the emulator carries out. What it must carry out comes as
//! `MidplaneCommand`s from `Midplane::take_commands`, in the order it was asked for.

mod lock;
mod slots;
#[cfg(test)]
mod tests;

use serde::{Deserialize, Serialize};

pub use lock::{LockAction, LockAnswer};
pub use slots::{HoldAction, SlotLines};

use crate::time::Nanos;
use lock::Lock;
use slots::Slot;

/// Locks on a midplane.
pub const LOCKS: usize = 16;

/// Why the midplane did not do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// Understood, and not allowed now.
    Refused,
    /// No such lock or slot.
    NoSuch,
}

/// What the emulator must do to a slot because the midplane says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MidplaneCommand {
    /// Put the controller of this slot into reset and keep it there.
    Hold(u32),
    /// Let the controller of this slot boot (it may be absent or unpowered: then nothing).
    Release(u32),
    /// Make the shelf port of this slot refuse writes until that slot resets.
    Fence(u32),
}

/// The shared hardware of one chassis.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Midplane {
    locks: [Lock; LOCKS],
    slots: Vec<Slot>,
    calendar_base_seconds: u64,
    commands: Vec<MidplaneCommand>,
}

impl Midplane {
    /// A midplane of `slots` empty slots. Its calendar read `calendar_base_seconds` (since
    /// 1970-01-01) at virtual time zero.
    pub fn new(slots: u32, calendar_base_seconds: u64) -> Midplane {
        Midplane {
            locks: Default::default(),
            slots: (0..slots).map(|_| Slot::default()).collect(),
            calendar_base_seconds,
            commands: Vec::new(),
        }
    }

    /// The calendar clock at `now`: seconds since 1970-01-01.
    pub fn calendar_seconds(&self, now: Nanos) -> u64 {
        self.calendar_base_seconds
            .saturating_add(now.0 / 1_000_000_000)
    }

    /// What is to be carried out since the last call. To be asked after every service of a board
    /// control device and after every change of presence or power.
    pub fn take_commands(&mut self) -> Vec<MidplaneCommand> {
        std::mem::take(&mut self.commands)
    }

    /// The controller in `slot` was reset, whatever the cause: its locks are free and its fence is
    /// lifted.
    pub fn slot_reset(&mut self, slot: u32) {
        self.free_locks_of(slot);
        if let Some(lines) = self.slot_mut(slot) {
            lines.fenced = false;
        }
    }

    fn slot(&self, slot: u32) -> Option<&Slot> {
        self.slots.get(usize::try_from(slot).ok()?)
    }

    fn slot_mut(&mut self, slot: u32) -> Option<&mut Slot> {
        self.slots.get_mut(usize::try_from(slot).ok()?)
    }
}
