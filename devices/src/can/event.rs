use std::fmt;

use serde::{Deserialize, Serialize};

use super::error_state::Confinement;
use super::fault::FaultId;
use super::frame::Frame;
use super::node::NodeId;
use super::topology::IslandId;
use crate::event::DeviceEvent;
use crate::power::{Operation, OperationKind};
use crate::time::Nanos;

/// Events and frame records that are kept for somebody to take; more are only counted.
pub const KEPT_EVENTS: usize = 1 << 16;

/// Something happened on the bus.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BusEvent {
    /// When.
    pub at: Nanos,
    /// What.
    pub kind: EventKind,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EventKind {
    /// Fault confinement of a node changed, for worse or better.
    Confinement {
        /// Which node.
        node: NodeId,
        /// What it is now.
        now: Confinement,
        /// Its TEC.
        transmit_errors: u16,
        /// Its REC.
        receive_errors: u16,
    },
    /// A node came back from bus-off: error-active, counters at zero.
    Recovered {
        /// Which node.
        node: NodeId,
    },
    /// A node lost a frame because it had not read those before; told once until it has read.
    Overrun {
        /// Which node.
        node: NodeId,
    },
    /// A fault had an effect.
    FaultFired {
        /// Which.
        fault: FaultId,
    },
    /// A frame began; a power cut can be placed here. Only told when asked for.
    FrameBegan {
        /// Count of frames on the bus, tries that fail included, from 1.
        number: u64,
        /// Its transmitter.
        node: NodeId,
        /// Bytes of its data field.
        length: u64,
        /// Start of frame.
        begins: Nanos,
        /// End of frame, if nothing comes in between.
        ends: Nanos,
    },
}

impl EventKind {
    /// The node that it is about, where it is about one alone.
    pub fn node(&self) -> Option<NodeId> {
        match self {
            EventKind::Confinement { node, .. }
            | EventKind::Recovered { node }
            | EventKind::Overrun { node } => Some(*node),
            EventKind::FaultFired { .. } | EventKind::FrameBegan { .. } => None,
        }
    }
}

/// What a timeline tells; which node it is about is told by the place.
impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            EventKind::Confinement {
                now,
                transmit_errors,
                receive_errors,
                ..
            } => write!(
                f,
                "{} tec={transmit_errors} rec={receive_errors}",
                now.as_str()
            ),
            EventKind::Recovered { .. } => f.write_str("can-recovered"),
            EventKind::Overrun { .. } => f.write_str("can-overrun"),
            EventKind::FaultFired { fault } => write!(f, "can-fault-fired fault={}", fault.0),
            EventKind::FrameBegan { number, node, .. } => {
                write!(f, "can-frame-began number={number} node={node}")
            }
        }
    }
}

impl From<BusEvent> for DeviceEvent {
    fn from(event: BusEvent) -> DeviceEvent {
        match event.kind {
            EventKind::FrameBegan {
                number,
                node,
                length,
                begins,
                ends,
            } => DeviceEvent::OperationBegan(Operation {
                kind: OperationKind::CanFrame,
                unit: u32::from(node),
                address: number,
                length,
                begins,
                ends,
            }),
            kind => DeviceEvent::Notice(kind.to_string()),
        }
    }
}

/// What an error was (ISO 11898-1:2015 §10.11).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BusError {
    /// A transmitter saw another bit than it sent.
    Bit,
    /// Six equal bits.
    Stuff,
    /// The check sequence does not fit.
    Crc,
    /// A bit that is always recessive was dominant.
    Form,
    /// No receiver acknowledged.
    Acknowledgement,
}

/// How a frame ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Ending {
    /// Received and acknowledged.
    Good,
    /// In an error frame.
    Error(BusError),
}

/// One frame on the bus, for traces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrameRecord {
    /// Count of frames on the bus, tries that fail included, from 1.
    pub number: u64,
    /// Start of frame.
    pub begins: Nanos,
    /// End of its end-of-frame field, or of the error delimiter.
    pub ends: Nanos,
    /// Its transmitter, the lowest of several.
    pub node: NodeId,
    /// Where it was heard.
    pub island: IslandId,
    /// The frame.
    pub frame: Frame,
    /// How it ended.
    pub ending: Ending,
}

/// What the bus has to tell, until somebody takes it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Events {
    kept: Vec<BusEvent>,
    /// How many were not kept.
    pub(super) lost: u64,
}

impl Events {
    pub(super) fn push(&mut self, at: Nanos, kind: EventKind) {
        if self.kept.len() < KEPT_EVENTS {
            self.kept.push(BusEvent { at, kind });
        } else {
            self.lost += 1;
        }
    }

    pub(super) fn take(&mut self) -> Vec<BusEvent> {
        std::mem::take(&mut self.kept)
    }
}
