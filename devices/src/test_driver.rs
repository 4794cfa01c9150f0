//! The driver side of a virtio device under test, well-behaved or hostile.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use virtio_queue::mock::MockSplitQueue;
use virtio_queue::{Queue, QueueT};
use vm_memory::{Bytes, GuestAddress};

use crate::event::DeviceEvent;
use crate::time::Nanos;
use crate::virtio::{DeviceIo, F_VERSION_1, GuestMemory, VirtioDevice};

/// Rings lie at the bottom, one every this many bytes; buffers above.
const RING_SPACING: u64 = 0x4000;
const BUFFERS: u64 = 0x4_0000;
const MEMORY_BYTES: usize = 0x20_0000;

const NEXT: u16 = 1;
const WRITE: u16 = 2;

/// A buffer chain that came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Used {
    pub(crate) head: u16,
    pub(crate) written: u32,
    /// The whole writable part.
    pub(crate) bytes: Vec<u8>,
}

struct Ring {
    size: u16,
    desc: u64,
    avail: u64,
    used: u64,
    next_descriptor: u16,
    seen: u16,
}

pub(crate) struct TestDriver {
    pub(crate) memory: GuestMemory,
    pub(crate) queues: Vec<Queue>,
    pub(crate) now: Nanos,
    /// Those that the driver accepted.
    pub(crate) features: u64,
    pub(crate) events: Vec<DeviceEvent>,
    pub(crate) needs_reset: bool,
    pub(crate) config_changed: bool,
    rings: Vec<Ring>,
    next_buffer: u64,
}

impl TestDriver {
    pub(crate) fn new(device: &impl VirtioDevice) -> TestDriver {
        let memory = GuestMemory::from_ranges(&[(GuestAddress(0), MEMORY_BYTES)]).unwrap();
        let mut queues = Vec::new();
        let mut rings = Vec::new();
        for (n, size) in (0..).zip(device.queue_sizes()) {
            let start = GuestAddress(0x1000 + n * RING_SPACING);
            let mock = MockSplitQueue::create(&memory, start, *size);
            let mut queue: Queue = mock.create_queue().unwrap();
            // The mock lets the used ring begin in the middle of the available ring.
            let used = start.0 + RING_SPACING / 2;
            queue.set_used_ring_address(Some(u32::try_from(used).unwrap()), Some(0));
            rings.push(Ring {
                size: *size,
                desc: mock.desc_table_addr().0,
                avail: mock.avail_addr().0,
                used,
                next_descriptor: 0,
                seen: 0,
            });
            queues.push(queue);
        }
        TestDriver {
            memory,
            queues,
            now: Nanos::ZERO,
            features: F_VERSION_1,
            events: Vec::new(),
            needs_reset: false,
            config_changed: false,
            rings,
            next_buffer: BUFFERS,
        }
    }

    /// Makes a chain available: these bytes to read, then buffers of these lengths to write to.
    pub(crate) fn add(&mut self, queue: usize, readable: &[&[u8]], writable: &[usize]) -> u16 {
        let mut parts = Vec::new();
        for bytes in readable {
            let address = self.allocate(bytes.len());
            self.memory
                .write_slice(bytes, GuestAddress(address))
                .unwrap();
            parts.push((address, bytes.len(), false));
        }
        for length in writable {
            parts.push((self.allocate(*length), *length, true));
        }
        self.offer(queue, &parts)
    }

    /// Makes a chain of buffers (address, length, whether it is to be written) available.
    pub(crate) fn offer(&mut self, queue: usize, parts: &[(u64, usize, bool)]) -> u16 {
        let ring = &mut self.rings[queue];
        let head = ring.next_descriptor;
        for (n, (address, length, writable)) in parts.iter().enumerate() {
            let next = (ring.next_descriptor + 1) % ring.size;
            let last = n + 1 == parts.len();
            let flags = if *writable { WRITE } else { 0 } | if last { 0 } else { NEXT };
            let length = u32::try_from(*length).unwrap();
            write_descriptor(
                &self.memory,
                ring.desc,
                ring.next_descriptor,
                (*address, length, flags, next),
            );
            ring.next_descriptor = next;
        }
        let index: u16 = self.memory.read_obj(GuestAddress(ring.avail + 2)).unwrap();
        let entry = ring.avail + 4 + 2 * u64::from(index % ring.size);
        self.memory.write_obj(head, GuestAddress(entry)).unwrap();
        self.memory
            .write_obj(index.wrapping_add(1), GuestAddress(ring.avail + 2))
            .unwrap();
        head
    }

    pub(crate) fn service<D: VirtioDevice>(&mut self, device: &mut D, core: &mut D::Core<'_>) {
        let mut io = DeviceIo::new(
            self.now,
            self.features,
            &self.memory,
            &mut self.queues,
            &mut self.events,
        );
        device.service(core, &mut io);
        self.needs_reset |= io.needs_reset;
        self.config_changed |= io.config_changed;
    }

    /// What came back since the last call.
    pub(crate) fn used(&mut self, queue: usize) -> Vec<Used> {
        let ring = &mut self.rings[queue];
        let index: u16 = self.memory.read_obj(GuestAddress(ring.used + 2)).unwrap();
        let mut found = Vec::new();
        while ring.seen != index {
            let entry = ring.used + 4 + 8 * u64::from(ring.seen % ring.size);
            let id: u32 = self.memory.read_obj(GuestAddress(entry)).unwrap();
            let written: u32 = self.memory.read_obj(GuestAddress(entry + 4)).unwrap();
            let head = u16::try_from(id).unwrap();
            found.push(Used {
                head,
                written,
                bytes: writable_part(&self.memory, ring.desc, head),
            });
            ring.seen = ring.seen.wrapping_add(1);
        }
        found
    }

    /// What was said since the last call.
    pub(crate) fn take_events(&mut self) -> Vec<DeviceEvent> {
        std::mem::take(&mut self.events)
    }

    pub(crate) fn allocate(&mut self, length: usize) -> u64 {
        let address = self.next_buffer;
        self.next_buffer += u64::try_from(length.next_multiple_of(16)).unwrap();
        assert!(self.next_buffer <= MEMORY_BYTES as u64, "test memory full");
        address
    }
}

fn write_descriptor(memory: &GuestMemory, table: u64, n: u16, d: (u64, u32, u16, u16)) {
    let at = table + 16 * u64::from(n);
    memory.write_obj(d.0, GuestAddress(at)).unwrap();
    memory.write_obj(d.1, GuestAddress(at + 8)).unwrap();
    memory.write_obj(d.2, GuestAddress(at + 12)).unwrap();
    memory.write_obj(d.3, GuestAddress(at + 14)).unwrap();
}

fn writable_part(memory: &GuestMemory, table: u64, head: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut n = head;
    loop {
        let at = table + 16 * u64::from(n);
        let address: u64 = memory.read_obj(GuestAddress(at)).unwrap();
        let length: u32 = memory.read_obj(GuestAddress(at + 8)).unwrap();
        let flags: u16 = memory.read_obj(GuestAddress(at + 12)).unwrap();
        if flags & WRITE != 0 {
            let mut part = vec![0; usize::try_from(length).unwrap()];
            memory.read_slice(&mut part, GuestAddress(address)).unwrap();
            bytes.extend(part);
        }
        if flags & NEXT == 0 {
            return bytes;
        }
        n = memory.read_obj(GuestAddress(at + 14)).unwrap();
    }
}

/// What a hostile driver puts into memory.
#[derive(Clone, Debug)]
pub(crate) struct Hostile {
    /// Per queue: descriptors, heads made available, and by how much the index lies.
    rings: Vec<HostileRing>,
    /// What lies where the descriptors mostly point.
    contents: Vec<u8>,
    /// How far time goes between service calls.
    steps: Vec<u64>,
}

#[derive(Clone, Debug)]
struct HostileRing {
    descriptors: Vec<(u64, u32, u16, u16)>,
    heads: Vec<u16>,
    lie: u16,
}

/// Descriptors in a small table, biased to nearly right ones.
const TABLE: u16 = 12;

/// A driver that breaks every rule. `contents` makes what requests are read from.
pub(crate) fn hostile(
    queues: usize,
    contents: impl Strategy<Value = Vec<u8>>,
) -> impl Strategy<Value = Hostile> {
    // Nearly right on the whole: a device that needs a reset is not asked much.
    let address = prop_oneof![
        60 => (0_u64..64).prop_map(|n| BUFFERS + 32 * n),
        1 => Just(0x1000),
        1 => any::<u64>(),
        1 => Just(MEMORY_BYTES as u64 - 8),
    ];
    let length = prop_oneof![
        60 => select(vec![0_u32, 1, 4, 12, 16, 24, 32, 40, 48, 64, 408, 1600, 9100]),
        1 => any::<u32>(),
    ];
    let flags = prop_oneof![60 => select(vec![0, NEXT, NEXT, WRITE]), 1 => any::<u16>()];
    let next = prop_oneof![60 => Just(None), 1 => any::<u16>().prop_map(Some)];
    let heads = vec(prop_oneof![100 => 0..TABLE, 1 => any::<u16>()], 0..16);
    let lie = prop_oneof![20 => Just(0_u16), 1 => any::<u16>()];
    let descriptors = vec((address, length, flags, next), usize::from(TABLE));
    let ring = (descriptors, heads, lie).prop_map(|(descriptors, heads, lie)| HostileRing {
        descriptors: (1..)
            .zip(descriptors)
            .map(|(following, (address, length, flags, next))| {
                (address, length, flags, next.unwrap_or(following % TABLE))
            })
            .collect(),
        heads,
        lie,
    });
    let steps = vec(prop_oneof![Just(0_u64), 0..10_000_000_u64], 1..4);
    (vec(ring, queues), contents, steps).prop_map(|(rings, contents, steps)| Hostile {
        rings,
        contents,
        steps,
    })
}

/// Plays a hostile driver against a device: it must not panic, must give every chain it took back
/// at most once, must account for every chain it has not given back, and forget them on reset.
pub(crate) fn check_hostile<D: VirtioDevice>(
    device: &mut D,
    core: &mut D::Core<'_>,
    hostile: &Hostile,
) {
    let mut driver = TestDriver::new(device);
    driver.features = device.features(core);
    driver
        .memory
        .write_slice(&hostile.contents, GuestAddress(BUFFERS))
        .unwrap();
    for (ring, plan) in driver.rings.iter().zip(&hostile.rings) {
        for (n, descriptor) in (0..).zip(&plan.descriptors) {
            write_descriptor(&driver.memory, ring.desc, n, *descriptor);
        }
        for (n, head) in (0_u64..).zip(&plan.heads) {
            let entry = GuestAddress(ring.avail + 4 + 2 * n);
            driver.memory.write_obj(*head, entry).unwrap();
        }
        let index = u16::try_from(plan.heads.len()).unwrap();
        let told = index.wrapping_add(plan.lie);
        let at = GuestAddress(ring.avail + 2);
        driver.memory.write_obj(told, at).unwrap();
    }
    for step in &hostile.steps {
        driver.now += Nanos(*step);
        driver.service(device, core);
        if driver.needs_reset {
            break;
        }
        for (n, queue) in driver.queues.iter().enumerate() {
            let taken = usize::from(queue.next_avail());
            let returned = usize::from(queue.next_used());
            assert_eq!(taken, returned + device.in_flight(n), "queue {n}");
        }
    }
    // Every used entry names a head that was made available, no more often than it was. The rings
    // themselves may have been overwritten through a buffer; the driver asked for it.
    let clobbered =
        |plan: &HostileRing| plan.lie != 0 || plan.descriptors.iter().any(|d| d.0 < BUFFERS);
    for (n, plan) in hostile.rings.iter().enumerate() {
        if hostile.rings.iter().any(clobbered) {
            continue;
        }
        let ring = &driver.rings[n];
        let mut outstanding = plan.heads.clone();
        for i in 0..u64::from(driver.queues[n].next_used()) {
            let entry = GuestAddress(ring.used + 4 + 8 * i);
            let id: u32 = driver.memory.read_obj(entry).unwrap();
            let found = outstanding.iter().position(|head| u32::from(*head) == id);
            outstanding.remove(found.expect("a buffer came back that nobody lent, or twice"));
        }
    }
    device.reset(core);
    for n in 0..driver.queues.len() {
        assert_eq!(device.in_flight(n), 0, "after reset, queue {n}");
    }
}
