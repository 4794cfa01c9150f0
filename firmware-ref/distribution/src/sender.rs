//! A broadcast on its way out (step 335): start, gap, fragments, end, and never more frames waiting for the bus
//! than the transmit queue holds.

use crate::configuration::Edition;
use crate::epoch::Epoch;
use crate::message::{
    BLOCK, CLASSIC_MAX, DATA_HEADER, Data, End, FLEXIBLE_MAX, FRAGMENTS, Frame, Message, NUMBERS,
    Start,
};
use crate::module::{Audience, Content};
use crate::{CRC32, START_GAP_NS};

/// What is broadcast, to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Job {
    pub(crate) edition: Edition,
    pub(crate) content: Content,
    pub(crate) audience: Audience,
}

/// How far it has come.
#[derive(Clone, Copy, Debug)]
enum Stage {
    Start,
    Data,
    End,
    /// Everything is handed to the bus.
    Drain,
}

#[derive(Clone, Copy, Debug)]
struct Broadcast {
    job: Job,
    stage: Stage,
    length: usize,
    crc: u32,
    position: usize,
    fragment: u16,
    next_ns: u64,
}

/// What came of asking for the next frame.
#[derive(Debug)]
pub(crate) enum Next {
    /// Send it.
    Frame(Frame),
    /// Not now.
    Later,
    /// All of it was sent.
    Finished,
    /// The image is no longer what it was.
    Changed,
}

#[derive(Clone, Debug)]
pub(crate) struct Sender {
    node: u8,
    flexible: bool,
    gap_ns: u64,
    queue: u8,
    number: u8,
    broadcast: Option<Broadcast>,
    in_flight: u8,
}

impl Sender {
    pub(crate) fn new(node: u8, flexible: bool, queue: u8, gap_ns: u64) -> Sender {
        Sender {
            node,
            flexible,
            gap_ns,
            queue: queue.max(1),
            number: 0,
            broadcast: None,
            in_flight: 0,
        }
    }

    pub(crate) fn job(&self) -> Option<Job> {
        self.broadcast.map(|broadcast| broadcast.job)
    }

    pub(crate) fn number(&self) -> u8 {
        self.number
    }

    /// Begins. `image` is a checked container.
    pub(crate) fn begin(&mut self, now_ns: u64, job: Job, image: &[u8]) {
        self.number = (self.number + 1) % NUMBERS;
        self.broadcast = Some(Broadcast {
            job,
            stage: Stage::Start,
            length: image.len(),
            crc: CRC32.checksum(image),
            position: 0,
            fragment: 0,
            next_ns: now_ns,
        });
    }

    /// Ends early; answers whether there was anything to end.
    pub(crate) fn stop(&mut self) -> bool {
        self.broadcast.take().is_some()
    }

    /// The bus took so many of the frames handed to it.
    pub(crate) fn sent(&mut self, frames: u8) {
        self.in_flight = self.in_flight.saturating_sub(frames);
    }

    /// One more frame, of whatever kind, is handed to the bus.
    pub(crate) fn handed(&mut self) {
        self.in_flight = self.in_flight.saturating_add(1);
    }

    pub(crate) fn deadline_ns(&self) -> u64 {
        match &self.broadcast {
            Some(broadcast) => match broadcast.stage {
                Stage::Drain if self.in_flight > 0 => u64::MAX,
                _ if self.in_flight >= self.queue => u64::MAX,
                _ => broadcast.next_ns,
            },
            None => u64::MAX,
        }
    }

    /// The next frame, if it is time and there is room.
    pub(crate) fn next(&mut self, now_ns: u64, epoch: Epoch, image: Option<&[u8]>) -> Next {
        if now_ns < self.deadline_ns() {
            return Next::Later;
        }
        let Some(broadcast) = &mut self.broadcast else {
            return Next::Later;
        };
        let image = image.filter(|image| image.len() == broadcast.length);
        let Some(image) = image else {
            return Next::Changed;
        };
        let (node, number) = (self.node, self.number);
        let message = match broadcast.stage {
            Stage::Start => {
                broadcast.stage = Stage::Data;
                broadcast.next_ns = now_ns.saturating_add(START_GAP_NS);
                let blocks = broadcast.length / BLOCK as usize;
                Message::Start(Start {
                    node,
                    number,
                    content: broadcast.job.content,
                    audience: broadcast.job.audience,
                    epoch,
                    blocks: u16::try_from(blocks).unwrap_or(u16::MAX),
                })
            }
            Stage::Data => {
                let frame = if self.flexible {
                    FLEXIBLE_MAX
                } else {
                    CLASSIC_MAX
                };
                let rest = image.get(broadcast.position..).unwrap_or_default();
                let bytes = rest.get(..frame - DATA_HEADER).unwrap_or(rest);
                let fragment = broadcast.fragment;
                broadcast.fragment = (fragment + 1) % FRAGMENTS;
                broadcast.position += bytes.len();
                broadcast.next_ns = now_ns.saturating_add(self.gap_ns);
                if broadcast.position >= broadcast.length {
                    broadcast.stage = Stage::End;
                }
                Message::Data(Data {
                    node,
                    number,
                    fragment,
                    bytes,
                })
            }
            Stage::End => {
                broadcast.stage = Stage::Drain;
                broadcast.next_ns = now_ns;
                Message::End(End {
                    node,
                    number,
                    epoch,
                    crc: broadcast.crc,
                })
            }
            // The next start has a more urgent identifier: it must not overtake this end.
            Stage::Drain => {
                self.broadcast = None;
                return Next::Finished;
            }
        };
        self.handed();
        Next::Frame(message.encode())
    }
}
