use serde::{Deserialize, Serialize};

use super::bits::BitRates;
use super::event::{BusError, EventKind, Events};
use super::node::NodeId;
use super::topology::SegmentId;
use crate::time::Nanos;

/// Names a fault that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FaultId(pub u32);

/// Something that goes wrong, deterministically.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Fault {
    /// One frame, once.
    Frame {
        /// Count only frames of this transmitter; nothing: all of the bus. Tries count, as each is a frame.
        from: Option<NodeId>,
        /// Which one from now on (1: the next to begin; 0 counts as 1).
        nth: u64,
        /// What happens to it.
        effect: Effect,
        /// To whom.
        place: Place,
    },
    /// A node's stub is broken until the fault is cleared.
    Disconnected(NodeId),
    /// A node sends frames of the highest priority without pause until the fault is cleared.
    Babbling(NodeId),
    /// The bus of a segment is dominant, and that of its island, until the fault is cleared.
    Short(SegmentId),
    /// A node has other bit rates than it should until the fault is cleared.
    BitRate(NodeId, BitRates),
}

/// What happens to a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// It is acknowledged and goes unread: a receive path drops it silently.
    Lost,
    /// The same, counted and told as an overrun.
    Overrun,
    /// A bit changes: an error frame.
    Bit,
    /// Six equal bits are seen: an error frame.
    Stuff,
    /// The check sequence is wrong: an error frame after the ACK delimiter.
    Crc,
    /// The first bit of the end of frame is dominant: an error frame.
    Form,
    /// The acknowledgement goes unseen: an error frame.
    Acknowledgement,
}

impl Effect {
    /// Each by its word, as scenarios and commands have it.
    pub const WORDS: [(&'static str, Effect); 7] = [
        ("lost", Effect::Lost),
        ("overrun", Effect::Overrun),
        ("bit", Effect::Bit),
        ("stuff", Effect::Stuff),
        ("crc", Effect::Crc),
        ("form", Effect::Form),
        ("acknowledgement", Effect::Acknowledgement),
    ];

    /// The error it is seen as; nothing for those that nobody on the bus sees.
    pub(super) fn error(self) -> Option<BusError> {
        match self {
            Effect::Lost | Effect::Overrun => None,
            Effect::Bit => Some(BusError::Bit),
            Effect::Stuff => Some(BusError::Stuff),
            Effect::Crc => Some(BusError::Crc),
            Effect::Form => Some(BusError::Form),
            Effect::Acknowledgement => Some(BusError::Acknowledgement),
        }
    }
}

/// Where something happens to a frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Place {
    /// For all of the island.
    Everywhere,
    /// For these receivers. Error-active ones destroy the frame for all; error-passive ones only lose it.
    At(Vec<NodeId>),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Armed {
    id: FaultId,
    fault: Fault,
    /// Frames it waits for.
    left: u64,
    fired: bool,
    cleared: bool,
}

/// Every fault that was asked for, cleared ones too: whether they fired is asked at the end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Faults {
    armed: Vec<Armed>,
    /// Faults of frames that are still to fire.
    waiting: usize,
}

impl Faults {
    pub(super) fn add(&mut self, fault: Fault) -> FaultId {
        let id = FaultId(u32::try_from(self.armed.len()).unwrap_or(u32::MAX));
        let left = match &fault {
            Fault::Frame { nth, .. } => {
                self.waiting += 1;
                (*nth).max(1)
            }
            _ => 0,
        };
        self.armed.push(Armed {
            id,
            fault,
            left,
            fired: false,
            cleared: false,
        });
        id
    }

    pub(super) fn clear(&mut self, id: FaultId) {
        for armed in self.armed.iter_mut().filter(|it| it.id == id) {
            if armed.left > 0 && !armed.cleared {
                self.waiting -= 1;
            }
            armed.cleared = true;
        }
    }

    pub(super) fn fired(&self, id: FaultId) -> bool {
        self.armed.iter().any(|it| it.id == id && it.fired)
    }

    /// Those in force that last until they are cleared.
    pub(super) fn lasting(&self) -> impl Iterator<Item = &Fault> {
        let there = self.armed.iter().filter(|it| !it.cleared);
        let lasting = there.filter(|it| !matches!(it.fault, Fault::Frame { .. }));
        lasting.map(|it| &it.fault)
    }

    /// A lasting fault had an effect.
    pub(super) fn fire(&mut self, at: Nanos, events: &mut Events, which: impl Fn(&Fault) -> bool) {
        let there = self.armed.iter_mut().filter(|it| !it.cleared && !it.fired);
        for armed in there.filter(|it| which(&it.fault)) {
            armed.fired = true;
            let fault = armed.id;
            events.push(at, EventKind::FaultFired { fault });
        }
    }

    /// A frame of this transmitter begins: what is to happen to it. It has fired then, if its place is one
    /// where somebody is: that is for `has_place` to say.
    pub(super) fn frame_begins(
        &mut self,
        at: Nanos,
        sender: NodeId,
        events: &mut Events,
        has_place: impl Fn(&Place) -> bool,
    ) -> Vec<(Effect, Place)> {
        let mut effects = Vec::new();
        if self.waiting == 0 {
            return effects;
        }
        for armed in self.armed.iter_mut().filter(|it| !it.cleared) {
            let Fault::Frame {
                from,
                effect,
                place,
                ..
            } = &armed.fault
            else {
                continue;
            };
            if armed.left == 0 || from.is_some_and(|it| it != sender) {
                continue;
            }
            armed.left -= 1;
            if armed.left > 0 {
                continue;
            }
            self.waiting -= 1;
            if has_place(place) {
                armed.fired = true;
                effects.push((*effect, place.clone()));
                let fault = armed.id;
                events.push(at, EventKind::FaultFired { fault });
            }
        }
        effects
    }
}
