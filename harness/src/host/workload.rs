//! What the host reads and writes, and what it measured.

use std::collections::BTreeMap;

use devices::power::mix;
use devices::time::Nanos;

use super::initiator::{Completion, Initiator, Timing};
use super::ledger::Ledger;
use super::transport::{Command, Transport};

/// What a host does while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Time between two commands.
    pub interval: Nanos,
    /// Blocks it works on, from the start of the volume.
    pub blocks: u64,
    /// Of 100 commands, how many are writes.
    pub write_percent: u32,
    /// Most commands in progress at once.
    pub depth: usize,
    /// Decides which block and which kind comes next.
    pub seed: u64,
}

/// What a host measured, in virtual time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figures {
    /// Commands that ended well.
    pub reads: u64,
    /// Writes that were acknowledged.
    pub writes: u64,
    /// Commands that failed.
    pub failed: u64,
    /// Commands that had to be sent more than once.
    pub retried: u64,
    /// Longest time from submission to a good end.
    pub longest: Nanos,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Read { index: u64 },
    Write { index: u64, sequence: u64 },
    Verify { index: u64 },
}

/// A host with a workload. Cloning it is a checkpoint.
#[derive(Clone, Debug)]
pub struct Host {
    initiator: Initiator,
    ledger: Ledger,
    plan: Option<Plan>,
    next_at: Nanos,
    issued: u64,
    in_progress: BTreeMap<u32, Purpose>,
    to_verify: Vec<u64>,
    waiting_since: Option<Nanos>,
    figures: Figures,
    /// Spans in which commands waited and none ended well: from, to.
    outages: Vec<(Nanos, Nanos)>,
    problems: Vec<Problem>,
}

/// Something the host has to complain about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// When it was found.
    pub at: Nanos,
    /// An acknowledged write is not there; otherwise a command failed on every path.
    pub lost_write: bool,
    /// What was found.
    pub what: String,
}

/// Where the host stops calling a wait an outage: what a command takes on an undisturbed path.
const UNDISTURBED: Nanos = Nanos::from_millis(20);
/// Verifying reads in progress at once.
const VERIFY_DEPTH: usize = 8;

impl Host {
    /// A host with one path to each of `paths` controllers, doing nothing yet. It will work on
    /// blocks of `block_bytes` bytes.
    pub fn new(
        transport: Box<dyn Transport>,
        paths: usize,
        timing: Timing,
        block_bytes: usize,
    ) -> Host {
        Host {
            initiator: Initiator::new(transport, paths, timing),
            ledger: Ledger::new(block_bytes),
            plan: None,
            next_at: Nanos::NEVER,
            issued: 0,
            in_progress: BTreeMap::new(),
            to_verify: Vec::new(),
            waiting_since: None,
            figures: Figures::default(),
            outages: Vec::new(),
            problems: Vec::new(),
        }
    }

    /// Starts (or changes) the workload.
    pub fn start(&mut self, now: Nanos, plan: Plan) {
        self.plan = Some(plan);
        self.next_at = now;
    }

    /// Issues no further commands of the workload.
    pub fn stop(&mut self) {
        self.plan = None;
        self.next_at = Nanos::NEVER;
    }

    /// Reads back every block that was ever written; [`Host::busy`] until done.
    pub fn verify(&mut self, now: Nanos) {
        self.to_verify = self.ledger.written().collect();
        self.to_verify.reverse();
        self.issue_due(now);
    }

    /// Whether commands or verifying reads are outstanding.
    pub fn busy(&self) -> bool {
        !self.in_progress.is_empty() || !self.to_verify.is_empty()
    }

    /// Takes a frame off the wire.
    pub fn receive(&mut self, now: Nanos, frame: &[u8]) {
        self.initiator.receive(now, frame);
        self.settle(now);
    }

    /// Does what is due at `now`.
    pub fn advance(&mut self, now: Nanos) {
        self.initiator.advance(now);
        self.settle(now);
    }

    /// When the host next has something to do.
    pub fn deadline(&self) -> Option<Nanos> {
        let full = self
            .plan
            .is_some_and(|plan| self.in_progress.len() >= plan.depth);
        let next = (self.plan.is_some() && !full).then_some(self.next_at);
        self.initiator.deadline().into_iter().chain(next).min()
    }

    /// Frames to put on the wire.
    pub fn take_frames(&mut self) -> Vec<Vec<u8>> {
        self.initiator.take_frames()
    }

    /// What was measured so far.
    pub fn figures(&self) -> Figures {
        self.figures
    }

    /// The longest time since `since` in which commands waited and none ended well; one that still
    /// lasts at `now` counts. Zero where no wait was longer than what an undisturbed path takes.
    pub fn outage(&self, since: Nanos, now: Nanos) -> Nanos {
        let lasting = self.waiting_since.map(|from| (from, now));
        let spans = self.outages.iter().copied().chain(lasting);
        spans
            .filter(|(_, to)| *to > since)
            .map(|(from, to)| outage(from, to))
            .max()
            .unwrap_or(Nanos::ZERO)
    }

    /// How often the host changed paths.
    pub fn path_switches(&self) -> u64 {
        self.initiator.path_switches()
    }

    /// Blocks that hold an acknowledged write.
    pub fn acknowledged_blocks(&self) -> usize {
        self.ledger.acknowledged()
    }

    /// Lost, torn or misplaced writes and failed commands, in the order they were found.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    fn settle(&mut self, now: Nanos) {
        for completion in self.initiator.take_completions() {
            self.complete(completion);
        }
        self.issue_due(now);
    }

    fn complete(&mut self, completion: Completion) {
        let Some(purpose) = self.in_progress.remove(&completion.tag) else {
            return;
        };
        if completion.attempts > 1 {
            self.figures.retried += 1;
        }
        let data = match completion.result {
            Ok(data) => data,
            Err(why) => {
                self.figures.failed += 1;
                let what = match purpose {
                    Purpose::Read { index } => format!("read of block {index}"),
                    Purpose::Write { index, .. } => format!("write of block {index}"),
                    Purpose::Verify { index } => format!("verifying read of block {index}"),
                };
                self.problems.push(Problem {
                    at: completion.ended,
                    lost_write: false,
                    what: format!("{what} failed: {why}"),
                });
                return;
            }
        };
        let took = completion.ended.saturating_sub(completion.submitted);
        self.figures.longest = self.figures.longest.max(took);
        if let Some(since) = self.waiting_since
            && outage(since, completion.ended) > Nanos::ZERO
        {
            self.outages.push((since, completion.ended));
        }
        self.waiting_since = (!self.in_progress.is_empty()).then_some(completion.ended);
        match purpose {
            Purpose::Write { index, sequence } => {
                self.figures.writes += 1;
                self.ledger.acknowledge(index, sequence);
            }
            Purpose::Read { index } | Purpose::Verify { index } => {
                self.figures.reads += 1;
                if let Err(problem) = self.ledger.check(index, &data) {
                    self.problems.push(Problem {
                        at: completion.ended,
                        lost_write: true,
                        what: problem,
                    });
                }
            }
        }
    }

    fn issue_due(&mut self, now: Nanos) {
        while self.in_progress.len() < VERIFY_DEPTH {
            let Some(index) = self.to_verify.pop() else {
                break;
            };
            self.issue(now, Purpose::Verify { index }, self.read(index));
        }
        let Some(plan) = self.plan else { return };
        while self.next_at <= now && self.in_progress.len() < plan.depth {
            self.next_at = now + plan.interval;
            self.issued += 1;
            let chance = mix(plan.seed, self.issued);
            let index = (chance >> 8) % plan.blocks.max(1);
            // Two commands on one block could overtake each other; a host orders them itself.
            if self
                .in_progress
                .values()
                .any(|other| other.index() == index)
            {
                continue;
            }
            if chance % 100 < u64::from(plan.write_percent) {
                let (sequence, data) = self.ledger.prepare(index);
                let command = Command {
                    cdb: transfer(0x2a, index, self.ledger.block_bytes()),
                    data,
                    expected: 0,
                };
                self.issue(now, Purpose::Write { index, sequence }, command);
            } else {
                self.issue(now, Purpose::Read { index }, self.read(index));
            }
        }
    }

    fn read(&self, index: u64) -> Command {
        Command {
            cdb: transfer(0x28, index, self.ledger.block_bytes()),
            data: Vec::new(),
            expected: self.ledger.block_bytes(),
        }
    }

    fn issue(&mut self, now: Nanos, purpose: Purpose, command: Command) {
        let tag = self.initiator.submit(now, command);
        self.in_progress.insert(tag, purpose);
        self.waiting_since.get_or_insert(now);
    }
}

impl Purpose {
    fn index(&self) -> u64 {
        match *self {
            Purpose::Read { index } | Purpose::Write { index, .. } | Purpose::Verify { index } => {
                index
            }
        }
    }
}

/// A wait from `since` to `until` as an outage.
fn outage(since: Nanos, until: Nanos) -> Nanos {
    let wait = until.saturating_sub(since);
    if wait <= UNDISTURBED {
        Nanos::ZERO
    } else {
        wait
    }
}

/// READ(10) or WRITE(10) (SBC-4 §5.13, §5.40) of one host block.
fn transfer(operation: u8, index: u64, block_bytes: usize) -> [u8; 16] {
    let sectors = block_bytes as u64 / 512;
    let first = u32::try_from(index * sectors).unwrap_or(u32::MAX);
    let mut cdb = [0; 16];
    cdb[0] = operation;
    cdb[2..6].copy_from_slice(&first.to_be_bytes());
    cdb[7..9].copy_from_slice(&u16::try_from(sectors).unwrap_or(0).to_be_bytes());
    cdb
}
