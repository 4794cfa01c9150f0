//! Ethernet segments and the network ports on them.
//!
//! * `segment.rs` — `Segment`, the core: ports, lights, delivery in virtual time, faults.
//! * `virtio.rs` — `PortVirtio`, the virtio-net side of one port (device id 1).
//!
//! ```text
//! port 0 ── send(now) ──► wire: length / bandwidth ──► latency ──► queue of port 1 ── receive(now)
//! ```
//!
//! A port without a virtio side is used by the harness itself (the host end of a host link).

mod segment;
#[cfg(test)]
mod tests;
mod virtio;
#[cfg(test)]
mod virtio_tests;

pub use segment::{Counters, Loss, PortSettings, Segment, Sent};
pub use virtio::{DEVICE_ID, PortVirtio};

/// An Ethernet address.
pub type Mac = [u8; 6];

/// Bytes of an Ethernet header: two addresses and a type.
pub const ETHERNET_HEADER_BYTES: usize = 14;
/// Largest payload of a frame.
pub const MTU: u16 = 9000;
/// Longest frame in bytes, without its check sequence.
pub const MAX_FRAME_BYTES: usize = MTU as usize + ETHERNET_HEADER_BYTES;
/// Frames on their way to, or waiting at, one port; more overrun it.
pub const PORT_QUEUE_FRAMES: usize = 256;
