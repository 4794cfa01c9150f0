//! Board control: what a controller board needs besides its media and links.
//!
//! * `board.rs` — `BoardControl`, the core: identity, resets, watchdog.
//! * `wait.rs` — the WAIT of the core: which completions wake a board, and when.
//! * `wire.rs` — requests and responses as bytes (board manual §5.3).
//! * `virtio.rs` — `BoardControlVirtio`, the virtio side (device id 38).
//!
//! How a host drives it, within one instant of virtual time:
//!
//! ```text
//! service(slot 0) ── takes traces, locks …, and the WAIT; never answers the WAIT it just took
//! service(slot n) ── then BoardControl::serviced(n, now, buffers returned, in flight), n = 1 … 23
//! deadline() <= now? ── service(slot 0) again: the WAIT is answered, the board runs on
//! take_reset_request(), Midplane::take_commands() ── to be carried out before the board runs on
//! ```
//!
//! Because a WAIT is answered by a later call than the one that took it, the order in which a
//! host drains the slots of one instant does not show.

mod board;
#[cfg(test)]
mod tests;
mod virtio;
mod wait;
mod wire;

pub use board::{
    BankEntry, BoardControl, BoardIdentity, MAX_BANKS, ResetKind, ResetReason, straps,
};
pub use virtio::{BoardControlCore, BoardControlVirtio, DEVICE_ID};
pub use wire::MAX_TRACE_BYTES;

/// Device slots of a board (board manual §3); slot 0 is board control itself.
pub const DEVICE_SLOTS: u32 = 24;
