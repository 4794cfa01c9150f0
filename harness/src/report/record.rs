use devices::can::{BusError, Frame as CanFrame};
use devices::time::Nanos;
use serde::{Deserialize, Serialize};

use crate::coverage::RowId;
use crate::scenario::ExpectationId;

/// One record, and the scenario it belongs to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    /// [`crate::scenario::Scenario::id`]; nothing: the run as a whole.
    pub scenario: Option<String>,
    /// What there is to say.
    pub record: Record,
}

/// What a run has to say. The order within a scenario is that of its virtual time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Record {
    /// The run begins.
    RunStarted {
        /// How many scenarios or cases are to be played.
        planned: usize,
        /// How many at a time.
        jobs: usize,
    },
    /// A scenario begins.
    ScenarioStarted {
        /// The one-line story.
        name: String,
        /// Its file.
        path: String,
        /// The rig it plays on.
        rig: String,
        /// Its seed.
        seed: u64,
        /// How many steps it has.
        steps: usize,
        /// Places in the chassis that get a lane in a timeline: `A`, `B`, `shelf`.
        places: Vec<String>,
        /// The command that plays it again, alone.
        repeat: String,
    },
    /// A step begins.
    StepStarted {
        /// Index, from 0.
        step: usize,
        /// Line of the file.
        line: usize,
        /// The step as it stands in the file.
        text: String,
    },
    /// Something happened: an entry of the timeline, past tense.
    Happened {
        /// When.
        time: Nanos,
        /// Where: `A`, `shelf`, `bench` …
        place: String,
        /// `event-name key=value …`
        text: String,
    },
    /// A board printed a line on its console.
    ConsoleLine {
        /// When.
        time: Nanos,
        /// Where.
        place: String,
        /// The line.
        text: String,
    },
    /// A frame was on the CAN bus; told where a report wants it.
    CanFrame {
        /// When it ended.
        time: Nanos,
        /// Who sent it.
        place: String,
        /// A segment that heard it, the first of those that it is joined with.
        segment: String,
        /// The frame.
        frame: CanFrame,
        /// What it ended in, where not in an acknowledgement.
        error: Option<BusError>,
    },
    /// Something that can fail was asked.
    Expectation {
        /// Its name.
        id: ExpectationId,
        /// Line of the file.
        line: usize,
        /// Whether it held.
        passed: bool,
        /// What was expected and what was found.
        message: String,
        /// Rows it helps to prove.
        proves: Vec<RowId>,
    },
    /// A fault did what it was there for.
    FaultFired {
        /// Index of the step that placed it.
        step: usize,
        /// When.
        time: Nanos,
        /// Which.
        text: String,
    },
    /// A fault never fired: the scenario tested something else than it says.
    FaultSilent {
        /// Index of the step that placed it.
        step: usize,
        /// Which, and how far it got.
        text: String,
    },
    /// Something that holds in every scenario did not.
    InvariantBroken {
        /// Its word.
        invariant: String,
        /// When.
        time: Nanos,
        /// What was found.
        text: String,
    },
    /// Numbers of the scenario.
    Figures {
        /// Name and value, in the order to show them.
        figures: Vec<Figure>,
    },
    /// The outcome was compared with its golden.
    Golden {
        /// The golden's file.
        path: String,
        /// Whether it is the same.
        same: bool,
        /// The difference, line by line.
        difference: String,
        /// It was written anew because the operator blessed it.
        blessed: bool,
    },
    /// A scenario ended.
    ScenarioFinished {
        /// How.
        verdict: Verdict,
        /// Why, where it did not pass.
        message: String,
        /// Virtual time at the end.
        time: Nanos,
        /// Real time it took. No golden and no verdict depends on it.
        wall_ms: u64,
    },
    /// A sweep is a case further.
    SweepProgress {
        /// Cases played so far.
        played: u64,
        /// Cases there are, as far as they were found.
        cases: u64,
        /// Cases that failed so far.
        failed: usize,
    },
    /// The run ended.
    RunFinished {
        /// How.
        totals: Totals,
        /// Real time it took.
        wall_ms: u64,
    },
}

/// A number with its name and unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    /// What it counts or measures.
    pub name: String,
    /// The number.
    pub value: f64,
    /// Of what.
    pub unit: String,
}

/// How a scenario ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Everything held.
    Passed,
    /// The firmware, or the story, is wrong.
    Failed,
    /// The bench could not play it: no verdict on the firmware.
    Broken,
}

/// How many ended how.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Everything held.
    pub passed: usize,
    /// Something did not.
    pub failed: usize,
    /// The bench could not tell.
    pub broken: usize,
}

impl Totals {
    /// Counts one more.
    pub fn count(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Passed => self.passed += 1,
            Verdict::Failed => self.failed += 1,
            Verdict::Broken => self.broken += 1,
        }
    }
}

impl Line {
    /// A record of one scenario.
    pub fn of(scenario: &str, record: Record) -> Line {
        Line {
            scenario: Some(scenario.to_owned()),
            record,
        }
    }

    /// A record of the run as a whole.
    pub fn of_run(record: Record) -> Line {
        Line {
            scenario: None,
            record,
        }
    }
}
