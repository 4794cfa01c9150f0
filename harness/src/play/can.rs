//! What a scenario breaks and mends on the CAN bus.

use std::collections::BTreeSet;

use devices::can::{Confinement, Effect, Fault, FaultId, NodeId, Place};

use super::ask::{frames_begun, word};
use super::{Player, sockets};
use crate::golden::CanOutcome;
use crate::scenario::{CONFINEMENTS, CanPart};

impl Player<'_> {
    /// Breaks something; `step` did it.
    pub(super) fn can_fault(&mut self, step: usize, fault: &Fault) {
        // The bus numbers faults in the order it is told of them. Told first, as some have an effect at once.
        let number = self.can_faults.len();
        let text = format!("can-broke number={number} {}", self.describe(fault));
        self.stage.note("can", text);
        // A scenario that breaks a bus which is not there is refused when it is loaded.
        let array = &mut self.stage.array;
        let id = array.with_can(|can, now| can.inject(now, fault.clone()));
        if let Some(id) = id {
            self.can_faults.insert(id, (step, fault.clone()));
        }
    }

    /// Mends all that lasts of a part of the bus.
    pub(super) fn can_mend(&mut self, part: CanPart) {
        let lasting = self.can_faults.iter().filter(|(_, (_, fault))| {
            let (node, segment) = match fault {
                Fault::Frame { .. } => return part == CanPart::Bus,
                Fault::Disconnected(node) | Fault::Babbling(node) | Fault::BitRate(node, _) => {
                    (Some(*node), None)
                }
                Fault::Short(segment) => (None, Some(*segment)),
            };
            match part {
                CanPart::Bus => true,
                CanPart::Node(wanted) => node == Some(wanted),
                CanPart::Segment(wanted) => segment == Some(wanted),
            }
        });
        let mended: Vec<FaultId> = lasting.map(|(id, _)| *id).collect();
        let array = &mut self.stage.array;
        array.with_can(|can, now| mended.iter().for_each(|id| can.clear(now, *id)));
        let rig = &self.scenario.rig;
        let what = match part {
            CanPart::Bus => String::new(),
            CanPart::Node(node) => format!(" board={}", self.name_on_can(node)),
            CanPart::Segment(segment) => {
                let name = rig.can.segments.get(usize::from(segment));
                format!(" segment={}", name.map_or("", String::as_str))
            }
        };
        self.stage.note("can", "can-mended".to_owned() + &what);
    }

    /// Faults of the bus that had an effect.
    pub(super) fn fired_can_faults(&self) -> BTreeSet<FaultId> {
        let can = self.stage.array.shared().can.as_ref();
        let fired = |id: &FaultId| can.is_some_and(|can| can.fired(*id));
        self.can_faults.keys().copied().filter(fired).collect()
    }

    /// The steps that asked for faults of the bus which had no effect.
    pub(super) fn silent_can_faults(&self) -> Vec<usize> {
        let fired = self.fired_can_faults();
        let silent = self.can_faults.iter().filter(|(id, _)| !fired.contains(id));
        silent.map(|(_, (step, _))| *step).collect()
    }

    /// The bus at the end; nothing where nobody but controllers is on it.
    pub(super) fn can_outcome(&self) -> Option<CanOutcome> {
        let can = self.stage.array.shared().can.as_ref();
        let can = can.filter(|_| !self.scenario.rig.nodes.is_empty())?;
        let boards = (0..).zip(sockets(&self.scenario.rig));
        let states = boards.map(|(node, (name, _))| (name, can.errors(node)));
        let troubled =
            states.filter(|(_, errors)| errors.confinement() != Confinement::ErrorActive);
        let troubled = troubled.map(|(name, errors)| {
            let word = word(&CONFINEMENTS, errors.confinement());
            let (tec, rec) = (errors.transmit_errors(), errors.receive_errors());
            (name, format!("{word} tec={tec} rec={rec}"))
        });
        Some(CanOutcome {
            frames: frames_begun(&self.stage),
            troubled: troubled.collect(),
        })
    }

    fn name_on_can(&self, node: NodeId) -> String {
        let named = sockets(&self.scenario.rig).nth(node.into());
        named.map_or_else(|| node.to_string(), |(name, _)| name)
    }

    fn describe(&self, fault: &Fault) -> String {
        let name = |node: &NodeId| self.name_on_can(*node);
        match fault {
            Fault::Frame {
                from,
                nth,
                effect,
                place,
            } => {
                let word = Effect::WORDS.iter().find(|(_, known)| known == effect);
                let word = word.map_or("?", |(word, _)| word);
                let from = from.as_ref().map(|node| format!(" from={}", name(node)));
                let at = match place {
                    Place::Everywhere => None,
                    Place::At(nodes) => Some(nodes.iter().map(name).collect::<Vec<_>>()),
                };
                let at = at.map(|names| format!(" at={}", names.join(",")));
                let [from, at] = [from, at].map(Option::unwrap_or_default);
                format!("fault={word}{from} nth={nth}{at}")
            }
            Fault::Disconnected(node) => format!("fault=disconnected board={}", name(node)),
            Fault::Babbling(node) => format!("fault=babbling board={}", name(node)),
            Fault::Short(segment) => {
                let segments = &self.scenario.rig.can.segments;
                let segment = segments.get(usize::from(*segment));
                format!("fault=short segment={}", segment.map_or("", String::as_str))
            }
            Fault::BitRate(node, rates) => format!(
                "fault=bit-rate board={} bit_rate={} data_bit_rate={}",
                name(node),
                rates.nominal,
                rates.data
            ),
        }
    }
}
