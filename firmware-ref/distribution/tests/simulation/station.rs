//! What is on the bus: nodes, what runs on them and whether that is what it should be, and masters.

use distribution::Content::{All, Only};
use std::collections::VecDeque;

use distribution::{
    Authority, Configuration, Edition, Frame, Identity, NodeAction, Offer, Receiver, Running,
    VersionTag, Wait,
};

use crate::images::{self, Images, code};
use crate::rig::{MASTERS, MS, SECOND};

#[derive(Default)]
pub(crate) struct Port {
    pub(crate) transmit: VecDeque<Frame>,
    pub(crate) received: Vec<Frame>,
    pub(crate) hand_ns: u64,
}

pub(crate) enum Program {
    Off,
    /// Runs its self-test until then.
    Testing(Box<Receiver>, u64),
    Boot(Box<Receiver>),
    Image(Box<Running>, VersionTag),
}

pub(crate) struct Node {
    pub(crate) identity: Identity,
    pub(crate) program: Program,
    pub(crate) memory: Vec<u8>,
    pub(crate) self_test_passes: bool,
    pub(crate) tells_type: bool,
    /// Times its program was woken.
    pub(crate) wakes: u32,
}

pub(crate) fn runs(node: &Node) -> Option<VersionTag> {
    match &node.program {
        Program::Image(_, version) => Some(*version),
        _ => None,
    }
}

pub(crate) fn wake_node(
    now_ns: u64,
    node: &mut Node,
    frames: &[Frame],
    images: &Images,
    said: &mut Vec<Frame>,
    lines: &mut Vec<String>,
) -> bool {
    if let Program::Testing(receiver, until_ns) = &mut node.program
        && now_ns >= *until_ns
    {
        receiver.self_test(now_ns, node.self_test_passes);
        let receiver = receiver.clone();
        node.program = Program::Boot(receiver);
    }
    let mut actions = Vec::new();
    match &mut node.program {
        Program::Off | Program::Testing(..) => {}
        Program::Boot(receiver) => {
            for frame in frames {
                receiver.frame(
                    now_ns,
                    frame.identifier(),
                    frame.payload(),
                    &mut node.memory[..],
                );
            }
            receiver.tick(now_ns);
            actions.extend(std::iter::from_fn(|| receiver.next_action()));
        }
        Program::Image(running, _) => {
            for frame in frames {
                running.frame(now_ns, frame.identifier(), frame.payload());
            }
            actions.extend(std::iter::from_fn(|| running.next_action()));
        }
    }
    for action in actions {
        match action {
            NodeAction::Send(frame) => said.push(frame),
            NodeAction::Trace(event) => lines.push(event.to_string()),
            NodeAction::Reboot => return true,
            NodeAction::Run {
                entry,
                length,
                version,
            } => {
                let mine = [Only(node.identity.module), All];
                let editions = [Edition::Base, Edition::Update];
                let good = editions.into_iter().any(|edition| {
                    let codes = mine.iter().map(|it| code(edition, *it, images.length));
                    images::version(edition) == version
                        && codes
                            .into_iter()
                            .any(|code| code == node.memory[..length as usize])
                });
                assert!(good && entry == 4, "runs what is not its image: {lines:?}");
                let mut running = Running::new(node.identity, version);
                while let Some(action) = running.next_action() {
                    match action {
                        NodeAction::Send(frame) => said.push(frame),
                        NodeAction::Trace(event) => lines.push(event.to_string()),
                        other => panic!("a fresh image does {other:?}"),
                    }
                }
                node.program = Program::Image(Box::new(running), version);
                return false;
            }
        }
    }
    false
}

/// The frame with something else in it.
pub(crate) fn change(frame: &Frame, index: u64) -> Frame {
    let mut bytes = frame.payload().to_vec();
    let bit = usize::try_from(index * 13).expect("a small number") % (8 * bytes.len());
    bytes[bit / 8] ^= 1 << (bit % 8);
    Frame::received(frame.identifier(), &bytes).expect("as long as before")
}

/// A master as most tests want it.
pub(crate) fn configuration(slot: u8) -> Configuration {
    Configuration {
        node: MASTERS[usize::from(slot)],
        slot,
        authority: Authority::Bus,
        wait: Wait::fixed(200 * MS),
        offer: Offer::Requested,
        flexible: true,
        transmit_queue: 16,
        frame_gap_ns: 0,
        set_timeout_ns: 20 * SECOND,
    }
}

/// `SplitMix64`.
pub(crate) fn draw(random: &mut u64) -> u64 {
    *random = random.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let z = (*random ^ (*random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
