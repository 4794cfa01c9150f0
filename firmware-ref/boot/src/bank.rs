//! Levels, banks, and reading an image out of a bank.

use core::fmt;

use embedded_storage::nor_flash::ReadNorFlash;
use image::{Defect, ImageHeader, Kind, ReadAt, Requirements, Unreadable};

/// A firmware level that is kept twice (VC17, VC18). L1 is not: it is never rewritten (VC13, VC59).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Discovery and POST.
    L2,
    /// Drivers, operating system, application.
    L3,
}

impl Level {
    /// Both, in the order in which they boot and are compared (VC52).
    pub const ALL: [Level; 2] = [Level::L2, Level::L3];

    /// The kind of image that belongs into this level's banks.
    pub fn kind(self) -> Kind {
        match self {
            Level::L2 => Kind::L2,
            Level::L3 => Kind::L3,
        }
    }

    /// The digit used in traces: `level=…`.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::L2 => "2",
            Level::L3 => "3",
        }
    }
}

/// One of a level's two places.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bank {
    /// The first: L2A or L3A.
    A,
    /// The second: L2B or L3B.
    B,
}

impl Bank {
    /// Both, in order.
    pub const ALL: [Bank; 2] = [Bank::A, Bank::B];

    /// The other place of the same level.
    pub fn other(self) -> Bank {
        match self {
            Bank::A => Bank::B,
            Bank::B => Bank::A,
        }
    }

    /// The letter used in traces: `bank=…`.
    pub fn as_str(self) -> &'static str {
        match self {
            Bank::A => "A",
            Bank::B => "B",
        }
    }
}

impl fmt::Display for Bank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A bank's bytes, as the image library reads them.
#[derive(Debug)]
pub struct BankReader<'f, F>(pub &'f mut F);

impl<F: ReadNorFlash> ReadAt for BankReader<'_, F> {
    fn length(&self) -> u32 {
        u32::try_from(self.0.capacity()).unwrap_or(u32::MAX)
    }

    fn read_at(&mut self, offset: u32, out: &mut [u8]) -> Result<(), Unreadable> {
        // Serial NOR reads from any byte on; a body may end anywhere.
        const { assert!(F::READ_SIZE == 1) };
        self.0.read(offset, out).map_err(|_| Unreadable)
    }
}

/// Validates the image in a bank: header, fit, trust, and the hash of the whole body. A chip that
/// does not answer holds no valid image.
pub fn inspect(
    flash: &mut impl ReadNorFlash,
    requirements: &Requirements<'_>,
    buffer: &mut [u8],
) -> Result<ImageHeader, Defect> {
    requirements.check_bank(&mut BankReader(flash), buffer)
}
