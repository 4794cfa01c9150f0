//! What happened in an array, stamped with time and place.

use std::fmt;

use devices::board_control::ResetReason;
use devices::event::DeviceEvent;
use devices::power::{OperationKind, Shape};
use devices::time::Nanos;
use serde::{Deserialize, Serialize};

use crate::engine::CrashReport;
use crate::rig::Unit;

/// One thing that happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArrayEvent {
    /// When, in virtual time.
    pub at: Nanos,
    /// Where.
    pub source: Source,
    /// What.
    pub kind: EventKind,
}

/// Where something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Source {
    /// The controller board in a slot, or a device on it.
    Board(usize),
    /// A node on the CAN bus, from 0, or a device on it.
    Node(usize),
    /// The RAID shelf.
    Shelf,
    /// The CAN bus.
    Can,
    /// The networks.
    Network,
    /// The chassis: midplane, power, service media.
    Chassis,
}

impl Source {
    /// The place of what has this power supply.
    pub fn of(unit: Unit) -> Source {
        match unit {
            Unit::Board(slot) => Source::Board(usize::try_from(slot.index()).unwrap_or(usize::MAX)),
            Unit::Node(node) => Source::Node(node.into()),
            Unit::Shelf => Source::Shelf,
        }
    }
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    /// A device had something to say.
    Device(DeviceEvent),
    /// The board or shelf got power.
    PoweredOn,
    /// The board or shelf lost power.
    PowerLost {
        /// The operation whose beginning fired the cut, if it was an armed one.
        during: Option<OperationKind>,
        /// How what was in progress was left.
        shape: Shape,
    },
    /// An armed cut fired; the units it concerns lose power next.
    CutFired {
        /// The number `Array::arm` gave it.
        cut: u32,
    },
    /// The board left reset and started to run.
    Booted {
        /// Why it had been in reset.
        reason: ResetReason,
        /// Resets since it was put into its slot, this one included.
        boots: u32,
    },
    /// The board's CPU could not continue.
    Crashed(CrashReport),
    /// The board's CPU ran without touching a device.
    Hung(CrashReport),
    /// The board's CPU halted for good.
    Halted,
    /// What the board wrote to its UART, up to a line end or a stop.
    LastWords(String),
    /// The board is kept in reset by its partner.
    Held,
    /// The shelf refuses the board's writes from now on: another took a lock it owned.
    Fenced,
    /// A board was put into a slot.
    Inserted {
        /// The board's serial number.
        serial: String,
    },
    /// A board was pulled out of a slot.
    Pulled {
        /// The board's serial number.
        serial: String,
    },
    /// The board or shelf was switched off.
    PoweredOff,
}

/// The letter of a controller slot: 0 is A.
pub fn slot_letter(slot: usize) -> char {
    u8::try_from(slot)
        .ok()
        .and_then(|n| b'A'.checked_add(n))
        .map_or('?', char::from)
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::Board(slot) => write!(f, "{}", slot_letter(*slot)),
            Source::Node(node) => write!(f, "node-{}", node + 1),
            Source::Shelf => f.write_str("shelf"),
            Source::Can => f.write_str("can"),
            Source::Network => f.write_str("network"),
            Source::Chassis => f.write_str("chassis"),
        }
    }
}
