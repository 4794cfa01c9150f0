//! A receiver that is told this and that.

use super::*;
use crate::container::{Image, write};
use crate::message::Message;
use crate::module::{Audience, Content, Module, Scope};

const MS: u64 = 1_000_000;
const IDENTITY: Identity = Identity {
    node: 20,
    module: Module::Drive,
    set: 2,
    boots: 1,
};
const CODE: &[u8] = &[0xa5; 300];

fn waiting() -> Receiver {
    let mut receiver = Receiver::new(IDENTITY, true);
    receiver.self_test(0, true);
    while receiver.next_action().is_some() {}
    receiver
}

fn container(contents: &[Content]) -> Vec<u8> {
    let image = |content: &Content| Image {
        content: *content,
        version: VersionTag::from_bytes([1, 0, 0, 0]),
        entry: 0,
        bytes: CODE,
    };
    let images: Vec<Image<'_>> = contents.iter().map(image).collect();
    let mut place = vec![0; 4096];
    let length = write(&images, &mut place).unwrap();
    place.truncate(length);
    place
}

/// Start, fragments and end, of the master at node 0 in epoch 5.
fn broadcast(number: u8, content: Content, bytes: &[u8], size: usize) -> Vec<Message<'_>> {
    let mut messages = vec![Message::Start(Start {
        node: 0,
        number,
        content,
        audience: Audience::ALL,
        epoch: Epoch(5),
        blocks: u16::try_from(bytes.len() / 64).unwrap(),
    })];
    messages.extend((0..).zip(bytes.chunks(size)).map(|(fragment, bytes)| {
        Message::Data(Data {
            node: 0,
            number,
            fragment,
            bytes,
        })
    }));
    messages.push(Message::End(End {
        node: 0,
        number,
        epoch: Epoch(5),
        crc: CRC32.checksum(bytes),
    }));
    messages
}

fn hand(receiver: &mut Receiver, memory: &mut [u8], messages: &[Message<'_>]) -> Vec<String> {
    let mut lines = Vec::new();
    for message in messages {
        let frame = message.encode();
        receiver.frame(10 * MS, frame.identifier(), frame.payload(), memory);
        while let Some(action) = receiver.next_action() {
            lines.push(match action {
                NodeAction::Trace(event) => event.to_string(),
                NodeAction::Send(frame) => format!("send {:03x}", frame.identifier()),
                NodeAction::Run { .. } => "run".into(),
                NodeAction::Reboot => "reboot".into(),
            });
        }
    }
    lines
}

const LOADED: [&str; 2] = ["image-loaded content=drive version=1.0 bytes=300", "run"];
const DRIVE: Content = Content::Only(Module::Drive);
const XY: Content = Content::Only(Module::Xy);

#[test]
fn cd39_to_cd45_a_whole_broadcast_is_selected_stored_checked_and_run() {
    for size in [6, 62, 1] {
        for contents in [&[DRIVE][..], &[XY, DRIVE, Content::Only(Module::Panel)]] {
            let bytes = container(contents);
            let content = if contents.len() > 1 {
                Content::Combined
            } else {
                DRIVE
            };
            let (mut receiver, mut memory) = (waiting(), vec![0; 310]);
            let lines = hand(
                &mut receiver,
                &mut memory,
                &broadcast(1, content, &bytes, size),
            );
            assert_eq!(lines, LOADED);
            assert!(memory.starts_with(CODE) && memory.ends_with(&[0; 10]));
            assert_eq!(receiver.deadline_ns(), u64::MAX);
        }
    }
}

/// What is done to the messages of a broadcast: start, 7 × data, end.
type Fault = fn(&mut Vec<Message<'static>>);

#[test]
fn k29_what_is_not_whole_is_dropped_and_asked_for_again() {
    let bytes: &'static [u8] = container(&[DRIVE]).leak();
    let long: &'static [u8] = container(&[XY, DRIVE]).leak();
    assert_eq!(broadcast(1, DRIVE, bytes, 62).len(), 9, "{}", bytes.len());
    let faults: [(&str, Fault, &[&str]); 16] = [
        (
            "first missing",
            |it| drop(it.drain(1..=1)),
            &["broadcast-dropped cause=missing"],
        ),
        (
            "one missing",
            |it| drop(it.drain(4..=4)),
            &["broadcast-dropped cause=missing"],
        ),
        (
            "last missing",
            |it| drop(it.drain(7..=7)),
            &["broadcast-dropped cause=missing"],
        ),
        (
            "all missing",
            |it| drop(it.drain(1..8)),
            &["broadcast-dropped cause=missing"],
        ),
        (
            "out of order",
            |it| it.swap(3, 4),
            &["broadcast-dropped cause=missing"],
        ),
        (
            "an older one again",
            |it| it.insert(6, it[4]),
            &["broadcast-dropped cause=missing"],
        ),
        // What CAN itself does.
        ("one twice", |it| it.insert(4, it[4]), &LOADED),
        ("start twice", |it| it.insert(0, it[0]), &LOADED),
        ("end twice", |it| it.push(it[8]), &LOADED),
        ("no start", |it| drop(it.drain(0..=0)), &[]),
        ("no end", |it| drop(it.drain(8..=8)), &[]),
        ("only an end", |it| drop(it.drain(..8)), &[]),
        (
            "end of another",
            |it| {
                if let Message::End(end) = &mut it[8] {
                    end.number = 2;
                }
            },
            &["broadcast-dropped cause=interrupted"],
        ),
        (
            "wrong sum",
            |it| {
                if let Message::End(end) = &mut it[8] {
                    end.crc ^= 1;
                }
            },
            &["broadcast-dropped cause=damaged"],
        ),
        (
            "longer than told",
            |it| {
                if let Message::Start(start) = &mut it[0] {
                    start.blocks -= 1;
                }
            },
            &["broadcast-dropped cause=damaged"],
        ),
        (
            "of another epoch",
            |it| {
                if let Message::End(end) = &mut it[8] {
                    end.epoch = Epoch(6);
                }
            },
            &["broadcast-dropped cause=interrupted"],
        ),
    ];
    for (what, fault, lines) in faults {
        let mut messages = broadcast(1, DRIVE, bytes, 62);
        fault(&mut messages);
        let (mut receiver, mut memory) = (waiting(), vec![0; 300]);
        assert_eq!(hand(&mut receiver, &mut memory, &messages), lines, "{what}");
        if lines.len() == 1 {
            let until = DAMAGE_RETRY_NS + 256 * SPREAD_STEP_NS + 10 * MS;
            assert!(
                (DAMAGE_RETRY_NS..until).contains(&receiver.deadline_ns()),
                "{what}"
            );
        }
        // Whatever happened, the next one is taken.
        let mut next = broadcast(3, Content::Combined, long, 62);
        if let Message::Start(start) = &mut next[0] {
            start.epoch = Epoch(7);
        }
        if let Some(Message::End(end)) = next.last_mut() {
            end.epoch = Epoch(7);
        }
        let said = hand(&mut receiver, &mut memory, &next);
        assert_eq!(
            said.ends_with(&LOADED.map(String::from)),
            lines != LOADED,
            "{what}"
        );
    }
}

#[test]
fn cd47_every_changed_bit_is_found() {
    let bytes = container(&[DRIVE]);
    for bit in 0..8 * bytes.len() {
        let mut changed = bytes.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let mut messages = broadcast(1, DRIVE, &changed, 62);
        if let Some(Message::End(end)) = messages.last_mut() {
            end.crc = CRC32.checksum(&bytes);
        }
        let lines = hand(&mut waiting(), &mut vec![0; 300], &messages);
        assert!(!lines.contains(&"run".into()), "bit {bit}");
    }
}

#[test]
fn cd43_what_is_for_others_is_left_alone() {
    let (xy, both) = (container(&[XY]), container(&[XY, DRIVE]));
    let start = |change: fn(&mut Start)| {
        let mut messages = broadcast(1, DRIVE, &both, 62);
        if let Message::Start(start) = &mut messages[0] {
            change(start);
        }
        messages
    };
    for (what, messages, lines) in [
        ("type", broadcast(1, XY, &xy, 62), vec![]),
        (
            "sets",
            start(|it| it.audience = Audience::Sets { first: 3, last: 9 }),
            vec![],
        ),
        ("node", start(|it| it.audience = Audience::Node(21)), vec![]),
        // Only its table tells.
        (
            "table",
            broadcast(1, Content::Combined, &xy, 62),
            vec!["broadcast-dropped cause=other-type"],
        ),
        (
            "table",
            broadcast(1, DRIVE, &xy, 62),
            vec!["broadcast-dropped cause=other-type"],
        ),
    ] {
        let (mut receiver, mut memory) = (waiting(), vec![0; 300]);
        assert_eq!(hand(&mut receiver, &mut memory, &messages), lines, "{what}");
        assert_eq!(memory, [0; 300], "{what}");
        assert!(!receiver.wants().contains(0x400), "{what}: sleeps again");
        assert!(receiver.deadline_ns() >= REQUEST_RETRY_NS, "{what}");
    }
}

#[test]
fn k8_of_two_masters_the_newer_epoch_counts() {
    let bytes = container(&[DRIVE]);
    for (epoch, dropped) in [(4, false), (5, false), (6, true)] {
        let (mut receiver, mut memory) = (waiting(), vec![0; 300]);
        let messages = broadcast(1, DRIVE, &bytes, 62);
        let other = Message::Start(Start {
            node: 1,
            number: 1,
            content: DRIVE,
            audience: Audience::ALL,
            epoch: Epoch(epoch),
            blocks: 7,
        });
        let lines = hand(&mut receiver, &mut memory, &messages[..4]);
        assert!(lines.is_empty());
        let lines = hand(&mut receiver, &mut memory, &[other]);
        assert_eq!(
            lines == ["broadcast-dropped cause=interrupted"],
            dropped,
            "{epoch}"
        );
        let lines = hand(&mut receiver, &mut memory, &messages[4..]);
        assert_eq!(lines == LOADED, !dropped, "{epoch}");
    }
}

#[test]
fn a_master_that_begins_anew_counts_its_broadcasts_anew() {
    let bytes = container(&[DRIVE]);
    let mut before = broadcast(1, DRIVE, &bytes, 62);
    if let Message::Start(start) = &mut before[0] {
        (start.epoch, start.blocks) = (Epoch(4), 1);
    }
    let (mut receiver, mut memory) = (waiting(), vec![0; 300]);
    assert!(hand(&mut receiver, &mut memory, &before[..1]).is_empty());
    let messages = broadcast(1, DRIVE, &bytes, 62);
    let lines = hand(&mut receiver, &mut memory, &messages);
    assert_eq!(lines[0], "broadcast-dropped cause=interrupted");
    assert_eq!(lines[1..], LOADED);
}

#[test]
fn silence_and_an_image_too_large_or_memory_that_forgets() {
    let bytes = container(&[DRIVE]);
    let messages = broadcast(1, DRIVE, &bytes, 62);
    let (mut receiver, mut memory) = (waiting(), vec![0; 300]);
    hand(&mut receiver, &mut memory, &messages[..4]);
    assert_eq!(receiver.deadline_ns(), 10 * MS + SILENCE_NS);
    receiver.tick(10 * MS + SILENCE_NS);
    assert!(matches!(receiver.state, State::Waiting));

    let lines = hand(&mut waiting(), &mut [0; 299], &messages);
    assert_eq!(lines, ["broadcast-dropped cause=too-large"]);

    struct Forgetful([u8; 300]);
    impl Memory for Forgetful {
        fn capacity(&self) -> u32 {
            300
        }
        fn store(&mut self, _: u32, _: &[u8]) {}
        fn stored(&self, _: u32) -> &[u8] {
            &self.0
        }
    }
    let mut receiver = waiting();
    for message in &messages {
        let frame = message.encode();
        let (identifier, payload) = (frame.identifier(), frame.payload());
        receiver.frame(0, identifier, payload, &mut Forgetful([0; 300]));
    }
    let told = receiver.next_action();
    assert!(matches!(told, Some(NodeAction::Trace(it)) if it.to_string().ends_with("=memory")));
    assert_eq!(receiver.next_action(), None);
}

#[test]
fn cd7_a_reboot_command_is_obeyed_in_any_state() {
    let bytes = container(&[DRIVE]);
    let reboot = Message::Command(Command {
        node: 0,
        order: Order::Reboot,
        scope: Scope::Set(2),
        epoch: Some(Epoch(5)),
    });
    let expected = ["reboot-ordered by=0", "reboot"];
    assert_eq!(hand(&mut waiting(), &mut [], &[reboot]), expected);
    let mut receiver = waiting();
    let messages = broadcast(1, DRIVE, &bytes, 62);
    hand(&mut receiver, &mut [0; 300], &messages[..3]);
    assert_eq!(hand(&mut receiver, &mut [0; 300], &[reboot]), expected);
    let mut failed = Receiver::new(IDENTITY, true);
    failed.self_test(0, false);
    let lines = hand(&mut failed, &mut [], &[reboot]);
    assert_eq!(
        lines,
        ["self-test-failed", "send 614", expected[0], expected[1]]
    );
}

#[test]
fn requests_of_all_nodes_are_spread_and_repeated() {
    let mut times = Vec::new();
    for node in 0..=255 {
        let mut receiver = Receiver::new(Identity { node, ..IDENTITY }, true);
        receiver.self_test(0, true);
        times.push(receiver.deadline_ns());
        receiver.tick(receiver.deadline_ns());
        assert!(receiver.deadline_ns() >= 2 * REQUEST_RETRY_NS);
    }
    times.sort_unstable();
    times.dedup();
    assert_eq!(times.len(), 256, "no two ask again at once");
    assert!(times.iter().all(|it| it - REQUEST_RETRY_NS < 256 * MS));
}
