//! What a node's image does with the bus beside its work: it obeys commands and says what it is. Broadcasts
//! are none of its business (steps 336, 337; CD38): it does not even need to be woken for them.

use heapless::Deque;

use crate::epoch::Newest;
use crate::event::NodeEvent;
use crate::message::{Class, Classes, Message, NodeState, Order, Status};
use crate::module::{Identity, VersionTag};
use crate::node::NodeAction;

/// Most actions that one input can cause, twice over.
const ACTIONS_MAX: usize = 4;

/// The state machine.
#[derive(Clone, Debug)]
pub struct Running {
    identity: Identity,
    version: VersionTag,
    newest: Newest,
    actions: Deque<NodeAction, ACTIONS_MAX>,
}

impl Running {
    /// An image that has begun to run: the node is fully operational (CD12), and says so.
    pub fn new(identity: Identity, version: VersionTag) -> Running {
        let mut running = Running {
            identity,
            version,
            newest: Newest::default(),
            actions: Deque::new(),
        };
        running.act(NodeAction::Trace(NodeEvent::Operational {
            module: identity.module,
            version,
            set: identity.set,
        }));
        running.report();
        running
    }

    /// The frames it needs.
    pub fn wants(&self) -> Classes {
        Classes::of(&[Class::Command])
    }

    /// What to do next.
    pub fn next_action(&mut self) -> Option<NodeAction> {
        self.actions.pop_front()
    }

    /// A frame was received.
    pub fn frame(&mut self, now_ns: u64, identifier: u16, payload: &[u8]) {
        let Some(Message::Command(command)) = Message::decode(identifier, payload) else {
            return;
        };
        let admitted = command
            .epoch
            .is_none_or(|epoch| self.newest.admits(now_ns, epoch));
        if !admitted || !command.scope.includes(&self.identity) {
            return;
        }
        match command.order {
            Order::Reboot => {
                self.act(NodeAction::Trace(NodeEvent::RebootOrdered {
                    by: command.node,
                }));
                self.act(NodeAction::Reboot);
            }
            Order::Report => self.report(),
        }
    }

    fn report(&mut self) {
        let status = Status {
            identity: self.identity,
            state: NodeState::Operational,
            version: self.version,
        };
        self.act(NodeAction::Send(status.encode()));
    }

    fn act(&mut self, action: NodeAction) {
        // Full only if nobody drains it, and then nothing matters any more.
        let _full = self.actions.push_back(action);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Epoch;
    use crate::message::{Command, Data, Frame, Start};
    use crate::module::{Audience, Content, Module, Scope};

    const IDENTITY: Identity = Identity {
        node: 9,
        module: Module::Drive,
        set: 1,
        boots: 1,
    };

    fn started() -> Running {
        let mut running = Running::new(IDENTITY, VersionTag::from_bytes([1, 0, 0, 0]));
        let first = running.next_action();
        let expected = "operational type=drive version=1.0 set=1";
        assert!(matches!(first, Some(NodeAction::Trace(event)) if event.to_string() == expected));
        assert!(matches!(running.next_action(), Some(NodeAction::Send(_))));
        assert_eq!(running.next_action(), None);
        running
    }

    fn hand(running: &mut Running, frame: &Frame) -> bool {
        running.frame(0, frame.identifier(), frame.payload());
        running.wants().contains(frame.identifier())
    }

    fn command(order: Order, scope: Scope, epoch: Option<Epoch>) -> Frame {
        let node = 0;
        Message::Command(Command {
            node,
            order,
            scope,
            epoch,
        })
        .encode()
    }

    #[test]
    fn cd38_a_broadcast_is_neither_wanted_nor_noticed() {
        let mut running = started();
        let start = Message::Start(Start {
            node: 0,
            number: 1,
            content: Content::Combined,
            audience: Audience::ALL,
            epoch: Epoch(1),
            blocks: 2,
        });
        let data = Message::Data(Data {
            node: 0,
            number: 1,
            fragment: 0,
            bytes: b"ABNI",
        });
        for message in [start, data] {
            assert!(!hand(&mut running, &message.encode()));
            assert_eq!(running.next_action(), None);
        }
    }

    #[test]
    fn cd52_reboots_for_a_master_and_for_an_operator_and_only_when_meant() {
        use Order::{Reboot, Report};
        let epoch = |number| Some(Epoch(number));
        for (order, scope, epoch, reboots) in [
            (Reboot, Scope::All, epoch(5), true),
            (Reboot, Scope::Set(1), None, true),
            (Reboot, Scope::Set(2), epoch(5), false),
            (Reboot, Scope::Node(9), epoch(6), true),
            (Reboot, Scope::Only(Module::Xy), epoch(5), false),
            // K8: said by a master that was deposed.
            (Reboot, Scope::All, epoch(4), false),
            (Report, Scope::All, epoch(5), false),
        ] {
            let mut running = started();
            let heard = command(Report, Scope::Node(1), Some(Epoch(5)));
            assert!(hand(&mut running, &heard));
            hand(&mut running, &command(order, scope, epoch));
            let mut actions = core::iter::from_fn(|| running.next_action());
            assert_eq!(
                actions.any(|it| it == NodeAction::Reboot),
                reboots,
                "{scope:?}"
            );
        }
    }
}
