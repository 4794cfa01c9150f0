//! What a loss of power does to an operation in progress.
//!
//! Power loss is the product, so a medium states what can happen and the caller chooses. Each
//! outcome is a pure function of (operation, [`Shape`], seed).

use serde::{Deserialize, Serialize};

use crate::time::Nanos;

/// How far a persistent operation had come when its power went.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// Accepted, but the medium is as it was before.
    Lost,
    /// Part of it: a NOR program leaves a prefix done and one byte partly cleared, a NOR erase
    /// leaves the sector part-erased with unstable bits, a member-disk write leaves a prefix of
    /// sectors, a volatile cache leaves a reordered subset.
    #[default]
    Torn,
    /// All of it, though nobody was told.
    Done,
}

impl Shape {
    /// Every shape, in the order a sweep tries them.
    pub const ALL: [Shape; 3] = [Shape::Lost, Shape::Torn, Shape::Done];
}

/// One loss of power, as a medium sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PowerLoss {
    /// When it happened.
    pub now: Nanos,
    /// What became of the operation in progress.
    pub shape: Shape,
    /// Decides every detail that the shape leaves open.
    pub seed: u64,
}

/// What kind of operation began; a cut can be placed at each one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperationKind {
    /// A NOR page program.
    Program,
    /// A NOR sector or block erase.
    Erase,
    /// A write to a member disk.
    MemberWrite,
    /// A commit of a volatile cache.
    Flush,
    /// A frame on a CAN bus: nothing persistent, but a place where a cut matters. Only counted when asked for.
    CanFrame,
}

impl OperationKind {
    /// The word used in scenario files and reports.
    pub fn as_str(self) -> &'static str {
        match self {
            OperationKind::Program => "program",
            OperationKind::Erase => "erase",
            OperationKind::MemberWrite => "member-write",
            OperationKind::Flush => "flush",
            OperationKind::CanFrame => "can-frame",
        }
    }
}

/// A persistent operation that began. Its effect reaches the medium at `ends`; a power loss
/// before that leaves one of the [`Shape`]s.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// Program, erase, member write or flush.
    pub kind: OperationKind,
    /// Which chip or member disk of the device.
    pub unit: u32,
    /// First byte, in the unit's own address space.
    pub address: u64,
    /// Length in bytes.
    pub length: u64,
    /// When it began.
    pub begins: Nanos,
    /// When it would be complete.
    pub ends: Nanos,
}

/// SplitMix64: one well-mixed 64-bit value per (seed, n). The only source of chance in a medium.
pub fn mix(seed: u64, n: u64) -> u64 {
    let mut z = seed.wrapping_add(n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}
