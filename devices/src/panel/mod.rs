//! The front panel: a small picture that firmware draws.
//!
//! * `framebuffer.rs` — `Framebuffer`, the core: the glass.
//! * `wire.rs` — commands and responses as bytes (virtio 1.4 §5.7.6).
//! * `resource.rs` — the 2D resources a driver makes, and the scanout.
//! * `virtio.rs` — `PanelVirtio`, the virtio side (device id 16, 2D only).
//!
//! ```text
//! guest memory ── TRANSFER_TO_HOST_2D ──► resource ── RESOURCE_FLUSH ──► framebuffer ──► host
//! ```

mod framebuffer;
mod resource;
#[cfg(test)]
mod tests;
mod virtio;
mod wire;

pub use framebuffer::Framebuffer;
pub use virtio::{DEVICE_ID, PanelVirtio};

/// Width of the glass in pixels.
pub const WIDTH: u32 = 256;
/// Height of the glass in pixels.
pub const HEIGHT: u32 = 128;
/// Most resources a driver may have at once.
pub const MAX_RESOURCES: usize = 16;
/// Most bytes all its resources may have together: eight pictures of the whole glass.
pub const MAX_RESOURCE_BYTES: u64 = 1 << 20;
/// Most pieces of guest memory behind one resource.
pub const MAX_BACKING_ENTRIES: u32 = 1024;
