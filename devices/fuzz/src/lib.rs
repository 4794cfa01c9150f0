//! What the fuzz targets share: a driver that plays a script against any [`VirtioDevice`].
//!
//! A script is mostly what a decent driver does, with a rare spoiled descriptor, so that the
//! fuzzer spends its time behind the ring checks as well as on them. A target states how its
//! requests look ([`Request`]) and what else can happen to its device (the `poke` of [`drive`]).
//!
//! Checked after every service call:
//! * each request goes back exactly once, with no more bytes than it had room for;
//! * what was not given back is still in flight;
//! * the device wrote nothing into buffers it may only read;
//! * its deadline lies in the future, so that no host is made to spin.

mod ring;
mod script;

pub use script::{Poked, Request, Script, Spoil, Step};

use devices::event::DeviceEvent;
use devices::time::Nanos;
use devices::virtio::{DeviceIo, F_VERSION_1, GuestMemory, VirtioDevice};
use ring::{ARENAS, MEMORY_BYTES, Ring};
use virtio_queue::Queue;
use vm_memory::GuestAddress;

/// Instants that are waited for after the end of the script.
const LAST_INSTANTS: usize = 2_000;

/// Plays `script` against `device` and panics if a promise of the device side is broken.
///
/// `poke` is everything that is not the driver: power, faults, frames on a wire.
pub fn drive<'c, D: VirtioDevice, R: Request, P>(
    script: &Script<R, P>,
    device: &mut D,
    core: &mut D::Core<'c>,
    mut poke: impl FnMut(&P, Nanos, &mut D, &mut D::Core<'c>) -> Poked,
) {
    let mut host = Host::new(device.queue_sizes(), script.queue_size_log2);
    for step in &script.steps {
        match step {
            Step::Offer {
                queue,
                request,
                cut,
                spoil,
            } => host.offer(*queue, request, *cut, spoil.as_ref()),
            Step::Advance(nanos) => {
                host.now += Nanos(u64::from(*nanos));
                host.service(device, core);
            }
            Step::Deadline => host.advance_to_deadline(device, core),
            Step::Reset => host.reset(device, core),
            Step::WriteConfig(offset, data) => {
                device.write_config(core, u64::from(*offset), data);
            }
            Step::Poke(what) => match poke(what, host.now, device, core) {
                Poked::Running => host.service(device, core),
                Poked::Reset => host.reset(device, core),
            },
        }
    }
    for _ in 0..LAST_INSTANTS {
        if device.deadline(core).is_none() || host.needs_reset {
            break;
        }
        host.advance_to_deadline(device, core);
    }
    host.reset(device, core);
}

/// The transport and the board's memory.
struct Host {
    memory: GuestMemory,
    rings: Vec<Ring>,
    queues: Vec<Queue>,
    now: Nanos,
    needs_reset: bool,
}

impl Host {
    fn new(sizes: &'static [u16], size_log2: u8) -> Host {
        let memory = GuestMemory::from_ranges(&[(GuestAddress(0), MEMORY_BYTES)])
            .expect("anonymous memory can be had");
        let rings: Vec<Ring> = (0..)
            .zip(sizes)
            .map(|(n, max)| Ring::new(n, *max, size_log2))
            .collect();
        assert!(rings.len() <= ARENAS, "more queues than arenas");
        let queues = rings.iter().map(|ring| ring.queue(&memory)).collect();
        Host {
            memory,
            rings,
            queues,
            now: Nanos::ZERO,
            needs_reset: false,
        }
    }

    fn offer<R: Request>(&mut self, queue: u8, request: &R, cut: u8, spoil: Option<&Spoil>) {
        let count = self.rings.len();
        if let Some(ring) = self.rings.get_mut(usize::from(queue) % count.max(1)) {
            ring.offer(
                &self.memory,
                &request.readable(),
                request.room(),
                cut,
                spoil,
            );
        }
    }

    fn service<D: VirtioDevice>(&mut self, device: &mut D, core: &mut D::Core<'_>) {
        // A device that needs a reset is serviced no more, as on any transport.
        if self.needs_reset {
            return;
        }
        let mut events = Vec::new();
        let mut io = DeviceIo::new(
            self.now,
            F_VERSION_1,
            &self.memory,
            &mut self.queues,
            &mut events,
        );
        device.service(core, &mut io);
        self.needs_reset = io.needs_reset;
        let faulty = events
            .iter()
            .any(|it| matches!(it, DeviceEvent::DriverFault { .. }));
        assert!(
            !self.needs_reset || faulty,
            "a reset is needed without a reason"
        );
        for (index, (ring, queue)) in self.rings.iter_mut().zip(&self.queues).enumerate() {
            ring.check_used(&self.memory);
            ring.check_readable(&self.memory);
            if !self.needs_reset {
                ring.check_in_flight(queue, device.in_flight(index));
            }
        }
        if let Some(deadline) = device.deadline(core) {
            assert!(
                self.needs_reset || deadline > self.now,
                "the deadline {deadline} has passed at {}",
                self.now
            );
        }
    }

    fn advance_to_deadline<D: VirtioDevice>(&mut self, device: &mut D, core: &mut D::Core<'_>) {
        if let Some(deadline) = device.deadline(core).filter(|it| *it != Nanos::NEVER) {
            self.now = self.now.max(deadline);
        }
        self.service(device, core);
    }

    fn reset<D: VirtioDevice>(&mut self, device: &mut D, core: &mut D::Core<'_>) {
        device.reset(core);
        self.needs_reset = false;
        self.queues.clear();
        for (index, ring) in self.rings.iter_mut().enumerate() {
            assert_eq!(device.in_flight(index), 0, "a reset device has no requests");
            ring.clear();
            self.queues.push(ring.queue(&self.memory));
        }
    }
}
