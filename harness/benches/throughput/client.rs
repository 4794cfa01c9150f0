//! A host-side front-end of a vhost-user block device: no guest between it and the back-end.

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{Ordering, fence};

use devices::virtio::F_VERSION_1;
use vhost::vhost_user::message::{VhostUserProtocolFeatures, VhostUserVirtioFeatures};
use vhost::vhost_user::{Frontend, VhostUserFrontend};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use virtio_bindings::virtio_blk::{VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT};
use virtio_bindings::virtio_ring::{
    VRING_AVAIL_F_NO_INTERRUPT, VRING_DESC_F_NEXT, VRING_DESC_F_WRITE, VRING_USED_F_NO_NOTIFY,
};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend, GuestMemoryMmap};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

/// Ring entries; a request takes three.
const SIZE: u16 = 128;
const DESC_AT: u64 = 0;
const AVAIL_AT: u64 = 0x1000;
const USED_AT: u64 = 0x2000;
/// Headers and status bytes, 32 bytes a request.
const HEADERS_AT: u64 = 0x4000;
const DATA_AT: u64 = 0x10_0000;
/// Data of all requests in flight.
const DATA_BYTES: u64 = 32 << 20;
#[expect(clippy::cast_possible_truncation, reason = "a bit of a 16-bit field")]
const NEXT: u16 = VRING_DESC_F_NEXT as u16;
#[expect(clippy::cast_possible_truncation, reason = "a bit of a 16-bit field")]
const WRITE: u16 = VRING_DESC_F_WRITE as u16;
#[expect(clippy::cast_possible_truncation, reason = "a bit of a 16-bit field")]
const NO_INTERRUPT: u16 = VRING_AVAIL_F_NO_INTERRUPT as u16;

/// What to do again and again.
#[derive(Clone, Copy)]
pub(crate) struct Load {
    pub(crate) name: &'static str,
    pub(crate) writes: bool,
    /// One after the other instead of anywhere.
    pub(crate) sequential: bool,
    pub(crate) bytes: u32,
    pub(crate) depth: u16,
}

/// A connected front-end.
pub(crate) struct Client {
    frontend: Frontend,
    memory: GuestMemoryMmap<()>,
    kick: EventFd,
    _call: EventFd,
    available: u16,
    used: u16,
    sectors: u64,
    random: u64,
}

impl Client {
    /// Connects to the back-end at `path` and starts its queue.
    pub(crate) fn connect(path: &Path) -> Client {
        let bytes = usize::try_from(DATA_AT + DATA_BYTES).expect("it fits");
        let file = vm_memory::FileOffset::new(shared_file(bytes), 0);
        let range = (GuestAddress(0), bytes, Some(file));
        let memory = GuestMemoryMmap::<()>::from_ranges_with_files([range]).expect("memory");
        let socket = UnixStream::connect(path).expect("the back-end listens");
        let mut frontend = Frontend::from_stream(socket, 1);
        frontend.set_owner().expect("owner");
        let offered = frontend.get_features().expect("features");
        let protocol = VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();
        assert!(offered & F_VERSION_1 != 0 && offered & protocol != 0);
        let theirs = frontend.get_protocol_features().expect("protocol");
        let ours = VhostUserProtocolFeatures::CONFIG | VhostUserProtocolFeatures::REPLY_ACK;
        frontend
            .set_protocol_features(theirs & ours)
            .expect("protocol");
        frontend
            .set_features(F_VERSION_1 | protocol)
            .expect("features");
        let region = memory.find_region(GuestAddress(0)).expect("it is there");
        let base = region.as_ptr() as u64;
        let info = VhostUserMemoryRegionInfo {
            guest_phys_addr: 0,
            memory_size: bytes as u64,
            userspace_addr: base,
            mmap_offset: 0,
            mmap_handle: vm_memory::GuestMemoryRegion::file_offset(region)
                .expect("it has a file")
                .file()
                .as_raw_fd(),
        };
        frontend.set_mem_table(&[info]).expect("memory is taken");
        frontend.set_vring_num(0, SIZE).expect("size");
        let addresses = VringConfigData {
            queue_max_size: SIZE,
            queue_size: SIZE,
            flags: 0,
            desc_table_addr: base + DESC_AT,
            used_ring_addr: base + USED_AT,
            avail_ring_addr: base + AVAIL_AT,
            log_addr: None,
        };
        frontend.set_vring_addr(0, &addresses).expect("addresses");
        frontend.set_vring_base(0, 0).expect("base");
        let event = || EventFd::new(EFD_NONBLOCK).expect("eventfd");
        let (kick, call) = (event(), event());
        frontend.set_vring_call(0, &call).expect("call");
        frontend.set_vring_kick(0, &kick).expect("kick");
        frontend.set_vring_enable(0, true).expect("enable");
        let buffer = [0; 8];
        let flags = vhost::vhost_user::message::VhostUserConfigFlags::empty();
        let (_, capacity) = frontend.get_config(0, 8, flags, &buffer).expect("config");
        let sectors = u64::from_le_bytes(capacity[..8].try_into().expect("eight bytes"));
        // Answers are polled for.
        memory
            .write_obj(NO_INTERRUPT, GuestAddress(AVAIL_AT))
            .expect("in memory");
        Client {
            frontend,
            memory,
            kick,
            _call: call,
            available: 0,
            used: 0,
            sectors,
            random: 0x9e37_79b9_7f4a_7c15,
        }
    }

    /// Does `count` requests of `load`, `depth` of them at a time.
    pub(crate) fn run(&mut self, load: Load, count: u64) {
        let mut begun = 0;
        let mut at = 0;
        for slot in 0..load.depth {
            self.begin(load, slot, &mut at);
            begun += 1;
        }
        self.notify();
        let mut done = 0;
        while done < count {
            let used = self.used_index();
            if used == self.used {
                std::hint::spin_loop();
                continue;
            }
            fence(Ordering::Acquire);
            while self.used != used {
                let entry = USED_AT + 4 + u64::from(self.used % SIZE) * 8;
                let head: u32 = self.read(entry);
                let slot = u16::try_from(head / 3).expect("one of ours");
                let status: u8 = self.read(HEADERS_AT + u64::from(slot) * 32 + 16);
                assert_eq!(status, 0, "a request failed");
                self.used = self.used.wrapping_add(1);
                done += 1;
                if begun < count {
                    self.begin(load, slot, &mut at);
                    begun += 1;
                }
            }
            self.notify();
        }
    }

    /// Ends the connection in good order.
    pub(crate) fn leave(mut self) {
        let _ = self.frontend.set_vring_enable(0, false);
        let _ = self.frontend.get_vring_base(0);
    }

    fn begin(&mut self, load: Load, slot: u16, at: &mut u64) {
        let blocks = self.sectors * 512 / u64::from(load.bytes);
        let block = if load.sequential {
            *at += 1;
            *at % blocks
        } else {
            // xorshift64.
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            self.random % blocks
        };
        let header = HEADERS_AT + u64::from(slot) * 32;
        let kind = if load.writes {
            VIRTIO_BLK_T_OUT
        } else {
            VIRTIO_BLK_T_IN
        };
        self.write(header, kind);
        self.write(header + 4, 0_u32);
        self.write(header + 8, block * u64::from(load.bytes) / 512);
        let data = DATA_AT + u64::from(slot) * u64::from(load.bytes);
        assert!(data + u64::from(load.bytes) <= DATA_AT + DATA_BYTES);
        let head = slot * 3;
        let direction = if load.writes { 0 } else { WRITE };
        self.describe(head, header, 16, NEXT);
        self.describe(head + 1, data, load.bytes, NEXT | direction);
        self.describe(head + 2, header + 16, 1, WRITE);
        self.write(AVAIL_AT + 4 + u64::from(self.available % SIZE) * 2, head);
        self.available = self.available.wrapping_add(1);
    }

    fn describe(&self, index: u16, address: u64, length: u32, flags: u16) {
        let at = DESC_AT + u64::from(index) * 16;
        self.write(at, address);
        self.write(at + 8, length);
        self.write(at + 12, flags);
        self.write(at + 14, index + 1);
    }

    /// Shows what was begun, and tells the back-end where it wants to be told.
    fn notify(&self) {
        let index = GuestAddress(AVAIL_AT + 2);
        self.memory
            .store(self.available, index, Ordering::Release)
            .expect("in memory");
        fence(Ordering::SeqCst);
        let flags: u16 = self.read(USED_AT);
        if u32::from(flags) & VRING_USED_F_NO_NOTIFY == 0 {
            self.kick.write(1).expect("a kick");
        }
    }

    fn used_index(&self) -> u16 {
        self.memory
            .load::<u16>(GuestAddress(USED_AT + 2), Ordering::Acquire)
            .expect("in memory")
    }

    fn read<T: vm_memory::ByteValued>(&self, at: u64) -> T {
        self.memory.read_obj(GuestAddress(at)).expect("in memory")
    }

    fn write<T: vm_memory::ByteValued>(&self, at: u64, value: T) {
        self.memory
            .write_obj(value, GuestAddress(at))
            .expect("in memory");
    }
}

fn shared_file(bytes: usize) -> std::fs::File {
    let file = rustix::fs::memfd_create("client", rustix::fs::MemfdFlags::CLOEXEC).expect("memfd");
    rustix::fs::ftruncate(&file, bytes as u64).expect("it has room");
    file.into()
}
