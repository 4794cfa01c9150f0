//! Two hostile guests against one RAID shelf, each through its port, with members that break, power that
//! goes and ports that are fenced.
#![no_main]

use arbitrary::Arbitrary;
use arraybench_devices_fuzz::block::BlockRequest;
use arraybench_devices_fuzz::{Machine, Poked, Script, drive};
use devices::block::BlockVirtio;
use devices::event::DeviceEvent;
use devices::medium::Medium;
use devices::power::{PowerLoss, Shape};
use devices::shelf::{DiskTiming, Level, Region, STORED_BYTES, Shelf, ShelfSettings};
use devices::time::Nanos;
use libfuzzer_sys::fuzz_target;
use serde::{Deserialize, Serialize};

/// Sectors on a member before its first row (board manual §7), and rows of two sectors.
const MEMBER_SECTORS: usize = 136 + 2 * 5;
/// Two RAID 5 arrays' worth of disks would do; level 6 wants five, and one steps in.
const DISKS: usize = 6;

#[derive(Debug, Arbitrary)]
enum Poke {
    PowerLost { shape: u8, seed: u64 },
    PowerOn,
    Fail { member: u8 },
    Replace { member: u8 },
    Rot { sector: u8 },
    Scrub,
    Fence { port: bool },
    Unfence { port: bool },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Pair {
    ports: [BlockVirtio<Shelf>; 2],
    shelf: Shelf,
}

impl Machine for Pair {
    type Device = BlockVirtio<Shelf>;
    type Request = BlockRequest;
    type Poke = Poke;
    const DEVICES: usize = 2;
    // Disks and cache; and what 2 × 128 requests can hold, in an arena of 1 MiB each.
    const MOST_BYTES: usize = 64 << 20;

    fn device(&mut self, index: usize) -> (&mut BlockVirtio<Shelf>, &mut Shelf) {
        (&mut self.ports[index], &mut self.shelf)
    }

    fn advance(&mut self, now: Nanos, events: &mut Vec<DeviceEvent>) {
        self.shelf.advance(now, events);
    }

    fn may_keep(_queue: usize) -> bool {
        false
    }

    fn poke(&mut self, poke: &Poke, now: Nanos, events: &mut Vec<DeviceEvent>) -> Poked {
        let shelf = &mut self.shelf;
        match *poke {
            Poke::PowerLost { shape, seed } => {
                let shape = Shape::ALL[usize::from(shape) % 3];
                shelf.power_lost(PowerLoss { now, shape, seed }, events);
            }
            Poke::PowerOn => shelf.power_on(now, events),
            Poke::Fail { member } => shelf.fail_member(usize::from(member) % DISKS, events),
            Poke::Replace { member } => {
                shelf.replace_member(usize::from(member) % DISKS, disk(), events);
            }
            Poke::Rot { sector } => {
                if let Some((member, sector)) = shelf.locate(sector.into()) {
                    shelf.rot(member, sector);
                }
            }
            Poke::Scrub => shelf.start_scrub(now, events),
            Poke::Fence { port } => shelf.fence(port.into()),
            Poke::Unfence { port } => shelf.unfence(port.into()),
        }
        Poked::Running
    }
}

fn disk() -> Medium {
    Medium::memory((MEMBER_SECTORS * STORED_BYTES) as u64, 0)
}

fn settings(level: Level, cache_bytes: u64) -> ShelfSettings {
    ShelfSettings {
        level,
        chunk_bytes: 1024,
        cache_bytes,
        timing: DiskTiming {
            read: Nanos::from_micros(100),
            write: Nanos::from_micros(200),
            byte: Nanos(5),
            cache: Nanos::from_micros(10),
        },
        regions: vec![Region {
            name: "host".to_owned(),
            first_sector: 4,
            sectors: 1000,
        }],
        array_id: 0x1234_5678_9abc_def0,
    }
}

fuzz_target!(|input: (u8, Script<BlockRequest, Poke>)| {
    let (kind, script) = input;
    let level = [Level::Zero, Level::One, Level::Five, Level::Six][usize::from(kind % 4)];
    let cache = [0, 2048, 1 << 20, 4096][usize::from(kind / 4 % 4)];
    let disks = |n| (0..n).map(|_| disk()).collect();
    let shelf = Shelf::create(settings(level, cache), disks(DISKS - 1), disks(1));
    let mut shelf = shelf.expect("a possible shelf");
    shelf.power_on(Nanos::ZERO, &mut Vec::new());
    let ports = [BlockVirtio::new(0), BlockVirtio::new(1)];
    drive(&script, &Pair { ports, shelf });
});
