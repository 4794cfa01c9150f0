use super::*;
use crate::time::Nanos;

const A: Mac = [2, 0xab, 0, 0, 0, 0];
const B: Mac = [2, 0xab, 0, 0, 0, 1];
const NOBODY: Mac = [2, 0xab, 0, 0, 0, 9];
const EVERYBODY: Mac = [0xff; 6];
/// A minimal frame at 1 Gbit/s, and then the latency.
const SHORT: u64 = (60 + 24) * 8;
const LATENCY: u64 = 10_000;

fn frame(to: Mac, from: Mac, length: usize) -> Vec<u8> {
    let mut frame = [to, from].concat();
    frame.extend([0x88, 0xb5]);
    frame.resize(length, 7);
    frame
}

fn segment(ports: usize) -> Segment {
    let mut segment = Segment::new(ports, PortSettings::default());
    for port in 0..ports {
        segment.set_powered(port, true);
    }
    segment
}

#[test]
fn a_frame_arrives_after_its_wire_time_and_the_latency() {
    let mut segment = segment(2);
    let short = frame(EVERYBODY, A, 14);
    let long = frame(EVERYBODY, A, 1000);
    assert_eq!(segment.send(Nanos(5), 0, &short), Sent::Carried(1));
    assert_eq!(segment.send(Nanos(5), 0, &long), Sent::Carried(1));
    let first = 5 + SHORT + LATENCY;
    assert_eq!(segment.deadline(), Some(Nanos(first)));
    assert_eq!(segment.receive(Nanos(first - 1), 1), None);
    assert_eq!(segment.receive(Nanos(first), 1), Some(short));
    // The second left when the first was out.
    let second = first + 1024 * 8;
    assert_eq!(segment.next_arrival(1), Some(Nanos(second)));
    assert_eq!(segment.receive(Nanos(second), 1), Some(long));
    assert_eq!(segment.deadline(), None);
    assert_eq!(segment.counters(0).sent, 2);
    assert_eq!(segment.counters(1).received, 2);
}

#[test]
fn frames_go_where_their_address_is() {
    let mut segment = segment(3);
    let table = [
        (0, NOBODY, A, 2),    // flooded
        (1, A, B, 1),         // learned
        (2, B, [2; 6], 1),    // learned
        (2, EVERYBODY, B, 2), // to all others; B has moved
        (0, B, A, 1),
        (0, A, A, 0), // to oneself
    ];
    for (port, to, from, reached) in table {
        let sent = segment.send(Nanos::ZERO, port, &frame(to, from, 64));
        assert_eq!(sent, Sent::Carried(reached), "{to:?} from port {port}");
    }
    segment.know(1, NOBODY);
    let sent = segment.send(Nanos::ZERO, 0, &frame(NOBODY, A, 64));
    assert_eq!(sent, Sent::Carried(1));
}

#[test]
fn frames_from_two_ports_arrive_in_order_of_time() {
    let mut segment = segment(3);
    let long = frame(EVERYBODY, A, 9000);
    let short = frame(EVERYBODY, B, 60);
    segment.send(Nanos(0), 0, &long);
    segment.send(Nanos(1), 1, &short);
    let late = Nanos::from_secs(1);
    assert_eq!(segment.receive(late, 2), Some(short));
    assert_eq!(segment.receive(late, 2), Some(long));
}

#[test]
fn the_light_needs_cable_and_power_at_both_ends() {
    type Change = fn(&mut Segment);
    let table: [(Change, [bool; 2]); 4] = [
        (|_| (), [true, true]),
        (|s| s.set_cable(0, false), [false, false]),
        (|s| s.set_powered(1, false), [false, false]),
        (|s| s.set_partition(1, 0, true), [true, true]),
    ];
    for (n, (change, lights)) in table.into_iter().enumerate() {
        let mut segment = segment(2);
        change(&mut segment);
        assert_eq!([0, 1].map(|port| segment.link_up(port)), lights, "row {n}");
    }
    assert!(!segment(2).link_up(2));
}

#[test]
fn every_way_to_lose_a_frame_is_counted() {
    let mut segment = segment(2);
    let any = frame(EVERYBODY, A, 64);
    let at = Nanos::ZERO;
    segment.drop_frame(0, 2);
    assert_eq!(segment.send(at, 0, &any), Sent::Carried(1));
    assert_eq!(segment.send(at, 0, &any), Sent::Lost(Loss::Dropped));
    assert_eq!(segment.send(at, 0, &any), Sent::Carried(1));
    segment.set_partition(0, 1, true);
    assert_eq!(segment.send(at, 0, &any), Sent::Lost(Loss::Partition));
    segment.set_partition(0, 1, false);
    segment.set_cable(0, false);
    assert_eq!(segment.send(at, 0, &any), Sent::Lost(Loss::NoLink));
    for length in [0, 13, MAX_FRAME_BYTES + 1] {
        let sent = segment.send(at, 0, &vec![0; length]);
        assert_eq!(sent, Sent::Lost(Loss::Malformed));
    }
    assert_eq!(segment.send(at, 7, &any), Sent::Lost(Loss::Malformed));
    let counters = segment.counters(0);
    let losses = (counters.sent, counters.lost_to_fault, counters.lost_to_link);
    assert_eq!(losses, (5, 2, 1));
}

#[test]
fn a_full_port_overruns_and_a_dark_one_forgets() {
    let mut segment = segment(2);
    let any = frame(EVERYBODY, A, 64);
    for _ in 0..PORT_QUEUE_FRAMES + 3 {
        segment.send(Nanos::ZERO, 0, &any);
    }
    assert_eq!(segment.counters(1).overrun, 3);
    segment.set_powered(1, false);
    assert_eq!(segment.deadline(), None);
}

#[test]
fn made_up_addresses_do_not_pile_up() {
    let mut segment = segment(2);
    for n in 0..=u16::MAX {
        let [high, low] = n.to_be_bytes();
        segment.know(0, [2, 0, 0, 0, high, low]);
    }
    let size = postcard::to_stdvec(&segment).unwrap().len();
    assert!(size < 2_000, "{size} bytes");
}
