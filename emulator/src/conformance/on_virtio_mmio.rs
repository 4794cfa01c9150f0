//! The own VMM's register window with the CPU left out: what a driver reads is the window's page, what it writes
//! goes where a guest's writes go, and a notification has the devices served as a board does.

use std::cell::RefCell;
use std::collections::BTreeMap;

use devices::time::Nanos;
use devices::virtio::GuestMemory;
use virtio_bindings::virtio_config::VIRTIO_CONFIG_S_NEEDS_RESET;
use virtio_bindings::virtio_mmio as reg;

use super::hardware::Hardware;
use super::host::{Host, Pace};
use crate::board::{Serve, Serviced};
use crate::engine::kvm::{SLOT_BYTES, SLOTS, Window, Written};
use crate::service::{NextDeadline, Show};
use crate::slot::Slot;

/// Most services for one notification.
const ROUNDS: usize = 10_000;
const CONFIG: usize = 0x100;

pub(super) struct Mmio {
    state: RefCell<State>,
}

struct State {
    hardware: Hardware,
    units: Vec<usize>,
    window: Window,
    slots: Vec<Slot>,
    memory: GuestMemory,
    pace: Pace,
    now: Nanos,
    interrupts: BTreeMap<(usize, u16), u64>,
}

impl State {
    /// What the guest's CPU reads.
    fn read(&self, unit: usize, offset: usize, bytes: usize) -> Vec<u8> {
        let (start, length) = self.window.host_range();
        let at = unit * SLOT_BYTES + offset;
        assert!((at + bytes) as u64 <= length);
        let start = usize::try_from(start).unwrap();
        let read = |n: usize| {
            let byte = (start + at + n) as *const u8;
            // SAFETY: within the window's mapping, as was just checked, which nobody writes now.
            unsafe { byte.read_volatile() }
        };
        (0..bytes).map(read).collect()
    }

    fn register(&self, unit: usize, register: u32) -> u32 {
        let bytes = self.read(unit, register as usize, 4);
        u32::from_le_bytes(bytes.try_into().unwrap())
    }

    fn set(&mut self, unit: usize, register: u32, value: u32) {
        self.write(unit, register as usize, &value.to_le_bytes());
    }

    fn write(&mut self, unit: usize, offset: usize, bytes: &[u8]) {
        let offset = unit * SLOT_BYTES + offset;
        let written = self
            .window
            .write(offset, bytes, &mut self.slots, &self.memory);
        if let Written::Notify { .. } = written {
            self.serve();
        }
    }

    fn serve(&mut self) {
        for _ in 0..ROUNDS {
            let mut events = Vec::new();
            self.hardware.advance(self.now, &mut events);
            for unit in self.units.clone() {
                let serve = Serve {
                    slot: &mut self.slots[unit],
                    memory: &self.memory,
                    now: self.now,
                    events: &mut events,
                };
                let Serviced {
                    returned, changed, ..
                } = self.hardware.with(unit, serve);
                for queue in (0..16).filter(|queue| returned & 1 << queue != 0) {
                    *self.interrupts.entry((unit, queue)).or_default() += 1;
                }
                if changed {
                    self.window.show(unit, &self.slots[unit]);
                }
            }
            self.hardware.events.append(&mut events);
            let next = self.deadline().filter(|_| self.pace == Pace::Leap);
            let Some(next) = next else { return };
            self.now = self.now.max(next);
        }
        panic!("the devices come to no end");
    }

    fn deadline(&mut self) -> Option<Nanos> {
        let served = |slot: &Slot| slot.live && !slot.needs_reset;
        let (slots, hardware) = (&self.slots, &mut self.hardware);
        let units = self.units.iter().filter(|unit| served(&slots[**unit]));
        let next = units.filter_map(|unit| hardware.with(*unit, NextDeadline));
        let next = next.min();
        next.into_iter().chain(self.hardware.deadline()).min()
    }

    fn select(&mut self, unit: usize, queue: u16) {
        self.set(unit, reg::VIRTIO_MMIO_QUEUE_SEL, queue.into());
    }
}

fn halves(value: u64) -> [u32; 2] {
    let half = |value: u64| u32::try_from(value & 0xffff_ffff).unwrap();
    [half(value), half(value >> 32)]
}

impl Host for Mmio {
    const TRANSPORT_FEATURES: u64 = 0;

    fn start(mut hardware: Hardware, units: &[usize], pace: Pace, memory: GuestMemory) -> Mmio {
        let mut window = Window::new().unwrap();
        let mut slots: Vec<Slot> = (0..SLOTS).map(|_| Slot::default()).collect();
        for unit in units {
            // As for firmware that knows no board control: such drivers notify.
            let face = hardware.with(*unit, Show { wants_notify: true });
            slots[*unit].fit(face);
        }
        window.reset(&mut slots);
        let state = State {
            hardware,
            units: units.to_vec(),
            window,
            slots,
            memory,
            pace,
            now: Nanos::ZERO,
            interrupts: BTreeMap::new(),
        };
        Mmio {
            state: RefCell::new(state),
        }
    }

    fn device_id(&self, unit: usize) -> Option<u32> {
        let state = self.state.borrow();
        Some(state.register(unit, reg::VIRTIO_MMIO_DEVICE_ID))
    }

    fn features(&self, unit: usize) -> u64 {
        let mut state = self.state.borrow_mut();
        let mut half = |select| {
            state.set(unit, reg::VIRTIO_MMIO_DEVICE_FEATURES_SEL, select);
            u64::from(state.register(unit, reg::VIRTIO_MMIO_DEVICE_FEATURES))
        };
        half(0) | half(1) << 32
    }

    fn accept(&self, unit: usize, features: u64) {
        let mut state = self.state.borrow_mut();
        for (select, half) in (0..).zip(halves(features)) {
            state.set(unit, reg::VIRTIO_MMIO_DRIVER_FEATURES_SEL, select);
            state.set(unit, reg::VIRTIO_MMIO_DRIVER_FEATURES, half);
        }
    }

    fn status(&self, unit: usize) -> u32 {
        let state = self.state.borrow();
        state.register(unit, reg::VIRTIO_MMIO_STATUS)
    }

    fn set_status(&self, unit: usize, status: u32) {
        let mut state = self.state.borrow_mut();
        state.set(unit, reg::VIRTIO_MMIO_STATUS, status);
    }

    fn queue_max(&self, unit: usize, queue: u16) -> u32 {
        let mut state = self.state.borrow_mut();
        state.select(unit, queue);
        state.register(unit, reg::VIRTIO_MMIO_QUEUE_NUM_MAX)
    }

    fn queue_ready(&self, unit: usize, queue: u16) -> bool {
        let mut state = self.state.borrow_mut();
        state.select(unit, queue);
        state.register(unit, reg::VIRTIO_MMIO_QUEUE_READY) == 1
    }

    fn set_queue(&self, unit: usize, queue: u16, size: u32, addresses: [u64; 3]) {
        const REGISTERS: [[u32; 2]; 3] = [
            [
                reg::VIRTIO_MMIO_QUEUE_DESC_LOW,
                reg::VIRTIO_MMIO_QUEUE_DESC_HIGH,
            ],
            [
                reg::VIRTIO_MMIO_QUEUE_AVAIL_LOW,
                reg::VIRTIO_MMIO_QUEUE_AVAIL_HIGH,
            ],
            [
                reg::VIRTIO_MMIO_QUEUE_USED_LOW,
                reg::VIRTIO_MMIO_QUEUE_USED_HIGH,
            ],
        ];
        let mut state = self.state.borrow_mut();
        state.select(unit, queue);
        state.set(unit, reg::VIRTIO_MMIO_QUEUE_NUM, size);
        for (registers, address) in REGISTERS.into_iter().zip(addresses) {
            for (register, half) in registers.into_iter().zip(halves(address)) {
                state.set(unit, register, half);
            }
        }
        state.set(unit, reg::VIRTIO_MMIO_QUEUE_READY, 1);
    }

    fn unset_queue(&self, unit: usize, queue: u16) {
        let mut state = self.state.borrow_mut();
        state.select(unit, queue);
        state.set(unit, reg::VIRTIO_MMIO_QUEUE_READY, 0);
    }

    fn notify(&self, unit: usize, queue: u16) {
        let mut state = self.state.borrow_mut();
        state.set(unit, reg::VIRTIO_MMIO_QUEUE_NOTIFY, queue.into());
    }

    fn config(&self, unit: usize, offset: usize, bytes: usize) -> Vec<u8> {
        self.state.borrow().read(unit, CONFIG + offset, bytes)
    }

    fn write_config(&self, unit: usize, offset: usize, bytes: &[u8]) {
        self.state.borrow_mut().write(unit, CONFIG + offset, bytes);
    }

    fn generation(&self, unit: usize) -> u32 {
        let state = self.state.borrow();
        state.register(unit, reg::VIRTIO_MMIO_CONFIG_GENERATION)
    }

    fn interrupts(&self, unit: usize, queue: u16) -> u64 {
        let state = self.state.borrow();
        state.interrupts.get(&(unit, queue)).copied().unwrap_or(0)
    }

    fn has_stopped(&self, unit: usize) -> bool {
        self.status(unit) & VIRTIO_CONFIG_S_NEEDS_RESET != 0
    }

    fn operate<T: Send + 'static>(
        &self,
        what: impl FnOnce(&mut Hardware) -> T + Send + 'static,
    ) -> T {
        let state = &mut *self.state.borrow_mut();
        let answer = what(&mut state.hardware);
        for unit in &state.units {
            let show = Show { wants_notify: true };
            let config = state.hardware.with(*unit, show).config;
            let slot = &mut state.slots[*unit];
            if slot.face.config != config {
                slot.face.config = config;
                slot.face.generation = slot.face.generation.wrapping_add(1);
                state.window.show(*unit, slot);
            }
        }
        state.serve();
        answer
    }

    fn settle(&self) {
        self.state.borrow_mut().serve();
    }

    fn pass(&self, span: Nanos) {
        let state = &mut *self.state.borrow_mut();
        state.now += span;
        state.serve();
    }

    fn wait(&self, unit: usize, queue: u16, done: &dyn Fn() -> bool) {
        // Whatever there was to do was done when it was notified.
        assert!(done(), "unit {unit} does not answer on queue {queue}");
    }
}
