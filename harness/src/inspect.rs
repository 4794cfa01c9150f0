//! What lies in banks and on the array, read from outside with a programmer's clips.

use std::ops::Range;

use emulator::array::Array;
use emulator::board::Controller;
use emulator::rig::{Bank, Rig, Strap};
use image::{Defect, ImageHeader, Kind, ReadAt, Requirements, Trust, Unreadable};
use system_area::{BlockDevice, Condition, ExtentReader, IoError, LOAD_SIZE, check_package, load};

use crate::scenario::{BankState, Preferred};

/// Where L2 and L3 may be loaded (firmware manual, RAM map).
const L2_WINDOW: Range<u32> = 0x10_0000..0x20_0000;
const L3_WINDOW: Range<u32> = 0x20_0000..0x80_0000;

/// A bank of a controller's flash, as a reader outside the board sees it.
struct BankBytes<'a> {
    controller: &'a Controller,
    bank: &'a Bank,
}

impl ReadAt for BankBytes<'_> {
    fn length(&self) -> u32 {
        u32::try_from(self.bank.size.0).unwrap_or(u32::MAX)
    }

    fn read_at(&mut self, offset: u32, out: &mut [u8]) -> Result<(), Unreadable> {
        let chip = usize::try_from(self.bank.chip).map_err(|_| Unreadable)?;
        let chip = self.controller.flash.chips().get(chip).ok_or(Unreadable)?;
        let at = self.bank.offset.0 + u64::from(offset);
        chip.medium().read(at, out).map_err(|_| Unreadable)
    }
}

/// What a bank holds, checked as the boot levels check it.
///
/// # Errors
/// Why it holds no valid image.
pub fn bank_image(rig: &Rig, controller: &Controller, bank: &Bank) -> Result<ImageHeader, Defect> {
    let key = rig.board.signing_key_bytes();
    let signed = rig.board.straps.contains(&Strap::RequireSignature);
    let (kind, load_window) = if bank.level == 2 {
        (Kind::L2, L2_WINDOW)
    } else {
        (Kind::L3, L3_WINDOW)
    };
    let requirements = Requirements {
        kind,
        capacity: u32::try_from(bank.size.0).unwrap_or(u32::MAX),
        load_window,
        trust: if signed {
            Trust::SignedBy(&key)
        } else {
            Trust::Anyone
        },
    };
    requirements.check_bank(&mut BankBytes { controller, bank }, &mut [0; 4096])
}

/// The state of a bank in a scenario's words.
pub fn bank_state(rig: &Rig, controller: &Controller, bank: &Bank) -> BankState {
    match bank_image(rig, controller, bank) {
        Ok(header) => BankState::Version(header.version.to_string()),
        Err(_) => {
            let mut first = [0; 256];
            let mut bytes = BankBytes { controller, bank };
            let blank = bytes.read_at(0, &mut first).is_ok() && first.iter().all(|b| *b == 0xff);
            // An erased header with something behind it is a cut re-flash.
            let mut rest = vec![0; usize::try_from(bank.size.0 - 256).unwrap_or(0)];
            let empty = blank
                && bytes.read_at(256, &mut rest).is_ok()
                && rest.iter().all(|byte| *byte == 0xff);
            if empty {
                BankState::Empty
            } else {
                BankState::Invalid
            }
        }
    }
}

/// The volume as it would be read now, without disturbing anything.
struct Volume<'a>(&'a devices::shelf::Shelf);

impl BlockDevice for Volume<'_> {
    fn sectors(&self) -> u64 {
        devices::block::BlockCore::sectors(self.0)
    }

    fn read(&mut self, sector: u64, into: &mut [u8]) -> Result<(), IoError> {
        if self.0.peek(sector, into) {
            Ok(())
        } else {
            Err(IoError)
        }
    }

    fn write(&mut self, _sector: u64, _from: &[u8]) -> Result<(), IoError> {
        Err(IoError)
    }

    fn flush(&mut self) -> Result<(), IoError> {
        Err(IoError)
    }
}

/// The preferred version on the array.
pub fn preferred(shelf: &devices::shelf::Shelf) -> Preferred {
    let mut volume = Volume(shelf);
    let mut buffer = Box::new([0; LOAD_SIZE]);
    let catalogue = match load(&mut volume, &mut buffer) {
        Condition::Absent => return Preferred::Absent,
        Condition::Present(catalogue) => catalogue,
        Condition::Invalid(_) | Condition::Unreachable => return Preferred::Invalid,
    };
    let Some(entry) = catalogue.preferred() else {
        return Preferred::Absent;
    };
    let mut stored = ExtentReader::new(volume, entry.extent);
    match check_package(&mut stored, &[], &mut [0; 4096]) {
        Ok(package) => {
            let version = |kind| {
                package
                    .part(kind)
                    .map_or("-".to_owned(), |part| part.version.to_string())
            };
            Preferred::Versions {
                l2: version(Kind::L2),
                l3: version(Kind::L3),
            }
        }
        Err(_) => Preferred::Invalid,
    }
}

/// Whether a bank holds a valid image.
///
/// # Errors
/// Why it does not.
pub fn bank_validity(
    rig: &Rig,
    array: &Array,
    slot: usize,
    level: u8,
    letter: &str,
) -> Result<(), String> {
    let controller = array
        .boards()
        .get(slot)
        .and_then(|board| board.controller());
    let controller = controller.ok_or("there is no board")?;
    let name = format!("L{level}{letter}");
    let table = rig.board.flash.bank_table();
    let bank = table
        .iter()
        .find(|bank| bank.name() == name)
        .ok_or("there is no such bank")?;
    bank_image(rig, controller, bank)
        .map(drop)
        .map_err(|defect| defect.as_str().to_owned())
}

/// The L3 versions of the preferred package and of the one that was preferred before it: they may
/// run side by side while an upgrade goes on.
pub fn recorded_pair(shelf: &devices::shelf::Shelf) -> Option<(String, String)> {
    let mut buffer = Box::new([0; LOAD_SIZE]);
    let condition = load(&mut Volume(shelf), &mut buffer);
    let catalogue = condition.catalogue()?;
    let version =
        |package: &image::Package| package.part(Kind::L3).map(|part| part.version.to_string());
    let new = version(&catalogue.preferred()?.package)?;
    let old = version(&catalogue.previous()?.package)?;
    Some((new, old))
}
