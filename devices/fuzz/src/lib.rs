//! What the fuzz targets share: drivers that play a script against any [`Machine`] of virtio devices.
//!
//! A script is mostly what decent drivers do, with a rare spoiled descriptor, so that the
//! fuzzer spends its time behind the ring checks as well as on them. A target states how its
//! requests look ([`Request`]) and what else can happen to its devices ([`Machine::poke`]).
//!
//! Checked after every instant:
//! * each request goes back exactly once, with no more bytes than it had room for;
//! * what was taken and not given back is in flight;
//! * no device wrote into buffers it may only read;
//! * no deadline has passed, so that no host is made to spin.
//!
//! Checked at the end:
//! * nothing stays in flight for good;
//! * a machine that was stored and loaded half way came to the same end as one that was not;
//! * it never held more than it may.

pub mod block;
mod machine;
mod ring;
mod script;

pub use machine::{Machine, Poked, Request};
pub use script::{Misplaced, Script, Spoil, Step};

use devices::event::DeviceEvent;
use devices::time::Nanos;
use devices::virtio::{DeviceIo, GuestMemory, VirtioDevice};
use ring::{ARENAS, MEMORY_BYTES, Ring};
use virtio_queue::Queue;
use vm_memory::GuestAddress;

/// Instants that are waited for after the end of the script.
const LAST_INSTANTS: usize = 2_000;
/// How often devices are looked at in one instant: board control ends a WAIT not in the call that
/// took it, but in the next one.
const PASSES: usize = 2;

/// Plays `script` against `machine` and panics if a promise of the device side is broken.
pub fn drive<M: Machine>(script: &Script<M::Request, M::Poke>, machine: &M) {
    let end = play(script, machine.clone(), true);
    let snapshots = script.steps.iter().any(|it| matches!(it, Step::Snapshot));
    if snapshots {
        let without = play(script, machine.clone(), false);
        assert!(
            end.events == without.events,
            "events differ after a snapshot"
        );
        assert!(
            end.machine == without.machine,
            "a snapshot changed the machine"
        );
        assert!(
            end.written == without.written,
            "buffers differ after a snapshot"
        );
    }
}

/// How a play ended.
struct End<M> {
    machine: M,
    events: Vec<DeviceEvent>,
    /// What devices wrote, per queue since its last reset.
    written: Vec<Vec<u8>>,
}

fn play<M: Machine>(
    script: &Script<M::Request, M::Poke>,
    machine: M,
    with_snapshots: bool,
) -> End<M> {
    let mut bench = Bench::new(machine, script.queue_size_log2);
    for step in &script.steps {
        match step {
            Step::Offer {
                queue,
                request,
                cut,
                spoil,
            } => bench.offer(*queue, request, *cut, spoil.as_ref()),
            Step::Advance(nanos) => {
                bench.now += Nanos(u64::from(*nanos));
                bench.service();
            }
            Step::Deadline => bench.advance_to_deadline(),
            Step::Reset(device, misplaced) => {
                bench.reset(usize::from(*device) % M::DEVICES, misplaced.as_ref());
            }
            Step::WriteConfig(device, offset, data) => {
                let (device, mut core) = bench.machine.device(usize::from(*device) % M::DEVICES);
                device.write_config(&mut core, u64::from(*offset), data);
            }
            Step::Snapshot if with_snapshots => bench.snapshot(),
            Step::Snapshot => {}
            Step::Poke(poke) => bench.poke(poke),
        }
    }
    bench.service();
    for _ in 0..LAST_INSTANTS {
        if bench.deadline().is_none() {
            bench.check_nothing_is_left();
            break;
        }
        bench.advance_to_deadline();
    }
    let rings = bench.drivers.iter().flat_map(|it| {
        let written = |ring: &Ring| ring.written(&it.memory);
        it.rings.iter().map(written).collect::<Vec<_>>()
    });
    let written = rings.collect();
    for device in 0..M::DEVICES {
        bench.reset(device, None);
    }
    End {
        machine: bench.machine,
        events: bench.events,
        written,
    }
}

/// A board's memory, and its end of the rings of one device.
struct Driver {
    memory: GuestMemory,
    rings: Vec<Ring>,
    queues: Vec<Queue>,
    needs_reset: bool,
}

impl Driver {
    fn new(sizes: &'static [u16], size_log2: u8) -> Driver {
        let memory = GuestMemory::from_ranges(&[(GuestAddress(0), MEMORY_BYTES)])
            .expect("anonymous memory can be had");
        let rings: Vec<Ring> = (0..)
            .zip(sizes)
            .map(|(n, max)| Ring::new(n, *max, size_log2))
            .collect();
        assert!(rings.len() <= ARENAS, "more queues than arenas");
        let queues = rings.iter().map(|ring| ring.queue(&memory, None)).collect();
        Driver {
            memory,
            rings,
            queues,
            needs_reset: false,
        }
    }
}

/// The machine and its drivers.
struct Bench<M> {
    machine: M,
    drivers: Vec<Driver>,
    now: Nanos,
    events: Vec<DeviceEvent>,
}

impl<M: Machine> Bench<M> {
    fn new(mut machine: M, size_log2: u8) -> Bench<M> {
        let driver = |n| Driver::new(machine.device(n).0.queue_sizes(), size_log2);
        Bench {
            drivers: (0..M::DEVICES).map(driver).collect(),
            machine,
            now: Nanos::ZERO,
            events: Vec::new(),
        }
    }

    fn offer(&mut self, queue: u8, request: &M::Request, cut: u8, spoil: Option<&Spoil>) {
        let rings: usize = self.drivers.iter().map(|it| it.rings.len()).sum();
        let mut queue = usize::from(queue) % rings;
        for driver in &mut self.drivers {
            if let Some(ring) = driver.rings.get_mut(queue) {
                let (readable, room) = (request.readable(), request.room());
                ring.offer(&driver.memory, &readable, room, cut, spoil);
                return;
            }
            queue -= driver.rings.len();
        }
    }

    fn poke(&mut self, poke: &M::Poke) {
        match self.machine.poke(poke, self.now, &mut self.events) {
            Poked::Running => self.service(),
            Poked::Reset => (0..M::DEVICES).for_each(|device| self.reset(device, None)),
        }
    }

    /// Everything goes through bytes and is what it was.
    fn snapshot(&mut self) {
        let bytes = postcard::to_stdvec(&self.machine).expect("plain data can be stored");
        assert!(
            bytes.len() <= M::MOST_BYTES,
            "it holds {} bytes",
            bytes.len()
        );
        let loaded: M = postcard::from_bytes(&bytes).expect("what was stored can be loaded");
        assert!(loaded == self.machine, "stored and loaded is not the same");
        self.machine = loaded;
    }

    fn service(&mut self) {
        self.machine.advance(self.now, &mut self.events);
        for _ in 0..PASSES {
            for device in 0..M::DEVICES {
                self.service_one(device);
            }
            if self.deadline().is_none_or(|it| it > self.now) {
                return;
            }
        }
        let deadline = self.deadline();
        panic!("the deadline {deadline:?} has passed at {}", self.now);
    }

    fn service_one(&mut self, index: usize) {
        let Driver {
            memory,
            rings,
            queues,
            needs_reset,
        } = &mut self.drivers[index];
        // A device that needs a reset is serviced no more, as on any transport.
        if *needs_reset {
            return;
        }
        let before = self.events.len();
        let (device, mut core) = self.machine.device(index);
        let mut io = DeviceIo::new(self.now, M::FEATURES, memory, queues, &mut self.events);
        device.service(&mut core, &mut io);
        *needs_reset = io.needs_reset;
        let faulty = self.events[before..]
            .iter()
            .any(|it| matches!(it, DeviceEvent::DriverFault { .. }));
        assert!(
            !*needs_reset || faulty,
            "a reset is needed without a reason"
        );
        for (number, (ring, queue)) in rings.iter_mut().zip(&*queues).enumerate() {
            ring.check_used(memory);
            ring.check_readable(memory);
            if !*needs_reset {
                ring.check_in_flight(queue, device.in_flight(number));
            }
        }
    }

    /// When the first device that can be serviced wants to be.
    fn deadline(&mut self) -> Option<Nanos> {
        let live = self.drivers.iter().enumerate();
        let live = live.filter(|(_, driver)| !driver.needs_reset);
        live.filter_map(|(index, _)| {
            let (device, core) = self.machine.device(index);
            device.deadline(&core)
        })
        .filter(|it| *it != Nanos::NEVER)
        .min()
    }

    fn advance_to_deadline(&mut self) {
        if let Some(deadline) = self.deadline() {
            self.now = self.now.max(deadline);
        }
        self.service();
    }

    /// Nothing will happen any more: what is not back now never will be.
    fn check_nothing_is_left(&mut self) {
        for (index, driver) in self.drivers.iter().enumerate() {
            for (queue, ring) in driver.rings.iter().enumerate() {
                if driver.needs_reset || M::may_keep(queue) {
                    continue;
                }
                let in_flight = self.machine.device(index).0.in_flight(queue);
                assert_eq!(
                    in_flight, 0,
                    "device {index}, queue {queue}: in flight for good"
                );
                ring.check_all_back();
            }
        }
    }

    fn reset(&mut self, index: usize, misplaced: Option<&Misplaced>) {
        let driver = &mut self.drivers[index];
        let (device, mut core) = self.machine.device(index);
        device.reset(&mut core);
        driver.needs_reset = false;
        driver.queues.clear();
        for (number, ring) in driver.rings.iter_mut().enumerate() {
            assert_eq!(
                device.in_flight(number),
                0,
                "a reset device has no requests"
            );
            ring.clear(misplaced.is_some());
            driver.queues.push(ring.queue(&driver.memory, misplaced));
        }
    }
}
