//! The array's store for its own software (the patent's *preferred version*, VC4): packages side by
//! side on the shelf, a catalogue in two copies, and one reference to the preferred package.
//!
//! | sectors | contents |
//! |---|---|
//! | 0 … 7 | catalogue, copy 0 (even sequence numbers) |
//! | 32 … 39 | catalogue, copy 1 (odd sequence numbers) |
//! | 64 … 16383 | package area: each package in one extent |
//! | 16384 … | the host's volume; not this crate's business |
//!
//! Nothing in use is ever overwritten: a package is written to free sectors and flushed, then the
//! catalogue copy that is *not* the current one is written and flushed. A loss of power at any moment
//! leaves the old state or the new one. One controller writes at a time: the caller holds the midplane
//! lock (VC93).
//!
//! A controller needs the version information at every boot and nothing else (VC37, VC47), so the
//! catalogue carries the packages' manifests: one read of 20 KiB answers. This is also why there is
//! no general file system here. littlefs was the candidate; its pure Rust ports are young
//! (0.1), and mounting one takes dozens of small dependent reads, each of which would stop the
//! board once.
#![cfg_attr(not(test), no_std)]

mod catalogue;
mod device;
mod extent;
mod install;
mod load;
mod nodes;

pub use catalogue::{Catalogue, Entry, NAME_SIZE, PACKAGES_MAX};
pub use device::{BlockDevice, IoError, SECTOR_SIZE};
pub use extent::{Extent, ExtentReader, ExtentWriter};
pub use install::{Install, InstallError, PackageRefusal, Place, Progress, check_package};
pub use load::{Condition, Damage, LOAD_SIZE, commit, load};
pub use nodes::NODE_SETTINGS_SIZE;

/// First sector of the package area.
pub const PACKAGE_AREA_START: u64 = 64;
/// First sector of the host's volume.
pub const HOST_VOLUME_START: u64 = 16384;

#[cfg(test)]
mod simulated_disk;
#[cfg(test)]
mod tests;
