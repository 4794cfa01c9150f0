//! Board control (board manual §5). No driver but firmware's knows it; the queue is the crate's.

use devices::event::DeviceEvent;
use devices::midplane::LockAction;
use devices::virtio::F_VERSION_1;
use virtio_drivers::queue::VirtQueue;

use super::arena::Memory;
use super::contract::{Contract, Request};
use super::hardware::{CALENDAR, CONTROL, identity};
use super::host::{Host, Port};

const WAIT: u32 = 1;
const TRACE: u32 = 2;
const WATCHDOG: u32 = 4;
const LOCK: u32 = 5;
const CLOCK: u32 = 6;
const HOLD: u32 = 7;
const NEVER: u64 = u64::MAX;

fn header(op: u32, arg: u32, value: u64) -> Vec<u8> {
    let mut header = [op.to_le_bytes(), arg.to_le_bytes()].concat();
    header.extend(value.to_le_bytes());
    header
}

pub(super) fn contract() -> Contract {
    let it = identity();
    let mut config = Vec::new();
    for word in [1, it.slot, it.slots, it.ram_mib] {
        config.extend(word.to_le_bytes());
    }
    let mut serial = it.serial.clone().into_bytes();
    serial.resize(16, 0);
    config.extend(serial);
    for word in [2, it.boots, it.straps, 2] {
        config.extend(word.to_le_bytes());
    }
    config.extend(it.reset_time.0.to_le_bytes());
    config.extend(it.reset_calendar.to_le_bytes());
    config.extend(it.signing_key);
    for bank in &it.banks {
        config.extend([bank.level, bank.bank, bank.chip, 0]);
        for word in [bank.offset, bank.size, 0] {
            config.extend(word.to_le_bytes());
        }
    }
    let mut answer = vec![0; 8];
    answer.extend(CALENDAR.to_le_bytes());
    Contract {
        unit: CONTROL,
        id: 38,
        features: F_VERSION_1,
        queues: &[64],
        config,
        request: Request {
            queue: 0,
            readable: header(CLOCK, 0, 0),
            writable: 24,
            written: 24,
            answer,
        },
    }
}

#[derive(Debug, PartialEq)]
struct Answer {
    status: u32,
    arg: u32,
    value: u64,
    now_ns: u64,
}

fn answer(bytes: &[u8]) -> Answer {
    let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
    let long = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    Answer {
        status: word(0),
        arg: word(4),
        value: long(8),
        now_ns: long(16),
    }
}

struct Driver<H: Host> {
    port: Port<H>,
    queue: VirtQueue<Memory, 16>,
}

impl<H: Host> Driver<H> {
    fn new() -> Driver<H> {
        let mut port = Port::of(CONTROL);
        assert!(port.negotiate(F_VERSION_1));
        let queue = VirtQueue::new(&mut port, 0, false, false).unwrap();
        port.go();
        Driver { port, queue }
    }

    fn ask(&mut self, op: u32, arg: u32, value: u64, payload: &[u8]) -> Answer {
        let header = header(op, arg, value);
        let readable: [&[u8]; 2] = [&header, payload];
        let readable = match payload {
            [] => &readable[..1],
            _ => &readable[..],
        };
        let mut bytes = [0; 24];
        let outcome = self
            .queue
            .add_notify_wait_pop(readable, &mut [&mut bytes], &mut self.port);
        assert_eq!(outcome.unwrap(), 24);
        answer(&bytes)
    }

    fn status(&mut self, op: u32, arg: u32, value: u64, payload: &[u8]) -> u32 {
        self.ask(op, arg, value, payload).status
    }
}

pub(super) fn tells_the_time<H: Host>() {
    let mut driver = Driver::<H>::new();
    let clock = driver.ask(CLOCK, 0, 0, &[]);
    assert_eq!((clock.status, clock.value), (0, CALENDAR));
    // A WAIT for a moment that comes, and one for a moment that has gone.
    let waited = driver.ask(WAIT, 0, clock.now_ns + 5_000_000_000, &[]);
    assert_eq!((waited.status, waited.arg), (0, 1 << 31));
    assert_eq!(waited.now_ns, clock.now_ns + 5_000_000_000);
    let late = driver.ask(WAIT, 0, 1, &[]);
    assert_eq!((late.arg, late.now_ns), (1 << 31, waited.now_ns));
    let clock = driver.ask(CLOCK, 0, 0, &[]);
    assert_eq!(clock.value, CALENDAR + 5);
}

pub(super) fn traces_what_is_printable<H: Host>() {
    let mut driver = Driver::<H>::new();
    let text = b"level-entered level=2";
    assert_eq!(driver.status(TRACE, 21, 0, text), 0);
    for bad in [&b" begins with a space"[..], b"a\nb", b"\xff"] {
        let length = u32::try_from(bad.len()).unwrap();
        assert_eq!(driver.status(TRACE, length, 0, bad), 3);
    }
    assert_eq!(driver.status(TRACE, 0, 0, text), 3);
    assert_eq!(driver.status(TRACE, 22, 0, text), 3);
    assert_eq!(driver.status(TRACE, 201, 0, &[b'x'; 201]), 3);
    assert_eq!(driver.status(TRACE, 200, 0, &[b'x'; 200]), 0);
    let events = driver.port.host.operate(|it| it.events.clone());
    let traces = events.iter().filter_map(|event| match event {
        DeviceEvent::Trace(text) => Some(text.as_str()),
        _ => None,
    });
    let wanted = ["level-entered level=2", &"x".repeat(200)];
    assert_eq!(traces.collect::<Vec<_>>(), wanted);
}

pub(super) fn locks_as_the_manual_says<H: Host>() {
    let mut driver = Driver::<H>::new();
    // (action, status, owner, epoch): this is slot 1.
    let table = [
        (2, 0, u32::MAX, 0),
        (1, 2, u32::MAX, 0),
        (0, 0, 1, 1),
        (0, 0, 1, 1),
        (1, 0, u32::MAX, 1),
        (3, 0, 1, 2),
        (9, 3, 0, 0),
    ];
    for (action, status, owner, epoch) in table {
        let it = driver.ask(LOCK, 4, action, &[]);
        let found = (it.status, it.arg, it.value);
        assert_eq!(found, (status, owner, epoch), "action {action}");
    }
    assert_eq!(driver.status(LOCK, 16, 0, &[]), 3);
    let owner = driver.port.host.operate(|it| it.midplane.lock_owner(4));
    assert_eq!(owner, Some(1));
    // Another slot has it: acquire and release are refused, take fences that slot.
    let host = &driver.port.host;
    host.operate(|it| it.midplane.lock(0, 5, LockAction::Acquire));
    for (action, status, owner, epoch) in [(0, 2, 0, 1), (1, 2, 0, 1), (3, 0, 1, 2)] {
        let it = driver.ask(LOCK, 5, action, &[]);
        let found = (it.status, it.arg, it.value);
        assert_eq!(found, (status, owner, epoch), "action {action}");
    }
    assert!(driver.port.host.operate(|it| it.midplane.fenced(0)));
}

pub(super) fn refuses_what_it_does_not_know<H: Host>() {
    let mut driver = Driver::<H>::new();
    for op in [0, 8, u32::MAX] {
        assert_eq!(driver.status(op, 0, 0, &[]), 1);
    }
    assert_eq!(driver.status(HOLD, 7, 2, &[]), 3);
    assert_eq!(driver.status(HOLD, 1, 1, &[]), 2, "itself");
    assert_eq!(driver.ask(HOLD, 0, 2, &[]).arg, 0b011);
    assert_eq!(driver.status(WATCHDOG, 0, 0, &[]), 0);
    let mut bytes = [0; 24];
    let cut_short =
        driver
            .queue
            .add_notify_wait_pop(&[&[6, 0, 0, 0]], &mut [&mut bytes], &mut driver.port);
    assert_eq!((cut_short.unwrap(), answer(&bytes).status), (24, 3));
}

/// A WAIT that nothing ends is pending until the device is reset, and is the only one.
pub(super) fn forgets_a_wait_when_reset<H: Host>() {
    let port = Port::<H>::of(CONTROL);
    let contract = contract();
    let mut ring = port.drive(&contract).remove(0);
    for n in 0..2 {
        let head = ring.put(n, &header(WAIT, 0, NEVER), 24);
        ring.offer(head);
    }
    port.notify_only(0);
    port.host.settle();
    assert_eq!(ring.used(), [(2, 24)], "the second is refused");
    assert_eq!(answer(&ring.answer(1, 24)).status, 3);
    port.host.set_status(port.unit, 0);
    port.assert_works(&contract);
    assert_eq!(ring.used(), [], "the first is forgotten");
    // It does not count any more.
    let mut ring = port.drive(&contract).remove(0);
    let head = ring.put(0, &header(WAIT, 0, 1), 24);
    ring.offer(head);
    port.finish(0, &ring);
    assert_eq!(answer(&ring.answer(0, 24)).status, 0);
}
