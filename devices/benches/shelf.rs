//! How fast the shelf answers a driver: its virtio side through a real ring, everything in memory,
//! no timing.
//!
//! `cargo bench -p arraybench-devices --bench shelf [-- PART-OF-A-NAME]`. Each line: array, what is
//! asked, requests a second, megabytes a second, what CPU a gigabyte takes (which depends least on what else the
//! machine does).

use std::time::{Duration, Instant};

use devices::block::BlockVirtio;
use devices::event::DeviceEvent;
use devices::medium::Medium;
use devices::power::mix;
use devices::shelf::{DiskTiming, Level, STORED_BYTES, Shelf, ShelfSettings};
use devices::time::Nanos;
use devices::virtio::{DeviceIo, F_VERSION_1, GuestMemory, VirtioDevice};
use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_T_FLUSH, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT,
};
use virtio_bindings::virtio_ring::{VRING_DESC_F_NEXT, VRING_DESC_F_WRITE};
use virtio_queue::mock::MockSplitQueue;
use virtio_queue::{Queue, QueueT};
use vm_memory::{Bytes, GuestAddress};

const VOLUME_BYTES: u64 = 512 << 20;
const CACHE_BYTES: u64 = 64 << 20;
const CHUNK_BYTES: u64 = 64 << 10;
/// Sectors of a member before its first row.
const OWN_SECTORS: u64 = 136;
const SECTOR_BYTES: u64 = 512;
const LEAST_TIME: Duration = Duration::from_millis(700);

const RING_SIZE: u16 = 128;
const RING: GuestAddress = GuestAddress(0x1000);
const USED_RING: u64 = 0x4000;
/// Header and status of each request lie here.
const HEADERS: u64 = 0x8000;
const HEADER_SPACING: u64 = 32;
const STATUS_OFFSET: u64 = 16;
const BUFFERS: u64 = 0x1_0000;
const MEMORY_BYTES: usize = 64 << 20;

#[expect(clippy::cast_possible_truncation, reason = "a bit of a 16-bit field")]
const NEXT: u16 = VRING_DESC_F_NEXT as u16;
#[expect(clippy::cast_possible_truncation, reason = "a bit of a 16-bit field")]
const WRITE: u16 = VRING_DESC_F_WRITE as u16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
enum Ask {
    Read = VIRTIO_BLK_T_IN,
    Write = VIRTIO_BLK_T_OUT,
    Flush = VIRTIO_BLK_T_FLUSH,
}

/// Requests of one kind.
struct Load {
    name: &'static str,
    ask: Ask,
    bytes: u64,
    depth: u16,
    random: bool,
}

const LOADS: [Load; 6] = [
    Load {
        name: "write 1 MiB depth 8",
        ask: Ask::Write,
        bytes: 1 << 20,
        depth: 8,
        random: false,
    },
    Load {
        name: "read 1 MiB depth 8",
        ask: Ask::Read,
        bytes: 1 << 20,
        depth: 8,
        random: false,
    },
    Load {
        name: "read 4 KiB depth 1",
        ask: Ask::Read,
        bytes: 4096,
        depth: 1,
        random: true,
    },
    Load {
        name: "read 4 KiB depth 32",
        ask: Ask::Read,
        bytes: 4096,
        depth: 32,
        random: true,
    },
    Load {
        name: "write 4 KiB depth 1",
        ask: Ask::Write,
        bytes: 4096,
        depth: 1,
        random: true,
    },
    Load {
        name: "write 4 KiB depth 32",
        ask: Ask::Write,
        bytes: 4096,
        depth: 32,
        random: true,
    },
];

/// A driver with one shelf of its own.
struct Bench {
    shelf: Shelf,
    device: BlockVirtio<Shelf>,
    memory: GuestMemory,
    queues: Vec<Queue>,
    events: Vec<DeviceEvent>,
    now: Nanos,
    descriptors: u64,
    available_ring: u64,
    offered: u16,
    seen: u16,
}

impl Bench {
    fn new(level: Level, members: u64, columns: u64) -> Bench {
        let member_bytes =
            (VOLUME_BYTES / columns / SECTOR_BYTES + OWN_SECTORS) * STORED_BYTES as u64;
        let settings = ShelfSettings {
            level,
            chunk_bytes: u32::try_from(CHUNK_BYTES).expect("a small chunk"),
            cache_bytes: CACHE_BYTES,
            timing: DiskTiming {
                read: Nanos::ZERO,
                write: Nanos::ZERO,
                byte: Nanos::ZERO,
                cache: Nanos::ZERO,
            },
            regions: Vec::new(),
            array_id: 1,
        };
        let media = (0..members)
            .map(|_| Medium::memory(member_bytes, 0))
            .collect();
        let mut shelf = Shelf::create(settings, media, Vec::new()).expect("an array");
        shelf.power_on(Nanos::ZERO, &mut Vec::new());
        let memory = GuestMemory::from_ranges(&[(GuestAddress(0), MEMORY_BYTES)]).expect("memory");
        let ring = MockSplitQueue::create(&memory, RING, RING_SIZE);
        let mut queue: Queue = ring.create_queue().expect("a queue");
        queue.set_used_ring_address(Some(u32::try_from(USED_RING).expect("low")), Some(0));
        let (descriptors, available_ring) = (ring.desc_table_addr().0, ring.avail_addr().0);
        Bench {
            shelf,
            device: BlockVirtio::new(0),
            queues: vec![queue],
            events: Vec::new(),
            now: Nanos::ZERO,
            descriptors,
            available_ring,
            offered: 0,
            seen: 0,
            memory,
        }
    }

    fn put<T: vm_memory::ByteValued>(&self, address: u64, value: T) {
        self.memory
            .write_obj(value, GuestAddress(address))
            .expect("an address in memory");
    }

    /// Writes the chains of a load: header, data, status, three descriptors each.
    fn prepare(&self, load: &Load) {
        let data_flags = NEXT | if load.ask == Ask::Read { WRITE } else { 0 };
        for slot in 0..load.depth {
            let header = HEADERS + u64::from(slot) * HEADER_SPACING;
            let buffer = BUFFERS + u64::from(slot) * load.bytes;
            let length = u32::try_from(load.bytes).expect("a small request");
            let chain = [
                (header, 16, NEXT),
                (buffer, length, data_flags),
                (header + STATUS_OFFSET, 1, WRITE),
            ];
            for (n, (address, length, flags)) in (3 * slot..).zip(chain) {
                let at = self.descriptors + 16 * u64::from(n);
                self.put(at, address);
                self.put::<u32>(at + 8, length);
                self.put::<u16>(at + 12, flags);
                self.put(at + 14, n + 1);
            }
        }
    }

    fn offer(&mut self, slot: u16, ask: Ask, sector: u64) {
        let header = HEADERS + u64::from(slot) * HEADER_SPACING;
        self.put(header, [ask as u64, sector]);
        self.put(header + STATUS_OFFSET, 0xff_u8);
        let entry = 4 + 2 * u64::from(self.offered % RING_SIZE);
        self.put(self.available_ring + entry, 3 * slot);
        self.offered = self.offered.wrapping_add(1);
        self.put(self.available_ring + 2, self.offered);
    }

    fn service(&mut self) {
        self.shelf.advance(self.now, &mut self.events);
        let mut core = &mut self.shelf;
        let mut io = DeviceIo::new(
            self.now,
            F_VERSION_1 | 1 << VIRTIO_BLK_F_FLUSH,
            &self.memory,
            &mut self.queues,
            &mut self.events,
        );
        self.device.service(&mut core, &mut io);
        assert!(!io.needs_reset, "the driver is honest");
        self.events.clear();
    }

    /// Lets the device work until it has answered something; hands out the slots that came back.
    fn answered(&mut self, slots: &mut Vec<u16>) {
        self.service();
        loop {
            let index: u16 = self
                .memory
                .read_obj(GuestAddress(USED_RING + 2))
                .expect("a ring");
            if index != self.seen {
                while self.seen != index {
                    let entry = USED_RING + 4 + 8 * u64::from(self.seen % RING_SIZE);
                    let head: u32 = self.memory.read_obj(GuestAddress(entry)).expect("a ring");
                    let slot = u16::try_from(head / 3).expect("a head");
                    let status = HEADERS + u64::from(slot) * HEADER_SPACING + STATUS_OFFSET;
                    let status: u8 = self
                        .memory
                        .read_obj(GuestAddress(status))
                        .expect("a status");
                    assert_eq!(status, 0, "a request failed");
                    slots.push(slot);
                    self.seen = self.seen.wrapping_add(1);
                }
                return;
            }
            let core = &mut self.shelf;
            self.now = self
                .device
                .deadline(&core)
                .expect("an answer to come")
                .max(self.now);
            self.service();
        }
    }

    /// Plays a load for a while; how many requests that were, how long it took, how much of that on a CPU.
    fn play(&mut self, load: &Load) -> (u64, Duration, Duration) {
        self.prepare(load);
        let requests_in_volume = VOLUME_BYTES / load.bytes;
        let mut free: Vec<u16> = (0..load.depth).collect();
        let (begin, cpu) = (Instant::now(), cpu());
        let mut asked = 0;
        // Whole passes where it goes on in sequence, so that everything is touched.
        let pass = if load.random {
            4096
        } else {
            requests_in_volume
        };
        while begin.elapsed() < LEAST_TIME {
            for _ in 0..pass {
                let place = if load.random { mix(7, asked) } else { asked } % requests_in_volume;
                let slot = free.pop().expect("a free slot");
                self.offer(slot, load.ask, place * load.bytes / SECTOR_BYTES);
                asked += 1;
                if free.is_empty() {
                    self.answered(&mut free);
                }
            }
            while free.len() < usize::from(load.depth) {
                self.answered(&mut free);
            }
            if load.ask == Ask::Write && !load.random {
                self.flush(&mut free);
            }
        }
        if load.ask == Ask::Write && load.random {
            self.flush(&mut free);
        }
        (asked, begin.elapsed(), self::cpu().saturating_sub(cpu))
    }

    /// A flush in the first slot: its data goes unused.
    fn flush(&mut self, free: &mut Vec<u16>) {
        let slot = free.pop().expect("a free slot");
        self.offer(slot, Ask::Flush, 0);
        self.answered(free);
    }
}

/// The CPU time this process has used.
fn cpu() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Behind the name, which ends with the last parenthesis: utime and stime are fields 14 and 15.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = fields.split_whitespace().skip(11).take(2);
    let ticks: u64 = ticks.filter_map(|field| field.parse::<u64>().ok()).sum();
    // A hundredth of a second each, as Linux shows them.
    Duration::from_millis(ticks * 10)
}

fn main() {
    let wanted = std::env::args()
        .skip(1)
        .find(|word| !word.starts_with('-'))
        .unwrap_or_default();
    let arrays = [
        ("RAID 0, 1 member", Level::Zero, 1, 1),
        ("RAID 5, 3 members", Level::Five, 3, 2),
    ];
    for (array, level, members, columns) in arrays {
        let name = |load: &Load| format!("{array}: {}", load.name);
        if !LOADS.iter().any(|load| name(load).contains(&wanted)) {
            continue;
        }
        let mut bench = Bench::new(level, members, columns);
        // Memory that was never touched would be measured otherwise.
        bench.play(&LOADS[0]);
        for load in &LOADS {
            let name = name(load);
            if !name.contains(&wanted) {
                continue;
            }
            let (requests, took, cpu) = bench.play(load);
            let each = requests as f64 / took.as_secs_f64();
            let megabytes = each * load.bytes as f64 / 1e6;
            let gigabytes = requests as f64 * load.bytes as f64 / 1e9;
            let cpu = cpu.as_secs_f64() * 1e3 / gigabytes;
            #[expect(clippy::print_stdout, reason = "this is what the program is for")]
            {
                println!(
                    "{name:<42} {each:>9.0} requests/s {megabytes:>6.0} MB/s {cpu:>6.0} ms of CPU a GB"
                );
            }
        }
    }
}
