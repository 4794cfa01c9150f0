//! The own VMM on /dev/kvm: one VM with one CPU per board, kept across power cycles.
//!
//! Register reads of virtio-mmio slots are answered without an exit: the register window is a
//! read-only memory slot whose page this engine keeps as the registers would read. Writes exit, but
//! for those that concern nobody until a later one: KVM collects these in a ring.

mod cpu;
mod hang;
mod machine;
#[cfg(test)]
mod tests;
mod virtio_mmio;

pub use machine::{KvmEngine, probe};
pub use virtio_mmio::{SLOT_BYTES, SLOTS, WINDOW_BASE};
#[cfg(test)]
pub(crate) use virtio_mmio::{Window, Written};
