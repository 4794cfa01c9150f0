//! The decisions of a controller's boot: which bank to run, whether to follow the preferred version on
//! the array, and how to store an image so that no loss of power can take the last good one.
//!
//! Pure logic over `embedded-storage` flash and small traits; it knows no device, no clock and no
//! allocator, so the firmware and the native sweep run the same code. The order of a boot, by the boxes
//! of the version-control patent:
//!
//! 1. L1 [`select`]s and [`load`]s L2 (Fig. 4A, steps 215–230), L2 the same for L3 (240–250).
//! 2. L3, its drivers loaded, asks [`compare`] what to do about the preferred version (Fig. 4B
//!    from step 260, Fig. 4C from step 315).
//! 3. The answer is carried out: [`Reflash`] and a reset, or a [`Publication`], or neither.
#![no_std]

mod bank;
mod compare;
mod publish;
mod reflash;
mod select;

pub use bank::{Bank, BankReader, Level, inspect};
pub use compare::{
    Action, Baseline, Booted, BootedImage, Comparison, Policy, Preferred, PreferredSource,
    PublishReason, Refusal, compare,
};
pub use publish::{PackageSink, Publication, PublishError, Unwritable};
pub use reflash::{Order, Progress, Reflash, ReflashError, Strategy};
pub use select::{NoValid, Reason, Selection, choose, load, select};
