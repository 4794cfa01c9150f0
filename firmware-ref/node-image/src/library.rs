//! The library as an operator panel hears it on the bus.

use distribution::message::{MasterState, Message, NodeState};
use distribution::{Identity, Module};

use crate::report::{REPORT_PERIOD_NS, Report};

/// A node that said nothing for so long is silent.
const SILENT_NS: u64 = 3 * REPORT_PERIOD_NS;
/// How often it is looked who fell silent.
pub(crate) const LOOK_NS: u64 = 1_000_000_000;
const NODES: usize = 256;
const MODULES: usize = Module::ALL.len();

#[derive(Clone, Copy, Debug)]
struct Node {
    module: Option<Module>,
    state: NodeState,
    heard_ns: u64,
}

/// What is known of all nodes.
#[derive(Clone, Debug)]
pub struct Library {
    nodes: [Option<Node>; NODES],
    master: Option<u8>,
}

/// How many nodes are how far: all that is shown of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Census {
    /// Fully operational.
    pub up: u16,
    /// On their way.
    pub booting: u16,
    /// Failed their self-test.
    pub failed: u16,
    /// Not heard for a while.
    pub silent: u16,
    /// Fully operational ones by type, in the order of its number.
    pub up_by_module: [u16; MODULES],
    /// The active master.
    pub master: Option<u8>,
}

impl Library {
    /// Knows nobody but the panel itself.
    pub fn new(now_ns: u64, panel: &Identity) -> Library {
        let mut library = Library {
            nodes: [None; NODES],
            master: None,
        };
        library.heard(
            now_ns,
            panel.node,
            Some(panel.module),
            NodeState::Operational,
        );
        library
    }

    /// A frame was received.
    pub fn frame(&mut self, now_ns: u64, identifier: u16, payload: &[u8]) {
        if let Some(report) = Report::decode(identifier, payload) {
            let module = Some(report.module);
            return self.heard(now_ns, report.node, module, NodeState::Operational);
        }
        match Message::decode(identifier, payload) {
            Some(Message::Request(it)) => {
                self.heard(now_ns, it.node, it.module, NodeState::Minimal);
            }
            Some(Message::Status(it)) => {
                let Identity { node, module, .. } = it.identity;
                self.heard(now_ns, node, Some(module), it.state);
            }
            Some(Message::Heartbeat(it)) if it.state == MasterState::Active => {
                self.master = Some(it.node);
            }
            Some(Message::Heartbeat(it)) if self.master == Some(it.node) => self.master = None,
            _ => {}
        }
    }

    fn heard(&mut self, now_ns: u64, node: u8, module: Option<Module>, state: NodeState) {
        if let Some(place) = self.nodes.get_mut(usize::from(node)) {
            // A generic request does not say what asks.
            let module = module.or(place.and_then(|known| known.module));
            *place = Some(Node {
                module,
                state,
                heard_ns: now_ns,
            });
        }
    }

    /// Counts them. `panel` hears itself not, and is up.
    pub fn census(&self, now_ns: u64, panel: u8) -> Census {
        let mut census = Census {
            master: self.master,
            ..Census::default()
        };
        for (number, node) in self.nodes.iter().enumerate() {
            let Some(node) = node else { continue };
            // A node that failed its self-test has nothing more to say.
            let may_be_silent = node.state != NodeState::Failed && number != usize::from(panel);
            if may_be_silent && now_ns.saturating_sub(node.heard_ns) > SILENT_NS {
                census.silent += 1;
                continue;
            }
            match node.state {
                NodeState::Minimal => census.booting += 1,
                NodeState::Failed => census.failed += 1,
                NodeState::Operational => {
                    census.up += 1;
                    let index = node.module.map(|module| usize::from(module as u8) - 1);
                    if let Some(up) = index.and_then(|it| census.up_by_module.get_mut(it)) {
                        *up += 1;
                    }
                }
            }
        }
        census
    }
}

#[cfg(test)]
mod tests {
    use distribution::message::{Frame, Heartbeat, Reason, Request, Status, UpdateState};
    use distribution::{Epoch, VersionTag};

    use super::*;

    fn identity(node: u8, module: Module) -> Identity {
        Identity {
            node,
            module,
            set: 1,
            boots: 1,
        }
    }

    fn status(node: u8, module: Module, state: NodeState) -> Frame {
        let status = Status {
            identity: identity(node, module),
            state,
            version: VersionTag::from_bytes([1, 0, 0, 0]),
        };
        Message::Status(status).encode()
    }

    #[test]
    fn nodes_are_counted_by_what_they_last_said() {
        let mut library = Library::new(0, &identity(9, Module::Panel));
        let mut hear = |now_ns, frame: Frame| {
            library.frame(now_ns, frame.identifier(), frame.payload());
            let census = library.census(now_ns, 9);
            (census.up, census.booting, census.failed, census.silent)
        };
        let request = Message::Request(Request {
            node: 3,
            module: None,
            set: 1,
            reason: Reason::Booted,
            boots: 1,
            attempt: 1,
        });
        let report = Report {
            node: 4,
            module: Module::Xy,
            position: 2,
            beats: 1,
            uptime_s: None,
        };
        let late = SILENT_NS + 2;
        for (now_ns, frame, counts) in [
            (0, request.encode(), (1, 1, 0, 0)),
            (
                0,
                status(3, Module::Drive, NodeState::Operational),
                (2, 0, 0, 0),
            ),
            (1, report.encode(), (3, 0, 0, 0)),
            (1, status(5, Module::Drive, NodeState::Failed), (3, 0, 1, 0)),
            // The panel does not hear itself, and one that failed says nothing more.
            (late, report.encode(), (2, 0, 1, 1)),
        ] {
            assert_eq!(hear(now_ns, frame), counts, "{frame:?}");
        }
        let census = library.census(1, 9);
        assert_eq!(census.up_by_module, [0, 0, 1, 1, 1, 0]);
    }

    #[test]
    fn the_active_master_is_known_until_it_leaves() {
        let mut library = Library::new(0, &identity(9, Module::Panel));
        for (node, state, master) in [
            (0, MasterState::Standby, None),
            (1, MasterState::Active, Some(1)),
            (0, MasterState::Standby, Some(1)),
            (1, MasterState::Leaving, None),
            (0, MasterState::Active, Some(0)),
        ] {
            let heartbeat = Message::Heartbeat(Heartbeat {
                node,
                slot: node,
                state,
                epoch: Epoch(1),
                update: UpdateState::default(),
            });
            let frame = heartbeat.encode();
            library.frame(0, frame.identifier(), frame.payload());
            assert_eq!(library.census(0, 9).master, master, "{node} {state:?}");
        }
    }
}
