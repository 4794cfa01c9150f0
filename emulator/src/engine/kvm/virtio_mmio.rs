//! virtio-mmio registers (virtio 1.4 §4.2.2) of all slots of a board.
//!
//! [`Window`] is the page(s) the guest reads; every write goes through [`Window::write`], which
//! brings the page and the [`Slot`] up to date, so that a read can never be stale. Writes that change
//! nothing readable ([`Window::quiet`]) arrive together with the next one that does.

use devices::virtio::GuestMemory;
use serde::{Deserialize, Serialize};
use virtio_bindings::virtio_config::{
    VIRTIO_CONFIG_S_DRIVER_OK, VIRTIO_CONFIG_S_FEATURES_OK, VIRTIO_CONFIG_S_NEEDS_RESET,
};
use virtio_bindings::virtio_mmio as reg;
use virtio_queue::QueueT;

use crate::slot::{Face, Slot};

/// Guest-physical address of slot 0, where QEMU's microvm has it.
pub const WINDOW_BASE: u64 = 0xfeb0_0000;
/// Bytes of one slot.
pub const SLOT_BYTES: usize = 512;
/// Slots of a board.
pub const SLOTS: usize = 24;

/// Bytes of the window.
const WINDOW_BYTES: usize = SLOT_BYTES * SLOTS;
const CONFIG: usize = 0x100;
/// "virt" (virtio 1.4 §4.2.2).
const MAGIC: u32 = 0x7472_6976;
/// "AB-1".
const VENDOR: u32 = 0x312d_4241;

/// Selectors and half-written registers of one slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Registers {
    status: u32,
    device_features_select: u32,
    driver_features_select: u32,
    driver_features: u64,
    queue_select: u32,
}

/// What came of a register write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Written {
    /// Nothing that concerns anybody else.
    Register,
    /// A queue was notified.
    Notify { slot: usize, queue: u32 },
}

/// The register window of a board.
#[derive(Debug)]
pub(crate) struct Window {
    page: *mut u8,
    registers: [Registers; SLOTS],
}

// SAFETY: the page belongs to this value alone; nothing about it is tied to a thread.
unsafe impl Send for Window {}

/// The window's own state in a checkpoint; the page is rebuilt from it and the slots.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SavedWindow {
    registers: Vec<Registers>,
}

impl Window {
    /// Maps a window of empty slots.
    pub(crate) fn new() -> std::io::Result<Window> {
        // SAFETY: an anonymous mapping at an address of the kernel's choice touches nothing else.
        let page = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                WINDOW_BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_POPULATE,
                -1,
                0,
            )
        };
        if page == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error());
        }
        Ok(Window {
            page: page.cast(),
            registers: [Registers::default(); SLOTS],
        })
    }

    /// Host address and bytes, for the hypervisor.
    pub(crate) fn host_range(&self) -> (u64, u64) {
        (self.page as u64, WINDOW_BYTES as u64)
    }

    /// Offset within the window of a guest-physical address, if it lies within.
    pub(super) fn offset_of(address: u64) -> Option<usize> {
        let offset = usize::try_from(address.checked_sub(WINDOW_BASE)?).ok()?;
        (offset < WINDOW_BYTES).then_some(offset)
    }

    /// All slots as after a device reset.
    pub(crate) fn reset(&mut self, slots: &mut [Slot]) {
        self.registers = [Registers::default(); SLOTS];
        for (index, slot) in slots.iter_mut().enumerate().take(SLOTS) {
            slot.reset();
            self.show(index, slot);
        }
    }

    /// Registers of slot `index` whose writes need not exit: (guest-physical start, bytes). Nothing
    /// a driver can read changes with them, and nothing happens until another register is written:
    /// features the driver accepts, queue sizes and addresses.
    pub(super) fn quiet(index: usize) -> [(u64, u32); 3] {
        let slot = WINDOW_BASE + (index * SLOT_BYTES) as u64;
        let from = |first: u32, last: u32| (slot + u64::from(first), last + 4 - first);
        [
            from(
                reg::VIRTIO_MMIO_DRIVER_FEATURES,
                reg::VIRTIO_MMIO_DRIVER_FEATURES_SEL,
            ),
            from(reg::VIRTIO_MMIO_QUEUE_NUM, reg::VIRTIO_MMIO_QUEUE_NUM),
            from(
                reg::VIRTIO_MMIO_QUEUE_DESC_LOW,
                reg::VIRTIO_MMIO_QUEUE_USED_HIGH,
            ),
        ]
    }

    /// Handles a register write.
    pub(crate) fn write(
        &mut self,
        offset: usize,
        data: &[u8],
        slots: &mut [Slot],
        memory: &GuestMemory,
    ) -> Written {
        let (index, register) = (offset / SLOT_BYTES, offset % SLOT_BYTES);
        let Some(slot) = slots.get_mut(index) else {
            return Written::Register;
        };
        if slot.face.device_id == 0 {
            return Written::Register;
        }
        if register >= CONFIG {
            // Kept for the device to apply at the next stop; bounded by what one run can write
            // between two notifications.
            if slot.config_writes.len() < 64 {
                slot.config_writes
                    .push(((register - CONFIG) as u64, data.to_vec()));
            }
            return Written::Register;
        }
        let Ok(value) = <[u8; 4]>::try_from(data).map(u32::from_le_bytes) else {
            slot.driver_faults
                .push(format!("a register write of {} bytes", data.len()));
            return Written::Register;
        };
        let register = u32::try_from(register).unwrap_or(u32::MAX);
        if register == reg::VIRTIO_MMIO_QUEUE_NOTIFY {
            return Written::Notify {
                slot: index,
                queue: value,
            };
        }
        let registers = &mut self.registers[index];
        let queue = slot.queues.get_mut(registers.queue_select as usize);
        match register {
            reg::VIRTIO_MMIO_DEVICE_FEATURES_SEL => registers.device_features_select = value,
            reg::VIRTIO_MMIO_DRIVER_FEATURES_SEL => registers.driver_features_select = value,
            reg::VIRTIO_MMIO_DRIVER_FEATURES => match registers.driver_features_select {
                0 => {
                    registers.driver_features =
                        registers.driver_features & !0xffff_ffff | u64::from(value);
                }
                1 => {
                    registers.driver_features =
                        registers.driver_features & 0xffff_ffff | u64::from(value) << 32;
                }
                _ => {}
            },
            reg::VIRTIO_MMIO_QUEUE_SEL => registers.queue_select = value,
            reg::VIRTIO_MMIO_QUEUE_NUM => {
                if let Some(queue) = queue {
                    queue.set_size(u16::try_from(value).unwrap_or(0));
                }
            }
            reg::VIRTIO_MMIO_QUEUE_READY => {
                if let Some(queue) = queue {
                    queue.set_ready(value == 1);
                    if value == 1 && !slot.face.wants_notify {
                        // A ring outside memory is found and reported when it is used.
                        let _ = queue.disable_notification(memory);
                    }
                }
            }
            reg::VIRTIO_MMIO_QUEUE_DESC_LOW => {
                set(queue, |q| q.set_desc_table_address(Some(value), None));
            }
            reg::VIRTIO_MMIO_QUEUE_DESC_HIGH => {
                set(queue, |q| q.set_desc_table_address(None, Some(value)));
            }
            reg::VIRTIO_MMIO_QUEUE_AVAIL_LOW => {
                set(queue, |q| q.set_avail_ring_address(Some(value), None));
            }
            reg::VIRTIO_MMIO_QUEUE_AVAIL_HIGH => {
                set(queue, |q| q.set_avail_ring_address(None, Some(value)));
            }
            reg::VIRTIO_MMIO_QUEUE_USED_LOW => {
                set(queue, |q| q.set_used_ring_address(Some(value), None));
            }
            reg::VIRTIO_MMIO_QUEUE_USED_HIGH => {
                set(queue, |q| q.set_used_ring_address(None, Some(value)));
            }
            reg::VIRTIO_MMIO_STATUS => self.write_status(index, value, slot),
            _ => {}
        }
        self.show(index, slot);
        Written::Register
    }

    /// §2.1, §3.1: the status byte. FEATURES_OK sticks only with features that were offered and
    /// VERSION_1; 0 resets the device.
    fn write_status(&mut self, index: usize, value: u32, slot: &mut Slot) {
        let registers = &mut self.registers[index];
        if value == 0 {
            *registers = Registers::default();
            slot.reset();
            return;
        }
        let mut status = value & !VIRTIO_CONFIG_S_NEEDS_RESET;
        let accepted = registers.driver_features;
        let acceptable =
            accepted & !slot.face.features == 0 && accepted & devices::virtio::F_VERSION_1 != 0;
        if status & VIRTIO_CONFIG_S_FEATURES_OK != 0 && !acceptable {
            status &= !VIRTIO_CONFIG_S_FEATURES_OK;
            slot.driver_faults
                .push(format!("features {accepted:#x} are not acceptable"));
        }
        if status & VIRTIO_CONFIG_S_DRIVER_OK != 0 && status & VIRTIO_CONFIG_S_FEATURES_OK == 0 {
            status &= !VIRTIO_CONFIG_S_DRIVER_OK;
            slot.driver_faults
                .push("DRIVER_OK without FEATURES_OK".to_owned());
        }
        registers.status = status;
        slot.features = accepted;
        slot.live = status & VIRTIO_CONFIG_S_DRIVER_OK != 0;
    }

    /// Brings the readable registers of one slot up to date.
    pub(crate) fn show(&mut self, index: usize, slot: &Slot) {
        let Some(registers) = self.registers.get(index).copied() else {
            return;
        };
        let face = &slot.face;
        let features = match registers.device_features_select {
            0 => face.features & 0xffff_ffff,
            1 => face.features >> 32,
            _ => 0,
        };
        let queue = slot.queues.get(registers.queue_select as usize);
        let needs_reset = if slot.needs_reset {
            VIRTIO_CONFIG_S_NEEDS_RESET
        } else {
            0
        };
        let readable = [
            (reg::VIRTIO_MMIO_MAGIC_VALUE, MAGIC),
            (reg::VIRTIO_MMIO_VERSION, 2),
            (reg::VIRTIO_MMIO_DEVICE_ID, face.device_id),
            (reg::VIRTIO_MMIO_VENDOR_ID, VENDOR),
            (
                reg::VIRTIO_MMIO_DEVICE_FEATURES,
                u32::try_from(features).unwrap_or(0),
            ),
            (
                reg::VIRTIO_MMIO_QUEUE_NUM_MAX,
                queue.map_or(0, |q| u32::from(q.max_size())),
            ),
            (
                reg::VIRTIO_MMIO_QUEUE_READY,
                queue.map_or(0, |q| u32::from(q.ready())),
            ),
            (reg::VIRTIO_MMIO_INTERRUPT_STATUS, 0),
            (reg::VIRTIO_MMIO_STATUS, registers.status | needs_reset),
            // No shared memory regions: length is all ones (§4.2.2.2).
            (reg::VIRTIO_MMIO_SHM_LEN_LOW, u32::MAX),
            (reg::VIRTIO_MMIO_SHM_LEN_HIGH, u32::MAX),
            (reg::VIRTIO_MMIO_CONFIG_GENERATION, face.generation),
        ];
        let start = index * SLOT_BYTES;
        let page = self.bytes_mut();
        for (register, value) in readable {
            let at = start + register as usize;
            page[at..at + 4].copy_from_slice(&value.to_le_bytes());
        }
        let config = &mut page[start + CONFIG..start + CONFIG + Face::CONFIG_BYTES];
        let length = face.config.len().min(config.len());
        config[..length].copy_from_slice(&face.config[..length]);
        config[length..].fill(0);
    }

    pub(super) fn save(&self) -> SavedWindow {
        SavedWindow {
            registers: self.registers.to_vec(),
        }
    }

    /// Restores the selectors; the board then shows every slot again.
    pub(super) fn restore(&mut self, saved: &SavedWindow) -> Option<()> {
        self.registers = saved.registers.as_slice().try_into().ok()?;
        Some(())
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: the mapping is WINDOW_BYTES long and lives as long as `self`. The guest can only
        // read it, and does not run while `&mut self` is held.
        unsafe { std::slice::from_raw_parts_mut(self.page, WINDOW_BYTES) }
    }
}

fn set<Q>(queue: Option<&mut Q>, change: impl FnOnce(&mut Q)) {
    if let Some(queue) = queue {
        change(queue);
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with this length; the VM that could read it is gone, because
        // the engine drops its VM before its window.
        unsafe { libc::munmap(self.page.cast(), WINDOW_BYTES) };
    }
}
