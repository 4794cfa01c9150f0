use proptest::prelude::*;

use super::*;
use crate::event::DeviceEvent;
use crate::midplane::{Midplane, MidplaneCommand};
use crate::test_driver::{Hostile, TestDriver, check_hostile, hostile};
use crate::time::Nanos;
use crate::virtio::VirtioDevice;

/// (status, arg, value)
type Answer = (u32, u32, u64);

/// A board in slot 0 of a chassis of two.
struct Bench {
    board: BoardControl,
    midplane: Midplane,
    device: BoardControlVirtio,
    driver: TestDriver,
}

impl Bench {
    fn new() -> Bench {
        let mut midplane = Midplane::new(2, 500);
        for slot in 0..2 {
            midplane.set_present(slot, true);
            midplane.set_powered(slot, true);
        }
        let device = BoardControlVirtio::default();
        Bench {
            board: BoardControl::new(BoardIdentity::default()),
            midplane,
            driver: TestDriver::new(&device),
            device,
        }
    }

    fn ask(&mut self, op: u32, arg: u32, value: u64, payload: &[u8]) {
        let header = header(op, arg, value);
        self.driver.add(0, &[&header, payload], &[24]);
    }

    fn service(&mut self) {
        let mut core = BoardControlCore {
            board: &mut self.board,
            midplane: &mut self.midplane,
        };
        self.driver.service(&mut self.device, &mut core);
    }

    /// Answers that came.
    fn answers(&mut self) -> Vec<Answer> {
        let now = self.driver.now.0;
        self.driver
            .used(0)
            .iter()
            .map(|used| {
                assert_eq!(used.written, 24);
                let word =
                    |at: usize| u32::from_le_bytes(used.bytes[at..at + 4].try_into().unwrap());
                let long =
                    |at: usize| u64::from_le_bytes(used.bytes[at..at + 8].try_into().unwrap());
                assert_eq!(long(16), now);
                (word(0), word(4), long(8))
            })
            .collect()
    }

    fn done_at(&mut self, now: u64) -> Vec<Answer> {
        self.driver.now = Nanos(now);
        self.service();
        self.answers()
    }
}

fn header(op: u32, arg: u32, value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    bytes.extend(op.to_le_bytes());
    bytes.extend(arg.to_le_bytes());
    bytes.extend(value.to_le_bytes());
    bytes
}

#[test]
fn the_configuration_space_is_that_of_the_manual() {
    let bank = |level, bank, chip, offset| BankEntry {
        level,
        bank,
        chip,
        offset,
        size: 0x2_0000,
    };
    let mut bench = Bench::new();
    bench.board.identity = BoardIdentity {
        slot: 1,
        slots: 2,
        ram_mib: 16,
        serial: "AB1-0007-and-too-long".to_owned(),
        straps: straps::FOLLOW_L2 | 1 << straps::SOURCE_SHIFT,
        banks: (0..12).map(|n| bank(2, 1, n, 0x1000)).collect(),
        signing_key: [7; 32],
        ..BoardIdentity::default()
    };
    bench
        .board
        .board_reset(ResetReason::Watchdog, Nanos(0x1122), 0x3344);
    let core = BoardControlCore {
        board: &mut bench.board,
        midplane: &mut bench.midplane,
    };
    let config = bench.device.config(&core);
    let word = |at: usize| u32::from_le_bytes(config[at..at + 4].try_into().unwrap());
    let words = [0x00, 0x04, 0x08, 0x0c, 0x20, 0x24, 0x28, 0x2c, 0x30, 0x38];
    assert_eq!(
        words.map(word),
        [1, 1, 2, 16, 3, 1, 0x101, 10, 0x1122, 0x3344]
    );
    assert_eq!(&config[0x10..0x20], b"AB1-0007-and-too");
    assert_eq!(config[0x40..0x60], [7; 32]);
    let second = [2, 1, 1, 0, 0, 0x10, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0];
    assert_eq!(config[0x70..0x80], second);
    assert_eq!(config.len(), 0x60 + 16 * MAX_BANKS);
}

/// One WAIT (any mask, idle mask, deadline), then services of other slots as (time, slot,
/// completed, unfinished): when it is answered, and with what `arg`.
fn check_wait(
    any: u32,
    idle: u32,
    deadline: u64,
    services: &[(u64, u32, bool, usize)],
    expected: Option<(u64, u32)>,
) {
    let mut bench = Bench::new();
    bench.driver.now = Nanos(100);
    bench.ask(1, any, deadline, &idle.to_le_bytes());
    bench.service();
    assert!(bench.board.waiting() && bench.answers().is_empty());
    let due = |bench: &mut Bench| {
        let at = bench.board.wait_deadline().map(|at| at.0)?;
        assert_eq!(bench.board.deadline(), Some(Nanos(at)));
        Some(at)
    };
    let mut answered = None;
    let ahead = services.iter().map(Some).chain([None]);
    for service in ahead {
        let until = service.map_or(u64::MAX, |service| service.0);
        if answered.is_none()
            && let Some(at) = due(&mut bench)
            && at < until
        {
            let answers = bench.done_at(at);
            assert_eq!(answers.len(), 1);
            answered = Some((at, answers[0].1));
        }
        if let Some((now, slot, completed, unfinished)) = service {
            bench
                .board
                .serviced(*slot, Nanos(*now), *completed, *unfinished);
        }
    }
    assert_eq!(answered, expected);
    assert_eq!(bench.board.waiting(), expected.is_none());
    assert_eq!(bench.device.in_flight(0), usize::from(expected.is_none()));
}

#[test]
fn a_wait_ends_when_the_manual_says() {
    const NEVER: u64 = u64::MAX;
    const PASSED: u32 = 1 << 31;
    // Any completion of a masked slot; others are only told.
    check_wait(0b10, 0, NEVER, &[(150, 1, true, 3)], Some((150, 0b10)));
    check_wait(0b10, 0, NEVER, &[(150, 2, true, 0)], None);
    let two = [(150, 2, true, 0), (160, 1, true, 0)];
    check_wait(0b10, 0, NEVER, &two, Some((160, 0b110)));
    // Serviced without completing anything.
    check_wait(0b10, 0b10, NEVER, &[(150, 1, false, 0)], None);
    // The idle mask: only once nothing is left.
    let batch = [(150, 1, true, 2), (160, 1, true, 1), (170, 1, true, 0)];
    check_wait(0, 0b10, NEVER, &batch, Some((170, 0b10)));
    check_wait(0b10, 0b10, NEVER, &batch, Some((150, 0b10)));
    check_wait(0, 0b10, NEVER, &batch[..2], None);
    // Deadlines, in the past too.
    check_wait(
        0b10,
        0,
        155,
        &[(150, 2, true, 0)],
        Some((155, PASSED | 0b100)),
    );
    check_wait(0, 0, 90, &[], Some((100, PASSED)));
    check_wait(0, 0, NEVER, &[(150, 1, true, 0)], None);
    // Board control itself wakes nobody, slots that do not exist neither.
    check_wait(
        u32::MAX,
        0,
        NEVER,
        &[(150, 0, true, 0), (150, 24, true, 0)],
        None,
    );
    check_wait(u32::MAX, 0, NEVER, &[(150, 99, true, 0)], None);
}

#[test]
fn completions_before_the_wait_count_unless_an_answer_told_them() {
    let mut bench = Bench::new();
    bench.board.serviced(3, Nanos(10), true, 0);
    bench.driver.now = Nanos(20);
    bench.ask(1, 0b1000, u64::MAX, &[]);
    bench.service();
    assert_eq!(bench.board.wait_deadline(), Some(Nanos(20)));
    assert_eq!(bench.done_at(20), [(0, 0b1000, 0)]);
    bench.ask(1, 0b1000, 40, &[]);
    assert_eq!(bench.done_at(20), []);
    assert_eq!(bench.done_at(40), [(0, 1 << 31, 0)]);
}

#[test]
fn a_second_wait_and_half_a_mask_are_bad_arguments() {
    let mut bench = Bench::new();
    bench.ask(1, 0, u64::MAX, &[1, 2, 3]);
    bench.ask(1, 0, 50, &[]);
    bench.ask(1, 0, 60, &[]);
    assert_eq!(bench.done_at(0), [(3, 0, 0), (3, 0, 0)]);
    assert_eq!(bench.device.in_flight(0), 1);
    assert_eq!(bench.done_at(50), [(0, 1 << 31, 0)]);
}

#[test]
fn requests_are_answered_in_order() {
    let all_ones = u32::MAX;
    let mut bench = Bench::new();
    bench.driver.now = Nanos::from_secs(3);
    let table: &[(u32, u32, u64, Answer)] = &[
        (6, 0, 0, (0, 0, 503)),       // CLOCK
        (5, 2, 2, (0, all_ones, 0)),  // LOCK query
        (5, 2, 0, (0, 0, 1)),         // acquire
        (5, 2, 1, (0, all_ones, 1)),  // release
        (5, 2, 1, (2, all_ones, 1)),  // release again
        (5, 16, 0, (3, all_ones, 0)), // no such lock
        (5, 2, 4, (3, 0, 0)),         // no such action
        (7, 1, 1, (0, 0b111, 0)),     // HOLD
        (7, 1, 2, (0, 0b111, 0)),     // query
        (7, 1, 0, (0, 0b011, 0)),     // release
        (7, 0, 1, (2, 0, 0)),         // itself
        (7, 2, 2, (3, 0, 0)),         // no such slot
        (7, 1, 3, (3, 0, 0)),         // no such action
        (0, 0, 0, (1, 0, 0)),         // no such operation
        (8, 0, 0, (1, 0, 0)),
        (3, 2, 0, (3, 0, 0)), // RESET of no known kind
    ];
    for (op, arg, value, _) in table {
        bench.ask(*op, *arg, *value, &[]);
    }
    bench.service();
    let expected: Vec<_> = table.iter().map(|row| row.3).collect();
    assert_eq!(bench.answers(), expected);
    let commands = [MidplaneCommand::Hold(1), MidplaneCommand::Release(1)];
    assert_eq!(bench.midplane.take_commands(), commands);
    assert_eq!(bench.board.take_reset_request(), None);
}

#[test]
fn a_lock_of_another_slot_is_refused_and_taken() {
    let mut bench = Bench::new();
    bench
        .midplane
        .lock(1, 9, crate::midplane::LockAction::Acquire);
    bench.ask(5, 9, 0, &[]);
    bench.ask(5, 9, 3, &[]);
    assert_eq!(bench.done_at(0), [(2, 1, 1), (0, 0, 2)]);
    assert_eq!(bench.midplane.take_commands(), [MidplaneCommand::Fence(1)]);
}

/// One TRACE of `length` bytes of `payload`: the status, and the text of the event.
fn check_trace(length: u32, payload: &[u8], expected: Result<&str, &str>) {
    let mut bench = Bench::new();
    bench.ask(2, length, 0, payload);
    let status = bench.done_at(0)[0].0;
    let events = bench.driver.take_events();
    match expected {
        Ok(text) => {
            assert_eq!(status, 0);
            assert_eq!(events, [DeviceEvent::Trace(text.to_owned())]);
        }
        Err(words) => {
            assert_eq!(status, 3);
            let said = format!("{events:?}");
            assert!(
                said.contains("DriverFault") && said.contains(words),
                "{said}"
            );
        }
    }
}

#[test]
fn a_trace_is_printable_and_short() {
    check_trace(22, b"l2-started version=1.0", Ok("l2-started version=1.0"));
    check_trace(10, b"l2-started version=1.0", Ok("l2-started"));
    check_trace(200, &[b'~'; 200], Ok(&"~".repeat(200)));
    check_trace(201, &[b'~'; 201], Err("200"));
    check_trace(u32::MAX, b"x", Err("200"));
    check_trace(5, b"four", Err("longer than its payload"));
    check_trace(3, b"a\nb", Err("printable"));
    check_trace(2, b"\xc3\xa9", Err("printable"));
    check_trace(0, b"", Err("event name"));
    check_trace(2, b" a", Err("event name"));
}

#[test]
fn a_short_header_is_told_if_there_is_room() {
    let mut bench = Bench::new();
    bench.driver.add(0, &[&[6; 15]], &[24]);
    bench.driver.add(0, &[&[6; 15]], &[]);
    bench.driver.add(0, &[&header(6, 0, 0)], &[2, 3]);
    bench.service();
    let used = bench.driver.used(0);
    let lengths: Vec<_> = used.iter().map(|used| used.written).collect();
    assert_eq!(lengths, [24, 0, 5]);
    assert_eq!(used[0].bytes[..4], [3, 0, 0, 0]);
    assert!(!bench.driver.needs_reset);
}

#[test]
fn a_reset_is_never_answered_and_ends_the_batch() {
    for (arg, kind) in [(0, ResetKind::Cold), (1, ResetKind::Warm)] {
        let mut bench = Bench::new();
        bench.ask(6, 0, 0, &[]);
        bench.ask(3, arg, 0, &[]);
        bench.ask(6, 0, 0, &[]);
        assert_eq!(bench.done_at(0).len(), 1);
        assert_eq!(bench.done_at(1).len(), 0);
        assert_eq!(bench.device.in_flight(0), 1);
        assert_eq!(bench.board.take_reset_request(), Some(kind));
        assert_eq!(bench.board.take_reset_request(), None);
    }
}

#[test]
fn the_watchdog_bites_unless_renewed_or_disarmed() {
    let mut bench = Bench::new();
    bench.ask(4, 0, 100, &[]);
    assert_eq!(bench.done_at(10), [(0, 0, 0)]);
    assert_eq!(bench.board.deadline(), Some(Nanos(110)));
    bench.ask(4, 0, 100, &[]);
    bench.done_at(109);
    assert_eq!(bench.done_at(110), []);
    assert_eq!(bench.board.take_reset_request(), None);
    // One boot level arms it for the next.
    let mut core = BoardControlCore {
        board: &mut bench.board,
        midplane: &mut bench.midplane,
    };
    bench.device.reset(&mut core);
    bench.done_at(209);
    assert_eq!(bench.board.take_reset_request(), Some(ResetKind::Watchdog));
    let told = DeviceEvent::Notice("watchdog-fired".to_owned());
    assert_eq!(bench.driver.take_events(), [told]);
    bench.ask(4, 0, 100, &[]);
    bench.ask(4, 0, 0, &[]);
    bench.done_at(300);
    assert_eq!(bench.board.watchdog_deadline(), None);
}

#[test]
fn a_device_reset_forgets_the_wait_and_a_board_reset_everything() {
    let mut bench = Bench::new();
    bench.ask(1, 0b10, 50, &[]);
    bench.service();
    bench.board.serviced(1, Nanos(5), true, 0);
    let mut core = BoardControlCore {
        board: &mut bench.board,
        midplane: &mut bench.midplane,
    };
    bench.device.reset(&mut core);
    assert_eq!(bench.device.in_flight(0), 0);
    assert_eq!(bench.board.deadline(), None);
    bench.ask(1, 0b10, u64::MAX, &[]);
    bench.ask(4, 0, 100, &[]);
    assert_eq!(bench.done_at(60), [(0, 0, 0)]);
    bench.board.board_reset(ResetReason::Crash, Nanos(70), 500);
    assert!(!bench.board.waiting());
    assert_eq!(bench.board.deadline(), None);
}

#[test]
fn a_stored_board_goes_on_as_the_original() {
    let mut bench = Bench::new();
    bench.ask(4, 0, 100, &[]);
    bench.ask(1, 0b10, 50, &[]);
    bench.service();
    let stored = (&bench.board, &bench.midplane, &bench.device);
    let bytes = postcard::to_stdvec(&stored).unwrap();
    let loaded: (BoardControl, Midplane, BoardControlVirtio) =
        postcard::from_bytes(&bytes).unwrap();
    assert_eq!((&loaded.0, &loaded.1, &loaded.2), stored);
    (bench.board, bench.midplane, bench.device) = loaded;
    bench.answers();
    assert_eq!(bench.done_at(50), [(0, 1 << 31, 0)]);
}

fn plans() -> impl Strategy<Value = Hostile> {
    let request = (0_u32..9, 0_u32..20, 0_u64..5, any::<[u8; 16]>());
    let requests = proptest::collection::vec(request, 64).prop_map(|requests| {
        let bytes = requests.into_iter().map(|(op, arg, value, payload)| {
            let mut bytes = header(op, arg, value);
            bytes.extend(payload);
            bytes
        });
        bytes.collect::<Vec<_>>().concat()
    });
    hostile(1, requests)
}

proptest! {
    #[test]
    fn a_hostile_driver_gets_nowhere(plan in plans()) {
        let mut bench = Bench::new();
        let mut core = BoardControlCore {
            board: &mut bench.board,
            midplane: &mut bench.midplane,
        };
        check_hostile(&mut bench.device, &mut core, &plan);
    }
}
