//! The boot ROM's side: from a passed self-test to an image in RAM (Fig. 5, steps 305 to 350).
//!
//! ```text
//! testing ──passed──▸ waiting ◂──────────────────────────────┐
//!    │                 │  ▲ asks now and after each time-out  │ damage, silence, wrong image
//!    └─failed─▸ failed └──┴──start for this node──▸ receiving ┤
//!                                                             └─all of it, checked─▸ loaded
//! ```
//!
//! Frames may be handed over late and many at a time: [`Receiver::frame`] for each, then one
//! [`Receiver::tick`], then the actions. Needs no frame outside [`Receiver::wants`], and no call before
//! [`Receiver::deadline_ns`] but for such a frame.

use core::fmt;

use heapless::Deque;

use crate::codec::Broadcast;
use crate::container::{Part, TABLE_MAX};
use crate::epoch::Newest;
use crate::event::{Dropped, NodeEvent};
use crate::message::{
    BLOCK, Class, Classes, Command, Data, End, FRAGMENTS, NodeState, Order, Reason, Request, Start,
    Status,
};
use crate::module::{Identity, VersionTag};
use crate::node::{Memory, NodeAction, select, store};
use crate::{CRC32, DAMAGE_RETRY_NS, Digest, Epoch, REQUEST_RETRY_NS, SILENCE_NS};

/// Most actions that one input can cause, twice over.
const ACTIONS_MAX: usize = 8;
/// Steps of a node's spread.
const SPREAD_STEP_NS: u64 = 1_000_000;

/// A broadcast on its way in.
#[derive(Clone)]
struct Reception {
    master: u8,
    number: u8,
    epoch: Epoch,
    total: u32,
    position: u32,
    next_fragment: u16,
    sum: Digest,
    part: Option<Part>,
}

impl fmt::Debug for Reception {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reception")
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Debug)]
enum State {
    Testing,
    Failed,
    Waiting,
    Receiving(Reception),
    Loaded,
}

/// The state machine.
#[derive(Clone, Debug)]
pub struct Receiver {
    identity: Identity,
    tells_type: bool,
    state: State,
    /// When it asks; while it receives, when it has waited long enough.
    due_ns: u64,
    reason: Reason,
    attempt: u8,
    newest: Newest,
    table: [u8; TABLE_MAX],
    actions: Deque<NodeAction, ACTIONS_MAX>,
}

impl Receiver {
    /// A node that runs its boot program from the beginning (CD14). `tells_type`: whether its requests say what it
    /// is (CD17).
    pub fn new(identity: Identity, tells_type: bool) -> Receiver {
        Receiver {
            identity,
            tells_type,
            state: State::Testing,
            due_ns: u64::MAX,
            reason: Reason::Booted,
            attempt: 0,
            newest: Newest::default(),
            table: [0; TABLE_MAX],
            actions: Deque::new(),
        }
    }

    /// The self-test is over (step 309). A node that failed it asks for nothing (CD15).
    pub fn self_test(&mut self, now_ns: u64, passed: bool) {
        if !matches!(self.state, State::Testing) {
            return;
        }
        if !passed {
            self.state = State::Failed;
            self.trace(NodeEvent::SelfTestFailed);
            self.send_status(NodeState::Failed);
            return;
        }
        // Minimally operational (step 310), so it asks (step 311).
        self.state = State::Waiting;
        let Identity { module, set, .. } = self.identity;
        self.trace(NodeEvent::MinimallyOperational { module, set });
        self.ask(now_ns);
    }

    /// What to do next.
    pub fn next_action(&mut self) -> Option<NodeAction> {
        self.actions.pop_front()
    }

    /// When [`Receiver::tick`] has something to do.
    pub fn deadline_ns(&self) -> u64 {
        self.due_ns
    }

    /// The frames it needs.
    pub fn wants(&self) -> Classes {
        match self.state {
            State::Testing | State::Loaded => Classes::of(&[]),
            State::Failed => Classes::of(&[Class::Command]),
            State::Waiting => Classes::of(&[Class::Command, Class::Start]),
            State::Receiving(_) => Classes::of(&[Class::Command, Class::Start, Class::Data]),
        }
    }

    /// Time has passed, and every frame received by now was handed over.
    pub fn tick(&mut self, now_ns: u64) {
        if now_ns < self.due_ns {
            return;
        }
        match self.state {
            State::Receiving(_) => self.give_up(now_ns, Dropped::Silence),
            State::Waiting => self.ask(now_ns),
            State::Testing | State::Failed | State::Loaded => {}
        }
    }

    /// A frame was received (step 336).
    // A call, as what surrounds it has a large frame: in a boot ROM of 16 KiB that counts.
    #[inline(never)]
    pub fn frame<M: Memory + ?Sized>(
        &mut self,
        now_ns: u64,
        identifier: u16,
        payload: &[u8],
        memory: &mut M,
    ) {
        if matches!(self.state, State::Testing | State::Loaded) {
            return;
        }
        // Not by way of `Message`, which knows more than there is room for in a ROM.
        let [class, node] = identifier.to_be_bytes();
        if class == Class::Command as u8 {
            if let Some(command) = Command::decode(node, payload) {
                self.command(now_ns, &command);
            }
        } else if class == Class::Start as u8 {
            if let Some(start) = Start::decode(node, payload) {
                self.start(now_ns, &start);
            }
        } else if class == Class::Data as u8 {
            match Broadcast::decode(node, payload) {
                Some(Broadcast::Data(data)) => self.data(now_ns, &data, memory),
                Some(Broadcast::End(end)) => self.end(now_ns, &end, memory),
                None => {}
            }
        }
    }

    fn command(&mut self, now_ns: u64, command: &Command) {
        let admitted = command
            .epoch
            .is_none_or(|epoch| self.newest.admits(now_ns, epoch));
        if !admitted || !command.scope.includes(&self.identity) {
            return;
        }
        match command.order {
            Order::Reboot => {
                self.trace(NodeEvent::RebootOrdered { by: command.node });
                self.act(NodeAction::Reboot);
            }
            Order::Report if matches!(self.state, State::Failed) => {
                self.send_status(NodeState::Failed);
            }
            Order::Report => self.send_status(NodeState::Minimal),
        }
    }

    fn start(&mut self, now_ns: u64, start: &Start) {
        if matches!(self.state, State::Failed) {
            return;
        }
        if let State::Receiving(current) = &self.state {
            // Of two masters only the newer one counts (K8).
            if start.node != current.master && !start.epoch.is_newer_than(current.epoch) {
                return;
            }
            let again = start.node == current.master
                && (start.number, start.epoch) == (current.number, current.epoch);
            if again && current.position == 0 {
                return;
            }
        }
        if !self.newest.admits(now_ns, start.epoch) {
            return;
        }
        if matches!(self.state, State::Receiving(_)) {
            self.give_up(now_ns, Dropped::Interrupted);
        }
        if !start.audience.includes(&self.identity) {
            return;
        }
        if !start.content.may_suit(self.identity.module) {
            // Step 346: back to 338, and ask again when the time is over.
            self.reason = Reason::OtherType;
            return;
        }
        self.state = State::Receiving(Reception {
            master: start.node,
            number: start.number,
            epoch: start.epoch,
            total: u32::from(start.blocks) * BLOCK,
            position: 0,
            next_fragment: 0,
            sum: CRC32.digest(),
            part: None,
        });
        self.due_ns = now_ns.saturating_add(SILENCE_NS);
    }

    fn data<M: Memory + ?Sized>(&mut self, now_ns: u64, data: &Data<'_>, memory: &mut M) {
        let State::Receiving(reception) = &mut self.state else {
            return;
        };
        if data.node != reception.master {
            return;
        }
        if data.number != reception.number {
            // Its start got lost, and the end of this one.
            return self.give_up(now_ns, Dropped::Interrupted);
        }
        if data.fragment != reception.next_fragment {
            // A sender that did not see the very end of a frame go well sends it again, while all
            // others have it already (ISO 11898-1: the last bit of end-of-frame). Twice is not wrong.
            let before = (reception.next_fragment + FRAGMENTS - 1) % FRAGMENTS;
            if data.fragment != before || reception.position == 0 {
                self.give_up(now_ns, Dropped::Missing);
            }
            return;
        }
        reception.next_fragment = (data.fragment + 1) % FRAGMENTS;
        self.due_ns = now_ns.saturating_add(SILENCE_NS);
        let left = (reception.total - reception.position) as usize;
        let bytes = data.bytes.get(..left).unwrap_or(data.bytes);
        reception.sum.update(bytes);
        let position = reception.position as usize;
        for (to, from) in self.table.iter_mut().skip(position).zip(bytes) {
            *to = *from;
        }
        let end = position + bytes.len();
        reception.position = u32::try_from(end).unwrap_or(u32::MAX);
        if reception.part.is_none() {
            let known = self.table.get(..end).unwrap_or(&self.table);
            match select(known, reception.total, &self.identity, memory.capacity()) {
                Ok(part) => reception.part = part,
                Err(cause) => return self.give_up(now_ns, cause),
            }
        }
        if let Some(part) = &reception.part {
            store(part, position, bytes, memory);
        }
    }

    fn end<M: Memory + ?Sized>(&mut self, now_ns: u64, end: &End, memory: &mut M) {
        let State::Receiving(reception) = &self.state else {
            return;
        };
        if end.node != reception.master {
            return;
        }
        if end.number != reception.number || end.epoch != reception.epoch {
            return self.give_up(now_ns, Dropped::Interrupted);
        }
        if reception.position != reception.total {
            return self.give_up(now_ns, Dropped::Missing);
        }
        let (sum, part) = (reception.sum.finalize(), reception.part);
        let Some(part) = part.filter(|_| sum == end.crc) else {
            return self.give_up(now_ns, Dropped::Damaged);
        };
        // What lies in RAM, not what passed: the image is run from there.
        if CRC32.checksum(memory.stored(part.length)) != part.crc {
            return self.give_up(now_ns, Dropped::Memory);
        }
        self.state = State::Loaded;
        self.due_ns = u64::MAX;
        let version = part.version;
        self.trace(NodeEvent::ImageLoaded {
            content: part.content,
            version,
            length: part.length,
        });
        self.act(NodeAction::Run {
            entry: part.entry,
            length: part.length,
            version,
        });
    }

    /// What was received is worth nothing; the node stays minimally operational and asks again (CD47).
    fn give_up(&mut self, now_ns: u64, cause: Dropped) {
        self.trace(NodeEvent::BroadcastDropped { cause });
        self.state = State::Waiting;
        let (reason, after_ns) = match cause {
            Dropped::OtherType => (Reason::OtherType, REQUEST_RETRY_NS),
            Dropped::TooLarge => (Reason::Damaged, REQUEST_RETRY_NS),
            _ => (Reason::Damaged, DAMAGE_RETRY_NS),
        };
        self.reason = reason;
        self.due_ns = self.later(now_ns, after_ns);
    }

    fn ask(&mut self, now_ns: u64) {
        self.attempt = self.attempt.saturating_add(1);
        let request = Request {
            node: self.identity.node,
            module: self.tells_type.then_some(self.identity.module),
            set: self.identity.set,
            reason: self.reason,
            boots: self.identity.boots,
            attempt: self.attempt,
        };
        let event = NodeEvent::ImageRequested {
            module: request.module,
            reason: request.reason,
            attempt: request.attempt,
        };
        self.trace(event);
        self.act(NodeAction::Send(request.encode()));
        self.reason = Reason::Unanswered;
        self.due_ns = self.later(now_ns, REQUEST_RETRY_NS);
    }

    /// A time after `now_ns` at which few others do the same: different for all 256 nodes, and in
    /// another order at each attempt.
    fn later(&self, now_ns: u64, after_ns: u64) -> u64 {
        let by_node = self.identity.node.wrapping_mul(167);
        let step = by_node ^ self.attempt.wrapping_mul(59);
        now_ns
            .saturating_add(after_ns)
            .saturating_add(u64::from(step) * SPREAD_STEP_NS)
    }

    fn send_status(&mut self, state: NodeState) {
        let status = Status {
            identity: self.identity,
            state,
            version: VersionTag::from_bytes([0; 4]),
        };
        self.act(NodeAction::Send(status.encode()));
    }

    fn trace(&mut self, event: NodeEvent) {
        self.act(NodeAction::Trace(event));
    }

    fn act(&mut self, action: NodeAction) {
        // Full only if nobody drains it, and then nothing matters any more.
        let _full = self.actions.push_back(action);
    }
}

#[cfg(test)]
#[path = "receiver_tests.rs"]
mod tests;
