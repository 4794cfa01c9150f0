//! Network ports (virtio 1.4 §5.1): the backplane and the host port.

use core::cell::RefCell;

use crate::board_control::{BoardControl, SlotMask};
use crate::dma::Buffer;
use crate::error::DeviceError;
use crate::ring::{Ring, Shape};
use crate::slot::{Slot, kind};

/// Longest frame: 9000 bytes after the Ethernet header (board manual §8).
pub const FRAME_BYTES: usize = 9014;

/// One buffer a request.
const BUFFERS: Shape = Shape::new(8, 1);
/// struct virtio_net_hdr with num_buffers (§5.1.6). All zero when sent: no offloads.
const HEADER_BYTES: usize = 12;
const PLACE_BYTES: usize = 9216;

const F_MTU: u32 = 1 << 3;
const F_MAC: u32 = 1 << 5;
const F_STATUS: u32 = 1 << 16;

/// A MAC address.
pub type Mac = [u8; 6];

/// One network port.
#[derive(Debug)]
pub struct Port {
    inner: RefCell<Inner>,
    mac: Mac,
    features: u32,
    mask: SlotMask,
}

#[derive(Debug)]
struct Inner {
    slot: Slot,
    receive: Ring,
    receive_memory: Buffer,
    transmit: Ring,
    transmit_memory: Buffer,
}

impl Port {
    /// Opens the port in `slot`.
    ///
    /// # Errors
    /// It is not there or does not work as the standard says.
    pub fn open(slot: u8) -> Result<Port, DeviceError> {
        let (mut slot, features) = Slot::open(slot, kind::NETWORK, F_MTU | F_MAC | F_STATUS)?;
        let mut inner = Inner {
            receive: Ring::new(&mut slot, 0, BUFFERS)?,
            receive_memory: Buffer::new(PLACE_BYTES * BUFFERS.places())?,
            transmit: Ring::new_quiet(&mut slot, 1, BUFFERS)?,
            transmit_memory: Buffer::new(PLACE_BYTES * BUFFERS.places())?,
            slot,
        };
        inner.slot.start();
        for place in 0..BUFFERS.places() {
            inner.lend(place)?;
        }
        let mut mac = [0; 6];
        if features & F_MAC != 0 {
            inner.slot.config_bytes(0, &mut mac);
        }
        Ok(Port {
            mask: 1 << inner.slot.number(),
            inner: RefCell::new(inner),
            mac,
            features,
        })
    }

    /// The bit to wait for frames with.
    pub fn mask(&self) -> SlotMask {
        self.mask
    }

    /// The port's own address.
    pub fn mac(&self) -> Mac {
        self.mac
    }

    /// Whether the light is on: somebody is at the other end.
    pub fn link_is_up(&self) -> bool {
        if self.features & F_STATUS == 0 {
            return true;
        }
        let mut status = [0; 2];
        self.inner.borrow().slot.config_bytes(6, &mut status);
        status[0] & 1 != 0
    }

    /// Sends one frame, Ethernet header included, made of `parts`. It goes out with the next wait.
    ///
    /// # Errors
    /// It is empty or longer than [`FRAME_BYTES`], or the device failed.
    pub fn send(&self, control: &BoardControl, parts: &[&[u8]]) -> Result<(), DeviceError> {
        let length: usize = parts.iter().map(|part| part.len()).sum();
        if length == 0 || length > FRAME_BYTES {
            return Err(DeviceError::BadRequest);
        }
        let mut inner = self.inner.borrow_mut();
        let place = loop {
            inner.reap()?;
            if let Some(place) = inner.transmit.free_place() {
                break place;
            }
            // All buffers are on their way; the wire takes them one after another.
            let soon_ns = control.now_ns().saturating_add(10_000);
            control.wait(0, 0, Some(soon_ns))?;
            if inner.slot.needs_reset() {
                return Err(DeviceError::Broken);
            }
        };
        let at = place * PLACE_BYTES;
        let mut end = at + inner.transmit_memory.write(at, &[0; HEADER_BYTES]);
        for part in parts {
            end += inner.transmit_memory.write(end, part);
        }
        let piece = inner.transmit_memory.piece(at, end - at);
        let Inner { slot, transmit, .. } = &mut *inner;
        // SAFETY: the buffer is never freed, and its place is not used before it came back.
        unsafe { transmit.add(slot, place, &[piece], &[]) }
    }

    /// Copies the next frame received into `frame`, Ethernet header included, and returns its length.
    /// A frame longer than `frame` is cut.
    ///
    /// # Errors
    /// The device failed.
    pub fn receive(&self, frame: &mut [u8]) -> Result<Option<usize>, DeviceError> {
        let mut inner = self.inner.borrow_mut();
        let Some((place, written)) = inner.receive.take()? else {
            return Ok(None);
        };
        let length = written
            .min(PLACE_BYTES)
            .saturating_sub(HEADER_BYTES)
            .min(frame.len());
        let into = frame.get_mut(..length).unwrap_or(&mut []);
        let copied = inner
            .receive_memory
            .read(place * PLACE_BYTES + HEADER_BYTES, into);
        inner.lend(place)?;
        Ok(Some(copied))
    }
}

impl Inner {
    /// Gives the device a buffer to fill.
    fn lend(&mut self, place: usize) -> Result<(), DeviceError> {
        let piece = self.receive_memory.piece(place * PLACE_BYTES, PLACE_BYTES);
        // SAFETY: the buffer is never freed or borrowed, and only read after its place came back.
        unsafe { self.receive.add(&self.slot, place, &[], &[piece]) }
    }

    /// Takes back buffers that are sent.
    fn reap(&mut self) -> Result<(), DeviceError> {
        while self.transmit.take()?.is_some() {}
        Ok(())
    }
}
