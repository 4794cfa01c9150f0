use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::bits::BitRates;
use super::error_state::{ErrorState, RECOVERY_SEQUENCES};
use super::event::{BusEvent, Events, FrameRecord};
use super::fault::{Fault, FaultId, Faults};
use super::frame::Frame;
use super::island::Island;
use super::node::{Completion, Counters, Node, NodeId, Outcome, Received, SendError, Ticket};
use super::topology::{CableId, IslandId, SegmentId, Topology};
use crate::time::Nanos;

/// Records of frames, the last ones, for whoever writes a trace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Trace {
    limit: usize,
    records: VecDeque<FrameRecord>,
    lost: u64,
}

impl Trace {
    pub(super) fn push(&mut self, record: FrameRecord) {
        if self.records.len() < self.limit {
            self.records.push_back(record);
        } else {
            self.lost += 1;
        }
    }
}

/// A CAN bus: nodes on segments, in virtual time.
///
/// Whoever owns it calls [`CanBus::advance`] at [`CanBus::deadline`]; every other call that has a time does
/// the same first. Time never goes back. What concerns a node that does not exist has no effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanBus {
    topology: Topology,
    pub(super) rates: BitRates,
    pub(super) nodes: Vec<Node>,
    /// One for each segment; that of a segment whose island has another name is empty.
    pub(super) islands: Vec<Island>,
    pub(super) faults: Faults,
    pub(super) events: Events,
    pub(super) frames_begun: u64,
    /// The latest time it was told.
    now: Nanos,
    pub(super) tells_frames: bool,
    pub(super) trace: Option<Trace>,
}

impl CanBus {
    /// A bus without nodes. `rates` are those of nodes that are not told others.
    pub fn new(topology: Topology, rates: BitRates) -> CanBus {
        let islands = vec![Island::new(); topology.segments()];
        CanBus {
            topology,
            rates,
            nodes: Vec::new(),
            islands,
            faults: Faults::default(),
            events: Events::default(),
            frames_begun: 0,
            now: Nanos::ZERO,
            tells_frames: false,
            trace: None,
        }
    }

    /// Puts a node on a segment: wired, without power, stopped. Nothing if there is no such segment, or as
    /// many nodes as can have a name.
    pub fn add_node(&mut self, segment: SegmentId) -> Option<NodeId> {
        self.topology.island(segment)?;
        let id = NodeId::try_from(self.nodes.len()).ok()?;
        self.nodes.push(Node::new(segment, self.rates));
        Some(id)
    }

    /// Whether its controllers know CAN FD: it has a data bit rate.
    pub fn has_fd(&self) -> bool {
        self.rates.data != 0
    }

    /// Number of nodes.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Segments and cables.
    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The island a node is on.
    pub fn island(&self, node: NodeId) -> Option<IslandId> {
        self.topology.island(self.node(node)?.segment)
    }

    /// Does everything that is due by `now`, in order of time.
    pub fn advance(&mut self, now: Nanos) {
        self.now = self.now.max(now);
        loop {
            let islands = self.islands.iter().enumerate();
            let first = islands.min_by_key(|(_, island)| island.next);
            match first {
                Some((at, island)) if island.next <= now && island.next != Nanos::NEVER => {
                    self.step(at);
                }
                _ => return,
            }
        }
    }

    /// The latest time it was told: nothing before it is left to do.
    pub fn now(&self) -> Nanos {
        self.now
    }

    /// When something happens next by itself.
    pub fn deadline(&self) -> Option<Nanos> {
        let next = self.islands.iter().map(|it| it.next).min();
        next.filter(|it| *it != Nanos::NEVER)
    }

    /// When something happens next on the island of a node.
    pub fn island_deadline(&self, node: NodeId) -> Option<Nanos> {
        let island = &self.islands[usize::from(self.island(node)?)];
        (island.next != Nanos::NEVER).then_some(island.next)
    }

    /// When the frame ends that is on the wire of a node's island.
    pub fn frame_ends(&self, node: NodeId) -> Option<Nanos> {
        let island = &self.islands[usize::from(self.island(node)?)];
        island.transmission.as_ref().map(|it| it.ends)
    }

    /// Gives a node power, stopped as after a reset, or takes it away: whatever it sent is cut off.
    pub fn set_powered(&mut self, now: Nanos, node: NodeId, powered: bool) {
        self.change(now, node, |it| {
            if it.powered != powered {
                it.reset();
            }
            it.powered = powered;
        });
    }

    /// Connects a node to its segment or pulls its stub. While it is off it neither sends nor hears.
    pub fn set_connected(&mut self, now: Nanos, node: NodeId, connected: bool) {
        self.change(now, node, |it| it.connected = connected);
    }

    /// Sets the bit rates of one node.
    pub fn set_bit_rates(&mut self, now: Nanos, node: NodeId, rates: BitRates) {
        self.change(now, node, |it| it.own_rates = rates);
    }

    /// Plugs or pulls a cable. What is on the wire of the islands it joins or parts is destroyed.
    pub fn set_cable(&mut self, now: Nanos, cable: CableId, plugged: bool) {
        self.advance(now);
        let before = self.topology.clone();
        if !self.topology.set_plugged(cable, plugged) {
            return;
        }
        let segments = || (0..).take(before.segments());
        let changed = |island: IslandId, after: &Topology| {
            segments()
                .any(|it| (before.island(it) == Some(island)) != (after.island(it) == Some(island)))
        };
        let changed: Vec<IslandId> = segments()
            .filter(|it| changed(*it, &self.topology))
            .collect();
        let islands = || changed.iter().copied().map(usize::from);
        let mut gone = Vec::new();
        for island in islands() {
            self.disturb(island, now);
            let mut parted = std::mem::replace(&mut self.islands[island], Island::new());
            for (id, node) in (0..).zip(&mut self.nodes) {
                if before.island(node.segment).map(usize::from) == Some(island) {
                    parted.log.leave(id, node);
                    node.listens_from = node.listens_from.max(now);
                }
            }
            gone.push(parted);
        }
        // What a part was busy with keeps the whole busy.
        for (island, parted) in islands().zip(gone) {
            let was = |it: &SegmentId| before.island(*it).map(usize::from) == Some(island);
            for root in segments()
                .filter(was)
                .filter_map(|it| self.topology.island(it))
            {
                let joined = &mut self.islands[usize::from(root)];
                joined.free_at = joined.free_at.max(parted.free_at).max(now);
                joined.recessive_since = joined.recessive_since.max(parted.recessive_since);
            }
        }
        for island in changed {
            self.refresh(usize::from(island), now);
        }
    }

    /// Starts a controller: it takes part when it has seen eleven recessive bits, after bus-off 128 times
    /// eleven (ISO 11898-1:2015 §12.1.4.4). Whether it has power.
    pub fn start(&mut self, now: Nanos, node: NodeId) -> bool {
        self.change(now, node, |it| {
            if it.powered && !it.started {
                it.started = true;
                it.sequences_left = if it.errors.is_bus_off() {
                    RECOVERY_SEQUENCES
                } else {
                    1
                };
            }
        });
        self.is_started(node)
    }

    /// Stops a controller, at once: what it was sending is cut off, what it has to send is given up. What
    /// it has received stays to be read; error counters stay.
    pub fn stop(&mut self, now: Nanos, node: NodeId) {
        self.change(now, node, |it| it.give_up(now, Outcome::Stopped));
    }

    /// Resets a controller: stopped, counters zero, nothing to send, nothing received.
    pub fn reset(&mut self, now: Nanos, node: NodeId) {
        self.change(now, node, Node::reset);
    }

    /// Whether a controller is started; bus-off stops it.
    pub fn is_started(&self, node: NodeId) -> bool {
        self.node(node).is_some_and(|it| it.powered && it.started)
    }

    /// Whether a node takes part: it sends, acknowledges and flags errors.
    pub fn takes_part(&self, node: NodeId) -> bool {
        self.node(node).is_some_and(Node::takes_part)
    }

    /// A node's error counters.
    pub fn errors(&self, node: NodeId) -> ErrorState {
        self.node(node)
            .map_or(ErrorState::default(), |it| it.errors)
    }

    /// What became of frames at a node.
    pub fn counters(&self, node: NodeId) -> Counters {
        self.node(node)
            .map_or(Counters::default(), |it| it.counters)
    }

    /// Gives a node a frame to send, after those it has; it is tried until it is sent.
    ///
    /// # Errors
    /// The node cannot take it (see [`SendError`]).
    pub fn send(&mut self, now: Nanos, node: NodeId, frame: Frame) -> Result<Ticket, SendError> {
        self.advance(now);
        let at = self.island(node).ok_or(SendError::NoSuchNode)?;
        let it = &mut self.nodes[usize::from(node)];
        let first = it.queue.is_empty();
        let ticket = it.accept(frame)?;
        if first && it.takes_part() {
            it.may_send_at = it.may_send_at.max(now);
            let island = &mut self.islands[usize::from(at)];
            island.set_pending(node, it);
            if island.transmission.is_none() {
                island.reschedule(&self.nodes, self.rates);
            }
        }
        Ok(ticket)
    }

    /// Withdraws a frame; whether it still was there. One that is on the wire may yet be sent, but is not
    /// tried again. Its [`Completion`] tells.
    pub fn cancel(&mut self, now: Nanos, node: NodeId, ticket: Ticket) -> bool {
        self.advance(now);
        let Some(at) = self.island(node) else {
            return false;
        };
        let island = &mut self.islands[usize::from(at)];
        let it = &mut self.nodes[usize::from(node)];
        let Some(place) = it.queue.iter().position(|it| it.ticket == ticket) else {
            return false;
        };
        let on_wire = island.transmission.as_ref();
        if place == 0 && !it.babbling && on_wire.is_some_and(|sent| sent.is_sender(node)) {
            it.queue[place].withdrawn = true;
            return true;
        }
        it.queue.remove(place);
        it.completions.push_back(Completion {
            ticket,
            outcome: Outcome::Cancelled,
            at: now,
        });
        if it.takes_part() {
            island.set_pending(node, it);
            island.reschedule(&self.nodes, self.rates);
        }
        true
    }

    /// The next frame a node is done with.
    pub fn completion(&self, node: NodeId) -> Option<&Completion> {
        self.node(node)?.completions.front()
    }

    /// Takes it, which makes room for another frame.
    pub fn take_completion(&mut self, node: NodeId) -> Option<Completion> {
        self.nodes
            .get_mut(usize::from(node))?
            .completions
            .pop_front()
    }

    /// Frames a node has to send.
    pub fn to_send(&self, node: NodeId) -> usize {
        self.node(node).map_or(0, |it| it.queue.len())
    }

    /// The next frame a node has received.
    pub fn received(&self, node: NodeId) -> Option<&Received> {
        let it = self.node(node)?;
        if let Some(kept) = it.kept.front() {
            return Some(kept);
        }
        self.islands[usize::from(self.island(node)?)]
            .log
            .next(node, it)
    }

    /// Takes it.
    pub fn receive(&mut self, node: NodeId) -> Option<Received> {
        let mut received = None;
        self.receive_while(node, |it| {
            let first = received.is_none();
            if first {
                received = Some(*it);
            }
            first
        });
        received
    }

    /// Hands over what a node has received, oldest first, until `take` says that it did not take a frame.
    /// Nothing is copied: a bus of many nodes that all read does little else.
    pub fn receive_while(&mut self, node: NodeId, mut take: impl FnMut(&Received) -> bool) {
        let Some(it) = self.nodes.get_mut(usize::from(node)) else {
            return;
        };
        while let Some(kept) = it.kept.front() {
            if !take(kept) {
                return;
            }
            it.kept.pop_front();
            it.counters.received += 1;
        }
        if let Some(at) = self.topology.island(it.segment) {
            let log = &self.islands[usize::from(at)].log;
            it.counters.received += log.read(node, it, take);
        }
    }

    /// Makes something go wrong.
    pub fn inject(&mut self, now: Nanos, fault: Fault) -> FaultId {
        self.advance(now);
        let id = self.faults.add(fault);
        self.faults_changed(now);
        id
    }

    /// Mends it; a frame's fault that has not fired never will.
    pub fn clear(&mut self, now: Nanos, fault: FaultId) {
        self.advance(now);
        self.faults.clear(fault);
        self.faults_changed(now);
    }

    /// Whether a fault had an effect.
    pub fn fired(&self, fault: FaultId) -> bool {
        self.faults.fired(fault)
    }

    /// Takes what happened since the last call.
    pub fn take_events(&mut self) -> Vec<BusEvent> {
        self.events.take()
    }

    /// Events that nobody took and that were not kept.
    pub fn events_lost(&self) -> u64 {
        self.events.lost
    }

    /// Frames that began, tries that fail included.
    pub fn frames_begun(&self) -> u64 {
        self.frames_begun
    }

    /// Whether to tell of every frame that begins, so that a power cut can be placed there. Off at first.
    pub fn tell_frames(&mut self, tell: bool) {
        self.tells_frames = tell;
    }

    /// Keeps records of up to `limit` frames for [`CanBus::take_log`]; 0 keeps none, as at first.
    pub fn record_frames(&mut self, limit: usize) {
        self.trace = (limit > 0).then(|| Trace {
            limit,
            records: VecDeque::new(),
            lost: 0,
        });
    }

    /// Takes the records of frames, oldest first, and how many had no room since the last call.
    pub fn take_log(&mut self) -> (Vec<FrameRecord>, u64) {
        let Some(trace) = &mut self.trace else {
            return (Vec::new(), 0);
        };
        let records = std::mem::take(&mut trace.records);
        (records.into(), std::mem::take(&mut trace.lost))
    }

    fn node(&self, node: NodeId) -> Option<&Node> {
        self.nodes.get(usize::from(node))
    }

    /// Changes a node, and what follows for the bus.
    fn change(&mut self, now: Nanos, id: NodeId, change: impl FnOnce(&mut Node)) {
        self.advance(now);
        let Some(at) = self.island(id).map(usize::from) else {
            return;
        };
        let node = &mut self.nodes[usize::from(id)];
        let (was_on, rates) = (node.is_on(), node.rates());
        change(node);
        node.changed(now, was_on, rates);
        self.refresh(at, now);
    }

    fn faults_changed(&mut self, now: Nanos) {
        let (faults, topology) = (&self.faults, &self.topology);
        for (id, node) in (0..).zip(&mut self.nodes) {
            let (was_on, rates) = (node.is_on(), node.rates());
            node.cut_off = faults.lasting().any(|it| *it == Fault::Disconnected(id));
            let babbling = faults.lasting().any(|it| *it == Fault::Babbling(id));
            if node.babbling != babbling {
                node.babbling = babbling;
                node.may_send_at = node.may_send_at.max(now);
            }
            node.wrong_rates = faults.lasting().find_map(|it| match it {
                Fault::BitRate(node, rates) if *node == id => Some(*rates),
                _ => None,
            });
            node.changed(now, was_on, rates);
        }
        let islands: Vec<IslandId> = topology.islands().collect();
        for island in islands {
            self.refresh(usize::from(island), now);
        }
    }

    /// Finds out anew who takes part on an island.
    pub(super) fn refresh(&mut self, at: usize, now: Nanos) {
        let on_island = |topology: &Topology, node: &Node| {
            topology.island(node.segment).map(usize::from) == Some(at)
        };
        let before = std::mem::take(&mut self.islands[at].participants);
        let members = (0..)
            .zip(&self.nodes)
            .filter(|(_, it)| on_island(&self.topology, it));
        let (mut participants, mut joining) = (Vec::new(), Vec::new());
        for (id, node) in members {
            if node.takes_part() {
                participants.push(id);
            } else if node.is_joining() {
                joining.push(id);
            }
        }
        let island = &mut self.islands[at];
        for id in before
            .iter()
            .filter(|it| participants.binary_search(it).is_err())
        {
            island.log.leave(*id, &mut self.nodes[usize::from(*id)]);
        }
        for id in participants
            .iter()
            .filter(|it| before.binary_search(it).is_err())
        {
            let node = &mut self.nodes[usize::from(*id)];
            node.may_send_at = node.may_send_at.max(now);
            island.log.join(node);
            if node.cursor.is_none() {
                island.log.join_full(*id);
            }
        }
        island.pending.clear();
        let nodes = &self.nodes;
        let node = |id: &NodeId| &nodes[usize::from(*id)];
        for id in &participants {
            island.set_pending(*id, node(id));
        }
        let rates = participants.first().map(|it| node(it).rates());
        island.uniform = participants
            .iter()
            .all(|it| Some(node(it).rates()) == rates);
        let mut errors = participants
            .iter()
            .map(|it| node(it).errors.receive_errors());
        island.has_receive_errors = errors.any(|it| it > 0);
        island.participants = participants;
        island.joining = joining;
        self.silence(at, &before, now);
        self.lasting_faults(at, now);
        self.islands[at].reschedule(&self.nodes, self.rates);
    }

    /// Those that took part and do not any more fall silent.
    fn silence(&mut self, at: usize, before: &[NodeId], now: Nanos) {
        for id in before.iter().copied() {
            if self.islands[at].participants.binary_search(&id).is_err() {
                self.fall_silent(at, id, now);
            }
        }
    }

    /// Shorts begin and end; stubs and shorts that concern somebody have fired.
    fn lasting_faults(&mut self, at: usize, now: Nanos) {
        let is_here =
            |topology: &Topology, segment| topology.island(segment).map(usize::from) == Some(at);
        let shorts = |topology: &Topology, it: &Fault| matches!(it, Fault::Short(segment) if is_here(topology, *segment));
        let shorted = self.faults.lasting().any(|it| shorts(&self.topology, it));
        match (shorted, self.islands[at].stuck.is_some()) {
            (true, false) => self.begin_short(at, now),
            (false, true) => self.end_short(at, now),
            _ => {}
        }
        if shorted && !self.islands[at].participants.is_empty() {
            let topology = &self.topology;
            let which = |it: &Fault| shorts(topology, it);
            self.faults.fire(now, &mut self.events, which);
        }
        let nodes = &self.nodes;
        let would_hear = |id: &NodeId| {
            let node = nodes.get(usize::from(*id));
            node.is_some_and(|it| it.powered && it.started && it.connected)
        };
        let which = |it: &Fault| matches!(it, Fault::Disconnected(id) if would_hear(id));
        self.faults.fire(now, &mut self.events, which);
    }
}
