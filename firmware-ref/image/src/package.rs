//! The package: what lies on service media and in the array's system area.

use zerocopy::byteorder::little_endian::{U16, U32};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::CRC32;
use crate::defect::{Defect, PackageDefect};
use crate::header::{ImageHeader, Kind};
use crate::read::{ReadAt, Unreadable, digest};
use crate::requirements::Requirements;
use crate::version::{LABEL_SIZE, Version};

/// Bytes of a manifest: one sector, so that version information is one read (VC37).
pub const MANIFEST_SIZE: usize = 512;

/// Parts that a package can have.
pub const MAX_PARTS: usize = 6;

const MAGIC: [u8; 8] = *b"ABpackg\x1a";
const MANIFEST_VERSION: u16 = 1;
const MANIFEST_LENGTH: u32 = 512;

/// One image of a package.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// What it is for.
    pub kind: Kind,
    /// Its version, each part's own (VC57).
    pub version: Version,
    /// Where it begins in the package.
    pub offset: u32,
    /// Bytes of header and body.
    pub length: u32,
    /// SHA-256 of header and body.
    pub digest: [u8; 32],
}

/// A manifest: all that is known of a package without reading its images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Package {
    /// The version an administrator sees.
    pub version: Version,
    /// Bytes in all, manifest included.
    pub length: u32,
    /// The images, used entries first, in the order they lie in.
    pub parts: [Option<Part>; MAX_PARTS],
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawPart {
    kind: u8,
    reserved: [u8; 3],
    major: U16,
    minor: U16,
    label: [u8; LABEL_SIZE],
    offset: U32,
    length: U32,
    digest: [u8; 32],
}

#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawManifest {
    magic: [u8; 8],
    manifest_version: U16,
    part_count: u8,
    reserved: u8,
    major: U16,
    minor: U16,
    label: [u8; LABEL_SIZE],
    length: U32,
    reserved_head: [u8; 28],
    parts: [RawPart; MAX_PARTS],
    reserved_tail: [u8; 60],
    crc: U32,
}

const _: () = assert!(size_of::<RawManifest>() == MANIFEST_SIZE);
const CRC_OFFSET: usize = core::mem::offset_of!(RawManifest, crc);

fn crc_of(raw: &RawManifest) -> u32 {
    CRC32.checksum(raw.as_bytes().split_at(CRC_OFFSET).0)
}

impl Package {
    /// Reads a manifest from the first 512 bytes of `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<Package, PackageDefect> {
        let (raw, _) = RawManifest::ref_from_prefix(bytes).map_err(|_| PackageDefect::Truncated)?;
        if raw.magic != MAGIC {
            return Err(PackageDefect::Magic);
        }
        if raw.manifest_version.get() != MANIFEST_VERSION {
            return Err(PackageDefect::ManifestVersion(raw.manifest_version.get()));
        }
        if raw.crc.get() != crc_of(raw) {
            return Err(PackageDefect::ManifestCrc);
        }
        let zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
        if raw.reserved != 0 || !zero(&raw.reserved_head) || !zero(&raw.reserved_tail) {
            return Err(PackageDefect::Reserved);
        }
        if raw.part_count == 0 || usize::from(raw.part_count) > MAX_PARTS {
            return Err(PackageDefect::PartCount(raw.part_count));
        }
        let mut package = Package {
            version: Version::from_fields(raw.major.get(), raw.minor.get(), &raw.label)
                .map_err(PackageDefect::Version)?,
            length: raw.length.get(),
            parts: [None; MAX_PARTS],
        };
        let mut free_from = MANIFEST_LENGTH;
        for (index, entry) in (0u8..).zip(&raw.parts) {
            if index >= raw.part_count {
                if !zero(entry.as_bytes()) {
                    return Err(PackageDefect::Reserved);
                }
                continue;
            }
            let part = parse_part(index, entry)?;
            let end = part.offset.checked_add(part.length);
            let end = end.filter(|end| part.offset >= free_from && *end <= package.length);
            free_from = end.ok_or(PackageDefect::PartBounds(index))?;
            if package.part(part.kind).is_some() {
                return Err(PackageDefect::PartTwice(index));
            }
            if let Some(slot) = package.parts.get_mut(usize::from(index)) {
                *slot = Some(part);
            }
        }
        Ok(package)
    }

    /// Reads the manifest that `from` begins with.
    pub fn read(from: &mut impl ReadAt) -> Result<Package, PackageDefect> {
        if from.length() < MANIFEST_LENGTH {
            return Err(PackageDefect::Truncated);
        }
        let mut bytes = [0; MANIFEST_SIZE];
        from.read_at(0, &mut bytes)?;
        Package::parse(&bytes)
    }

    /// The manifest as stored.
    pub fn encode(&self) -> [u8; MANIFEST_SIZE] {
        let mut parts = [RawPart::new_zeroed(); MAX_PARTS];
        let mut part_count = 0;
        for (raw, part) in parts.iter_mut().zip(self.parts()) {
            *raw = RawPart {
                kind: part.kind as u8,
                reserved: [0; 3],
                major: part.version.number().0.into(),
                minor: part.version.number().1.into(),
                label: part.version.label(),
                offset: part.offset.into(),
                length: part.length.into(),
                digest: part.digest,
            };
            part_count += 1;
        }
        let mut raw = RawManifest {
            magic: MAGIC,
            manifest_version: MANIFEST_VERSION.into(),
            part_count,
            reserved: 0,
            major: self.version.number().0.into(),
            minor: self.version.number().1.into(),
            label: self.version.label(),
            length: self.length.into(),
            reserved_head: [0; 28],
            parts,
            reserved_tail: [0; 60],
            crc: U32::ZERO,
        };
        raw.crc = crc_of(&raw).into();
        zerocopy::transmute!(raw)
    }

    /// The images, in the order they lie in.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        self.parts.iter().flatten()
    }

    /// The image of one kind.
    pub fn part(&self, kind: Kind) -> Option<&Part> {
        self.parts().find(|part| part.kind == kind)
    }

    /// Checks one part of the package in `from`: digest, header, body, and that its version is the
    /// announced one. A manifest that lies about a version would have a controller re-flash itself for
    /// ever.
    pub fn check_part(
        &self,
        part: &Part,
        from: &mut impl ReadAt,
        requirements: &Requirements<'_>,
        buffer: &mut [u8],
    ) -> Result<ImageHeader, PackageDefect> {
        let mut image = PartReader::new(from, part);
        if digest(&mut image, 0, part.length, buffer)? != part.digest {
            return Err(PackageDefect::PartDigest(part.kind));
        }
        let named = |defect| PackageDefect::Image(part.kind, defect);
        let header = requirements.check_file(&mut image, buffer).map_err(named)?;
        if header.version != part.version {
            return Err(named(Defect::WrongVersion));
        }
        Ok(header)
    }
}

fn parse_part(index: u8, raw: &RawPart) -> Result<Part, PackageDefect> {
    if raw.reserved != [0; 3] {
        return Err(PackageDefect::Reserved);
    }
    Ok(Part {
        kind: Kind::from_number(raw.kind).ok_or(PackageDefect::PartKind(index))?,
        version: Version::from_fields(raw.major.get(), raw.minor.get(), &raw.label)
            .map_err(|error| PackageDefect::PartVersion(index, error))?,
        offset: raw.offset.get(),
        length: raw.length.get(),
        digest: raw.digest,
    })
}

/// One part of a package, read as if it were a file of its own.
#[derive(Debug)]
pub struct PartReader<R> {
    package: R,
    offset: u32,
    length: u32,
}

impl<R: ReadAt> PartReader<R> {
    /// The bytes of `part` within `package`.
    pub fn new(package: R, part: &Part) -> PartReader<R> {
        PartReader {
            package,
            offset: part.offset,
            length: part.length,
        }
    }
}

impl<R: ReadAt> ReadAt for PartReader<R> {
    fn length(&self) -> u32 {
        self.length
    }

    fn read_at(&mut self, offset: u32, out: &mut [u8]) -> Result<(), Unreadable> {
        let length = u32::try_from(out.len()).map_err(|_| Unreadable)?;
        let end = offset.checked_add(length).ok_or(Unreadable)?;
        if end > self.length {
            return Err(Unreadable);
        }
        self.package
            .read_at(self.offset.checked_add(offset).ok_or(Unreadable)?, out)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::version::VersionError;

    fn package() -> Package {
        let part = |kind, offset, length| {
            Some(Part {
                kind,
                version: "2.0".parse().unwrap(),
                offset,
                length,
                digest: [kind as u8; 32],
            })
        };
        let mut parts = [None; MAX_PARTS];
        parts[0] = part(Kind::L2, 512, 1000);
        parts[1] = part(Kind::L3, 2048, 3000);
        Package {
            version: "2.0".parse().unwrap(),
            length: 5048,
            parts,
        }
    }

    #[track_caller]
    fn check(alter: impl FnOnce(&mut RawManifest), expected: PackageDefect) {
        let mut bytes = package().encode();
        let (raw, _) = RawManifest::mut_from_prefix(&mut bytes).unwrap();
        alter(raw);
        raw.crc = crc_of(raw).into();
        assert_eq!(Package::parse(&bytes), Err(expected));
    }

    #[test]
    fn vc57_a_manifest_reads_back_with_a_version_for_each_level() {
        let mut package = package();
        if let Some(part) = &mut package.parts[0] {
            part.version = "1.1".parse().unwrap();
        }
        let read = Package::parse(&package.encode()).unwrap();
        assert_eq!(read, package);
        assert_eq!(read.part(Kind::L2).unwrap().version.as_str(), "1.1");
        assert_eq!(read.part(Kind::L3).unwrap().version.as_str(), "2.0");
        assert_eq!(read.part(Kind::Node), None);
    }

    #[test]
    fn every_field_that_is_wrong_is_named() {
        check(|raw| raw.magic[7] = 0, PackageDefect::Magic);
        check(
            |raw| raw.manifest_version = U16::new(0),
            PackageDefect::ManifestVersion(0),
        );
        check(|raw| raw.reserved_tail[59] = 1, PackageDefect::Reserved);
        check(|raw| raw.parts[1].reserved[0] = 1, PackageDefect::Reserved);
        check(|raw| raw.part_count = 1, PackageDefect::Reserved);
        check(|raw| raw.part_count = 0, PackageDefect::PartCount(0));
        check(|raw| raw.part_count = 7, PackageDefect::PartCount(7));
        check(|raw| raw.part_count = 3, PackageDefect::PartKind(2));
        check(
            |raw| raw.label = [0; 16],
            PackageDefect::Version(VersionError::Malformed),
        );
        check(
            |raw| raw.parts[0].major = U16::new(3),
            PackageDefect::PartVersion(0, VersionError::NumbersDiffer),
        );
        check(
            |raw| raw.parts[0].offset = U32::new(511),
            PackageDefect::PartBounds(0),
        );
        check(
            |raw| raw.parts[1].offset = U32::new(1511),
            PackageDefect::PartBounds(1),
        );
        check(
            |raw| raw.parts[1].length = U32::new(u32::MAX),
            PackageDefect::PartBounds(1),
        );
        check(
            |raw| raw.length = U32::new(5047),
            PackageDefect::PartBounds(1),
        );
        check(|raw| raw.parts[1].kind = 2, PackageDefect::PartTwice(1));
        let mut torn = package().encode();
        torn[500] ^= 1;
        assert_eq!(Package::parse(&torn), Err(PackageDefect::ManifestCrc));
        assert_eq!(Package::parse(&torn[..511]), Err(PackageDefect::Truncated));
    }

    #[test]
    fn a_part_is_read_only_within_its_bounds() {
        let bytes: Vec<u8> = (0..100).collect();
        let part = Part {
            kind: Kind::L2,
            version: "1.0".parse().unwrap(),
            offset: 10,
            length: 20,
            digest: [0; 32],
        };
        let mut reader = PartReader::new(&bytes[..], &part);
        let mut out = [0; 2];
        assert_eq!(reader.read_at(18, &mut out), Ok(()));
        assert_eq!(out, [28, 29]);
        assert_eq!(reader.read_at(19, &mut out), Err(Unreadable));
        assert_eq!(reader.read_at(u32::MAX, &mut out), Err(Unreadable));
    }

    proptest! {
        #[test]
        fn strange_bytes_never_panic_and_what_parses_is_canonical(
            noise in proptest::collection::vec((0..MANIFEST_SIZE, any::<u8>()), 0..6),
            length in 0..=MANIFEST_SIZE,
            mend in any::<bool>(),
        ) {
            let mut bytes = package().encode();
            for (at, value) in noise {
                bytes[at] = value;
            }
            if mend {
                let crc = CRC32.checksum(&bytes[..CRC_OFFSET]);
                bytes[CRC_OFFSET..].copy_from_slice(&crc.to_le_bytes());
            }
            let _ = Package::parse(&bytes[..length]);
            if let Ok(parsed) = Package::parse(&bytes) {
                prop_assert_eq!(parsed.encode(), bytes);
            }
        }
    }
}
