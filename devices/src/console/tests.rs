use proptest::prelude::*;

use super::*;
use crate::event::DeviceEvent;
use crate::test_driver::{TestDriver, check_hostile, hostile};
use crate::time::Nanos;
use crate::virtio::VirtioDevice;

#[derive(Default)]
struct Bench {
    console: Console,
    device: ConsoleVirtio,
}

impl Bench {
    fn driver(&self) -> TestDriver {
        TestDriver::new(&self.device)
    }

    fn service(&mut self, driver: &mut TestDriver) {
        let mut core = &mut self.console;
        driver.service(&mut self.device, &mut core);
    }

    fn deadline(&mut self) -> Option<Nanos> {
        let core = &mut self.console;
        self.device.deadline(&core)
    }
}

/// Prints buffers: the lines that come of it.
fn check_lines(buffers: &[&[u8]], expected: &[&str]) {
    let mut bench = Bench::default();
    let mut driver = bench.driver();
    for buffer in buffers {
        driver.add(1, &[buffer], &[]);
    }
    bench.service(&mut driver);
    assert_eq!(driver.used(1).len(), buffers.len());
    let lines = expected.iter().map(|line| (*line).to_owned());
    let told: Vec<_> = lines.map(DeviceEvent::ConsoleLine).collect();
    assert_eq!(driver.take_events(), told);
    assert!(bench.console.lines().eq(expected.iter().copied()));
    assert_eq!(bench.console.output_since(0), buffers.concat());
}

#[test]
fn text_becomes_lines() {
    check_lines(&[b"one\ntwo\n"], &["one", "two"]);
    check_lines(&[b"on", b"e\ntw"], &["one"]);
    check_lines(&[b"\n\r\nx\r\n"], &["", "", "x"]);
    check_lines(&[b"caf\xc3", b"\xa9\n"], &["café"]);
    check_lines(&[b"\x1b[2J\x07\n"], &["\\u{1b}[2J\\u{7}"]);
    check_lines(&[b"\xff\n"], &["\u{fffd}"]);
    let full = "x".repeat(MAX_LINE_BYTES);
    check_lines(&[full.as_bytes(), b"\n"], &[&full]);
    check_lines(&[full.as_bytes(), b"yz\n"], &[&full, "yz"]);
}

#[test]
fn a_console_remembers_only_the_end() {
    let mut console = Console::default();
    for n in 0..3_000 {
        console.print(format!("line {n}\n").as_bytes());
    }
    assert_eq!(console.lines().next(), Some("line 2872"));
    assert_eq!(console.lines().count(), KEPT_LINES);
    assert_eq!(console.output_since(0).len(), KEPT_BYTES);
    let end = console.printed();
    assert_eq!(console.output_since(end - 10), b"line 2999\n");
    assert_eq!(console.output_since(end), b"");
    assert_eq!(console.output_since(u64::MAX), b"");
}

#[test]
fn typing_reaches_posted_buffers_only() {
    let mut bench = Bench::default();
    let mut driver = bench.driver();
    assert_eq!(bench.console.type_bytes(Nanos(7), b"ver\nboot -i\n"), 12);
    assert_eq!(bench.deadline(), Some(Nanos(7)));
    bench.service(&mut driver);
    assert_eq!(bench.deadline(), None);
    driver.add(0, &[], &[4]);
    driver.add(0, &[], &[64]);
    driver.add(0, &[], &[64]);
    bench.service(&mut driver);
    let used = driver.used(0);
    let read: Vec<_> = used
        .iter()
        .map(|used| &used.bytes[..usize::try_from(used.written).unwrap()])
        .collect();
    assert_eq!(read, [&b"ver\n"[..], b"boot -i\n"]);
    // The third buffer waits for the next typing.
    bench.console.type_bytes(Nanos(9), b"!");
    assert_eq!(bench.deadline(), Some(Nanos(9)));
    bench.service(&mut driver);
    assert_eq!(driver.used(0)[0].bytes[0], b'!');
    assert_eq!(driver.take_events(), []);
}

#[test]
fn typing_ahead_has_an_end() {
    let mut console = Console::default();
    let book = [b'x'; MAX_INPUT_BYTES];
    assert_eq!(
        console.type_bytes(Nanos(1), &book[1..]),
        MAX_INPUT_BYTES - 1
    );
    assert_eq!(console.type_bytes(Nanos(2), b"yz"), 1);
    assert_eq!(console.type_bytes(Nanos(3), b"z"), 0);
    assert_eq!(console.unread(), MAX_INPUT_BYTES);
}

#[test]
fn a_power_cut_ends_the_line_and_forgets_the_typing() {
    let mut console = Console::default();
    console.print(b"done\nabou");
    console.type_bytes(Nanos(1), b"x");
    assert_eq!(console.power_lost().as_deref(), Some("abou"));
    assert_eq!(console.power_lost(), None);
    assert!(console.lines().eq(["done", "abou"]));
    assert_eq!(console.unread(), 0);
}

#[test]
fn wrong_buffers_come_back_and_are_told() {
    let mut bench = Bench::default();
    let mut driver = bench.driver();
    let book = vec![b'x'; 65 * 1024];
    bench.console.type_bytes(Nanos(0), b"x");
    driver.add(0, &[b"not for reading"], &[]);
    driver.add(1, &[b"a\n"], &[8]);
    driver.add(1, &[&book], &[]);
    bench.service(&mut driver);
    assert_eq!((driver.used(0).len(), driver.used(1).len()), (1, 2));
    let faults = driver
        .take_events()
        .into_iter()
        .filter(|event| matches!(event, DeviceEvent::DriverFault { .. }));
    assert_eq!(faults.count(), 3);
    assert_eq!(bench.console.unread(), 1);
    assert_eq!(bench.console.printed(), 2 + 64 * 1024);
}

#[test]
fn a_stored_console_goes_on_as_the_original() {
    let mut bench = Bench::default();
    let mut driver = bench.driver();
    driver.add(1, &[b"half a li"], &[]);
    bench.console.type_bytes(Nanos(3), b"ver\n");
    bench.service(&mut driver);
    let stored = (&bench.console, &bench.device);
    let bytes = postcard::to_stdvec(&stored).unwrap();
    let loaded: (Console, ConsoleVirtio) = postcard::from_bytes(&bytes).unwrap();
    assert_eq!((&loaded.0, &loaded.1), stored);
    (bench.console, bench.device) = loaded;
    driver.add(1, &[b"ne\n"], &[]);
    driver.add(0, &[], &[16]);
    bench.service(&mut driver);
    let told = DeviceEvent::ConsoleLine("half a line".to_owned());
    assert_eq!(driver.take_events(), [told]);
    assert_eq!(driver.used(0)[0].written, 4);
    let mut core = &mut bench.console;
    bench.device.reset(&mut core);
    assert_eq!(bench.deadline(), None);
}

proptest! {
    #[test]
    fn a_hostile_driver_gets_nowhere(
        plan in hostile(2, proptest::collection::vec(any::<u8>(), 2048)),
        typed in proptest::collection::vec(any::<u8>(), 0..5000),
    ) {
        let mut bench = Bench::default();
        bench.console.type_bytes(Nanos(0), &typed);
        let mut core = &mut bench.console;
        check_hostile(&mut bench.device, &mut core, &plan);
    }
}
