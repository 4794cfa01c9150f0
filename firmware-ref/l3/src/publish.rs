//! Making what this controller runs the preferred version (VC67, VC66).

use boot::{BankReader, Level, Publication, PublishError};
use image::{ImageHeader, MANIFEST_SIZE, Package};
use system_area::{Catalogue, ExtentWriter, Install, InstallError, NAME_SIZE, SECTOR_SIZE};

use crate::Running;
use crate::hardware::Hardware;

/// What controllers ask the store for. Other classes of members will have other names.
pub(crate) const PACKAGE_NAME: [u8; NAME_SIZE] = *b"controller\0\0\0\0\0\0";

/// The midplane lock that whoever writes the system area holds (VC93).
pub(crate) const SYSTEM_AREA_LOCK: u32 = 2;

/// A store without packages, for an array that is named by who writes it first, and when.
pub(crate) fn new_catalogue(hardware: &Hardware) -> Catalogue {
    let identity = hardware.control.identity();
    // FNV-1a. Two arrays would have to be initialised by the same controller in the same second.
    let seconds = hardware.control.calendar_s().to_le_bytes();
    let bytes = identity.serial.iter().chain(&seconds);
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    Catalogue::new(hash)
}

/// Why nothing was published.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Error {
    /// The banks or the store.
    Publish(PublishError),
    /// The catalogue.
    Install(InstallError),
    /// A bank is not there.
    NoBank,
}

impl Error {
    /// The word used in traces: `cause=…`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Error::Publish(error) => error.as_str(),
            Error::Install(error) => error.as_str(),
            Error::NoBank => "no-bank",
        }
    }
}

/// Writes the images of the banks that booted to the store and makes them preferred. The caller holds
/// [`SYSTEM_AREA_LOCK`] and has looked at the catalogue since.
pub(crate) fn run(
    hardware: &Hardware,
    running: &Running,
    catalogue: Catalogue,
    work: &mut [u8],
) -> Result<Catalogue, Error> {
    let control = &hardware.control;
    let mut array = hardware.array();
    let bytes = package_bytes(&running.l2)
        .and_then(|l2| l2.checked_add(package_bytes(&running.l3)?))
        .and_then(|images| images.checked_add(u32::try_from(MANIFEST_SIZE).ok()?))
        .ok_or(Error::Install(InstallError::TooLarge))?;
    let mut install = Install::new(catalogue, PACKAGE_NAME, control.calendar_s());
    let place = install.reserve(&mut array, bytes).map_err(Error::Install)?;
    let writer = ExtentWriter::new(array, place.extent());
    let package = write(hardware, running, writer, work)?;
    let requirements = hardware.package_requirements();
    install
        .enter(&mut array, place, &package, &requirements, work)
        .copied()
        .map_err(Error::Install)
}

fn write(
    hardware: &Hardware,
    running: &Running,
    writer: ExtentWriter<crate::hardware::Sectors<'_>>,
    work: &mut [u8],
) -> Result<Package, Error> {
    let mut publication = Publication::new(writer, running.version, work);
    let banks = [
        (Level::L2, running.l2_bank, &running.l2),
        (Level::L3, running.l3_bank, &running.l3),
    ];
    for (level, bank, header) in banks {
        let flash = hardware.bank(level, next_level::bank(bank));
        let mut flash = flash.ok_or(Error::NoBank)?;
        publication
            .add(header, BankReader(&mut flash))
            .map_err(Error::Publish)?;
    }
    publication.finish().map_err(Error::Publish)
}

/// Bytes an image takes in a package: whole sectors.
fn package_bytes(header: &ImageHeader) -> Option<u32> {
    let length = u32::try_from(header.total_length()).ok()?;
    length.checked_next_multiple_of(u32::try_from(SECTOR_SIZE).ok()?)
}
