//! What the shelf says of itself.

use serde::{Deserialize, Serialize};

use super::array::Shelf;
use super::drive::MemberCounters;

/// What a port asked of a region of the volume.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Read requests that touched it.
    pub read_requests: u64,
    /// Bytes of it that they read.
    pub read_bytes: u64,
    /// Write requests that touched it.
    pub write_requests: u64,
    /// Bytes of it that they wrote.
    pub write_bytes: u64,
}

/// How the array is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ShelfState {
    /// Every member is there.
    Optimal,
    /// Members are missing, data is not.
    Degraded,
    /// The same, and a new member is being filled.
    Rebuilding,
    /// More members are missing than the level tolerates.
    Failed,
}

/// How a drive is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemberState {
    /// A member that holds all its rows.
    Active,
    /// A member that is being filled.
    Rebuilding,
    /// It waits for a member to fail.
    Spare,
    /// Broken, too small, stale or of another array.
    Failed,
}

/// What the running scrub found so far, or the last one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScrubStatus {
    /// It is not at the end.
    pub running: bool,
    /// Rows it looked at.
    pub rows: u64,
    /// Sectors on members that it wrote anew.
    pub repaired: u64,
    /// Sectors on members that are bad beyond recovery.
    pub lost: u64,
}

/// How the array and its drives are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShelfStatus {
    /// The array.
    pub state: ShelfState,
    /// Its drives: members as they were given, then spares.
    pub members: Vec<MemberState>,
    /// How far the rebuild is, while there is one.
    pub rebuild_percent: Option<u8>,
    /// What scrubs found.
    pub scrub: ScrubStatus,
}

impl Shelf {
    /// How the array and its drives are.
    pub fn status(&self) -> ShelfStatus {
        let rebuilding = self.slot_to_rebuild();
        let state = if self.has_failed() {
            ShelfState::Failed
        } else if rebuilding.is_some() {
            ShelfState::Rebuilding
        } else if self.slots.iter().all(|slot| self.is_complete(slot)) {
            // A rebuild that the members have not noted would not survive a loss of power.
            match self.superblocks_are_true() {
                true => ShelfState::Optimal,
                false => ShelfState::Rebuilding,
            }
        } else {
            ShelfState::Degraded
        };
        let percent = |slot: usize| {
            let done = self.slots.get(slot)?.rebuilt.saturating_mul(100);
            u8::try_from(done.checked_div(self.geometry.rows)?).ok()
        };
        ShelfStatus {
            state,
            members: (0..self.drives.len())
                .map(|n| self.member_state(n))
                .collect(),
            rebuild_percent: rebuilding.and_then(percent),
            scrub: self.scrub.found,
        }
    }

    fn member_state(&self, number: usize) -> MemberState {
        let slot = self.slots.iter().find(|slot| slot.drive == Some(number));
        match slot {
            Some(slot) if self.is_complete(slot) => MemberState::Active,
            Some(_) => MemberState::Rebuilding,
            None if self.is_spare(number) => MemberState::Spare,
            None => MemberState::Failed,
        }
    }

    /// What a port asked of a region so far; zeros for a region that the settings do not name.
    pub fn counters(&self, port: usize, region: &str) -> Counters {
        let named = |part: &super::settings::Region| part.name == region;
        let counters = self
            .settings
            .regions
            .iter()
            .position(named)
            .and_then(|region| {
                let port = self.ports.get(&port)?;
                port.counters.get(region).copied()
            });
        counters.unwrap_or_default()
    }

    /// What a drive did so far; zeros for one that does not exist.
    pub fn member_counters(&self, member: usize) -> MemberCounters {
        self.drives
            .get(member)
            .map_or_else(MemberCounters::default, |drive| drive.counters)
    }
}
