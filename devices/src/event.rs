//! Structured notices a device makes of what happened to it.
//!
//! Devices push events while they are serviced; the array stamps them with time and place. Nothing
//! a device does depends on who reads them.

use serde::{Deserialize, Serialize};

use crate::power::Operation;

/// Something that happened in a device.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DeviceEvent {
    /// A persistent operation began; a power cut can be placed here.
    OperationBegan(Operation),
    /// Firmware made a structured trace: an event name and `key=value` words, printable ASCII.
    Trace(String),
    /// Firmware printed one line of human text on the console.
    ConsoleLine(String),
    /// The driver broke the virtio rules; the device answered with a status or asks for a reset.
    DriverFault {
        /// The queue it happened on.
        queue: u16,
        /// What was wrong, in the words of the standard.
        what: String,
    },
    /// The medium behaved as a fault, wear or a power loss made it (stuck bit, rot, dead chip …).
    MediumFault(String),
    /// Anything else worth a line in a timeline, past tense, with `key=value` words.
    Notice(String),
}
