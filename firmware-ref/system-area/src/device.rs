//! What this crate needs of a disk.

/// Bytes of a sector.
pub const SECTOR_SIZE: usize = 512;

/// The disk did not do it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IoError;

/// A disk with a volatile write cache.
pub trait BlockDevice {
    /// Sectors it has; 0 when it cannot be reached.
    fn sectors(&self) -> u64;

    /// Reads whole sectors from `sector` on.
    fn read(&mut self, sector: u64, into: &mut [u8]) -> Result<(), IoError>;

    /// Writes whole sectors from `sector` on; durable after a [`BlockDevice::flush`].
    fn write(&mut self, sector: u64, from: &[u8]) -> Result<(), IoError>;

    /// Makes every completed write durable.
    fn flush(&mut self) -> Result<(), IoError>;
}

impl<D: BlockDevice> BlockDevice for &mut D {
    fn sectors(&self) -> u64 {
        D::sectors(self)
    }

    fn read(&mut self, sector: u64, into: &mut [u8]) -> Result<(), IoError> {
        D::read(self, sector, into)
    }

    fn write(&mut self, sector: u64, from: &[u8]) -> Result<(), IoError> {
        D::write(self, sector, from)
    }

    fn flush(&mut self) -> Result<(), IoError> {
        D::flush(self)
    }
}
