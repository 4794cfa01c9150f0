use core::fmt;

use words::{Line, Words};

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

impl Words for DeviceError {
    fn say(&self, line: &mut Line) {
        let (text, number) = match self {
            DeviceError::Absent => ("absent", None),
            DeviceError::WrongKind { found } => ("wrong-kind-", Some(found)),
            DeviceError::UnknownTransport => ("unknown-transport", None),
            DeviceError::FeaturesRefused => ("features-refused", None),
            DeviceError::QueueTooSmall => ("queue-too-small", None),
            DeviceError::OutOfMemory => ("out-of-memory", None),
            DeviceError::QueueFull => ("queue-full", None),
            DeviceError::Broken => ("broken", None),
            DeviceError::Refused { status } => ("refused-", Some(status)),
            DeviceError::BadRequest => ("bad-request", None),
        };
        line.put(text);
        if let Some(number) = number {
            line.put_number(*number);
        }
    }
}

impl fmt::Display for DeviceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        words::display(self, f)
    }
}

impl core::error::Error for DeviceError {}
