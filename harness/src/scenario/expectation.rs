use std::fmt;

use serde::{Deserialize, Serialize};

use super::action::{Action, Answer, ConsoleStep, HostAction};
use super::{Scenario, Step};
use crate::coverage::RowId;

/// Names one thing of one scenario that can fail.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ExpectationId {
    /// [`Scenario::id`].
    pub scenario: String,
    /// Index of the step, from 0.
    pub step: usize,
    /// The verb, or the key within `expect`.
    pub part: String,
}

impl fmt::Display for ExpectationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} step {} {}", self.scenario, self.step + 1, self.part)
    }
}

/// Something of a scenario that can fail, as declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// Its name.
    pub id: ExpectationId,
    /// Line of the scenario file.
    pub line: usize,
    /// Rows it helps to prove.
    pub proves: Vec<RowId>,
}

impl Step {
    /// The parts of the step that can fail: what a runner must report as passed or failed.
    pub fn parts(&self) -> Vec<&'static str> {
        match &self.action {
            Action::Expect { checks, .. } => checks.iter().map(|check| check.key()).collect(),
            Action::Await { .. } => vec!["await"],
            Action::AwaitEvent { .. } => vec!["await_event"],
            Action::AwaitText { .. } => vec!["await_text"],
            Action::Console(ConsoleStep {
                answer: Answer::Contains(_) | Answer::Lines(_),
                ..
            }) => vec!["console"],
            Action::Host(HostAction::Verify) => vec!["host"],
            _ => Vec::new(),
        }
    }
}

impl Scenario {
    /// Everything that can fail, in order.
    pub fn expectations(&self) -> Vec<Expectation> {
        let mut all = Vec::new();
        for (index, step) in self.steps.iter().enumerate() {
            for part in step.parts() {
                all.push(Expectation {
                    id: self.expectation_id(index, part),
                    line: step.line,
                    proves: step.proves.clone(),
                });
            }
        }
        all
    }

    /// The name of `part` of step `index`.
    pub fn expectation_id(&self, index: usize, part: &str) -> ExpectationId {
        ExpectationId {
            scenario: self.id.clone(),
            step: index,
            part: part.to_owned(),
        }
    }
}
