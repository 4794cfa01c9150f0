use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::time::Nanos;

/// Largest chip: what a 4-byte address reaches.
const LARGEST_BYTES: u64 = 1 << 32;

/// Sizes of a chip and its units, checked: every unit is a power of two, each divides the next,
/// and the chip is a whole number of blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Sizes", into = "Sizes")]
pub struct Geometry {
    sizes: Sizes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sizes {
    chip_bytes: u64,
    page_bytes: u32,
    sector_bytes: u32,
    block_bytes: u32,
}

/// Why a chip cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PartError {
    /// The sizes do not fit together.
    #[error("a flash chip cannot have this geometry: {0}")]
    Geometry(&'static str),
    /// The medium is not the size of the chip.
    #[error("the medium has {found} bytes, the flash chip {wanted}")]
    MediumSize {
        /// Length of the medium.
        found: u64,
        /// Size of the chip.
        wanted: u64,
    },
}

impl Geometry {
    /// A chip of `chip_bytes` with the usual 256-byte pages, 4 KiB sectors and 64 KiB blocks.
    ///
    /// # Errors
    /// `chip_bytes` is zero, not a multiple of 64 KiB, or more than 4 GiB.
    pub fn of_size(chip_bytes: u64) -> Result<Geometry, PartError> {
        Geometry::new(chip_bytes, 256, 4 << 10, 64 << 10)
    }

    /// A chip of `chip_bytes`, programmed in pages, erased in sectors or blocks.
    ///
    /// # Errors
    /// The sizes do not fit together.
    pub fn new(
        chip_bytes: u64,
        page_bytes: u32,
        sector_bytes: u32,
        block_bytes: u32,
    ) -> Result<Geometry, PartError> {
        Geometry::try_from(Sizes {
            chip_bytes,
            page_bytes,
            sector_bytes,
            block_bytes,
        })
    }

    /// Size of the chip.
    pub fn chip_bytes(&self) -> u64 {
        self.sizes.chip_bytes
    }

    /// Size of a page: what one program command can reach.
    pub fn page_bytes(&self) -> u32 {
        self.sizes.page_bytes
    }

    /// Size of a sector: the smallest unit that can be erased, and the one wear is counted for.
    pub fn sector_bytes(&self) -> u32 {
        self.sizes.sector_bytes
    }

    /// Size of a block: the larger erase unit.
    pub fn block_bytes(&self) -> u32 {
        self.sizes.block_bytes
    }
}

impl TryFrom<Sizes> for Geometry {
    type Error = PartError;

    fn try_from(sizes: Sizes) -> Result<Geometry, PartError> {
        let no = |why| Err(PartError::Geometry(why));
        // JESD216 gives these as exponents: 4 bits for the page, 8 for an erase unit.
        let powers = [sizes.page_bytes, sizes.sector_bytes, sizes.block_bytes];
        if !powers.iter().all(|bytes| bytes.is_power_of_two()) {
            return no("pages, sectors and blocks are powers of two");
        }
        if sizes.page_bytes > 1 << 15 {
            return no("a page has at most 32 KiB");
        }
        if sizes.page_bytes > sizes.sector_bytes || sizes.sector_bytes > sizes.block_bytes {
            return no("a page fits into a sector, a sector into a block");
        }
        if sizes.chip_bytes == 0
            || !sizes
                .chip_bytes
                .is_multiple_of(u64::from(sizes.block_bytes))
        {
            return no("a chip is a whole number of blocks");
        }
        if sizes.chip_bytes > LARGEST_BYTES {
            return no("a chip has at most 4 GiB");
        }
        Ok(Geometry { sizes })
    }
}

impl From<Geometry> for Sizes {
    fn from(geometry: Geometry) -> Sizes {
        geometry.sizes
    }
}

/// How long a chip is busy. Typical times of the data sheet; here they are constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timings {
    /// One page program, however many bytes.
    pub page_program: Nanos,
    /// Erase of one sector.
    pub sector_erase: Nanos,
    /// Erase of one block.
    pub block_erase: Nanos,
    /// Erase of the whole chip.
    pub chip_erase: Nanos,
}

impl Default for Timings {
    /// Board manual §6.
    fn default() -> Self {
        Timings {
            page_program: Nanos::from_micros(700),
            sector_erase: Nanos::from_millis(45),
            block_erase: Nanos::from_millis(150),
            chip_erase: Nanos::from_secs(2),
        }
    }
}

/// A type of chip: everything that is printed in its data sheet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FlashPart {
    /// Sizes.
    pub geometry: Geometry,
    /// Busy times.
    pub timings: Timings,
    /// Answer to RDID: manufacturer, type, capacity.
    pub identity: [u8; 3],
}

impl FlashPart {
    /// A part of the given geometry with the times of board manual §6.
    pub fn new(geometry: Geometry) -> FlashPart {
        // By convention the capacity byte is the exponent of the size in bytes; the other two are
        // those of a common 3 V part, so that foreign firmware recognises it.
        let capacity = u8::try_from(geometry.chip_bytes().ilog2()).unwrap_or(u8::MAX);
        FlashPart {
            geometry,
            timings: Timings::default(),
            identity: [0xef, 0x40, capacity],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_that_do_not_fit_are_refused() {
        let check = |chip, page, sector, block| Geometry::new(chip, page, sector, block).is_ok();
        assert!(check(1 << 20, 256, 4096, 65536));
        assert!(check(3 << 16, 256, 4096, 65536));
        assert!(check(1 << 32, 1 << 15, 1 << 15, 1 << 18));
        assert!(!check(0, 256, 4096, 65536));
        assert!(!check(100_000, 256, 4096, 65536));
        assert!(!check(1 << 33, 256, 4096, 65536));
        assert!(!check(1 << 20, 0, 4096, 65536));
        assert!(!check(1 << 20, 300, 4096, 65536));
        assert!(!check(1 << 20, 8192, 4096, 65536));
        assert!(!check(1 << 20, 256, 65536, 4096));
        assert!(!check(1 << 20, 1 << 16, 1 << 16, 1 << 16));
    }

    #[test]
    fn a_stored_geometry_is_checked_when_loaded() {
        let good = Geometry::of_size(1 << 20).unwrap();
        let bytes = postcard::to_stdvec(&good).unwrap();
        assert_eq!(postcard::from_bytes::<Geometry>(&bytes).unwrap(), good);
        let bad = postcard::to_stdvec(&(1u64 << 20, 0u32, 4096u32, 65536u32)).unwrap();
        assert!(postcard::from_bytes::<Geometry>(&bad).is_err());
    }

    #[test]
    fn identity_tells_the_capacity() {
        let identity = |bytes| FlashPart::new(Geometry::of_size(bytes).unwrap()).identity;
        assert_eq!(identity(1 << 20), [0xef, 0x40, 0x14]);
        assert_eq!(identity(32 << 20), [0xef, 0x40, 0x19]);
    }
}
