//! Cases that hold for every device.

use devices::virtio::F_VERSION_1;
use virtio_drivers::transport::DeviceStatus;

use super::arena::{BYTES, START};
use super::contract::Contract;
use super::host::{Host, Port};
use super::ring::{INDIRECT, NEXT, REQUESTS, Ring, WRITE};

/// What a front-end may read of a configuration space.
const CONFIG_BYTES: usize = 256;
/// Bit 30 is the vhost-user protocol's own.
const PROTOCOL_FEATURES: u32 = 30;

pub(super) fn says_what_it_is<H: Host>(contract: &Contract) {
    let port = Port::<H>::of(contract.unit);
    let id = port.host.device_id(port.unit);
    assert!(id.is_none_or(|id| id == contract.id), "{id:?}");
    let offered = port.host.features(port.unit);
    let transport = H::TRANSPORT_FEATURES;
    assert_eq!(offered, contract.features | transport, "{offered:#x}");
}

pub(super) fn takes_features_that_it_offers<H: Host>(contract: &Contract) {
    let port = Port::<H>::of(contract.unit);
    let all = contract.features | H::TRANSPORT_FEATURES;
    assert!(port.negotiate(all));
    assert!(port.negotiate(F_VERSION_1));
    let own = (0..64).filter(|bit| contract.features & 1 << bit != 0);
    for bit in own {
        assert!(port.negotiate(F_VERSION_1 | 1 << bit), "bit {bit}");
    }
    port.assert_works(contract);
}

pub(super) fn refuses_features_that_it_does_not_offer<H: Host>(contract: &Contract) {
    let port = Port::<H>::of(contract.unit);
    let offered = port.host.features(port.unit);
    let others = (0..64).filter(|bit| offered & 1 << bit == 0 && *bit != PROTOCOL_FEATURES);
    for bit in others {
        let features = contract.features | 1 << bit;
        assert!(!port.negotiate(features), "bit {bit}");
    }
    // DRIVER_OK is refused then as well.
    port.go();
    let status = port.host.status(port.unit);
    assert_eq!(status & DeviceStatus::DRIVER_OK.bits(), 0);
    port.assert_works(contract);
}

pub(super) fn needs_version_1<H: Host>(contract: &Contract) {
    let port = Port::<H>::of(contract.unit);
    assert!(!port.negotiate(contract.features & !F_VERSION_1));
    assert!(!port.negotiate(0));
    port.assert_works(contract);
}

/// Fields, what is behind them, and a reset in between: at any offset, in any width.
pub(super) fn shows_its_configuration<H: Host>(contract: &Contract) {
    let port = Port::<H>::of(contract.unit);
    let mut wanted = contract.config.clone();
    wanted.resize(CONFIG_BYTES, 0);
    let whole = port.host.config(port.unit, 0, CONFIG_BYTES);
    assert_eq!(whole, wanted);
    for width in [1, 2, 4, 8] {
        for offset in 0..=CONFIG_BYTES - width {
            let read = port.host.config(port.unit, offset, width);
            assert_eq!(read, wanted[offset..offset + width], "{width} at {offset}");
        }
    }
    let generation = port.host.generation(port.unit);
    port.assert_works(contract);
    let again = port.host.config(port.unit, 0, CONFIG_BYTES);
    let unchanged = port.host.generation(port.unit) == generation;
    assert!(again == wanted && unchanged);
}

pub(super) fn lets_nobody_write_its_configuration<H: Host>(contract: &Contract) {
    let port = Port::<H>::of(contract.unit);
    port.drive(contract);
    let before = port.host.config(port.unit, 0, CONFIG_BYTES);
    for (offset, bytes) in [(0, 8), (4, 4), (8, 2), (3, 1), (248, 8)] {
        port.host
            .write_config(port.unit, offset, &vec![0xff; bytes]);
    }
    port.host.settle();
    assert_eq!(port.host.config(port.unit, 0, CONFIG_BYTES), before);
    port.assert_works(contract);
}

pub(super) fn has_queues_of_all_sizes<H: Host>(contract: &Contract) {
    let port = Port::<H>::of(contract.unit);
    let queues = u16::try_from(contract.queues.len()).unwrap();
    for (queue, size) in (0..).zip(contract.queues) {
        assert_eq!(port.host.queue_max(port.unit, queue), u32::from(*size));
    }
    for queue in [queues, queues + 1, 0xffff] {
        assert_eq!(port.host.queue_max(port.unit, queue), 0);
    }
    let queue = contract.request.queue;
    let most = contract.queues[usize::from(queue)];
    for size in (1..=most.ilog2()).map(|exponent| 1 << exponent) {
        assert!(port.negotiate(contract.features));
        let mut ring = port.ring(queue, size);
        port.go();
        assert!(port.host.queue_ready(port.unit, queue));
        for _ in 0..3 {
            port.assert_answers(contract, &mut ring);
        }
    }
}

pub(super) fn survives_unlawful_queue_sizes<H: Host>(contract: &Contract) {
    let port = Port::<H>::of(contract.unit);
    let queue = contract.request.queue;
    let most = contract.queues[usize::from(queue)];
    for size in [0, 3, 48, most + 1, most * 2, 0xffff] {
        assert!(port.negotiate(contract.features));
        let ring = Ring::new(port.memory.clone(), most);
        let host = &port.host;
        host.set_queue(port.unit, queue, size.into(), ring.addresses);
        port.go();
        port.notify_only(queue);
        host.settle();
        assert_eq!(ring.used_index(), 0);
        port.assert_works(contract);
    }
}

pub(super) fn does_nothing_before_driver_ok<H: Host>(contract: &Contract) {
    let port = Port::<H>::of(contract.unit);
    let request = &contract.request;
    assert!(port.negotiate(contract.features));
    let mut ring = port.ring(request.queue, 8);
    let head = ring.put(0, &request.readable, request.writable);
    ring.offer(head);
    port.notify_only(request.queue);
    port.host.settle();
    assert_eq!(ring.used(), []);
    port.go();
    port.finish(request.queue, &ring);
    assert_eq!(ring.used(), [(u32::from(head), request.written)]);
}

/// A queue that is stopped and started goes on where it was.
pub(super) fn goes_on_with_a_queue_that_was_stopped<H: Host>(contract: &Contract) {
    let port = Port::<H>::of(contract.unit);
    let queue = contract.request.queue;
    let mut rings = port.drive(contract);
    let ring = &mut rings[usize::from(queue)];
    for _ in 0..3 {
        port.assert_answers(contract, ring);
        port.host.unset_queue(port.unit, queue);
        assert!(!port.host.queue_ready(port.unit, queue));
        port.set(queue, ring);
        assert!(port.host.queue_ready(port.unit, queue));
    }
    port.assert_answers(contract, ring);
}

/// As many at once as fit: each comes back once, with what was written and nothing more.
pub(super) fn gives_every_buffer_back_once<H: Host>(contract: &Contract) {
    let port = Port::<H>::of(contract.unit);
    let request = &contract.request;
    let mut rings = port.drive(contract);
    let ring = &mut rings[usize::from(request.queue)];
    for n in 0..REQUESTS {
        let head = ring.put(n, &request.readable, request.writable);
        ring.offer(head);
    }
    port.finish(request.queue, ring);
    let mut used = ring.used();
    used.sort_unstable();
    let wanted = (0..u32::from(REQUESTS)).map(|n| (2 * n, request.written));
    assert_eq!(used, wanted.collect::<Vec<_>>());
    for n in 0..REQUESTS {
        let answer = ring.answer(n, request.answer.len());
        assert_eq!(answer, request.answer, "request {n}");
        let behind = ring.answer(n, 4096).split_off(request.writable as usize);
        assert!(behind.iter().all(|byte| *byte == 0), "request {n}");
    }
}

/// A buffer of no length among others changes nothing.
pub(super) fn minds_no_empty_buffers<H: Host>(contract: &Contract) {
    let port = Port::<H>::of(contract.unit);
    let request = &contract.request;
    let mut rings = port.drive(contract);
    let ring = &mut rings[usize::from(request.queue)];
    let head = ring.put(0, &request.readable, request.writable);
    let at = ring.buffer(0);
    let length = u32::try_from(request.readable.len()).unwrap();
    ring.describe(10, at, 0, NEXT, 11);
    match request.writable {
        0 => ring.describe(11, at, length, 0, 0),
        _ => {
            ring.describe(11, at, length, NEXT, 12);
            ring.describe(12, at + 4096, 0, NEXT | WRITE, head + 1);
        }
    }
    ring.offer(10);
    port.finish(request.queue, ring);
    assert_eq!(ring.used(), [(10, request.written)]);
    assert_eq!(ring.answer(0, request.answer.len()), request.answer);
}

/// The same request, cut into pieces of one byte.
pub(super) fn takes_requests_in_pieces<H: Host>(contract: &Contract) {
    let port = Port::<H>::of(contract.unit);
    let request = &contract.request;
    let mut rings = port.drive(contract);
    let ring = &mut rings[usize::from(request.queue)];
    ring.put(0, &request.readable, request.writable);
    let at = ring.buffer(0);
    // Readable in single bytes; writable in at most four pieces.
    let mut pieces: Vec<(u64, u32, u16)> = (at..)
        .zip(&request.readable)
        .map(|(at, _)| (at, 1, 0))
        .collect();
    let mut left = request.writable;
    let mut to = at + 4096;
    for piece in [1, 2, 3, u32::MAX] {
        let piece = piece.min(left);
        if piece > 0 {
            pieces.push((to, piece, WRITE));
        }
        (to, left) = (to + u64::from(piece), left - piece);
    }
    let last = pieces.len() - 1;
    for (index, (at, length, flags)) in pieces.into_iter().enumerate() {
        let next = if index == last { 0 } else { NEXT };
        let index = u16::try_from(index).unwrap();
        ring.describe(index, at, length, flags | next, index + 1);
    }
    ring.offer(0);
    port.finish(request.queue, ring);
    assert_eq!(ring.used(), [(0, request.written)]);
    assert_eq!(ring.answer(0, request.answer.len()), request.answer);
}

pub(super) fn tells_of_answers_unless_asked_not_to<H: Host>(contract: &Contract) {
    let port = Port::<H>::of(contract.unit);
    let queue = contract.request.queue;
    let mut rings = port.drive(contract);
    let ring = &mut rings[usize::from(queue)];
    // A queue that was just started may tell once for nothing.
    port.host.settle();
    for wanted in [true, false, true, false] {
        ring.want_interrupts(wanted);
        let before = port.host.interrupts(port.unit, queue);
        let request = &contract.request;
        let head = ring.put(0, &request.readable, request.writable);
        ring.offer(head);
        port.notify_only(queue);
        port.host.settle();
        assert_eq!(ring.used().len(), 1);
        let told = port.host.interrupts(port.unit, queue) - before;
        assert_eq!(told, u64::from(wanted));
    }
}

/// Ring indices are 16 bits and go round.
pub(super) fn goes_round_the_indices<H: Host>(contract: &Contract) {
    let port = Port::<H>::of(contract.unit);
    let request = &contract.request;
    let mut rings = port.drive(contract);
    let ring = &mut rings[usize::from(request.queue)];
    let heads: Vec<u16> = (0..REQUESTS)
        .map(|n| ring.put(n, &request.readable, request.writable))
        .collect();
    let rounds = (1 << 16) / usize::from(REQUESTS) + 2;
    for _ in 0..rounds {
        heads.iter().for_each(|head| ring.offer(*head));
        port.finish(request.queue, ring);
        let used = ring.used();
        let whole = used.iter().all(|(_, written)| *written == request.written);
        assert!(used.len() == heads.len() && whole);
    }
    assert_eq!(ring.used_index(), 2 * REQUESTS);
}

/// A reset takes the rings away: what is on them is not looked at any more.
pub(super) fn forgets_its_rings_when_reset<H: Host>(contract: &Contract) {
    let port = Port::<H>::of(contract.unit);
    let request = &contract.request;
    let mut old = port.drive(contract).remove(usize::from(request.queue));
    let head = old.put(0, &request.readable, request.writable);
    port.host.set_status(port.unit, 0);
    old.offer(head);
    assert_eq!(port.host.status(port.unit), 0);
    assert!(!port.host.queue_ready(port.unit, request.queue));
    port.assert_works(contract);
    assert_eq!(old.used(), []);
}

/// A reset while requests are on their way, taken or not: from then on nothing is written into memory.
pub(super) fn writes_nothing_after_a_reset<H: Host>(contract: &Contract) {
    let port = Port::<H>::of(contract.unit);
    let request = &contract.request;
    for notices in 0..3 {
        let mut old = port.drive(contract).remove(usize::from(request.queue));
        for n in 0..REQUESTS {
            let head = old.put(n, &request.readable, request.writable);
            old.offer(head);
            if n < notices {
                port.notify_only(request.queue);
            }
        }
        port.host.set_status(port.unit, 0);
        old.offer(0);
        let left = old.bytes();
        port.notify_only(request.queue);
        port.host.settle();
        assert!(old.bytes() == left, "after {notices} notices");
        port.assert_works(contract);
        assert!(old.bytes() == left, "after {notices} notices");
    }
}

/// What the driver may do wrong with a chain: every one stops the device until it is reset.
pub(super) fn stops_at_a_broken_chain<H: Host>(contract: &Contract) {
    /// What is done to the ring, its head, and whether it comes back.
    type Spoil = (&'static str, fn(&Ring), u16, bool);
    const SPOILS: [Spoil; 9] = [
        (
            "a loop",
            |ring| ring.describe(0, START, 8, NEXT, 0),
            0,
            true,
        ),
        ("a loop of two", two_in_a_loop, 0, true),
        ("a next index out of range", next_out_of_range, 0, true),
        ("a head out of range", |_| (), 0x4000, false),
        ("a buffer outside memory", outside, 0, true),
        ("a buffer that goes out of memory", half_outside, 0, true),
        ("a buffer round the end of addresses", around, 0, true),
        ("readable after writable", wrong_order, 0, true),
        ("more than a request may have", too_long, 0, true),
    ];
    let port = Port::<H>::of(contract.unit);
    let queue = contract.request.queue;
    for (what, spoil, head, comes_back) in SPOILS {
        let mut rings = port.drive(contract);
        let ring = &mut rings[usize::from(queue)];
        spoil(ring);
        ring.offer(head);
        port.notify_only(queue);
        port.host.settle();
        assert!(port.host.has_stopped(port.unit), "{what}");
        let wanted = if comes_back { vec![(0, 0)] } else { Vec::new() };
        assert_eq!(ring.used(), wanted, "{what}");
        // It serves nothing more.
        let request = &contract.request;
        let head = ring.put(3, &request.readable, request.writable);
        ring.offer(head);
        port.notify_only(queue);
        port.host.settle();
        assert_eq!(ring.used(), [], "{what}");
        port.assert_works(contract);
        assert!(!port.host.has_stopped(port.unit), "{what}");
    }
}

fn two_in_a_loop(ring: &Ring) {
    ring.describe(0, START, 8, NEXT, 1);
    ring.describe(1, START, 8, NEXT, 0);
}

fn next_out_of_range(ring: &Ring) {
    ring.describe(0, START, 8, NEXT, ring.size);
}

fn outside(ring: &Ring) {
    ring.describe(0, START - 4096, 8, WRITE, 0);
}

fn half_outside(ring: &Ring) {
    ring.describe(0, START + BYTES as u64 - 4, 8, 0, 0);
}

fn around(ring: &Ring) {
    ring.describe(0, u64::MAX - 3, 8, 0, 0);
}

fn wrong_order(ring: &Ring) {
    let at = ring.buffer(0);
    ring.describe(0, at, 64, NEXT | WRITE, 1);
    ring.describe(1, at, 64, 0, 0);
}

fn too_long(ring: &Ring) {
    ring.describe(0, START, 8 << 20, NEXT, 1);
    ring.describe(1, START, 1, 0, 0);
}

pub(super) fn stops_at_an_indirect_chain<H: Host>(contract: &Contract) {
    let port = Port::<H>::of(contract.unit);
    assert_eq!(port.host.features(port.unit) & 1 << 28, 0);
    let queue = contract.request.queue;
    let mut rings = port.drive(contract);
    let ring = &mut rings[usize::from(queue)];
    // The table is a part of the ring's own, with a request that is good in itself.
    let request = &contract.request;
    ring.put(0, &request.readable, request.writable);
    ring.describe(4, ring.addresses[0], 32, INDIRECT, 0);
    ring.offer(4);
    port.notify_only(queue);
    port.host.settle();
    assert!(port.host.has_stopped(port.unit));
    assert_eq!(ring.used(), [(4, 0)]);
    port.assert_works(contract);
}

pub(super) fn stops_at_a_broken_ring<H: Host>(contract: &Contract) {
    let port = Port::<H>::of(contract.unit);
    let queue = contract.request.queue;
    // More available than there are entries.
    let mut rings = port.drive(contract);
    let ring = &mut rings[usize::from(queue)];
    ring.set_available(ring.size + 1);
    port.notify_only(queue);
    port.host.settle();
    assert!(port.host.has_stopped(port.unit));
    assert_eq!(ring.used(), []);
    port.assert_works(contract);
    // One of its parts is no memory at all.
    for part in 0..3 {
        assert!(port.negotiate(contract.features));
        let mut ring = Ring::new(port.memory.clone(), 8);
        let mut addresses = ring.addresses;
        addresses[part] = START - 0x1_0000;
        port.host.set_queue(port.unit, queue, 8, addresses);
        port.go();
        let request = &contract.request;
        let head = ring.put(0, &request.readable, request.writable);
        ring.offer(head);
        port.notify_only(queue);
        port.host.settle();
        assert!(port.host.has_stopped(port.unit), "{part}");
        assert_eq!(ring.used(), [], "{part}");
        port.assert_works(contract);
    }
}
