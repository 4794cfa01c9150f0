//! What a back-end had in progress, in memory that outlives it (vhost-user, "Inflight I/O tracking", split
//! virtqueues).
//!
//! The front-end keeps the memory, and hands it to the back-end that comes after one that was lost. That one puts the
//! half-done last batch right, and answers what was in flight, in the order in which it came. Every
//! request is so answered exactly once, however the back-end ended.
//!
//! Where the front-end keeps none, the back-end has some of its own ([`Inflight::private`]): it says what a ring that
//! stops has taken and not answered.

use std::collections::VecDeque;
use std::fs::File;
use std::sync::atomic::{Ordering, fence};

use devices::virtio::Ledger;
use rustix::fs::{MemfdFlags, SealFlags};
use vhost::vhost_user::message::VhostUserInflight;
use vhost::vhost_user::{Error, Result};
use vm_memory::{ByteValued, FileOffset, MmapRegion, VolatileMemory};

use super::hole::Guarded;
use super::memory::holds;

/// Offsets in a queue's region: features (64 bits), version, number of descriptors, head of the last batch, index of
/// the used ring (16 bits each), then the descriptors.
const VERSION: usize = 8;
const DESCRIPTORS: usize = 10;
const LAST_BATCH_HEAD: usize = 12;
const USED_INDEX: usize = 14;
const HEADER_BYTES: usize = 16;
/// Of a descriptor: whether it is in flight (8 bits), the next one of its batch (16 bits), its number (64 bits).
const IN_FLIGHT: usize = 0;
const NEXT: usize = 6;
const COUNTER: usize = 8;
const DESCRIPTOR_BYTES: usize = 16;
/// Regions begin at multiples of a cache line.
const ALIGNMENT: usize = 64;
/// The only version there is.
const CURRENT: u16 = 1;

/// The memory that says what is in flight.
#[derive(Debug)]
pub(super) struct Inflight {
    region: MmapRegion,
    _guarded: Guarded,
    queues: Vec<Tracked>,
    descriptors: u16,
    /// It goes with this back-end: whatever a ring finds in it when it starts is of an earlier driver.
    private: bool,
}

/// What a ring had when it stopped.
#[derive(Clone, Debug, Default)]
pub(super) struct Held {
    /// Numbers and heads of requests without an answer, in order.
    requests: Vec<(u64, u16)>,
    /// Those of them that the device has yet to take.
    left_over: VecDeque<u16>,
    /// The number of the next request.
    counter: u64,
}

/// One queue of it.
#[derive(Debug, Default)]
struct Tracked {
    /// Where its region begins.
    at: usize,
    /// Its driver uses it.
    running: bool,
    /// The number of the next request.
    counter: u64,
    /// Heads that were in flight when the back-end before this one was lost.
    left_over: VecDeque<u16>,
}

fn bytes_of_queue(descriptors: u16) -> usize {
    (HEADER_BYTES + DESCRIPTOR_BYTES * usize::from(descriptors)).next_multiple_of(ALIGNMENT)
}

/// Makes memory for `asked.num_queues` queues of `asked.queue_size` descriptors.
pub(super) fn make(asked: &VhostUserInflight) -> Result<(VhostUserInflight, File)> {
    let bytes = bytes_of_queue(asked.queue_size) as u64 * u64::from(asked.num_queues);
    let made = || -> rustix::io::Result<File> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let file = File::from(rustix::fs::memfd_create("arraybench-inflight", flags)?);
        rustix::fs::ftruncate(&file, bytes)?;
        let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::SEAL;
        rustix::fs::fcntl_add_seals(&file, seals)?;
        Ok(file)
    };
    let file = made().map_err(|error| Error::ReqHandlerError(error.into()))?;
    let inflight = VhostUserInflight::new(bytes, 0, asked.num_queues, asked.queue_size);
    Ok((inflight, file))
}

impl Inflight {
    /// Maps what the front-end kept.
    pub(super) fn map(told: &VhostUserInflight, file: File) -> Result<Inflight> {
        let wrong = |what: &str| Error::ReqHandlerError(std::io::Error::other(what.to_owned()));
        let stride = bytes_of_queue(told.queue_size);
        let needed = stride.saturating_mul(usize::from(told.num_queues));
        let bytes = usize::try_from(told.mmap_size).map_err(|_| Error::InvalidParam)?;
        if bytes < needed || bytes == 0 {
            return Err(wrong("too little memory for what is in flight"));
        }
        holds(&file, told.mmap_offset, needed as u64)?;
        let region = MmapRegion::from_file(FileOffset::new(file, told.mmap_offset), needed)
            .map_err(|error| wrong(&error.to_string()))?;
        let start = region.as_ptr() as usize;
        let guarded = Guarded::new(&(start..start + region.size()))
            .ok_or_else(|| wrong("too many memory regions"))?;
        let queues = (0..usize::from(told.num_queues)).map(|queue| Tracked {
            at: queue * stride,
            ..Tracked::default()
        });
        Ok(Inflight {
            queues: queues.collect(),
            region,
            _guarded: guarded,
            descriptors: told.queue_size,
            private: false,
        })
    }

    /// Memory of our own for queues of these sizes, for a front-end that keeps none.
    pub(super) fn private(queue_sizes: &[u16]) -> Result<Inflight> {
        let queues = u16::try_from(queue_sizes.len()).map_err(|_| Error::InvalidParam)?;
        let descriptors = queue_sizes.iter().copied().max().unwrap_or(0);
        let (made, file) = make(&VhostUserInflight::new(0, 0, queues, descriptors))?;
        let mut inflight = Inflight::map(&made, file)?;
        inflight.private = true;
        Ok(inflight)
    }

    /// A queue starts whose used ring is at `used_index`. What is left over from the back-end before will be taken
    /// first; returns how many requests that is.
    pub(super) fn start(&mut self, queue: usize, used_index: u16) -> Option<u16> {
        let at = self.queues.get(queue)?.at;
        if self.private || self.get::<u16>(at + VERSION) != CURRENT {
            self.begin(queue, used_index, &Held::default());
            return (!self.private).then_some(0);
        }
        self.finish_batch(at, used_index);
        let heads = self.in_flight(at);
        let tracked = self.queues.get_mut(queue)?;
        tracked.running = true;
        tracked.counter = heads
            .last()
            .map_or(0, |(counter, _)| counter.wrapping_add(1));
        tracked.left_over = heads.into_iter().map(|(_, head)| head).collect();
        u16::try_from(tracked.left_over.len()).ok()
    }

    /// A queue goes on that stopped with `held`: the device still has what it took.
    pub(super) fn go_on(&mut self, queue: usize, used_index: u16, held: &Held) {
        self.begin(queue, used_index, held);
    }

    /// A queue stops. Returns what it leaves.
    pub(super) fn stop(&mut self, queue: usize) -> Held {
        let Some(tracked) = self.queues.get_mut(queue).filter(|it| it.running) else {
            return Held::default();
        };
        tracked.running = false;
        let (at, counter) = (tracked.at, tracked.counter);
        let left_over = std::mem::take(&mut tracked.left_over);
        Held {
            requests: self.in_flight(at),
            left_over,
            counter,
        }
    }

    /// How many entries of the available ring were taken last and have no answer, if everything before them has one: a
    /// ring that starts so far back takes exactly those again. Otherwise none.
    pub(super) fn unanswered(&self, queue: usize) -> u16 {
        let tracked = self.queues.get(queue).filter(|it| it.running);
        let Some(tracked) = tracked else {
            return 0;
        };
        let requests = self.in_flight(tracked.at);
        let first = requests.first().map_or(0, |(counter, _)| *counter);
        match first.wrapping_add(requests.len() as u64) == tracked.counter {
            true => u16::try_from(requests.len()).unwrap_or(0),
            false => 0,
        }
    }

    /// Notes `held` and nothing else for a queue that runs from now on.
    fn begin(&mut self, queue: usize, used_index: u16, held: &Held) {
        let Some(tracked) = self.queues.get_mut(queue) else {
            return;
        };
        tracked.running = true;
        tracked.counter = held.counter;
        tracked.left_over.clone_from(&held.left_over);
        let at = tracked.at;
        for head in 0..self.descriptors {
            if let Some(descriptor) = self.descriptor(at, head) {
                self.put(descriptor + IN_FLIGHT, 0_u8);
            }
        }
        for (counter, head) in &held.requests {
            if let Some(descriptor) = self.descriptor(at, *head) {
                self.put(descriptor + COUNTER, *counter);
                self.put(descriptor + IN_FLIGHT, 1_u8);
            }
        }
        self.put(at + DESCRIPTORS, self.descriptors);
        self.put(at + USED_INDEX, used_index);
        fence(Ordering::SeqCst);
        self.put(at + VERSION, CURRENT);
    }

    /// The back-end before was lost between the used ring and its notes: whatever the ring has more than was noted
    /// is answered ("When reconnecting", step 1).
    fn finish_batch(&mut self, at: usize, used_index: u16) {
        let noted: u16 = self.get(at + USED_INDEX);
        let batch = used_index.wrapping_sub(noted).min(self.descriptors);
        let mut head: u16 = self.get(at + LAST_BATCH_HEAD);
        for _ in 0..batch {
            let Some(descriptor) = self.descriptor(at, head) else {
                break;
            };
            self.put(descriptor + IN_FLIGHT, 0_u8);
            head = self.get(descriptor + NEXT);
        }
        fence(Ordering::SeqCst);
        self.put(at + USED_INDEX, used_index);
    }

    /// Numbers and heads of what is in flight, in order.
    fn in_flight(&self, at: usize) -> Vec<(u64, u16)> {
        let mut heads: Vec<(u64, u16)> = (0..self.descriptors)
            .filter_map(|head| {
                let descriptor = self.descriptor(at, head)?;
                let in_flight = self.get::<u8>(descriptor + IN_FLIGHT) == 1;
                in_flight.then(|| (self.get(descriptor + COUNTER), head))
            })
            .collect();
        heads.sort_unstable();
        heads
    }

    fn running(&mut self, queue: usize) -> Option<&mut Tracked> {
        self.queues.get_mut(queue).filter(|queue| queue.running)
    }

    fn descriptor(&self, at: usize, head: u16) -> Option<usize> {
        (head < self.descriptors).then(|| at + HEADER_BYTES + DESCRIPTOR_BYTES * usize::from(head))
    }

    // Offsets come from `bytes_of_queue`, which the region has room for: neither of these fails.

    fn get<T: ByteValued + Default>(&self, offset: usize) -> T {
        let field = self.region.get_ref::<T>(offset);
        field.map_or_else(|_| T::default(), |field| field.load())
    }

    fn put<T: ByteValued>(&self, offset: usize, value: T) {
        if let Ok(field) = self.region.get_ref::<T>(offset) {
            field.store(value);
        }
    }
}

impl Ledger for Inflight {
    fn left_over(&mut self, queue: usize) -> Option<u16> {
        self.queues.get_mut(queue)?.left_over.pop_front()
    }

    fn taken(&mut self, queue: usize, head: u16) {
        let Some(tracked) = self.running(queue) else {
            return;
        };
        let (at, counter) = (tracked.at, tracked.counter);
        tracked.counter = counter.wrapping_add(1);
        if let Some(descriptor) = self.descriptor(at, head) {
            self.put(descriptor + COUNTER, counter);
            fence(Ordering::SeqCst);
            self.put(descriptor + IN_FLIGHT, 1_u8);
        }
    }

    fn returning(&mut self, queue: usize, head: u16) {
        let Some(at) = self.running(queue).map(|tracked| tracked.at) else {
            return;
        };
        if let Some(descriptor) = self.descriptor(at, head) {
            self.put(descriptor + NEXT, self.get::<u16>(at + LAST_BATCH_HEAD));
            self.put(at + LAST_BATCH_HEAD, head);
            // All of it before the used ring's index.
            fence(Ordering::SeqCst);
        }
    }

    fn returned(&mut self, queue: usize, head: u16, used_index: u16) {
        let Some(at) = self.running(queue).map(|tracked| tracked.at) else {
            return;
        };
        fence(Ordering::SeqCst);
        if let Some(descriptor) = self.descriptor(at, head) {
            self.put(descriptor + IN_FLIGHT, 0_u8);
        }
        fence(Ordering::SeqCst);
        self.put(at + USED_INDEX, used_index);
    }
}
