//! Installing a package beside the others and making it the preferred one.

use image::{Kind, Package, PackageDefect, PartReader, ReadAt, Requirements, digest};

use crate::catalogue::{Catalogue, Entry, NAME_SIZE};
use crate::device::{BlockDevice, SECTOR_SIZE};
use crate::extent::{Extent, ExtentReader, ExtentWriter};
use crate::load::commit;
use boot::PackageSink;

/// What a step has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The source is a package whose images may run here. Nothing has been written yet.
    SourceChecked,
    /// There is room now.
    RoomMade,
    /// So many bytes are copied.
    Copied {
        /// Bytes done.
        done: u32,
        /// Bytes in all.
        of: u32,
    },
    /// The copy is durable and reads back as it should.
    CopyChecked,
    /// The catalogue names it as the preferred one.
    Finished,
}

/// Why a package was not installed. The preferred one is what it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InstallError {
    /// The source is no package for this array.
    Source(PackageDefect),
    /// It has no image of a kind that every controller needs.
    PartMissing(Kind),
    /// It is larger than the package area.
    TooLarge,
    /// The disk failed.
    Disk,
    /// The buffer is smaller than a sector.
    Buffer,
    /// The copy is not what was copied.
    ReadBack(PackageDefect),
}

impl InstallError {
    /// The word used in traces and on the console.
    pub fn as_str(&self) -> &'static str {
        match self {
            InstallError::Source(defect) => defect.as_str(),
            InstallError::PartMissing(Kind::L2) => "no-l2-part",
            InstallError::PartMissing(Kind::L3) => "no-l3-part",
            InstallError::PartMissing(_) => "part-missing",
            InstallError::TooLarge => "too-large",
            InstallError::Disk => "disk-failed",
            InstallError::Buffer => "buffer",
            InstallError::ReadBack(_) => "read-back",
        }
    }
}

#[derive(Clone, Copy, Debug)]
enum State {
    Begin,
    MakeRoom(Package),
    Copy(Package, Place, u32),
    Flush(Package, Place),
    Commit(Package, Place),
    Prefer(usize),
    Finished,
}

/// Free sectors for one package, and the catalogue entry that will name them.
#[derive(Clone, Copy, Debug)]
pub struct Place {
    index: usize,
    extent: Extent,
}

impl Place {
    /// The sectors.
    pub fn extent(&self) -> Extent {
        self.extent
    }
}

/// A package on its way into the store, one [`step`](Install::step) at a time so that the controller
/// can serve hosts and partner in between. Whoever steps holds the store's lock all the while.
#[derive(Debug)]
pub struct Install {
    catalogue: Catalogue,
    name: [u8; NAME_SIZE],
    now_s: u64,
    state: State,
}

impl Install {
    /// Prepares to add to `catalogue`, the current one or a new one; touches nothing.
    pub fn new(catalogue: Catalogue, name: [u8; NAME_SIZE], now_s: u64) -> Install {
        Install {
            catalogue,
            name,
            now_s,
            state: State::Begin,
        }
    }

    /// The catalogue as it is on disk, after the last successful step.
    pub fn catalogue(&self) -> &Catalogue {
        &self.catalogue
    }

    /// Does the next step. After an error there is no next step: start anew from a fresh look at the
    /// catalogue.
    pub fn step(
        &mut self,
        disk: &mut impl BlockDevice,
        source: &mut impl ReadAt,
        requirements: &[Requirements<'_>],
        buffer: &mut [u8],
    ) -> Result<Progress, InstallError> {
        let (next, progress) = match self.state {
            State::Begin => {
                let package =
                    check_package(source, requirements, buffer).map_err(InstallError::from)?;
                let next = match self.catalogue.position_of(&package) {
                    Some(index) => State::Prefer(index),
                    None => State::MakeRoom(package),
                };
                (next, Progress::SourceChecked)
            }
            State::MakeRoom(package) => {
                let place = self.make_room(disk, package.length)?;
                (State::Copy(package, place, 0), Progress::RoomMade)
            }
            State::Copy(package, place, done) => {
                let done = copy(disk, source, &package, place.extent, done, buffer)?;
                let of = package.length;
                let next = if done < of {
                    State::Copy(package, place, done)
                } else {
                    State::Flush(package, place)
                };
                (next, Progress::Copied { done, of })
            }
            State::Flush(package, place) => {
                disk.flush().map_err(|_| InstallError::Disk)?;
                let mut stored = ExtentReader::new(&mut *disk, place.extent);
                match check_package(&mut stored, requirements, buffer) {
                    Ok(found) if found == package => {}
                    Ok(_) => return Err(InstallError::ReadBack(PackageDefect::ManifestCrc)),
                    Err(PackageRefusal::Defect(defect)) => {
                        return Err(InstallError::ReadBack(defect));
                    }
                    Err(PackageRefusal::Missing(kind)) => {
                        return Err(InstallError::PartMissing(kind));
                    }
                }
                (State::Commit(package, place), Progress::CopyChecked)
            }
            State::Commit(package, place) => {
                let mut catalogue = self.catalogue;
                let entry = Entry {
                    name: self.name,
                    extent: place.extent,
                    installed_s: self.now_s,
                    package,
                };
                catalogue.enter(place.index, entry);
                self.commit(disk, catalogue)?;
                (State::Finished, Progress::Finished)
            }
            State::Prefer(index) => {
                // It lies there already, and is not believed to be whole for that.
                let entry = self.catalogue.entries.get(index).copied().flatten();
                let extent = entry.map(|entry| entry.extent).ok_or(InstallError::Disk)?;
                let mut stored = ExtentReader::new(&mut *disk, extent);
                if check_package(&mut stored, requirements, buffer).is_err() {
                    let mut catalogue = self.catalogue;
                    if catalogue.preferred != u8::try_from(index).ok() {
                        catalogue.forget(index);
                        self.commit(disk, catalogue)?;
                    }
                    let package = entry.map(|entry| entry.package);
                    (
                        State::MakeRoom(package.ok_or(InstallError::Disk)?),
                        Progress::SourceChecked,
                    )
                } else {
                    let mut catalogue = self.catalogue;
                    catalogue.prefer(index);
                    if catalogue != self.catalogue {
                        self.commit(disk, catalogue)?;
                    }
                    (State::Finished, Progress::Finished)
                }
            }
            State::Finished => (State::Finished, Progress::Finished),
        };
        self.state = next;
        Ok(progress)
    }

    /// Does all the steps.
    pub fn run(
        &mut self,
        disk: &mut impl BlockDevice,
        source: &mut impl ReadAt,
        requirements: &[Requirements<'_>],
        buffer: &mut [u8],
    ) -> Result<&Catalogue, InstallError> {
        while self.step(disk, source, requirements, buffer)? != Progress::Finished {}
        Ok(&self.catalogue)
    }

    /// Finds free sectors for `bytes` bytes. Where packages have to go for that, the catalogue without
    /// them is committed before their sectors are used for anything else.
    fn make_room(
        &mut self,
        disk: &mut impl BlockDevice,
        bytes: u32,
    ) -> Result<Place, InstallError> {
        let mut catalogue = self.catalogue;
        loop {
            if let Some((index, extent)) = catalogue.room_for(bytes) {
                if catalogue != self.catalogue {
                    self.commit(disk, catalogue)?;
                }
                return Ok(Place { index, extent });
            }
            if !catalogue.evict() {
                return Err(InstallError::TooLarge);
            }
        }
    }

    fn commit(
        &mut self,
        disk: &mut impl BlockDevice,
        mut catalogue: Catalogue,
    ) -> Result<(), InstallError> {
        commit(disk, &mut catalogue).map_err(|_| InstallError::Disk)?;
        self.catalogue = catalogue;
        Ok(())
    }

    /// Finds room for a package of `bytes` bytes that somebody else writes, as a controller does that
    /// publishes its own flash (VC67). Once written it is [entered](Install::enter).
    pub fn reserve(
        &mut self,
        disk: &mut impl BlockDevice,
        bytes: u32,
    ) -> Result<Place, InstallError> {
        self.make_room(disk, bytes)
    }

    /// Makes durable what was written to `place`, checks it, and makes it the preferred package.
    pub fn enter(
        &mut self,
        disk: &mut impl BlockDevice,
        place: Place,
        package: &Package,
        requirements: &[Requirements<'_>],
        buffer: &mut [u8],
    ) -> Result<&Catalogue, InstallError> {
        self.state = State::Flush(*package, place);
        let mut nothing: &[u8] = &[];
        self.run(disk, &mut nothing, requirements, buffer)
    }
}

/// Copies the next bufferful; answers how much is done then.
fn copy(
    disk: &mut impl BlockDevice,
    source: &mut impl ReadAt,
    package: &Package,
    extent: Extent,
    done: u32,
    buffer: &mut [u8],
) -> Result<u32, InstallError> {
    let room = buffer.len() / SECTOR_SIZE * SECTOR_SIZE;
    let left = package.length.saturating_sub(done);
    let count = left.min(u32::try_from(room).unwrap_or(u32::MAX));
    let bytes = usize::try_from(count).unwrap_or(0);
    let sectors = buffer.get_mut(..bytes.next_multiple_of(SECTOR_SIZE));
    let sectors = sectors
        .filter(|sectors| !sectors.is_empty())
        .ok_or(InstallError::Buffer)?;
    sectors.fill(0);
    let wanted = sectors.get_mut(..bytes).ok_or(InstallError::Buffer)?;
    source
        .read_at(done, wanted)
        .map_err(|_| InstallError::Source(PackageDefect::Unreadable))?;
    ExtentWriter::new(disk, extent)
        .write_at(done, sectors)
        .map_err(|_| InstallError::Disk)?;
    Ok(done.saturating_add(count))
}

/// Why a package is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackageRefusal {
    /// It, or an image in it, is not what it should be.
    Defect(PackageDefect),
    /// It has no image of this kind.
    Missing(Kind),
}

impl From<PackageRefusal> for InstallError {
    fn from(refusal: PackageRefusal) -> InstallError {
        match refusal {
            PackageRefusal::Defect(defect) => InstallError::Source(defect),
            PackageRefusal::Missing(kind) => InstallError::PartMissing(kind),
        }
    }
}

/// Checks a whole package: its manifest, that it has an image for each of `requirements` which meets them,
/// and the digest of every other image.
pub fn check_package(
    source: &mut impl ReadAt,
    requirements: &[Requirements<'_>],
    buffer: &mut [u8],
) -> Result<Package, PackageRefusal> {
    let package = Package::read(source).map_err(PackageRefusal::Defect)?;
    if let Some(missing) = requirements
        .iter()
        .find(|required| package.part(required.kind).is_none())
    {
        return Err(PackageRefusal::Missing(missing.kind));
    }
    for part in package.parts() {
        match requirements.iter().find(|r| r.kind == part.kind) {
            Some(required) => {
                let checked = package.check_part(part, source, required, buffer);
                checked.map_err(PackageRefusal::Defect)?;
            }
            None => {
                let mut reader = PartReader::new(&mut *source, part);
                let found = digest(&mut reader, 0, part.length, buffer)
                    .map_err(|_| PackageRefusal::Defect(PackageDefect::Unreadable))?;
                if found != part.digest {
                    let defect = PackageDefect::PartDigest(part.kind);
                    return Err(PackageRefusal::Defect(defect));
                }
            }
        }
    }
    Ok(package)
}
