//! What is in flash and on the array before the first instruction: what a factory would do.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use devices::block::{BlockCore, Request};
use devices::power::{PowerLoss, Shape, mix};
use devices::shelf::Shelf;
use devices::time::Nanos;
use emulator::array::Roms;
use emulator::board::Controller;
use emulator::rig::{NodeGroup, Rig};
use image::{ImageHeader, Kind, Package, Record};
use image_pack as pack;
use system_area::{BlockDevice, Catalogue, Install, IoError, SECTOR_SIZE};
use thiserror::Error;

use crate::files::{
    LARGEST_FIRMWARE_BYTES, NotSetUp, ROM_BYTES, most_node_rom_bytes, read_binary, with_setup_files,
};
use crate::firmware;
use crate::scenario::contents::{
    ArrayContents, BankContents, Build, Damage, FlashContents, PackageContents,
};

/// Seed of the bench's own signing key: every reference image is signed with it, so that a board
/// which demands signatures can be tried. It protects nothing.
pub const SIGNING_SEED: [u8; 32] = *b"arraybench reference signing key";

/// Calendar of factory programming: the second day of 2001.
const FACTORY_S: u64 = 978_393_600;
/// Name of the controllers' software in the store.
const PACKAGE_NAME: [u8; 16] = *b"controller\0\0\0\0\0\0";
const ARRAY_IDENTITY: u64 = u64::from_le_bytes(*b"AB-ARRAY");
/// Shelf port of the factory, which no controller has.
const FACTORY_PORT: usize = usize::MAX;

/// Contents that cannot be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum BuildError {
    /// A build this program does not carry.
    #[error("there is no reference build {version} of {kind}")]
    Missing {
        /// Level.
        kind: Kind,
        /// Version asked for.
        version: String,
    },
    /// A build of the nodes' ROM that this program does not carry.
    #[error("there is no reference build {0} of the nodes' boot ROM")]
    NoNodeRom(String),
    /// A file that is not there, or changed since it was found good.
    #[error("{}: {what}; {remedy}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        what: String,
        /// What to do about it.
        remedy: String,
    },
    /// Bytes that are no image.
    #[error("{name} is no image: {why}")]
    Image {
        /// Whose bytes.
        name: String,
        /// What is wrong.
        why: String,
    },
    /// An image larger than its bank.
    #[error("{name} has {bytes} bytes, its bank {bank}")]
    TooLarge {
        /// Whose bytes.
        name: String,
        /// How many.
        bytes: usize,
        /// Room.
        bank: u64,
    },
    /// The medium refused.
    #[error("the array's system area cannot be filled: {0}")]
    Shelf(String),
    /// The file behind a medium failed.
    #[error(transparent)]
    Medium(#[from] devices::medium::MediumError),
}

fn bad(name: &dyn ToString, why: &dyn ToString) -> BuildError {
    BuildError::Image {
        name: name.to_string(),
        why: why.to_string(),
    }
}

/// The rig as it can be built here, with whatever of `scripts/setup` it names.
///
/// # Errors
/// Something is not there.
pub fn located(rig: &Rig) -> Result<Rig, BuildError> {
    let missing = |NotSetUp { file, what, remedy }| BuildError::File {
        path: file,
        what,
        remedy: remedy.to_owned(),
    };
    with_setup_files(rig).map_err(missing)
}

/// The boot ROMs of a rig's boards.
///
/// # Errors
/// There is none, or its file cannot be read.
pub fn roms(rig: &Rig) -> Result<Roms, BuildError> {
    let nodes = rig.nodes().map(|node| node_rom(node.group));
    let images = rig.nodes().map(|node| kept_image(node.group));
    Ok(Roms {
        controllers: rom(rig)?,
        nodes: nodes.collect::<Result<_, _>>()?,
        images: images.collect::<Result<_, _>>()?,
    })
}

/// What the factory puts into the flash of a node: the image of its type, as it would be downloaded. Nothing where there
/// is no flash.
///
/// # Errors
/// There is no such build.
pub fn kept_image(group: &NodeGroup) -> Result<Vec<u8>, BuildError> {
    if !group.has_flash() {
        return Ok(Vec::new());
    }
    let missing = || BuildError::Missing {
        kind: Kind::Node,
        version: group.image.clone(),
    };
    firmware::image_of_group(group).ok_or_else(missing)
}

/// The boot ROM of a node: a build of the reference firmware, or a file.
fn node_rom(group: &NodeGroup) -> Result<Arc<[u8]>, BuildError> {
    let name = &group.rom;
    if name.contains('/') {
        return read(Path::new(name), most_node_rom_bytes(group)).map(Arc::from);
    }
    let missing = || BuildError::NoNodeRom(name.clone());
    firmware::node_rom(name).map(Arc::from).ok_or_else(missing)
}

fn rom(rig: &Rig) -> Result<Arc<[u8]>, BuildError> {
    if rig.board.rom.contains('/') {
        return read(Path::new(&rig.board.rom), ROM_BYTES).map(Arc::from);
    }
    let l1 = firmware::all()
        .iter()
        .find(|firmware| firmware.kind == Kind::L1);
    let missing = BuildError::Missing {
        kind: Kind::L1,
        version: rig.board.rom.clone(),
    };
    l1.map(|l1| Arc::from(l1.bytes)).ok_or(missing)
}

fn read(path: &Path, most: u64) -> Result<Vec<u8>, BuildError> {
    read_binary(path, most).map_err(|problem| BuildError::File {
        path: path.to_path_buf(),
        what: problem.what,
        remedy: problem.remedy,
    })
}

/// The image file of a build, signed, as a vendor delivers it.
fn image_of(build: &Build, kind: Kind) -> Result<Vec<u8>, BuildError> {
    match build {
        Build::Reference(version) => {
            let missing = || BuildError::Missing {
                kind,
                version: version.clone(),
            };
            let mut file = match kind {
                Kind::Node => firmware::node_library(version),
                _ => Build::reference(version, kind).map(<[u8]>::to_vec),
            }
            .ok_or_else(missing)?;
            pack::sign(&mut file, &SIGNING_SEED).map_err(|error| bad(&version, &error))?;
            Ok(file)
        }
        Build::File(path) => {
            let bytes = read(path, LARGEST_FIRMWARE_BYTES)?;
            let Ok(package) = Package::parse(&bytes) else {
                return Ok(bytes);
            };
            let image = package.part(kind).and_then(|part| {
                let start = usize::try_from(part.offset).ok()?;
                let length = usize::try_from(part.length).ok()?;
                bytes.get(start..start.checked_add(length)?)
            });
            let none = || bad(build, &format!("it has no {kind} image"));
            image.map(<[u8]>::to_vec).ok_or_else(none)
        }
    }
}

/// An image with something wrong with it.
fn damaged(
    build: &Build,
    kind: Kind,
    damage: Option<Damage>,
    seed: u64,
) -> Result<Vec<u8>, BuildError> {
    let mut file = match damage {
        Some(Damage::WrongKind) => {
            let other = if kind == Kind::L2 { Kind::L3 } else { Kind::L2 };
            image_of(build, other)?
        }
        _ => image_of(build, kind)?,
    };
    match damage {
        None | Some(Damage::WrongKind) => {}
        Some(Damage::BitFlips(bits)) => {
            let body = file.len().saturating_sub(image::HEADER_SIZE) as u64 * 8;
            for nth in 0..bits {
                let bit = mix(seed, u64::from(nth)) % body.max(1);
                let at = image::HEADER_SIZE + usize::try_from(bit / 8).unwrap_or(0);
                if let Some(byte) = file.get_mut(at) {
                    *byte ^= 1 << (bit % 8);
                }
            }
        }
        Some(Damage::WrongLength) => {
            let mut header = ImageHeader::parse(&file).map_err(|error| bad(&build, &error))?;
            header.body_length = header.body_length.saturating_add(4096);
            file[..image::HEADER_SIZE].copy_from_slice(&header.encode());
        }
        Some(Damage::Truncated) => {
            let half = file.len() / 2;
            file[half..].fill(0xff);
        }
        Some(Damage::Unsigned) => {
            let mut header = ImageHeader::parse(&file).map_err(|error| bad(&build, &error))?;
            header.signature = [0; 64];
            file[..image::HEADER_SIZE].copy_from_slice(&header.encode());
        }
        Some(Damage::Altered) => {
            // The body and the digest over it, but not the signature, which only the vendor can
            // make.
            if let Some(last) = file.last_mut() {
                *last ^= 0x55;
            }
            let mut header = ImageHeader::parse(&file).map_err(|error| bad(&build, &error))?;
            let body = &file[image::HEADER_SIZE..];
            let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
            header.body_digest = image::digest(&mut &*body, 0, length, &mut [0; 4096])
                .map_err(|_| bad(&build, &"its body cannot be read"))?;
            file[..image::HEADER_SIZE].copy_from_slice(&header.encode());
        }
    }
    Ok(file)
}

/// Fills a controller's flash as `contents` says.
///
/// # Errors
/// A build is missing, is no image or does not fit its bank.
pub fn fill_flash(
    controller: &mut Controller,
    contents: &FlashContents,
    rig: &Rig,
    seed: u64,
) -> Result<(), BuildError> {
    for bank in rig.board.flash.bank_table() {
        let Some(BankContents::Image {
            build,
            sequence,
            damage,
        }) = contents.get(&(bank.level, bank.bank))
        else {
            continue;
        };
        let kind = if bank.level == 2 { Kind::L2 } else { Kind::L3 };
        let mut file = damaged(build, kind, *damage, seed)?;
        let name = format!("{build} in {}", bank.name());
        let record = Record {
            sequence: *sequence,
            programmed_s: FACTORY_S + u64::from(*sequence) * 60,
        };
        pack::stamp(&mut file, record).map_err(|error| bad(&name, &error))?;
        if file.len() as u64 > bank.size.0 {
            return Err(BuildError::TooLarge {
                name,
                bytes: file.len(),
                bank: bank.size.0,
            });
        }
        let chip = usize::try_from(bank.chip).unwrap_or(usize::MAX);
        if let Some(chip) = controller.flash.chips_mut().get_mut(chip) {
            chip.preload(bank.offset.0, &file)?;
        }
    }
    Ok(())
}

/// The bytes of a package, as they lie on service media.
///
/// # Errors
/// A build is missing or is no image.
pub fn package_bytes(contents: &PackageContents, seed: u64) -> Result<Vec<u8>, BuildError> {
    // What can be wrong with one image is wrong with the L3 of the package.
    let l2 = damaged(&contents.l2, Kind::L2, None, seed)?;
    let l3 = match contents.damage {
        Some(Damage::BitFlips(_) | Damage::Truncated | Damage::WrongLength) | None => {
            damaged(&contents.l3, Kind::L3, None, seed)?
        }
        damage => damaged(&contents.l3, Kind::L3, damage, seed)?,
    };
    let version = ImageHeader::parse(&l3)
        .or_else(|_| ImageHeader::parse(&l2))
        .map(|header| header.version)
        .map_err(|error| bad(&contents.l3, &error))?;
    let mut images: Vec<&[u8]> = match contents.damage {
        // Two L2 parts cannot be packed; the L3 is simply not there.
        Some(Damage::WrongKind) => vec![&l2],
        _ => vec![&l2, &l3],
    };
    let nodes = contents.nodes.as_ref();
    let nodes = nodes.map(|build| image_of(build, Kind::Node)).transpose()?;
    images.extend(nodes.as_deref());
    let mut file = pack::package(version, &images).map_err(|error| bad(&contents.l3, &error))?;
    match contents.damage {
        Some(Damage::BitFlips(bits)) => {
            // In the L3 image: elsewhere they might hit what nobody reads.
            let package = Package::parse(&file).map_err(|error| bad(&"the package", &error))?;
            let part = package.part(Kind::L3);
            let (offset, length) = part.map_or((0, 0), |part| (part.offset, part.length));
            for nth in 0..bits {
                let bit = mix(seed, u64::from(nth)) % (u64::from(length) * 8).max(1);
                let at = u64::from(offset) + bit / 8;
                file[usize::try_from(at).unwrap_or(0)] ^= 1 << (bit % 8);
            }
        }
        Some(Damage::Truncated) => {
            let half = file.len() / 2;
            file.truncate(half);
        }
        Some(Damage::WrongLength) => {
            let mut package = Package::parse(&file).map_err(|error| bad(&"the package", &error))?;
            package.length = package.length.saturating_add(512);
            let manifest = package.encode();
            file[..manifest.len()].copy_from_slice(&manifest);
        }
        _ => {}
    }
    Ok(file)
}

/// Fills the array's system area, with the shelf off before and after.
///
/// # Errors
/// A build is missing, or the shelf refuses.
pub fn fill_shelf(
    shelf: &mut Shelf,
    contents: &ArrayContents,
    seed: u64,
) -> Result<(), BuildError> {
    let mut disk = FactoryDisk {
        shelf,
        now: Nanos::ZERO,
    };
    let problem = |error: &dyn std::fmt::Display| BuildError::Shelf(error.to_string());
    let mut events = Vec::new();
    disk.shelf.power_on(Nanos::ZERO, &mut events);
    match contents {
        ArrayContents::Absent => {}
        ArrayContents::Foreign => {
            let other = [b'\xa5'; SECTOR_SIZE * 8];
            for copy in [0, 32] {
                disk.write(copy, &other)
                    .map_err(|_| problem(&"write failed"))?;
            }
            disk.flush().map_err(|_| problem(&"flush failed"))?;
        }
        ArrayContents::Package(package) => {
            let whole = PackageContents {
                damage: None,
                ..package.clone()
            };
            let bytes = package_bytes(&whole, seed)?;
            let catalogue = Catalogue::new(ARRAY_IDENTITY);
            let mut install = Install::new(catalogue, PACKAGE_NAME, FACTORY_S);
            let catalogue = install
                .run(&mut disk, &mut bytes.as_slice(), &[], &mut [0; 4096])
                .map_err(|error| BuildError::Shelf(error.as_str().to_owned()))?;
            // Damage comes after installation, which would have refused it.
            if let (Some(_), Some(entry)) = (package.damage, catalogue.preferred()) {
                let mut bytes = package_bytes(package, seed)?;
                bytes.resize(bytes.len().next_multiple_of(SECTOR_SIZE), 0);
                disk.write(entry.extent.first, &bytes)
                    .map_err(|_| problem(&"write failed"))?;
                disk.flush().map_err(|_| problem(&"flush failed"))?;
            }
        }
    }
    let loss = PowerLoss {
        now: disk.now,
        shape: Shape::Done,
        seed: 0,
    };
    disk.shelf.power_lost(loss, &mut events);
    Ok(())
}

/// The shelf as the factory's block device: every request is driven to its end at once.
struct FactoryDisk<'a> {
    shelf: &'a mut Shelf,
    now: Nanos,
}

impl FactoryDisk<'_> {
    fn request(&mut self, request: Request<'_>) -> Result<(), IoError> {
        let mut events = Vec::new();
        let ticket = self
            .shelf
            .submit(self.now, FACTORY_PORT, request, &mut events);
        loop {
            self.shelf.advance(self.now, &mut events);
            let answers = self.shelf.take_completions(self.now, FACTORY_PORT);
            if let Some(answer) = answers.into_iter().find(|answer| answer.ticket == ticket) {
                return answer.result.map_err(|_| IoError);
            }
            self.now = self.shelf.deadline().ok_or(IoError)?.max(self.now);
        }
    }
}

impl BlockDevice for FactoryDisk<'_> {
    fn sectors(&self) -> u64 {
        BlockCore::sectors(self.shelf)
    }

    fn read(&mut self, sector: u64, into: &mut [u8]) -> Result<(), IoError> {
        let sectors = u32::try_from(into.len() / SECTOR_SIZE).map_err(|_| IoError)?;
        let mut data = Vec::with_capacity(into.len());
        self.request(Request::Read {
            sector,
            sectors,
            into: &mut data,
        })?;
        into.copy_from_slice(data.get(..into.len()).ok_or(IoError)?);
        Ok(())
    }

    fn write(&mut self, sector: u64, mut from: &[u8]) -> Result<(), IoError> {
        self.request(Request::Write {
            sector,
            bytes: from.len() as u64,
            from: &mut from,
        })
    }

    fn flush(&mut self) -> Result<(), IoError> {
        self.request(Request::Flush)
    }
}
