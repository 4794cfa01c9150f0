//! The console: human text, line by line.
//!
//! * `terminal.rs` — `Console`, the core: output as lines and as a stream, typed input.
//! * `virtio.rs` — `ConsoleVirtio`, the virtio side (device id 3, one port).

mod terminal;
#[cfg(test)]
mod tests;
mod virtio;

pub use terminal::Console;
pub use virtio::{ConsoleVirtio, DEVICE_ID};

/// A line longer than this, in bytes, is broken.
pub const MAX_LINE_BYTES: usize = 512;
/// Lines a console remembers.
pub const KEPT_LINES: usize = 128;
/// Bytes of raw output a console remembers for somebody who attaches to it.
pub const KEPT_BYTES: usize = 8 * 1024;
/// Typed bytes that wait for firmware; more are refused.
pub const MAX_INPUT_BYTES: usize = 4096;
