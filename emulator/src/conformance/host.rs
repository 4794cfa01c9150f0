//! What a case knows of the host a device is on.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use devices::time::Nanos;
use devices::virtio::{F_VERSION_1, GuestMemory};
use virtio_drivers::PhysAddr;
use virtio_drivers::transport::{DeviceStatus, DeviceType, InterruptStatus, Transport};
use zerocopy::{FromBytes, Immutable, IntoBytes};

use super::contract::Contract;
use super::hardware::{CAN, CAN_PARTNER, CONSOLE, Hardware, NETWORK, PARTNER};
use super::ring::{Ring, available_index, used_index};

/// How the devices' time goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pace {
    /// To whatever is waited for.
    Leap,
    /// Hardly at all, but for [`Host::pass`].
    Held,
}

/// A way from a driver to a device: the words of virtio 1.4 §2 and §3, as far as it has them. A unit is one of
/// the hardware's devices.
pub(super) trait Host: Sized + 'static {
    /// Features that are the transport's and not the device's.
    const TRANSPORT_FEATURES: u64;

    /// Serves some units of `hardware` in `memory`.
    fn start(hardware: Hardware, units: &[usize], pace: Pace, memory: GuestMemory) -> Self;

    /// What kind of device it says it is, if it says so.
    fn device_id(&self, unit: usize) -> Option<u32>;
    fn features(&self, unit: usize) -> u64;
    fn accept(&self, unit: usize, features: u64);
    fn status(&self, unit: usize) -> u32;
    fn set_status(&self, unit: usize, status: u32);
    fn queue_max(&self, unit: usize, queue: u16) -> u32;
    fn queue_ready(&self, unit: usize, queue: u16) -> bool;
    fn set_queue(&self, unit: usize, queue: u16, size: u32, addresses: [u64; 3]);
    fn unset_queue(&self, unit: usize, queue: u16);
    fn notify(&self, unit: usize, queue: u16);
    /// Part of the configuration space.
    fn config(&self, unit: usize, offset: usize, bytes: usize) -> Vec<u8>;
    fn write_config(&self, unit: usize, offset: usize, bytes: &[u8]);
    /// How often the configuration space has changed: a difference counts, no more.
    fn generation(&self, unit: usize) -> u32;
    /// How often the driver was told of answers.
    fn interrupts(&self, unit: usize, queue: u16) -> u64;
    /// Whether the device said that the driver broke the rules and that it is to be reset.
    fn has_stopped(&self, unit: usize) -> bool;

    /// Does something to the hardware from outside.
    fn operate<T: Send + 'static>(
        &self,
        what: impl FnOnce(&mut Hardware) -> T + Send + 'static,
    ) -> T;

    /// Until the device did all there was to do.
    fn settle(&self);

    /// Lets time pass where it is held, and the device do what there is to do then.
    fn pass(&self, span: Nanos);

    /// Until `done`; the device then tells of an answer. Panics where it does not.
    fn wait(&self, unit: usize, queue: u16, done: &dyn Fn() -> bool);
}

/// A driver's place before one unit.
pub(super) struct Port<H> {
    pub(super) host: Rc<H>,
    pub(super) unit: usize,
    pub(super) memory: GuestMemory,
    pace: Pace,
    rings: Rc<RefCell<BTreeMap<u16, [u64; 3]>>>,
}

impl<H> Clone for Port<H> {
    fn clone(&self) -> Self {
        Port {
            host: Rc::clone(&self.host),
            unit: self.unit,
            memory: self.memory.clone(),
            pace: self.pace,
            rings: Rc::clone(&self.rings),
        }
    }
}

impl<H: Host> Port<H> {
    /// Places before some units of fresh hardware.
    pub(super) fn all(units: &[usize], pace: Pace) -> Vec<Port<H>> {
        let memory = super::arena::open();
        let host = H::start(Hardware::new(pace), units, pace, memory.clone());
        let host = Rc::new(host);
        let port = |unit: &usize| Port {
            host: Rc::clone(&host),
            unit: *unit,
            memory: memory.clone(),
            pace,
            rings: Rc::default(),
        };
        units.iter().map(port).collect()
    }

    /// A place before one unit, which is as fast as the host.
    pub(super) fn of(unit: usize) -> Port<H> {
        Port::all(&[unit], Pace::Leap).remove(0)
    }

    /// Resets the device and accepts `features`. False: they are not taken.
    pub(super) fn negotiate(&self, features: u64) -> bool {
        let said = DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER;
        self.host.set_status(self.unit, 0);
        self.host.set_status(self.unit, said.bits());
        self.host.accept(self.unit, features);
        let said = said | DeviceStatus::FEATURES_OK;
        self.host.set_status(self.unit, said.bits());
        self.host.status(self.unit) & DeviceStatus::FEATURES_OK.bits() != 0
    }

    /// Sets up a queue of `size` entries.
    pub(super) fn ring(&self, queue: u16, size: u16) -> Ring {
        let ring = Ring::new(self.memory.clone(), size);
        self.set(queue, &ring);
        ring
    }

    pub(super) fn set(&self, queue: u16, ring: &Ring) {
        let size = u32::from(ring.size);
        self.host.set_queue(self.unit, queue, size, ring.addresses);
    }

    /// DRIVER_OK.
    pub(super) fn go(&self) {
        let status = self.host.status(self.unit) | DeviceStatus::DRIVER_OK.bits();
        self.host.set_status(self.unit, status);
    }

    /// A driver of our own with all queues at their largest, from reset on.
    pub(super) fn drive(&self, contract: &Contract) -> Vec<Ring> {
        assert!(self.negotiate(contract.features), "its own features");
        let queues = (0..).zip(contract.queues);
        let rings = queues
            .map(|(queue, size)| self.ring(queue, *size))
            .collect();
        self.go();
        rings
    }

    pub(super) fn notify_only(&self, queue: u16) {
        self.host.notify(self.unit, queue);
    }

    /// Notifies, and waits until everything that is available came back.
    pub(super) fn finish(&self, queue: u16, ring: &Ring) {
        self.notify_only(queue);
        let done = || ring.used_index() == ring.available();
        self.host.wait(self.unit, queue, &done);
    }

    /// One request from a fresh driver, with nothing else on its way. The device works.
    pub(super) fn assert_works(&self, contract: &Contract) {
        let mut rings = self.drive(contract);
        self.assert_answers(contract, &mut rings[usize::from(contract.request.queue)]);
    }

    pub(super) fn assert_answers(&self, contract: &Contract, ring: &mut Ring) {
        let request = &contract.request;
        let head = ring.put(0, &request.readable, request.writable);
        ring.offer(head);
        self.finish(request.queue, ring);
        assert_eq!(ring.used(), [(u32::from(head), request.written)]);
        let answer = ring.answer(0, request.answer.len());
        assert_eq!(answer, request.answer);
    }

    /// Buffers of this queue wait for something that comes by itself.
    fn receives(&self, queue: u16) -> bool {
        match self.unit {
            CONSOLE | NETWORK | PARTNER => queue == 0,
            CAN | CAN_PARTNER => queue == 1,
            _ => false,
        }
    }
}

impl<H: Host> Transport for Port<H> {
    fn device_type(&self) -> DeviceType {
        let id = self.host.device_id(self.unit).expect("it says so");
        DeviceType::try_from(id).expect("one that the crate knows")
    }

    fn read_device_features(&mut self) -> u64 {
        self.host.features(self.unit)
    }

    fn write_driver_features(&mut self, features: u64) {
        assert_ne!(features & F_VERSION_1, 0);
        self.host.accept(self.unit, features);
    }

    fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.host.queue_max(self.unit, queue)
    }

    fn notify(&mut self, queue: u16) {
        self.notify_only(queue);
        if self.receives(queue) || self.pace == Pace::Held {
            return;
        }
        // Drivers look at the used ring for ever; here it ends if the device does not answer, or does
        // not tell.
        let addresses = self.rings.borrow()[&queue];
        let memory = &self.memory;
        let done = || used_index(memory, addresses) == available_index(memory, addresses);
        self.host.wait(self.unit, queue, &done);
    }

    fn get_status(&self) -> DeviceStatus {
        DeviceStatus::from_bits_retain(self.host.status(self.unit))
    }

    fn set_status(&mut self, status: DeviceStatus) {
        self.host.set_status(self.unit, status.bits());
    }

    fn set_guest_page_size(&mut self, _bytes: u32) {}

    fn requires_legacy_layout(&self) -> bool {
        false
    }

    fn queue_set(
        &mut self,
        queue: u16,
        size: u32,
        descriptors: PhysAddr,
        available: PhysAddr,
        used: PhysAddr,
    ) {
        let addresses = [descriptors, available, used];
        self.rings.borrow_mut().insert(queue, addresses);
        self.host.set_queue(self.unit, queue, size, addresses);
    }

    fn queue_unset(&mut self, queue: u16) {
        self.host.unset_queue(self.unit, queue);
    }

    fn queue_used(&mut self, queue: u16) -> bool {
        self.host.queue_ready(self.unit, queue)
    }

    fn ack_interrupt(&mut self) -> InterruptStatus {
        InterruptStatus::empty()
    }

    fn read_config_generation(&self) -> u32 {
        self.host.generation(self.unit)
    }

    fn read_config_space<T: FromBytes + IntoBytes>(
        &self,
        offset: usize,
    ) -> virtio_drivers::Result<T> {
        let bytes = self.host.config(self.unit, offset, size_of::<T>());
        Ok(T::read_from_bytes(&bytes).expect("as many bytes as asked for"))
    }

    fn write_config_space<T: IntoBytes + Immutable>(
        &mut self,
        offset: usize,
        value: T,
    ) -> virtio_drivers::Result<()> {
        self.host.write_config(self.unit, offset, value.as_bytes());
        Ok(())
    }
}
