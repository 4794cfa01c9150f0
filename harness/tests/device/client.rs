//! A front-end and its driver: memory, rings and the vhost-user messages of the `vhost` crate.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{Ordering, fence};

use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use vhost::vhost_user::message::{
    VhostUserConfigFlags, VhostUserInflight, VhostUserProtocolFeatures, VhostUserVirtioFeatures,
};
use vhost::vhost_user::{Frontend, VhostUserFrontend};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use vm_memory::{Bytes, FileOffset, GuestAddress, GuestMemoryMmap};
use vmm_sys_util::epoll::{ControlOperation, Epoll, EpollEvent, EventSet};
use vmm_sys_util::eventfd::EventFd;

/// Bytes of the guest's memory.
pub(crate) const MEMORY: u64 = 8 << 20;
/// Where buffers begin.
pub(crate) const BUFFERS: u64 = 1 << 20;
/// Room for a ring.
const RING: u64 = 0x1_0000;
const AVAILABLE: u64 = 0x4000;
const USED: u64 = 0x8000;
/// What the guest's memory looks like to the front-end: any address will do.
pub(crate) const USER: u64 = 0x7f00_0000_0000;

pub(crate) const NEXT: u16 = 1;
pub(crate) const WRITE: u16 = 2;
const EVENT_IDX: u64 = 1 << 29;

/// A virtual machine without a CPU.
pub(crate) struct Guest {
    pub(crate) file: File,
    pub(crate) memory: GuestMemoryMmap,
    pub(crate) queues: Vec<Queue>,
    inflight: Option<(VhostUserInflight, File)>,
    /// Whether the front-end keeps memory for what is in flight, where the back-end can use it.
    pub(crate) tracks: bool,
}

pub(crate) struct Queue {
    at: u64,
    pub(crate) size: u16,
    pub(crate) available: u16,
    pub(crate) used: u16,
    pub(crate) kick: EventFd,
    pub(crate) call: EventFd,
}

/// A part of a request.
#[derive(Clone, Copy)]
pub(crate) struct Part {
    pub(crate) at: u64,
    pub(crate) length: usize,
    pub(crate) writable: bool,
}

impl Guest {
    pub(crate) fn new(queues: usize, size: u16) -> Guest {
        let file = File::from(memfd_create("guest", MemfdFlags::CLOEXEC).unwrap());
        ftruncate(&file, MEMORY).unwrap();
        let whole = [(
            GuestAddress(0),
            usize::try_from(MEMORY).unwrap(),
            Some(FileOffset::new(file.try_clone().unwrap(), 0)),
        )];
        let queue = |number| Queue {
            at: number * RING,
            size,
            available: 0,
            used: 0,
            kick: EventFd::new(0).unwrap(),
            call: EventFd::new(vmm_sys_util::eventfd::EFD_NONBLOCK).unwrap(),
        };
        Guest {
            file,
            memory: GuestMemoryMmap::from_ranges_with_files(whole).unwrap(),
            queues: (0..queues as u64).map(queue).collect(),
            inflight: None,
            tracks: true,
        }
    }

    /// Connects, as after a start of the machine or a loss of the back-end; returns the connection.
    pub(crate) fn connect(&mut self, socket: &Path) -> Frontend {
        let mut frontend = self.negotiate(socket);
        for number in 0..self.queues.len() {
            self.start(&mut frontend, number);
        }
        frontend
    }

    /// The same, up to the rings.
    pub(crate) fn negotiate(&mut self, socket: &Path) -> Frontend {
        let stream = UnixStream::connect(socket).unwrap();
        let mut frontend = Frontend::from_stream(stream, self.queues.len() as u64);
        frontend.set_owner().unwrap();
        let features = frontend.get_features().unwrap();
        let protocol = VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();
        assert_ne!(features & protocol, 0);
        let offered = frontend.get_protocol_features().unwrap();
        frontend.set_protocol_features(offered).unwrap();
        frontend.set_features(features & !EVENT_IDX).unwrap();
        assert_eq!(frontend.get_queue_num().unwrap(), self.queues.len() as u64);
        self.share(&frontend);
        if self.tracks && offered.contains(VhostUserProtocolFeatures::INFLIGHT_SHMFD) {
            self.track(&mut frontend);
        }
        frontend
    }

    pub(crate) fn share(&self, frontend: &Frontend) {
        let region = VhostUserMemoryRegionInfo {
            guest_phys_addr: 0,
            memory_size: MEMORY,
            userspace_addr: USER,
            mmap_offset: 0,
            mmap_handle: self.file.as_raw_fd(),
        };
        frontend.set_mem_table(&[region]).unwrap();
    }

    pub(crate) fn track(&mut self, frontend: &mut Frontend) {
        if self.inflight.is_none() {
            let (queues, size) = (self.queues.len(), self.queues[0].size);
            let asked = VhostUserInflight::new(0, 0, u16::try_from(queues).unwrap(), size);
            self.inflight = Some(frontend.get_inflight_fd(&asked).unwrap());
        }
        let (told, file) = self.inflight.as_ref().unwrap();
        frontend.set_inflight_fd(told, file.as_raw_fd()).unwrap();
    }

    /// Starts a ring as QEMU does when its back-end was lost: what is answered is all it knows.
    pub(crate) fn start(&mut self, frontend: &mut Frontend, number: usize) {
        self.start_at(frontend, number, self.used_index(number));
    }

    /// Stops a ring as QEMU does when its machine stops; where it is to begin again.
    pub(crate) fn stop(&mut self, frontend: &mut Frontend, number: usize) -> u16 {
        frontend.set_vring_enable(number, false).unwrap();
        u16::try_from(frontend.get_vring_base(number).unwrap()).unwrap()
    }

    pub(crate) fn start_at(&mut self, frontend: &mut Frontend, number: usize, base: u16) {
        let queue = &self.queues[number];
        frontend.set_vring_num(number, queue.size).unwrap();
        frontend
            .set_vring_addr(number, &self.addresses(number))
            .unwrap();
        frontend.set_vring_base(number, base).unwrap();
        frontend.set_vring_call(number, &queue.call).unwrap();
        frontend.set_vring_kick(number, &queue.kick).unwrap();
        frontend.set_vring_enable(number, true).unwrap();
    }

    /// A driver begins anew: all indices are 0.
    pub(crate) fn forget_rings(&mut self) {
        for queue in &mut self.queues {
            (queue.available, queue.used) = (0, 0);
        }
        for at in self.queues.iter().map(|queue| queue.at) {
            self.put(at + AVAILABLE, 0_u32);
            self.put(at + USED, 0_u32);
        }
    }

    pub(crate) fn addresses(&self, number: usize) -> VringConfigData {
        let queue = &self.queues[number];
        VringConfigData {
            queue_max_size: queue.size,
            queue_size: queue.size,
            flags: 0,
            desc_table_addr: USER + queue.at,
            used_ring_addr: USER + queue.at + USED,
            avail_ring_addr: USER + queue.at + AVAILABLE,
            log_addr: None,
        }
    }

    pub(crate) fn config(frontend: &mut Frontend, bytes: u32) -> Vec<u8> {
        let flags = VhostUserConfigFlags::WRITABLE;
        let buffer = vec![0; usize::try_from(bytes).unwrap()];
        frontend.get_config(0, bytes, flags, &buffer).unwrap().1
    }

    pub(crate) fn put<T: vm_memory::ByteValued>(&self, at: u64, value: T) {
        self.memory.write_obj(value, GuestAddress(at)).unwrap();
    }

    pub(crate) fn get<T: vm_memory::ByteValued>(&self, at: u64) -> T {
        self.memory.read_obj(GuestAddress(at)).unwrap()
    }

    pub(crate) fn read(&self, at: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.memory
            .read_slice(&mut bytes, GuestAddress(at))
            .unwrap();
        bytes
    }

    pub(crate) fn write(&self, at: u64, bytes: &[u8]) {
        self.memory.write_slice(bytes, GuestAddress(at)).unwrap();
    }

    /// Puts descriptor `index` of a queue.
    pub(crate) fn describe(&self, number: usize, index: u16, part: Part, flags: u16, next: u16) {
        let at = self.queues[number].at + 16 * u64::from(index);
        self.put(at, part.at);
        self.put(at + 8, u32::try_from(part.length).unwrap());
        self.put(at + 12, flags);
        self.put(at + 14, next);
    }

    /// Makes the chain that begins at descriptor `head` available, and notifies.
    pub(crate) fn offer(&mut self, number: usize, head: u16) {
        let queue = &mut self.queues[number];
        let slot = u64::from(queue.available % queue.size);
        queue.available = queue.available.wrapping_add(1);
        let (at, index) = (queue.at, queue.available);
        self.put(at + AVAILABLE + 4 + 2 * slot, head);
        fence(Ordering::SeqCst);
        self.put(at + AVAILABLE + 2, index);
        self.queues[number].kick.write(1).unwrap();
    }

    /// Makes a request of `parts` in descriptors `head`, `head + 1`, … available.
    pub(crate) fn submit(&mut self, number: usize, head: u16, parts: &[Part]) {
        let indices = head..;
        for (index, (n, part)) in indices.zip(parts.iter().enumerate()) {
            let more = if n + 1 < parts.len() { NEXT } else { 0 };
            let write = if part.writable { WRITE } else { 0 };
            self.describe(number, index, *part, more | write, index + 1);
        }
        self.offer(number, head);
    }

    /// Requests of queue 0 that the memory which outlives the back-end says are in flight (vhost-user, "Inflight I/O
    /// tracking": 16 bytes of header, then 16 bytes a descriptor, whose first says so).
    pub(crate) fn in_flight(&self) -> usize {
        let (told, file) = self.inflight.as_ref().unwrap();
        let mut bytes = vec![0; 16 + 16 * usize::from(told.queue_size)];
        file.read_exact_at(&mut bytes, told.mmap_offset).unwrap();
        bytes[16..].chunks(16).filter(|it| it[0] == 1).count()
    }

    pub(crate) fn used_index(&self, number: usize) -> u16 {
        self.get(self.queues[number].at + USED + 2)
    }

    /// What was answered since this was last asked: (head, bytes written).
    pub(crate) fn answers(&mut self, number: usize) -> Vec<(u16, u32)> {
        let mut answers = Vec::new();
        while self.queues[number].used != self.used_index(number) {
            let queue = &mut self.queues[number];
            let slot = u64::from(queue.used % queue.size);
            queue.used = queue.used.wrapping_add(1);
            let at = queue.at + USED + 4 + 8 * slot;
            let head: u32 = self.get(at);
            answers.push((u16::try_from(head).unwrap(), self.get(at + 4)));
        }
        answers
    }

    /// Waits for at least `count` answers.
    pub(crate) fn wait(&mut self, number: usize, count: usize) -> Vec<(u16, u32)> {
        let mut answers = self.answers(number);
        while answers.len() < count {
            assert!(self.called(number, 20), "no call: {answers:?} of {count}");
            answers.extend(self.answers(number));
        }
        answers
    }

    /// Whether the back-end calls within so many seconds.
    pub(crate) fn called(&self, number: usize, seconds: i32) -> bool {
        let call = &self.queues[number].call;
        let epoll = Epoll::new().unwrap();
        let event = EpollEvent::new(EventSet::IN, 0);
        epoll
            .ctl(ControlOperation::Add, call.as_raw_fd(), event)
            .unwrap();
        let ready = epoll.wait(seconds * 1000, &mut [event]).unwrap() > 0;
        let _ = call.read();
        ready
    }
}

/// A disk driver: requests of virtio-blk, one buffer of 4 KiB for each of up to 32 of them.
pub(crate) struct Disk {
    pub(crate) guest: Guest,
    /// By head, what was asked and not answered.
    pub(crate) asked: BTreeMap<u16, (u32, u64)>,
}

pub(crate) const BLOCK: usize = 4096;
const SLOT: u64 = 0x2000;

impl Disk {
    pub(crate) fn new() -> Disk {
        Disk {
            guest: Guest::new(1, 128),
            asked: BTreeMap::new(),
        }
    }

    fn buffer(head: u16) -> u64 {
        BUFFERS + SLOT * u64::from(head / 3)
    }

    /// Asks for something, as request `number`. Blocks are of 4 KiB.
    pub(crate) fn ask(&mut self, number: u16, kind: u32, block: u64, data: &[u8]) {
        let head = 3 * number;
        let at = Self::buffer(head);
        self.guest.put(at, kind);
        self.guest.put(at + 8, block * 8);
        self.guest.put(at + 16, 0xee_u8);
        self.guest.write(at + 4096, data);
        let header = Part {
            at,
            length: 16,
            writable: false,
        };
        let body = Part {
            at: at + 4096,
            length: BLOCK,
            writable: kind != 1,
        };
        let status = Part {
            at: at + 16,
            length: 1,
            writable: true,
        };
        assert!(self.asked.insert(head, (kind, block)).is_none());
        match kind {
            4 => self.guest.submit(0, head, &[header, status]),
            _ => self.guest.submit(0, head, &[header, body, status]),
        }
    }

    /// Takes answers, at least `count`; each must be one that was asked for. Returns (kind, block, status).
    pub(crate) fn take(&mut self, count: usize) -> Vec<(u32, u64, u8)> {
        let answers = self.guest.wait(0, count);
        let answered = |(head, _): (u16, u32)| {
            let asked = self.asked.remove(&head);
            let (kind, block) = asked.expect("answered twice, or never asked");
            (kind, block, self.guest.get(Self::buffer(head) + 16))
        };
        answers.into_iter().map(answered).collect()
    }

    pub(crate) fn do_write(&mut self, block: u64, byte: u8) -> u8 {
        self.ask(0, 1, block, &[byte; BLOCK]);
        self.take(1)[0].2
    }

    pub(crate) fn do_flush(&mut self) -> u8 {
        self.ask(0, 4, 0, &[]);
        self.take(1)[0].2
    }

    pub(crate) fn do_read(&mut self, block: u64) -> Result<Vec<u8>, u8> {
        self.ask(0, 0, block, &[]);
        match self.take(1)[0].2 {
            0 => Ok(self.guest.read(Self::buffer(0) + 4096, BLOCK)),
            status => Err(status),
        }
    }
}
