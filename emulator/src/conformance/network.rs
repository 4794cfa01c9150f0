//! Two network cards on a segment (board manual §8, virtio 1.4 §5.1).

use devices::virtio::F_VERSION_1;
use virtio_drivers::device::net::VirtIONetRaw;

use super::arena::Memory;
use super::contract::{Contract, Request};
use super::hardware::{NETWORK, PARTNER, mac};
use super::host::{Host, Pace, Port};

const HEADER_BYTES: usize = 12;
const MTU: u64 = 1 << 3;
const MAC: u64 = 1 << 5;
const STATUS: u64 = 1 << 16;
const EVERYBODY: [u8; 6] = [0xff; 6];

pub(super) fn contract() -> Contract {
    contract_of(NETWORK)
}

fn contract_of(unit: usize) -> Contract {
    let mut config = mac(unit).to_vec();
    for field in [1_u16, 1, 9000] {
        config.extend(field.to_le_bytes());
    }
    let mut readable = vec![0; HEADER_BYTES];
    readable.extend(frame(EVERYBODY, unit, 60));
    Contract {
        unit,
        id: 1,
        features: F_VERSION_1 | MTU | MAC | STATUS,
        queues: &[64, 64],
        config,
        request: Request {
            queue: 1,
            readable,
            writable: 0,
            written: 0,
            answer: Vec::new(),
        },
    }
}

fn frame(to: [u8; 6], from: usize, bytes: usize) -> Vec<u8> {
    let mut frame = [to, mac(from)].concat();
    frame.extend([0x88, 0xb5]);
    let fill = (0..bytes - 14).map(|n| u8::try_from(n % 251).unwrap());
    frame.extend(fill);
    frame
}

type Card<H> = VirtIONetRaw<Memory, Port<H>, 16>;

pub(super) fn exchanges_frames<H: Host>() {
    let ports = Port::<H>::all(&[NETWORK, PARTNER], Pace::Leap);
    let host = ports[0].host.clone();
    let [a, b] = [0, 1].map(|n| Card::<H>::new(ports[n].clone()).unwrap());
    assert_eq!(a.mac_address(), mac(NETWORK));
    assert_eq!(b.mac_address(), mac(PARTNER));
    let mut cards = [(NETWORK, a), (PARTNER, b)];
    for (round, bytes) in [14, 60, 1514, 9014, 61, 200].into_iter().enumerate() {
        let [(from, sender), (to, receiver)] = &mut cards;
        let to = if round < 2 { EVERYBODY } else { mac(*to) };
        let mut buffer = vec![0; HEADER_BYTES + bytes];
        // A receive buffer has room for the longest frame that the driver takes.
        buffer.resize(buffer.len().max(1526), 0);
        // SAFETY: it stays where it is and is not looked at until it came back.
        let token = unsafe { receiver.receive_begin(&mut buffer) }.unwrap();
        let sent = frame(to, *from, bytes);
        sender.send(&sent).unwrap();
        host.settle();
        assert_eq!(receiver.poll_receive(), Some(token), "{bytes} bytes");
        // SAFETY: it is the buffer that was posted.
        let (header, length) = unsafe { receiver.receive_complete(token, &mut buffer) }.unwrap();
        assert_eq!((header, length), (HEADER_BYTES, bytes));
        assert_eq!(buffer[..header], [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0]);
        assert_eq!(buffer[header..header + length], sent);
        cards.reverse();
    }
}

pub(super) fn hears_only_what_is_for_it<H: Host>() {
    let ports = Port::<H>::all(&[NETWORK, PARTNER], Pace::Leap);
    let (a, b) = (&ports[0], &ports[1]);
    let mut sending = a.drive(&contract_of(NETWORK)).remove(1);
    let mut receiving = b.drive(&contract_of(PARTNER)).remove(0);
    // The first buffer is too small for what comes first, and is kept for the next.
    for (n, room) in [(0, 80), (1, 1600), (2, 1600)] {
        let head = receiving.put(n, &[], room);
        receiving.offer(head);
    }
    b.notify_only(0);
    let stranger = [2, 0, 0, 0, 0, 0x77];
    let frames = [
        frame(stranger, NETWORK, 60),
        frame(mac(PARTNER), NETWORK, 300),
        frame(mac(PARTNER), NETWORK, 61),
        frame(EVERYBODY, NETWORK, 62),
    ];
    for (n, frame) in (0..).zip(&frames) {
        let packet = [&[0; HEADER_BYTES], &frame[..]].concat();
        let head = sending.put(n, &packet, 0);
        sending.offer(head);
    }
    a.finish(1, &sending);
    a.host.settle();
    assert_eq!(receiving.used(), [(0, 73), (2, 74)]);
    assert_eq!(receiving.answer(0, 73)[HEADER_BYTES..], frames[2]);
    assert_eq!(receiving.answer(1, 74)[HEADER_BYTES..], frames[3]);
}

/// What waits is delivered when there is a buffer for it.
pub(super) fn keeps_frames_for_later<H: Host>() {
    let ports = Port::<H>::all(&[NETWORK, PARTNER], Pace::Leap);
    let (a, b) = (&ports[0], &ports[1]);
    let mut receiving = b.drive(&contract_of(PARTNER)).remove(0);
    let contract = contract();
    let mut sending = a.drive(&contract).remove(1);
    a.assert_answers(&contract, &mut sending);
    a.host.settle();
    let head = receiving.put(0, &[], 1526);
    receiving.offer(head);
    b.finish(0, &receiving);
    assert_eq!(receiving.used(), [(0, 72)]);
}

pub(super) fn tells_of_the_link<H: Host>() {
    let port = Port::<H>::of(NETWORK);
    let contract = contract();
    let mut ring = port.drive(&contract).remove(1);
    let host = &port.host;
    let mut generation = host.generation(NETWORK);
    for up in [false, true, false, true] {
        host.operate(move |it| it.segment.set_cable(1, up));
        host.settle();
        assert_eq!(host.config(NETWORK, 6, 2), [u8::from(up), 0]);
        let now = host.generation(NETWORK);
        assert_ne!(now, generation);
        generation = now;
        // Frames go into the dark, but their buffers come back.
        port.assert_answers(&contract, &mut ring);
    }
}

/// A cable is pulled and plugged while both drivers are at work: both see it, and what is sent
/// meanwhile never arrives.
pub(super) fn loses_frames_with_the_link<H: Host>() {
    let ports = Port::<H>::all(&[NETWORK, PARTNER], Pace::Leap);
    let (a, b) = (&ports[0], &ports[1]);
    let host = &a.host;
    let mut receiving = b.drive(&contract_of(PARTNER)).remove(0);
    let mut sending = a.drive(&contract()).remove(1);
    let mut send = |bytes| {
        let packet = [&[0; HEADER_BYTES], &frame(mac(PARTNER), NETWORK, bytes)[..]].concat();
        let head = sending.put(0, &packet, 0);
        sending.offer(head);
        a.finish(1, &sending);
        assert_eq!(sending.used(), [(0, 0)], "its buffer comes back");
        host.settle();
    };
    let generations = || [NETWORK, PARTNER].map(|unit| host.generation(unit));
    let lights = || [NETWORK, PARTNER].map(|unit| host.config(unit, 6, 2)[0]);
    let mut before = generations();
    // What has arrived and waits for a buffer is lost with the cable of its own end alone.
    for (end, wanted) in [(0, &[112, 312][..]), (1, &[312]), (0, &[112, 312])] {
        send(100);
        for up in [false, true] {
            host.operate(move |it| it.segment.set_cable(end, up));
            host.settle();
            assert_eq!(lights(), [u8::from(up); 2]);
            let now = generations();
            assert!(now[0] != before[0] && now[1] != before[1]);
            before = now;
            if !up {
                send(200);
            }
        }
        for (n, _) in (0..).zip(wanted) {
            let head = receiving.put(n, &[], 1526);
            receiving.offer(head);
        }
        b.notify_only(0);
        send(300);
        let lengths: Vec<u32> = receiving.used().iter().map(|(_, length)| *length).collect();
        assert_eq!(lengths, wanted, "cable {end}");
    }
}

pub(super) fn forgets_posted_buffers_when_reset<H: Host>() {
    let ports = Port::<H>::all(&[NETWORK, PARTNER], Pace::Leap);
    let (a, b) = (&ports[0], &ports[1]);
    let mut old = b.drive(&contract_of(PARTNER)).remove(0);
    for (n, room) in [(0, 20), (1, 1526)] {
        let head = old.put(n, &[], room);
        old.offer(head);
    }
    b.notify_only(0);
    let contract = contract();
    let mut sending = a.drive(&contract).remove(1);
    // The first buffer is too small: the device holds it.
    a.assert_answers(&contract, &mut sending);
    a.host.settle();
    b.host.set_status(PARTNER, 0);
    a.assert_answers(&contract, &mut sending);
    a.host.settle();
    assert_eq!(old.used(), []);
    let mut new = b.drive(&contract_of(PARTNER)).remove(0);
    let head = new.put(0, &[], 1526);
    new.offer(head);
    b.finish(0, &new);
    assert_eq!(new.used(), [(0, 72)]);
    assert_eq!(old.used(), []);
}
