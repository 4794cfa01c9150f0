//! Where the preferred version lives: the array, service media, or a partner (VC5).

use boot::{Preferred, PreferredSource};
use cluster::{Declared, Previous};
use image::{Kind, Package, PackageDefect, ReadAt, Unreadable, Version};
use runtime::Source;
use system_area::{BlockDevice, Catalogue, Condition, ExtentReader, LOAD_SIZE, load};

use crate::hardware::{Hardware, Sectors};
use crate::partner_package::PartnerPackage;

/// Looks at the array's catalogue: one read.
pub(crate) fn look(hardware: &Hardware, work: &mut [u8]) -> Condition {
    match work.first_chunk_mut::<LOAD_SIZE>() {
        Some(buffer) => load(&mut hardware.array(), buffer),
        None => Condition::Unreachable,
    }
}

/// The place of the preferred version, as the straps have it.
#[expect(
    clippy::large_enum_variant,
    reason = "there is no allocator to box a part with"
)]
#[derive(Debug)]
pub(crate) enum Store<'a> {
    /// The array, and its catalogue as last looked at.
    Array(&'a Hardware, Condition),
    /// The service media.
    Media(&'a Hardware),
    /// A partner that is operational.
    Partner(PartnerPackage<'a>),
}

impl<'a> Store<'a> {
    /// Goes where the straps say, and reads the version information there.
    pub(crate) fn open(hardware: &'a Hardware, work: &mut [u8]) -> Store<'a> {
        match hardware.control.identity().straps.source() {
            Source::Array | Source::Reserved => Store::Array(hardware, look(hardware, work)),
            Source::ServiceMedia => Store::Media(hardware),
            Source::Partner => Store::Partner(PartnerPackage::find(hardware)),
        }
    }

    /// The array's catalogue, where that is the source and there is one.
    pub(crate) fn catalogue(&self) -> Option<&Catalogue> {
        match self {
            Store::Array(_, condition) => condition.catalogue(),
            _ => None,
        }
    }

    /// The bytes of the preferred package.
    pub(crate) fn reader(&self) -> Option<PackageReader<'a>> {
        match self {
            Store::Array(hardware, condition) => {
                let extent = condition.catalogue()?.preferred()?.extent;
                let reader = ExtentReader::new(hardware.array(), extent);
                Some(PackageReader::Disk(reader))
            }
            Store::Media(hardware) => Some(PackageReader::Disk(media(hardware))),
            Store::Partner(partner) => Some(PackageReader::Partner(*partner)),
        }
    }

    /// Which versions may run side by side, as far as this place knows.
    pub(crate) fn declaration(&mut self) -> Option<Declared> {
        if let Store::Array(_, condition) = self {
            return condition.catalogue().and_then(declaration);
        }
        match self.preferred() {
            Preferred::Present(package) => Some(Declared {
                preferred: l3_version(&package)?,
                previous: Previous::Any,
            }),
            _ => None,
        }
    }
}

impl PreferredSource for Store<'_> {
    fn preferred(&mut self) -> Preferred {
        match self {
            Store::Array(_, condition) => condition.preferred(),
            Store::Media(hardware) if hardware.media().sectors() == 0 => Preferred::Unreachable,
            Store::Media(hardware) => manifest(&mut media(hardware)),
            Store::Partner(partner) if partner.length() == 0 => Preferred::Unreachable,
            Store::Partner(partner) => manifest(partner),
        }
    }
}

fn manifest(from: &mut impl ReadAt) -> Preferred {
    match Package::read(from) {
        Ok(package) => Preferred::Present(package),
        Err(PackageDefect::Unreadable) => Preferred::Unreachable,
        Err(defect) => Preferred::Invalid(defect),
    }
}

/// The service media, where a package begins at the first sector.
pub(crate) fn media(hardware: &Hardware) -> ExtentReader<Sectors<'_>> {
    let media = hardware.media();
    ExtentReader::new(media, media.whole())
}

/// Which versions the array declares: the preferred one, and the one before it.
pub(crate) fn declaration(catalogue: &Catalogue) -> Option<Declared> {
    let previous = catalogue.previous();
    let previous = previous.and_then(|entry| l3_version(&entry.package));
    Some(Declared {
        preferred: l3_version(&catalogue.preferred()?.package)?,
        previous: previous.map_or(Previous::None, Previous::Only),
    })
}

/// The version that controllers run with this package.
pub(crate) fn l3_version(package: &Package) -> Option<Version> {
    package.part(Kind::L3).map(|part| part.version)
}

/// The preferred package's bytes, wherever they are.
#[expect(
    clippy::large_enum_variant,
    reason = "there is no allocator to box a part with"
)]
#[derive(Debug)]
pub(crate) enum PackageReader<'a> {
    /// On the array or on service media.
    Disk(ExtentReader<Sectors<'a>>),
    /// On the other side of the backplane.
    Partner(PartnerPackage<'a>),
}

impl ReadAt for PackageReader<'_> {
    fn length(&self) -> u32 {
        match self {
            PackageReader::Disk(reader) => reader.length(),
            PackageReader::Partner(reader) => reader.length(),
        }
    }

    fn read_at(&mut self, offset: u32, out: &mut [u8]) -> Result<(), Unreadable> {
        match self {
            PackageReader::Disk(reader) => reader.read_at(offset, out),
            PackageReader::Partner(reader) => reader.read_at(offset, out),
        }
    }
}
