use core::fmt;

/// Why a device cannot be used. Nothing a device answers makes a driver panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeviceError {
    /// The slot is empty.
    Absent,
    /// Another kind of device is in the slot.
    WrongKind {
        /// Its virtio device id.
        found: u32,
    },
    /// Not a virtio-mmio device of version 2.
    UnknownTransport,
    /// The device did not accept the features the driver chose.
    FeaturesRefused,
    /// A queue is missing or smaller than the driver needs.
    QueueTooSmall,
    /// The arena is used up.
    OutOfMemory,
    /// All descriptors are in use; wait, then try again.
    QueueFull,
    /// The device broke the rules (an answer for nothing it was asked) or did not answer in time.
    /// It has been reset and stays unusable until it is opened again.
    Broken,
    /// The device answered with an error status.
    Refused {
        /// The status, as the device's own standard numbers it.
        status: u32,
    },
    /// The caller's request makes no sense to the device: too long, misaligned, empty.
    BadRequest,
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceError::Absent => f.write_str("absent"),
            DeviceError::WrongKind { found } => write!(f, "wrong-kind-{found}"),
            DeviceError::UnknownTransport => f.write_str("unknown-transport"),
            DeviceError::FeaturesRefused => f.write_str("features-refused"),
            DeviceError::QueueTooSmall => f.write_str("queue-too-small"),
            DeviceError::OutOfMemory => f.write_str("out-of-memory"),
            DeviceError::QueueFull => f.write_str("queue-full"),
            DeviceError::Broken => f.write_str("broken"),
            DeviceError::Refused { status } => write!(f, "refused-{status}"),
            DeviceError::BadRequest => f.write_str("bad-request"),
        }
    }
}

impl core::error::Error for DeviceError {}
