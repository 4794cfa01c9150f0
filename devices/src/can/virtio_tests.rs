use proptest::prelude::*;

use super::bus_tests::frame;
use super::*;
use crate::event::DeviceEvent;
use crate::test_driver::{TestDriver, Used, check_hostile, hostile};
use crate::time::Nanos;
use crate::virtio::VirtioDevice;

const VERSION_1: u64 = 1 << 32;
const CLASSIC: u64 = 1;
const FD: u64 = 2;
const RTR: u64 = 4;
const LATE: u64 = 8;
const START: u16 = 0x201;
const STOP: u16 = 0x202;

/// The controller of node 0, and node 1 that the tests send and hear with.
struct Bench {
    bus: CanBus,
    device: CanVirtio,
    driver: TestDriver,
}

impl Bench {
    fn new(features: u64) -> Bench {
        let mut bus = CanBus::new(Topology::new(1), BitRates::default());
        for _ in 0..2 {
            let node = bus.add_node(0).unwrap();
            bus.set_powered(Nanos::ZERO, node, true);
        }
        bus.start(Nanos::ZERO, 1);
        let device = CanVirtio::new(0);
        let mut driver = TestDriver::new(&device);
        driver.features = VERSION_1 | features;
        Bench {
            bus,
            device,
            driver,
        }
    }

    /// With everything that there is, started, and on the bus.
    fn started(features: u64) -> Bench {
        let mut bench = Bench::new(features);
        assert_eq!(bench.control(START), [0]);
        bench.wait(100_000);
        bench
    }

    fn service(&mut self) {
        let mut core = &mut self.bus;
        self.driver.service(&mut self.device, &mut core);
    }

    /// Services at each deadline of the device alone, for so long.
    fn wait(&mut self, nanos: u64) {
        let end = self.driver.now + Nanos(nanos);
        loop {
            self.service();
            let core = &mut self.bus;
            match self.device.deadline(&core) {
                Some(at) if at <= end => {
                    assert!(at > self.driver.now, "a deadline that has passed");
                    self.driver.now = at;
                }
                _ => break,
            }
        }
        self.driver.now = end;
        self.service();
    }

    fn control(&mut self, message: u16) -> Vec<u8> {
        self.driver.add(2, &[&message.to_le_bytes()], &[1]);
        self.service();
        self.driver.used(2).remove(0).bytes
    }

    fn transmit(&mut self, message: &[u8]) {
        self.driver.add(0, &[message], &[1]);
        self.service();
    }

    fn results(&mut self) -> Vec<u8> {
        self.driver.used(0).iter().map(|it| it.bytes[0]).collect()
    }

    fn status(&mut self) -> Vec<u8> {
        let core = &mut self.bus;
        self.device.config(&core)
    }

    fn peer_hears(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.bus.receive(1))
            .map(|it| it.frame.to_string())
            .collect()
    }
}

fn message(kind: u16, length: u16, flags: u32, id: u32, data: &[u8]) -> Vec<u8> {
    let mut bytes = kind.to_le_bytes().to_vec();
    bytes.extend(length.to_le_bytes());
    bytes.extend([0; 4]);
    bytes.extend(flags.to_le_bytes());
    bytes.extend(id.to_le_bytes());
    bytes.extend(data);
    bytes
}

const ALL: u64 = CLASSIC | FD | RTR | LATE;

#[test]
fn identity_is_that_of_the_standard() {
    let mut bench = Bench::new(ALL);
    let core = &mut bench.bus;
    assert_eq!(bench.device.features(&core), VERSION_1 | ALL);
    assert_eq!(
        (bench.device.device_id(), bench.device.config(&core)),
        (36, vec![0, 0])
    );
    assert_eq!(bench.device.queue_sizes().len(), 3);
}

#[test]
fn a_controller_is_stopped_until_it_is_started() {
    let mut bench = Bench::new(ALL);
    let plain = message(1, 1, 0, 0x12, &[9]);
    bench.transmit(&plain);
    assert_eq!(bench.results(), [1]);
    assert_eq!(bench.control(START), [0]);
    bench.wait(100_000);
    bench.transmit(&plain);
    // Answered when it was acknowledged, not before.
    assert_eq!((bench.results(), bench.device.in_flight(0)), (vec![], 1));
    bench.wait(1_000_000);
    assert_eq!((bench.results(), bench.device.in_flight(0)), (vec![0], 0));
    assert_eq!(bench.peer_hears(), ["012#09"]);
    assert_eq!(bench.control(STOP), [0]);
    bench.transmit(&plain);
    assert_eq!(bench.results(), [1]);
    assert_eq!(bench.control(0x203), [1]);
}

#[test]
fn without_late_acknowledgement_a_scheduled_frame_is_answered() {
    let mut bench = Bench::started(CLASSIC);
    bench.transmit(&message(1, 0, 0, 0x12, &[]));
    assert_eq!((bench.results(), bench.device.in_flight(0)), (vec![0], 0));
    assert_eq!(bench.peer_hears(), [""; 0]);
    bench.wait(1_000_000);
    assert_eq!(bench.peer_hears(), ["012#"]);
}

/// What a driver with these features asks for, and whether it is sent and as what. Refused or not, the
/// controller goes on as before.
fn check_transmit(features: u64, asked: &[u8], expected: Option<&str>) {
    let mut bench = Bench::started(features);
    bench.transmit(asked);
    bench.wait(1_000_000);
    assert_eq!(bench.results(), [u8::from(expected.is_none())], "{asked:?}");
    assert_eq!(bench.peer_hears(), expected.into_iter().collect::<Vec<_>>());
    bench.transmit(&message(
        1,
        0,
        if features & CLASSIC == 0 { 0x4000 } else { 0 },
        1,
        &[],
    ));
    bench.wait(1_000_000);
    assert_eq!((bench.results(), bench.status()), (vec![0], vec![0, 0]));
    assert!(!bench.driver.needs_reset);
}

#[test]
fn only_lawful_and_negotiated_frames_are_sent() {
    let check = |flags, id, data: &[u8], expected| {
        let length = u16::try_from(data.len()).unwrap();
        check_transmit(ALL, &message(1, length, flags, id, data), expected);
    };
    check(0, 0x7ff, &[1; 8], Some("7FF#0101010101010101"));
    check(0x8000, 0x1fff_ffff, &[], Some("1FFFFFFF#"));
    check(0x2000, 0x7, &[0; 3], Some("007#R3"));
    check(0x4000, 0x7, &[1; 8], Some("007##10101010101010101"));
    // Padded to the next length there is.
    check(0x4000, 0x7, &[1; 9], Some("007##1010101010101010101000000"));
    check(0, 0x800, &[], None);
    check(0x8000, 1 << 29, &[], None);
    check(0, 1 << 31, &[], None);
    check(0, 1, &[0; 9], None);
    check(0x4000, 1, &[0; 65], None);
    check(0x6000, 1, &[], None);
    check(1, 1, &[], None);
    check_transmit(ALL, &message(2, 0, 0, 1, &[]), None);
    // Lengths that the message does not have.
    check_transmit(ALL, &message(1, 3, 0, 1, &[1, 2]), None);
    check_transmit(ALL, &message(1, 100, 0x4000, 1, &[]), None);
    check_transmit(ALL, &message(1, 0xffff, 0x2000, 1, &[]), None);
    check_transmit(ALL, &message(1, 0, 0, 1, &[])[..15], None);
    // A remote frame needs no data.
    check_transmit(ALL, &message(1, 8, 0x2000, 1, &[]), Some("001#R8"));
    check_transmit(FD | LATE, &message(1, 0, 0, 1, &[]), None);
    check_transmit(CLASSIC | LATE, &message(1, 0, 0x4000, 1, &[]), None);
    check_transmit(CLASSIC | LATE, &message(1, 0, 0x2000, 1, &[]), None);
    check_transmit(FD | RTR | LATE, &message(1, 0, 0x2000, 1, &[]), None);
}

#[test]
fn each_frame_takes_one_buffer_and_no_more() {
    let mut bench = Bench::started(ALL);
    for _ in 0..8 {
        bench.driver.add(1, &[], &[16, 64]);
    }
    let extended = Identifier::Extended(0x12345);
    let sent = [
        frame(0x123, &[1, 2]),
        Frame::remote(extended, 4).unwrap(),
        Frame::fd(extended, true, &[7; 64]).unwrap(),
    ];
    for it in sent {
        bench.bus.send(bench.driver.now, 1, it).unwrap();
    }
    bench.wait(3_000_000);
    let used = bench.driver.used(1);
    let got: Vec<&[u8]> = used
        .iter()
        .map(|it: &Used| &it.bytes[..it.written as usize])
        .collect();
    let expected = [
        message(0x101, 2, 0, 0x123, &[1, 2]),
        message(0x101, 4, 0xa000, 0x12345, &[0; 4]),
        message(0x101, 64, 0xc000, 0x12345, &[7; 64]),
    ];
    assert_eq!(got, expected);
    // The other five are still there.
    for _ in 0..5 {
        bench.bus.send(bench.driver.now, 1, frame(1, &[])).unwrap();
    }
    bench.wait(3_000_000);
    assert_eq!(bench.driver.used(1).len(), 5);
}

#[test]
fn what_is_received_is_due_although_a_frame_of_its_own_waits_and_others_move_the_bus_on() {
    let mut bench = Bench::started(ALL);
    bench.driver.add(1, &[], &[16, 8]);
    // The peer's frames are the more urgent ones.
    for _ in 0..20 {
        bench.bus.send(bench.driver.now, 1, frame(1, &[])).unwrap();
    }
    bench.transmit(&message(1, 0, 0, 0x7ff, &[]));
    let later = bench.driver.now + Nanos(1_000_000);
    bench.bus.advance(later);
    let core = &mut bench.bus;
    assert!(bench.device.deadline(&core).is_some_and(|at| at <= later));
    bench.driver.now = later;
    bench.service();
    assert_eq!(bench.driver.used(1).len(), 1);
}

#[test]
fn a_frame_waits_for_a_buffer_and_a_buffer_for_a_frame_that_fits() {
    let mut bench = Bench::started(ALL);
    for data in [[1; 8].as_slice(), &[2; 8], &[3]] {
        bench.bus.send(bench.driver.now, 1, frame(1, data)).unwrap();
    }
    bench.wait(3_000_000);
    let core = &mut bench.bus;
    assert_eq!(bench.device.deadline(&core), None);
    bench.driver.add(1, &[], &[20]);
    bench.service();
    // Too small for the first two.
    let used = bench.driver.used(1);
    assert_eq!((used.len(), used[0].written), (1, 17));
    let fault = DeviceEvent::DriverFault {
        queue: 1,
        what: "a buffer too small for a frame, which is lost".to_owned(),
    };
    assert_eq!(bench.driver.take_events(), [fault.clone(), fault]);
    assert!(!bench.driver.needs_reset);
}

#[test]
fn frames_that_were_not_negotiated_are_not_received() {
    let mut bench = Bench::started(CLASSIC | LATE);
    bench.driver.add(1, &[], &[24]);
    let id = Identifier::Standard(1);
    for it in [
        Frame::fd(id, false, &[]),
        Frame::remote(id, 0),
        Frame::data(id, &[5]),
    ] {
        bench.bus.send(bench.driver.now, 1, it.unwrap()).unwrap();
    }
    bench.wait(3_000_000);
    let used = bench.driver.used(1);
    assert_eq!((used.len(), used[0].bytes[16]), (1, 5));
}

#[test]
fn stop_cancels_what_is_pending() {
    let mut bench = Bench::started(ALL);
    for id in 0..3 {
        bench.transmit(&message(1, 0, 0, id, &[]));
    }
    assert_eq!(bench.control(STOP), [0]);
    assert_eq!(
        (bench.results(), bench.device.in_flight(0)),
        (vec![1; 3], 0)
    );
    bench.wait(1_000_000);
    assert_eq!(bench.peer_hears(), [""; 0]);
    assert_eq!(bench.status(), [0, 0]);
}

#[test]
fn bus_off_stops_the_controller_and_says_so() {
    let mut bench = Bench::started(ALL);
    for nth in 1..=32 {
        let (effect, place) = (Effect::Crc, Place::Everywhere);
        let from = Some(0);
        bench.bus.inject(
            bench.driver.now,
            Fault::Frame {
                from,
                nth,
                effect,
                place,
            },
        );
    }
    for id in 0..3 {
        bench.transmit(&message(1, 0, 0, id, &[]));
    }
    bench.driver.config_changed = false;
    bench.wait(20_000_000);
    assert_eq!(bench.results(), [1; 3]);
    assert_eq!(
        (bench.status(), bench.driver.config_changed),
        (vec![1, 0], true)
    );
    bench.transmit(&message(1, 0, 0, 1, &[]));
    assert_eq!((bench.results(), bench.device.in_flight(0)), (vec![1], 0));
    // Started again it takes part after 128 times eleven bits.
    assert_eq!(bench.control(START), [0]);
    assert_eq!(bench.status(), [0, 0]);
    bench.transmit(&message(1, 0, 0, 1, &[]));
    bench.wait(2_800_000);
    assert_eq!(bench.results(), []);
    bench.wait(200_000);
    assert_eq!(
        (bench.results(), bench.peer_hears()),
        (vec![0], vec!["001#".to_owned()])
    );
}

#[test]
fn a_queue_that_is_full_leaves_requests_on_the_ring() {
    let mut bench = Bench::started(CLASSIC);
    for _ in 0..3 {
        for id in 0..30 {
            bench.driver.add(0, &[&message(1, 0, 0, id, &[])], &[1]);
        }
        bench.service();
    }
    assert_eq!(bench.results(), [0; 64]);
    bench.wait(50_000_000);
    assert_eq!(
        (bench.results(), bench.peer_hears().len()),
        (vec![0; 26], 64)
    );
    assert_eq!(bench.bus.counters(1).overrun, 26);
}

#[test]
fn a_reset_forgets_and_cuts_off_what_is_on_the_wire() {
    let mut bench = Bench::started(ALL);
    bench.driver.add(1, &[], &[17]);
    bench
        .bus
        .send(bench.driver.now, 1, frame(1, &[0; 8]))
        .unwrap();
    bench.wait(1_000_000);
    bench.transmit(&message(1, 8, 0, 1, &[0; 8]));
    bench.wait(40_000);
    assert_eq!([0, 1].map(|it| bench.device.in_flight(it)), [1, 1]);
    let mut core = &mut bench.bus;
    bench.device.reset(&mut core);
    assert_eq!([0, 1].map(|it| bench.device.in_flight(it)), [0, 0]);
    assert_eq!(bench.device, CanVirtio::new(0));
    bench.bus.advance(bench.driver.now + Nanos::from_millis(1));
    assert_eq!(bench.bus.errors(1).receive_errors(), 1);
    assert!(!bench.bus.is_started(0));
}

#[test]
fn power_lost_below_a_driver_answers_its_requests() {
    let mut bench = Bench::started(ALL);
    bench.transmit(&message(1, 0, 0, 1, &[]));
    bench.bus.set_powered(bench.driver.now, 0, false);
    bench.service();
    assert_eq!(bench.results(), [1]);
    assert_eq!(
        (bench.control(START), bench.status()),
        (vec![1], vec![0, 0])
    );
}

proptest! {
    #[test]
    fn a_hostile_driver_gets_nowhere(
        plan in hostile(3, prop_oneof![
            Just(message(0x201, 0, 0, 0, &[0; 2032])),
            Just(message(1, 8, 0, 0x123, &[0; 2032])),
            proptest::collection::vec(any::<u8>(), 2048),
        ]),
        started in any::<bool>(),
        frames in proptest::collection::vec(super::frame::tests::any_frame(), 0..8),
    ) {
        let mut bench = if started { Bench::started(ALL) } else { Bench::new(ALL) };
        for frame in frames {
            bench.bus.send(bench.driver.now, 1, frame).unwrap();
        }
        let mut core = &mut bench.bus;
        check_hostile(&mut bench.device, &mut core, &plan);
    }
}
