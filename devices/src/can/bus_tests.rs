use super::*;
use crate::event::DeviceEvent;
use crate::time::Nanos;

/// One bit at 500 kbit/s.
const BIT: u64 = 2_000;

/// Nodes on one segment, powered, started, on the bus.
pub(super) fn bus(nodes: usize) -> CanBus {
    let mut bus = CanBus::new(Topology::new(1), BitRates::default());
    for _ in 0..nodes {
        start(&mut bus, 0);
    }
    settle(&mut bus);
    bus
}

pub(super) fn start(bus: &mut CanBus, segment: SegmentId) -> NodeId {
    let node = bus.add_node(segment).unwrap();
    bus.set_powered(bus.now(), node, true);
    assert!(bus.start(bus.now(), node));
    node
}

/// Waits until everybody who is on takes part.
pub(super) fn settle(bus: &mut CanBus) {
    bus.advance(bus.now() + Nanos(40 * BIT));
}

pub(super) fn frame(id: u16, data: &[u8]) -> Frame {
    Frame::data(Identifier::Standard(id), data).unwrap()
}

/// Until nothing more happens, or for one second.
pub(super) fn run(bus: &mut CanBus) {
    let end = bus.now() + Nanos::from_secs(1);
    while let Some(at) = bus.deadline().filter(|at| *at <= end) {
        bus.advance(at);
    }
}

pub(super) fn read(bus: &mut CanBus, node: NodeId) -> Vec<Frame> {
    std::iter::from_fn(|| bus.receive(node))
        .map(|it| it.frame)
        .collect()
}

pub(super) fn outcomes(bus: &mut CanBus, node: NodeId) -> Vec<Outcome> {
    std::iter::from_fn(|| bus.take_completion(node))
        .map(|it| it.outcome)
        .collect()
}

fn words(bus: &mut CanBus) -> Vec<String> {
    bus.take_events()
        .into_iter()
        .map(|it| it.kind.to_string())
        .collect()
}

pub(super) fn tec_rec(bus: &CanBus, node: NodeId) -> (u16, u16) {
    let errors = bus.errors(node);
    (errors.transmit_errors(), errors.receive_errors())
}

#[test]
fn a_frame_takes_its_bits_and_is_heard_by_all_others() {
    let mut bus = bus(3);
    let begins = bus.now();
    let ticket = bus.send(begins, 0, frame(0x123, &[1, 2])).unwrap();
    run(&mut bus);
    let bits = WireLength::of(&frame(0x123, &[1, 2])).bits();
    let at = begins + Nanos(u64::from(bits) * BIT);
    let outcome = Outcome::Sent;
    assert_eq!(
        bus.take_completion(0),
        Some(Completion {
            ticket,
            outcome,
            at
        })
    );
    let heard = Received {
        at,
        frame: frame(0x123, &[1, 2]),
    };
    assert_eq!(bus.received(1), Some(&heard));
    assert_eq!(bus.receive(1), Some(heard));
    assert_eq!(bus.receive(1), None);
    assert_eq!(read(&mut bus, 2), [heard.frame]);
    assert_eq!(read(&mut bus, 0), []);
}

#[test]
fn the_lowest_key_goes_first_and_frames_follow_after_the_intermission() {
    let mut bus = bus(4);
    bus.record_frames(10);
    let begins = bus.now();
    for (node, id) in [(0, 3), (1, 1), (2, 2)] {
        bus.send(begins, node, frame(id, &[])).unwrap();
    }
    // A queue keeps its order, whatever the keys.
    bus.send(begins, 1, frame(0, &[])).unwrap();
    run(&mut bus);
    let (log, lost) = bus.take_log();
    let order: Vec<NodeId> = log.iter().map(|it| it.node).collect();
    assert_eq!((order, lost), (vec![1, 1, 2, 0], 0));
    assert_eq!(log[0].begins, begins);
    for pair in log.windows(2) {
        assert_eq!(pair[1].begins - pair[0].ends, Nanos(3 * BIT));
    }
    assert_eq!(read(&mut bus, 3).len(), 4);
}

#[test]
fn who_is_late_by_less_than_a_bit_contends_still() {
    let mut bus = bus(3);
    let begins = bus.now();
    bus.send(begins, 0, frame(2, &[])).unwrap();
    bus.send(begins + Nanos(BIT - 1), 1, frame(1, &[])).unwrap();
    run(&mut bus);
    let heard = read(&mut bus, 2);
    assert_eq!(heard, [frame(1, &[]), frame(2, &[])]);
}

#[test]
fn equal_frames_go_as_one_and_equal_keys_collide() {
    let mut bus = bus(3);
    for node in [0, 1] {
        bus.send(bus.now(), node, frame(7, &[1])).unwrap();
    }
    run(&mut bus);
    assert_eq!(read(&mut bus, 2), [frame(7, &[1])]);
    assert_eq!(outcomes(&mut bus, 1), [Outcome::Sent]);
    assert_eq!(bus.frames_begun(), 1);
    bus.record_frames(1);
    let begins = bus.now();
    for node in [0, 1] {
        bus.send(
            begins,
            node,
            frame(7, &[0xf0 + u8::try_from(node).unwrap()]),
        )
        .unwrap();
    }
    bus.advance(begins + Nanos(60 * BIT));
    let (log, _) = bus.take_log();
    assert_eq!(log[0].ending, Ending::Error(BusError::Bit));
    // They differ in the last of eight data bits, before which is a stuff bit. After that bit comes the
    // flag, what it makes others send, and the delimiter.
    let before = encode(&frame(7, &[0xf0]));
    let before = before.iter().position(|it| it.field == Field::Data);
    let bits = u64::try_from(before.unwrap()).unwrap() + 8 + 1 + 12 + 8;
    assert_eq!(log[0].ends - log[0].begins, Nanos(bits * BIT));
    assert_eq!(
        [tec_rec(&bus, 0), tec_rec(&bus, 1), tec_rec(&bus, 2)],
        [(8, 0), (8, 0), (0, 1)]
    );
}

/// Exception 1 of ISO 11898-1:2015 §12.1.4.2 c, and the suspended transmission of §10.4.6.4.
#[test]
fn a_lone_node_stays_error_passive() {
    let mut bus = bus(1);
    bus.record_frames(100);
    bus.send(bus.now(), 0, frame(1, &[])).unwrap();
    bus.advance(bus.now() + Nanos::from_millis(20));
    assert_eq!(tec_rec(&bus, 0), (128, 0));
    assert_eq!(
        words(&mut bus),
        [
            "can-error-warning tec=96 rec=0",
            "can-error-passive tec=128 rec=0"
        ]
    );
    let (log, _) = bus.take_log();
    assert!(
        log.len() > 20
            && log
                .iter()
                .all(|it| it.ending == Ending::Error(BusError::Acknowledgement))
    );
    assert_eq!(log[1].begins - log[0].ends, Nanos(3 * BIT));
    assert_eq!(log[20].begins - log[19].ends, Nanos((3 + 8) * BIT));
    // To the end of the ACK slot, flag, delimiter.
    let bits = u64::from(WireLength::of(&frame(1, &[])).bits());
    assert_eq!(log[0].ends - log[0].begins, Nanos((bits - 8 + 6 + 8) * BIT));
    // Somebody comes: it is sent, and paid back.
    start(&mut bus, 0);
    run(&mut bus);
    assert_eq!(outcomes(&mut bus, 0), [Outcome::Sent]);
    assert_eq!(words(&mut bus), ["can-error-warning tec=127 rec=0"]);
}

#[test]
fn who_was_not_started_is_silent_and_acknowledges_nothing() {
    let mut bus = bus(1);
    let silent = bus.add_node(0).unwrap();
    bus.set_powered(bus.now(), silent, true);
    assert_eq!(
        bus.send(bus.now(), silent, frame(1, &[])),
        Err(SendError::Stopped)
    );
    bus.send(bus.now(), 0, frame(1, &[])).unwrap();
    bus.advance(bus.now() + Nanos::from_millis(20));
    assert_eq!(outcomes(&mut bus, 0), []);
    assert_eq!(bus.receive(silent), None);
}

#[test]
fn bus_off_gives_up_and_comes_back_after_its_time() {
    let mut bus = bus(2);
    for nth in 1..=32 {
        let (effect, place) = (Effect::Bit, Place::Everywhere);
        let fault = bus.inject(
            bus.now(),
            Fault::Frame {
                from: None,
                nth,
                effect,
                place,
            },
        );
        assert!(!bus.fired(fault));
    }
    for _ in 0..3 {
        bus.send(bus.now(), 0, frame(1, &[])).unwrap();
    }
    run(&mut bus);
    assert_eq!(outcomes(&mut bus, 0), [Outcome::BusOff; 3]);
    assert_eq!(tec_rec(&bus, 0), (256, 0));
    assert!(!bus.is_started(0) && bus.fired(FaultId(31)));
    assert!(words(&mut bus).contains(&"can-bus-off tec=256 rec=0".to_owned()));
    assert_eq!(
        bus.send(bus.now(), 0, frame(1, &[])),
        Err(SendError::Stopped)
    );
    let started = bus.now() + Nanos::from_millis(1);
    assert!(bus.start(started, 0));
    bus.send(started, 0, frame(1, &[])).unwrap();
    run(&mut bus);
    let back = started + Nanos(128 * 11 * BIT);
    let sent = bus.take_completion(0).unwrap();
    assert_eq!(
        sent.at,
        back + WireLength::of(&frame(1, &[])).duration(BitRates::default())
    );
    assert_eq!(words(&mut bus), ["can-recovered"]);
    assert_eq!(tec_rec(&bus, 0), (0, 0));
}

/// Frame of an effect at a place: how it ended, and the counters (sender, first receiver, second receiver).
fn check_effect(effect: Effect, place: Place, ending: Ending, counters: [(u16, u16); 3]) {
    let mut bus = bus(3);
    bus.record_frames(2);
    let fault = Fault::Frame {
        from: Some(0),
        nth: 1,
        effect,
        place,
    };
    let fault = bus.inject(bus.now(), fault);
    bus.send(bus.now(), 0, frame(1, &[5])).unwrap();
    let until = bus.now() + Nanos(95 * BIT);
    bus.advance(until);
    assert!(bus.fired(fault));
    let (log, _) = bus.take_log();
    assert_eq!(log[0].ending, ending, "{effect:?}");
    assert_eq!(
        [0, 1, 2].map(|it| tec_rec(&bus, it)),
        counters,
        "{effect:?}"
    );
    run(&mut bus);
    assert_eq!(outcomes(&mut bus, 0), [Outcome::Sent]);
    if ending != Ending::Good {
        assert_eq!((read(&mut bus, 1).len(), read(&mut bus, 2).len()), (1, 1));
    }
}

#[test]
fn faults_of_a_frame_have_their_effects() {
    use BusError::{Acknowledgement, Bit, Crc, Form, Stuff};
    let all = [(8, 0), (0, 1), (0, 1)];
    let effects = [
        (Effect::Bit, Bit),
        (Effect::Stuff, Stuff),
        (Effect::Crc, Crc),
        (Effect::Form, Form),
        (Effect::Acknowledgement, Acknowledgement),
    ];
    for (effect, error) in effects {
        check_effect(effect, Place::Everywhere, Ending::Error(error), all);
    }
    // The first to see it counts eight more.
    let local = [(8, 0), (0, 9), (0, 1)];
    check_effect(Effect::Crc, Place::At(vec![1]), Ending::Error(Crc), local);
    check_effect(Effect::Lost, Place::At(vec![1]), Ending::Good, [(0, 0); 3]);
    check_effect(
        Effect::Overrun,
        Place::At(vec![1]),
        Ending::Good,
        [(0, 0); 3],
    );
    // One that does not acknowledge is not missed.
    check_effect(
        Effect::Acknowledgement,
        Place::At(vec![1]),
        Ending::Good,
        [(0, 0); 3],
    );
}

#[test]
fn a_lost_frame_is_lost_where_it_should_be() {
    for (place, heard) in [(Place::Everywhere, [1, 1]), (Place::At(vec![2]), [2, 1])] {
        let mut bus = bus(3);
        bus.inject(
            bus.now(),
            Fault::Frame {
                from: None,
                nth: 2,
                effect: Effect::Lost,
                place,
            },
        );
        for id in [1, 2] {
            bus.send(bus.now(), 0, frame(id, &[])).unwrap();
        }
        run(&mut bus);
        assert_eq!(outcomes(&mut bus, 0), [Outcome::Sent; 2]);
        assert_eq!([1, 2].map(|it| read(&mut bus, it).len()), heard);
    }
}

#[test]
fn a_fault_that_met_nobody_did_not_fire() {
    let mut bus = bus(2);
    let place = Place::At(vec![0, 9]);
    let fault = bus.inject(
        bus.now(),
        Fault::Frame {
            from: None,
            nth: 1,
            effect: Effect::Crc,
            place,
        },
    );
    let disconnected = bus.inject(bus.now(), Fault::Disconnected(7));
    bus.send(bus.now(), 0, frame(1, &[])).unwrap();
    run(&mut bus);
    assert!(!bus.fired(fault) && !bus.fired(disconnected));
    assert_eq!(words(&mut bus), [""; 0]);
}

#[test]
fn a_babbling_idiot_keeps_others_off_the_bus() {
    let mut bus = bus(3);
    let fault = bus.inject(bus.now(), Fault::Babbling(2));
    bus.send(bus.now(), 0, frame(1, &[])).unwrap();
    bus.advance(bus.now() + Nanos::from_millis(50));
    assert!(bus.fired(fault) && bus.frames_begun() > 400);
    assert_eq!(outcomes(&mut bus, 0), []);
    assert!(bus.counters(1).overrun > 300);
    bus.clear(bus.now(), fault);
    run(&mut bus);
    assert_eq!(outcomes(&mut bus, 0), [Outcome::Sent]);
}

#[test]
fn a_short_stops_the_bus_until_it_ends() {
    let mut bus = bus(3);
    bus.send(bus.now(), 0, frame(1, &[])).unwrap();
    bus.advance(bus.now() + Nanos(20 * BIT));
    let short = bus.now();
    let fault = bus.inject(short, Fault::Short(0));
    bus.advance(bus.now() + Nanos::from_millis(100));
    assert!(bus.fired(fault));
    // Its transmitter goes bus-off, receivers do not.
    assert_eq!(
        (outcomes(&mut bus, 0), bus.deadline()),
        (vec![Outcome::BusOff], None)
    );
    assert!(bus.errors(1).is_passive() && bus.takes_part(1));
    // Eight more every eight bits, after the error was seen, flagged and tolerated: §12.1.4.2 f.
    let when = |events: &[BusEvent], id: NodeId, state: Confinement| {
        let is_it = |it: &&BusEvent| matches!(it.kind, EventKind::Confinement { node, now, .. } if (node, now) == (id, state));
        events.iter().find(is_it).unwrap().at
    };
    let events = bus.take_events();
    let after = |steps: u64| short + Nanos((20 + 8 * (steps - 1)) * BIT);
    assert_eq!(when(&events, 0, Confinement::BusOff), after(31));
    assert_eq!(when(&events, 1, Confinement::ErrorPassive), after(16));
    bus.send(bus.now(), 1, frame(2, &[])).unwrap();
    bus.clear(bus.now(), fault);
    run(&mut bus);
    assert_eq!(outcomes(&mut bus, 1), [Outcome::Sent]);
    assert_eq!(tec_rec(&bus, 2).1, 119);
}

#[test]
fn a_wrong_bit_rate_disturbs_until_it_is_passive() {
    let mut bus = bus(3);
    let wrong = BitRates {
        nominal: 250_000,
        data: 2_000_000,
    };
    let fault = bus.inject(bus.now(), Fault::BitRate(2, wrong));
    bus.send(bus.now(), 0, frame(1, &[])).unwrap();
    run(&mut bus);
    assert!(bus.fired(fault) && bus.errors(2).is_passive());
    assert_eq!(outcomes(&mut bus, 0), [Outcome::Sent]);
    assert_eq!((read(&mut bus, 1).len(), read(&mut bus, 2).len()), (1, 0));
    // What it sends itself is heard by nobody and ends in bus-off.
    bus.send(bus.now(), 2, frame(2, &[])).unwrap();
    run(&mut bus);
    assert_eq!(outcomes(&mut bus, 2), [Outcome::BusOff]);
    assert!(read(&mut bus, 1).is_empty());
}

#[test]
fn a_node_that_does_not_read_overruns() {
    let mut bus = bus(3);
    let count = u16::try_from(RECEIVE_FIFO_FRAMES).unwrap() + 10;
    for id in 0..count {
        bus.send(bus.now(), 0, frame(id, &[])).unwrap();
        run(&mut bus);
        bus.take_completion(0);
        assert_eq!(read(&mut bus, 1), [frame(id, &[])]);
    }
    assert_eq!(words(&mut bus), ["can-overrun"]);
    assert_eq!(bus.counters(2).overrun, 10);
    let old: Vec<Frame> = (0..)
        .take(RECEIVE_FIFO_FRAMES)
        .map(|id| frame(id, &[]))
        .collect();
    assert_eq!(read(&mut bus, 2), old);
    // Its own frames do not count, and it hears again.
    for (node, id) in [(2, 5), (0, 6)] {
        bus.send(bus.now(), node, frame(id, &[])).unwrap();
    }
    run(&mut bus);
    assert_eq!(read(&mut bus, 2), [frame(6, &[])]);
}

#[test]
fn power_lost_in_a_frame_is_an_error_for_the_others() {
    let mut bus = bus(3);
    bus.record_frames(1);
    bus.send(bus.now(), 0, frame(1, &[0; 8])).unwrap();
    let cut = bus.now() + Nanos(50 * BIT);
    bus.set_powered(cut, 0, false);
    run(&mut bus);
    let (log, _) = bus.take_log();
    assert_eq!(log[0].ending, Ending::Error(BusError::Stuff));
    assert_eq!(log[0].ends, cut + Nanos((6 + 6 + 8) * BIT));
    assert_eq!([tec_rec(&bus, 1), tec_rec(&bus, 2)], [(0, 1); 2]);
    assert_eq!(read(&mut bus, 1), []);
    bus.set_powered(bus.now(), 0, true);
    assert!(!bus.is_started(0) && bus.to_send(0) == 0);
}

#[test]
fn the_last_receiver_to_go_takes_the_acknowledgement_with_it() {
    for (bits, outcome) in [(20, None), (60, Some(Outcome::Sent))] {
        let mut bus = bus(2);
        let begins = bus.now();
        bus.send(begins, 0, frame(0x555, &[0x55])).unwrap();
        // CRC delimiter at bit 42, ACK slot after it.
        bus.stop(begins + Nanos(bits * BIT), 1);
        bus.advance(begins + Nanos::from_millis(1));
        assert_eq!(bus.take_completion(0).map(|it| it.outcome), outcome);
    }
}

#[test]
fn a_frame_can_be_withdrawn() {
    let mut bus = bus(1);
    let first = bus.send(bus.now(), 0, frame(1, &[])).unwrap();
    let second = bus.send(bus.now(), 0, frame(2, &[])).unwrap();
    bus.advance(bus.now() + Nanos(10 * BIT));
    assert!(bus.cancel(bus.now(), 0, second) && !bus.cancel(bus.now(), 0, second));
    // It is on the wire, and not acknowledged.
    assert!(
        bus.cancel(bus.now(), 0, first) && bus.completion(0).is_some_and(|it| it.ticket == second)
    );
    run(&mut bus);
    assert_eq!(outcomes(&mut bus, 0), [Outcome::Cancelled; 2]);
    assert_eq!((bus.frames_begun(), bus.deadline()), (1, None));
}

#[test]
fn the_transmit_queue_is_bounded_until_completions_are_taken() {
    let mut bus = bus(2);
    for _ in 0..TRANSMIT_QUEUE_FRAMES {
        bus.send(bus.now(), 0, frame(1, &[])).unwrap();
    }
    run(&mut bus);
    assert_eq!(bus.send(bus.now(), 0, frame(1, &[])), Err(SendError::Full));
    bus.take_completion(0);
    assert!(bus.send(bus.now(), 0, frame(1, &[])).is_ok());
}

#[test]
fn islands_do_not_hear_each_other() {
    let topology = Topology::new(3).with_cable(0, 1).with_cable(1, 2);
    let mut bus = CanBus::new(topology, BitRates::default());
    for segment in [0, 0, 1, 2, 2] {
        start(&mut bus, segment);
    }
    settle(&mut bus);
    bus.send(bus.now(), 0, frame(1, &[])).unwrap();
    run(&mut bus);
    bus.set_cable(bus.now(), 1, false);
    assert_eq!([bus.island(2), bus.island(4)], [Some(0), Some(2)]);
    settle(&mut bus);
    for (node, id) in [(0, 2), (3, 3)] {
        bus.send(bus.now(), node, frame(id, &[])).unwrap();
    }
    run(&mut bus);
    // What came before the cable was pulled is still there.
    assert_eq!(read(&mut bus, 2), [frame(1, &[]), frame(2, &[])]);
    assert_eq!(read(&mut bus, 4), [frame(1, &[]), frame(3, &[])]);
    // Plugged in the middle of a frame, it destroys it.
    bus.record_frames(10);
    bus.send(bus.now(), 0, frame(4, &[])).unwrap();
    bus.advance(bus.now() + Nanos(20 * BIT));
    bus.set_cable(bus.now(), 1, true);
    run(&mut bus);
    let endings: Vec<Ending> = bus.take_log().0.iter().map(|it| it.ending).collect();
    assert_eq!(endings, [Ending::Error(BusError::Bit), Ending::Good]);
    assert_eq!(read(&mut bus, 4), [frame(4, &[])]);
}

/// Full in both directions, without the log that it shares.
#[test]
fn a_node_is_small() {
    let frames = size_of::<super::node::Queued>() * TRANSMIT_QUEUE_FRAMES
        + size_of::<Received>() * RECEIVE_FIFO_FRAMES
        + size_of::<Completion>() * TRANSMIT_QUEUE_FRAMES;
    let node = size_of::<super::node::Node>();
    assert!(node <= 384, "{node} bytes");
    assert!(node + frames <= 16 << 10, "{} bytes", node + frames);
}

#[test]
fn frames_are_operations_when_asked_for() {
    let mut bus = bus(2);
    bus.tell_frames(true);
    let begins = bus.now();
    bus.send(begins, 1, frame(1, &[1, 2, 3])).unwrap();
    run(&mut bus);
    let events: Vec<DeviceEvent> = bus
        .take_events()
        .into_iter()
        .map(DeviceEvent::from)
        .collect();
    let [DeviceEvent::OperationBegan(operation)] = events.as_slice() else {
        panic!("{events:?}");
    };
    assert_eq!(
        (operation.unit, operation.address, operation.length),
        (1, 1, 3)
    );
    assert_eq!(
        (operation.begins, operation.kind.as_str()),
        (begins, "can-frame")
    );
}
