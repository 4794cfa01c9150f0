//! Format of firmware images and of the packages that carry them.
//!
//! An *image* is a header of 256 bytes followed by a body. A flash bank holds exactly the bytes of
//! the image file, from the bank's first byte on, so a bank and a file are validated by the same
//! code. The header's last 16 bytes are the *programming record* (VC19): when, and as the how-manieth,
//! the image was stored in this bank. A CRC over the whole header ends it, and the header is
//! written last, so that a bank whose programming was cut short is invalid.
//!
//! A *package* is what lies on service media and in the array's system area: a manifest of one
//! sector and one image per level (VC7, VC57).
//!
//! Everything that parses here is given bytes by strangers: it answers with a [`Defect`] that names
//! the field, and never panics.
#![cfg_attr(not(any(test, feature = "pack")), no_std)]

mod defect;
mod header;
#[cfg(feature = "pack")]
pub mod pack;
mod package;
mod read;
mod record;
mod requirements;
mod version;

pub use defect::{Defect, PackageDefect};
pub use header::{
    BODY_OFFSET, Component, ComponentKind, HEADER_SIZE, ImageHeader, Kind, MAX_COMPONENTS,
};
pub use package::{MANIFEST_SIZE, MAX_PARTS, Package, Part, PartReader};
pub use read::{ReadAt, Unreadable, digest};
pub use record::Record;
pub use requirements::{Requirements, Trust};
pub use version::{LABEL_SIZE, Version, VersionError};

/// CRC-32 as in IEEE 802.3, over headers and manifests.
pub(crate) const CRC32: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);
