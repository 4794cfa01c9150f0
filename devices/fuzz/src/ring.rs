//! The driver's end of one split virtqueue, with the books needed to check the device's end.

use std::collections::BTreeMap;

use virtio_queue::desc::{RawDescriptor, split::Descriptor};
use virtio_queue::{Queue, QueueT};
use vm_memory::{Bytes, GuestAddress};

use crate::script::{Misplaced, Spoil};
use devices::virtio::GuestMemory;

/// Every queue has an arena: its rings, then buffers to read, then buffers to write.
const ARENA_BYTES: u64 = 1 << 20;
/// How many queues there is memory for.
pub(crate) const ARENAS: usize = 4;
/// All of the board's memory.
pub(crate) const MEMORY_BYTES: usize = ARENAS << 20;

const AVAILABLE: u64 = 0x2000;
const USED: u64 = 0x4000;
const READABLE: u64 = 0x1_0000;
const WRITABLE: u64 = 0x8_0000;

const NEXT: u16 = 1;
const WRITE: u16 = 2;

/// A request that was made available and not yet given back.
struct Offered {
    descriptors: Vec<u16>,
    room: u64,
}

pub(crate) struct Ring {
    base: u64,
    size: u16,
    free: Vec<u16>,
    offered: BTreeMap<u16, Offered>,
    available: u16,
    used: u16,
    /// What the readable buffers hold, back to back.
    readable: Vec<u8>,
    writable_end: u64,
    /// Something was spoiled: who owns which descriptor is anybody's guess from here on.
    lawless: bool,
}

impl Ring {
    pub(crate) fn new(number: u64, max_size: u16, size_log2: u8) -> Ring {
        let most = max_size.max(1).ilog2();
        let size = 1u16 << (u32::from(size_log2) % (most + 1));
        let mut ring = Ring {
            base: number * ARENA_BYTES,
            size,
            free: Vec::new(),
            offered: BTreeMap::new(),
            available: 0,
            used: 0,
            readable: Vec::new(),
            writable_end: 0,
            lawless: false,
        };
        ring.clear(false);
        ring
    }

    /// Everything is free again. `lawless` where the rings will not lie where they should.
    pub(crate) fn clear(&mut self, lawless: bool) {
        self.free = (0..self.size).rev().collect();
        self.offered.clear();
        (self.available, self.used) = (0, 0);
        self.readable.clear();
        self.writable_end = WRITABLE;
        self.lawless = lawless;
    }

    /// The ring as the driver hands it to the device, its indices at zero.
    pub(crate) fn queue(&self, memory: &GuestMemory, misplaced: Option<&Misplaced>) -> Queue {
        let mut queue = Queue::new(self.size).expect("a power of two");
        let halves = |at: u64| {
            let low = u32::try_from(self.base + at).expect("memory ends below 4 GiB");
            (Some(low), Some(0))
        };
        let ((desc, zero), (available, _), (used, _)) =
            (halves(0), halves(AVAILABLE), halves(USED));
        queue.set_size(self.size);
        queue.set_desc_table_address(desc, zero);
        queue.set_avail_ring_address(available, zero);
        queue.set_used_ring_address(used, zero);
        if let Some(Misplaced { ring, at }) = misplaced {
            let at = Some(u32::from(*at) << 4);
            match ring % 3 {
                0 => queue.set_desc_table_address(at, zero),
                1 => queue.set_avail_ring_address(at, zero),
                _ => queue.set_used_ring_address(at, zero),
            }
        }
        queue.set_ready(true);
        self.put(memory, AVAILABLE, 0u32);
        self.put(memory, USED, 0u32);
        queue
    }

    fn put<T: vm_memory::ByteValued>(&self, memory: &GuestMemory, at: u64, value: T) {
        let at = GuestAddress(self.base + at);
        memory.write_obj(value, at).expect("the arena is in memory");
    }

    fn get<T: vm_memory::ByteValued>(&self, memory: &GuestMemory, at: u64) -> T {
        let at = GuestAddress(self.base + at);
        memory.read_obj(at).expect("the arena is in memory")
    }

    /// Makes a request available, if there is room for it.
    pub(crate) fn offer(
        &mut self,
        memory: &GuestMemory,
        readable: &[u8],
        room: u32,
        cut: u8,
        spoil: Option<&Spoil>,
    ) {
        let read_at = READABLE + self.readable.len() as u64;
        let write_at = self.writable_end;
        let read_end = read_at + readable.len() as u64;
        let write_end = write_at + u64::from(room);
        if read_end > WRITABLE || write_end > ARENA_BYTES {
            return;
        }
        let mut pieces = split(self.base + read_at, readable.len() as u64, cut % 4, 0);
        pieces.extend(split(self.base + write_at, room.into(), cut / 4 % 4, WRITE));
        if pieces.is_empty() || pieces.len() > self.free.len() {
            return;
        }
        let descriptors = self.free.split_off(self.free.len() - pieces.len());
        self.readable.extend(readable);
        let at = GuestAddress(self.base + read_at);
        memory
            .write_slice(readable, at)
            .expect("the arena is in memory");
        self.writable_end = write_end;

        for (index, (address, length, flags)) in pieces.iter().enumerate() {
            let (more, next) = match descriptors.get(index + 1) {
                Some(next) => (NEXT, *next),
                None => (0, 0),
            };
            let descriptor = (*address, *length, flags | more, next);
            self.describe(
                memory,
                descriptors[index],
                spoiled(descriptor, index, spoil, self.base),
            );
        }
        let head = descriptors[0];
        self.lawless |= spoil.is_some();
        self.announce(
            memory,
            if let Some(Spoil::Head(head)) = spoil {
                *head
            } else {
                head
            },
        );
        if matches!(spoil, Some(Spoil::Twice)) {
            self.announce(memory, head);
        }
        if let Some(Spoil::AvailableIndex(index)) = spoil {
            self.available = *index;
            self.put(memory, AVAILABLE + 2, *index);
        }
        let room = u64::from(room);
        self.offered.insert(head, Offered { descriptors, room });
    }

    fn describe(
        &self,
        memory: &GuestMemory,
        slot: u16,
        (address, length, flags, next): (u64, u32, u16, u16),
    ) {
        let raw = RawDescriptor::from(Descriptor::new(address, length, flags, next));
        self.put(memory, 16 * u64::from(slot), raw);
    }

    fn announce(&mut self, memory: &GuestMemory, head: u16) {
        let entry = u64::from(self.available % self.size);
        self.put(memory, AVAILABLE + 4 + 2 * entry, head);
        self.available = self.available.wrapping_add(1);
        self.put(memory, AVAILABLE + 2, self.available);
    }

    /// Takes back what the device has given back.
    pub(crate) fn check_used(&mut self, memory: &GuestMemory) {
        let until: u16 = self.get(memory, USED + 2);
        while self.used != until {
            let entry = USED + 4 + 8 * u64::from(self.used % self.size);
            self.used = self.used.wrapping_add(1);
            let (head, written): (u32, u32) =
                (self.get(memory, entry), self.get(memory, entry + 4));
            if self.lawless {
                continue;
            }
            let offered = u16::try_from(head)
                .ok()
                .and_then(|it| self.offered.remove(&it));
            let Some(offered) = offered else {
                panic!("request {head} was given back but not offered");
            };
            assert!(
                u64::from(written) <= offered.room,
                "request {head} has {written} bytes in room for {}",
                offered.room
            );
            self.free.extend(offered.descriptors);
        }
    }

    /// What was offered and taken is either back or in flight.
    pub(crate) fn check_in_flight(&self, queue: &Queue, in_flight: usize) {
        let out = queue.next_avail().wrapping_sub(queue.next_used());
        assert_eq!(
            usize::from(out),
            in_flight,
            "requests taken but neither back nor in flight"
        );
    }

    /// Everything that was offered has come back.
    pub(crate) fn check_all_back(&self) {
        let left = self.offered.keys().next().filter(|_| !self.lawless);
        assert_eq!(left, None, "a request that nothing will bring back");
    }

    /// What lies in the buffers a device may write.
    pub(crate) fn written(&self, memory: &GuestMemory) -> Vec<u8> {
        let length = usize::try_from(self.writable_end - WRITABLE).expect("arenas are small");
        let mut bytes = vec![0; length];
        let at = GuestAddress(self.base + WRITABLE);
        memory
            .read_slice(&mut bytes, at)
            .expect("the arena is in memory");
        bytes
    }

    /// The device may not write what it was given to read.
    pub(crate) fn check_readable(&self, memory: &GuestMemory) {
        if self.lawless {
            return;
        }
        let mut found = vec![0; self.readable.len()];
        let at = GuestAddress(self.base + READABLE);
        memory
            .read_slice(&mut found, at)
            .expect("the arena is in memory");
        assert!(found == self.readable, "a readable buffer was written");
    }
}

/// Cuts a buffer into `cuts` + 1 descriptors of about the same length; an empty one into none.
fn split(address: u64, length: u64, cuts: u8, flags: u16) -> Vec<(u64, u32, u16)> {
    let step = length.div_ceil(u64::from(cuts) + 1).max(1);
    let starts = (0..length).step_by(usize::try_from(step).expect("buffers are small"));
    let piece = |at| {
        let length = u32::try_from(step.min(length - at)).expect("buffers are small");
        (address + at, length, flags)
    };
    starts.map(piece).collect()
}

/// Descriptor number `index` of a chain, spoiled if it is the one.
fn spoiled(
    (address, length, flags, next): (u64, u32, u16, u16),
    index: usize,
    spoil: Option<&Spoil>,
    base: u64,
) -> (u64, u32, u16, u16) {
    let here = |which: &u8| usize::from(*which % 4) == index;
    match spoil {
        Some(Spoil::Address(which, address)) if here(which) => (*address, length, flags, next),
        Some(Spoil::Inside(which, at)) if here(which) => {
            (base + (u64::from(*at) << 4), length, flags, next)
        }
        Some(Spoil::Length(which, length)) if here(which) => (address, *length, flags, next),
        Some(Spoil::Flags(which, flags)) if here(which) => (address, length, *flags, next),
        Some(Spoil::Next(which, next)) if here(which) => (address, length, flags | NEXT, *next),
        _ => (address, length, flags, next),
    }
}
