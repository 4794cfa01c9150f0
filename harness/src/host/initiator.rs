//! SCSI initiator with several paths to one logical unit.
//!
//! A command goes out on the path that answered last. A path that answers NOT READY (a standby
//! controller) or BUSY, or does not answer in time, is left for the next one; after a whole round
//! the initiator pauses. A command fails only when its total time is up.

use std::collections::BTreeMap;

use devices::time::Nanos;

use super::transport::{Answer, Command, Outcome, Transport};

/// Patience.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// How long one path may take to answer.
    pub path_timeout: Nanos,
    /// Pause after every path was tried in vain.
    pub round_pause: Nanos,
    /// How long a command may take in all. Hosts of the time gave up after 30 to 60 s.
    pub command_timeout: Nanos,
}

impl Default for Timing {
    fn default() -> Self {
        Timing {
            path_timeout: Nanos::from_millis(500),
            round_pause: Nanos::from_millis(10),
            command_timeout: Nanos::from_secs(60),
        }
    }
}

const GOOD: u8 = 0x00;
const CHECK_CONDITION: u8 = 0x02;
const NOT_READY: u8 = 0x2;
const UNIT_ATTENTION: u8 = 0x6;

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The tag `submit` gave.
    pub tag: u32,
    /// When it was submitted.
    pub submitted: Nanos,
    /// When it ended.
    pub ended: Nanos,
    /// How often it was sent.
    pub attempts: u32,
    /// Data-in, or why it failed.
    pub result: Result<Vec<u8>, String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct InProgress {
    command: Command,
    submitted: Nanos,
    attempts: u32,
    /// Paths left to try in this round.
    round_left: usize,
    wait: Wait,
    /// The path of the newest attempt.
    path: usize,
    /// Tag on the wire of the newest attempt: an answer to an older one is late and not believed.
    wire_tag: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    Answer { until: Nanos },
    Pause { until: Nanos },
}

/// The initiator. Cloning it is a checkpoint.
#[derive(Clone, Debug)]
pub struct Initiator {
    transport: Box<dyn Transport>,
    paths: usize,
    current: usize,
    timing: Timing,
    next_tag: u32,
    next_wire_tag: u32,
    commands: BTreeMap<u32, InProgress>,
    completions: Vec<Completion>,
    switches: u64,
}

impl Initiator {
    /// An initiator with one path to each of `paths` controllers.
    pub fn new(transport: Box<dyn Transport>, paths: usize, timing: Timing) -> Initiator {
        Initiator {
            transport,
            paths: paths.max(1),
            current: 0,
            timing,
            next_tag: 0,
            next_wire_tag: 0,
            commands: BTreeMap::new(),
            completions: Vec::new(),
            switches: 0,
        }
    }

    /// Starts a command; its end shows up in [`Initiator::take_completions`] under this tag.
    pub fn submit(&mut self, now: Nanos, command: Command) -> u32 {
        let tag = self.next_tag;
        self.next_tag = self.next_tag.wrapping_add(1);
        let command = InProgress {
            command,
            submitted: now,
            attempts: 0,
            round_left: self.paths,
            wait: Wait::Pause { until: now },
            path: self.current,
            wire_tag: 0,
        };
        self.commands.insert(tag, command);
        self.send(now, tag);
        tag
    }

    /// Takes a frame off the wire.
    pub fn receive(&mut self, now: Nanos, frame: &[u8]) {
        self.transport.receive(now, frame);
        self.hear(now);
    }

    /// Goes on with what the transport has heard.
    fn hear(&mut self, now: Nanos) {
        // Sending can lose a path at once, and so more to hear of.
        loop {
            let answers = self.transport.take_answers();
            if answers.is_empty() {
                return;
            }
            for answer in answers {
                self.answered(now, answer);
            }
        }
    }

    fn answered(&mut self, now: Nanos, answer: Answer) {
        let found = self.commands.iter().find(|(_, command)| {
            command.wire_tag == answer.tag && matches!(command.wait, Wait::Answer { .. })
        });
        let Some(tag) = found.map(|(tag, _)| *tag) else {
            return;
        };
        let Outcome::Status {
            status,
            sense,
            data,
        } = answer.outcome
        else {
            return self.next_path(now, tag);
        };
        // Another command may have moved on to another path meanwhile; this path works too.
        if answer.path != self.current && answer.path < self.paths && status == GOOD {
            self.switch_to(answer.path);
        }
        match verdict(status, &sense) {
            Verdict::Good => self.complete(now, tag, Ok(data)),
            Verdict::Again => self.send(now, tag),
            Verdict::OtherPath => self.next_path(now, tag),
            Verdict::Failed(why) => self.complete(now, tag, Err(why)),
        }
    }

    /// Does what is due at `now`.
    pub fn advance(&mut self, now: Nanos) {
        self.transport.advance(now);
        self.hear(now);
        let due: Vec<u32> = self
            .commands
            .iter()
            .filter(|(_, command)| match command.wait {
                Wait::Answer { until } | Wait::Pause { until } => until <= now,
            })
            .map(|(tag, _)| *tag)
            .collect();
        for tag in due {
            let Some(command) = self.commands.get(&tag) else {
                continue;
            };
            if now.saturating_sub(command.submitted) >= self.timing.command_timeout {
                let tried = command.attempts;
                self.complete(now, tag, Err(format!("timed out after {tried} attempts")));
            } else if matches!(command.wait, Wait::Answer { .. }) {
                self.transport.give_up(now, command.path);
                self.next_path(now, tag);
            } else {
                self.send(now, tag);
            }
        }
        self.hear(now);
    }

    /// When something is next due.
    pub fn deadline(&self) -> Option<Nanos> {
        let commands = self.commands.values().map(|command| match command.wait {
            Wait::Answer { until } | Wait::Pause { until } => until,
        });
        commands.chain(self.transport.deadline()).min()
    }

    /// Frames to put on the wire.
    pub fn take_frames(&mut self) -> Vec<Vec<u8>> {
        self.transport.take_frames()
    }

    /// Commands that ended.
    pub fn take_completions(&mut self) -> Vec<Completion> {
        std::mem::take(&mut self.completions)
    }

    /// How often another path became the current one.
    pub fn path_switches(&self) -> u64 {
        self.switches
    }

    /// Commands in progress.
    pub fn in_progress(&self) -> usize {
        self.commands.len()
    }

    fn switch_to(&mut self, path: usize) {
        if self.current != path {
            self.current = path;
            self.switches += 1;
        }
    }

    fn send(&mut self, now: Nanos, tag: u32) {
        let Some(command) = self.commands.get_mut(&tag) else {
            return;
        };
        command.attempts += 1;
        command.path = self.current;
        command.wire_tag = self.next_wire_tag;
        self.next_wire_tag = self.next_wire_tag.wrapping_add(1);
        command.wait = Wait::Answer {
            until: now + self.timing.path_timeout,
        };
        let (path, wire_tag) = (command.path, command.wire_tag);
        self.transport.send(now, path, wire_tag, &command.command);
    }

    fn next_path(&mut self, now: Nanos, tag: u32) {
        let Some(path) = self.commands.get(&tag).map(|command| command.path) else {
            return;
        };
        // Another command may have left that path already.
        if path == self.current {
            self.switch_to((path + 1) % self.paths);
        }
        let Some(command) = self.commands.get_mut(&tag) else {
            return;
        };
        command.round_left = command.round_left.saturating_sub(1);
        if command.round_left == 0 {
            command.round_left = self.paths;
            command.wait = Wait::Pause {
                until: now + self.timing.round_pause,
            };
        } else {
            self.send(now, tag);
        }
    }

    fn complete(&mut self, now: Nanos, tag: u32, result: Result<Vec<u8>, String>) {
        if let Some(command) = self.commands.remove(&tag) {
            self.completions.push(Completion {
                tag,
                submitted: command.submitted,
                ended: now,
                attempts: command.attempts,
                result,
            });
        }
    }
}

enum Verdict {
    Good,
    Again,
    OtherPath,
    Failed(String),
}

fn verdict(status: u8, sense: &[u8]) -> Verdict {
    match status {
        GOOD => Verdict::Good,
        CHECK_CONDITION => {
            // Fixed format sense: key in byte 2, ASC and ASCQ in bytes 12 and 13 (SPC-5 §4.4.3).
            let byte = |at: usize| sense.get(at).copied().unwrap_or(0);
            match byte(2) & 0xf {
                UNIT_ATTENTION => Verdict::Again,
                NOT_READY => Verdict::OtherPath,
                key => Verdict::Failed(format!("sense {key:x}/{:02x}/{:02x}", byte(12), byte(13))),
            }
        }
        // BUSY, TASK SET FULL, RESERVATION CONFLICT: this path cannot now.
        _ => Verdict::OtherPath,
    }
}

#[cfg(test)]
mod tests {
    use super::super::ethernet::{ETHERNET_TYPE, EthernetScsi};
    use super::super::transport::controller_mac;
    use super::*;

    fn initiator() -> Initiator {
        Initiator::new(Box::new(EthernetScsi::default()), 2, Timing::default())
    }

    fn answer(frame: &[u8], from: usize, status: u8, key: u8) -> Vec<u8> {
        let mut out = frame[6..12].to_vec();
        out.extend(controller_mac(from));
        out.extend(ETHERNET_TYPE);
        out.extend([2, 0, 0, 0]);
        out.extend(&frame[18..22]);
        out.extend(0_u32.to_le_bytes());
        out.extend([status, if status == GOOD { 0 } else { 18 }, 0, 0]);
        let mut sense = [0; 32];
        sense[2] = key;
        out.extend(sense);
        out
    }

    fn command() -> Command {
        Command {
            cdb: [0; 16],
            data: Vec::new(),
            expected: 0,
        }
    }

    #[test]
    fn a_standby_path_is_left_at_once() {
        let mut initiator = initiator();
        initiator.submit(Nanos(0), command());
        let first = initiator.take_frames().remove(0);
        assert_eq!(first[..6], controller_mac(0));
        initiator.receive(Nanos(5), &answer(&first, 0, CHECK_CONDITION, NOT_READY));
        let second = initiator.take_frames().remove(0);
        assert_eq!(second[..6], controller_mac(1));
        initiator.receive(Nanos(9), &answer(&second, 1, GOOD, 0));
        let done = initiator.take_completions().remove(0);
        assert_eq!(
            (done.attempts, done.ended, done.result),
            (2, Nanos(9), Ok(Vec::new()))
        );
        assert_eq!(initiator.path_switches(), 1);
    }

    #[test]
    fn a_silent_path_costs_its_time_out_and_a_dead_array_the_whole_one() {
        let mut initiator = initiator();
        initiator.submit(Nanos(0), command());
        let mut sent = 0;
        while let Some(at) = initiator.deadline() {
            initiator.advance(at);
            sent += initiator.take_frames().len();
        }
        let done = initiator.take_completions().remove(0);
        assert!(done.result.is_err());
        assert!(done.ended >= Nanos::from_secs(60) && done.ended < Nanos::from_secs(61));
        assert_eq!(u32::try_from(sent).unwrap(), done.attempts);
    }

    #[test]
    fn a_late_answer_is_not_believed() {
        let mut initiator = initiator();
        initiator.submit(Nanos(0), command());
        let late = initiator.take_frames().remove(0);
        initiator.advance(Nanos::from_millis(500));
        initiator.receive(Nanos::from_millis(501), &answer(&late, 0, GOOD, 0));
        assert_eq!(initiator.take_completions(), []);
    }
}
