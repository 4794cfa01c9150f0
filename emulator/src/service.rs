//! One device and its core at work for the driver behind a slot, whatever carries the driver's words.

use devices::event::DeviceEvent;
use devices::time::Nanos;
use devices::virtio::{DeviceIo, GuestMemory, Ledger, VirtioDevice};

use crate::slot::{Face, Slot};

/// Something to do with one device, whatever its type.
pub trait Visit {
    /// What it comes to.
    type Answer;

    /// Does it.
    fn visit<D: VirtioDevice>(self, device: &mut D, core: &mut D::Core<'_>) -> Self::Answer;
}

/// What the driver sees of a device.
#[derive(Clone, Copy, Debug)]
pub struct Show {
    /// Whether its driver must notify it.
    pub wants_notify: bool,
}

impl Visit for Show {
    type Answer = Face;
    fn visit<D: VirtioDevice>(self, device: &mut D, core: &mut D::Core<'_>) -> Face {
        Face {
            device_id: device.device_id(),
            features: device.features(core),
            queue_sizes: device.queue_sizes().to_vec(),
            config: device.config(core),
            generation: 0,
            wants_notify: self.wants_notify,
        }
    }
}

/// When a device next has something to do by itself.
#[derive(Clone, Copy, Debug)]
pub struct NextDeadline;

impl Visit for NextDeadline {
    type Answer = Option<Nanos>;
    fn visit<D: VirtioDevice>(self, device: &mut D, core: &mut D::Core<'_>) -> Option<Nanos> {
        device.deadline(core)
    }
}

/// Requests that a device took from a queue and has not answered.
#[derive(Clone, Copy, Debug)]
pub struct InFlight(
    /// The queue.
    pub usize,
);

impl Visit for InFlight {
    type Answer = usize;
    fn visit<D: VirtioDevice>(self, device: &mut D, _core: &mut D::Core<'_>) -> usize {
        device.in_flight(self.0)
    }
}

/// One service call for one device.
#[derive(Debug)]
pub struct Serve<'a> {
    /// The driver's half, as it is, and the device's.
    pub slot: &'a mut Slot,
    /// Where the rings are.
    pub memory: &'a GuestMemory,
    /// The device's time.
    pub now: Nanos,
    /// Where notices go.
    pub events: &'a mut Vec<DeviceEvent>,
    /// Who keeps account of requests.
    pub ledger: Option<&'a mut dyn Ledger>,
}

/// What one service of one device came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Served {
    /// Queues on which it returned buffers: bit n is queue n.
    pub used: u32,
    /// Something the driver can read changed.
    pub changed: bool,
}

impl Visit for Serve<'_> {
    type Answer = Served;

    fn visit<D: VirtioDevice>(self, device: &mut D, core: &mut D::Core<'_>) -> Served {
        let Serve {
            slot,
            memory,
            now,
            events,
            ledger,
        } = self;
        let mut served = Served::default();
        if std::mem::take(&mut slot.was_reset) {
            device.reset(core);
            // What the configuration space tells of the state before is over, such as bus-off.
            served.changed = true;
        }
        for what in slot.driver_faults.drain(..) {
            events.push(DeviceEvent::DriverFault { queue: 0, what });
        }
        for (offset, data) in slot.config_writes.drain(..) {
            device.write_config(core, offset, &data);
            served.changed = true;
        }
        if slot.live && !slot.needs_reset {
            let mut io = DeviceIo::new(now, slot.features, memory, &mut slot.queues, events)
                .with_ledger(ledger);
            device.service(core, &mut io);
            served.changed |= io.config_changed;
            slot.needs_reset = io.needs_reset;
            served.used = io.used;
            served.changed |= slot.needs_reset;
        }
        if served.changed {
            let config = device.config(core);
            if config != slot.face.config {
                slot.face.config = config;
                slot.face.generation = slot.face.generation.wrapping_add(1);
            }
        }
        served
    }
}
