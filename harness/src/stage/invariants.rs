use std::collections::BTreeSet;

use devices::event::DeviceEvent;
use devices::time::Nanos;
use emulator::array::{Array, ArrayEvent, EventKind, Source, slot_letter};

use super::view::{BoardView, State, words};

/// Midplane lock of LUN 0 in the reference firmware (firmware manual).
const LUN0_LOCK: u32 = 1;

/// What a scenario says will happen although it breaks a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Declared {
    /// Pairs of application versions that may run beside each other, smaller first.
    pub mixed: BTreeSet<(String, String)>,
    /// Boards (by slot) that may end in another state than operational.
    pub down: BTreeSet<usize>,
}

/// A rule that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// When.
    pub at: Nanos,
    /// Which rule, in one word with dashes.
    pub rule: &'static str,
    /// What was seen.
    pub what: String,
}

#[derive(Clone, Debug)]
pub(super) struct Invariants {
    declared: Declared,
    violations: Vec<Violation>,
}

impl Invariants {
    pub(super) fn new(declared: Declared) -> Invariants {
        Invariants {
            declared,
            violations: Vec::new(),
        }
    }

    pub(super) fn violations(&self) -> &[Violation] {
        &self.violations
    }

    pub(super) fn declared_mut(&mut self) -> &mut Declared {
        &mut self.declared
    }

    /// Looks at the views after `event` was taken into them.
    pub(super) fn take(&mut self, event: &ArrayEvent, views: &[BoardView], array: &Array) {
        let (EventKind::Device(DeviceEvent::Trace(trace)), Source::Board(slot)) =
            (&event.kind, event.source)
        else {
            return;
        };
        let mut broken = |rule, what| {
            self.violations.push(Violation {
                at: event.at,
                rule,
                what,
            })
        };
        let letter = slot_letter(slot);
        match words(trace).0 {
            "lun-owned" => {
                let midplane = &array.shared().midplane;
                let owner = midplane.lock_owner(LUN0_LOCK);
                if owner != u32::try_from(slot).ok() {
                    broken(
                        "one-owner",
                        format!("{letter} serves LUN 0 without owning its lock"),
                    );
                }
                for (other, view) in views.iter().enumerate() {
                    let fenced = midplane.fenced(u32::try_from(other).unwrap_or(u32::MAX));
                    if other != slot && view.owns_lun && !fenced {
                        let other = slot_letter(other);
                        broken(
                            "one-owner",
                            format!("{letter} and {other} both serve LUN 0"),
                        );
                    }
                }
            }
            "application-started" => {
                let own = views.get(slot).and_then(|view| view.application.clone());
                let Some(own) = own else { return };
                if views.get(slot).and_then(|view| view.l3.as_ref()) != Some(&own) {
                    broken(
                        "own-version",
                        format!("{letter} runs application {own} of another L3"),
                    );
                }
                for (other, view) in views.iter().enumerate() {
                    let Some(theirs) = view.application.as_ref().filter(|_| other != slot) else {
                        continue;
                    };
                    let pair = (
                        own.clone().min(theirs.clone()),
                        own.clone().max(theirs.clone()),
                    );
                    if *theirs != own && !self.declared.mixed.contains(&pair) {
                        let other = slot_letter(other);
                        let what = format!("{letter} runs {own} beside {other} with {theirs}");
                        self.violations.push(Violation {
                            at: event.at,
                            rule: "no-mix",
                            what,
                        });
                    }
                }
            }
            _ => {}
        }
    }

    /// Boards that should serve and do not, at the end of a run.
    pub(super) fn bricked(&self, views: &[BoardView], array: &Array) -> Vec<Violation> {
        let boards = array.boards().iter().zip(views).enumerate();
        boards
            .filter(|(slot, (board, view))| {
                board.powered()
                    && view.state != State::Operational
                    && !self.declared.down.contains(slot)
            })
            .map(|(slot, (_, view))| Violation {
                at: array.now(),
                rule: "not-bricked",
                what: format!("{} ends {}", slot_letter(slot), view.state.as_str()),
            })
            .collect()
    }
}
