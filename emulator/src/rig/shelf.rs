use serde::{Deserialize, Serialize};

use super::units::Bytes;

/// A sector, how it lies on a member, and how many of a member are the shelf's own (board manual §7).
const SECTOR_BYTES: u64 = 512;
const STORED_BYTES: u64 = 520;
const OWN_SECTORS: u64 = 136;

/// The RAID shelf: member disks, spares, chunking and cache.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shelf {
    /// 0, 1, 5 or 6.
    pub level: RaidLevel,
    /// Member disks in the set.
    pub members: u32,
    /// Size of each member disk and spare.
    pub member_size: Bytes,
    /// Disks that wait to replace a failed member.
    pub spares: u32,
    /// Bytes on one member before the next takes over.
    pub chunk: Bytes,
    /// Size of the volatile write-back cache.
    pub cache: Bytes,
}

impl Default for Shelf {
    fn default() -> Self {
        Shelf {
            level: RaidLevel::Five,
            members: 4,
            member_size: Bytes::mib(16),
            spares: 1,
            chunk: Bytes::kib(16),
            cache: Bytes::mib(1),
        }
    }
}

/// How members are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u8", into = "u8")]
pub enum RaidLevel {
    /// Striped, no redundancy.
    Zero,
    /// Mirrored.
    One,
    /// One parity chunk a stripe.
    Five,
    /// Two parity chunks a stripe.
    Six,
}

impl RaidLevel {
    /// Fewest members that make a set.
    pub fn fewest_members(self) -> u32 {
        match self {
            RaidLevel::Zero => 1,
            RaidLevel::One => 2,
            RaidLevel::Five => 3,
            RaidLevel::Six => 4,
        }
    }

    /// Members whose loss leaves the data readable, in a set of `members`.
    pub fn redundancy(self, members: u32) -> u32 {
        match self {
            RaidLevel::Zero => 0,
            RaidLevel::One => members.saturating_sub(1),
            RaidLevel::Five => 1,
            RaidLevel::Six => 2,
        }
    }
}

impl TryFrom<u8> for RaidLevel {
    type Error = String;

    fn try_from(level: u8) -> Result<RaidLevel, String> {
        match level {
            0 => Ok(RaidLevel::Zero),
            1 => Ok(RaidLevel::One),
            5 => Ok(RaidLevel::Five),
            6 => Ok(RaidLevel::Six),
            _ => Err(format!(
                "the shelf knows RAID levels 0, 1, 5 and 6, not {level}"
            )),
        }
    }
}

impl From<RaidLevel> for u8 {
    fn from(level: RaidLevel) -> u8 {
        match level {
            RaidLevel::Zero => 0,
            RaidLevel::One => 1,
            RaidLevel::Five => 5,
            RaidLevel::Six => 6,
        }
    }
}

impl Shelf {
    /// Size of the volume that the controllers see (board manual §7).
    pub fn volume(&self) -> Bytes {
        let data = self
            .members
            .saturating_sub(self.level.redundancy(self.members));
        let member = self.member_chunks().saturating_mul(self.chunk.0);
        Bytes(member.saturating_mul(u64::from(data)))
    }

    /// Chunks of data or parity on a member: what its superblock and journal leave.
    pub(super) fn member_chunks(&self) -> u64 {
        let sectors = (self.member_size.0 / STORED_BYTES).saturating_sub(OWN_SECTORS);
        let bytes = sectors.saturating_mul(SECTOR_BYTES);
        bytes.checked_div(self.chunk.0).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_volume_is_what_redundancy_leaves() {
        let check = |level, members, wanted: u64| {
            let shelf = Shelf {
                level,
                members,
                ..Shelf::default()
            };
            // (16 MiB / 520 - 136) × 512 / 16 KiB
            assert_eq!(shelf.member_chunks(), 1003);
            assert_eq!(shelf.volume(), Bytes::kib(1003 * 16 * wanted));
        };
        check(RaidLevel::Zero, 3, 3);
        check(RaidLevel::One, 2, 1);
        check(RaidLevel::Five, 4, 3);
        check(RaidLevel::Six, 4, 2);
    }
}
