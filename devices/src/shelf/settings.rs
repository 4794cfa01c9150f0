//! What an array is made of and how fast it is.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::geometry::Level;
use crate::time::Nanos;

/// What an array is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShelfSettings {
    /// RAID level.
    pub level: Level,
    /// Bytes of a chunk: a multiple of 512.
    pub chunk_bytes: u32,
    /// Size of the volatile write cache. A write that does not fit waits until it is on the
    /// members, so zero makes the cache a write-through one.
    pub cache_bytes: u64,
    /// How fast its disks are.
    pub timing: DiskTiming,
    /// Parts of the volume that have counters of their own.
    pub regions: Vec<Region>,
    /// Tells the members of this array from those of others.
    pub array_id: u64,
}

/// A part of the volume with counters of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Region {
    /// What it is called.
    pub name: String,
    /// Its first sector.
    pub first_sector: u64,
    /// Its length.
    pub sectors: u64,
}

/// How fast disks and cache are. With zeros everything is done at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DiskTiming {
    /// Per read access of a member.
    pub read: Nanos,
    /// Per write access of a member.
    pub write: Nanos,
    /// Beside the access, per byte between a member and the array.
    pub byte: Nanos,
    /// Per request that the cache answers.
    pub cache: Nanos,
}

impl DiskTiming {
    /// The time `bytes` take between a disk and the array.
    pub(super) fn transfer(&self, bytes: u64) -> Nanos {
        Nanos(bytes.saturating_mul(self.byte.0))
    }
}

/// Why disks and settings do not make an array.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ShelfError {
    /// The level needs more members, or the array has more than it can count.
    #[error("{given} members: RAID {level} takes {fewest} to {most}")]
    Members {
        /// RAID level.
        level: u8,
        /// How many there are.
        given: usize,
        /// Fewest of that level.
        fewest: usize,
        /// Most of any level.
        most: usize,
    },
    /// The chunk is not a multiple of 512 bytes, or zero.
    #[error("a chunk of {0} bytes: it must be a multiple of 512 and not zero")]
    Chunk(u32),
    /// Not even one chunk fits.
    #[error("a member of {0} bytes has no room for a chunk")]
    Length(u64),
    /// The host failed to write the file behind a medium.
    #[error("member {0} cannot be written")]
    Medium(usize),
}
