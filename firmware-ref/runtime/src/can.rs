//! CAN controller (virtio 1.4, CAN device): frames out and in.

use core::cell::RefCell;

use crate::board_control::{BoardControl, SlotMask};
use crate::dma::Buffer;
use crate::error::DeviceError;
use crate::ring::{Ring, Shape};
use crate::slot::{Slot, kind};

/// Most data of a frame: CAN FD.
pub const DATA_BYTES: usize = 64;

/// Header and data, result.
const TRANSMIT: Shape = Shape::new(64, 2);
const RECEIVE: Shape = Shape::new(64, 1);
const CONTROL: Shape = Shape::new(2, 2);

/// struct virtio_can_tx and virtio_can_rx before the data: msg_type u16, length u16, classic DLC u8, pad u8,
/// XL priority u16, flags u32, can_id u32.
const HEADER_BYTES: usize = 16;
const FRAME_BYTES: usize = HEADER_BYTES + DATA_BYTES;
/// A transmission's memory: the frame, then the result.
const PLACE_BYTES: usize = FRAME_BYTES + 16;

/// A control request, then the result.
const CONTROL_BYTES: usize = 16;

const MSG_TX: u16 = 0x0001;
const MSG_RX: u16 = 0x0101;
const MSG_START: u16 = 0x0201;
const FLAG_EXTENDED: u32 = 0x8000;
const FLAG_FD: u32 = 0x4000;
const FLAG_RTR: u32 = 0x2000;
const RESULT_OK: u8 = 0;
/// In the configuration space, `status` u16.
const STATUS_BUS_OFF: u16 = 1;

const F_CLASSIC: u32 = 1;
const F_FD: u32 = 1 << 1;
const F_LATE_TX_ACK: u32 = 1 << 3;

/// One data frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    id: u16,
    length: u8,
    data: [u8; DATA_BYTES],
}

impl Frame {
    /// One that says nothing: a place to receive others in.
    pub const EMPTY: Frame = Frame {
        id: 0,
        length: 0,
        data: [0; DATA_BYTES],
    };

    fn length(id: u16, data: &[u8]) -> Option<u8> {
        let length = u8::try_from(data.len()).ok()?;
        let known = matches!(length, 0..=8 | 12 | 16 | 20 | 24 | 32 | 48 | 64);
        (id <= 0x7ff && known).then_some(length)
    }

    /// A data frame with a standard identifier. Longer than 8 bytes it goes out as CAN FD, and must have a
    /// length that CAN FD knows. Nothing if it is no such frame.
    pub fn new(id: u16, data: &[u8]) -> Option<Frame> {
        let mut frame = Frame::EMPTY;
        frame.become_other(id, data)?;
        Some(frame)
    }

    /// Nothing if there is no such frame, and then it is none.
    fn become_other(&mut self, id: u16, data: &[u8]) -> Option<()> {
        let length = Frame::length(id, data)?;
        (self.id, self.length) = (id, length);
        for (place, byte) in self.data.iter_mut().zip(data) {
            *place = *byte;
        }
        Some(())
    }

    /// The identifier: the lower, the more urgent.
    pub fn id(&self) -> u16 {
        self.id
    }

    /// What it carries.
    pub fn data(&self) -> &[u8] {
        self.data.get(..usize::from(self.length)).unwrap_or(&[])
    }
}

/// A CAN controller.
#[derive(Debug)]
pub struct CanController {
    inner: RefCell<Inner>,
    mask: SlotMask,
    has_fd: bool,
}

#[derive(Debug)]
struct Inner {
    slot: Slot,
    transmit: Queue,
    receive: Queue,
    control: Queue,
    /// Transmissions that came back unsent.
    failed: u32,
}

/// A queue, and memory for each of its places.
#[derive(Debug)]
struct Queue {
    ring: Ring,
    memory: Buffer,
}

impl Queue {
    fn new(slot: &mut Slot, index: u16, shape: Shape, bytes: usize) -> Result<Queue, DeviceError> {
        Ok(Queue {
            ring: Ring::new(slot, index, shape)?,
            memory: Buffer::new(bytes * shape.places())?,
        })
    }
}

impl CanController {
    /// Opens the controller in `slot`, and lets it take part in the bus.
    ///
    /// # Errors
    /// It is not there or does not work as the standard says.
    pub fn open(control: &BoardControl, slot: u8) -> Result<CanController, DeviceError> {
        CanController::open_with(control, slot, F_CLASSIC | F_FD)
    }

    /// The same, but a transmission ends when the frame was acknowledged on the bus, not when it is scheduled.
    ///
    /// # Errors
    /// As [`CanController::open`].
    pub fn open_acknowledged(
        control: &BoardControl,
        slot: u8,
    ) -> Result<CanController, DeviceError> {
        CanController::open_with(control, slot, F_CLASSIC | F_FD | F_LATE_TX_ACK)
    }

    // Calls, as what surrounds them has a large frame: in a boot ROM of 16 KiB that counts.
    #[inline(never)]
    fn open_with(
        control: &BoardControl,
        slot: u8,
        wanted: u32,
    ) -> Result<CanController, DeviceError> {
        let (mut slot, features) = Slot::open(slot, kind::CAN, wanted)?;
        let inner = Inner {
            transmit: Queue::new(&mut slot, 0, TRANSMIT, PLACE_BYTES)?,
            receive: Queue::new(&mut slot, 1, RECEIVE, FRAME_BYTES)?,
            control: Queue::new(&mut slot, 2, CONTROL, CONTROL_BYTES)?,
            failed: 0,
            slot,
        };
        let mut controller = CanController {
            mask: 1 << inner.slot.number(),
            inner: RefCell::new(inner),
            has_fd: features & F_FD != 0,
        };
        let inner = controller.inner.get_mut();
        inner.slot.start();
        for place in 0..RECEIVE.places() {
            inner.lend(place)?;
        }
        inner.start(control)?;
        Ok(controller)
    }

    /// The bit to wait with: in the mask of any for frames, in that of all for transmissions to end.
    pub fn mask(&self) -> SlotMask {
        self.mask
    }

    /// Whether the bus has frames of more than 8 bytes.
    pub fn has_fd(&self) -> bool {
        self.has_fd
    }

    /// Whether errors have taken the controller off the bus.
    pub fn is_bus_off(&self) -> bool {
        self.inner.borrow().slot.config_u16(0) & STATUS_BUS_OFF != 0
    }

    /// Lets a controller that went bus-off take part again.
    ///
    /// # Errors
    /// The device failed.
    pub fn restart(&self, control: &BoardControl) -> Result<(), DeviceError> {
        self.inner.borrow_mut().start(control)
    }

    /// Transmissions that there is room for.
    ///
    /// # Errors
    /// The device failed.
    pub fn room(&self) -> Result<usize, DeviceError> {
        let mut inner = self.inner.borrow_mut();
        inner.reap()?;
        Ok(inner.transmit.ring.free_places())
    }

    /// Transmissions that the controller has given up since it was opened.
    pub fn failed(&self) -> u32 {
        self.inner.borrow().failed
    }

    /// Queues a frame; it competes for the bus from the next wait on. False where there is no room.
    ///
    /// # Errors
    /// The device failed.
    pub fn send(&self, frame: &Frame) -> Result<bool, DeviceError> {
        self.send_data(frame.id(), frame.data())
    }

    /// The same for what makes a frame.
    ///
    /// # Errors
    /// There is no such frame, or the device failed.
    pub fn send_data(&self, id: u16, data: &[u8]) -> Result<bool, DeviceError> {
        let length = Frame::length(id, data).ok_or(DeviceError::BadRequest)?;
        let mut inner = self.inner.borrow_mut();
        inner.reap()?;
        let Some(place) = inner.transmit.ring.free_place() else {
            return Ok(false);
        };
        let fd = data.len() > 8;
        let flags = if fd { FLAG_FD } else { 0 };
        let mut header = [0; HEADER_BYTES];
        header[0..2].copy_from_slice(&MSG_TX.to_le_bytes());
        header[2..4].copy_from_slice(&u16::from(length).to_le_bytes());
        header[8..12].copy_from_slice(&flags.to_le_bytes());
        header[12..16].copy_from_slice(&u32::from(id).to_le_bytes());
        let at = place * PLACE_BYTES;
        inner.transmit.memory.write(at, &header);
        inner.transmit.memory.write(at + HEADER_BYTES, data);
        let request = inner.transmit.memory.piece(at, HEADER_BYTES + data.len());
        let result = inner.transmit.memory.piece(at + FRAME_BYTES, 1);
        // SAFETY: the buffer is never freed, and its place is not used before it came back.
        unsafe {
            inner
                .transmit
                .ring
                .add_silently(place, &[request], &[result])
        }?;
        Ok(true)
    }

    /// The next data frame with a standard identifier that was received; others are passed over.
    ///
    /// # Errors
    /// The device failed.
    pub fn receive(&self) -> Result<Option<Frame>, DeviceError> {
        let mut frame = Frame::EMPTY;
        Ok(self.receive_into(&mut frame)?.then_some(frame))
    }

    /// The same, put into `frame`; whether there was one.
    ///
    /// # Errors
    /// The device failed.
    #[inline(never)]
    pub fn receive_into(&self, frame: &mut Frame) -> Result<bool, DeviceError> {
        let mut inner = self.inner.borrow_mut();
        while let Some((place, written)) = inner.receive.ring.take()? {
            let mut bytes = [0; FRAME_BYTES];
            inner.receive.memory.read(place * FRAME_BYTES, &mut bytes);
            inner.lend(place)?;
            let received = bytes.get(..written).unwrap_or(&bytes);
            if parse(received, frame).is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }
}

/// Puts a received frame into `frame`, if it is one that this driver's users know.
fn parse(bytes: &[u8], frame: &mut Frame) -> Option<()> {
    let (header, data) = bytes.split_first_chunk::<HEADER_BYTES>()?;
    let half = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    let word = |at: usize| u32::from(half(at)) | u32::from(half(at + 2)) << 16;
    let plain = half(0) == MSG_RX && word(8) & (FLAG_EXTENDED | FLAG_RTR) == 0;
    let id = u16::try_from(word(12)).ok().filter(|_| plain)?;
    frame.become_other(id, data.get(..usize::from(half(2)))?)
}

impl Inner {
    /// Gives the device a buffer to fill.
    fn lend(&mut self, place: usize) -> Result<(), DeviceError> {
        let piece = self.receive.memory.piece(place * FRAME_BYTES, FRAME_BYTES);
        // SAFETY: the buffer is never freed or borrowed, and only read after its place came back.
        unsafe { self.receive.ring.add_silently(place, &[], &[piece]) }
    }

    fn start(&mut self, control: &BoardControl) -> Result<(), DeviceError> {
        self.control.memory.write(0, &MSG_START.to_le_bytes());
        let request = self.control.memory.piece(0, 2);
        let result = self.control.memory.piece(8, 1);
        // SAFETY: the buffer is never freed or borrowed.
        unsafe { self.control.ring.add_silently(0, &[request], &[result]) }?;
        control.wait(1 << self.slot.number(), 0, Some(control.now_ns()))?;
        match self.control.ring.take()? {
            Some(_) if self.control.memory.byte(8) == RESULT_OK => Ok(()),
            _ => Err(DeviceError::Broken),
        }
    }

    /// Takes back frames that are on the bus or given up.
    fn reap(&mut self) -> Result<(), DeviceError> {
        while let Some((place, _)) = self.transmit.ring.take()? {
            let result = self.transmit.memory.byte(place * PLACE_BYTES + FRAME_BYTES);
            self.failed += u32::from(result != RESULT_OK);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_frames_that_a_bus_can_carry_are_made() {
        let check = |id, length: usize, good| {
            assert_eq!(
                Frame::new(id, &[7; 65][..length]).is_some(),
                good,
                "{id:#x} {length}"
            );
        };
        check(0, 0, true);
        check(0x7ff, 8, true);
        check(0x800, 8, false);
        check(1, 9, false);
        check(1, 64, true);
        check(1, 65, false);
    }

    #[test]
    fn what_is_received_is_checked() {
        let bytes = |kind: u16, length: u16, flags: u32, id: u32| {
            let mut bytes = [0; FRAME_BYTES];
            bytes[0..2].copy_from_slice(&kind.to_le_bytes());
            bytes[2..4].copy_from_slice(&length.to_le_bytes());
            bytes[8..12].copy_from_slice(&flags.to_le_bytes());
            bytes[12..16].copy_from_slice(&id.to_le_bytes());
            bytes
        };
        let mut frame = Frame::EMPTY;
        let known = parse(&bytes(MSG_RX, 64, FLAG_FD, 0x123), &mut frame);
        assert_eq!(known, Some(()));
        assert_eq!((frame.id(), frame.data().len()), (0x123, 64));
        for bad in [
            bytes(MSG_TX, 8, 0, 1),
            bytes(MSG_RX, 65, 0, 1),
            bytes(MSG_RX, 8, FLAG_EXTENDED, 1),
            bytes(MSG_RX, 8, FLAG_RTR, 1),
            bytes(MSG_RX, 8, 0, 0x800),
        ] {
            assert_eq!(parse(&bad, &mut frame), None);
        }
        assert_eq!(parse(&[0; 15], &mut frame), None);
    }
}
