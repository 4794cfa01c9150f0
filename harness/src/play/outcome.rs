//! The end of a scenario, for its golden.

use emulator::array::{Source, slot_letter};
use emulator::rig::Slot;

use super::act::state_of;
use super::ask::{shelf_state, word};
use super::nodes::nodes_alike;
use super::{Player, index, sockets, workload};
use crate::golden::{ArrayOutcome, BoardOutcome, Entry, HostOutcome, Outcome, Panel};
use crate::inspect::{bank_image, preferred};
use crate::scenario::{BoardState, Invariant, Preferred, ShelfState, Socket};
use crate::stage::Violation;

/// Pixels of a panel (board manual §9).
const PANEL: (u32, u32) = (256, 128);
/// Midplane lock of LUN 0 in the reference firmware.
const LUN0_LOCK: u32 = 1;

impl Player<'_> {
    /// Everything a golden compares.
    pub fn outcome(&self) -> Outcome {
        let scenario = self.scenario;
        let timeline = self.stage.timeline().iter().map(|entry| Entry {
            time: entry.at,
            place: entry.who.clone(),
            text: entry.what.clone(),
        });
        let shared = self.stage.array.shared();
        let owner = shared.midplane.lock_owner(LUN0_LOCK);
        let owner = owner.map_or("none".to_owned(), |slot| {
            slot_letter(super::usize_of(slot)).to_string()
        });
        Outcome {
            scenario: scenario.id.clone(),
            name: scenario.name.clone(),
            rig: scenario.rig.name.clone(),
            seed: scenario.seed,
            runs_freely: self.stage.array.runs_freely(),
            waived: scenario
                .waived
                .iter()
                .map(|(invariant, _)| invariant.as_str().to_owned())
                .collect(),
            end: self.stage.array.now(),
            timeline: timeline.collect(),
            boards: scenario.rig.slots().map(|slot| self.board(slot)).collect(),
            nodes: nodes_alike(&self.stage, &scenario.rig),
            can: self.can_outcome(),
            array: ArrayOutcome {
                preferred: match preferred(&shared.shelf) {
                    Preferred::Absent => "absent".to_owned(),
                    Preferred::Invalid => "invalid".to_owned(),
                    Preferred::Versions { l2, l3 } => format!("l2={l2} l3={l3}"),
                },
                shelf: word(&ShelfState::ALL, shelf_state(shared.shelf.status().state)).to_owned(),
                owners: vec![("lun0".to_owned(), owner)],
            },
            host: workload(scenario).map(|_| self.host_outcome()),
            panels: self.panels(),
        }
    }

    fn board(&self, slot: Slot) -> BoardOutcome {
        let position = index(slot);
        let state = word(&BoardState::ALL, state_of(&self.stage, Socket::Slot(slot))).to_owned();
        let board = self.stage.array.boards().get(position);
        let Some((board, controller)) = board.and_then(|b| Some((b, b.controller()?))) else {
            return BoardOutcome {
                slot: slot.to_string(),
                state,
                ..BoardOutcome::default()
            };
        };
        let view = self
            .stage
            .views()
            .get(position)
            .cloned()
            .unwrap_or_default();
        let rig = &self.scenario.rig;
        let banks = rig.board.flash.bank_table().into_iter().map(|bank| {
            let contents = match bank_image(rig, controller, &bank) {
                Ok(header) => {
                    format!(
                        "{} valid sequence={}",
                        header.version, header.record.sequence
                    )
                }
                Err(defect) => format!("invalid {}", defect.as_str()),
            };
            (bank.name(), contents)
        });
        let shelf = &self.stage.array.shared().shelf;
        BoardOutcome {
            slot: slot.to_string(),
            serial: controller.serial.clone(),
            state,
            role: view.role.unwrap_or_default(),
            version: view.application.unwrap_or_default(),
            boots: u64::from(board.boots()),
            image_bytes_read: shelf.counters(position, "packages").read_bytes,
            banks: banks.collect(),
        }
    }

    fn host_outcome(&self) -> HostOutcome {
        let stage = &self.stage;
        let figures = stage.host.figures();
        let lost = stage
            .host
            .problems()
            .iter()
            .filter(|problem| problem.lost_write)
            .count();
        let outage = stage
            .host
            .outage(devices::time::Nanos::ZERO, stage.array.now());
        HostOutcome {
            reads: figures.reads,
            writes: figures.writes,
            errors: figures.failed,
            lost: lost as u64,
            failovers: stage.host.path_switches(),
            outages: vec![("lun0".to_owned(), outage)],
        }
    }

    fn panels(&self) -> Vec<Panel> {
        if self.stage.array.runs_freely() {
            // Nobody knows what a picture of that moment shows.
            return Vec::new();
        }
        let array = &self.stage.array;
        let sockets = sockets(&self.scenario.rig);
        let boards = sockets
            .filter_map(|(name, socket)| Some((name, array.board(Source::of(socket.unit()))?)));
        let lit = boards.filter(|(_, board)| board.panel().flushes() > 0);
        lit.map(|(name, board)| Panel {
            slot: name,
            width: PANEL.0,
            height: PANEL.1,
            rgb: board
                .panel()
                .pixels()
                .chunks_exact(4)
                .flat_map(|p| [p[0], p[1], p[2]])
                .collect(),
        })
        .collect()
    }

    /// Every rule that was broken on the way or is broken now.
    pub fn broken_rules(&self) -> Vec<Violation> {
        let mut broken = self.stage.violations().to_vec();
        broken.extend(self.end_violations());
        broken
    }

    /// What must hold at the end and does not: boards that cannot boot, writes that are gone.
    fn end_violations(&self) -> Vec<Violation> {
        let mut violations = self.stage.bricked();
        for problem in self
            .stage
            .host
            .problems()
            .iter()
            .filter(|problem| problem.lost_write)
        {
            violations.push(Violation {
                at: problem.at,
                rule: Invariant::NoLostWrite,
                what: problem.what.clone(),
            });
        }
        let waived = |rule| {
            self.scenario
                .waived
                .iter()
                .any(|(waived, _)| *waived == rule)
        };
        violations.retain(|violation| !waived(violation.rule));
        violations
    }
}
