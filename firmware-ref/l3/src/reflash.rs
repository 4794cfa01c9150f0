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

/// Why an image is not in the bank.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    /// It must not be stored. Nothing was erased.
    Refused(ReflashError),
    /// It could not be stored. The bank is not valid.
    Failed(ReflashError),
}

/// Re-flashes. The bank holds the image and is the newest when this succeeds. `begin` is called
/// once the image is known to be one that may run here, and before anything is erased.
pub(crate) fn run(
    build: &Build,
    hardware: &Hardware,
    running: &Running,
    target: &Target,
    (package, part): (PackageReader<'_>, &Part),
    work: &mut [u8],
    begin: impl FnOnce(),
) -> Result<ImageHeader, Problem> {
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
    let bank = |bank| {
        let found = hardware.bank(target.level, bank);
        found.ok_or(Problem::Refused(ReflashError::Erase))
    };
    let strategy = match build.flaw {
        Some(Flaw::Brick) => Strategy::EraseBothFirst {
            booted: bank(target.bank.other())?,
        },
        _ => Strategy::Careful,
    };
    let source = PartReader::new(package, part);
    let mut reflash = Reflash::new(order, strategy, source, bank(target.bank)?, work);
    // The first step checks the source, and nothing else.
    let _checked = reflash.step().map_err(Problem::Refused)?;
    begin();
    reflash.run().map_err(Problem::Failed)
}
