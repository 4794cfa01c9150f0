use embedded_storage::nor_flash::{ErrorType, NorFlashError, NorFlashErrorKind, ReadNorFlash};
use runtime::BankPlace;
use runtime::spi_flash::Region;

/// A bank as far as it was copied to memory. Reading past that is an error: what is not there cannot
/// be valid.
#[derive(Debug)]
pub(crate) struct Staged {
    memory: &'static mut [u8],
    present: usize,
    capacity: u32,
}

/// The part asked for is not in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct NotStaged;

impl NorFlashError for NotStaged {
    fn kind(&self) -> NorFlashErrorKind {
        NorFlashErrorKind::OutOfBounds
    }
}

impl Staged {
    pub(crate) fn new(memory: &'static mut [u8]) -> Staged {
        Staged {
            memory,
            present: 0,
            capacity: 0,
        }
    }

    pub(crate) fn set_capacity(&mut self, bytes: u32) {
        self.capacity = bytes;
    }

    /// What is to be read so that `length` bytes are present; `None` if that is nothing, or more than
    /// there is memory for.
    pub(crate) fn region(&mut self, place: BankPlace, length: usize) -> Option<Region<'_>> {
        let into = self.memory.get_mut(self.present..length)?;
        let address = place
            .offset
            .checked_add(u32::try_from(self.present).ok()?)?;
        (!into.is_empty()).then_some(Region {
            chip: place.chip,
            address,
            into,
        })
    }

    pub(crate) fn now_present(&mut self, length: usize) {
        self.present = length.min(self.memory.len());
    }

    pub(crate) fn present(&self) -> &[u8] {
        self.memory.get(..self.present).unwrap_or(&[])
    }
}

impl ErrorType for Staged {
    type Error = NotStaged;
}

impl ReadNorFlash for Staged {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NotStaged> {
        let start = usize::try_from(offset).map_err(|_| NotStaged)?;
        let end = start.checked_add(bytes.len()).ok_or(NotStaged)?;
        bytes.copy_from_slice(self.present().get(start..end).ok_or(NotStaged)?);
        Ok(())
    }

    fn capacity(&self) -> usize {
        usize::try_from(self.capacity).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::boxed::Box;

    use runtime::BankName;

    use super::*;

    #[test]
    fn only_what_was_read_can_be_read() {
        let mut staged = Staged::new(Box::leak(Box::new([7; 1024])));
        let place = BankPlace {
            level: 2,
            bank: BankName::A,
            chip: 1,
            offset: 0x20000,
            size: 4096,
        };
        staged.set_capacity(place.size);
        assert_eq!(staged.read(0, &mut [0]), Err(NotStaged));

        let header = staged.region(place, 256).expect("room for a header");
        assert_eq!((header.address, header.into.len()), (0x20000, 256));
        staged.now_present(256);
        assert_eq!(staged.read(0, &mut [0; 256]), Ok(()));
        assert_eq!(staged.read(255, &mut [0; 2]), Err(NotStaged));

        let body = staged.region(place, 1000).expect("room for the rest");
        assert_eq!((body.address, body.into.len()), (0x20100, 744));
        staged.now_present(1000);
        assert_eq!(staged.read(255, &mut [0; 2]), Ok(()));

        assert!(staged.region(place, 1000).is_none(), "nothing is missing");
        assert!(staged.region(place, 1025).is_none(), "no memory for it");
        assert!(staged.region(place, 0).is_none(), "nothing is asked for");
    }
}
