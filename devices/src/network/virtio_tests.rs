use proptest::prelude::*;

use super::*;
use crate::event::DeviceEvent;
use crate::test_driver::{TestDriver, check_hostile, hostile};
use crate::time::Nanos;
use crate::virtio::VirtioDevice;

const OWN: Mac = [2, 0xab, 0, 0, 0, 0];
const PEER: Mac = [2, 0xab, 0, 0, 0, 1];

/// The card at port 0, and a peer at port 1 whose frames the tests send and receive.
struct Bench {
    segment: Segment,
    device: PortVirtio,
    driver: TestDriver,
}

impl Bench {
    fn new() -> Bench {
        let mut segment = Segment::new(2, PortSettings::default());
        segment.set_powered(0, true);
        segment.set_powered(1, true);
        let device = PortVirtio::new(0, OWN);
        Bench {
            segment,
            driver: TestDriver::new(&device),
            device,
        }
    }

    fn service_at(&mut self, now: u64) {
        self.driver.now = Nanos(now);
        let mut core = &mut self.segment;
        self.driver.service(&mut self.device, &mut core);
    }

    fn peer_sends(&mut self, to: Mac, length: usize) {
        let mut frame = [to, PEER].concat();
        frame.resize(length, 0x5a);
        let sent = self.segment.send(self.driver.now, 1, &frame);
        assert_eq!(sent, Sent::Carried(1));
    }

    fn deadline(&mut self) -> Option<u64> {
        let core = &mut self.segment;
        self.device.deadline(&core).map(|at| at.0)
    }

    /// Services when the device wants it; what was received, by length.
    fn received(&mut self) -> Vec<u32> {
        while let Some(at) = self.deadline() {
            self.service_at(at);
        }
        self.driver
            .used(0)
            .iter()
            .map(|used| used.written)
            .collect()
    }
}

#[test]
fn identity_is_that_of_the_manual() {
    let mut bench = Bench::new();
    let core = &mut bench.segment;
    assert_eq!(
        bench.device.features(&core),
        1 << 32 | 1 << 16 | 1 << 5 | 1 << 3
    );
    let up = bench.device.config(&core);
    assert_eq!(up, [2, 0xab, 0, 0, 0, 0, 1, 0, 1, 0, 0x28, 0x23]);
    core.set_cable(1, false);
    assert_eq!(bench.device.config(&core)[6], 0);
}

#[test]
fn a_change_of_light_is_a_change_of_configuration() {
    let mut bench = Bench::new();
    for (cable, changed) in [(true, true), (true, false), (false, true), (false, false)] {
        bench.segment.set_cable(1, cable);
        bench.driver.config_changed = false;
        bench.service_at(0);
        assert_eq!(bench.driver.config_changed, changed);
    }
}

/// Transmits `header` and `length` bytes of frame: whether the peer gets it, and what is said.
fn check_transmit(header: &[u8], length: usize, expected: Result<(), &str>) {
    let mut bench = Bench::new();
    let mut frame = [PEER, OWN].concat();
    frame.resize(length, 1);
    bench.driver.add(1, &[header, &frame], &[]);
    bench.service_at(0);
    let used = bench.driver.used(1);
    assert_eq!((used.len(), used[0].written), (1, 0));
    let got = bench.segment.receive(Nanos::from_secs(1), 1);
    let said = format!("{:?}", bench.driver.take_events());
    match expected {
        Ok(()) => assert_eq!((got, said.as_str()), (Some(frame), "[]")),
        Err(words) => assert!(got.is_none() && said.contains(words), "{said}"),
    }
    assert!(!bench.driver.needs_reset);
}

#[test]
fn a_packet_is_sent_or_told() {
    let plain = [0; 12];
    check_transmit(&plain, 14, Ok(()));
    check_transmit(&plain, 9014, Ok(()));
    check_transmit(
        &plain,
        9015,
        Err("DriverFault { queue: 1, what: \"a frame longer"),
    );
    check_transmit(&plain, 13, Err("a frame shorter"));
    check_transmit(&plain[..11], 0, Err("without its header"));
    let mut checksum = plain;
    checksum[0] = 1;
    check_transmit(&checksum, 64, Err("offload"));
    let mut segmentation = plain;
    segmentation[1] = 1;
    check_transmit(&segmentation, 64, Err("offload"));
}

#[test]
fn a_lost_frame_is_told() {
    let mut bench = Bench::new();
    bench.segment.drop_frame(0, 1);
    let packet = [0; 64];
    bench.driver.add(1, &[&packet], &[]);
    bench.service_at(0);
    let told = DeviceEvent::Notice("frame-lost port=0 cause=dropped".to_owned());
    assert_eq!(bench.driver.take_events(), [told]);
}

#[test]
fn a_frame_waits_for_a_buffer() {
    let mut bench = Bench::new();
    bench.peer_sends(OWN, 100);
    assert!(bench.received().is_empty());
    assert_eq!(bench.deadline(), None);
    bench.driver.add(0, &[], &[12, 2000]);
    bench.driver.add(0, &[], &[2000]);
    bench.service_at(bench.driver.now.0);
    let used = bench.driver.used(0);
    assert_eq!((used.len(), used[0].written), (1, 112));
    assert_eq!(used[0].bytes[..12], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
    assert_eq!(used[0].bytes[12..18], OWN);
    // And a buffer for a frame.
    bench.peer_sends([0xff; 6], 60);
    assert_eq!(bench.received(), [72]);
}

#[test]
fn a_card_hears_only_its_own_and_group_addresses() {
    let mut bench = Bench::new();
    bench.driver.add(0, &[], &[2000]);
    bench.peer_sends([2, 9, 9, 9, 9, 9], 60);
    assert!(bench.received().is_empty());
    bench.peer_sends([3, 9, 9, 9, 9, 9], 61);
    assert_eq!(bench.received(), [73]);
    assert_eq!(bench.device.in_flight(0), 0);
}

#[test]
fn a_buffer_too_small_loses_the_frame_but_not_the_buffer() {
    let mut bench = Bench::new();
    bench.driver.add(0, &[], &[100]);
    bench.peer_sends(OWN, 89);
    assert!(bench.received().is_empty());
    let lost = "frame-lost port=0 cause=buffer-too-small bytes=89";
    let told = DeviceEvent::Notice(lost.to_owned());
    assert_eq!(bench.driver.take_events(), [told]);
    assert_eq!(bench.device.in_flight(0), 1);
    bench.peer_sends(OWN, 88);
    assert_eq!(bench.received(), [100]);
    assert_eq!(bench.device.in_flight(0), 0);
}

#[test]
fn an_overrun_is_told() {
    let mut bench = Bench::new();
    for _ in 0..PORT_QUEUE_FRAMES {
        bench.peer_sends(OWN, 60);
    }
    let mut frame = [OWN, PEER].concat();
    frame.resize(60, 0);
    bench.segment.send(Nanos::ZERO, 1, &frame);
    bench.service_at(0);
    let told = DeviceEvent::Notice("frames-overran port=0 count=1".to_owned());
    assert_eq!(bench.driver.take_events(), [told]);
    bench.service_at(0);
    assert_eq!(bench.driver.take_events(), []);
}

#[test]
fn a_reset_forgets_the_spare_buffer() {
    let mut bench = Bench::new();
    bench.driver.add(0, &[], &[20]);
    bench.peer_sends(OWN, 60);
    bench.received();
    assert_eq!(bench.device.in_flight(0), 1);
    let mut core = &mut bench.segment;
    bench.device.reset(&mut core);
    assert_eq!(bench.device.in_flight(0), 0);
    bench.peer_sends(OWN, 60);
    assert!(bench.received().is_empty());
}

#[test]
fn a_stored_segment_goes_on_as_the_original() {
    let mut bench = Bench::new();
    bench.driver.add(0, &[], &[80]);
    bench.peer_sends(OWN, 80);
    bench.received();
    bench.driver.add(0, &[], &[2000]);
    bench.peer_sends(OWN, 64);
    bench.peer_sends(OWN, 1000);
    let stored = (&bench.segment, &bench.device);
    let bytes = postcard::to_stdvec(&stored).unwrap();
    let loaded: (Segment, PortVirtio) = postcard::from_bytes(&bytes).unwrap();
    assert_eq!((&loaded.0, &loaded.1), stored);
    (bench.segment, bench.device) = loaded;
    assert_eq!(bench.received(), [76, 1012]);
}

proptest! {
    #[test]
    fn a_hostile_driver_gets_nowhere(
        plan in hostile(2, prop_oneof![
            Just(vec![0; 2048]),
            proptest::collection::vec(any::<u8>(), 2048),
        ]),
        lengths in proptest::collection::vec(14_usize..9014, 0..8),
    ) {
        let mut bench = Bench::new();
        for length in lengths {
            bench.peer_sends([0xff; 6], length);
        }
        let mut core = &mut bench.segment;
        check_hostile(&mut bench.device, &mut core, &plan);
    }
}
