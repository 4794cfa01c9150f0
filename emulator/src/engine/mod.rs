//! What runs a board's CPU.
//!
//! An engine owns the CPU and the board's memory. It runs the CPU until the driver notifies a device
//! or the CPU can go no further, and keeps the driver's half of every [`Slot`] up to date. It knows
//! no device: whether a notified device lives in this process or behind a vhost-user socket
//! is the board's business, and the only thing both share is `vm-memory`.

use std::fmt;
use std::time::Duration;

use devices::virtio::GuestMemory;
use serde::{Deserialize, Serialize};
use thiserror::Error;

pub use self::choice::{Debugging, EngineChoice, Hardware};
use crate::slot::Slot;

mod choice;
/// The own VMM on /dev/kvm.
pub mod kvm;
/// Stock QEMU as a child process.
pub mod qemu;
/// Board RAM that is cheap to clear, save and restore.
pub mod ram;
#[cfg(test)]
mod test_rom;
#[cfg(test)]
mod tests;

/// What runs a board's CPU. See the module for who owns what.
pub trait Engine: fmt::Debug {
    /// Runs the CPU until it has something to say.
    ///
    /// # Errors
    /// The host cannot run the CPU any more (never because of what the guest did).
    fn run(&mut self, slots: &mut [Slot]) -> Result<Stop, EngineError>;

    /// The same for a CPU that never waits, at most for `patience` of real time.
    ///
    /// # Errors
    /// As [`Engine::run`], or this engine has no such CPU.
    fn run_freely(&mut self, slots: &mut [Slot], patience: Duration) -> Result<Stop, EngineError>;

    /// Tells the driver of a freely running CPU that queue `queue` of slot `slot` has answers.
    fn interrupt(&mut self, slot: usize, queue: usize);

    /// Types on the serial port of a freely running CPU. Returns how many bytes there was room for.
    fn type_bytes(&mut self, bytes: &[u8]) -> usize;

    /// Puts the CPU at its reset vector. A cold reset clears RAM, a warm one keeps it.
    ///
    /// # Errors
    /// The host refuses to set CPU state.
    fn reset(&mut self, reset: Reset, slots: &mut [Slot]) -> Result<(), EngineError>;

    /// The board waits: its CPU gets nothing to do until the next [`Engine::run`].
    fn rest(&mut self);

    /// The board still waits: deals with whoever else wants something of its machine, such as a debugger.
    ///
    /// # Errors
    /// As [`Engine::run`].
    fn attend(&mut self, slots: &mut [Slot]) -> Result<(), EngineError>;

    /// The CPU stops at once and runs nothing until the next [`Engine::reset`].
    fn power_off(&mut self);

    /// Shows the driver what the device side of `slot` changed: configuration space, generation,
    /// DEVICE_NEEDS_RESET.
    fn refresh(&mut self, index: usize, slot: &mut Slot);

    /// The board's memory.
    fn memory(&self) -> &GuestMemory;

    /// CPU, memory and transport state, as a value. Pages equal to those of `base` are shared.
    ///
    /// # Errors
    /// The host refuses to give CPU state, or this engine cannot be checkpointed.
    fn save(&mut self, base: Option<&SavedEngine>) -> Result<SavedEngine, EngineError>;

    /// Back to what [`Engine::save`] saw.
    ///
    /// # Errors
    /// The checkpoint is of another engine or memory size, or the host refuses the state.
    fn restore(&mut self, saved: &SavedEngine) -> Result<(), EngineError>;

    /// The boot ROM as the CPU reads it.
    fn rom(&self) -> Vec<u8>;

    /// From here on the lowest bit of byte `at` of the boot ROM reads wrong, and no other; `None`: none.
    fn break_rom(&mut self, at: Option<u16>);

    /// What it has cost so far.
    fn counters(&self) -> Counters;
}

/// How a CPU is reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reset {
    /// As after power-on: RAM is zero.
    Cold,
    /// RAM stays.
    Warm,
}

/// Why the CPU stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stop {
    /// The driver notified queue `queue` of the device in slot `slot`.
    Notified {
        /// Device slot.
        slot: usize,
        /// Queue index.
        queue: u32,
    },
    /// Bytes were written to the UART transmit register.
    Printed(Vec<u8>),
    /// Nothing happened in the time that was given.
    Quiet,
    /// The firmware asked for a reset of the machine, or crashed it: a freely running CPU only.
    WantsReset,
    /// The CPU cannot continue: triple fault, or an instruction nobody can run.
    Crashed(CrashReport),
    /// The CPU ran for the hang limit without touching a device.
    Hung(CrashReport),
    /// The CPU halted with interrupts off: it will never run again without a reset.
    Halted,
}

/// The CPU when it could not continue.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrashReport {
    /// In a few words: `triple fault` …
    pub cause: String,
    /// Instruction pointer.
    pub rip: u64,
    /// Stack pointer.
    pub rsp: u64,
    /// Code segment selector; its low two bits are the privilege level.
    pub cs: u16,
    /// General registers: rax, rbx, rcx, rdx, rsi, rdi, rbp, r8 … r15.
    pub general: [u64; 15],
    /// Address of the last page fault.
    pub cr2: u64,
}

/// What an engine has cost.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Times the CPU left guest mode for the bench.
    pub exits: u64,
    /// Of those, writes to device registers other than QueueNotify.
    pub register_writes: u64,
    /// Writes to device registers that cost no exit of their own.
    pub collected_writes: u64,
    /// Of those, notifications.
    pub notifications: u64,
    /// Resets, warm and cold.
    pub resets: u64,
}

/// An engine's checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedEngine {
    /// Which engine wrote it.
    pub engine: String,
    /// CPU and transport state, in that engine's own encoding.
    pub machine: Vec<u8>,
    /// The board's memory.
    pub ram: ram::SavedRam,
}

/// The host cannot do what an engine needs.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum EngineError {
    /// A KVM call failed.
    #[error("KVM cannot {what}")]
    Kvm {
        /// What was asked of it.
        what: &'static str,
        /// What it answered.
        #[source]
        source: kvm_ioctls::Error,
    },
    /// The engine has no such machine.
    #[error("the own VMM has no {machine}; use --engine qemu")]
    NoMachine {
        /// Its name in rig files.
        machine: &'static str,
    },
    /// A guest does not run as it should.
    #[error("KVM makes VMs, but a guest of one instruction does not run in one")]
    Probe,
    /// QEMU could not do what was asked of it.
    #[error("QEMU cannot {what}: {why}")]
    Qemu {
        /// What was asked of it.
        what: &'static str,
        /// What it or the host said.
        why: String,
    },
    /// Memory for a board could not be had.
    #[error("no memory for a board of {mib} MiB: {why}")]
    Memory {
        /// Board RAM.
        mib: u32,
        /// What the host said.
        why: String,
    },
    /// The ROM does not fit.
    #[error("a boot ROM has at most 65536 bytes, this one {0}")]
    RomSize(usize),
    /// A checkpoint that does not fit this board.
    #[error("the checkpoint does not fit this board: {0}")]
    Checkpoint(&'static str),
}
