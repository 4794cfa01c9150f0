//! What a rig file says: chassis, boards, shelf, links and power domains as plain data.
//!
//! * [`Rig`] and its parts — the serde types; every field has a default, unknown keys are refused.
//! * [`Slot`], [`Unit`] — names of chassis slots and of things that have a power supply.
//! * [`Bytes`], [`Span`] — sizes (`"16MiB"`) and virtual time spans (`"45ms"`) as people write them.
//! * [`RigProblem`] — what makes a well-formed rig impossible, with the path of the culprit.
//!
//! Nothing here reads files or knows TOML; whoever loads a rig turns paths into line numbers.

mod board;
mod can;
mod check;
mod shelf;
mod slot;
mod units;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

pub use board::{Bank, BankLetter, BoardType, Boot, Flash, HostTransport, Layout, Machine, Strap};
pub use can::{Cable, Can, MAX_NODES, Node, NodeGroup, NodeType};
pub use check::{PathStep, RigProblem};
pub use shelf::{RaidLevel, Shelf};
pub use slot::{MAX_SLOTS, Slot, SlotError, Unit};
pub use units::{Bytes, Span, UnitError};

/// One chassis with everything in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Rig {
    /// Name by which scenarios ask for the rig.
    pub name: String,
    /// One line for people.
    pub about: String,
    /// Controller slots in the chassis, 1 to [`MAX_SLOTS`].
    pub slots: u32,
    /// Serial numbers of the boards first fitted, by slot; `AB1-000A` … where none is given.
    pub serials: Vec<String>,
    /// Calendar clock at virtual time zero, in seconds since 1970-01-01.
    pub calendar_start_s: u64,
    /// What the chassis does with a board whose CPU died.
    pub on_crash: CrashPolicy,
    /// Host CPU time after which a board that touches no device counts as hung.
    pub hang_limit: Span,
    /// The type of all controller boards.
    pub board: BoardType,
    /// The RAID shelf.
    pub shelf: Shelf,
    /// Cables and the backplane.
    pub links: Links,
    /// How long devices take.
    pub timings: Timings,
    /// The CAN bus.
    pub can: Can,
    /// The nodes on it besides the controllers.
    pub nodes: Vec<NodeGroup>,
    /// Power domains besides those every rig has, each a list of units (`A`, `B`, `shelf`).
    pub domains: BTreeMap<String, Vec<String>>,
}

/// What the chassis does with a board whose CPU died (board manual §1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CrashPolicy {
    /// Cold-resets it.
    #[default]
    Reset,
    /// Leaves it down until somebody resets it.
    StayDown,
}

/// Cables and the backplane.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Links {
    /// Time a frame takes from controller to controller.
    pub backplane_latency: Span,
    /// Time a frame takes between host and controller.
    pub host_latency: Span,
    /// Slots whose host port has no cable.
    pub uncabled: Vec<String>,
}

impl Default for Links {
    fn default() -> Self {
        Links {
            backplane_latency: Span::from_micros(10),
            host_latency: Span::from_micros(20),
            uncabled: Vec::new(),
        }
    }
}

/// How long devices take. The flash times are those of board manual §6.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Timings {
    /// One NOR page program.
    pub page_program: Span,
    /// One NOR sector erase.
    pub sector_erase: Span,
    /// One NOR block erase.
    pub block_erase: Span,
    /// One NOR chip erase.
    pub chip_erase: Span,
    /// One read from a member disk.
    pub member_read: Span,
    /// One write to a member disk.
    pub member_write: Span,
    /// One access that the shelf's cache answers.
    pub cache_access: Span,
}

impl Default for Timings {
    fn default() -> Self {
        Timings {
            page_program: Span::from_micros(700),
            sector_erase: Span::from_millis(45),
            block_erase: Span::from_millis(150),
            chip_erase: Span::from_millis(2_000),
            member_read: Span::from_micros(150),
            member_write: Span::from_micros(200),
            cache_access: Span::from_micros(15),
        }
    }
}

impl Default for Rig {
    fn default() -> Self {
        Rig {
            name: String::new(),
            about: String::new(),
            slots: 2,
            serials: Vec::new(),
            // 2001-08-15, the day the version-control patent was filed.
            calendar_start_s: 997_833_600,
            on_crash: CrashPolicy::default(),
            hang_limit: Span::from_millis(1_000),
            board: BoardType::default(),
            shelf: Shelf::default(),
            links: Links::default(),
            timings: Timings::default(),
            can: Can::default(),
            nodes: Vec::new(),
            domains: BTreeMap::new(),
        }
    }
}

impl Rig {
    /// The slots of the chassis, in order.
    pub fn slots(&self) -> impl Iterator<Item = Slot> + use<> {
        // Bounded, because it is asked before the rig is known to be possible.
        (0..self.slots.min(MAX_SLOTS)).filter_map(|index| Slot::new(index).ok())
    }

    /// The serial number of the board first fitted in `slot`.
    pub fn serial(&self, slot: Slot) -> String {
        usize::try_from(slot.index())
            .ok()
            .and_then(|index| self.serials.get(index))
            .cloned()
            .unwrap_or_else(|| format!("AB1-000{slot}"))
    }

    /// Whether the host port of `slot` has a cable.
    pub fn is_cabled(&self, slot: Slot) -> bool {
        !self.links.uncabled.contains(&slot.to_string())
    }

    /// Names of all power domains: each board, `shelf`, `chassis`, then those of the rig file.
    pub fn domain_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.slots().map(|slot| slot.to_string()).collect();
        names.extend(self.nodes().map(|node| node.name));
        names.push("shelf".to_owned());
        names.push("chassis".to_owned());
        names.extend(self.domains.keys().cloned());
        names
    }

    /// The units that lose power with the domain `name`, if there is such a domain.
    pub fn domain(&self, name: &str) -> Option<Vec<Unit>> {
        let boards = self.slots().map(Unit::Board);
        let nodes = (0..).zip(self.nodes()).map(|(node, _)| Unit::Node(node));
        match name {
            "chassis" => Some(boards.chain(nodes).chain([Unit::Shelf]).collect()),
            _ => match self.domains.get(name) {
                Some(units) => units.iter().map(|unit| self.unit(unit)).collect(),
                None => self.unit(name).map(|unit| vec![unit]),
            },
        }
    }

    /// The unit called `name`, if the rig has it.
    pub fn unit(&self, name: &str) -> Option<Unit> {
        let node = self.node(name).map(Unit::Node);
        node.or_else(|| self.unit_of_array(name))
    }

    fn unit_of_array(&self, name: &str) -> Option<Unit> {
        let unit: Unit = name.parse().ok()?;
        match unit {
            Unit::Board(slot) if slot.index() >= self.slots => None,
            _ => Some(unit),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rig_has_a_domain_per_board_the_shelf_and_the_chassis() {
        let mut rig = Rig::default();
        rig.domains.insert(
            "supply-1".to_owned(),
            vec!["A".to_owned(), "shelf".to_owned()],
        );
        assert_eq!(
            rig.domain_names(),
            ["A", "B", "shelf", "chassis", "supply-1"]
        );
        let slot = |index| Slot::new(index).unwrap();
        assert_eq!(rig.domain("B"), Some(vec![Unit::Board(slot(1))]));
        assert_eq!(
            rig.domain("supply-1"),
            Some(vec![Unit::Board(slot(0)), Unit::Shelf])
        );
        assert_eq!(rig.domain("chassis").map(|units| units.len()), Some(3));
        assert_eq!(rig.domain("C"), None);
    }

    #[test]
    fn serials_default_to_the_slot() {
        let rig = Rig {
            serials: vec!["X1".to_owned()],
            ..Rig::default()
        };
        let serials: Vec<String> = rig.slots().map(|slot| rig.serial(slot)).collect();
        assert_eq!(serials, ["X1", "AB1-000B"]);
    }
}
