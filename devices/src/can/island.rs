use serde::{Deserialize, Serialize};

use super::bits::BitRates;
use super::error_state::SEQUENCE_BITS;
use super::event::BusError;
use super::fault::{Effect, Place};
use super::frame::Frame;
use super::node::{Node, NodeId};
use super::receive::ReceiveLog;
use crate::time::Nanos;

/// A node that wants to send, with what arbitration needs of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Pending {
    pub(super) node: NodeId,
    pub(super) key: u32,
    pub(super) may_send_at: Nanos,
}

/// How the frame on the wire will end, if nothing comes in between.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Plan {
    /// Acknowledged.
    Good {
        /// Those that do not get it, and those of them that count an overrun or an error.
        missed: Vec<NodeId>,
        overrun: Vec<NodeId>,
        erred: Vec<NodeId>,
        /// Nobody gets it.
        lost: bool,
    },
    /// In an error frame.
    Destroyed {
        error: BusError,
        /// Receivers that saw the error before all others.
        first: Vec<NodeId>,
        /// There are no receivers.
        alone: bool,
    },
}

/// The frame on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Transmission {
    pub(super) number: u64,
    pub(super) frame: Frame,
    pub(super) sender: NodeId,
    /// Others that won arbitration with it.
    pub(super) others: Vec<NodeId>,
    /// Where they send something else: the bit after it.
    pub(super) collision: Option<u32>,
    /// All its transmitters are gone.
    pub(super) cut: bool,
    pub(super) effects: Vec<(Effect, Place)>,
    pub(super) begins: Nanos,
    pub(super) ends: Nanos,
    pub(super) rates: BitRates,
    pub(super) plan: Plan,
}

impl Transmission {
    pub(super) fn is_sender(&self, node: NodeId) -> bool {
        !self.cut && (node == self.sender || self.others.contains(&node))
    }

    pub(super) fn senders(&self) -> impl Iterator<Item = NodeId> {
        let there = (!self.cut).then_some(self.sender);
        there.into_iter().chain(self.others.iter().copied())
    }
}

/// The bus is dominant for good.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Stuck {
    /// Those that were sending when it began.
    pub(super) senders: Vec<NodeId>,
    /// When error counters rise next.
    pub(super) next: Nanos,
}

/// Segments that hear each other: what is on their wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Island {
    /// Nodes that take part; those that wait for a quiet bus; those that want to send. All in order.
    pub(super) participants: Vec<NodeId>,
    pub(super) joining: Vec<NodeId>,
    pub(super) pending: Vec<Pending>,
    /// All that take part have the same bit rates.
    pub(super) uniform: bool,
    /// Some receive error count may be above zero.
    pub(super) has_receive_errors: bool,
    pub(super) transmission: Option<Transmission>,
    pub(super) stuck: Option<Stuck>,
    /// The end of the intermission: no frame begins before.
    pub(super) free_at: Nanos,
    /// Since when the bus is recessive, while no frame is on it.
    pub(super) recessive_since: Nanos,
    pub(super) log: ReceiveLog,
    /// When it next changes by itself.
    pub(super) next: Nanos,
}

impl Island {
    pub(super) fn new() -> Island {
        Island {
            participants: Vec::new(),
            joining: Vec::new(),
            pending: Vec::new(),
            uniform: true,
            has_receive_errors: false,
            transmission: None,
            stuck: None,
            free_at: Nanos::ZERO,
            recessive_since: Nanos::ZERO,
            log: ReceiveLog::default(),
            next: Nanos::NEVER,
        }
    }

    /// When the next frame begins.
    pub(super) fn start_of_frame(&self) -> Option<Nanos> {
        let first = self.pending.iter().map(|it| it.may_send_at).min();
        first.map(|it| it.max(self.free_at))
    }

    /// When a joining node has seen enough recessive bits, if none but these come.
    pub(super) fn joins_at(&self, node: &Node) -> Nanos {
        let bits = u32::from(node.sequences_left) * SEQUENCE_BITS;
        self.recessive_since.max(node.listens_from) + node.rates().nominal_bits(bits)
    }

    /// Sets `next` anew. Arbitration is decided at the end of the start of frame: who has a frame to send
    /// by then begins together with the first (ISO 11898-1:2015 §10.6, hard synchronisation of §11.3.2.1).
    pub(super) fn reschedule(&mut self, nodes: &[Node], rates: BitRates) {
        self.next = if let Some(stuck) = &self.stuck {
            stuck.next
        } else if let Some(transmission) = &self.transmission {
            transmission.ends
        } else {
            let begins = self.start_of_frame();
            let decided = begins.map(|it| it + rates.nominal_bits(1));
            let joins = self.joining.iter();
            let joins = joins.map(|id| self.joins_at(&nodes[usize::from(*id)]));
            decided
                .into_iter()
                .chain(joins)
                .min()
                .unwrap_or(Nanos::NEVER)
        };
    }

    /// The node has another frame at its head, or none any more.
    pub(super) fn set_pending(&mut self, id: NodeId, node: &Node) {
        let at = self.pending.binary_search_by_key(&id, |it| it.node);
        let pending = node.head().map(|frame| Pending {
            node: id,
            key: frame.arbitration_key(),
            may_send_at: node.may_send_at,
        });
        match (pending, at) {
            (Some(pending), Ok(at)) => self.pending[at] = pending,
            (Some(pending), Err(at)) => self.pending.insert(at, pending),
            (None, Ok(at)) => drop(self.pending.remove(at)),
            (None, Err(_)) => {}
        }
    }
}
