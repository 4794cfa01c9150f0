use devices::event::DeviceEvent;
use emulator::array::{ArrayEvent, EventKind};

/// What is known of a board from what it said since it last left reset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BoardView {
    /// Resets it left since the run began, whatever controller was in the slot.
    pub boots: u32,
    /// Resets it left since its power last came or a controller was last inserted.
    pub boots_since_power: u32,
    /// How far it came in this boot.
    pub state: State,
    /// Version of the L2 that runs.
    pub l2: Option<String>,
    /// Version of the L3 that runs.
    pub l3: Option<String>,
    /// Bank of the L2 that runs.
    pub l2_bank: Option<String>,
    /// Bank of the L3 that runs.
    pub l3_bank: Option<String>,
    /// Version of the application that runs.
    pub application: Option<String>,
    /// `master` or `alternate`.
    pub role: Option<String>,
    /// It says it owns LUN 0.
    pub owns_lun: bool,
    /// Bytes flashed, re-flashes finished since the run began.
    pub reflashes: u32,
}

/// How far a board came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum State {
    /// No power, or in reset.
    #[default]
    Down,
    /// It stopped with an error, crashed or hung.
    Error,
    /// Between reset and operation.
    Booting,
    /// It serves.
    Operational,
}

impl State {
    /// The word used in scenario files.
    pub fn as_str(self) -> &'static str {
        match self {
            State::Down => "down",
            State::Error => "error",
            State::Booting => "booting",
            State::Operational => "operational",
        }
    }
}

/// Splits a trace into its name and the rest, its `key=value` words.
pub fn words(trace: &str) -> (&str, &str) {
    trace.split_once(' ').unwrap_or((trace, ""))
}

/// The value of `key` among `key=value` words.
pub fn word<'a>(words: &'a str, key: &str) -> Option<&'a str> {
    words.split(' ').find_map(|word| {
        let (found, value) = word.split_once('=')?;
        (found == key).then_some(value)
    })
}

impl BoardView {
    pub(super) fn take(&mut self, event: &ArrayEvent) {
        match &event.kind {
            EventKind::Booted { boots, .. } => {
                let earlier = self.boots;
                let reflashes = self.reflashes;
                let since_power = if *boots == 1 {
                    0
                } else {
                    self.boots_since_power
                };
                *self = BoardView {
                    boots: earlier + 1,
                    boots_since_power: since_power + 1,
                    state: State::Booting,
                    reflashes,
                    ..BoardView::default()
                };
            }
            EventKind::Crashed(_) | EventKind::Hung(_) | EventKind::Halted => {
                self.stop(State::Error);
            }
            EventKind::Held
            | EventKind::PoweredOff
            | EventKind::PowerLost { .. }
            | EventKind::Pulled { .. } => self.stop(State::Down),
            EventKind::Device(DeviceEvent::Trace(trace)) => self.trace(trace),
            _ => {}
        }
    }

    pub(super) fn stop(&mut self, state: State) {
        self.state = state;
        self.application = None;
        self.role = None;
        self.owns_lun = false;
    }

    fn trace(&mut self, trace: &str) {
        let (name, rest) = words(trace);
        let owned = |key| word(rest, key).map(str::to_owned);
        match name {
            "l2-started" => {
                self.l2 = owned("version");
                self.l2_bank = owned("bank");
            }
            "l3-started" => {
                self.l3 = owned("version");
                self.l3_bank = owned("bank");
            }
            "application-started" => self.application = owned("version"),
            "operational" => {
                self.state = State::Operational;
                self.role = owned("role");
            }
            "role-changed" => self.role = owned("role"),
            "lun-owned" => self.owns_lun = true,
            "lun-released" => self.owns_lun = false,
            "reflash-finished" => self.reflashes += 1,
            "boot-error" | "post-failed" => self.stop(State::Error),
            "reset-requested" => self.stop(State::Booting),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_a_trace() {
        let (name, rest) = words("l2-selected bank=A version=1.0");
        let found = ["version", "bank", "x"].map(|key| word(rest, key));
        assert_eq!(
            (name, found),
            ("l2-selected", [Some("1.0"), Some("A"), None])
        );
        assert_eq!(words("post-passed").0, "post-passed");
    }
}
