//! A driver's half of a split virtqueue, for what no driver does: it may break every rule.

use std::sync::atomic::{Ordering, fence};

use devices::virtio::GuestMemory;
use virtio_drivers::PAGE_SIZE;
use vm_memory::{ByteValued, Bytes, GuestAddress};

use super::arena;

pub(super) const NEXT: u16 = 1;
pub(super) const WRITE: u16 = 2;
pub(super) const INDIRECT: u16 = 4;

/// Most requests at a time.
pub(super) const REQUESTS: u16 = 32;
/// Bytes of a request's readable and of its writable part.
const HALF: u64 = PAGE_SIZE as u64;

/// One queue. A request takes the descriptors `2n` and `2n + 1`, and the buffers that belong to them.
pub(super) struct Ring {
    pub(super) memory: GuestMemory,
    pub(super) size: u16,
    /// Descriptor table, available ring, used ring.
    pub(super) addresses: [u64; 3],
    buffers: u64,
    available: u16,
    seen: u16,
}

impl Ring {
    pub(super) fn new(memory: GuestMemory, size: u16) -> Ring {
        Ring {
            memory,
            size,
            addresses: [arena::take(1), arena::take(1), arena::take(1)],
            buffers: arena::take(2 * usize::from(REQUESTS)),
            available: 0,
            seen: 0,
        }
    }

    /// Where the readable part of request `n` is; its writable part follows.
    pub(super) fn buffer(&self, n: u16) -> u64 {
        self.buffers + u64::from(n) * 2 * HALF
    }

    /// Puts request `n` into the descriptor table and returns its head.
    pub(super) fn put(&self, n: u16, readable: &[u8], writable: u32) -> u16 {
        let (head, at) = (2 * n, self.buffer(n));
        let length = u32::try_from(readable.len()).unwrap();
        self.memory.write_slice(readable, GuestAddress(at)).unwrap();
        match (readable.is_empty(), writable) {
            (true, _) => self.describe(head, at + HALF, writable, WRITE, 0),
            (false, 0) => self.describe(head, at, length, 0, 0),
            (false, _) => {
                self.describe(head, at, length, NEXT, head + 1);
                self.describe(head + 1, at + HALF, writable, WRITE, 0);
            }
        }
        head
    }

    /// What the device wrote into request `n`.
    pub(super) fn answer(&self, n: u16, bytes: usize) -> Vec<u8> {
        let mut answer = vec![0; bytes];
        let at = GuestAddress(self.buffer(n) + HALF);
        self.memory.read_slice(&mut answer, at).unwrap();
        answer
    }

    /// All that the device can reach of it: its parts and its buffers.
    pub(super) fn bytes(&self) -> Vec<u8> {
        let parts = self.addresses.map(|at| (at, PAGE_SIZE));
        let buffers = (self.buffers, 2 * usize::from(REQUESTS) * PAGE_SIZE);
        let mut bytes = Vec::new();
        for (at, length) in parts.into_iter().chain([buffers]) {
            let begin = bytes.len();
            bytes.resize(begin + length, 0);
            let part = &mut bytes[begin..];
            self.memory.read_slice(part, GuestAddress(at)).unwrap();
        }
        bytes
    }

    pub(super) fn describe(&self, index: u16, address: u64, length: u32, flags: u16, next: u16) {
        let at = self.addresses[0] + u64::from(index) * 16;
        self.write(at, address);
        self.write(at + 8, length);
        self.write(at + 12, flags);
        self.write(at + 14, next);
    }

    /// Makes a chain available.
    pub(super) fn offer(&mut self, head: u16) {
        let entry = u64::from(self.available % self.size);
        self.write(self.addresses[1] + 4 + entry * 2, head);
        self.set_available(self.available.wrapping_add(1));
    }

    pub(super) fn set_available(&mut self, index: u16) {
        self.available = index;
        let at = GuestAddress(self.addresses[1] + 2);
        self.memory.store(index, at, Ordering::Release).unwrap();
        fence(Ordering::SeqCst);
    }

    pub(super) fn available(&self) -> u16 {
        self.available
    }

    /// VIRTQ_AVAIL_F_NO_INTERRUPT (virtio 1.4 §2.7.7).
    pub(super) fn want_interrupts(&self, wanted: bool) {
        self.write(self.addresses[1], u16::from(!wanted));
        fence(Ordering::SeqCst);
    }

    pub(super) fn used_index(&self) -> u16 {
        used_index(&self.memory, self.addresses)
    }

    /// What came back since this was last asked: heads and lengths.
    pub(super) fn used(&mut self) -> Vec<(u32, u32)> {
        let end = self.used_index();
        let mut used = Vec::new();
        while self.seen != end {
            let at = self.addresses[2] + 4 + u64::from(self.seen % self.size) * 8;
            used.push((self.read(at), self.read(at + 4)));
            self.seen = self.seen.wrapping_add(1);
        }
        used
    }

    fn read<T: ByteValued>(&self, at: u64) -> T {
        self.memory.read_obj(GuestAddress(at)).unwrap()
    }

    fn write<T: ByteValued>(&self, at: u64, value: T) {
        self.memory.write_obj(value, GuestAddress(at)).unwrap();
    }
}

/// How many chains the device gave back in the queue at `addresses`.
pub(super) fn used_index(memory: &GuestMemory, addresses: [u64; 3]) -> u16 {
    let at = GuestAddress(addresses[2] + 2);
    memory.load(at, Ordering::Acquire).unwrap()
}

/// How many chains the driver made available in it.
pub(super) fn available_index(memory: &GuestMemory, addresses: [u64; 3]) -> u16 {
    let at = GuestAddress(addresses[1] + 2);
    memory.load(at, Ordering::Acquire).unwrap()
}
