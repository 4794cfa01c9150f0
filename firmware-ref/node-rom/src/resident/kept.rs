//! The image that the node keeps: a container (`distribution::container`) at the beginning of its flash chip.

use distribution::container::{self, Image, TABLE_MAX};
use distribution::{Content, Contents, Defect, Module, Part, VersionTag};
use embedded_storage::nor_flash::{NorFlash, ReadNorFlash};
use runtime::SpiController;
use runtime::board_control::BoardControl;
use runtime::spi_flash::Flash;
use runtime::{BankName, BankPlace};
use words::{Line, Words};

use crate::door::Download;

/// All of the chip.
const PLACE: BankPlace = BankPlace {
    level: 3,
    bank: BankName::A,
    chip: 0,
    offset: 0,
    size: 1 << 20,
};

/// The flash, with memory for what lies in it.
#[derive(Debug)]
pub(crate) struct Kept<'a> {
    control: &'a BoardControl,
    flash: Flash<'a>,
    memory: &'a mut [u8],
    loaded: Option<Part>,
}

/// Which image, in traces.
struct Named {
    version: VersionTag,
    bytes: u32,
}

impl Words for Named {
    fn say(&self, line: &mut Line) {
        self.version.say(line);
        line.put_count(" bytes=", self.bytes);
    }
}

impl<'a> Kept<'a> {
    pub(crate) fn new(
        spi: &'a SpiController,
        control: &'a BoardControl,
        memory: &'a mut [u8],
    ) -> Kept<'a> {
        Kept {
            control,
            flash: Flash::new(spi, control, PLACE),
            memory,
            loaded: None,
        }
    }

    /// What [`Kept::load`] put into memory last.
    pub(crate) fn loaded(&self) -> Option<Part> {
        self.loaded
    }

    /// Puts the image for `module` where it runs; whether it is whole there.
    pub(crate) fn load(&mut self, module: Module, image: &mut [u8]) -> bool {
        let found = self.read(module, image);
        match &found {
            Ok(part) => {
                let named = Named {
                    version: part.version,
                    bytes: part.length,
                };
                self.control.trace_words("flash-loaded version=", &named);
            }
            Err(cause) => self.control.trace_words("flash-damaged cause=", cause),
        }
        self.loaded = found.ok();
        self.loaded.is_some()
    }

    fn read(&mut self, module: Module, image: &mut [u8]) -> Result<Part, &'static str> {
        let table = self.memory.get_mut(..TABLE_MAX).unwrap_or_default();
        self.flash.read(0, table).map_err(|_| "unreadable")?;
        let word = |defect: Defect| defect.as_str();
        let total = Contents::parse(table).map_err(word)?.total as usize;
        let whole = self.memory.get_mut(..total).ok_or("oversized")?;
        self.flash.read(0, whole).map_err(|_| "unreadable")?;
        let part = Contents::check(whole)
            .map_err(word)?
            .select(module)
            .ok_or("other-type")?;
        let (begin, length) = (part.offset as usize, part.length as usize);
        let bytes = whole.get(begin..begin + length).ok_or("truncated")?;
        let place = image.get_mut(..length).ok_or("oversized")?;
        place.copy_from_slice(bytes);
        // What lies in RAM is what runs.
        if distribution::CRC32.checksum(place) != part.crc {
            return Err("memory");
        }
        Ok(part)
    }

    /// Puts a download, which lies in `image`, in place of the image in flash. Whether that went well is for the next
    /// [`Kept::load`] to see.
    pub(crate) fn program(&mut self, module: Module, download: &Download, image: &[u8]) {
        let named = Named {
            version: download.version,
            bytes: download.length,
        };
        let bytes = image.get(..download.length as usize).unwrap_or_default();
        let image = Image {
            content: Content::Only(module),
            version: download.version,
            entry: download.entry,
            bytes,
        };
        let written = container::write(&[image], self.memory);
        let total = written.unwrap_or(0);
        let whole = self.memory.get(..total).unwrap_or_default();
        let Ok(length) = u32::try_from(total.next_multiple_of(Flash::ERASE_SIZE)) else {
            return;
        };
        self.control
            .trace_words("flash-programming version=", &named);
        let changed = self
            .flash
            .erase(0, length)
            .and_then(|()| self.flash.write(0, whole));
        match changed {
            Ok(()) => self
                .control
                .trace_words("flash-programmed version=", &named),
            Err(_) => self.control.trace_words("flash-failed version=", &named),
        }
    }
}
