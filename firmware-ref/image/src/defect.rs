//! What can be wrong with an image or a package.

use core::fmt;

use crate::header::Kind;
use crate::read::Unreadable;
use crate::version::VersionError;

/// Why an image is not to be run or stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// The medium did not deliver the bytes.
    Unreadable,
    /// The chip it lies in drives no line: to a reader that looks like an erased one.
    NoAnswer,
    /// Nothing there: the header's place is erased.
    Blank,
    /// The bytes end before the header does.
    Truncated,
    /// The first eight bytes are not an image's.
    Magic,
    /// A header version this code does not know.
    HeaderVersion(u16),
    /// The CRC over the header: torn, or altered by accident.
    HeaderCrc,
    /// A byte that must be zero is not.
    Reserved,
    /// A kind this code does not know.
    UnknownKind(u8),
    /// A known kind, but not what belongs here.
    WrongKind {
        /// What belongs here.
        expected: Kind,
        /// What it is.
        found: Kind,
    },
    /// The version fields.
    Version(VersionError),
    /// A version other than the one announced.
    WrongVersion,
    /// No body.
    Empty,
    /// Header and body do not fit the bank.
    Oversized {
        /// Bytes of the image.
        length: u64,
        /// Bytes of the bank.
        capacity: u32,
    },
    /// The file is longer or shorter than its header says.
    WrongLength {
        /// What the header says, header included.
        stated: u64,
        /// What there is.
        found: u32,
    },
    /// The body would be loaded outside the memory set aside for it.
    LoadAddress(u32),
    /// The entry point is outside the body.
    Entry(u32),
    /// An entry of the component table: unknown kind, outside the body, or after the last one.
    Component(u8),
    /// The body's SHA-256 is not the header's.
    BodyDigest,
    /// A signature is demanded and there is none.
    Unsigned,
    /// A signature is demanded and this one is not the key's for this header.
    Signature,
    /// A signature is demanded but no key is fitted to check it with.
    NoKey,
}

impl Defect {
    /// The word used in traces: `cause=…`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Defect::Unreadable => "unreadable",
            Defect::NoAnswer => "no-answer",
            Defect::Blank => "blank",
            Defect::Truncated => "truncated",
            Defect::Magic => "wrong-magic",
            Defect::HeaderVersion(_) => "unknown-header-version",
            Defect::HeaderCrc => "header-crc",
            Defect::Reserved => "reserved-not-zero",
            Defect::UnknownKind(_) => "unknown-kind",
            Defect::WrongKind { .. } => "wrong-kind",
            Defect::Version(_) => "malformed-version",
            Defect::WrongVersion => "wrong-version",
            Defect::Empty => "empty",
            Defect::Oversized { .. } => "oversized",
            Defect::WrongLength { .. } => "wrong-length",
            Defect::LoadAddress(_) => "load-address",
            Defect::Entry(_) => "entry-outside",
            Defect::Component(_) => "component-table",
            Defect::BodyDigest => "body-digest",
            Defect::Unsigned => "unsigned",
            Defect::Signature => "bad-signature",
            Defect::NoKey => "no-key",
        }
    }
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Defect::Unreadable => f.write_str("the image cannot be read"),
            Defect::NoAnswer => f.write_str("the chip it lies in does not answer"),
            Defect::Blank => f.write_str("there is no image: the header is erased"),
            Defect::Truncated => f.write_str("the image ends within its header"),
            Defect::Magic => f.write_str("magic: this is not a firmware image"),
            Defect::HeaderVersion(found) => write!(f, "header version: {found} is unknown"),
            Defect::HeaderCrc => f.write_str("header CRC: the header is torn or altered"),
            Defect::Reserved => f.write_str("reserved: must be zero"),
            Defect::UnknownKind(found) => write!(f, "kind: {found} is unknown"),
            Defect::WrongKind { expected, found } => {
                write!(f, "kind: {found} where {expected} belongs")
            }
            Defect::Version(error) => write!(f, "version: {error}"),
            Defect::WrongVersion => f.write_str("version: not the one announced"),
            Defect::Empty => f.write_str("body length: the body is empty"),
            Defect::Oversized { length, capacity } => {
                write!(f, "body length: {length} bytes do not fit {capacity}")
            }
            Defect::WrongLength { stated, found } => {
                write!(
                    f,
                    "body length: the header states {stated} bytes in all, found {found}"
                )
            }
            Defect::LoadAddress(at) => {
                write!(f, "load address: {at:#x} is outside the memory set aside")
            }
            Defect::Entry(at) => write!(f, "entry offset: {at:#x} is outside the body"),
            Defect::Component(index) => write!(f, "component {index}: kind, offset or length"),
            Defect::BodyDigest => f.write_str("body digest: the body is damaged or altered"),
            Defect::Unsigned => f.write_str("signature: missing"),
            Defect::Signature => f.write_str("signature: not by the fitted key"),
            Defect::NoKey => f.write_str("signature: demanded, but no key is fitted"),
        }
    }
}

impl core::error::Error for Defect {}

impl From<Unreadable> for Defect {
    fn from(_: Unreadable) -> Defect {
        Defect::Unreadable
    }
}

impl From<VersionError> for Defect {
    fn from(error: VersionError) -> Defect {
        Defect::Version(error)
    }
}

/// Why a package is not to be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PackageDefect {
    /// The medium did not deliver the bytes.
    Unreadable,
    /// The bytes end before the manifest does.
    Truncated,
    /// The first eight bytes are not a package's.
    Magic,
    /// A manifest version this code does not know.
    ManifestVersion(u16),
    /// The CRC over the manifest.
    ManifestCrc,
    /// A byte that must be zero is not.
    Reserved,
    /// The package's own version.
    Version(VersionError),
    /// No parts, or more than fit.
    PartCount(u8),
    /// A part's kind is unknown.
    PartKind(u8),
    /// A part's version.
    PartVersion(u8, VersionError),
    /// A part lies outside the package, over the manifest or over the part before it.
    PartBounds(u8),
    /// Two parts of one kind.
    PartTwice(u8),
    /// The package is longer or shorter than its manifest says.
    WrongLength {
        /// What the manifest says.
        stated: u32,
        /// What there is.
        found: u32,
    },
    /// A part's SHA-256 is not the manifest's.
    PartDigest(Kind),
    /// A part is not a usable image.
    Image(Kind, Defect),
}

impl PackageDefect {
    /// The word used in traces: `cause=…`.
    pub fn as_str(&self) -> &'static str {
        match self {
            PackageDefect::Unreadable => "unreadable",
            PackageDefect::Truncated => "truncated",
            PackageDefect::Magic => "wrong-magic",
            PackageDefect::ManifestVersion(_) => "unknown-manifest-version",
            PackageDefect::ManifestCrc => "manifest-crc",
            PackageDefect::Reserved => "reserved-not-zero",
            PackageDefect::Version(_) | PackageDefect::PartVersion(..) => "malformed-version",
            PackageDefect::PartCount(_) => "part-count",
            PackageDefect::PartKind(_) => "unknown-kind",
            PackageDefect::PartBounds(_) => "part-bounds",
            PackageDefect::PartTwice(_) => "part-twice",
            PackageDefect::WrongLength { .. } => "wrong-length",
            PackageDefect::PartDigest(_) => "part-digest",
            PackageDefect::Image(_, defect) => defect.as_str(),
        }
    }
}

impl fmt::Display for PackageDefect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PackageDefect::Unreadable => f.write_str("the package cannot be read"),
            PackageDefect::Truncated => f.write_str("the package ends within its manifest"),
            PackageDefect::Magic => f.write_str("magic: this is not a firmware package"),
            PackageDefect::ManifestVersion(found) => {
                write!(f, "manifest version: {found} is unknown")
            }
            PackageDefect::ManifestCrc => {
                f.write_str("manifest CRC: the manifest is torn or altered")
            }
            PackageDefect::Reserved => f.write_str("reserved: must be zero"),
            PackageDefect::Version(error) => write!(f, "package version: {error}"),
            PackageDefect::PartCount(found) => write!(f, "part count: {found}, must be 1 to 6"),
            PackageDefect::PartKind(index) => write!(f, "part {index}: kind: unknown"),
            PackageDefect::PartVersion(index, error) => {
                write!(f, "part {index}: version: {error}")
            }
            PackageDefect::PartBounds(index) => {
                write!(
                    f,
                    "part {index}: offset or length: outside the package or overlapping"
                )
            }
            PackageDefect::PartTwice(index) => {
                write!(f, "part {index}: kind: there is one of this kind already")
            }
            PackageDefect::WrongLength { stated, found } => {
                write!(
                    f,
                    "length: the manifest states {stated} bytes, found {found}"
                )
            }
            PackageDefect::PartDigest(kind) => {
                write!(f, "part {kind}: digest: damaged or altered")
            }
            PackageDefect::Image(kind, defect) => write!(f, "part {kind}: {defect}"),
        }
    }
}

impl core::error::Error for PackageDefect {}

impl From<Unreadable> for PackageDefect {
    fn from(_: Unreadable) -> PackageDefect {
        PackageDefect::Unreadable
    }
}
