//! A master alone: what it says to whom, and in which order.

use std::collections::BTreeMap;

use super::*;
use crate::container::{Image, write};
use crate::mastership::Authority;
use crate::message::{MasterState, Reason, UpdateState};
use crate::module::{Audience, Content, Identity, Module};
use crate::{Edition, START_GAP_NS};

const MS: u64 = 1_000_000;

struct Images(BTreeMap<u8, Vec<u8>>);

impl Library for Images {
    fn image(&self, _: Edition, content: Content) -> Option<&[u8]> {
        self.0.get(&content.number()).map(Vec::as_slice)
    }
}

fn images() -> Images {
    let container = |module| {
        let mut place = vec![0; 1024];
        let image = Image {
            content: Content::Only(module),
            version: VersionTag::from_bytes([1, 0, 0, 0]),
            entry: 0,
            bytes: &[module as u8; 500],
        };
        let length = write(&[image], &mut place).unwrap();
        place.truncate(length);
        (module as u8, place)
    };
    Images(Module::ALL.map(container).into_iter().collect())
}

fn active(offer: Offer) -> Master {
    let configuration = Configuration {
        node: 0,
        slot: 0,
        authority: Authority::Lock,
        wait: Wait::fixed(100 * MS),
        offer,
        flexible: true,
        transmit_queue: 4,
        frame_gap_ns: 0,
        set_timeout_ns: 1000 * MS,
    };
    let mut master = Master::new(configuration, 0);
    master.lock(0, Some(0), 1);
    master
}

fn ask(master: &mut Master, now_ns: u64, node: u8, module: Module) {
    let request = Message::Request(Request {
        node,
        module: Some(module),
        set: 1,
        reason: Reason::Booted,
        boots: 1,
        attempt: 1,
    });
    let frame = request.encode();
    master.frame(now_ns, frame.identifier(), frame.payload());
}

/// Ticks, and answers what is traced and sent but for heartbeats.
fn tick(master: &mut Master, now_ns: u64) -> (Vec<String>, Vec<Frame>) {
    master.tick(now_ns, &images());
    let (mut lines, mut frames) = (Vec::new(), Vec::new());
    while let Some(action) = master.next_action() {
        match action {
            MasterAction::Trace(event) => lines.push(event.to_string()),
            MasterAction::Send(frame) if frame.identifier() < 0x100 => master.sent(1),
            MasterAction::Send(frame) => frames.push(frame),
        }
    }
    (lines, frames)
}

#[test]
fn the_bus_gets_no_more_frames_than_the_queue_holds_and_the_gap_is_kept() {
    let mut master = active(Offer::Requested);
    ask(&mut master, 0, 20, Module::Drive);
    let (lines, frames) = tick(&mut master, 0);
    assert_eq!(lines[1], "window-opened node=20 wait=100ms");
    assert!(frames.is_empty());
    let (_, frames) = tick(&mut master, 100 * MS);
    assert_eq!(frames.len(), 1, "the start alone");
    master.sent(1);
    assert_eq!(master.sender.deadline_ns(), 100 * MS + START_GAP_NS);
    assert!(tick(&mut master, 100 * MS + START_GAP_NS - 1).1.is_empty());
    let mut now_ns = 100 * MS + START_GAP_NS;
    let (_, frames) = tick(&mut master, now_ns);
    assert_eq!(frames.len(), 4);
    assert!(
        tick(&mut master, now_ns + MS).1.is_empty(),
        "the queue is full"
    );
    let mut sent = 5;
    let mut left = 4;
    while master.is_broadcasting() {
        now_ns += MS;
        master.sent(1);
        left -= 1;
        let (_, frames) = tick(&mut master, now_ns);
        left += frames.len();
        sent += frames.len();
        assert!(left <= 4);
    }
    // 576 bytes: start, ten fragments, end.
    assert_eq!((sent, left), (12, 0));
}

#[test]
fn k18_one_broadcast_for_each_type_in_the_order_of_arrival() {
    let mut master = active(Offer::Requested);
    let asked = [
        Module::Xy,
        Module::Drive,
        Module::Xy,
        Module::Panel,
        Module::Drive,
    ];
    for (node, module) in (20..).zip(asked) {
        ask(&mut master, 0, 45 - node, module);
    }
    let mut all = Vec::new();
    for now in 0..400 {
        let (lines, frames) = tick(&mut master, now * MS);
        master.sent(u8::try_from(frames.len()).unwrap());
        all.extend(
            lines
                .into_iter()
                .filter(|line| line.starts_with("broadcast-started")),
        );
        if now == 120 {
            // K18: whoever wants what is queued joins; CD27: the one on its way is not for those who come late.
            ask(&mut master, now * MS, 60, Module::Panel);
            ask(&mut master, now * MS, 61, Module::Xy);
        }
    }
    let contents: Vec<&str> = all.iter().map(|it| it.split(' ').nth(2).unwrap()).collect();
    assert_eq!(
        contents,
        [
            "content=xy",
            "content=drive",
            "content=operator-panel",
            "content=xy"
        ]
    );
}

#[test]
fn k3_a_broadcast_names_the_sets_that_are_served_its_edition() {
    for (turn, asks, edition, first, last) in [
        (0, 3, "base", 0, 255),
        (7, 3, "update", 0, 6),
        (7, 6, "update", 0, 6),
        (7, 7, "base", 7, 255),
        (255, 254, "update", 0, 254),
        (255, 255, "base", 255, 255),
    ] {
        let mut master = active(Offer::Requested);
        master.set_turn(turn);
        let request = Request {
            node: 20,
            module: Some(Module::Drive),
            set: asks,
            reason: Reason::Booted,
            boots: 1,
            attempt: 1,
        };
        let frame = request.encode();
        master.frame(0, frame.identifier(), frame.payload());
        let (lines, frames) = tick(&mut master, 100 * MS);
        assert!(lines.iter().any(|it| it.contains(edition)), "{lines:?}");
        let start = frames
            .first()
            .map(|frame| Message::decode(frame.identifier(), frame.payload()));
        let Some(Some(Message::Start(start))) = start else {
            panic!("no start: {frames:?}");
        };
        assert_eq!(start.audience, Audience::Sets { first, last });
    }
}

#[test]
fn a_repeated_request_renews_no_wait() {
    let mut master = active(Offer::Requested);
    master.set_wait(Wait {
        period_ns: 100 * MS,
        timing: crate::Timing::FromLatest,
        cap_ns: 1000 * MS,
    });
    ask(&mut master, 0, 20, Module::Drive);
    ask(&mut master, 50 * MS, 20, Module::Drive);
    assert_eq!(master.window.map(|it| it.expires_ns()), Some(100 * MS));
    ask(&mut master, 50 * MS, 21, Module::Drive);
    assert_eq!(master.window.map(|it| it.expires_ns()), Some(150 * MS));
}

#[test]
fn k8_a_deposed_master_takes_back_what_the_bus_does_not_have_yet() {
    let mut master = active(Offer::Requested);
    ask(&mut master, 0, 20, Module::Drive);
    tick(&mut master, 0);
    tick(&mut master, 100 * MS);
    master.sent(1);
    master.tick(100 * MS + START_GAP_NS, &images());
    // Four fragments are waiting to be taken out.
    master.lock(100 * MS + START_GAP_NS, Some(1), 2);
    let (lines, frames) = tick(&mut master, 300 * MS);
    assert!(frames.is_empty());
    let expected = [
        "broadcast-stopped number=1 cause=deposed",
        "distribution-standby cause=lock",
    ];
    assert_eq!(lines, expected);
    assert!(!master.is_broadcasting());
}

#[test]
fn a_bus_that_takes_nothing_ends_the_broadcast() {
    let mut master = active(Offer::Requested);
    ask(&mut master, 0, 20, Module::Drive);
    tick(&mut master, 0);
    tick(&mut master, 100 * MS);
    master.send_failed(1);
    let (lines, _) = tick(&mut master, 101 * MS);
    assert_eq!(lines, ["broadcast-stopped number=1 cause=bus"]);
}

#[test]
fn cd52_commands_are_told_with_the_epoch_and_heartbeats_with_the_turn() {
    let mut master = active(Offer::Requested);
    tick(&mut master, 0);
    master.set_turn(7);
    master.reboot(Scope::Set(3));
    let mut said = Vec::new();
    master.tick(1, &images());
    while let Some(action) = master.next_action() {
        if let MasterAction::Send(frame) = action {
            said.push((frame.identifier(), frame.payload().to_vec()));
        }
    }
    let heartbeat = Message::Heartbeat(crate::message::Heartbeat {
        node: 0,
        slot: 0,
        state: MasterState::Active,
        epoch: Epoch(1),
        update: UpdateState {
            turn: 7,
            ..UpdateState::default()
        },
    });
    let expected = [
        (0x200, vec![1, 1, 3, 1, 1, 0]),
        (0x000, heartbeat.encode().payload().to_vec()),
    ];
    assert_eq!(said, expected);
    let identity = Identity {
        node: 9,
        module: Module::Drive,
        set: 3,
        boots: 0,
    };
    let status = Message::Status(Status {
        identity,
        state: NodeState::Operational,
        version: VersionTag::from_bytes([3, 1, 0, 0]),
    });
    let frame = status.encode();
    master.frame(0, frame.identifier(), frame.payload());
    assert_eq!(master.version_of(9).unwrap().to_string(), "3.1");
}

#[test]
fn a_master_that_takes_over_stops_nothing_while_nobody_of_the_set_is_known() {
    let mut master = active(Offer::Requested);
    let update = UpdateState {
        running: true,
        turn: 4,
        ..UpdateState::default()
    };
    master.lock(0, Some(1), 2);
    let beat = Message::Heartbeat(crate::message::Heartbeat {
        node: 1,
        slot: 1,
        state: MasterState::Active,
        epoch: Epoch(2),
        update,
    });
    let frame = beat.encode();
    master.frame(0, frame.identifier(), frame.payload());
    master.lock(MS, Some(0), 3);
    tick(&mut master, MS);
    for (node, set) in [(20, 1), (21, 5)] {
        let status = Status {
            identity: Identity {
                node,
                module: Module::Drive,
                set,
                boots: 1,
            },
            state: NodeState::Operational,
            version: VersionTag::from_bytes([0, 9, 0, 0]),
        };
        let frame = status.encode();
        master.frame(2 * MS, frame.identifier(), frame.payload());
    }
    let (lines, frames) = tick(&mut master, 400 * MS);
    let refused = "update-refused cause=no-nodes";
    assert!(lines.iter().any(|it| it == refused), "{lines:?}");
    assert!(frames.is_empty() && master.turn() == 4);
}
