use std::collections::VecDeque;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::bits::BitRates;
use super::error_state::ErrorState;
use super::frame::{Frame, Identifier};
use super::topology::SegmentId;
use crate::time::Nanos;

/// A controller on the bus, in the order they were added.
pub type NodeId = u16;

/// Frames a node keeps to send, with those that were sent and not asked about; more are refused.
pub const TRANSMIT_QUEUE_FRAMES: usize = 64;
/// Frames received and not read; more overrun the node.
pub const RECEIVE_FIFO_FRAMES: usize = 64;

/// Names a frame that a node was given to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Ticket(pub u64);

/// Why a frame was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum SendError {
    /// There is no such node.
    #[error("there is no such node")]
    NoSuchNode,
    /// It has no power, was not started, or went bus-off.
    #[error("the controller is stopped")]
    Stopped,
    /// [`TRANSMIT_QUEUE_FRAMES`] are there.
    #[error("the transmit queue is full")]
    Full,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Sent and acknowledged.
    Sent,
    /// The controller went bus-off first.
    BusOff,
    /// The controller was stopped first.
    Stopped,
    /// It was withdrawn first.
    Cancelled,
}

/// A frame that will not be sent any more, for better or worse.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completion {
    /// Which.
    pub ticket: Ticket,
    /// What became of it.
    pub outcome: Outcome,
    /// When: at the end of its end-of-frame field if it was sent.
    pub at: Nanos,
}

/// A frame that was received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Received {
    /// The end of its end-of-frame field.
    pub at: Nanos,
    /// The frame.
    pub frame: Frame,
}

/// What became of frames at one node.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Sent and acknowledged.
    pub sent: u64,
    /// Read by the node's owner.
    pub received: u64,
    /// Frames of its own that ended in an error.
    pub transmit_errors: u64,
    /// Frames of others that ended in an error.
    pub receive_errors: u64,
    /// Frames lost because [`RECEIVE_FIFO_FRAMES`] were not read, or to a fault that says so.
    pub overrun: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Queued {
    pub(super) ticket: Ticket,
    pub(super) frame: Frame,
    /// Not to be tried again.
    pub(super) withdrawn: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Node {
    pub(super) segment: SegmentId,
    pub(super) powered: bool,
    pub(super) connected: bool,
    pub(super) started: bool,
    pub(super) own_rates: BitRates,
    pub(super) errors: ErrorState,
    /// Sequences of eleven recessive bits to be seen before it takes part.
    pub(super) sequences_left: u16,
    /// From when on they count.
    pub(super) listens_from: Nanos,
    /// Not before then may it begin the next frame.
    pub(super) may_send_at: Nanos,
    pub(super) queue: VecDeque<Queued>,
    pub(super) completions: VecDeque<Completion>,
    next_ticket: u64,
    /// Frames received that it does not share with others.
    pub(super) kept: VecDeque<Received>,
    /// The next frame in its island's log; nothing while it does not follow the log.
    pub(super) cursor: Option<u64>,
    /// It lost the last frame to an overrun.
    pub(super) overrunning: bool,
    pub(super) counters: Counters,
    /// What faults make of it.
    pub(super) cut_off: bool,
    pub(super) babbling: bool,
    pub(super) wrong_rates: Option<BitRates>,
}

impl Node {
    pub(super) fn new(segment: SegmentId, rates: BitRates) -> Node {
        Node {
            segment,
            powered: false,
            connected: true,
            started: false,
            own_rates: rates,
            errors: ErrorState::default(),
            sequences_left: 0,
            listens_from: Nanos::ZERO,
            may_send_at: Nanos::ZERO,
            queue: VecDeque::new(),
            completions: VecDeque::new(),
            next_ticket: 0,
            kept: VecDeque::new(),
            cursor: None,
            overrunning: false,
            counters: Counters::default(),
            cut_off: false,
            babbling: false,
            wrong_rates: None,
        }
    }

    /// Powered, started and with a wire: it listens at least.
    pub(super) fn is_on(&self) -> bool {
        self.powered && self.started && self.connected && !self.cut_off
    }

    /// It sends, acknowledges and flags errors.
    pub(super) fn takes_part(&self) -> bool {
        self.is_on() && self.sequences_left == 0 && !self.errors.is_bus_off()
    }

    /// It waits for the bus to be quiet long enough.
    pub(super) fn is_joining(&self) -> bool {
        self.is_on() && self.sequences_left > 0
    }

    pub(super) fn rates(&self) -> BitRates {
        self.wrong_rates.unwrap_or(self.own_rates)
    }

    /// What follows from being on the bus again, and from other bit rates: it listens from now on.
    pub(super) fn changed(&mut self, now: Nanos, was_on: bool, rates: BitRates) {
        if !was_on && self.is_on() {
            self.sequences_left = self.sequences_left.max(1);
            self.may_send_at = now;
            self.listens_from = now;
        }
        if self.rates() != rates {
            self.listens_from = now;
        }
    }

    /// Takes a frame to send.
    pub(super) fn accept(&mut self, frame: Frame) -> Result<Ticket, SendError> {
        if !self.powered || !self.started {
            return Err(SendError::Stopped);
        }
        if self.queue.len() + self.completions.len() >= TRANSMIT_QUEUE_FRAMES {
            return Err(SendError::Full);
        }
        let ticket = Ticket(self.next_ticket);
        self.next_ticket += 1;
        self.queue.push_back(Queued {
            ticket,
            frame,
            withdrawn: false,
        });
        Ok(ticket)
    }

    /// What it would send now. A babbling idiot sends the frame that nothing beats.
    pub(super) fn head(&self) -> Option<Frame> {
        if self.babbling {
            return Frame::data(Identifier::Standard(0), &[]).ok();
        }
        self.queue.front().map(|it| it.frame)
    }

    /// The frame at the head of the queue is done with.
    pub(super) fn complete_head(&mut self, at: Nanos, outcome: Outcome) {
        if let Some(Queued { ticket, .. }) = self.queue.pop_front() {
            self.completions.push_back(Completion {
                ticket,
                outcome,
                at,
            });
        }
    }

    /// No frame will be sent any more.
    pub(super) fn give_up(&mut self, at: Nanos, outcome: Outcome) {
        while !self.queue.is_empty() {
            self.complete_head(at, outcome);
        }
        self.started = false;
    }

    /// As after power-on.
    pub(super) fn reset(&mut self) {
        self.started = false;
        self.errors.clear();
        self.sequences_left = 0;
        self.queue.clear();
        self.completions.clear();
        self.kept.clear();
        self.cursor = None;
        self.overrunning = false;
    }
}
