use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::check::Findings;
use super::{Rig, Slot};

/// Most nodes on a bus besides the controllers.
pub const MAX_NODES: u16 = 256;
const BIT_RATE: (u32, u32) = (10_000, 1_000_000);
const DATA_BIT_RATE_MAX: u32 = 8_000_000;
const SEGMENTS_MAX: usize = 16;
const NODE_RAM_MIB: (u32, u32) = (1, 16);
const SETS_MAX: u8 = 15;

/// The CAN bus: how fast it is, and its segments (board manual §10). Without segments there is none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Can {
    /// Nominal bit rate, bits a second.
    pub bit_rate: u32,
    /// Bit rate of the data phase of CAN FD frames; 0: the bus has classic frames alone.
    pub data_bit_rate: u32,
    /// Names of the stretches of cable, such as the frames of a tape library.
    pub segments: Vec<String>,
    /// What joins segments, and can be unplugged.
    pub cables: Vec<Cable>,
    /// The segment that the controller in a slot is on; the first where none is named.
    pub controllers: BTreeMap<String, String>,
}

impl Default for Can {
    fn default() -> Self {
        Can {
            bit_rate: 500_000,
            data_bit_rate: 2_000_000,
            segments: Vec::new(),
            cables: Vec::new(),
            controllers: BTreeMap::new(),
        }
    }
}

/// A cable between two segments.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cable {
    /// What scenarios call it.
    pub name: String,
    /// The segments it joins.
    pub joins: [String; 2],
}

/// Some nodes of one kind on one segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeGroup {
    /// Name of the node; of more than one, of each with a number behind it: `drive-1` …
    pub name: String,
    /// What they do.
    #[serde(rename = "type")]
    pub kind: NodeType,
    /// How many.
    pub count: u16,
    /// The segment they are on; the first where it is empty.
    pub segment: String,
    /// The set that they are updated with, from 1.
    pub set: u8,
    /// Their requests do not tell what they are.
    pub generic: bool,
    /// The boot ROM: a build of the reference firmware, or the path of an image of at most 16 KiB, of nodes
    /// with flash 64 KiB.
    pub rom: String,
    /// The build of its type's image that the factory put into its flash chip; a node without one has no chip.
    pub image: String,
    /// Size of the RAM of each.
    pub ram_mib: u32,
}

impl Default for NodeGroup {
    fn default() -> Self {
        NodeGroup {
            name: String::new(),
            kind: NodeType::default(),
            count: 1,
            segment: String::new(),
            set: 1,
            generic: false,
            rom: "1.0".to_owned(),
            image: String::new(),
            ram_mib: 1,
        }
    }
}

/// What a node does (board manual §11).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NodeType {
    /// Talks to hosts.
    Communication,
    /// Moves the gripper of an accessor.
    WorkProcessor,
    /// Moves an accessor along the library.
    Xy,
    /// Shows the state of the library.
    OperatorPanel,
    /// Carries a drive.
    #[default]
    Drive,
}

impl NodeType {
    /// Every type with its word, in the order of its code.
    pub const ALL: [(NodeType, &'static str); 5] = [
        (NodeType::Communication, "communication"),
        (NodeType::WorkProcessor, "work-processor"),
        (NodeType::Xy, "xy"),
        (NodeType::OperatorPanel, "operator-panel"),
        (NodeType::Drive, "drive"),
    ];

    /// The code in the node's straps (board manual §11).
    pub fn code(self) -> u32 {
        match self {
            NodeType::Communication => 1,
            NodeType::WorkProcessor => 2,
            NodeType::Xy => 3,
            NodeType::OperatorPanel => 4,
            NodeType::Drive => 5,
        }
    }
}

impl NodeGroup {
    /// Whether its nodes have a flash chip (board manual §11).
    pub fn has_flash(&self) -> bool {
        !self.image.is_empty()
    }
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node<'r> {
    /// What scenarios call it.
    pub name: String,
    /// Index of its segment.
    pub segment: usize,
    /// What it is.
    pub group: &'r NodeGroup,
}

impl Rig {
    /// The nodes on the CAN bus, in order.
    pub fn nodes(&self) -> impl Iterator<Item = Node<'_>> {
        let groups = self.nodes.iter().flat_map(move |group| {
            // Bounded, because it is asked before the rig is known to be possible.
            (1..=group.count.min(MAX_NODES)).map(move |number| Node {
                name: match group.count {
                    1 => group.name.clone(),
                    _ => format!("{}-{number}", group.name),
                },
                segment: self.segment(&group.segment),
                group,
            })
        });
        groups.take(MAX_NODES.into())
    }

    /// Index of the node called `name`.
    pub fn node(&self, name: &str) -> Option<u16> {
        let position = self.nodes().position(|node| node.name == name)?;
        u16::try_from(position).ok()
    }

    /// Index of the segment that the controller in `slot` is on.
    pub fn segment_of(&self, slot: Slot) -> usize {
        let named = self.can.controllers.get(&slot.to_string());
        self.segment(named.map_or("", String::as_str))
    }

    /// Index of a segment; the first where there is none of that name.
    pub fn segment(&self, name: &str) -> usize {
        let segments = &mut self.can.segments.iter();
        segments.position(|segment| segment == name).unwrap_or(0)
    }

    pub(super) fn check_can(&self, found: &mut Findings) {
        let can = &self.can;
        found.bounds("can.bit_rate", &can.bit_rate, &BIT_RATE);
        if can.data_bit_rate != 0 {
            let range = (can.bit_rate, DATA_BIT_RATE_MAX);
            found.bounds("can.data_bit_rate", &can.data_bit_rate, &range);
        }
        if can.segments.len() > SEGMENTS_MAX {
            let what = format!("a bus has at most {SEGMENTS_MAX} segments");
            found.add("can.segments", what, "leave some out");
        }
        for (index, segment) in can.segments.iter().enumerate() {
            let path = format!("can.segments.{index}");
            if can
                .segments
                .iter()
                .take(index)
                .any(|other| other == segment)
            {
                found.add(&path, "two segments have this name", "give each its own");
            }
            self.check_name(&path, segment, found);
        }
        for (index, cable) in can.cables.iter().enumerate() {
            self.check_name(&format!("can.cables.{index}.name"), &cable.name, found);
            for (end, segment) in cable.joins.iter().enumerate() {
                self.check_segment(&format!("can.cables.{index}.joins.{end}"), segment, found);
            }
            if cable.joins[0] == cable.joins[1] {
                let path = format!("can.cables.{index}.joins");
                found.add(&path, "both ends are on one segment", "name two segments");
            }
        }
        for (slot, segment) in &can.controllers {
            let path = format!("can.controllers.{slot}");
            if !self.slots().any(|known| known.to_string() == *slot) {
                found.add(&path, "the chassis has no such slot", "name one it has");
            }
            self.check_segment(&path, segment, found);
        }
        self.check_nodes(found);
    }

    fn check_nodes(&self, found: &mut Findings) {
        let mut total: u32 = 0;
        for (index, group) in self.nodes.iter().enumerate() {
            let path = |key: &str| format!("nodes.{index}.{key}");
            self.check_name(&path("name"), &group.name, found);
            let known = self.unit_of_array(&group.name).is_some()
                || matches!(group.name.as_str(), "chassis" | "host" | "network");
            let earlier = self.nodes.iter().take(index);
            if known || earlier.clone().any(|other| other.name == group.name) {
                let what = "something else has this name";
                found.add(&path("name"), what, "choose another");
            }
            found.bounds(&path("count"), &group.count, &(1, MAX_NODES));
            let before = total;
            total += u32::from(group.count);
            if before <= MAX_NODES.into() && total > MAX_NODES.into() {
                let what = format!("a bus has at most {MAX_NODES} nodes");
                found.add(&path("count"), what, "leave some out");
            }
            if !group.segment.is_empty() {
                self.check_segment(&path("segment"), &group.segment, found);
            }
            found.bounds(&path("set"), &group.set, &(1, SETS_MAX));
            found.bounds(&path("ram_mib"), &group.ram_mib, &NODE_RAM_MIB);
        }
        if !self.nodes.is_empty() && self.can.segments.is_empty() {
            let remedy = "add e.g. segments = [\"base\"] to [can]";
            found.add("nodes.0", "there is no bus for nodes to be on", remedy);
        }
        if !self.nodes.is_empty() && self.board.machine.runs_freely() {
            let what = "nodes live in virtual time, which boards of this machine do not know";
            found.add("nodes.0", what, "leave them out, or use machine = \"ab1\"");
        }
        if total > MAX_NODES.into() {
            return; // Too many to give each its name.
        }
        let mut names: Vec<String> = self.nodes().map(|node| node.name).collect();
        names.sort();
        if let Some(twice) = names.windows(2).find(|pair| pair[0] == pair[1]) {
            let what = format!("two nodes are called {}", twice[0]);
            found.add("nodes", what, "choose other names");
        }
    }

    fn check_segment(&self, path: &str, segment: &str, found: &mut Findings) {
        if !self.can.segments.iter().any(|known| known == segment) {
            let remedy = format!(
                "name one of [can] segments: {}",
                self.can.segments.join(", ")
            );
            found.add(path, format!("there is no segment `{segment}`"), remedy);
        }
    }

    fn check_name(&self, path: &str, name: &str, found: &mut Findings) {
        if !super::check::is_name(name) {
            let remedy = "write e.g. \"drive\"";
            found.add(path, "a name is of letters, digits, `-` and `.`", remedy);
        }
    }
}
