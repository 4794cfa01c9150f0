//! The board's devices, and the memory work is done in.

use core::cell::{OnceCell, RefCell};
use core::fmt;

use boot::{Bank, Level};
use image::{Defect, Requirements};
use runtime::block::{Disk, SECTOR_BYTES};
use runtime::board_control::BoardControl;
use runtime::console::Console;
use runtime::network::Port;
use runtime::panel::Panel;
use runtime::spi_flash::Flash;
use runtime::{SpiController, number, ram};
use system_area::{BlockDevice, IoError};

use crate::picture::{Layout, Picture};

/// The devices. One that is missing or broken is `None`: what to do about it is decided where it is
/// needed.
#[derive(Debug)]
pub(crate) struct Hardware {
    pub(crate) control: BoardControl,
    pub(crate) shelf: Option<Disk>,
    pub(crate) console: Option<Console>,
    pub(crate) backplane: Option<Port>,
    pub(crate) host_port: Option<Port>,
    pub(crate) picture: RefCell<Option<Picture>>,
    // A normal boot needs neither, and setting a device up costs a dozen exits.
    flash: OnceCell<Option<SpiController>>,
    media: OnceCell<Option<Disk>>,
}

impl Hardware {
    /// Loads the drivers; from here on the array can be reached (VC36).
    pub(crate) fn open(control: BoardControl, layout: Layout) -> Hardware {
        let hardware = Hardware {
            shelf: Disk::open(number::SHELF).ok(),
            console: Console::open(number::CONSOLE).ok(),
            backplane: Port::open(number::BACKPLANE).ok(),
            host_port: Port::open(number::HOST_PORT).ok(),
            picture: RefCell::new(
                Panel::open(number::PANEL)
                    .ok()
                    .map(|p| Picture::new(p, layout)),
            ),
            flash: OnceCell::new(),
            media: OnceCell::new(),
            control,
        };
        hardware.control.trace(format_args!("drivers-loaded"));
        hardware
    }

    /// The RAID shelf.
    pub(crate) fn array(&self) -> Sectors<'_> {
        Sectors {
            disk: self.shelf.as_ref(),
            control: &self.control,
        }
    }

    /// The service media; no sectors when there is none.
    pub(crate) fn media(&self) -> Sectors<'_> {
        let media = self
            .media
            .get_or_init(|| Disk::open(number::SERVICE_MEDIA).ok());
        Sectors {
            disk: media.as_ref(),
            control: &self.control,
        }
    }

    /// One bank of flash.
    pub(crate) fn bank(&self, level: Level, bank: Bank) -> Option<Flash<'_>> {
        let flash = self
            .flash
            .get_or_init(|| SpiController::open(number::FLASH).ok());
        let place = next_level::place(self.control.identity(), level, bank)?;
        Some(Flash::new(flash.as_ref()?, &self.control, place))
    }

    /// What is wrong with a bank, once its chip was asked whether it is there at all.
    pub(crate) fn heard(&self, level: Level, bank: Bank, found: Defect) -> Defect {
        let flash = self.flash.get().and_then(Option::as_ref);
        let place = next_level::place(self.control.identity(), level, bank);
        next_level::heard(&self.control, flash, place, found)
    }

    /// What an image of `level` must be to be stored and run here.
    pub(crate) fn requirements(&self, level: Level) -> Requirements<'_> {
        let identity = self.control.identity();
        let sizes = Bank::ALL
            .map(|bank| next_level::place(identity, level, bank).map_or(0, |place| place.size));
        let smaller = sizes.into_iter().min().unwrap_or(0);
        next_level::requirements(identity, level, smaller)
    }

    /// What the images of a package must be.
    pub(crate) fn package_requirements(&self) -> [Requirements<'_>; 2] {
        Level::ALL.map(|level| self.requirements(level))
    }

    /// Writes a line to the console. What cannot be written is lost.
    pub(crate) fn say(&self, line: fmt::Arguments<'_>) {
        if let Some(console) = &self.console {
            let _lost = console.write_line(&self.control, line);
        }
    }

    /// Lets everything that is queued go out.
    pub(crate) fn settle(&self) {
        let _no_remedy = self.control.wait(0, 0, Some(0));
    }

    /// This controller's slot.
    pub(crate) fn slot(&self) -> u8 {
        self.control.identity().slot
    }
}

/// A disk as the system area sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sectors<'a> {
    disk: Option<&'a Disk>,
    control: &'a BoardControl,
}

impl Sectors<'_> {
    /// As a package that begins at its first sector would have it.
    pub(crate) fn whole(&self) -> system_area::Extent {
        system_area::Extent {
            first: 0,
            sectors: self.sectors(),
        }
    }
}

impl BlockDevice for Sectors<'_> {
    fn sectors(&self) -> u64 {
        self.disk.map_or(0, Disk::sectors)
    }

    fn read(&mut self, sector: u64, into: &mut [u8]) -> Result<(), IoError> {
        let disk = self.disk.ok_or(IoError)?;
        disk.read(self.control, sector, into).map_err(|_| IoError)
    }

    fn write(&mut self, sector: u64, from: &[u8]) -> Result<(), IoError> {
        let disk = self.disk.ok_or(IoError)?;
        disk.write(self.control, sector, from).map_err(|_| IoError)
    }

    fn flush(&mut self) -> Result<(), IoError> {
        let disk = self.disk.ok_or(IoError)?;
        disk.flush(self.control).map_err(|_| IoError)
    }
}

/// Host commands handled at a time: what the host port's receive queue holds.
pub(crate) const COMMANDS: usize = 8;
/// Room for one frame.
pub(crate) const FRAME_ROOM: usize = 9216;
/// Bytes copied, hashed or programmed at a time.
const WORK_BYTES: usize = 128 << 10;
const DATA_BYTES: usize = scsi::ethernet::DATA_MAX.next_multiple_of(SECTOR_BYTES);

/// The staging memory, divided.
#[derive(Debug)]
pub(crate) struct Memory {
    /// For images on their way, and for looking at the catalogue.
    pub(crate) work: &'static mut [u8],
    /// One received frame per host command in flight.
    pub(crate) frames: &'static mut [u8],
    /// What those commands read.
    pub(crate) data: &'static mut [u8],
    /// A whole package or image.
    pub(crate) package: &'static mut [u8],
}

impl Memory {
    /// Takes it, once.
    pub(crate) fn take() -> Memory {
        let [first, package] = ram::staging();
        let (work, rest) = split(first, WORK_BYTES);
        let (frames, rest) = split(rest, COMMANDS * FRAME_ROOM);
        let (data, _) = split(rest, COMMANDS * DATA_BYTES);
        Memory {
            work,
            frames,
            data,
            package,
        }
    }
}

fn split(memory: &'static mut [u8], at: usize) -> (&'static mut [u8], &'static mut [u8]) {
    memory.split_at_mut(at.min(memory.len()))
}
