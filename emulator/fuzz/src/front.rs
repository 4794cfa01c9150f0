use std::fs::File;
use std::io::IoSlice;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use arbitrary::Arbitrary;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

/// Bytes of the guest's memory, and where it is for the front-end.
const MEMORY: u64 = 1 << 20;
const USER: u64 = 0x7f00_0000_0000;
/// Room for a ring, and where its parts are in it.
const RING: u64 = 0x1_0000;
const AVAILABLE: u64 = 0x4000;
const USED: u64 = 0x8000;
/// Where buffers begin.
const BUFFERS: u64 = 0x4_0000;
const QUEUES: u64 = 2;
const SIZE: u16 = 64;
/// Bytes for what is in flight.
const INFLIGHT: u64 = 0x4000;

/// Version 1 of the protocol.
const FLAGS: u32 = 1;
const NEED_REPLY: u32 = 1 << 3;

/// Messages by number ("Front-end message types").
mod say {
    pub(super) const GET_FEATURES: u32 = 1;
    pub(super) const SET_FEATURES: u32 = 2;
    pub(super) const SET_OWNER: u32 = 3;
    pub(super) const SET_MEM_TABLE: u32 = 5;
    pub(super) const SET_VRING_NUM: u32 = 8;
    pub(super) const SET_VRING_ADDR: u32 = 9;
    pub(super) const SET_VRING_BASE: u32 = 10;
    pub(super) const GET_VRING_BASE: u32 = 11;
    pub(super) const SET_VRING_KICK: u32 = 12;
    pub(super) const SET_VRING_CALL: u32 = 13;
    pub(super) const GET_PROTOCOL_FEATURES: u32 = 15;
    pub(super) const SET_PROTOCOL_FEATURES: u32 = 16;
    pub(super) const SET_VRING_ENABLE: u32 = 18;
    pub(super) const SET_BACKEND_REQ_FD: u32 = 21;
    pub(super) const GET_INFLIGHT_FD: u32 = 31;
    pub(super) const SET_INFLIGHT_FD: u32 = 32;
    pub(super) const RESET_DEVICE: u32 = 34;

    /// How long the body of a message must be, or else nobody looks into it.
    pub(super) fn body_bytes(request: u32) -> Option<usize> {
        Some(match request {
            SET_FEATURES | SET_VRING_NUM | SET_VRING_BASE | GET_VRING_BASE => 8,
            SET_VRING_KICK | SET_VRING_CALL | SET_PROTOCOL_FEATURES | SET_VRING_ENABLE => 8,
            SET_VRING_ADDR => 40,
            GET_INFLIGHT_FD | SET_INFLIGHT_FD => 20,
            _ => return None,
        })
    }
}

/// What a front-end does next.
#[derive(Debug, Arbitrary)]
pub enum Step {
    /// All that comes before the rings, in order.
    Negotiate {
        event_index: bool,
    },
    /// Keeps memory for what is in flight, with such bytes in it.
    Track(Vec<u8>),
    /// Starts a ring at a base: what is answered, or another.
    Start {
        queue: u8,
        base: Option<u8>,
    },
    /// Stops one, as QEMU does, or without a word before.
    Stop {
        queue: u8,
        disable: bool,
    },
    /// Puts a request on a ring, and notifies.
    Offer {
        queue: u8,
        head: u8,
        parts: Vec<Part>,
    },
    /// Any message of any form.
    Say {
        request: u8,
        flags: u8,
        /// What its header promises besides what comes; nothing: the body has the length that is looked into.
        more: u8,
        words: Vec<Word>,
        files: Vec<Kind>,
    },
    /// Some bytes.
    Bytes(Vec<u8>),
    /// Changes memory anywhere.
    Poke {
        at: u32,
        bytes: Vec<u8>,
    },
    /// Cuts memory short, or makes it longer.
    Truncate(u32),
    /// Reads what was answered.
    Read,
    ResetDevice,
    /// Leaves, and comes back at once.
    Leave,
}

/// A word of a message's body.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub enum Word {
    /// A small number.
    Small(u8),
    /// Half an address of the front-end's, as aligned as a ring is.
    User(u32),
    /// Anything.
    Any(u32),
}

/// A descriptor that comes with a message.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub enum Kind {
    Memory,
    ShortMemory,
    Event,
    Socket,
}

/// A buffer of a request.
#[derive(Clone, Copy, Debug, Arbitrary)]
pub struct Part {
    page: u8,
    length: u16,
    writable: bool,
    /// What it begins with.
    word: u8,
}

/// The front-end.
pub struct Front {
    path: PathBuf,
    socket: Option<UnixStream>,
    memory: File,
    inflight: File,
    kicks: [OwnedFd; 2],
    calls: [OwnedFd; 2],
    /// The other end of a channel for notices.
    notices: Option<UnixStream>,
    available: [u16; 2],
}

fn memory(bytes: u64) -> File {
    let file = memfd_create("fuzz", MemfdFlags::CLOEXEC).expect("memory can be had");
    ftruncate(&file, bytes).expect("memory can be had");
    File::from(file)
}

fn event() -> OwnedFd {
    eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).expect("an eventfd can be had")
}

impl Front {
    /// One that will connect at `path`.
    pub fn new(path: &Path) -> Front {
        Front {
            path: path.to_owned(),
            socket: None,
            memory: memory(MEMORY),
            inflight: memory(INFLIGHT),
            kicks: [event(), event()],
            calls: [event(), event()],
            notices: None,
            available: [0; 2],
        }
    }

    /// Does a step.
    pub fn take(&mut self, step: Step) {
        if self.socket.is_none() {
            self.connect();
        }
        match step {
            Step::Negotiate { event_index } => self.negotiate(event_index),
            Step::Track(bytes) => {
                let _ = self.inflight.write_at(&bytes, 0);
                // Bytes and offset, then queues and their size in 16 bits each.
                let told = [INFLIGHT, 0, QUEUES | u64::from(SIZE) << 16];
                let body: Vec<u8> = told.into_iter().flat_map(u64::to_le_bytes).collect();
                self.send(say::GET_INFLIGHT_FD, FLAGS, &body[..20], &[]);
                let file = self.inflight.try_clone().expect("it can be copied");
                self.send(say::SET_INFLIGHT_FD, FLAGS, &body[..20], &[file.as_fd()]);
            }
            Step::Start { queue, base } => self.start(u64::from(queue) % QUEUES, base),
            Step::Stop { queue, disable } => {
                let queue = u32::from(queue) % 2;
                if disable {
                    self.words(say::SET_VRING_ENABLE, &[queue, 0]);
                }
                self.words(say::GET_VRING_BASE, &[queue, 0]);
            }
            Step::Offer { queue, head, parts } => self.offer(queue % 2, head, &parts),
            Step::Say {
                request,
                flags,
                more,
                words,
                files,
            } => self.say(request, flags, more, &words, &files),
            Step::Bytes(bytes) => self.write(&bytes, &[]),
            Step::Poke { at, bytes } => {
                let at = u64::from(at) % MEMORY;
                // One that was cut short grows again.
                let _ = self.memory.write_at(&bytes, at);
            }
            Step::Truncate(bytes) => {
                let _ = ftruncate(&self.memory, u64::from(bytes) % (2 * MEMORY));
            }
            Step::Read => {
                self.read(&mut [0; 4096]);
            }
            Step::ResetDevice => self.words(say::RESET_DEVICE, &[]),
            Step::Leave => self.connect(),
        }
    }

    /// Whoever comes after this one asks for the features.
    pub fn begin_again(&mut self) {
        self.connect();
        self.words(say::GET_FEATURES, &[]);
    }

    /// Whether they came.
    pub fn is_answered(&mut self) -> bool {
        self.read(&mut [0; 64]) == 20
    }

    fn connect(&mut self) {
        // The one before has left by then.
        self.socket = None;
        let socket = UnixStream::connect(&self.path).expect("the server listens");
        socket.set_nonblocking(true).expect("a socket takes flags");
        self.socket = Some(socket);
    }

    fn negotiate(&mut self, event_index: bool) {
        let features = 1_u64 << 32 | 1 << 30 | u64::from(event_index) << 29;
        self.words(say::SET_OWNER, &[]);
        self.words(say::GET_FEATURES, &[]);
        self.words(say::GET_PROTOCOL_FEATURES, &[]);
        let protocol = [1, 3, 5, 9, 12, 13]
            .iter()
            .fold(0_u64, |all, bit| all | 1 << bit);
        self.longs(say::SET_PROTOCOL_FEATURES, &[protocol]);
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets can be had");
        self.send(say::SET_BACKEND_REQ_FD, FLAGS, &[], &[theirs.as_fd()]);
        self.notices = Some(ours);
        self.longs(say::SET_FEATURES, &[features]);
        let file = self.memory.try_clone().expect("it can be copied");
        let table: Vec<u8> = [1, 0, MEMORY, USER, 0]
            .into_iter()
            .flat_map(u64::to_le_bytes)
            .collect();
        self.send(say::SET_MEM_TABLE, FLAGS, &table, &[file.as_fd()]);
    }

    fn start(&mut self, queue: u64, base: Option<u8>) {
        let number = u32::try_from(queue).unwrap_or(0);
        let at = USER + queue * RING;
        self.words(say::SET_VRING_NUM, &[number, SIZE.into()]);
        let addresses = [queue, at, at + USED, at + AVAILABLE, 0];
        self.longs(say::SET_VRING_ADDR, &addresses);
        let mut answered = [0; 2];
        let _ = self.memory.read_at(&mut answered, queue * RING + USED + 2);
        let base = base.map_or(u16::from_le_bytes(answered), u16::from);
        self.words(say::SET_VRING_BASE, &[number, base.into()]);
        let index = usize::from(queue == 1);
        let copy = |file: &OwnedFd| file.try_clone().expect("it can be copied");
        let (call, kick) = (copy(&self.calls[index]), copy(&self.kicks[index]));
        let which = queue.to_le_bytes();
        self.send(say::SET_VRING_CALL, FLAGS, &which, &[call.as_fd()]);
        self.send(say::SET_VRING_KICK, FLAGS, &which, &[kick.as_fd()]);
        self.words(say::SET_VRING_ENABLE, &[number, 1]);
    }

    fn offer(&mut self, queue: u8, head: u8, parts: &[Part]) {
        let ring = u64::from(queue) * RING;
        let head = u16::from(head) % SIZE;
        for (n, part) in (0..SIZE).zip(parts) {
            let index = (head + n) % SIZE;
            let more = u16::from(usize::from(n) + 1 < parts.len());
            let at = BUFFERS + 0x1000 * u64::from(part.page);
            let mut descriptor = at.to_le_bytes().to_vec();
            descriptor.extend(u32::from(part.length).to_le_bytes());
            let flags = more | u16::from(part.writable) << 1;
            descriptor.extend(flags.to_le_bytes());
            descriptor.extend(((index + 1) % SIZE).to_le_bytes());
            let _ = self
                .memory
                .write_at(&descriptor, ring + 16 * u64::from(index));
            let _ = self.memory.write_at(&[part.word, 0, 0, 0], at);
        }
        let available = &mut self.available[usize::from(queue)];
        let slot = u64::from(*available % SIZE);
        *available = available.wrapping_add(1);
        let index = available.to_le_bytes();
        let at = ring + AVAILABLE;
        let _ = self.memory.write_at(&head.to_le_bytes(), at + 4 + 2 * slot);
        let _ = self.memory.write_at(&index, at + 2);
        let _ = rustix::io::write(&self.kicks[usize::from(queue)], &1_u64.to_ne_bytes());
    }

    fn say(&mut self, request: u8, flags: u8, more: u8, words: &[Word], files: &[Kind]) {
        let mut bytes = Vec::new();
        // No more than there are.
        let request = u32::from(request) % 48;
        let body = words.iter().flat_map(|word| {
            match word {
                Word::Small(number) => u32::from(*number),
                Word::User(at) => *at & !0xf,
                Word::Any(number) => *number,
            }
            .to_le_bytes()
        });
        let mut body: Vec<u8> = body.collect();
        if let Some(bytes) = say::body_bytes(request).filter(|_| more == 0) {
            body.resize(bytes, 0);
        }
        let length = u32::try_from(body.len()).unwrap_or(0) + u32::from(more);
        let head = [request, FLAGS | u32::from(flags), length];
        bytes.extend(head.iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend(body);
        let open = |kind: &Kind| match kind {
            Kind::Memory => self.memory.try_clone().expect("it can be copied").into(),
            Kind::ShortMemory => memory(100).into(),
            Kind::Event => event(),
            Kind::Socket => UnixStream::pair().expect("sockets can be had").0.into(),
        };
        let files: Vec<OwnedFd> = files.iter().take(12).map(open).collect();
        let files: Vec<_> = files.iter().map(AsFd::as_fd).collect();
        self.write(&bytes, &files);
    }

    fn words(&mut self, request: u32, words: &[u32]) {
        let body: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        self.send(request, FLAGS, &body, &[]);
    }

    fn longs(&mut self, request: u32, longs: &[u64]) {
        let body: Vec<u8> = longs.iter().flat_map(|it| it.to_le_bytes()).collect();
        self.send(request, FLAGS | NEED_REPLY, &body, &[]);
    }

    fn send(&mut self, request: u32, flags: u32, body: &[u8], files: &[BorrowedFd<'_>]) {
        let length = u32::try_from(body.len()).unwrap_or(0);
        let head = [request, flags, length];
        let mut bytes: Vec<u8> = head.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.extend(body);
        self.write(&bytes, files);
    }

    fn write(&mut self, bytes: &[u8], files: &[BorrowedFd<'_>]) {
        let Some(socket) = &self.socket else {
            return;
        };
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(12))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !files.is_empty() {
            control.push(SendAncillaryMessage::ScmRights(files));
        }
        // It may have hung up already, or not read for long.
        let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
        let _ = sendmsg(socket, &[IoSlice::new(bytes)], &mut control, flags);
    }

    fn read(&mut self, into: &mut [u8]) -> usize {
        let socket = self.socket.as_ref();
        socket
            .and_then(|it| rustix::io::read(it, into).ok())
            .unwrap_or(0)
    }
}
