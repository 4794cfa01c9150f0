//! Two CAN controllers on a bus, and a node that cases hear and send with (board manual §10, virtio 1.4 §5.22). Requests
//! go through the crate's queue; it has no driver for the device.

use devices::can::{BitRates, Confinement, Fault, FaultId, Frame, Identifier};
use devices::time::Nanos;
use devices::virtio::F_VERSION_1;
use virtio_drivers::queue::VirtQueue;

use super::arena::Memory;
use super::contract::{Contract, Request};
use super::hardware::{CAN, CAN_PARTNER, WATCHER};
use super::host::{Host, Pace, Port};
use super::ring::{REQUESTS, Ring};

const CLASSIC: u64 = 1 << 0;
const FD: u64 = 1 << 1;
const RTR: u64 = 1 << 2;
const LATE: u64 = 1 << 3;
const ALL: u64 = CLASSIC | FD | RTR | LATE;

const TX: u16 = 0x0001;
const RX: u16 = 0x0101;
const START: u16 = 0x0201;
const STOP: u16 = 0x0202;

const FLAG_RTR: u32 = 0x2000;
const FLAG_FD: u32 = 0x4000;
const FLAG_EXTENDED: u32 = 0x8000;

const OK: u8 = 0;
const NOT_OK: u8 = 1;
const BUS_OFF: [u8; 2] = [1, 0];

const TRANSMIT: u16 = 0;
const RECEIVE: u16 = 1;
const CONTROL: u16 = 2;

/// Room for any frame.
const LARGEST: u32 = 16 + 64;

/// `struct virtio_can_tx`, and likewise `struct virtio_can_rx`.
fn message(kind: u16, flags: u32, id: u32, length: u16, data: &[u8]) -> Vec<u8> {
    let mut message = [kind.to_le_bytes(), length.to_le_bytes()].concat();
    message.extend([0; 4]);
    message.extend([flags.to_le_bytes(), id.to_le_bytes()].concat());
    message.extend(data);
    message
}

/// A classic frame of the base format.
fn short(id: u32, data: &[u8]) -> Vec<u8> {
    message(TX, 0, id, u16::try_from(data.len()).unwrap(), data)
}

/// The controller is stopped, and refuses to send.
pub(super) fn contract() -> Contract {
    contract_of(CAN, ALL)
}

fn contract_of(unit: usize, features: u64) -> Contract {
    Contract {
        unit,
        id: 36,
        features: F_VERSION_1 | features,
        queues: &[64, 64, 64],
        config: vec![0, 0],
        request: Request {
            queue: TRANSMIT,
            readable: short(0x123, &[1, 2, 3, 4, 5, 6, 7, 8]),
            writable: 1,
            written: 1,
            answer: vec![NOT_OK],
        },
    }
}

/// A driver that waits for each answer.
struct Driver<H: Host> {
    port: Port<H>,
    transmit: VirtQueue<Memory, 64>,
    receive: Ring,
    control: VirtQueue<Memory, 16>,
    posted: u16,
}

impl<H: Host> Driver<H> {
    fn new(mut port: Port<H>, features: u64) -> Driver<H> {
        assert!(port.negotiate(F_VERSION_1 | features));
        let transmit = VirtQueue::new(&mut port, TRANSMIT, false, false).unwrap();
        let receive = port.ring(RECEIVE, 64);
        let control = VirtQueue::new(&mut port, CONTROL, false, false).unwrap();
        port.go();
        Driver {
            port,
            transmit,
            receive,
            control,
            posted: 0,
        }
    }

    /// One that started its controller.
    fn started(features: u64) -> Driver<H> {
        let mut driver = Driver::new(Port::of(CAN), features);
        assert_eq!(driver.mode(START), OK);
        driver
    }

    fn mode(&mut self, mode: u16) -> u8 {
        self.control(&mode.to_le_bytes())
    }

    fn control(&mut self, request: &[u8]) -> u8 {
        ask(&mut self.control, &mut self.port, request)
    }

    fn send(&mut self, message: &[u8]) -> u8 {
        ask(&mut self.transmit, &mut self.port, message)
    }

    /// Posts a buffer of `room` bytes.
    fn post(&mut self, room: u32) {
        let head = self.receive.put(self.posted % REQUESTS, &[], room);
        self.posted += 1;
        self.receive.offer(head);
        self.port.notify_only(RECEIVE);
    }

    /// Messages that came.
    fn heard(&mut self) -> Vec<Vec<u8>> {
        self.port.host.settle();
        let used = self.receive.used();
        let message = |(head, length): (u32, u32)| {
            let n = u16::try_from(head / 2).unwrap();
            self.receive.answer(n, usize::try_from(length).unwrap())
        };
        used.into_iter().map(message).collect()
    }

    fn status(&self) -> Vec<u8> {
        self.port.host.config(self.port.unit, 0, 2)
    }
}

fn ask<H: Host, const SIZE: usize>(
    queue: &mut VirtQueue<Memory, SIZE>,
    port: &mut Port<H>,
    request: &[u8],
) -> u8 {
    let mut result = [0xee];
    let written = queue.add_notify_wait_pop(&[request], &mut [&mut result], port);
    assert_eq!(written, Ok(1));
    result[0]
}

/// What the watcher has heard, as candump writes it.
fn watched<H: Host>(port: &Port<H>) -> Vec<String> {
    port.host.operate(|it| {
        let received = std::iter::from_fn(|| it.wire.receive(WATCHER));
        received.map(|it| it.frame.to_string()).collect()
    })
}

/// The watcher sends.
fn say<H: Host>(port: &Port<H>, frame: Frame) {
    port.host.operate(move |it| {
        it.wire.take_completion(WATCHER);
        let now = it.wire.now();
        it.wire.send(now, WATCHER, frame).unwrap();
    });
    port.host.settle();
}

fn data(id: u16, data: &[u8]) -> Frame {
    Frame::data(Identifier::Standard(id), data).unwrap()
}

/// The controller gets bit rates that nobody understands.
fn spoil<H: Host>(port: &Port<H>) -> FaultId {
    port.host.operate(|it| {
        let slow = BitRates {
            nominal: 10_000,
            data: 10_000,
        };
        it.wire.inject(it.wire.now(), Fault::BitRate(0, slow))
    })
}

pub(super) fn starts_and_stops<H: Host>() {
    let mut driver = Driver::<H>::new(Port::of(CAN), ALL);
    let hello = short(0x12, b"hi");
    assert_eq!(driver.send(&hello), NOT_OK, "stopped after a reset");
    for _ in 0..2 {
        // Twice is no mistake.
        assert_eq!([driver.mode(START), driver.mode(START)], [OK, OK]);
        assert_eq!(driver.send(&hello), OK);
        assert_eq!(watched(&driver.port), ["012#6869"]);
        assert_eq!([driver.mode(STOP), driver.mode(STOP)], [OK, OK]);
        assert_eq!(driver.send(&hello), NOT_OK);
    }
    // Neither a mode, nor any other message, nor half of one.
    for request in [&[0, 2][..], &[3, 2], &[1, 0], &[1, 1], &[1]] {
        assert_eq!(driver.control(request), NOT_OK, "{request:?}");
    }
    assert_eq!(driver.mode(START), OK);
    // More than the message type is no mistake either.
    assert_eq!(driver.control(&[2, 2, 9, 9, 9]), OK);
    assert_eq!(driver.send(&hello), NOT_OK);
    assert_eq!(driver.status(), [0, 0]);
    assert_eq!(watched(&driver.port), [""; 0]);
}

pub(super) fn exchanges_every_kind_of_frame<H: Host>() {
    let bytes: Vec<u8> = (1..=64).collect();
    // Flags, identifier, length as sent, as received.
    let mut table = vec![
        (FLAG_RTR, 0x7ff, 8, 8),
        (FLAG_RTR | FLAG_EXTENDED, 0, 0, 0),
        (FLAG_EXTENDED, 0x1fff_ffff, 8, 8),
        (FLAG_EXTENDED, 0x12, 1, 1),
        (FLAG_FD | FLAG_EXTENDED, 0x1234_5678, 64, 64),
        // No DLC says 9 or 33 bytes.
        (FLAG_FD, 0x321, 9, 12),
        (FLAG_FD, 0x321, 33, 48),
    ];
    table.extend((0..=8).map(|length| (0, 0x700, length, length)));
    let fd = [0, 8, 12, 16, 20, 24, 32, 48, 64];
    table.extend(fd.map(|length| (FLAG_FD, 0, length, length)));
    let ports = Port::<H>::all(&[CAN, CAN_PARTNER], Pace::Leap);
    let mut drivers = [0, 1].map(|n| Driver::new(ports[n].clone(), ALL));
    for driver in &mut drivers {
        assert_eq!(driver.mode(START), OK);
    }
    for (flags, id, sent, received) in table {
        let [sender, receiver] = &mut drivers;
        let mut payload = bytes[..usize::from(sent)].to_vec();
        if flags & FLAG_RTR != 0 {
            payload.fill(0);
        }
        receiver.post(LARGEST);
        assert_eq!(sender.send(&message(TX, flags, id, sent, &payload)), OK);
        payload.resize(usize::from(received), 0);
        let wanted = message(RX, flags, id, received, &payload);
        assert_eq!(receiver.heard(), [wanted], "{flags:#x} {id:#x} {sent}");
        assert_eq!(sender.heard().len(), 0, "its own");
        drivers.reverse();
    }
}

pub(super) fn refuses_messages_that_are_no_frames<H: Host>() {
    let port = Port::<H>::of(CAN);
    let whole = |flags, id, length| message(TX, flags, id, length, &[7; 80]);
    let cut = |flags, length, there: usize| {
        let mut message = whole(flags, 1, length);
        message.truncate(16 + there);
        message
    };
    let table = [
        message(RX, 0, 1, 1, &[7]),
        message(0, 0, 1, 1, &[7]),
        whole(1, 1, 1),
        whole(0x1000, 1, 1),
        whole(1 << 31, 1, 1),
        whole(0, 0x800, 1),
        whole(0, 1 << 31, 1),
        whole(FLAG_EXTENDED, 0x2000_0000, 1),
        whole(FLAG_EXTENDED, 1 << 31, 1),
        whole(0, 1, 9),
        whole(FLAG_RTR, 1, 9),
        whole(FLAG_FD, 1, 65),
        whole(FLAG_FD, 1, 0xffff),
        whole(FLAG_FD | FLAG_RTR, 1, 1),
        cut(0, 8, 7),
        cut(FLAG_FD, 64, 63),
        whole(0, 1, 1)[..15].to_vec(),
        vec![1],
    ];
    // Of a kind that was not negotiated.
    let others = [
        (FD, vec![whole(0, 1, 1), whole(FLAG_RTR, 1, 1)]),
        (CLASSIC, vec![whole(FLAG_FD, 1, 1), whole(FLAG_RTR, 1, 1)]),
        (CLASSIC | RTR, vec![whole(FLAG_FD, 1, 1)]),
        (FD | RTR, vec![whole(FLAG_RTR, 1, 1)]),
    ];
    for (features, messages) in [(ALL, table.to_vec())].into_iter().chain(others) {
        let mut driver = Driver::new(port.clone(), features);
        assert_eq!(driver.mode(START), OK);
        for message in messages {
            assert_eq!(driver.send(&message), NOT_OK, "{features} {message:?}");
        }
        let good = if features & CLASSIC == 0 { FLAG_FD } else { 0 };
        assert_eq!(driver.send(&message(TX, good, 0x7ff, 1, &[7])), OK);
        assert_eq!(driver.status(), [0, 0]);
        assert_eq!(watched(&port).len(), 1, "the good one");
    }
}

pub(super) fn hears_only_what_was_negotiated<H: Host>() {
    let port = Port::<H>::of(CAN);
    let id = Identifier::Standard(1);
    let frames = [
        Frame::data(id, &[0xda]).unwrap(),
        Frame::remote(id, 1).unwrap(),
        Frame::fd(id, true, &[0xfd]).unwrap(),
        Frame::fd(id, false, &[0xfe]).unwrap(),
    ];
    let flags = [0, FLAG_RTR, FLAG_FD, FLAG_FD];
    let bytes = [0xda, 0, 0xfd, 0xfe];
    for (features, wanted) in [
        (0, &[][..]),
        (CLASSIC, &[0]),
        (CLASSIC | RTR, &[0, 1]),
        (FD, &[2, 3]),
        (FD | RTR, &[2, 3]),
        (ALL, &[0, 1, 2, 3]),
    ] {
        let mut driver = Driver::new(port.clone(), features);
        assert_eq!(driver.mode(START), OK);
        port.host.settle();
        (0..4).for_each(|_| driver.post(LARGEST));
        for frame in frames {
            say(&port, frame);
        }
        let message = |n: &usize| message(RX, flags[*n], 1, 1, &[bytes[*n]]);
        let wanted: Vec<Vec<u8>> = wanted.iter().map(message).collect();
        assert_eq!(driver.heard(), wanted, "{features}");
    }
}

/// Raw rings before a controller that takes part, on a bus whose frames take a minute.
fn slowly<H: Host>(features: u64) -> (Port<H>, Vec<Ring>) {
    let port = Port::<H>::all(&[CAN], Pace::Held).remove(0);
    let rings = begin(&port, features);
    (port, rings)
}

fn begin<H: Host>(port: &Port<H>, features: u64) -> Vec<Ring> {
    let mut rings = port.drive(&contract_of(CAN, features));
    assert_eq!(mode(port, &mut rings, START), OK);
    port.host.pass(A_WHILE);
    rings
}

/// Long enough for whatever is said of a few frames.
const A_WHILE: Nanos = Nanos::from_secs(1000);

fn mode<H: Host>(port: &Port<H>, rings: &mut [Ring], mode: u16) -> u8 {
    let ring = &mut rings[usize::from(CONTROL)];
    let head = ring.put(0, &mode.to_le_bytes(), 1);
    ring.offer(head);
    port.finish(CONTROL, ring);
    assert_eq!(ring.used(), [(0, 1)]);
    ring.answer(0, 1)[0]
}

/// Asks for frames with these identifiers, and waits for nothing.
fn offer<H: Host>(port: &Port<H>, ring: &mut Ring, ids: std::ops::Range<u16>) {
    for n in ids {
        let head = ring.put(n, &short(n.into(), &[]), 1);
        ring.offer(head);
    }
    port.notify_only(TRANSMIT);
    port.host.settle();
}

/// Requests that were answered, and how.
fn answered(ring: &mut Ring) -> Vec<(u32, u8)> {
    let used = ring.used();
    let answer = |(head, written): (u32, u32)| {
        assert_eq!(written, 1);
        let n = head / 2;
        (n, ring.answer(u16::try_from(n).unwrap(), 1)[0])
    };
    used.into_iter().map(answer).collect()
}

pub(super) fn tells_when_a_frame_was_acknowledged<H: Host>() {
    let (port, mut rings) = slowly::<H>(ALL);
    let ring = &mut rings[usize::from(TRANSMIT)];
    offer(&port, ring, 0..2);
    assert_eq!(answered(ring), [], "under way");
    port.host.pass(A_WHILE);
    assert_eq!(answered(ring), [(0, OK), (1, OK)]);
    assert_eq!(watched(&port), ["000#", "001#"]);
}

pub(super) fn tells_when_a_frame_is_scheduled<H: Host>() {
    let (port, mut rings) = slowly::<H>(CLASSIC);
    let ring = &mut rings[usize::from(TRANSMIT)];
    offer(&port, ring, 0..2);
    assert_eq!(answered(ring), [(0, OK), (1, OK)]);
    assert_eq!(watched(&port), [""; 0], "under way");
    port.host.pass(A_WHILE);
    assert_eq!(watched(&port), ["000#", "001#"]);
    assert_eq!(answered(ring), [], "once");
}

pub(super) fn answers_what_it_has_when_stopped<H: Host>() {
    let (port, mut rings) = slowly::<H>(ALL);
    offer(&port, &mut rings[usize::from(TRANSMIT)], 0..3);
    assert_eq!(mode(&port, &mut rings, STOP), OK);
    let ring = &mut rings[usize::from(TRANSMIT)];
    assert_eq!(answered(ring), [(0, NOT_OK), (1, NOT_OK), (2, NOT_OK)]);
    port.host.pass(A_WHILE);
    assert_eq!(watched(&port), [""; 0], "cut off");
    assert_eq!(port.host.config(CAN, 0, 2), [0, 0], "as it was told to");
    // What was cut off is not sent later.
    assert_eq!(mode(&port, &mut rings, START), OK);
    offer(&port, &mut rings[usize::from(TRANSMIT)], 5..6);
    port.host.pass(A_WHILE);
    assert_eq!(watched(&port), ["005#"]);
}

pub(super) fn tells_of_bus_off<H: Host>() {
    let port = Port::<H>::of(CAN);
    let mut rings = port.drive(&contract());
    assert_eq!(mode(&port, &mut rings, START), OK);
    port.host.settle();
    spoil(&port);
    let generation = port.host.generation(CAN);
    let ring = &mut rings[usize::from(TRANSMIT)];
    offer(&port, ring, 0..5);
    port.finish(TRANSMIT, ring);
    let refused = (0..5).map(|n| (n, NOT_OK));
    assert_eq!(answered(ring), refused.collect::<Vec<_>>());
    assert_eq!(port.host.config(CAN, 0, 2), BUS_OFF);
    let told = port.host.generation(CAN);
    assert_ne!(told, generation);
    // From then on it is stopped.
    offer(&port, ring, 5..6);
    assert_eq!(answered(ring), [(5, NOT_OK)]);
    assert_eq!(port.host.config(CAN, 0, 2), BUS_OFF);
    assert_eq!(port.host.generation(CAN), told);
    // A reset clears the status, and so does STOP.
    port.assert_works(&contract());
    assert_eq!(port.host.config(CAN, 0, 2), [0, 0]);
    assert_eq!(watched(&port), [""; 0]);
}

pub(super) fn comes_back_from_bus_off<H: Host>() {
    let mut driver = Driver::<H>::started(ALL);
    let hello = short(0x12, b"hi");
    for cleared_by in [START, STOP] {
        driver.port.host.settle();
        let fault = spoil(&driver.port);
        assert_eq!(driver.send(&hello), NOT_OK);
        assert_eq!(driver.status(), BUS_OFF);
        let generation = driver.port.host.generation(CAN);
        let operate = &driver.port.host;
        operate.operate(move |it| it.wire.clear(it.wire.now(), fault));
        assert_eq!(driver.send(&hello), NOT_OK, "it does not start itself");
        assert_eq!(driver.mode(cleared_by), OK);
        assert_eq!(driver.status(), [0, 0]);
        assert_ne!(driver.port.host.generation(CAN), generation);
        assert_eq!(driver.mode(START), OK);
        assert_eq!(driver.send(&hello), OK);
        assert_eq!(watched(&driver.port), ["012#6869"]);
        let errors = driver.port.host.operate(|it| it.wire.errors(0));
        assert_eq!(errors.transmit_errors(), 0);
    }
}

pub(super) fn goes_passive_when_nobody_acknowledges<H: Host>() {
    let (port, mut rings) = slowly::<H>(ALL);
    let generation = port.host.generation(CAN);
    port.host.operate(|it| it.wire.stop(it.wire.now(), WATCHER));
    let ring = &mut rings[usize::from(TRANSMIT)];
    offer(&port, ring, 0..1);
    (0..20).for_each(|_| port.host.pass(A_WHILE));
    let errors = port.host.operate(|it| it.wire.errors(0));
    assert_eq!(errors.confinement(), Confinement::ErrorPassive);
    assert_eq!(port.host.config(CAN, 0, 2), [0, 0], "not bus-off");
    assert_eq!(port.host.generation(CAN), generation);
    assert_eq!(answered(ring), []);
    // As soon as somebody is there it arrives.
    port.host
        .operate(|it| it.wire.start(it.wire.now(), WATCHER));
    port.host.pass(A_WHILE);
    assert_eq!(answered(ring), [(0, OK)]);
    assert_eq!(watched(&port), ["000#"]);
}

/// A controller has room for 64 frames; what is more waits on the ring.
pub(super) fn sends_more_than_it_can_schedule<H: Host>() {
    let (port, mut rings) = slowly::<H>(CLASSIC);
    let ring = &mut rings[usize::from(TRANSMIT)];
    let batch: Vec<_> = (0..u32::from(REQUESTS)).map(|n| (n, OK)).collect();
    for _ in 0..2 {
        offer(&port, ring, 0..REQUESTS);
        assert_eq!(answered(ring), batch);
    }
    offer(&port, ring, 0..REQUESTS);
    assert_eq!(answered(ring), []);
    let mut heard = Vec::new();
    for _ in 0..10 {
        port.host.pass(A_WHILE);
        heard.extend(watched(&port));
    }
    assert_eq!(answered(ring), batch);
    let ids = (0..3).flat_map(|_| 0..REQUESTS);
    let wanted: Vec<String> = ids.map(|id| format!("{id:03X}#")).collect();
    assert_eq!(heard, wanted);
}

pub(super) fn keeps_frames_for_later<H: Host>() {
    let mut driver = Driver::<H>::started(ALL);
    driver.port.host.settle();
    // It has room for 64.
    for n in 0..70 {
        say(&driver.port, data(n, &[]));
    }
    let mut heard = Vec::new();
    for _ in 0..3 {
        (0..REQUESTS).for_each(|_| driver.post(16));
        heard.extend(driver.heard());
    }
    let wanted = (0..64).map(|id| message(RX, 0, id, 0, &[]));
    assert_eq!(heard, wanted.collect::<Vec<_>>());
    let overrun = driver.port.host.operate(|it| it.wire.counters(0).overrun);
    assert_eq!(overrun, 6);
    // There is room again, and buffers are there already.
    say(&driver.port, data(99, &[]));
    assert_eq!(driver.heard(), [message(RX, 0, 99, 0, &[])]);
}

pub(super) fn keeps_a_buffer_that_is_too_small<H: Host>() {
    let mut driver = Driver::<H>::started(ALL);
    driver.port.host.settle();
    driver.post(20);
    say(&driver.port, data(1, &[1; 5]));
    assert_eq!(driver.heard().len(), 0, "lost");
    driver.post(LARGEST);
    say(&driver.port, data(2, &[2; 4]));
    say(&driver.port, data(3, &[3; 8]));
    let wanted = [message(RX, 0, 2, 4, &[2; 4]), message(RX, 0, 3, 8, &[3; 8])];
    assert_eq!(driver.heard(), wanted);
    assert!(!driver.port.host.has_stopped(CAN));
}

/// A frame on the wire, others behind it; a receive buffer that the device holds, or a frame that waits for one.
pub(super) fn forgets_frames_and_buffers_when_reset<H: Host>() {
    for rooms in [&[4][..], &[]] {
        let (port, mut old) = slowly::<H>(ALL);
        let ring = &mut old[usize::from(RECEIVE)];
        for room in rooms {
            let head = ring.put(0, &[], *room);
            ring.offer(head);
        }
        port.notify_only(RECEIVE);
        say(&port, data(7, &[]));
        port.host.pass(A_WHILE);
        let ring = &mut old[usize::from(TRANSMIT)];
        offer(&port, ring, 0..3);
        // The first is on the wire.
        port.host.pass(Nanos::from_secs(2));
        assert_eq!(answered(ring), [], "under way");
        port.host.set_status(CAN, 0);
        let left: Vec<Vec<u8>> = old.iter().map(Ring::bytes).collect();
        let mut fresh = begin(&port, ALL);
        let unread = &mut fresh[usize::from(RECEIVE)];
        let head = unread.put(0, &[], LARGEST);
        unread.offer(head);
        port.notify_only(RECEIVE);
        port.host.settle();
        assert_eq!(unread.used(), [], "it forgot what it had heard");
        say(&port, data(9, &[]));
        port.host.pass(A_WHILE);
        assert_eq!(unread.used(), [(0, 16)]);
        assert_eq!(unread.answer(0, 16), message(RX, 0, 9, 0, &[]));
        assert_eq!(watched(&port), [""; 0], "nothing of it was sent");
        let now: Vec<Vec<u8>> = old.iter().map(Ring::bytes).collect();
        assert!(now == left);
    }
}
