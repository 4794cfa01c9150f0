//! The panel (virtio 1.4 §5.7, two-dimensional part): a framebuffer in memory that the device
//! copies when asked.

use core::cell::RefCell;
use core::convert::Infallible;
use core::ptr::NonNull;

use embedded_graphics_core::Pixel;
use embedded_graphics_core::draw_target::DrawTarget;
use embedded_graphics_core::geometry::{Dimensions, OriginDimensions, Size};
use embedded_graphics_core::pixelcolor::{Rgb888, RgbColor};
use embedded_graphics_core::primitives::Rectangle;

use crate::dma::Buffer;
use crate::error::DeviceError;
use crate::ring::{Ring, Shape};
use crate::slot::{Slot, kind};

/// Pixels across.
pub const WIDTH: u32 = 256;
/// Pixels down.
pub const HEIGHT: u32 = 128;

const PIXEL_BYTES: usize = 4;
const FRAME_BYTES: usize = WIDTH as usize * HEIGHT as usize * PIXEL_BYTES;

/// Request, response.
const CONTROL: Shape = Shape::new(16, 2);
/// Requests in the order they are sent; the last two make a new picture visible.
const REQUESTS: usize = 5;
const REQUEST_BYTES: usize = 64;
const RESPONSE_BYTES: usize = 24;
const PLACE_BYTES: usize = 96;

const CMD_RESOURCE_CREATE_2D: u32 = 0x0101;
const CMD_SET_SCANOUT: u32 = 0x0103;
const CMD_RESOURCE_FLUSH: u32 = 0x0104;
const CMD_TRANSFER_TO_HOST_2D: u32 = 0x0105;
const CMD_RESOURCE_ATTACH_BACKING: u32 = 0x0106;
const RESP_OK_NODATA: u32 = 0x1100;

const FORMAT_B8G8R8X8: u32 = 2;
const RESOURCE: u32 = 1;
const SCANOUT: u32 = 0;

/// The panel: draw on it with embedded-graphics, then [`Panel::present`].
#[derive(Debug)]
pub struct Panel {
    inner: RefCell<Inner>,
}

#[derive(Debug)]
struct Inner {
    slot: Slot,
    ring: Ring,
    memory: Buffer,
    frame: Buffer,
    set_up: bool,
    refused: Option<u32>,
}

impl Panel {
    /// Opens the panel in `slot`; the picture is black.
    ///
    /// # Errors
    /// It is not there or does not work as the standard says.
    pub fn open(slot: u8) -> Result<Panel, DeviceError> {
        let (mut slot, _) = Slot::open(slot, kind::GPU, 0)?;
        // The cursor queue stays unused.
        let ring = Ring::new_quiet(&mut slot, 0, CONTROL)?;
        let memory = Buffer::new(PLACE_BYTES * REQUESTS)?;
        let frame = Buffer::new(FRAME_BYTES)?;
        slot.start();
        Ok(Panel {
            inner: RefCell::new(Inner {
                slot,
                ring,
                memory,
                frame,
                set_up: false,
                refused: None,
            }),
        })
    }

    /// Shows what was drawn; it becomes visible with the next wait. False when the picture before
    /// is still on its way: try again after a wait.
    ///
    /// # Errors
    /// The device failed, or refused the picture before.
    pub fn present(&self) -> Result<bool, DeviceError> {
        let mut inner = self.inner.borrow_mut();
        inner.collect()?;
        if inner.ring.outstanding() > 0 {
            return Ok(false);
        }
        if let Some(status) = inner.refused.take() {
            return Err(DeviceError::Refused { status });
        }
        if !inner.set_up {
            let frame = inner.frame.piece(0, FRAME_BYTES).cast::<u8>();
            for (place, fields) in set_up_requests(frame).iter().enumerate() {
                inner.submit(place, fields)?;
            }
            inner.set_up = true;
        }
        let transfer = [
            CMD_TRANSFER_TO_HOST_2D,
            0,
            0,
            WIDTH,
            HEIGHT,
            0,
            0,
            RESOURCE,
            0,
        ];
        inner.submit(3, &request(&transfer))?;
        let flush = [CMD_RESOURCE_FLUSH, 0, 0, WIDTH, HEIGHT, RESOURCE, 0];
        inner.submit(4, &request(&flush))?;
        Ok(true)
    }

    fn set(&self, x: u32, y: u32, color: Rgb888) {
        if x < WIDTH && y < HEIGHT {
            let at = (y as usize * WIDTH as usize + x as usize) * PIXEL_BYTES;
            self.inner.borrow_mut().frame.write(at, &pixel(color));
        }
    }
}

impl Inner {
    fn submit(&mut self, place: usize, fields: &Request) -> Result<(), DeviceError> {
        let at = place * PLACE_BYTES;
        self.memory.write(at, &fields.bytes);
        self.memory.write(at + REQUEST_BYTES, &[0; RESPONSE_BYTES]);
        let request = self.memory.piece(at, fields.length);
        let response = self.memory.piece(at + REQUEST_BYTES, RESPONSE_BYTES);
        // SAFETY: the buffers are never freed or borrowed, and a place is used again only when
        // nothing is outstanding.
        unsafe { self.ring.add(&self.slot, place, &[request], &[response]) }
    }

    fn collect(&mut self) -> Result<(), DeviceError> {
        let mut taken = false;
        while self.ring.take()?.is_some() {
            taken = true;
        }
        if taken && self.ring.outstanding() == 0 {
            self.refused = (0..REQUESTS)
                .map(|place| self.memory.u32(place * PLACE_BYTES + REQUEST_BYTES))
                .find(|status| *status != RESP_OK_NODATA);
        }
        Ok(())
    }
}

/// A request of the control queue.
#[derive(Debug)]
struct Request {
    bytes: [u8; REQUEST_BYTES],
    length: usize,
}

/// `fields`: the type, then what follows struct virtio_gpu_ctrl_hdr (24 bytes, all zero but the
/// type: no fence, no context).
fn request(fields: &[u32]) -> Request {
    const HEADER_WORDS: usize = 6;
    let mut bytes = [0; REQUEST_BYTES];
    let header = fields.iter().take(1).zip(0usize..);
    let body = fields.iter().skip(1).zip(HEADER_WORDS..);
    for (field, word) in header.chain(body) {
        if let Some(place) = bytes.get_mut(word * 4..word * 4 + 4) {
            place.copy_from_slice(&field.to_le_bytes());
        }
    }
    let words = HEADER_WORDS + fields.len().saturating_sub(1);
    Request {
        bytes,
        length: (words * 4).min(REQUEST_BYTES),
    }
}

/// Create the resource, give it `frame` as its memory, show it on the one scanout.
fn set_up_requests(frame: NonNull<u8>) -> [Request; 3] {
    let address = u64::try_from(frame.addr().get()).unwrap_or(0).to_le_bytes();
    let [a, b, c, d, e, f, g, h] = address;
    let low = u32::from_le_bytes([a, b, c, d]);
    let high = u32::from_le_bytes([e, f, g, h]);
    let length = u32::try_from(FRAME_BYTES).unwrap_or(0);
    [
        request(&[
            CMD_RESOURCE_CREATE_2D,
            RESOURCE,
            FORMAT_B8G8R8X8,
            WIDTH,
            HEIGHT,
        ]),
        // One entry: address, length, padding.
        request(&[
            CMD_RESOURCE_ATTACH_BACKING,
            RESOURCE,
            1,
            low,
            high,
            length,
            0,
        ]),
        request(&[CMD_SET_SCANOUT, 0, 0, WIDTH, HEIGHT, SCANOUT, RESOURCE]),
    ]
}

/// A pixel of the panel's format, VIRTIO_GPU_FORMAT_B8G8R8X8_UNORM.
fn pixel(color: Rgb888) -> [u8; PIXEL_BYTES] {
    [color.b(), color.g(), color.r(), 0xff]
}

impl OriginDimensions for Panel {
    fn size(&self) -> Size {
        Size::new(WIDTH, HEIGHT)
    }
}

impl DrawTarget for Panel {
    type Color = Rgb888;
    type Error = Infallible;

    fn draw_iter<I>(&mut self, pixels: I) -> Result<(), Infallible>
    where
        I: IntoIterator<Item = Pixel<Rgb888>>,
    {
        for Pixel(point, color) in pixels {
            if let (Ok(x), Ok(y)) = (u32::try_from(point.x), u32::try_from(point.y)) {
                self.set(x, y, color);
            }
        }
        Ok(())
    }

    /// Whole rows at a time: most of a picture is background.
    fn fill_solid(&mut self, area: &Rectangle, color: Rgb888) -> Result<(), Infallible> {
        let area = area.intersection(&self.bounding_box());
        let row = [pixel(color); WIDTH as usize];
        let row = row.as_flattened();
        // Inside the picture, so neither is negative.
        let left = usize::try_from(area.top_left.x).unwrap_or(0) * PIXEL_BYTES;
        let bytes = area.size.width as usize * PIXEL_BYTES;
        let mut inner = self.inner.borrow_mut();
        for y in area.rows() {
            let start = usize::try_from(y).unwrap_or(0) * row.len() + left;
            inner.frame.write(start, row.get(..bytes).unwrap_or(row));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_have_the_layout_of_the_standard() {
        let check = |fields: &[u32], length, at: usize, wanted: u32| {
            let request = request(fields);
            assert_eq!(request.length, length, "{fields:x?}");
            assert_eq!(request.bytes[..4], fields[0].to_le_bytes());
            assert_eq!(
                request.bytes[at..at + 4],
                wanted.to_le_bytes(),
                "{fields:x?}"
            );
        };
        // §5.7.6.8: resource_create_2d has its width at 24 + 8.
        check(&[CMD_RESOURCE_CREATE_2D, 1, 2, 256, 128], 40, 32, 256);
        // resource_flush: rectangle, then the resource.
        check(&[CMD_RESOURCE_FLUSH, 0, 0, 256, 128, 9, 0], 48, 40, 9);
        // transfer_to_host_2d: rectangle, offset of 64 bits, resource.
        check(
            &[CMD_TRANSFER_TO_HOST_2D, 0, 0, 256, 128, 0, 0, 9, 0],
            56,
            48,
            9,
        );
    }
}
