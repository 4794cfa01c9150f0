//! Power domains and armed power cuts.

use std::fmt;

use devices::power::{Operation, OperationKind, Shape};
use serde::{Deserialize, Serialize};

use super::event::{Source, slot_letter};

/// What loses power together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PowerDomain {
    /// One controller board with its flash.
    Board(usize),
    /// The RAID shelf with its cache and member disks.
    Shelf,
    /// Everything.
    Chassis,
}

impl PowerDomain {
    /// Whether losing `self` takes the power from board `slot`.
    pub fn has_board(self, slot: usize) -> bool {
        matches!(self, PowerDomain::Chassis) || self == PowerDomain::Board(slot)
    }

    /// Whether losing `self` takes the power from the shelf.
    pub fn has_shelf(self) -> bool {
        matches!(self, PowerDomain::Chassis | PowerDomain::Shelf)
    }
}

impl fmt::Display for PowerDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PowerDomain::Board(slot) => write!(f, "{}", slot_letter(*slot)),
            PowerDomain::Shelf => f.write_str("shelf"),
            PowerDomain::Chassis => f.write_str("chassis"),
        }
    }
}

/// A power cut that waits for its operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CutPoint {
    /// What loses power.
    pub domain: PowerDomain,
    /// Whose operation is waited for.
    pub source: Source,
    /// The chip or member disk, or any.
    pub unit: Option<u32>,
    /// The kind of operation, or any.
    pub kind: Option<OperationKind>,
    /// Which of the matching operations since arming, from 1.
    pub nth: u64,
    /// How the operation is left.
    pub shape: Shape,
    /// Decides the details of the shape.
    pub seed: u64,
}

/// An armed cut and how far its operation count has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ArmedCut {
    pub(super) id: u32,
    pub(super) point: CutPoint,
    pub(super) seen: u64,
}

impl ArmedCut {
    /// Counts an operation; true when it is the one.
    pub(super) fn matches(&mut self, source: Source, operation: &Operation) -> bool {
        let point = &self.point;
        let wanted = point.source == source
            && point.unit.is_none_or(|unit| unit == operation.unit)
            && point.kind.is_none_or(|kind| kind == operation.kind);
        self.seen += u64::from(wanted);
        wanted && self.seen == point.nth
    }
}

#[cfg(test)]
mod tests {
    use devices::time::Nanos;

    use super::*;

    #[test]
    fn the_nth_matching_operation_fires_once() {
        let point = CutPoint {
            domain: PowerDomain::Board(0),
            source: Source::Board(0),
            unit: Some(1),
            kind: Some(OperationKind::Program),
            nth: 2,
            shape: Shape::Torn,
            seed: 0,
        };
        let mut cut = ArmedCut { id: 0, point, seen: 0 };
        let operation = |kind, unit| Operation {
            kind,
            unit,
            address: 0,
            length: 256,
            begins: Nanos(0),
            ends: Nanos(1),
        };
        let fired: Vec<bool> = [
            (Source::Board(0), OperationKind::Program, 1),
            (Source::Board(1), OperationKind::Program, 1),
            (Source::Board(0), OperationKind::Program, 0),
            (Source::Board(0), OperationKind::Erase, 1),
            (Source::Board(0), OperationKind::Program, 1),
            (Source::Board(0), OperationKind::Program, 1),
        ]
        .into_iter()
        .map(|(source, kind, unit)| cut.matches(source, &operation(kind, unit)))
        .collect();
        assert_eq!(fired, [false, false, false, false, true, false]);
    }
}
