//! The header of an image.

use core::fmt;

use sha2::{Digest, Sha256};
use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

use crate::CRC32;
use crate::defect::Defect;
use crate::record::Record;
use crate::version::{LABEL_SIZE, Version};

/// Bytes of a header: one flash page, so that it is stored by a single program operation.
pub const HEADER_SIZE: usize = 256;

/// Where in a bank or file the body begins.
pub const BODY_OFFSET: u32 = 256;

/// Entries of the component table.
pub const MAX_COMPONENTS: usize = 8;

const MAGIC: [u8; 8] = *b"ABimage\x1a";
const HEADER_VERSION: u16 = 1;

/// What an image is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Kind {
    /// Boot ROM of a controller.
    L1 = 1,
    /// Second level of a controller: discovery and POST.
    L2 = 2,
    /// Third level of a controller: drivers, operating system, application.
    L3 = 3,
    /// Microcode of a host adapter.
    Adapter = 4,
    /// Code of a node on the CAN bus.
    Node = 5,
    /// Boot ROM of a node on the CAN bus.
    NodeRom = 6,
}

impl Kind {
    /// Every kind, in the order of its number.
    pub const ALL: [Kind; 6] = [
        Kind::L1,
        Kind::L2,
        Kind::L3,
        Kind::Adapter,
        Kind::Node,
        Kind::NodeRom,
    ];

    /// The word used in files and traces.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::L1 => "l1",
            Kind::L2 => "l2",
            Kind::L3 => "l3",
            Kind::Adapter => "adapter",
            Kind::Node => "node",
            Kind::NodeRom => "node-rom",
        }
    }

    pub(crate) fn from_number(number: u8) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| *kind as u8 == number)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a stretch of a body is (VC7).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ComponentKind {
    /// Start-up code.
    Boot = 1,
    /// Device drivers.
    Drivers = 2,
    /// Operating system.
    Os = 3,
    /// Controller application.
    Application = 4,
}

impl ComponentKind {
    /// Every kind, in the order of its number.
    pub const ALL: [ComponentKind; 4] = [
        ComponentKind::Boot,
        ComponentKind::Drivers,
        ComponentKind::Os,
        ComponentKind::Application,
    ];

    /// The word used in files.
    pub fn as_str(self) -> &'static str {
        match self {
            ComponentKind::Boot => "boot",
            ComponentKind::Drivers => "drivers",
            ComponentKind::Os => "os",
            ComponentKind::Application => "application",
        }
    }
}

/// A stretch of a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Component {
    /// What it is.
    pub kind: ComponentKind,
    /// Where it begins in the body.
    pub offset: u32,
    /// Its bytes.
    pub length: u32,
}

/// Everything a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageHeader {
    /// What the image is for.
    pub kind: Kind,
    /// Its version.
    pub version: Version,
    /// Bytes of the body that follows the header.
    pub body_length: u32,
    /// Where in RAM the body runs.
    pub load_address: u32,
    /// Where in the body execution begins.
    pub entry_offset: u32,
    /// SHA-256 of the body.
    pub body_digest: [u8; 32],
    /// What the body is made of; used entries come first.
    pub components: [Option<Component>; MAX_COMPONENTS],
    /// ed25519 signature over everything above, all zero where there is none.
    pub signature: [u8; 64],
    /// When it was stored in this bank.
    pub record: Record,
}

#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawComponent {
    kind: u8,
    reserved: [u8; 3],
    offset: U32,
    length: U32,
}

/// The header as it lies in flash, little-endian, without gaps.
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(C)]
struct RawHeader {
    magic: [u8; 8],
    header_version: U16,
    kind: u8,
    reserved: u8,
    major: U16,
    minor: U16,
    label: [u8; LABEL_SIZE],
    body_length: U32,
    load_address: U32,
    entry_offset: U32,
    component_count: U32,
    body_digest: [u8; 32],
    components: [RawComponent; MAX_COMPONENTS],
    signature: [u8; 64],
    sequence: U32,
    programmed_s: U64,
    crc: U32,
}

const _: () = assert!(size_of::<RawHeader>() == HEADER_SIZE);

/// Bytes covered by the signature: all before it.
const SIGNED_SIZE: usize = core::mem::offset_of!(RawHeader, signature);
/// Bytes covered by the CRC: all but itself.
const CRC_OFFSET: usize = core::mem::offset_of!(RawHeader, crc);

fn crc_of(raw: &RawHeader) -> u32 {
    CRC32.checksum(raw.as_bytes().split_at(CRC_OFFSET).0)
}

impl ImageHeader {
    /// Reads a header from the first 256 bytes of `bytes`.
    pub fn parse(bytes: &[u8]) -> Result<ImageHeader, Defect> {
        let (raw, _) = RawHeader::ref_from_prefix(bytes).map_err(|_| Defect::Truncated)?;
        if raw.magic != MAGIC {
            let blank = raw.as_bytes().iter().all(|byte| *byte == 0xff);
            return Err(if blank { Defect::Blank } else { Defect::Magic });
        }
        if raw.header_version.get() != HEADER_VERSION {
            return Err(Defect::HeaderVersion(raw.header_version.get()));
        }
        // Before any field is believed: a torn header has no meaning.
        if raw.crc.get() != crc_of(raw) {
            return Err(Defect::HeaderCrc);
        }
        let header = ImageHeader {
            kind: Kind::from_number(raw.kind).ok_or(Defect::UnknownKind(raw.kind))?,
            version: Version::from_fields(raw.major.get(), raw.minor.get(), &raw.label)?,
            body_length: raw.body_length.get(),
            load_address: raw.load_address.get(),
            entry_offset: raw.entry_offset.get(),
            body_digest: raw.body_digest,
            components: parse_components(raw)?,
            signature: raw.signature,
            record: Record {
                sequence: raw.sequence.get(),
                programmed_s: raw.programmed_s.get(),
            },
        };
        if raw.reserved != 0 {
            return Err(Defect::Reserved);
        }
        if header.body_length == 0 {
            return Err(Defect::Empty);
        }
        if header.entry_offset >= header.body_length {
            return Err(Defect::Entry(header.entry_offset));
        }
        Ok(header)
    }

    fn raw(&self) -> RawHeader {
        let mut components = [RawComponent::new_zeroed(); MAX_COMPONENTS];
        let mut component_count = 0;
        for (raw, component) in components.iter_mut().zip(self.components()) {
            raw.kind = component.kind as u8;
            raw.offset = component.offset.into();
            raw.length = component.length.into();
            component_count += 1;
        }
        let mut raw = RawHeader {
            magic: MAGIC,
            header_version: HEADER_VERSION.into(),
            kind: self.kind as u8,
            reserved: 0,
            major: self.version.number().0.into(),
            minor: self.version.number().1.into(),
            label: self.version.label(),
            body_length: self.body_length.into(),
            load_address: self.load_address.into(),
            entry_offset: self.entry_offset.into(),
            component_count: U32::new(component_count),
            body_digest: self.body_digest,
            components,
            signature: self.signature,
            sequence: self.record.sequence.into(),
            programmed_s: self.record.programmed_s.into(),
            crc: U32::ZERO,
        };
        raw.crc = crc_of(&raw).into();
        raw
    }

    /// The header as stored.
    pub fn encode(&self) -> [u8; HEADER_SIZE] {
        zerocopy::transmute!(self.raw())
    }

    /// The bytes that the signature covers: everything but the signature and the programming
    /// record. The parser admits one spelling only, so they are those that were signed.
    pub fn signed_bytes(&self) -> [u8; SIGNED_SIZE] {
        let mut signed = [0; SIGNED_SIZE];
        signed.copy_from_slice(self.raw().as_bytes().split_at(SIGNED_SIZE).0);
        signed
    }

    /// The used entries of the component table.
    pub fn components(&self) -> impl Iterator<Item = &Component> {
        self.components.iter().flatten()
    }

    /// Bytes of header and body.
    pub fn total_length(&self) -> u64 {
        HEADER_SIZE as u64 + u64::from(self.body_length)
    }

    /// Whether `body` is the body this header belongs to.
    pub fn body_matches(&self, body: &[u8]) -> bool {
        Sha256::digest(body)[..] == self.body_digest
    }

    /// The same image with another programming record.
    pub fn with_record(&self, record: Record) -> ImageHeader {
        ImageHeader { record, ..*self }
    }

    /// Whether the signature field is filled in; says nothing about whose it is.
    pub fn is_signed(&self) -> bool {
        self.signature != [0; 64]
    }
}

fn parse_components(raw: &RawHeader) -> Result<[Option<Component>; MAX_COMPONENTS], Defect> {
    let mut components = [None; MAX_COMPONENTS];
    if raw.component_count.get() as usize > MAX_COMPONENTS {
        return Err(Defect::Component(u8::MAX));
    }
    for ((index, slot), entry) in (0u8..).zip(components.iter_mut()).zip(&raw.components) {
        if u32::from(index) < raw.component_count.get() {
            *slot = Some(
                parse_component(entry, raw.body_length.get()).ok_or(Defect::Component(index))?,
            );
        } else if entry.as_bytes().iter().any(|byte| *byte != 0) {
            return Err(Defect::Component(index));
        }
    }
    Ok(components)
}

fn parse_component(raw: &RawComponent, body_length: u32) -> Option<Component> {
    let kind = ComponentKind::ALL
        .into_iter()
        .find(|kind| *kind as u8 == raw.kind)?;
    let (offset, length) = (raw.offset.get(), raw.length.get());
    let inside = offset
        .checked_add(length)
        .is_some_and(|end| end <= body_length);
    (inside && raw.reserved == [0; 3]).then_some(Component {
        kind,
        offset,
        length,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::version::VersionError;

    fn header() -> ImageHeader {
        let mut components = [None; MAX_COMPONENTS];
        components[0] = Some(Component {
            kind: ComponentKind::Drivers,
            offset: 0,
            length: 100,
        });
        components[1] = Some(Component {
            kind: ComponentKind::Application,
            offset: 100,
            length: 900,
        });
        ImageHeader {
            kind: Kind::L3,
            version: "2.0-crash".parse().unwrap(),
            body_length: 1000,
            load_address: 0x20_0000,
            entry_offset: 16,
            body_digest: [7; 32],
            components,
            signature: [9; 64],
            record: Record {
                sequence: 3,
                programmed_s: 1_000_000_000,
            },
        }
    }

    /// Alters the raw header, mends the CRC, and expects what the parser says.
    #[track_caller]
    fn check(alter: impl FnOnce(&mut RawHeader), expected: Defect) {
        let mut raw = header().raw();
        alter(&mut raw);
        raw.crc = crc_of(&raw).into();
        assert_eq!(ImageHeader::parse(raw.as_bytes()), Err(expected));
    }

    #[test]
    fn a_header_reads_back() {
        assert_eq!(ImageHeader::parse(&header().encode()), Ok(header()));
    }

    #[test]
    fn every_field_that_is_wrong_is_named() {
        check(|raw| raw.magic[0] ^= 1, Defect::Magic);
        check(
            |raw| raw.header_version = U16::new(2),
            Defect::HeaderVersion(2),
        );
        check(|raw| raw.kind = 9, Defect::UnknownKind(9));
        check(|raw| raw.reserved = 1, Defect::Reserved);
        check(
            |raw| raw.minor = U16::new(1),
            Defect::Version(VersionError::NumbersDiffer),
        );
        check(|raw| raw.body_length = U32::ZERO, Defect::Component(0));
        check(
            |raw| {
                raw.body_length = U32::ZERO;
                raw.component_count = U32::ZERO;
                raw.components = [RawComponent::new_zeroed(); MAX_COMPONENTS];
            },
            Defect::Empty,
        );
        check(|raw| raw.entry_offset = U32::new(1000), Defect::Entry(1000));
        check(
            |raw| raw.component_count = U32::new(9),
            Defect::Component(u8::MAX),
        );
        check(
            |raw| raw.component_count = U32::new(1),
            Defect::Component(1),
        );
        check(
            |raw| raw.component_count = U32::new(3),
            Defect::Component(2),
        );
        check(
            |raw| raw.components[1].length = U32::new(901),
            Defect::Component(1),
        );
        check(
            |raw| raw.components[1].offset = U32::new(u32::MAX),
            Defect::Component(1),
        );
        check(
            |raw| raw.components[0].reserved[2] = 1,
            Defect::Component(0),
        );
    }

    #[test]
    fn an_erased_place_is_blank_and_a_short_one_truncated() {
        assert_eq!(ImageHeader::parse(&[0xff; HEADER_SIZE]), Err(Defect::Blank));
        assert_eq!(ImageHeader::parse(&[0; HEADER_SIZE]), Err(Defect::Magic));
        assert_eq!(
            ImageHeader::parse(&header().encode()[..255]),
            Err(Defect::Truncated)
        );
    }

    #[test]
    fn the_record_is_outside_the_signature() {
        let restored = header().with_record(Record::PACKED);
        assert_ne!(restored.encode(), header().encode());
        assert_eq!(restored.signed_bytes(), header().signed_bytes());
    }

    proptest! {
        /// A header cut short at any byte, with any bits of that byte still set, is invalid
        /// unless nothing was missing.
        #[test]
        fn a_torn_header_is_invalid(prefix in 0..HEADER_SIZE, kept in any::<u8>()) {
            let whole = header().encode();
            let mut torn = [0xff; HEADER_SIZE];
            torn[..prefix].copy_from_slice(&whole[..prefix]);
            torn[prefix] = whole[prefix] | kept;
            prop_assume!(torn != whole);
            prop_assert!(ImageHeader::parse(&torn).is_err());
        }

        #[test]
        fn strange_bytes_never_panic_and_what_parses_is_canonical(
            noise in proptest::collection::vec((0..HEADER_SIZE, any::<u8>()), 0..6),
            length in 0..=HEADER_SIZE,
            mend in any::<bool>(),
        ) {
            let mut bytes = header().encode();
            for (at, value) in noise {
                bytes[at] = value;
            }
            if mend {
                let crc = CRC32.checksum(&bytes[..CRC_OFFSET]);
                bytes[CRC_OFFSET..].copy_from_slice(&crc.to_le_bytes());
            }
            let _ = ImageHeader::parse(&bytes[..length]);
            if let Ok(parsed) = ImageHeader::parse(&bytes) {
                prop_assert_eq!(parsed.encode(), bytes);
            }
        }
    }
}
