//! A package's sectors, read and written as if they were a file.

use boot::{PackageSink, Unwritable};
use image::{ReadAt, Unreadable};

use crate::device::{BlockDevice, SECTOR_SIZE};

/// A run of sectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    /// First sector.
    pub first: u64,
    /// Number of sectors.
    pub sectors: u64,
}

impl Extent {
    /// First sector after it.
    pub fn end(&self) -> u64 {
        self.first.saturating_add(self.sectors)
    }

    /// Sectors that `bytes` bytes take.
    pub fn sectors_for(bytes: u32) -> u64 {
        u64::from(bytes).div_ceil(SECTOR_SIZE as u64)
    }

    /// Where `offset` is, if `length` bytes from there are inside.
    fn place(&self, offset: u32, length: usize) -> Option<(u64, usize)> {
        let end = u64::from(offset).checked_add(u64::try_from(length).ok()?)?;
        if end > self.sectors.checked_mul(SECTOR_SIZE as u64)? {
            return None;
        }
        let offset = usize::try_from(offset).ok()?;
        let sector = u64::try_from(offset / SECTOR_SIZE).ok()?;
        Some((self.first.checked_add(sector)?, offset % SECTOR_SIZE))
    }
}

/// Reads an extent at any byte.
#[derive(Debug)]
pub struct ExtentReader<D> {
    disk: D,
    extent: Extent,
    /// The sector last read for a part of it: what begins or ends within a sector shares it.
    sector: [u8; SECTOR_SIZE],
    cached: Option<u64>,
}

impl<D: BlockDevice> ExtentReader<D> {
    /// The bytes of `extent` on `disk`.
    pub fn new(disk: D, extent: Extent) -> ExtentReader<D> {
        ExtentReader {
            disk,
            extent,
            sector: [0; SECTOR_SIZE],
            cached: None,
        }
    }

    /// Copies from `within` in the sector `at`; answers how many bytes that was.
    fn read_part(&mut self, at: u64, within: usize, out: &mut [u8]) -> Result<usize, Unreadable> {
        if self.cached != Some(at) {
            self.cached = None;
            self.disk
                .read(at, &mut self.sector)
                .map_err(|_| Unreadable)?;
            self.cached = Some(at);
        }
        let n = out.len().min(SECTOR_SIZE - within);
        let from = self.sector.get(within..within + n).ok_or(Unreadable)?;
        out.get_mut(..n).ok_or(Unreadable)?.copy_from_slice(from);
        Ok(n)
    }
}

impl<D: BlockDevice> ReadAt for ExtentReader<D> {
    fn length(&self) -> u32 {
        let bytes = self.extent.sectors.saturating_mul(SECTOR_SIZE as u64);
        u32::try_from(bytes).unwrap_or(u32::MAX)
    }

    fn read_at(&mut self, offset: u32, out: &mut [u8]) -> Result<(), Unreadable> {
        let (mut at, mut within) = self.extent.place(offset, out.len()).ok_or(Unreadable)?;
        let mut rest = out;
        while !rest.is_empty() {
            let whole = rest.len() / SECTOR_SIZE * SECTOR_SIZE;
            let done = if within == 0 && whole > 0 {
                let sectors = rest.get_mut(..whole).ok_or(Unreadable)?;
                self.disk.read(at, sectors).map_err(|_| Unreadable)?;
                whole
            } else {
                self.read_part(at, within, rest)?
            };
            at += ((within + done) / SECTOR_SIZE) as u64;
            within = 0;
            rest = rest.get_mut(done..).ok_or(Unreadable)?;
        }
        Ok(())
    }
}

/// Writes an extent, whole sectors at a time.
#[derive(Debug)]
pub struct ExtentWriter<D> {
    disk: D,
    extent: Extent,
}

impl<D: BlockDevice> ExtentWriter<D> {
    /// The sectors of `extent` on `disk`.
    pub fn new(disk: D, extent: Extent) -> ExtentWriter<D> {
        ExtentWriter { disk, extent }
    }
}

impl<D: BlockDevice> PackageSink for ExtentWriter<D> {
    fn write_at(&mut self, offset: u32, sectors: &[u8]) -> Result<(), Unwritable> {
        let place = self.extent.place(offset, sectors.len());
        let (at, within) = place.ok_or(Unwritable)?;
        if within != 0 || !sectors.len().is_multiple_of(SECTOR_SIZE) {
            return Err(Unwritable);
        }
        self.disk.write(at, sectors).map_err(|_| Unwritable)
    }
}
