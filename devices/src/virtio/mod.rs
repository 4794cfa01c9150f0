//! What every virtio device has in common.
//!
//! A [`VirtioDevice`] is a thin protocol side over a core. Whoever hosts it (virtio-mmio in the own
//! VMM, vhost-user for any other) owns the queues, the guest memory and the core, and calls
//! [`VirtioDevice::service`] whenever the driver may have made buffers available or a deadline of
//! the device has come. Nothing here knows how the driver reached the device.

mod chain;
mod cursor;
mod device;

pub use chain::{Chain, ChainError, MAX_CHAIN_BYTES, MAX_CHAIN_DESCRIPTORS};
pub use cursor::{ChainReader, ChainWriter};
pub use device::{DeviceIo, Ledger, VirtioDevice};

/// Guest memory as every device sees it.
pub type GuestMemory = vm_memory::GuestMemoryMmap<()>;

/// VIRTIO_F_VERSION_1 (virtio 1.4 §6): every device offers it and works only with it.
pub const F_VERSION_1: u64 = 1 << 32;
