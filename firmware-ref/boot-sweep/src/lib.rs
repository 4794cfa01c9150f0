//! A native sweep of the boot logic: power is cut at every flash and store operation of a boot, torn
//! operations included, and again at every operation of the recovery from that.
//!
//! The controller here is as small as the logic allows: four banks of memory that behave as NOR
//! does, a store, and [`Board::boot`], which does what L1, L2 and L3 do about images and nothing
//! else. The firmware's own boots are swept on the whole virtual array by the harness; this finds a
//! mistake in the logic in seconds.

mod board;
mod flash;
mod scenario;
mod sweep;

pub use board::{Board, BootEnd, Build, Store, Trace, requirements};
pub use flash::{
    BANK_SIZE, BankState, FlashError, FlashPort, Operation, PAGE_SIZE, SECTOR_SIZE, Shape,
};
pub use scenario::{Expectation, Library, Scenario, Slot};
pub use sweep::{Limits, Report, Violation, ViolationKind, run_to_the_end, sweep};
