//! Storing an image of the preferred package in the bank that did not boot (VC39).

use boot::{Bank, Level, Order, Reflash, ReflashError, Strategy};
use image::{ImageHeader, Part, PartReader, Version};

use crate::hardware::Hardware;
use crate::source::PackageReader;
use crate::{Build, Flaw, Running};

/// What to store where.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    /// The level that differs.
    pub(crate) level: Level,
    /// The bank that did not boot.
    pub(crate) bank: Bank,
    /// The version the store announces.
    pub(crate) version: Version,
}

/// Re-flashes. The bank holds the image and is the newest when this succeeds.
pub(crate) fn run(
    build: &Build,
    hardware: &Hardware,
    running: &Running,
    target: &Target,
    (package, part): (PackageReader<'_>, &Part),
    work: &mut [u8],
) -> Result<ImageHeader, ReflashError> {
    let requirements = hardware.requirements(target.level);
    let booted = match target.level {
        Level::L2 => &running.l2,
        Level::L3 => &running.l3,
    };
    let order = Order {
        requirements: &requirements,
        version: target.version,
        // The bank that booted is the newest, so one more is more than any.
        record: booted.record.next(hardware.control.calendar_s()),
    };
    let bank = |bank| hardware.bank(target.level, bank).ok_or(ReflashError::Erase);
    let strategy = match build.flaw {
        Some(Flaw::Brick) => Strategy::EraseBothFirst {
            booted: bank(target.bank.other())?,
        },
        _ => Strategy::Careful,
    };
    let source = PartReader::new(package, part);
    Reflash::new(order, strategy, source, bank(target.bank)?, work).run()
}
