//! What scenarios ask of the nodes on the CAN bus, and what is told of them at the end.

use std::collections::BTreeMap;

use emulator::array::Source;
use emulator::board::Cpu;
use emulator::rig::{NodeType, Rig};

use super::ask::{Findings, word};
use super::{Mark, Player};
use crate::golden::NodesOutcome;
use crate::scenario::{BoardState, CONFINEMENTS, NodesWanted, Socket};
use crate::stage::{NodeState, Stage};

/// Misfits that a message names; of more it says how many.
const NAMED: usize = 5;

/// The state of a node as seen from outside.
pub(super) fn state_of(stage: &Stage, node: u16) -> BoardState {
    let position = usize::from(node);
    let Some(board) = stage.array.board(Source::Node(position)) else {
        return BoardState::Absent;
    };
    if board.controller().is_none() {
        return BoardState::Absent;
    }
    if !board.powered() {
        return BoardState::Off;
    }
    match board.cpu() {
        Cpu::Crashed(_) | Cpu::Halted => BoardState::Crashed,
        Cpu::Hung(_) => BoardState::Hung,
        Cpu::Off | Cpu::InReset | Cpu::Live => {
            match stage.node_views().get(position).map(|view| view.state) {
                Some(NodeState::Operational) => BoardState::Operational,
                Some(NodeState::Minimal) => BoardState::Minimal,
                Some(NodeState::Error) => BoardState::Error,
                Some(NodeState::Down | NodeState::Booting) | None => BoardState::Booting,
            }
        }
    }
}

/// Version of the image that a node runs.
pub(super) fn version_of(stage: &Stage, node: u16) -> Option<&str> {
    let view = stage.node_views().get(usize::from(node))?;
    view.version.as_deref()
}

impl Player<'_> {
    pub(super) fn ask_nodes(&self, mark: &Mark, wanted: &NodesWanted, found: &mut Findings) {
        let total = wanted.nodes.len();
        let misfits = wanted
            .nodes
            .iter()
            .map(|node| self.misfit(mark, wanted, *node));
        let misfits: Vec<String> = misfits.filter(|misfit| !misfit.is_empty()).collect();
        let like = total - misfits.len();
        let name = &wanted.name;
        if let Some(bound) = wanted.count {
            return found.bound(&format!("{name} like that"), bound, like as u64);
        }
        let named: Vec<&str> = misfits.iter().take(NAMED).map(String::as_str).collect();
        let more = misfits.len().saturating_sub(NAMED);
        match (misfits.len(), more) {
            (0, _) => found.good.push(format!("{name}: all {total} like that")),
            (_, 0) => found.broken(named.join("; ")),
            _ => found.broken(format!("{}; and {more} more", named.join("; "))),
        }
    }

    /// What a node is other than wanted; nothing where it fits.
    fn misfit(&self, mark: &Mark, wanted: &NodesWanted, node: u16) -> String {
        let stage = &self.stage;
        let mut found = Findings::default();
        let position = usize::from(node);
        let board = stage.array.board(Source::Node(position));
        let name = Socket::Node(node).name(&self.scenario.rig);
        if let Some(state) = wanted.state {
            let word = |state| word(&BoardState::OF_NODES, state);
            let actual = word(state_of(stage, node));
            found.same(&format!("state of {name}"), word(state), actual);
        }
        if let Some(version) = &wanted.version {
            let actual = version_of(stage, node).unwrap_or("none");
            found.same(&format!("version of {name}"), version, actual);
        }
        if let Some(serial) = &wanted.serial {
            let controller = board.and_then(|board| board.controller());
            let actual = controller.map_or("none", |c| c.serial.as_str());
            found.same(&format!("serial of {name}"), serial, actual);
        }
        if let Some(bound) = wanted.boots {
            let before = mark.node_boots.get(position).copied().unwrap_or(0);
            let boots = stage
                .node_views()
                .get(position)
                .map_or(0, |view| view.boots);
            let boots = u64::from(boots.saturating_sub(before));
            found.bound(&format!("boots of {name}"), bound, boots);
        }
        if let Some(bus) = wanted.bus {
            let can = stage.array.shared().can.as_ref();
            let number = Socket::Node(node).can_node(&self.scenario.rig);
            let actual = can.map(|can| can.errors(number).confinement());
            let actual = actual.map_or("none", |actual| word(&CONFINEMENTS, actual));
            found.same(&format!("bus of {name}"), word(&CONFINEMENTS, bus), actual);
        }
        if let Some(bound) = wanted.rom_bytes {
            // Below the ROM its window reads 0xff (board manual §11).
            let rom = board.map(|board| board.rom()).unwrap_or_default();
            let below = rom.iter().take_while(|byte| **byte == 0xff).count();
            let bytes = (rom.len() - below) as u64;
            found.bound(&format!("ROM bytes of {name}"), bound, bytes);
        }
        found.bad.join("; ")
    }
}

/// The nodes as they are now, those together that are alike.
pub(crate) fn nodes_alike(stage: &Stage, rig: &Rig) -> Vec<NodesOutcome> {
    let mut alike: BTreeMap<(NodeType, BoardState, Option<String>), Vec<String>> = BTreeMap::new();
    for (index, node) in (0..).zip(rig.nodes()) {
        let state = state_of(stage, index);
        let version = version_of(stage, index).map(str::to_owned);
        let names = alike.entry((node.group.kind, state, version)).or_default();
        names.push(node.name);
    }
    let outcome = |((kind, state, version), names): ((NodeType, _, Option<String>), Vec<_>)| {
        let kind = NodeType::ALL.iter().find(|(known, _)| *known == kind);
        NodesOutcome {
            kind: kind.map_or("", |(_, word)| *word).to_owned(),
            state: word(&BoardState::OF_NODES, state).to_owned(),
            version: version.unwrap_or_default(),
            names,
        }
    };
    alike.into_iter().map(outcome).collect()
}
