//! Console (virtio 1.4 §5.3): human text, line by line.

use core::cell::RefCell;
use core::fmt::{self, Write};

use crate::board_control::{BoardControl, SlotMask};
use crate::dma::Buffer;
use crate::error::DeviceError;
use crate::ring::{Ring, Shape};
use crate::slot::{Slot, kind};

/// Longest input line kept; the rest of a longer one is dropped.
pub const LINE_BYTES: usize = 160;

/// One buffer a request.
const BUFFERS: Shape = Shape::new(8, 1);
const PLACE_BYTES: usize = 512;

/// One line an operator typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputLine {
    bytes: [u8; LINE_BYTES],
    length: usize,
}

impl InputLine {
    const EMPTY: InputLine = InputLine {
        bytes: [0; LINE_BYTES],
        length: 0,
    };

    /// The line, printable ASCII, without its end.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(self.bytes.get(..self.length).unwrap_or(&[])).unwrap_or("")
    }

    /// Takes one character; true when the line is complete.
    fn push(&mut self, byte: u8) -> bool {
        match byte {
            b'\n' => return true,
            b' '..=b'~' => {
                if let Some(place) = self.bytes.get_mut(self.length) {
                    *place = byte;
                    self.length += 1;
                }
            }
            // Backspace and delete.
            0x08 | 0x7f => self.length = self.length.saturating_sub(1),
            _ => {}
        }
        false
    }
}

/// The board's console.
#[derive(Debug)]
pub struct Console {
    inner: RefCell<Inner>,
    mask: SlotMask,
}

#[derive(Debug)]
struct Inner {
    slot: Slot,
    receive: Ring,
    receive_memory: Buffer,
    transmit: Ring,
    transmit_memory: Buffer,
    line: InputLine,
    /// A received buffer that is not consumed yet: place, next byte, end.
    unread: Option<(usize, usize, usize)>,
}

impl Console {
    /// Opens the console in `slot`.
    ///
    /// # Errors
    /// It is not there or does not work as the standard says.
    pub fn open(slot: u8) -> Result<Console, DeviceError> {
        let (mut slot, _) = Slot::open(slot, kind::CONSOLE, 0)?;
        let mut inner = Inner {
            receive: Ring::new(&mut slot, 0, BUFFERS)?,
            receive_memory: Buffer::new(PLACE_BYTES * BUFFERS.places())?,
            transmit: Ring::new_quiet(&mut slot, 1, BUFFERS)?,
            transmit_memory: Buffer::new(PLACE_BYTES * BUFFERS.places())?,
            line: InputLine::EMPTY,
            unread: None,
            slot,
        };
        inner.slot.start();
        for place in 0..BUFFERS.places() {
            inner.lend(place)?;
        }
        Ok(Console {
            mask: 1 << inner.slot.number(),
            inner: RefCell::new(inner),
        })
    }

    /// The bit to wait for input with.
    pub fn mask(&self) -> SlotMask {
        self.mask
    }

    /// Writes one line; its end is added. It goes out with the next wait.
    ///
    /// # Errors
    /// The device failed. A line longer than a buffer is cut.
    pub fn write_line(
        &self,
        control: &BoardControl,
        line: fmt::Arguments<'_>,
    ) -> Result<(), DeviceError> {
        let mut inner = self.inner.borrow_mut();
        let place = loop {
            inner.reap()?;
            if let Some(place) = inner.transmit.free_place() {
                break place;
            }
            // All buffers are on their way; the device takes them when the board waits.
            control.wait(0, 0, Some(0))?;
            if inner.slot.needs_reset() {
                return Err(DeviceError::Broken);
            }
        };
        let mut text = Text {
            buffer: &mut inner.transmit_memory,
            next: place * PLACE_BYTES,
            end: (place + 1) * PLACE_BYTES - 1,
        };
        let _cut_short = text.write_fmt(line);
        let end = text.next;
        inner.transmit_memory.write(end, b"\n");
        let length = end + 1 - place * PLACE_BYTES;
        let piece = inner.transmit_memory.piece(place * PLACE_BYTES, length);
        let Inner { slot, transmit, .. } = &mut *inner;
        // SAFETY: the buffer is never freed, and its place is not used before it came back.
        unsafe { transmit.add(slot, place, &[piece], &[]) }
    }

    /// The next complete line an operator typed, if there is one.
    ///
    /// # Errors
    /// The device failed.
    pub fn poll_line(&self) -> Result<Option<InputLine>, DeviceError> {
        let mut inner = self.inner.borrow_mut();
        loop {
            let Some((place, next, end)) = inner.unread else {
                let Some((place, length)) = inner.receive.take()? else {
                    return Ok(None);
                };
                inner.unread = Some((place, 0, length.min(PLACE_BYTES)));
                continue;
            };
            if next >= end {
                inner.unread = None;
                inner.lend(place)?;
                continue;
            }
            inner.unread = Some((place, next + 1, end));
            let byte = inner.receive_memory.byte(place * PLACE_BYTES + next);
            if inner.line.push(byte) {
                return Ok(Some(core::mem::replace(&mut inner.line, InputLine::EMPTY)));
            }
        }
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

/// Formats into a part of a buffer.
struct Text<'a> {
    buffer: &'a mut Buffer,
    next: usize,
    end: usize,
}

impl Write for Text<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.end.saturating_sub(self.next);
        let bytes = text.as_bytes();
        let fits = bytes.get(..room).unwrap_or(bytes);
        self.next += self.buffer.write(self.next, fits);
        if fits.len() < bytes.len() {
            return Err(fmt::Error);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_from_what_was_typed() {
        let check = |typed: &[u8], wanted: &str| {
            let mut line = InputLine::EMPTY;
            let complete = typed.iter().position(|byte| line.push(*byte));
            assert_eq!(line.as_str(), wanted, "{typed:?}");
            assert_eq!(complete, typed.iter().position(|byte| *byte == b'\n'));
        };
        check(b"ver\n", "ver");
        check(b"vxe\x08\x7fer\r\n", "ver");
        check(b"\x08\x1b\xffboot -i\n", "boot -i");
        check(&[b'x'; 400], &"x".repeat(LINE_BYTES));
    }
}
