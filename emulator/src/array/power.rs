//! Power domains and armed power cuts.

use std::fmt;

use devices::power::{Operation, OperationKind, Shape};
use serde::{Deserialize, Serialize};

use super::event::{Source, slot_letter};
use crate::rig::{self, MAX_NODES};

const NO_NODES: Nodes = [0; MAX_NODES as usize / 64];

/// What gets and loses power together: any set of boards, with or without the shelf.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PowerDomain {
    /// Bit n: the board in slot n, with its flash.
    boards: u8,
    /// Bit n: node n on the CAN bus.
    nodes: Nodes,
    /// The RAID shelf with its cache and member disks.
    shelf: bool,
}

/// A set of nodes.
type Nodes = [u64; MAX_NODES as usize / 64];

impl PowerDomain {
    /// The shelf alone.
    pub const SHELF: PowerDomain = PowerDomain {
        boards: 0,
        nodes: NO_NODES,
        shelf: true,
    };
    /// Everything.
    pub const CHASSIS: PowerDomain = PowerDomain {
        boards: u8::MAX,
        nodes: [u64::MAX; NO_NODES.len()],
        shelf: true,
    };

    /// One board alone.
    pub fn board(slot: usize) -> PowerDomain {
        let bit = u32::try_from(slot)
            .ok()
            .and_then(|slot| 1_u8.checked_shl(slot));
        PowerDomain {
            boards: bit.unwrap_or(0),
            nodes: NO_NODES,
            shelf: false,
        }
    }

    /// One node alone, counted from 0.
    pub fn node(node: usize) -> PowerDomain {
        let mut nodes = NO_NODES;
        if let Some(word) = nodes.get_mut(node / 64) {
            *word = 1 << (node % 64);
        }
        PowerDomain {
            boards: 0,
            nodes,
            shelf: false,
        }
    }

    /// All of `units`.
    pub fn of(units: &[rig::Unit]) -> PowerDomain {
        let mut domain = PowerDomain {
            boards: 0,
            nodes: NO_NODES,
            shelf: false,
        };
        for unit in units {
            match unit {
                rig::Unit::Board(slot) => domain.boards |= 1 << slot.index(),
                rig::Unit::Shelf => domain.shelf = true,
                rig::Unit::Node(node) => {
                    let one = PowerDomain::node(usize::from(*node)).nodes;
                    for (all, one) in domain.nodes.iter_mut().zip(one) {
                        *all |= one;
                    }
                }
            }
        }
        domain
    }

    /// Whether losing `self` takes the power from board `slot`.
    pub fn has_board(self, slot: usize) -> bool {
        self.boards & PowerDomain::board(slot).boards != 0
    }

    /// Whether losing `self` takes the power from node `node`.
    pub fn has_node(self, node: usize) -> bool {
        let word = self.nodes.get(node / 64);
        word.is_some_and(|word| word & 1 << (node % 64) != 0)
    }

    /// Whether losing `self` takes the power from the shelf.
    pub fn has_shelf(self) -> bool {
        self.shelf
    }
}

impl fmt::Display for PowerDomain {
    /// `A`, `B+shelf`, `chassis`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self == PowerDomain::CHASSIS {
            return f.write_str("chassis");
        }
        let boards = (0..8)
            .filter(|slot| self.has_board(*slot))
            .map(|slot| slot_letter(slot).to_string());
        let nodes = (0..MAX_NODES.into())
            .filter(|node| self.has_node(*node))
            .map(|node| Source::Node(node).to_string());
        let parts: Vec<String> = boards
            .chain(nodes)
            .chain(self.shelf.then(|| "shelf".to_owned()))
            .collect();
        f.write_str(&parts.join("+"))
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
    /// Where in the chip or member disk it begins, or anywhere.
    pub address: Option<u64>,
    /// Which of the matching operations since arming, from 1.
    pub nth: u64,
    /// How the operation is left.
    pub shape: Shape,
    /// Decides the details of the shape.
    pub seed: u64,
}

/// An armed cut and how far its operation count has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArmedCut {
    /// Its number.
    pub id: u32,
    /// What it waits for.
    pub point: CutPoint,
    /// How many such operations there were.
    pub seen: u64,
}

impl ArmedCut {
    /// Counts an operation; true when it is the one.
    pub fn matches(&mut self, source: Source, operation: &Operation) -> bool {
        let point = &self.point;
        let wanted = point.source == source
            && point.unit.is_none_or(|unit| unit == operation.unit)
            && point.kind.is_none_or(|kind| kind == operation.kind)
            && point.address.is_none_or(|at| at == operation.address);
        self.seen += u64::from(wanted);
        wanted && self.seen == point.nth
    }
}

#[cfg(test)]
mod tests {
    use devices::time::Nanos;

    use super::*;

    #[test]
    fn domains_have_names() {
        let both = PowerDomain {
            boards: 3,
            nodes: NO_NODES,
            shelf: true,
        };
        assert_eq!(both.to_string(), "A+B+shelf");
        assert_eq!(PowerDomain::board(1).to_string(), "B");
        assert_eq!(PowerDomain::node(70).to_string(), "node-71");
        assert_eq!(PowerDomain::CHASSIS.to_string(), "chassis");
    }

    #[test]
    fn the_nth_matching_operation_fires_once() {
        let point = CutPoint {
            domain: PowerDomain::board(0),
            source: Source::Board(0),
            unit: Some(1),
            kind: Some(OperationKind::Program),
            address: Some(0x100),
            nth: 2,
            shape: Shape::Torn,
            seed: 0,
        };
        let mut cut = ArmedCut {
            id: 0,
            point,
            seen: 0,
        };
        let operation = |kind, unit, address| Operation {
            kind,
            unit,
            address,
            length: 256,
            begins: Nanos(0),
            ends: Nanos(1),
        };
        let fired: Vec<bool> = [
            (Source::Board(0), OperationKind::Program, 1, 0x100),
            (Source::Board(1), OperationKind::Program, 1, 0x100),
            (Source::Board(0), OperationKind::Program, 0, 0x100),
            (Source::Board(0), OperationKind::Erase, 1, 0x100),
            (Source::Board(0), OperationKind::Program, 1, 0x200),
            (Source::Board(0), OperationKind::Program, 1, 0x100),
            (Source::Board(0), OperationKind::Program, 1, 0x100),
        ]
        .into_iter()
        .map(|(source, kind, unit, at)| cut.matches(source, &operation(kind, unit, at)))
        .collect();
        assert_eq!(fired, [false, false, false, false, false, true, false]);
    }
}
