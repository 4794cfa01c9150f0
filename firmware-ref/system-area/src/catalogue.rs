//! The catalogue: which packages there are, where, and which one is preferred.
//!
//! A copy is eight sectors, little-endian:
//!
//! | sector | contents |
//! |---|---|
//! | 0 | bytes 0 … 63 header, 64 … 447 six entries of 64 bytes, 508 … 511 CRC-32C of everything else |
//! | 1 … 6 | the manifest of the package of each entry; zero where there is none |
//! | 7 | zero; the place of member links |
//!
//! Header: magic (8), format u16, preferred entry u8, previously preferred entry u8 (both 255: none), entry
//! that nodes run plus 1 u8 (0: none), first set of nodes that an update has not reached u8, zero u16, sequence
//! u64, identity of the array u64, settings of whoever serves nodes (16). Entry: state u8 (0 free, 1 complete), zero (3),
//! sectors u32, first sector u64, calendar seconds of the installation u64, name (16), zero (24).

use image::Package;

use crate::extent::Extent;
use crate::nodes::Nodes;
use crate::{HOST_VOLUME_START, PACKAGE_AREA_START, SECTOR_SIZE};

/// Packages that lie side by side.
pub const PACKAGES_MAX: usize = 6;
/// Bytes of a package's name.
pub const NAME_SIZE: usize = 16;
/// Sectors of a copy.
pub(crate) const COPY_SECTORS: usize = 8;
/// Bytes of a copy.
pub(crate) const COPY_SIZE: usize = COPY_SECTORS * SECTOR_SIZE;

pub(crate) const MAGIC: [u8; 8] = *b"ABcatlg\x1a";
/// What a manifest begins with; a test compares it with the image library's.
pub(crate) const PACKAGE_MAGIC: [u8; 8] = *b"ABpackg\x1a";
const FORMAT: u16 = 1;
const NONE: u8 = 255;
const ENTRY_SIZE: usize = 64;
const ENTRIES_AT: usize = 64;
const CRC_AT: usize = SECTOR_SIZE - 4;
const STATE_COMPLETE: u8 = 1;

/// Not the polynomial that manifests end with: a CRC takes any message that is followed by its own CRC
/// for any other such message, so two whole manifests could trade places unnoticed.
const CRC32C: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI);

/// One package in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What members ask for it by; NUL-padded ASCII. Versions of the same software share it.
    pub name: [u8; NAME_SIZE],
    /// Where it lies.
    pub extent: Extent,
    /// When it was installed, in calendar seconds.
    pub installed_s: u64,
    /// Its manifest.
    pub package: Package,
}

/// The catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Catalogue {
    /// Counts commits; the current copy has the highest.
    pub(crate) sequence: u64,
    /// Names the array, whatever controllers are in it; given when the store was first written.
    pub array_identity: u64,
    pub(crate) preferred: Option<u8>,
    pub(crate) previous: Option<u8>,
    pub(crate) entries: [Option<Entry>; PACKAGES_MAX],
    pub(crate) nodes: Nodes,
}

/// Why a copy is not a catalogue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Defect {
    /// All zero.
    Blank,
    /// What the first catalogue of an array looks like when its writing was cut short.
    Begun,
    /// Somebody else's.
    Magic,
    /// The CRC, or something that no catalogue says.
    Damaged,
    /// A format this code does not know.
    Format(u16),
}

impl Catalogue {
    /// A store without packages.
    pub fn new(array_identity: u64) -> Catalogue {
        Catalogue {
            sequence: 0,
            array_identity,
            preferred: None,
            previous: None,
            entries: [None; PACKAGES_MAX],
            nodes: Nodes::default(),
        }
    }

    /// The preferred package.
    pub fn preferred(&self) -> Option<&Entry> {
        self.entry(self.preferred)
    }

    /// The one that was preferred before, as long as it is kept. The two are the versions that
    /// may run side by side while an upgrade goes on.
    pub fn previous(&self) -> Option<&Entry> {
        self.entry(self.previous)
    }

    /// All packages.
    pub fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().flatten()
    }

    /// Changes with every commit.
    pub fn sequence(&self) -> u64 {
        self.sequence
    }

    pub(crate) fn entry(&self, index: Option<u8>) -> Option<&Entry> {
        self.entries.get(usize::from(index?))?.as_ref()
    }

    /// Where a package of `bytes` bytes can go, and in which entry; `None` when an entry must be
    /// [evicted](Catalogue::evict) first.
    pub(crate) fn room_for(&self, bytes: u32) -> Option<(usize, Extent)> {
        let index = self.entries.iter().position(Option::is_none)?;
        let sectors = Extent::sectors_for(bytes);
        let starts = self.entries().map(|entry| entry.extent.end());
        // The lowest place that begins where another package ends, or the area does.
        core::iter::once(PACKAGE_AREA_START)
            .chain(starts)
            .map(|first| Extent { first, sectors })
            .filter(|extent| extent.end() <= HOST_VOLUME_START)
            .filter(|extent| {
                self.entries().all(|entry| {
                    extent.end() <= entry.extent.first || entry.extent.end() <= extent.first
                })
            })
            .min_by_key(|extent| extent.first)
            .map(|extent| (index, extent))
    }

    /// Forgets the package that was installed first among those nobody needs: not the preferred one nor
    /// the one that nodes run, and the previous one only when it is the last choice.
    pub(crate) fn evict(&mut self) -> bool {
        let candidate = (0u8..)
            .zip(&self.entries)
            .filter_map(|(index, entry)| Some((index, (*entry)?)))
            .filter(|(index, _)| ![self.preferred, self.nodes.base].contains(&Some(*index)))
            .min_by_key(|(index, entry)| {
                (Some(*index) == self.previous, entry.installed_s, *index)
            });
        let Some((index, _)) = candidate else {
            return false;
        };
        self.forget(usize::from(index));
        true
    }

    /// Forgets one package, which is not the preferred one.
    pub(crate) fn forget(&mut self, index: usize) {
        if self.nodes.base.map(usize::from) == Some(index) {
            self.nodes.base = None;
        }
        if self.previous.map(usize::from) == Some(index) {
            self.previous = None;
        }
        if let Some(entry) = self.entries.get_mut(index) {
            *entry = None;
        }
    }

    /// Enters a package whose bytes are durable, and makes it the preferred one.
    pub(crate) fn enter(&mut self, index: usize, entry: Entry) {
        if let Some(place) = self.entries.get_mut(index) {
            *place = Some(entry);
            self.prefer(index);
        }
    }

    /// Moves the preferred reference.
    pub(crate) fn prefer(&mut self, index: usize) {
        let index = u8::try_from(index).ok();
        if index != self.preferred {
            self.keep_node_base();
            self.previous = self.preferred;
            self.preferred = index;
        }
    }

    /// The entry of a package with the same manifest, which contains the digests of all its images.
    pub(crate) fn position_of(&self, package: &Package) -> Option<usize> {
        self.entries
            .iter()
            .position(|entry| entry.is_some_and(|entry| entry.package == *package))
    }

    pub(crate) fn encode(&self, copy: &mut [u8; COPY_SIZE]) {
        copy.fill(0);
        let mut put = |at: usize, bytes: &[u8]| {
            if let Some(place) = copy.get_mut(at..at + bytes.len()) {
                place.copy_from_slice(bytes);
            }
        };
        put(0, &MAGIC);
        put(8, &FORMAT.to_le_bytes());
        put(10, &[self.preferred.unwrap_or(NONE)]);
        put(11, &[self.previous.unwrap_or(NONE)]);
        let base = self.nodes.base.map_or(0, |base| base.saturating_add(1));
        put(12, &[base, self.nodes.turn]);
        put(16, &self.sequence.to_le_bytes());
        put(24, &self.array_identity.to_le_bytes());
        put(32, &self.nodes.settings);
        for (index, entry) in self.entries.iter().enumerate() {
            let Some(entry) = entry else { continue };
            let at = ENTRIES_AT + index * ENTRY_SIZE;
            let sectors = u32::try_from(entry.extent.sectors).unwrap_or(0);
            put(at, &[STATE_COMPLETE]);
            put(at + 4, &sectors.to_le_bytes());
            put(at + 8, &entry.extent.first.to_le_bytes());
            put(at + 16, &entry.installed_s.to_le_bytes());
            put(at + 24, &entry.name);
            put((index + 1) * SECTOR_SIZE, &entry.package.encode());
        }
        let crc = crc_of(copy);
        if let Some(place) = copy.get_mut(CRC_AT..SECTOR_SIZE) {
            place.copy_from_slice(&crc.to_le_bytes());
        }
    }

    /// Reads a copy.
    pub(crate) fn decode(copy: &[u8]) -> Result<Catalogue, Defect> {
        let copy: &[u8; COPY_SIZE] = copy.try_into().map_err(|_| Defect::Damaged)?;
        if !copy.starts_with(&MAGIC) {
            return Err(match beginning(copy) {
                Some(true) => Defect::Blank,
                Some(false) => Defect::Begun,
                None => Defect::Magic,
            });
        }
        let fields = |at| field(copy, at).ok_or(Defect::Damaged);
        if u32::from_le_bytes(fields(CRC_AT)?) != crc_of(copy) {
            return Err(match beginning(copy) {
                Some(_) => Defect::Begun,
                None => Defect::Damaged,
            });
        }
        let format = u16::from_le_bytes(field(copy, 8).ok_or(Defect::Damaged)?);
        if format != FORMAT {
            return Err(Defect::Format(format));
        }
        let mut catalogue = Catalogue {
            sequence: u64::from_le_bytes(field(copy, 16).ok_or(Defect::Damaged)?),
            array_identity: u64::from_le_bytes(field(copy, 24).ok_or(Defect::Damaged)?),
            preferred: reference(copy[10]),
            previous: reference(copy[11]),
            entries: [None; PACKAGES_MAX],
            nodes: Nodes {
                base: copy[12].checked_sub(1),
                turn: copy[13],
                settings: field(copy, 32).ok_or(Defect::Damaged)?,
            },
        };
        for (index, place) in catalogue.entries.iter_mut().enumerate() {
            *place = decode_entry(copy, index)?;
        }
        let dangling =
            |reference: Option<u8>| reference.is_some() && catalogue.entry(reference).is_none();
        let references = [
            catalogue.preferred,
            catalogue.previous,
            catalogue.nodes.base,
        ];
        if references.into_iter().any(dangling) {
            return Err(Defect::Damaged);
        }
        Ok(catalogue)
    }
}

fn decode_entry(copy: &[u8; COPY_SIZE], index: usize) -> Result<Option<Entry>, Defect> {
    let at = ENTRIES_AT + index * ENTRY_SIZE;
    match copy.get(at) {
        Some(0) => return Ok(None),
        Some(&STATE_COMPLETE) => {}
        _ => return Err(Defect::Damaged),
    }
    let manifest = copy.get((index + 1) * SECTOR_SIZE..);
    let package = Package::parse(manifest.unwrap_or_default()).map_err(|_| Defect::Damaged)?;
    let sectors = u32::from_le_bytes(field(copy, at + 4).ok_or(Defect::Damaged)?);
    let entry = Entry {
        name: field(copy, at + 24).ok_or(Defect::Damaged)?,
        extent: Extent {
            first: u64::from_le_bytes(field(copy, at + 8).ok_or(Defect::Damaged)?),
            sectors: u64::from(sectors),
        },
        installed_s: u64::from_le_bytes(field(copy, at + 16).ok_or(Defect::Damaged)?),
        package,
    };
    let inside = entry.extent.first >= PACKAGE_AREA_START
        && entry.extent.end() <= HOST_VOLUME_START
        && Extent::sectors_for(package.length) <= entry.extent.sectors;
    if inside {
        Ok(Some(entry))
    } else {
        Err(Defect::Damaged)
    }
}

fn reference(byte: u8) -> Option<u8> {
    (byte != NONE).then_some(byte)
}

fn field<const N: usize>(copy: &[u8], at: usize) -> Option<[u8; N]> {
    copy.get(at..at.checked_add(N)?)?.try_into().ok()
}

fn crc_of(copy: &[u8; COPY_SIZE]) -> u32 {
    let mut digest = CRC32C.digest();
    digest.update(copy.get(..CRC_AT).unwrap_or_default());
    digest.update(copy.get(SECTOR_SIZE..).unwrap_or_default());
    digest.finalize()
}

/// Whether a copy that is not valid is what a first commit to a blank disk can leave when it is cut
/// short: each sector blank, or ours from its first byte on. `Some(true)` when all is blank.
fn beginning(copy: &[u8; COPY_SIZE]) -> Option<bool> {
    let mut blank = true;
    for (index, sector) in copy.as_chunks::<SECTOR_SIZE>().0.iter().enumerate() {
        if sector.iter().all(|byte| *byte == 0) {
            continue;
        }
        blank = false;
        let magic = match index {
            0 => MAGIC,
            1..=PACKAGES_MAX => PACKAGE_MAGIC,
            _ => return None,
        };
        let same = sector
            .iter()
            .zip(&magic)
            .take_while(|(a, b)| a == b)
            .count();
        let torn_in_magic = sector.iter().skip(same).all(|byte| *byte == 0);
        if same < magic.len() && !torn_in_magic {
            return None;
        }
    }
    Some(blank)
}

#[cfg(test)]
#[path = "catalogue_tests.rs"]
mod tests;
