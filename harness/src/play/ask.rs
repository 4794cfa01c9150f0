//! What each question of `expect` finds.

use std::collections::{BTreeMap, BTreeSet};

use devices::can::CanBus;
use devices::power::OperationKind;
use emulator::array::Source;
use emulator::rig::Slot;

use super::act::state_of;
use super::{Answered, Mark, Player, answered, index};
use crate::inspect::{bank_state, preferred};
use crate::scenario::{
    Again, BankState, BoardState, Bound, Check, Counter, EventPattern, HostFigure, Preferred, Role,
    RomState, ShelfState, Socket,
};
use crate::stage::Entry;

/// Regions of the volume whose traffic counts as image bytes.
const PACKAGES: &str = "packages";

impl Player<'_> {
    /// Starts counts anew under a name.
    pub(super) fn mark(&mut self, name: String) {
        let stage = &self.stage;
        let mark = Mark {
            at: stage.array.now(),
            timeline: stage.timeline().len(),
            lines: (0..stage.views().len())
                .map(|slot| stage.console(slot).len())
                .collect(),
            boots: stage.views().iter().map(|view| view.boots).collect(),
            counters: (0..stage.views().len())
                .map(|slot| self.counters(slot))
                .collect(),
            node_boots: stage.node_views().iter().map(|view| view.boots).collect(),
            can_frames: frames_begun(stage),
            host: stage.host.figures(),
            lost: lost(stage),
            failovers: stage.host.path_switches(),
        };
        self.marks.insert(name, mark);
    }

    /// Everything the bench counts at a board, since the beginning.
    fn counters(&self, slot: usize) -> BTreeMap<Counter, u64> {
        let stage = &self.stage;
        let shelf = &stage.array.shared().shelf;
        let regions = ["catalogue", PACKAGES, "data"].map(|region| shelf.counters(slot, region));
        let requests = regions
            .iter()
            .map(|r| r.read_requests + r.write_requests)
            .sum();
        let flash = |wanted: OperationKind| {
            let all = stage.operations().iter();
            all.filter(|((source, _, kind), _)| *source == Source::Board(slot) && *kind == wanted)
                .map(|(_, count)| count)
                .sum()
        };
        let exits = stage
            .array
            .boards()
            .get(slot)
            .map_or(0, |board| board.counters().exits);
        BTreeMap::from([
            (Counter::ImageBytesRead, regions[1].read_bytes),
            (Counter::ImageBytesWritten, regions[1].write_bytes),
            (Counter::ShelfRequests, requests),
            (Counter::FlashPrograms, flash(OperationKind::Program)),
            (Counter::FlashErases, flash(OperationKind::Erase)),
            (Counter::Exits, exits),
        ])
    }

    pub(super) fn ask(&self, since: Option<&str>, checks: &[Check]) -> Vec<Answered> {
        // A scenario that names a note it never made is refused when it is loaded.
        let mark = self
            .marks
            .get(since.unwrap_or(""))
            .cloned()
            .unwrap_or_default();
        checks
            .iter()
            .map(|check| self.ask_one(&mark, check))
            .collect()
    }

    fn ask_one(&self, mark: &Mark, check: &Check) -> Answered {
        let mut found = Findings::default();
        let stage = &self.stage;
        let view = |slot: &Slot| stage.views().get(index(*slot));
        match check {
            Check::Boots(wanted) => {
                for (slot, bound) in wanted {
                    let before = mark.boots.get(index(*slot)).copied().unwrap_or(0);
                    let boots = view(slot)
                        .map_or(0, |view| view.boots)
                        .saturating_sub(before);
                    found.bound(&format!("boots of {slot}"), *bound, u64::from(boots));
                }
            }
            Check::State(wanted) => {
                for (slot, state) in wanted {
                    let actual = state_of(stage, Socket::Slot(*slot));
                    let word = |state: BoardState| word(&BoardState::ALL, state);
                    found.same(&format!("state of {slot}"), word(*state), word(actual));
                }
            }
            Check::Role(wanted) => {
                for (slot, role) in wanted {
                    let actual = view(slot).and_then(|view| view.role.as_deref());
                    let what = format!("role of {slot}");
                    found.same(&what, word(&Role::ALL, *role), actual.unwrap_or("none"));
                }
            }
            Check::Version(wanted) => {
                for (slot, version) in wanted {
                    let actual = view(slot).and_then(|view| view.application.as_deref());
                    found.same(
                        &format!("version of {slot}"),
                        version,
                        actual.unwrap_or("none"),
                    );
                }
            }
            Check::Banks(wanted) => self.ask_banks(wanted, &mut found),
            Check::Rom(wanted) => {
                for (slot, state) in wanted {
                    let board = stage.array.boards().get(index(*slot));
                    let actual = match board.map(|board| board.rom().ends_with(&self.rom)) {
                        Some(true) => RomState::Intact,
                        _ => RomState::Altered,
                    };
                    let word = |state: RomState| word(&RomState::ALL, state);
                    found.same(&format!("ROM of {slot}"), word(*state), word(actual));
                }
            }
            Check::Serial(wanted) => {
                for (slot, serial) in wanted {
                    let board = stage.array.boards().get(index(*slot));
                    let controller = board.and_then(|board| board.controller());
                    let actual = controller.map_or("none", |c| c.serial.as_str());
                    found.same(&format!("serial of {slot}"), serial, actual);
                }
            }
            Check::Preferred(wanted) => {
                let actual = preferred(&stage.array.shared().shelf);
                let text = |preferred: &Preferred| match preferred {
                    Preferred::Absent => "absent".to_owned(),
                    Preferred::Invalid => "invalid".to_owned(),
                    Preferred::Versions { l2, l3 } => format!("L2 {l2}, L3 {l3}"),
                };
                found.same("preferred version", &text(wanted), &text(&actual));
            }
            Check::Owner(wanted) => {
                for (lun, slot) in wanted {
                    let owner = self.owner();
                    let text = |slot: Option<String>| slot.unwrap_or("nobody".to_owned());
                    let wanted = text(slot.map(|slot| slot.to_string()));
                    found.same(&format!("owner of {lun}"), &wanted, &text(owner));
                }
            }
            Check::Outage(wanted) => {
                for (lun, bound) in wanted {
                    let outage = stage.host.outage(mark.at, stage.array.now());
                    found.bound(&format!("outage of {lun} in ns"), *bound, outage.0);
                }
            }
            Check::Host(wanted) => {
                let (now, before) = (stage.host.figures(), &mark.host);
                for (figure, bound) in wanted {
                    let actual = match figure {
                        HostFigure::Reads => now.reads - before.reads,
                        HostFigure::Writes => now.writes - before.writes,
                        HostFigure::Errors => now.failed - before.failed,
                        HostFigure::Lost => (lost(stage) - mark.lost) as u64,
                        HostFigure::Failovers => stage.host.path_switches() - mark.failovers,
                    };
                    let what = format!("host {}", word(&HostFigure::ALL, *figure));
                    found.bound(&what, *bound, actual);
                }
            }
            Check::Counters(wanted) => {
                for (slot, counters) in wanted {
                    let now = self.counters(index(*slot));
                    let before = mark.counters.get(index(*slot));
                    for (counter, bound) in counters {
                        let count = |all: &BTreeMap<Counter, u64>| all.get(counter).copied();
                        let before = before.and_then(count).unwrap_or(0);
                        let actual = count(&now).unwrap_or(0).saturating_sub(before);
                        let what = format!("{} of {slot}", word(&Counter::ALL, *counter));
                        found.bound(&what, *bound, actual);
                    }
                }
            }
            Check::Shelf(wanted) => {
                let actual = shelf_state(stage.array.shared().shelf.status().state);
                let word = |state| word(&ShelfState::ALL, state);
                found.same("state of the shelf", word(*wanted), word(actual));
            }
            Check::Nodes(wanted) => {
                for wanted in wanted {
                    self.ask_nodes(mark, wanted, &mut found);
                }
            }
            Check::CanFrames(bound) => {
                let frames = frames_begun(stage) - mark.can_frames;
                found.bound("frames on the CAN bus", *bound, frames);
            }
            Check::Again(wanted) => {
                for (slot, again) in wanted {
                    self.ask_again(mark, *slot, again, &mut found);
                }
            }
            Check::Events(patterns) => {
                let mut rest = self.since(mark);
                for pattern in patterns {
                    if !rest.any(|entry| matches(pattern, entry)) {
                        found.broken(format!("{pattern} did not come, or not in this order"));
                        break;
                    }
                }
            }
            Check::Never(patterns) => {
                for pattern in patterns {
                    if let Some(entry) = self.since(mark).find(|e| matches(pattern, e)) {
                        found.broken(format!("{pattern} came at {}", entry.at));
                    }
                }
            }
            Check::EventCount(wanted) => {
                for (pattern, bound) in wanted {
                    let all = self.since(mark);
                    let count = all.filter(|entry| matches(pattern, entry)).count();
                    found.bound(&format!("{pattern}"), *bound, count as u64);
                }
            }
        }
        found.answer(check.key())
    }

    fn ask_banks(
        &self,
        wanted: &BTreeMap<Slot, BTreeMap<(u8, emulator::rig::BankLetter), BankState>>,
        found: &mut Findings,
    ) {
        let rig = &self.scenario.rig;
        let table = rig.board.flash.bank_table();
        for (slot, banks) in wanted {
            let board = self.stage.array.boards().get(index(*slot));
            let Some(controller) = board.and_then(|board| board.controller()) else {
                found.broken(format!("there is no board in slot {slot}"));
                continue;
            };
            for ((level, letter), state) in banks {
                let entry = table
                    .iter()
                    .find(|bank| (bank.level, bank.bank) == (*level, *letter));
                let Some(entry) = entry else { continue };
                let text = |state: &BankState| match state {
                    BankState::Version(version) => version.clone(),
                    BankState::Invalid => "invalid".to_owned(),
                    BankState::Empty => "empty".to_owned(),
                };
                let actual = bank_state(rig, controller, entry);
                let what = format!("bank {} of {slot}", entry.name());
                found.same(&what, &text(state), &text(&actual));
            }
        }
    }

    /// Compares what a board said before the mark with what it said after it.
    fn ask_again(&self, mark: &Mark, slot: Slot, again: &Again, found: &mut Findings) {
        let Again { said, says } = again;
        let position = index(slot);
        let from = mark.lines.get(position).copied().unwrap_or(0);
        let lines = |word| {
            let lines = self.stage.whole_lines(position);
            lines.filter_map(move |(number, line)| Some((number, line.strip_prefix(word)?)))
        };
        // The word and no longer one.
        let after: BTreeSet<&str> = lines(says.as_str())
            .filter(|(number, rest)| *number >= from && rest.starts_with(' '))
            .map(|(_, rest)| rest)
            .collect();
        let before = lines(said.as_str())
            .filter(|(number, rest)| *number < from && rest.starts_with(' '))
            .map(|(_, rest)| rest);
        let mut count = 0;
        for rest in before {
            count += 1;
            if !after.contains(rest) {
                found.broken(format!("{slot} said `{said}{rest}` and not again"));
            }
        }
        match count {
            0 => found.broken(format!("{slot} never said `{said} …` before the note")),
            _ => found
                .good
                .push(format!("{slot} said {count} times `{said} …`, and again")),
        }
    }

    /// Who owns LUN 0, as the boards and the midplane agree.
    pub(super) fn owner(&self) -> Option<String> {
        let views = self.stage.views().iter().enumerate();
        let mut owners = views
            .filter(|(_, view)| view.owns_lun)
            .map(|(slot, _)| slot);
        let owner = owners.next()?;
        Some(emulator::array::slot_letter(owner).to_string())
    }

    fn since(&self, mark: &Mark) -> impl Iterator<Item = &Entry> {
        let entries = self.stage.timeline().get(mark.timeline..);
        entries
            .unwrap_or_default()
            .iter()
            .filter(|entry| !entry.undone)
    }
}

fn lost(stage: &crate::stage::Stage) -> usize {
    stage
        .host
        .problems()
        .iter()
        .filter(|problem| problem.lost_write)
        .count()
}

/// Frames on the CAN bus so far, those included that ended in an error.
pub(super) fn frames_begun(stage: &crate::stage::Stage) -> u64 {
    let can = stage.array.shared().can.as_ref();
    can.map_or(0, CanBus::frames_begun)
}

fn matches(pattern: &EventPattern, entry: &Entry) -> bool {
    pattern.matches(&entry.who, &entry.what)
}

pub(super) fn shelf_state(state: devices::shelf::ShelfState) -> ShelfState {
    match state {
        devices::shelf::ShelfState::Optimal => ShelfState::Optimal,
        devices::shelf::ShelfState::Degraded => ShelfState::Degraded,
        devices::shelf::ShelfState::Rebuilding => ShelfState::Rebuilding,
        devices::shelf::ShelfState::Failed => ShelfState::Failed,
    }
}

/// The word of a value in a table of words.
pub(super) fn word<T: PartialEq + Copy>(table: &[(&'static str, T)], value: T) -> &'static str {
    table
        .iter()
        .find(|(_, known)| *known == value)
        .map_or("?", |(word, _)| word)
}

/// What was found, in order; a question with several parts holds if all do.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) good: Vec<String>,
    pub(super) bad: Vec<String>,
}

impl Findings {
    pub(super) fn bound(&mut self, what: &str, wanted: Bound, actual: u64) {
        if wanted.holds(actual) {
            self.good.push(format!("{what}: {actual}"));
        } else {
            self.bad
                .push(format!("{what}: {actual}, expected {wanted}"));
        }
    }

    pub(super) fn same(&mut self, what: &str, wanted: &str, actual: &str) {
        if wanted == actual {
            self.good.push(format!("{what}: {actual}"));
        } else {
            self.bad
                .push(format!("{what}: {actual}, expected {wanted}"));
        }
    }

    pub(super) fn broken(&mut self, what: String) {
        self.bad.push(what);
    }

    fn answer(self, part: &'static str) -> Answered {
        let passed = self.bad.is_empty();
        let message = if passed { self.good } else { self.bad }.join("; ");
        answered(part, passed, message)
    }
}
