use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use vm_memory::{Bytes, GuestAddress, GuestMemoryBackend};

use super::framebuffer::Framebuffer;
use super::wire::{Command, GpuError, Rect};
use super::{HEIGHT, MAX_BACKING_ENTRIES, MAX_RESOURCE_BYTES, MAX_RESOURCES, WIDTH};
use crate::virtio::GuestMemory;

/// Order of the colours in a pixel of four bytes (virtio 1.4 §5.7.6.7, `virtio_gpu_formats`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Format {
    BlueFirst,
    RedFirst,
}

impl Format {
    fn from_wire(number: u32) -> Option<Format> {
        match number {
            // B8G8R8A8, B8G8R8X8
            1 | 2 => Some(Format::BlueFirst),
            // R8G8B8A8
            67 => Some(Format::RedFirst),
            _ => None,
        }
    }

    fn colours(self, pixel: &[u8]) -> [u8; 3] {
        let &[a, b, c, ..] = pixel else { return [0; 3] };
        match self {
            Format::BlueFirst => [c, b, a],
            Format::RedFirst => [a, b, c],
        }
    }
}

/// A piece of guest memory, and where it begins in the backing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Piece {
    start: u64,
    address: u64,
    length: u64,
}

impl Piece {
    fn end(&self) -> u64 {
        self.start.saturating_add(self.length)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Resource {
    format: Format,
    width: u32,
    height: u32,
    /// Shared between a panel and its checkpoints.
    pixels: Arc<Vec<u8>>,
    /// Every piece is not empty and was inside memory when it was attached.
    backing: Option<Vec<Piece>>,
}

impl Resource {
    /// Where `width` pixels from column `x` of row `y` lie. Saturating: a checkpoint file may tell
    /// a size that its pixels do not have.
    fn span(&self, x: u32, y: u32, width: u32) -> std::ops::Range<usize> {
        let first = (y as usize).saturating_mul(self.width as usize);
        let start = first.saturating_add(x as usize).saturating_mul(4);
        start..start.saturating_add((width as usize).saturating_mul(4))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Scanout {
    resource: u32,
    rect: Rect,
}

/// The 2D resources a driver made, and which of them the glass shows.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Resources {
    table: BTreeMap<u32, Resource>,
    scanout: Option<Scanout>,
}

type Outcome = Result<(), GpuError>;

impl Resources {
    pub(super) fn create(&mut self, command: &Command) -> Outcome {
        let [id, format, width, height] = words(command)?;
        if id == 0 || self.table.contains_key(&id) {
            return Err(GpuError::InvalidResourceId);
        }
        let format = Format::from_wire(format).ok_or(GpuError::InvalidParameter)?;
        if width == 0 || height == 0 {
            return Err(GpuError::InvalidParameter);
        }
        let in_use: u64 = self.table.values().map(|r| r.pixels.len() as u64).sum();
        let bytes = u64::from(width)
            .checked_mul(u64::from(height))
            .and_then(|pixels| pixels.checked_mul(4))
            .filter(|bytes| *bytes <= MAX_RESOURCE_BYTES.saturating_sub(in_use));
        let bytes = match bytes.map(usize::try_from) {
            Some(Ok(bytes)) if self.table.len() < MAX_RESOURCES => bytes,
            _ => return Err(GpuError::OutOfMemory),
        };
        let resource = Resource {
            format,
            width,
            height,
            pixels: Arc::new(vec![0; bytes]),
            backing: None,
        };
        self.table.insert(id, resource);
        Ok(())
    }

    pub(super) fn unref(&mut self, command: &Command, glass: &mut Framebuffer) -> Outcome {
        let [id, _padding] = words(command)?;
        self.table.remove(&id).ok_or(GpuError::InvalidResourceId)?;
        if self.scanout.as_ref().is_some_and(|s| s.resource == id) {
            self.scanout = None;
            glass.blank();
        }
        Ok(())
    }

    pub(super) fn set_scanout(&mut self, command: &Command, glass: &mut Framebuffer) -> Outcome {
        let rect = command.rect()?;
        let (scanout, id) = (command.word(4)?, command.word(5)?);
        if scanout != 0 {
            return Err(GpuError::InvalidScanoutId);
        }
        if id == 0 {
            self.scanout = None;
            glass.blank();
            return Ok(());
        }
        let resource = self.table.get(&id).ok_or(GpuError::InvalidResourceId)?;
        let fits_glass = rect.width <= WIDTH && rect.height <= HEIGHT;
        if !fits_glass || !rect.is_within(resource.width, resource.height) {
            return Err(GpuError::InvalidParameter);
        }
        self.scanout = Some(Scanout { resource: id, rect });
        Ok(())
    }

    pub(super) fn flush(&self, command: &Command, glass: &mut Framebuffer) -> Outcome {
        let rect = command.rect()?;
        let (id, _padding) = (command.word(4)?, command.word(5)?);
        let resource = self.table.get(&id).ok_or(GpuError::InvalidResourceId)?;
        if !rect.is_within(resource.width, resource.height) {
            return Err(GpuError::InvalidParameter);
        }
        let Some(scanout) = self.scanout.as_ref().filter(|s| s.resource == id) else {
            return Ok(());
        };
        let Some(seen) = rect.intersection(&scanout.rect) else {
            return Ok(());
        };
        for y in seen.y..seen.y + seen.height {
            let span = resource.span(seen.x, y, seen.width);
            let row = resource.pixels.get(span).unwrap_or_default();
            let colours = row.chunks_exact(4).map(|p| resource.format.colours(p));
            glass.put_row(seen.x - scanout.rect.x, y - scanout.rect.y, colours);
        }
        glass.flushed();
        Ok(())
    }

    pub(super) fn transfer(&mut self, command: &Command, memory: &GuestMemory) -> Outcome {
        let rect = command.rect()?;
        let offset = command.long(4)?;
        let (id, _padding) = (command.word(6)?, command.word(7)?);
        let resource = self.resource(id)?;
        if !rect.is_within(resource.width, resource.height) {
            return Err(GpuError::InvalidParameter);
        }
        let backing = resource.backing.take().ok_or(GpuError::Unspecified)?;
        let outcome = copy_rows(resource, &rect, &backing, offset, memory);
        resource.backing = Some(backing);
        outcome
    }

    pub(super) fn attach(&mut self, command: &Command, memory: &GuestMemory) -> Outcome {
        let [id, count] = words(command)?;
        let resource = self.resource(id)?;
        if resource.backing.is_some() {
            return Err(GpuError::Unspecified);
        }
        if count > MAX_BACKING_ENTRIES {
            return Err(GpuError::OutOfMemory);
        }
        let mut backing = Vec::new();
        let mut start = 0;
        for entry in 0..count as usize {
            let at = 2 + 4 * entry;
            let (address, length) = (command.long(at)?, command.word(at + 2)?);
            let _padding = command.word(at + 3)?;
            if length == 0 {
                continue;
            }
            if !memory.check_range(GuestAddress(address), length as usize) {
                return Err(GpuError::InvalidParameter);
            }
            let length = u64::from(length);
            backing.push(Piece {
                start,
                address,
                length,
            });
            start += length;
        }
        resource.backing = Some(backing);
        Ok(())
    }

    pub(super) fn detach(&mut self, command: &Command) -> Outcome {
        let [id, _padding] = words(command)?;
        let backing = self.resource(id)?.backing.take();
        backing.map(|_| ()).ok_or(GpuError::Unspecified)
    }

    fn resource(&mut self, id: u32) -> Result<&mut Resource, GpuError> {
        self.table.get_mut(&id).ok_or(GpuError::InvalidResourceId)
    }
}

/// The first words after the header of a command.
fn words<const N: usize>(command: &Command) -> Result<[u32; N], GpuError> {
    let mut words = [0; N];
    for (n, word) in words.iter_mut().enumerate() {
        *word = command.word(n)?;
    }
    Ok(words)
}

/// Copies a rectangle out of the backing. `offset` is where its first pixel lies there; a row is
/// as long as one of the resource (virtio 1.4 §5.7.6.7, TRANSFER_TO_HOST_2D).
fn copy_rows(
    resource: &mut Resource,
    rect: &Rect,
    backing: &[Piece],
    offset: u64,
    memory: &GuestMemory,
) -> Outcome {
    let stride = u64::from(resource.width) * 4;
    let rows_before = u64::from(rect.height.saturating_sub(1));
    let row = u64::from(rect.width) * 4;
    let last = stride.saturating_mul(rows_before).saturating_add(row);
    let length = backing.last().map_or(0, Piece::end);
    if offset.checked_add(last).is_none_or(|end| end > length) {
        return Err(GpuError::InvalidParameter);
    }
    for row in 0..rect.height {
        let span = resource.span(rect.x, rect.y + row, rect.width);
        let into = Arc::make_mut(&mut resource.pixels).get_mut(span);
        // Within the backing, as was checked.
        let from = offset.saturating_add(stride.saturating_mul(u64::from(row)));
        read_backing(backing, from, into.unwrap_or_default(), memory)?;
    }
    Ok(())
}

fn read_backing(
    backing: &[Piece],
    mut offset: u64,
    mut into: &mut [u8],
    memory: &GuestMemory,
) -> Outcome {
    let first = backing.partition_point(|piece| piece.end() <= offset);
    for piece in backing.iter().skip(first) {
        let skipped = offset.saturating_sub(piece.start);
        let there = usize::try_from(piece.length.saturating_sub(skipped)).unwrap_or(usize::MAX);
        let (now, later) = into.split_at_mut(there.min(into.len()));
        memory
            .read_slice(now, GuestAddress(piece.address.saturating_add(skipped)))
            .map_err(|_| GpuError::Unspecified)?;
        if later.is_empty() {
            return Ok(());
        }
        offset = piece.end();
        into = later;
    }
    Err(GpuError::InvalidParameter)
}
