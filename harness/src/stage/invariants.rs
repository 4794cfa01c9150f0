use std::collections::BTreeSet;

use devices::event::DeviceEvent;
use devices::time::Nanos;
use emulator::array::{Array, ArrayEvent, EventKind, Source, slot_letter};
use emulator::rig::Rig;

use super::view::{BoardView, State, word, words};
use crate::inspect::{bank_validity, recorded_pair};
use crate::scenario::Invariant;

/// Midplane lock of LUN 0 in the reference firmware (firmware manual).
const LUN0_LOCK: u32 = 1;

/// What a scenario breaks on purpose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// Rules that are not watched.
    pub waived: BTreeSet<Invariant>,
}

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When.
    pub at: Nanos,
    /// Which rule.
    pub rule: Invariant,
    /// What was seen.
    pub what: String,
}

#[derive(Clone, Debug)]
pub(super) struct Invariants {
    rig: Rig,
    declared: Declared,
    violations: Vec<Violation>,
}

impl Invariants {
    pub(super) fn new(rig: Rig, declared: Declared) -> Invariants {
        Invariants {
            rig,
            declared,
            violations: Vec::new(),
        }
    }

    pub(super) fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// Keeps what was broken in a part of the story that is undone.
    pub(super) fn remember(&mut self, earlier: Invariants) {
        self.violations = earlier.violations;
    }

    /// Looks at the views after `event` was taken into them.
    pub(super) fn take(&mut self, event: &ArrayEvent, views: &[BoardView], array: &Array) {
        let (EventKind::Device(DeviceEvent::Trace(trace)), Source::Board(slot)) =
            (&event.kind, event.source)
        else {
            return;
        };
        let letter = slot_letter(slot);
        let mut broken = Vec::new();
        match words(trace).0 {
            "lun-owned" => {
                let midplane = &array.shared().midplane;
                let owner = midplane.lock_owner(LUN0_LOCK);
                if owner != u32::try_from(slot).ok() {
                    let what = format!("{letter} serves LUN 0 without owning its lock");
                    broken.push((Invariant::OneOwner, what));
                }
                for (other, view) in views.iter().enumerate() {
                    let number = u32::try_from(other).unwrap_or(u32::MAX);
                    // Its word from before it was fenced or held in reset counts no more.
                    let stopped = midplane.fenced(number) || midplane.lines(number).held;
                    if other != slot && view.owns_lun && !stopped {
                        let what = format!("{letter} and {} both serve LUN 0", slot_letter(other));
                        broken.push((Invariant::OneOwner, what));
                    }
                }
            }
            "mixed-versions" | "application-started" => {
                for (other, view) in views.iter().enumerate() {
                    let own = views.get(slot).and_then(|view| view.application.as_ref());
                    let (Some(own), Some(theirs)) = (own, view.application.as_ref()) else {
                        continue;
                    };
                    if other != slot && theirs != own && !is_recorded(array, own, theirs) {
                        let other = slot_letter(other);
                        let what = format!("{letter} runs {own} beside {other} with {theirs}");
                        broken.push((Invariant::NoMix, what));
                    }
                }
            }
            "l2-started" | "l3-started" => {
                let level = if words(trace).0 == "l2-started" { 2 } else { 3 };
                // An application that was loaded from the array never lay in a bank.
                let Some(bank) = word(words(trace).1, "bank") else {
                    return;
                };
                if let Err(why) = bank_validity(&self.rig, array, slot, level, bank) {
                    let what = format!("{letter} runs L{level}{bank}, which is invalid: {why}");
                    broken.push((Invariant::NoInvalidImage, what));
                }
            }
            _ => {}
        }
        for (rule, what) in broken {
            if !self.declared.waived.contains(&rule) {
                self.violations.push(Violation {
                    at: event.at,
                    rule,
                    what,
                });
            }
        }
    }

    /// Boards that have power and ended in an error state, crashed or hung.
    pub(super) fn bricked(&self, views: &[BoardView], array: &Array) -> Vec<Violation> {
        let boards = array.boards().iter().zip(views).enumerate();
        boards
            .filter(|(slot, (board, view))| {
                let slot = u32::try_from(*slot).unwrap_or(u32::MAX);
                let held = array.shared().midplane.lines(slot).held;
                board.powered() && !held && view.state != State::Operational
            })
            .map(|(slot, (_, view))| Violation {
                at: array.now(),
                rule: Invariant::NoBrick,
                what: format!("{} ends {}", slot_letter(slot), view.state.as_str()),
            })
            .collect()
    }
}

/// Whether an upgrade between the two versions is recorded on the array: one is preferred there,
/// the other was preferred before it.
fn is_recorded(array: &Array, own: &str, theirs: &str) -> bool {
    let recorded = recorded_pair(&array.shared().shelf);
    recorded
        .is_some_and(|(new, old)| (new == own && old == theirs) || (new == theirs && old == own))
}
