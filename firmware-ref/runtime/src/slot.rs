use crate::error::DeviceError;
use crate::pending;

/// Where the slots are (board manual §2).
const SLOTS_BASE: usize = 0xfeb0_0000;
const SLOT_BYTES: usize = 0x200;

/// Slots the board has.
pub const SLOTS: u8 = 24;

/// Slot numbers of the AB-1 board (board manual §3).
pub mod number {
    /// Board control.
    pub const BOARD_CONTROL: u8 = 0;
    /// SPI controller with the flash chips.
    pub const FLASH: u8 = 1;
    /// RAID shelf.
    pub const SHELF: u8 = 2;
    /// Service media.
    pub const SERVICE_MEDIA: u8 = 3;
    /// Console.
    pub const CONSOLE: u8 = 4;
    /// Backplane network.
    pub const BACKPLANE: u8 = 5;
    /// Host network.
    pub const HOST_PORT: u8 = 6;
    /// Panel.
    pub const PANEL: u8 = 7;
    /// CAN controller.
    pub const CAN: u8 = 8;
}

/// Virtio device ids of the AB-1 board.
pub mod kind {
    /// Network card.
    pub const NETWORK: u32 = 1;
    /// Block device.
    pub const BLOCK: u32 = 2;
    /// Console.
    pub const CONSOLE: u32 = 3;
    /// GPU.
    pub const GPU: u32 = 16;
    /// CAN controller.
    pub const CAN: u32 = 36;
    /// Board control (a reserved id).
    pub const BOARD_CONTROL: u32 = 38;
    /// SPI controller.
    pub const SPI: u32 = 45;
}

// Register offsets, virtio 1.4 §4.2.2.
const MAGIC_VALUE: usize = 0x000;
const VERSION: usize = 0x004;
const DEVICE_ID: usize = 0x008;
const DEVICE_FEATURES: usize = 0x010;
const DRIVER_FEATURES: usize = 0x020;
const DRIVER_FEATURES_SEL: usize = 0x024;
const QUEUE_SEL: usize = 0x030;
const QUEUE_NUM_MAX: usize = 0x034;
const QUEUE_NUM: usize = 0x038;
const QUEUE_READY: usize = 0x044;
const QUEUE_NOTIFY: usize = 0x050;
const STATUS: usize = 0x070;
const QUEUE_DESC_LOW: usize = 0x080;
const QUEUE_DRIVER_LOW: usize = 0x090;
const QUEUE_DEVICE_LOW: usize = 0x0a0;
const CONFIG_GENERATION: usize = 0x0fc;
const CONFIG: usize = 0x100;

/// "virt".
const MAGIC: u32 = 0x7472_6976;
/// VIRTIO_F_VERSION_1 is bit 32: bit 0 of the upper feature word.
const VERSION_1_UPPER: u32 = 1;

const ACKNOWLEDGE: u32 = 1;
const DRIVER: u32 = 2;
const DRIVER_OK: u32 = 4;
const FEATURES_OK: u32 = 8;
const NEEDS_RESET: u32 = 64;

/// One virtio-mmio slot, and the transport under its queues.
///
/// Register reads cost nothing, every register write costs an exit (board manual §3). So this
/// writes what the standard makes a driver write and nothing that repeats the state a reset
/// leaves: after a reset (virtio 1.4 §2.4.1 and board manual §3) the selectors are 0, no feature
/// is accepted, and queue addresses are 0.
#[derive(Debug)]
pub struct Slot {
    number: u8,
    queue_selected: u32,
}

impl Slot {
    /// Looks into slot `number` without changing anything: the virtio id of the device there, or
    /// `None` where there is none.
    pub fn device_id(number: u8) -> Option<u32> {
        if number >= SLOTS {
            return None;
        }
        let slot = Slot {
            number,
            queue_selected: 0,
        };
        if slot.read(MAGIC_VALUE) != MAGIC || slot.read(VERSION) != 2 {
            return None;
        }
        match slot.read(DEVICE_ID) {
            0 => None,
            id => Some(id),
        }
    }

    /// Resets the device in slot `number` where it needs it, checks that it is a `kind`, and
    /// accepts those of the features `wanted` (bits 0 … 31) that it offers. Returns them too.
    ///
    /// Queues come next, then [`Slot::start`].
    ///
    /// # Errors
    /// The slot is empty or holds something else.
    pub fn open(number: u8, kind: u32, wanted: u32) -> Result<(Slot, u32), DeviceError> {
        if number >= SLOTS {
            return Err(DeviceError::Absent);
        }
        let slot = Slot {
            number,
            queue_selected: 0,
        };
        match slot.read(MAGIC_VALUE) {
            MAGIC => {}
            // Nothing decodes the address: the bus reads as ones.
            _ => return Err(DeviceError::Absent),
        }
        match slot.read(DEVICE_ID) {
            0 => return Err(DeviceError::Absent),
            found if found != kind => return Err(DeviceError::WrongKind { found }),
            _ => {}
        }
        if slot.read(VERSION) != 2 {
            return Err(DeviceError::UnknownTransport);
        }
        if slot.read(STATUS) != 0 {
            // The level before used it. The reset is complete when 0 reads back (§2.4.2).
            slot.reset();
        }
        slot.write(STATUS, ACKNOWLEDGE | DRIVER);
        // DeviceFeaturesSel is 0. The upper word need not be read: a device must offer
        // VIRTIO_F_VERSION_1 (§6.2), and FEATURES_OK tells whether it took what was chosen.
        let accepted = slot.read(DEVICE_FEATURES) & wanted;
        if accepted != 0 {
            slot.write(DRIVER_FEATURES, accepted);
        }
        slot.write(DRIVER_FEATURES_SEL, 1);
        slot.write(DRIVER_FEATURES, VERSION_1_UPPER);
        slot.write(STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK);
        if slot.read(STATUS) & FEATURES_OK == 0 {
            slot.reset();
            return Err(DeviceError::FeaturesRefused);
        }
        Ok((slot, accepted))
    }

    /// Takes over the device in slot `number` as the level before left it: a `kind`, live, and with
    /// nothing to complain about. Otherwise it has to be [opened](Slot::open).
    pub(crate) fn resume(number: u8, kind: u32) -> Option<Slot> {
        let live = ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK;
        let slot = Slot {
            number,
            queue_selected: 0,
        };
        let same = Slot::device_id(number) == Some(kind) && slot.read(STATUS) == live;
        same.then_some(slot)
    }

    /// A slot that no test reads or writes.
    #[cfg(test)]
    pub(crate) fn for_test(number: u8) -> Slot {
        Slot {
            number,
            queue_selected: 0,
        }
    }

    /// The device may work from now on (virtio 1.4 §3.1.1 step 8).
    pub fn start(&self) {
        self.write(STATUS, ACKNOWLEDGE | DRIVER | FEATURES_OK | DRIVER_OK);
    }

    /// Makes the device forget everything, every buffer it was given included.
    pub fn reset(&self) {
        self.write(STATUS, 0);
        pending::closed(self.number);
    }

    /// Whether the device has given up (DEVICE_NEEDS_RESET).
    pub fn needs_reset(&self) -> bool {
        self.read(STATUS) & NEEDS_RESET != 0
    }

    /// The slot's number.
    pub fn number(&self) -> u8 {
        self.number
    }

    /// A 32-bit field of the configuration space.
    pub fn config_u32(&self, offset: usize) -> u32 {
        self.read(CONFIG + (offset & 0xfc))
    }

    /// A 64-bit field of the configuration space, read twice if it changed meanwhile.
    pub fn config_u64(&self, offset: usize) -> u64 {
        loop {
            let generation = self.read(CONFIG_GENERATION);
            let low = self.config_u32(offset);
            let high = self.config_u32(offset + 4);
            if self.read(CONFIG_GENERATION) == generation {
                return u64::from(high) << 32 | u64::from(low);
            }
        }
    }

    /// Bytes of the configuration space. Each of its words is read once: where another process has the
    /// device, a read is a message and an answer.
    pub fn config_bytes(&self, offset: usize, into: &mut [u8]) {
        let mut word = [0; 4];
        for (n, byte) in into.iter_mut().enumerate() {
            let at = offset + n;
            if n == 0 || at & 3 == 0 {
                word = self.config_u32(at).to_le_bytes();
            }
            *byte = word[at & 3];
        }
    }

    /// A field of 16 bits in the configuration space. It is read as one: a space that ends behind it
    /// has no whole word there (virtio 1.4 §4.2.2.2).
    pub fn config_u16(&self, offset: usize) -> u16 {
        let field = (SLOTS_BASE + usize::from(self.number) * SLOT_BYTES + CONFIG)
            + (offset & (SLOT_BYTES - CONFIG - 2));
        // SAFETY: the register window of slot 0 … 23 is mapped and belongs to nothing else; the offset stays
        // inside the slot, and even.
        u16::from_le(unsafe { (field as *const u16).read_volatile() })
    }

    /// Changes whenever the configuration space did.
    pub fn config_generation(&self) -> u32 {
        self.read(CONFIG_GENERATION)
    }

    fn register(&self, offset: usize) -> *mut u32 {
        (SLOTS_BASE + usize::from(self.number) * SLOT_BYTES + (offset & (SLOT_BYTES - 4)))
            as *mut u32
    }

    fn read(&self, offset: usize) -> u32 {
        // SAFETY: the register window of slot 0 … 23 is mapped, aligned, and belongs to nothing
        // else; `register` keeps the offset inside the slot.
        unsafe { self.register(offset).read_volatile() }
    }

    fn write(&self, offset: usize, value: u32) {
        // SAFETY: as in `read`. Queue addresses written here come from the arena.
        unsafe { self.register(offset).write_volatile(value) }
    }

    fn select_queue(&mut self, queue: u16) {
        let queue = u32::from(queue);
        if self.queue_selected != queue {
            self.write(QUEUE_SEL, queue);
            self.queue_selected = queue;
        }
    }

    /// All memory there is to hand out is below 4 GiB, and a reset leaves the upper half zero.
    fn write_address(&self, low_register: usize, address: usize) {
        let [a, b, c, d, ..] = address.to_le_bytes();
        self.write(low_register, u32::from_le_bytes([a, b, c, d]));
    }

    /// The largest size of a queue; 0 where there is none.
    pub(crate) fn max_queue_size(&mut self, queue: u16) -> u32 {
        self.select_queue(queue);
        self.read(QUEUE_NUM_MAX)
    }

    /// Makes a queue of `size` live: descriptor table, available ring, used ring.
    pub(crate) fn set_queue(&mut self, queue: u16, size: u32, parts: [usize; 3]) {
        let [descriptors, available, used] = parts;
        self.select_queue(queue);
        self.write(QUEUE_NUM, size);
        self.write_address(QUEUE_DESC_LOW, descriptors);
        self.write_address(QUEUE_DRIVER_LOW, available);
        self.write_address(QUEUE_DEVICE_LOW, used);
        self.write(QUEUE_READY, 1);
    }

    pub(crate) fn notify(&self, queue: u16) {
        self.write(QUEUE_NOTIFY, queue.into());
    }
}
