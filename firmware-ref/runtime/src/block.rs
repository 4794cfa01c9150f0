//! Block devices (virtio 1.4 §5.2): the RAID shelf and the service media.

use core::cell::RefCell;
use core::ptr::NonNull;

use crate::board_control::BoardControl;
use crate::dma::Buffer;
use crate::error::DeviceError;
use crate::ring::{Ring, Shape};
use crate::slot::{Slot, kind};

/// Bytes of a sector.
pub const SECTOR_BYTES: usize = 512;

/// Header, data, status.
const REQUESTS: Shape = Shape::new(64, 3);
const HEADER_BYTES: usize = 16;
const STATUS_AT: usize = 16;
const PLACE_BYTES: usize = 32;

const F_RO: u32 = 1 << 5;
const F_FLUSH: u32 = 1 << 9;

const T_IN: u32 = 0;
const T_OUT: u32 = 1;
const T_FLUSH: u32 = 4;
const S_OK: u8 = 0;

/// One thing to do with a disk.
#[derive(Debug)]
pub enum Operation<'a> {
    /// Read whole sectors.
    Read {
        /// First sector.
        sector: u64,
        /// Where to; a multiple of [`SECTOR_BYTES`].
        into: &'a mut [u8],
    },
    /// Write whole sectors.
    Write {
        /// First sector.
        sector: u64,
        /// What; a multiple of [`SECTOR_BYTES`].
        from: &'a [u8],
    },
    /// Make durable every write that completed before this began.
    Flush,
}

/// A disk.
#[derive(Debug)]
pub struct Disk {
    inner: RefCell<Inner>,
    features: u32,
}

#[derive(Debug)]
struct Inner {
    slot: Slot,
    ring: Ring,
    memory: Buffer,
    broken: bool,
}

impl Disk {
    /// Opens the disk in `slot`.
    ///
    /// # Errors
    /// It is not there or does not work as the standard says.
    pub fn open(slot: u8) -> Result<Disk, DeviceError> {
        let (mut slot, features) = Slot::open(slot, kind::BLOCK, F_RO | F_FLUSH)?;
        let ring = Ring::new(&mut slot, 0, REQUESTS)?;
        let memory = Buffer::new(PLACE_BYTES * REQUESTS.places())?;
        slot.start();
        Ok(Disk {
            inner: RefCell::new(Inner {
                slot,
                ring,
                memory,
                broken: false,
            }),
            features,
        })
    }

    /// Sectors it has now; 0 when there is no medium.
    pub fn sectors(&self) -> u64 {
        self.inner.borrow().slot.config_u64(0)
    }

    /// Changes when a medium is inserted or removed.
    pub fn generation(&self) -> u32 {
        self.inner.borrow().slot.config_generation()
    }

    /// Whether it refuses writes.
    pub fn is_read_only(&self) -> bool {
        self.features & F_RO != 0
    }

    /// Reads whole sectors from `sector` on.
    ///
    /// # Errors
    /// The disk refused or failed.
    pub fn read(
        &self,
        control: &BoardControl,
        sector: u64,
        into: &mut [u8],
    ) -> Result<(), DeviceError> {
        self.run(control, [Operation::Read { sector, into }])
    }

    /// Writes whole sectors from `sector` on. Durable only after [`Disk::flush`].
    ///
    /// # Errors
    /// The disk refused or failed.
    pub fn write(
        &self,
        control: &BoardControl,
        sector: u64,
        from: &[u8],
    ) -> Result<(), DeviceError> {
        self.run(control, [Operation::Write { sector, from }])
    }

    /// Makes every completed write durable. Nothing to do where the disk has no cache.
    ///
    /// # Errors
    /// The disk refused or failed.
    pub fn flush(&self, control: &BoardControl) -> Result<(), DeviceError> {
        if self.features & F_FLUSH == 0 {
            return Ok(());
        }
        self.run(control, [Operation::Flush])
    }

    /// Does all of `operations`, in one wait where the ring has room. They run in any order, a
    /// flush among them covers none of them; an error says only that one of them failed.
    ///
    /// # Errors
    /// The disk refused or failed in one of them.
    pub fn run<'a>(
        &self,
        control: &BoardControl,
        operations: impl IntoIterator<Item = Operation<'a>>,
    ) -> Result<(), DeviceError> {
        let mut inner = self.inner.borrow_mut();
        if inner.broken {
            return Err(DeviceError::Broken);
        }
        let mut queued = Ok(());
        for operation in operations {
            if inner.ring.free_places() == 0 {
                inner.finish(control)?;
            }
            queued = inner.queue(operation);
            if queued.is_err() {
                break;
            }
        }
        // What was queued names the caller's buffers: it has to be over before they are.
        inner.finish(control)?;
        queued
    }
}

impl Inner {
    fn queue(&mut self, operation: Operation<'_>) -> Result<(), DeviceError> {
        let place = self.ring.free_place().ok_or(DeviceError::QueueFull)?;
        let at = place * PLACE_BYTES;
        let nothing = self.memory.piece(at, 0);
        let (kind, sector, out, into) = match operation {
            Operation::Read { sector, into } => (T_IN, sector, nothing, NonNull::from(into)),
            Operation::Write { sector, from } => (T_OUT, sector, NonNull::from(from), nothing),
            Operation::Flush => (T_FLUSH, 0, nothing, nothing),
        };
        let bytes = out.len() + into.len();
        if !bytes.is_multiple_of(SECTOR_BYTES) || (bytes == 0 && kind != T_FLUSH) {
            return Err(DeviceError::BadRequest);
        }
        self.memory.write(at, &kind.to_le_bytes());
        self.memory.write(at + 4, &[0; 4]);
        self.memory.write(at + 8, &sector.to_le_bytes());
        self.memory.write(at + STATUS_AT, &[0xff]);
        let header = self.memory.piece(at, HEADER_BYTES);
        let status = self.memory.piece(at + STATUS_AT, 1);
        // SAFETY: `memory` is never borrowed or freed. The caller's buffers live until `run` returns,
        // and `run` returns only when `finish` has seen every answer or has reset the device.
        unsafe {
            self.ring
                .add(&self.slot, place, &[header, out], &[into, status])
        }
    }

    /// Waits until everything queued is answered, then says whether all of it was done. A disk may
    /// take as long as it likes: retries and rebuilds are its own business.
    fn finish(&mut self, control: &BoardControl) -> Result<(), DeviceError> {
        let mut worst = S_OK;
        while self.ring.outstanding() > 0 {
            while let Some((place, _)) = self.ring.take().map_err(|_| self.give_up())? {
                worst = worst.max(self.memory.byte(place * PLACE_BYTES + STATUS_AT));
            }
            if self.ring.outstanding() == 0 {
                break;
            }
            if self.slot.needs_reset() {
                return Err(self.give_up());
            }
            let mask = 1 << self.slot.number();
            if let Err(error) = control.wait(0, mask, None) {
                self.give_up();
                return Err(error);
            }
        }
        match worst {
            S_OK => Ok(()),
            status => Err(DeviceError::Refused {
                status: status.into(),
            }),
        }
    }

    /// Takes every buffer back from a device that cannot be trusted any more.
    fn give_up(&mut self) -> DeviceError {
        self.slot.reset();
        self.broken = true;
        DeviceError::Broken
    }
}
