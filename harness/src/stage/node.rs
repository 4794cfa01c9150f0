use devices::event::DeviceEvent;
use emulator::array::{ArrayEvent, EventKind};

use super::view::{word, words};

/// What is known of a node of the CAN bus from what it said since it last left reset.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeView {
    /// Resets it left since the run began, whatever board was in its place.
    pub boots: u32,
    /// How far it came in this boot.
    pub state: NodeState,
    /// Version of the image that runs.
    pub version: Option<String>,
    /// The image that runs says that it is of the type which the boot ROM said the node has.
    pub is_own_image: bool,
    /// What the boot ROM said the node is.
    kind: Option<String>,
}

/// How far a node came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum NodeState {
    /// No power, or in reset.
    #[default]
    Down,
    /// It failed its self-test, crashed or hung.
    Error,
    /// It runs its boot ROM, which has not finished the self-test.
    Booting,
    /// It runs its boot ROM, has tested itself, and has no image yet.
    Minimal,
    /// It runs its image.
    Operational,
}

impl NodeState {
    /// The word used in messages.
    pub fn as_str(self) -> &'static str {
        match self {
            NodeState::Down => "down",
            NodeState::Error => "error",
            NodeState::Booting => "booting",
            NodeState::Minimal => "minimal",
            NodeState::Operational => "operational",
        }
    }
}

impl NodeView {
    pub(super) fn take(&mut self, event: &ArrayEvent) {
        match &event.kind {
            EventKind::Booted { .. } => {
                self.boots += 1;
                self.stop(NodeState::Booting);
            }
            EventKind::Crashed(_) | EventKind::Hung(_) | EventKind::Halted => {
                self.stop(NodeState::Error);
            }
            EventKind::PoweredOff | EventKind::PowerLost { .. } | EventKind::Pulled { .. } => {
                self.stop(NodeState::Down);
            }
            EventKind::Device(DeviceEvent::Trace(trace)) => self.trace(trace),
            _ => {}
        }
    }

    pub(super) fn stop(&mut self, state: NodeState) {
        self.state = state;
        self.version = None;
        self.is_own_image = false;
    }

    fn trace(&mut self, trace: &str) {
        let (name, rest) = words(trace);
        match name {
            "minimally-operational" => {
                self.stop(NodeState::Minimal);
                self.kind = word(rest, "type").map(str::to_owned);
            }
            "operational" => {
                self.state = NodeState::Operational;
                self.version = word(rest, "version").map(str::to_owned);
                self.is_own_image = self.kind.as_deref() == word(rest, "type");
            }
            "self-test-failed" | "post-failed" => self.stop(NodeState::Error),
            "reboot-ordered" | "bus-failed" => self.stop(NodeState::Booting),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use devices::board_control::ResetReason;
    use devices::time::Nanos;
    use emulator::array::Source;

    use super::*;

    #[test]
    fn a_node_is_what_it_last_said() {
        let mut view = NodeView::default();
        let mut check = |kind: EventKind, state: NodeState, version: Option<&str>| {
            view.take(&ArrayEvent {
                at: Nanos::ZERO,
                source: Source::Node(0),
                kind,
            });
            assert_eq!((view.state, view.version.as_deref()), (state, version));
            assert_eq!(view.is_own_image, state == NodeState::Operational);
        };
        let trace = |text: &str| EventKind::Device(DeviceEvent::Trace(text.to_owned()));
        let booted = || EventKind::Booted {
            reason: ResetReason::Cold,
            boots: 1,
        };
        check(booted(), NodeState::Booting, None);
        let minimal = "minimally-operational type=drive set=1";
        check(trace(minimal), NodeState::Minimal, None);
        check(trace("image-loaded version=2.0"), NodeState::Minimal, None);
        let operational = "operational type=drive version=2.0 set=1";
        check(trace(operational), NodeState::Operational, Some("2.0"));
        check(trace("reboot-ordered by=0"), NodeState::Booting, None);
        check(booted(), NodeState::Booting, None);
        check(trace("self-test-failed"), NodeState::Error, None);
        check(EventKind::PoweredOff, NodeState::Down, None);
        assert_eq!(view.boots, 2);
    }
}
