//! What every level of the reference firmware stands on: entry, memory functions, and drivers of
//! the AB-1 board's devices. The contract is `emulator/BOARD-MANUAL.md`; nothing here knows the
//! bench.
//!
//! ```text
//!   block  can  console  network  panel  spi_flash      drivers: queue requests, take answers
//!      └───────┴───────┴───────┴───────┤
//!                              board_control       the one wait, the one clock
//!      ┌───────────────────────────────┤
//!    ring ── dma                    pending        virtqueues in the arena
//!      └── slot                                    virtio-mmio registers
//! ```
//!
//! One thread, no interrupts. Drivers take `&self` and share [`board_control::BoardControl`].
//! What a device answers never makes a driver panic.
#![cfg_attr(not(test), no_std)]

pub mod block;
pub mod board_control;
pub mod can;
pub mod console;
pub mod dma;
pub mod entry;
mod error;
pub mod handoff;
mod identity;
// Programs on the host unwind, and have a C library.
#[cfg(panic = "abort")]
mod memory;
pub mod network;
pub mod panel;
mod pending;
pub mod ram;
mod ring;
pub mod rom;
mod sfdp;
mod slot;
mod spi;
pub mod spi_flash;

pub use error::DeviceError;
pub use identity::{
    BankName, BankPlace, HostTransport, Identity, MAX_BANKS, ResetReason, Source, Straps,
};
pub use slot::{SLOTS, Slot, kind, number};
pub use spi::SpiController;
