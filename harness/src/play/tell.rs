//! What the reports are told while a scenario plays.

use std::collections::BTreeSet;

use devices::can::{Ending, FaultId};

use super::ask::frames_begun;
use super::nodes::nodes_alike;
use super::{Answered, PlayError, Player, sockets};
use crate::report::{Figure, Line, Record, Sink, SinkError};
use crate::scenario::{Action, Step};

/// Frames that are kept between two steps; a step with more loses the last ones.
const FRAMES_OF_A_STEP: usize = 1 << 20;

/// How much of what there is to tell was told.
#[derive(Clone, Debug, Default)]
pub(super) struct Told {
    timeline: usize,
    cuts: usize,
    can_faults: BTreeSet<FaultId>,
}

impl Told {
    /// The story went back to where the timeline had `timeline` entries and `cuts` cuts had fired.
    /// What was not told by then never will be.
    pub(super) fn go_back(&mut self, timeline: usize, cuts: usize, can_faults: BTreeSet<FaultId>) {
        *self = Told {
            timeline,
            cuts,
            can_faults,
        };
    }

    /// The story went back to where `cuts` cuts and `can_faults` had fired; its timeline goes on.
    pub(super) fn undo_faults(&mut self, cuts: usize, can_faults: BTreeSet<FaultId>) {
        self.cuts = cuts;
        self.can_faults = can_faults;
    }
}

impl Player<'_> {
    fn tell(&self, sink: &mut dyn Sink, record: Record) -> Result<(), SinkError> {
        sink.take(&Line::of(&self.scenario.id, record))
    }

    pub(super) fn tell_step(
        &self,
        index: usize,
        step: &Step,
        sink: &mut dyn Sink,
    ) -> Result<(), PlayError> {
        let text = step.text.clone();
        Ok(self.tell(
            sink,
            Record::StepStarted {
                step: index,
                line: step.line,
                text,
            },
        )?)
    }

    /// Has the CAN bus keep its frames for reports.
    pub fn record_can_frames(&mut self) {
        if let Some(can) = &mut self.stage.array.shared_mut().can {
            can.record_frames(FRAMES_OF_A_STEP);
        }
    }

    /// Tells of the frames on the CAN bus since the last call.
    fn tell_can_frames(&mut self, sink: &mut dyn Sink) -> Result<(), PlayError> {
        let can = self.stage.array.shared_mut().can.as_mut();
        let frames = can.map(|can| can.take_log().0).unwrap_or_default();
        let rig = &self.scenario.rig;
        let names: Vec<String> = sockets(rig).map(|(name, _)| name).collect();
        for frame in frames {
            let named = |names: &[String], index: u16| names.get(usize::from(index)).cloned();
            let record = Record::CanFrame {
                time: frame.ends,
                place: named(&names, frame.node).unwrap_or_default(),
                segment: named(&rig.can.segments, frame.island).unwrap_or_default(),
                frame: frame.frame,
                error: match frame.ending {
                    Ending::Good => None,
                    Ending::Error(error) => Some(error),
                },
            };
            self.tell(sink, record)?;
        }
        Ok(())
    }

    /// Tells of everything that happened since the last call.
    pub(super) fn tell_news(&mut self, sink: &mut dyn Sink) -> Result<(), PlayError> {
        self.tell_can_frames(sink)?;
        for entry in self.stage.timeline().iter().skip(self.told.timeline) {
            let (time, place) = (entry.at, entry.who.clone());
            let record = match entry.what.strip_prefix("| ") {
                Some(text) => Record::ConsoleLine {
                    time,
                    place,
                    text: text.to_owned(),
                },
                None => Record::Happened {
                    time,
                    place,
                    text: entry.what.clone(),
                },
            };
            self.tell(sink, record)?;
        }
        self.told.timeline = self.stage.timeline().len();
        for cut in self.stage.cuts_fired().iter().skip(self.told.cuts) {
            if let Some(step) = self.armed.get(cut).copied() {
                let text = self
                    .scenario
                    .steps
                    .get(step)
                    .map_or("", |step| step.text.as_str());
                let time = self.stage.array.now();
                self.tell(
                    sink,
                    Record::FaultFired {
                        step,
                        time,
                        text: text.to_owned(),
                    },
                )?;
            }
        }
        self.told.cuts = self.stage.cuts_fired().len();
        let fired = self.fired_can_faults();
        for id in fired.difference(&self.told.can_faults) {
            let step = self.can_faults.get(id).map_or(0, |(step, _)| *step);
            let text = self.scenario.steps.get(step);
            let record = Record::FaultFired {
                step,
                time: self.stage.array.now(),
                text: text.map_or("", |step| step.text.as_str()).to_owned(),
            };
            self.tell(sink, record)?;
        }
        self.told.can_faults = fired;
        Ok(())
    }

    pub(super) fn tell_answers(
        &self,
        index: usize,
        step: &Step,
        answers: &[Answered],
        sink: &mut dyn Sink,
    ) -> Result<(), PlayError> {
        for answer in answers {
            let silent_cut = matches!(step.action, Action::Cut(_) | Action::AwaitCuts { .. });
            let record = if silent_cut && !answer.passed {
                Record::FaultSilent {
                    step: index,
                    text: answer.message.clone(),
                }
            } else {
                Record::Expectation {
                    id: self.scenario.expectation_id(index, answer.part),
                    line: step.line,
                    passed: answer.passed,
                    message: answer.message.clone(),
                    proves: step.proves.clone(),
                }
            };
            self.tell(sink, record)?;
        }
        Ok(())
    }

    /// Tells what holds in every scenario and did not hold in this one; whether all held.
    ///
    /// # Errors
    /// The report cannot be written.
    pub fn tell_invariants(&mut self, sink: &mut dyn Sink) -> Result<bool, PlayError> {
        let mut good = true;
        for violation in self.broken_rules() {
            good = false;
            let record = Record::InvariantBroken {
                invariant: violation.rule.as_str().to_owned(),
                time: violation.at,
                text: violation.what.clone(),
            };
            self.tell(sink, record)?;
        }
        for (id, _) in self.stage.array.armed() {
            let step = self.armed.get(&id).copied().unwrap_or(0);
            let text = self
                .scenario
                .steps
                .get(step)
                .map_or("", |step| step.text.as_str());
            self.tell(
                sink,
                Record::FaultSilent {
                    step,
                    text: text.to_owned(),
                },
            )?;
        }
        for step in self.silent_can_faults() {
            let text = self.scenario.steps.get(step);
            let text = text.map_or("", |step| step.text.as_str()).to_owned();
            self.tell(sink, Record::FaultSilent { step, text })?;
        }
        Ok(good)
    }

    /// Tells the numbers of the run.
    ///
    /// # Errors
    /// The report cannot be written.
    pub fn tell_figures(&self, sink: &mut dyn Sink) -> Result<(), PlayError> {
        let figure = |name: String, value: u64, unit: &str| Figure {
            name,
            // Counts of a run are far below 2^53.
            #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
            value: value as f64,
            unit: unit.to_owned(),
        };
        let mut figures = Vec::new();
        for (slot, view) in self.stage.views().iter().enumerate() {
            let letter = emulator::array::slot_letter(slot);
            let exits = self
                .stage
                .array
                .boards()
                .get(slot)
                .map_or(0, |b| b.counters().exits);
            figures.push(figure(
                format!("boots of {letter}"),
                u64::from(view.boots),
                "boots",
            ));
            figures.push(figure(format!("VM exits of {letter}"), exits, "exits"));
        }
        for nodes in nodes_alike(&self.stage, &self.scenario.rig) {
            let words = [&nodes.kind, &nodes.state, &nodes.version];
            let words: Vec<&str> = words.into_iter().map(String::as_str).collect();
            let name = words.join(" ").trim_end().to_owned();
            figures.push(figure(name, nodes.names.len() as u64, "nodes"));
        }
        if self.stage.array.shared().can.is_some() {
            let frames = frames_begun(&self.stage);
            figures.push(figure("frames on the CAN bus".to_owned(), frames, "frames"));
        }
        let operations = self.stage.operations().values().sum();
        figures.push(figure(
            "persistent operations".to_owned(),
            operations,
            "operations",
        ));
        Ok(self.tell(sink, Record::Figures { figures })?)
    }
}
