//! The moment in which a node that was reset takes a download.

use distribution::message::{Class, Message};
use distribution::module::Audience;
use distribution::{Identity, NodeAction, Receiver, VersionTag};
use node::Bus;
use runtime::DeviceError;
use runtime::board_control::BoardControl;
use runtime::can::{self, CanController};

use crate::act;

/// How long the door stays open, unless a download has begun: a master that serves nodes one by one begins at once.
const DOOR_NS: u64 = 300_000_000;

/// An image that came whole and lies in memory.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Download {
    pub(crate) version: VersionTag,
    pub(crate) entry: u32,
    pub(crate) length: u32,
}

/// Asks, and waits for a download addressed to this node. It goes to `image`.
pub(crate) fn open(
    control: &BoardControl,
    can: &CanController,
    identity: &Identity,
    image: &mut [u8],
) -> Result<Option<Download>, DeviceError> {
    let mut receiver = Receiver::new(*identity, node::tells_type(control.identity()));
    let closes_ns = control.now_ns().saturating_add(DOOR_NS);
    receiver.self_test(control.now_ns(), true);
    let mut bus = Bus::of(can);
    let mut frame = can::Frame::EMPTY;
    loop {
        while let Some(action) = receiver.next_action() {
            if let Some(NodeAction::Run {
                entry,
                length,
                version,
            }) = act(control, Some(&bus), action)?
            {
                return Ok(Some(Download {
                    version,
                    entry,
                    length,
                }));
            }
        }
        let receives = receiver
            .wants()
            .contains(Class::Data.identifier(identity.node));
        if !receives && control.now_ns() >= closes_ns {
            return Ok(None);
        }
        let until_ns = if receives {
            receiver.deadline_ns()
        } else {
            receiver.deadline_ns().min(closes_ns)
        };
        bus.wait(control, until_ns)?;
        let now_ns = control.now_ns();
        while bus.receive(&mut frame)? {
            if !is_broadcast(frame.id(), frame.data()) {
                receiver.frame(now_ns, frame.id(), frame.data(), image);
            }
        }
        receiver.tick(now_ns);
    }
}

/// Whether something begins for many nodes, which is nothing for one of prior art.
fn is_broadcast(identifier: u16, data: &[u8]) -> bool {
    match Message::decode(identifier, data) {
        Some(Message::Start(start)) => !matches!(start.audience, Audience::Node(_)),
        _ => false,
    }
}
