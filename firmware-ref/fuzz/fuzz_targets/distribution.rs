//! Frames on a bus of nodes, and what a boot ROM, a running image and a master do about them.
#![no_main]

use arbitrary::{Arbitrary, Result, Unstructured};
use distribution::container::{Image, write};
use distribution::message::{
    Command, Data, End, Heartbeat, MasterState, NodeState, Order as Asks, Reason, Request, Start,
    Status, UpdateState,
};
use distribution::module::{Audience, Scope};
use distribution::{
    Authority, Configuration, Content, Contents, Edition, Epoch, Frame, Identity, Library, Master,
    MasterAction, Message, Module, NodeAction, Offer, Order, RebootBy, Receiver, Rollout, Running,
    VersionTag, Wait,
};
use libfuzzer_sys::fuzz_target;

const CODE: [u8; 200] = [0x5a; 200];
const SUM: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
const IDENTITY: Identity = Identity {
    node: 9,
    module: Module::Drive,
    set: 1,
    boots: 1,
};

#[derive(Debug, Arbitrary)]
enum Step {
    Frame(Said),
    Tick(u32),
    /// Everything that waits for the bus leaves, and a little time passes.
    Flow,
    Lock(Option<u8>, u8),
    Sent(u8),
    SendFailed(u8),
    Update(bool, bool),
    Turn(u8),
    Reboot(u8),
    HandOver,
    Forget(u8),
}

/// A frame that is nearly one of this bus's.
#[derive(Debug)]
struct Said(u16, Vec<u8>);

impl<'a> Arbitrary<'a> for Said {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Said> {
        let class = *u.choose(&[0u16, 2, 3, 3, 4, 4, 4, 5, 6, 7])?;
        let mut said = Said(class << 8 | u.int_in_range(0..=12)?, u.arbitrary()?);
        if u.ratio(7, 8)? {
            said = if u.ratio(1, 3)? { told(u)? } else { part(u)? };
        }
        if u.ratio(1, 16)? && !said.1.is_empty() {
            let at = u.choose_index(said.1.len())?;
            said.1[at] = u.arbitrary()?;
        }
        said.1.truncate(64);
        Ok(said)
    }
}

/// What nodes and another master say.
fn told(u: &mut Unstructured<'_>) -> Result<Said> {
    let node = u.int_in_range(0..=12)?;
    let module = *u.choose(&Module::ALL)?;
    let (set, epoch) = (u.int_in_range(0..=3)?, Epoch(u.int_in_range(0..=4)?));
    let message = match u.int_in_range(0..=5)? {
        0 => Message::Heartbeat(Heartbeat {
            node: 1,
            slot: 1,
            state: *u.choose(&[
                MasterState::Standby,
                MasterState::Active,
                MasterState::Leaving,
            ])?,
            epoch,
            update: UpdateState {
                running: u.arbitrary()?,
                by_operator: u.arbitrary()?,
                at_once: u.arbitrary()?,
                turn: set,
            },
        }),
        1 => Message::Command(Command {
            node,
            order: *u.choose(&[Asks::Reboot, Asks::Report])?,
            scope: Scope::Set(set),
            epoch: Some(epoch),
        }),
        2 | 3 => Message::Request(Request {
            node,
            module: u.arbitrary::<bool>()?.then_some(module),
            set,
            reason: Reason::Booted,
            boots: 0,
            attempt: 1,
        }),
        _ => Message::Status(Status {
            identity: Identity {
                node,
                module,
                set,
                boots: 0,
            },
            state: *u.choose(&[
                NodeState::Minimal,
                NodeState::Operational,
                NodeState::Failed,
            ])?,
            version: VersionTag::from_bytes([1, 0, 0, 0]),
        }),
    };
    let frame = message.encode();
    Ok(Said(frame.identifier(), frame.payload().to_vec()))
}

/// A part of a good broadcast.
fn part(u: &mut Unstructured<'_>) -> Result<Said> {
    let bytes = container();
    let (node, number, epoch) = (u.int_in_range(0..=1)?, u.int_in_range(0..=1)?, Epoch(1));
    let blocks = u16::try_from(bytes.len() / 64).expect("a short container");
    let at = u.int_in_range(0..=bytes.len() / 62)?;
    let message = match u.int_in_range(0..=6)? {
        0 => Message::Start(Start {
            node,
            number,
            content: *u.choose(&[
                Content::Combined,
                Content::Only(Module::Drive),
                Content::All,
            ])?,
            audience: Audience::ALL,
            epoch,
            blocks,
        }),
        1 => Message::End(End {
            node,
            number,
            epoch,
            crc: SUM.checksum(&bytes),
        }),
        _ => Message::Data(Data {
            node,
            number,
            fragment: u16::try_from(at).expect("few fragments"),
            bytes: bytes[62 * at..].chunks(62).next().unwrap_or(&[0]),
        }),
    };
    let frame = message.encode();
    Ok(Said(frame.identifier(), frame.payload().to_vec()))
}

fn container() -> Vec<u8> {
    let image = |module| Image {
        content: Content::Only(module),
        version: VersionTag::from_bytes([1, 0, 0, 0]),
        entry: 0,
        bytes: &CODE,
    };
    let mut place = vec![0; 1024];
    let length =
        write(&[image(Module::Xy), image(Module::Drive)], &mut place).expect("good images");
    place.truncate(length);
    place
}

struct Images(Vec<u8>);

impl Library for Images {
    fn image(&self, _: Edition, _: Content) -> Option<&[u8]> {
        Some(&self.0)
    }
}

fn round(identifier: u16, payload: &[u8]) {
    if let Some(message) = Message::decode(identifier, payload) {
        let frame = message.encode();
        let again = Message::decode(frame.identifier(), frame.payload());
        match (message, again) {
            (Message::Data(one), Some(Message::Data(other))) => {
                assert_eq!((one.number, one.fragment), (other.number, other.fragment));
            }
            (one, other) => assert_eq!(Some(one), other),
        }
    }
    let _any = Contents::check(payload);
}

fuzz_target!(|steps: Vec<Step>| {
    let library = Images(container());
    let mut master = Master::new(
        Configuration {
            node: 0,
            slot: 0,
            authority: Authority::Lock,
            wait: Wait::fixed(100_000_000),
            offer: Offer::Requested,
            flexible: true,
            transmit_queue: 32,
            frame_gap_ns: 0,
            set_timeout_ns: 1_000_000_000,
        },
        0,
    );
    let mut running = Running::new(IDENTITY, VersionTag::from_bytes([1, 0, 0, 0]));
    let mut receiver = Receiver::new(IDENTITY, true);
    receiver.self_test(0, true);
    let mut memory = [0; 200];
    let mut now_ns = 0u64;
    for step in steps {
        match step {
            Step::Frame(Said(identifier, payload)) => {
                round(identifier, &payload);
                assert!(Frame::received(identifier, &payload).is_some());
                receiver.frame(now_ns, identifier, &payload, &mut memory[..]);
                running.frame(now_ns, identifier, &payload);
                master.frame(now_ns, identifier, &payload);
            }
            Step::Tick(span) => now_ns += u64::from(span),
            Step::Flow => {
                now_ns += 25_000_000;
                master.sent(u8::MAX);
            }
            Step::Lock(owner, epoch) => {
                master.lock(now_ns, owner.map(|it| it % 2), u64::from(epoch));
            }
            Step::Sent(frames) => master.sent(frames),
            Step::SendFailed(frames) => master.send_failed(frames),
            Step::Update(at_once, by_operator) => {
                let order = Order {
                    rollout: if at_once {
                        Rollout::AtOnce
                    } else {
                        Rollout::BySet
                    },
                    reboot_by: if by_operator {
                        RebootBy::Operator
                    } else {
                        RebootBy::Message
                    },
                };
                master.update(now_ns, order);
            }
            Step::Turn(turn) => master.set_turn(turn),
            Step::Reboot(set) => master.reboot(Scope::Set(set)),
            Step::HandOver => master.hand_over(now_ns),
            Step::Forget(node) => master.forget(node),
        }
        receiver.tick(now_ns);
        master.tick(now_ns, &library);
        while let Some(action) = receiver.next_action() {
            if let NodeAction::Run { length, .. } = action {
                assert_eq!(length as usize, CODE.len());
                assert_eq!(memory, CODE, "runs what was never sent");
            }
        }
        while running.next_action().is_some() {}
        while let Some(action) = master.next_action() {
            if let MasterAction::Trace(event) = action {
                assert!(!event.to_string().is_empty());
            }
        }
        receiver.deadline_ns();
        master.deadline_ns();
    }
});
