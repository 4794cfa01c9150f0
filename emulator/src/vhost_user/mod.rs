//! One device of ours behind a vhost-user socket: the back-end's side of the protocol.
//!
//! * [`Connection`] — one front-end on one socket. It turns messages into the driver's half of a
//!   [`Slot`](crate::slot::Slot), as the virtio-mmio window does with register writes; the device behind it
//!   does not see the difference.
//! * `session.rs` — what the front-end said so far; the protocol itself is the `vhost` crate's.
//! * `memory.rs` — the front-end's memory, and its addresses.
//! * `message.rs` — whether the next message is all there.
//! * `hole.rs` — a front-end that takes its memory away again.
//! * `inflight.rs` — what is in flight, in memory that outlives us.
//! * `notice.rs` — what the back-end tells the front-end by itself.
//!
//! There is no thread here: whoever has a connection polls its descriptors and handles what came, so that
//! a board's devices are served on its array's thread. (That, and in-flight tracking, is why the `vhost` crate is
//! used without the daemon of `vhost-user-backend`, which has worker threads and no in-flight
//! tracking.)

mod connection;
mod hole;
mod inflight;
mod memory;
mod message;
mod notice;
mod session;

pub use connection::{Connection, Lost};
pub use memory::MemorySource;
pub use message::Waiting;
