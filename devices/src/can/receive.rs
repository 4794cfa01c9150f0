use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::event::{EventKind, Events};
use super::node::{Node, NodeId, RECEIVE_FIFO_FRAMES, Received};
use crate::time::Nanos;

/// A frame every node of an island received, but for those named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Delivery {
    pub(super) received: Received,
    pub(super) sender: NodeId,
    /// Those that sent the same frame at the same time, and those that did not hear it.
    pub(super) exceptions: Vec<NodeId>,
}

impl Delivery {
    #[inline]
    fn is_for(&self, node: NodeId) -> bool {
        // Mostly there are none.
        node != self.sender && (self.exceptions.is_empty() || !self.exceptions.contains(&node))
    }
}

/// The last frames of an island, kept once for all its nodes: each has a cursor.
///
/// A node whose FIFO may be full is looked at (`check_at`), is given what it has not read to keep for
/// itself, and if that is as much as it may have it goes to the list of the full ones, which lose frames.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ReceiveLog {
    deliveries: VecDeque<Delivery>,
    /// Number of the next delivery.
    end: u64,
    /// No cursor's node can be full before this delivery.
    check_at: u64,
    full: Vec<NodeId>,
}

impl ReceiveLog {
    /// A node begins to follow the log.
    pub(super) fn join(&mut self, node: &mut Node) {
        if node.kept.len() < RECEIVE_FIFO_FRAMES {
            node.cursor = Some(self.end);
            let room = RECEIVE_FIFO_FRAMES - node.kept.len();
            self.check_at = self.check_at.min(self.end + room as u64);
        }
    }

    /// Lets a full node lose what comes.
    pub(super) fn join_full(&mut self, id: NodeId) {
        self.full.push(id);
    }

    /// A node goes: what it has not read is its own now.
    pub(super) fn leave(&mut self, id: NodeId, node: &mut Node) {
        self.full.retain(|it| *it != id);
        let Some(cursor) = node.cursor.take() else {
            return;
        };
        let unread = self.from(cursor).filter(|it| it.is_for(id));
        node.kept.extend(unread.map(|it| it.received));
    }

    /// The next frame that a node has not read.
    pub(super) fn next(&self, id: NodeId, node: &Node) -> Option<&Received> {
        let mut unread = self.from(node.cursor?).filter(|it| it.is_for(id));
        unread.next().map(|it| &it.received)
    }

    /// Hands a node what it has not read, oldest first, until `take` says that it did not take one.
    /// How many it took.
    pub(super) fn read(
        &self,
        id: NodeId,
        node: &mut Node,
        mut take: impl FnMut(&Received) -> bool,
    ) -> u64 {
        let Some(mut cursor) = node.cursor else {
            return 0;
        };
        let mut taken = 0;
        for delivery in self.from(cursor) {
            if delivery.is_for(id) {
                if !take(&delivery.received) {
                    break;
                }
                taken += 1;
            }
            cursor += 1;
        }
        node.cursor = Some(cursor);
        taken
    }

    #[inline]
    fn from(&self, cursor: u64) -> impl Iterator<Item = &Delivery> {
        let oldest = self.end - self.deliveries.len() as u64;
        let skipped = usize::try_from(cursor.saturating_sub(oldest)).unwrap_or(usize::MAX);
        self.deliveries.range(skipped.min(self.deliveries.len())..)
    }

    /// A frame came. `followers` are all nodes that take part.
    pub(super) fn append(
        &mut self,
        delivery: Delivery,
        followers: &[NodeId],
        nodes: &mut [Node],
        events: &mut Events,
    ) {
        if self.end >= self.check_at {
            self.check(followers, nodes);
        }
        if !self.full.is_empty() {
            self.overrun(&delivery, nodes, events);
        }
        if self.deliveries.len() >= RECEIVE_FIFO_FRAMES {
            self.deliveries.pop_front();
        }
        self.deliveries.push_back(delivery);
        self.end += 1;
    }

    /// Finds out who is full, and when the next one can be.
    fn check(&mut self, followers: &[NodeId], nodes: &mut [Node]) {
        self.check_at = u64::MAX;
        for id in followers {
            let node = &mut nodes[usize::from(*id)];
            let Some(cursor) = node.cursor else {
                continue;
            };
            let room = RECEIVE_FIFO_FRAMES.saturating_sub(node.kept.len()) as u64;
            if cursor + room > self.end {
                self.check_at = self.check_at.min(cursor + room);
                continue;
            }
            self.leave(*id, node);
            self.join(node);
            if node.cursor.is_none() {
                self.full.push(*id);
            }
        }
    }

    /// Those that are full lose a frame; those that have read since follow the log again.
    fn overrun(&mut self, delivery: &Delivery, nodes: &mut [Node], events: &mut Events) {
        let full = std::mem::take(&mut self.full);
        for id in full {
            let node = &mut nodes[usize::from(id)];
            if node.kept.len() < RECEIVE_FIFO_FRAMES {
                node.overrunning = false;
                self.join(node);
                continue;
            }
            if delivery.is_for(id) {
                count_overrun(id, node, delivery.received.at, events);
            }
            self.full.push(id);
        }
    }
}

/// A node lost a frame; told once until it has room again.
pub(super) fn count_overrun(id: NodeId, node: &mut Node, at: Nanos, events: &mut Events) {
    node.counters.overrun += 1;
    if !node.overrunning {
        node.overrunning = true;
        events.push(at, EventKind::Overrun { node: id });
    }
}
