//! Where a sector of the volume lies: level, chunks, rotation of parity.
//!
//! A *row* is one chunk on every member; a *column* is a chunk of data within a row; a *slot* is
//! the place of a member in the array. Parity rotates left, data is asymmetric: P of row 0 is on
//! the last slot and moves one to the left with every row; Q follows P (after the last slot comes
//! slot 0); columns fill the other slots in ascending order.

use serde::{Deserialize, Serialize};

use super::sector::STORED_BYTES;

/// First sector of the two copies of the superblock.
pub(super) const SUPERBLOCK_SECTOR: u64 = 0;
/// Copies of the superblock, one sector each.
pub(super) const SUPERBLOCK_COPIES: u64 = 2;
/// First sector of the journal.
pub(super) const JOURNAL_SECTOR: u64 = 8;
/// Length of the journal: 64 KiB.
pub(super) const JOURNAL_SECTORS: u64 = 128;
/// First sector of row 0.
pub(super) const DATA_SECTOR: u64 = JOURNAL_SECTOR + JOURNAL_SECTORS;

/// RAID level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Level {
    /// Striping without redundancy.
    Zero,
    /// Every member holds everything.
    One,
    /// Striping with one rotating parity: survives the loss of any member.
    Five,
    /// Striping with two rotating parities: survives the loss of any two members.
    Six,
}

impl Level {
    /// Fewest members that make an array of this level.
    pub fn fewest_members(self) -> usize {
        match self {
            Level::Zero => 1,
            Level::One => 2,
            Level::Five => 3,
            Level::Six => 4,
        }
    }

    /// The number used in superblocks and by people.
    pub fn number(self) -> u8 {
        match self {
            Level::Zero => 0,
            Level::One => 1,
            Level::Five => 5,
            Level::Six => 6,
        }
    }
}

/// What a slot holds in one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// The chunk of this column (level 1: every slot holds column 0).
    Data(usize),
    /// The exclusive or of all columns.
    P,
    /// The sum of all columns, each weighted with 2 to the power of its number, in GF(256).
    Q,
}

/// A sector of the volume in terms of rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) row: u64,
    /// Sector within the chunk.
    pub(super) offset: u64,
    pub(super) column: usize,
}

/// Shape of an array.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Geometry {
    pub(super) level: Level,
    pub(super) members: usize,
    pub(super) chunk_sectors: u64,
    pub(super) rows: u64,
}

impl Geometry {
    /// The rows that fit on a member of `length` bytes.
    pub(super) fn rows_on(length: u64, chunk_sectors: u64) -> u64 {
        let sectors = (length / STORED_BYTES as u64).saturating_sub(DATA_SECTOR);
        sectors.checked_div(chunk_sectors).unwrap_or(0)
    }

    /// Members that may be lost without losing data.
    pub(super) fn tolerates(&self) -> usize {
        match self.level {
            Level::Zero => 0,
            Level::One => self.members.saturating_sub(1),
            Level::Five => 1,
            Level::Six => 2,
        }
    }

    /// Chunks of data in a row.
    pub(super) fn columns(&self) -> usize {
        match self.level {
            Level::Zero => self.members,
            Level::One => 1,
            Level::Five => self.members.saturating_sub(1),
            Level::Six => self.members.saturating_sub(2),
        }
        .max(1)
    }

    /// Length of the volume.
    pub(super) fn sectors(&self) -> u64 {
        self.rows * self.chunk_sectors * self.columns() as u64
    }

    /// Where a sector of the volume lies.
    pub(super) fn place(&self, sector: u64) -> Place {
        let columns = self.columns() as u64;
        let chunk = sector / self.chunk_sectors;
        Place {
            row: chunk / columns,
            offset: sector % self.chunk_sectors,
            column: usize::try_from(chunk % columns).unwrap_or(0),
        }
    }

    /// Which sector of the volume lies there.
    #[cfg(test)]
    pub(super) fn volume_sector(&self, place: Place) -> u64 {
        let chunk = place.row * self.columns() as u64 + place.column as u64;
        chunk * self.chunk_sectors + place.offset
    }

    /// The slot of P in a row of levels 5 and 6.
    fn p_slot(&self, row: u64) -> usize {
        let members = self.members as u64;
        usize::try_from(members - 1 - row % members).unwrap_or(0)
    }

    /// What `slot` holds in `row`.
    pub(super) fn role(&self, row: u64, slot: usize) -> Role {
        let p = self.p_slot(row);
        let q = (p + 1) % self.members;
        match self.level {
            Level::Zero => Role::Data(slot),
            Level::One => Role::Data(0),
            _ if slot == p => Role::P,
            Level::Five => Role::Data(slot - usize::from(slot > p)),
            Level::Six if slot == q => Role::Q,
            Level::Six => Role::Data(slot - usize::from(slot > p) - usize::from(slot > q)),
        }
    }

    /// The slots of a row with what they hold.
    pub(super) fn roles(&self, row: u64) -> impl Iterator<Item = (usize, Role)> {
        (0..self.members).map(move |slot| (slot, self.role(row, slot)))
    }

    /// The slot to read a column from: the only one, or at level 1 one that varies with the row,
    /// so that all mirrors work.
    pub(super) fn slot_of(&self, row: u64, column: usize) -> usize {
        if self.level == Level::One {
            return usize::try_from(row % self.members as u64).unwrap_or(0);
        }
        self.roles(row)
            .find(|(_, role)| *role == Role::Data(column))
            .map_or(0, |(slot, _)| slot)
    }

    /// The sector on a member of a place in a row.
    pub(super) fn member_sector(&self, row: u64, offset: u64) -> u64 {
        DATA_SECTOR + row * self.chunk_sectors + offset
    }

    /// The row a sector on a member belongs to, if it is one of data or parity.
    pub(super) fn row_of(&self, member_sector: u64) -> Option<u64> {
        let row = member_sector.checked_sub(DATA_SECTOR)? / self.chunk_sectors;
        (row < self.rows).then_some(row)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn geometry(level: Level, more: usize, chunk_sectors: u64, rows: u64) -> Geometry {
        Geometry {
            level,
            members: level.fewest_members() + more,
            chunk_sectors,
            rows,
        }
    }

    fn layout(level: Level, members: usize, row: u64) -> String {
        let more = members - level.fewest_members();
        let word = |(_, role)| match role {
            Role::Data(column) => column.to_string(),
            Role::P => "P".into(),
            Role::Q => "Q".into(),
        };
        geometry(level, more, 1, 9).roles(row).map(word).collect()
    }

    #[test]
    fn parity_rotates_to_the_left() {
        let rows = |level, members| (0..members as u64).map(move |row| layout(level, members, row));
        let five: Vec<String> = rows(Level::Five, 4).collect();
        assert_eq!(five, ["012P", "01P2", "0P12", "P012"]);
        let six: Vec<String> = rows(Level::Six, 5).collect();
        assert_eq!(six, ["Q012P", "012PQ", "01PQ2", "0PQ12", "PQ012"]);
        assert_eq!(layout(Level::Zero, 3, 5), "012");
        assert_eq!(layout(Level::One, 3, 5), "000");
    }

    fn levels() -> impl Strategy<Value = Level> {
        prop_oneof![
            Just(Level::Zero),
            Just(Level::One),
            Just(Level::Five),
            Just(Level::Six)
        ]
    }

    proptest! {
        #[test]
        fn every_sector_has_a_place_of_its_own(
            level in levels(), more in 0usize..4, chunk_sectors in 1u64..9, rows in 1u64..12,
        ) {
            let geometry = geometry(level, more, chunk_sectors, rows);
            let mut seen = BTreeSet::new();
            for sector in 0..geometry.sectors() {
                let place = geometry.place(sector);
                prop_assert_eq!(geometry.volume_sector(place), sector);
                let slot = geometry.slot_of(place.row, place.column);
                prop_assert_eq!(geometry.role(place.row, slot), Role::Data(place.column));
                let on_member = geometry.member_sector(place.row, place.offset);
                prop_assert_eq!(geometry.row_of(on_member), Some(place.row));
                prop_assert!(seen.insert((slot, on_member)), "two sectors share a place");
            }
        }
    }
}
