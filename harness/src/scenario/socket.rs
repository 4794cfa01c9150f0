use std::collections::BTreeSet;

use devices::can::NodeId;
use emulator::rig::{Rig, Slot, Unit};

/// Where a board is: a controller in its slot of the chassis, or a node in its place on the CAN bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Socket {
    /// A controller slot.
    Slot(Slot),
    /// The place of a node, from 0.
    Node(u16),
}

impl Socket {
    /// The socket called `name` in a rig.
    pub fn of(name: &str, rig: &Rig) -> Option<Socket> {
        match rig.unit(name)? {
            Unit::Board(slot) => Some(Socket::Slot(slot)),
            Unit::Node(node) => Some(Socket::Node(node)),
            Unit::Shelf => None,
        }
    }

    /// What people call it.
    pub fn name(self, rig: &Rig) -> String {
        match self {
            Socket::Slot(slot) => slot.to_string(),
            Socket::Node(node) => {
                let named = rig.nodes().nth(node.into());
                named.map_or_else(|| Unit::Node(node).to_string(), |node| node.name)
            }
        }
    }

    /// What has its power supply.
    pub fn unit(self) -> Unit {
        match self {
            Socket::Slot(slot) => Unit::Board(slot),
            Socket::Node(node) => Unit::Node(node),
        }
    }

    /// Its number on the CAN bus: the controllers come first.
    pub fn can_node(self, rig: &Rig) -> NodeId {
        match self {
            Socket::Slot(slot) => u16::try_from(slot.index()).unwrap_or(u16::MAX),
            Socket::Node(node) => u16::try_from(rig.slots)
                .unwrap_or(u16::MAX)
                .saturating_add(node),
        }
    }
}

/// What stands for several nodes, as messages explain it.
pub const NODE_GROUPS: &str = "nodes are named one by one, by the group of the rig they are of (drive), by a part of their names \
     (drive-*, *-drive-*), by their set (set-2), or all together (nodes)";

/// The nodes that `word` stands for; nothing where it stands for none.
pub fn nodes_named(word: &str, rig: &Rig) -> Option<BTreeSet<u16>> {
    if let Some(node) = rig.node(word) {
        return Some(BTreeSet::from([node]));
    }
    let set: Option<u8> = word.strip_prefix("set-").and_then(|set| set.parse().ok());
    let stands = (0..).zip(rig.nodes()).filter(|(_, node)| {
        word == "nodes"
            || node.group.name == word
            || set == Some(node.group.set)
            || is_like(&node.name, word)
    });
    let found: BTreeSet<u16> = stands.map(|(index, _)| index).collect();
    (!found.is_empty()).then_some(found)
}

/// Whether `name` is `word`, in which each `*` stands for any text. Stars alone would name everything by accident.
fn is_like(name: &str, word: &str) -> bool {
    let mut parts = word.split('*');
    let (Some(first), Some(last)) = (parts.next(), parts.next_back()) else {
        return false;
    };
    let ends = name
        .strip_prefix(first)
        .and_then(|rest| rest.strip_suffix(last));
    let Some(mut rest) = ends.filter(|_| word.contains(|c| c != '*')) else {
        return false;
    };
    // The first place that fits leaves most for the parts behind it.
    parts.all(|part| match rest.split_once(part) {
        Some((_, behind)) => {
            rest = behind;
            true
        }
        None => false,
    })
}

#[cfg(test)]
mod tests {
    use emulator::rig::NodeGroup;

    use super::*;

    #[test]
    fn nodes_are_named_by_what_they_have_in_common() {
        let group = |name: &str, count, set| NodeGroup {
            name: name.to_owned(),
            count,
            set,
            ..NodeGroup::default()
        };
        let rig = Rig {
            nodes: vec![
                group("panel", 1, 1),
                group("base-drive", 2, 1),
                group("base-xy", 1, 2),
            ],
            ..Rig::default()
        };
        let check = |word: &str, wanted: &[u16]| {
            let found = nodes_named(word, &rig).unwrap_or_default();
            assert_eq!(found.into_iter().collect::<Vec<_>>(), wanted, "{word}");
        };
        check("panel", &[0]);
        check("base-drive", &[1, 2]);
        check("base-drive-2", &[2]);
        check("base-*", &[1, 2, 3]);
        check("*-drive-*", &[1, 2]);
        check("*e-*-1", &[1]);
        check("*y", &[3]);
        check("set-2", &[3]);
        check("nodes", &[0, 1, 2, 3]);
        for nobody in [
            "",
            "*",
            "**",
            "panel*l",
            "set-3",
            "drive-*",
            "A",
            "base-drive-3",
        ] {
            check(nobody, &[]);
        }
    }
}
