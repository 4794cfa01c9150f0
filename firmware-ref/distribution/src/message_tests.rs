//! Layouts to the byte, round trips, and bytes by strangers.

use proptest::prelude::*;

use super::*;

fn identity(node: u8) -> Identity {
    Identity {
        node,
        module: Module::Drive,
        set: 2,
        boots: 9,
    }
}

fn samples() -> Vec<(Message<'static>, u16, Vec<u8>)> {
    let heartbeat = Message::Heartbeat(Heartbeat {
        node: 1,
        slot: 0,
        state: MasterState::Active,
        epoch: Epoch(0x0102),
        update: UpdateState {
            running: true,
            by_operator: false,
            at_once: true,
            turn: 7,
        },
    });
    let reboot = Message::Command(Command {
        node: 1,
        order: Order::Reboot,
        scope: Scope::Set(3),
        epoch: Some(Epoch(5)),
    });
    let report = Message::Command(Command {
        node: 200,
        order: Order::Report,
        scope: Scope::Only(Module::Xy),
        epoch: None,
    });
    let start = Message::Start(Start {
        node: 1,
        number: 4,
        content: Content::Only(Module::Drive),
        audience: Audience::Sets { first: 1, last: 2 },
        epoch: Epoch(5),
        blocks: 0x0302,
    });
    let direct = Message::Start(Start {
        node: 1,
        number: 15,
        content: Content::Combined,
        audience: Audience::Node(77),
        epoch: Epoch(5),
        blocks: 1,
    });
    let data = Message::Data(Data {
        node: 1,
        number: 4,
        fragment: 0x123,
        bytes: &[1, 2, 3, 4, 5, 6],
    });
    let end = Message::End(End {
        node: 1,
        number: 4,
        epoch: Epoch(5),
        crc: 0x0403_0201,
    });
    let request = Message::Request(Request {
        node: 255,
        module: Some(Module::Drive),
        set: 2,
        reason: Reason::Damaged,
        boots: 9,
        attempt: 3,
    });
    let generic = Message::Request(Request {
        node: 0,
        module: None,
        set: 2,
        reason: Reason::Booted,
        boots: 9,
        attempt: 1,
    });
    let status = Message::Status(Status {
        identity: identity(17),
        state: NodeState::Operational,
        version: VersionTag::from_bytes([2, 0, 0, 0]),
    });
    vec![
        (heartbeat, 0x001, vec![2, 0, 2, 1, 5, 7]),
        (reboot, 0x201, vec![1, 1, 3, 1, 5, 0]),
        (report, 0x2c8, vec![2, 3, 3, 0, 0, 0]),
        (start, 0x301, vec![5, 4, 1, 2, 5, 0, 2, 3]),
        (direct, 0x301, vec![0x80, 15, 77, 0, 5, 0, 1, 0]),
        (data, 0x401, vec![0x23, 0x41, 1, 2, 3, 4, 5, 6]),
        (end, 0x401, vec![0xff, 0x4f, 5, 0, 1, 2, 3, 4]),
        (request, 0x5ff, vec![5, 2, 4, 9, 3]),
        (generic, 0x500, vec![0, 2, 1, 9, 1]),
        (status, 0x611, vec![2, 5, 2, 9, 2, 0, 0, 0]),
    ]
}

#[test]
fn every_message_has_the_layout_of_the_table() {
    for (message, identifier, bytes) in samples() {
        let frame = message.encode();
        assert_eq!(
            (frame.identifier(), frame.payload()),
            (identifier, &bytes[..])
        );
        assert!(!frame.is_flexible());
        assert_eq!(Message::decode(identifier, &bytes), Some(message));
    }
}

#[test]
fn a_message_that_is_cut_short_says_nothing() {
    for (message, identifier, bytes) in samples() {
        for length in 0..bytes.len() {
            let cut = Message::decode(identifier, &bytes[..length]);
            // A fragment may be shorter; nothing else may.
            let shorter = matches!(message, Message::Data(_)) && length > DATA_HEADER;
            assert_eq!(cut.is_some(), shorter, "{message:?} of {length} bytes");
        }
    }
}

#[test]
fn identifiers_arbitrate_as_they_should() {
    let order = [
        Class::Mastership,
        Class::Command,
        Class::Start,
        Class::Data,
        Class::Request,
        Class::Status,
    ];
    for pair in order.windows(2) {
        assert!(pair[0].identifier(255) < pair[1].identifier(0));
    }
    // ISO 11898-1 of old: the seven leading bits not all recessive.
    assert!(Class::Status.identifier(255) < 0x7f0);
}

#[test]
fn fragments_fill_frames_of_lengths_that_exist() {
    let bytes = [7; 80];
    for (length, frame_length) in [
        (1, 3),
        (6, 8),
        (7, 12),
        (10, 12),
        (11, 16),
        (46, 48),
        (47, 64),
        (62, 64),
        (80, 64),
    ] {
        let data = Message::Data(Data {
            node: 1,
            number: 0,
            fragment: 0,
            bytes: &bytes[..length],
        });
        let frame = data.encode();
        assert_eq!(frame.payload().len(), frame_length);
        assert_eq!(frame.is_flexible(), frame_length > 8);
    }
}

#[test]
fn wishes_are_classes() {
    let wishes = Classes::of(&[Class::Command, Class::Start]);
    for (identifier, wanted) in [
        (0x201, true),
        (0x3ff, true),
        (0x401, false),
        (0x001, false),
        (0xffff, false),
    ] {
        assert_eq!(wishes.contains(identifier), wanted);
    }
    assert_eq!(wishes.bits(), 0b1100);
}

proptest! {
    #[test]
    fn any_frame_is_read_and_what_it_says_is_said_the_same_way_again(
        identifier in any::<u16>(),
        payload in prop::collection::vec(any::<u8>(), 0..=64),
    ) {
        if let Some(message) = Message::decode(identifier, &payload) {
            let again = message.encode();
            prop_assert_eq!(again.identifier(), identifier);
            let Some(read) = Message::decode(again.identifier(), again.payload()) else {
                return Err(TestCaseError::fail("unreadable"));
            };
            match (message, read) {
                (Message::Data(one), Message::Data(other)) => {
                    // Padded to a length that exists.
                    prop_assert!(other.bytes.starts_with(&one.bytes[..one.bytes.len().min(62)]));
                    prop_assert_eq!((one.number, one.fragment), (other.number, other.fragment));
                }
                (one, other) => prop_assert_eq!(one, other),
            }
        }
    }
}
