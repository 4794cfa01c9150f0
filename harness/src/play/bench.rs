//! The bench on this machine.

use emulator::engine::EngineChoice;

use super::{PlayError, Player};
use crate::golden::Outcome;
use crate::report::Sink;
use crate::runner::{Bench, BenchError, BootRequest, SweepPlan, SweepReport};
use crate::scenario::Scenario;

/// Plays on one engine of this machine.
#[derive(Clone, Debug)]
pub struct LocalBench {
    engine: EngineChoice,
}

impl LocalBench {
    /// The bench on `engine`.
    pub fn new(engine: EngineChoice) -> LocalBench {
        LocalBench { engine }
    }
}

impl From<PlayError> for BenchError {
    fn from(error: PlayError) -> Self {
        match error {
            PlayError::Report(error) => BenchError::Report(error),
            PlayError::Build(error) => BenchError::Firmware {
                what: chain(&error),
            },
            PlayError::Wiring(_) | PlayError::Array(_) => BenchError::NoEngine {
                what: chain(&error),
            },
        }
    }
}

/// An error with everything that caused it, in one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text = format!("{text}: {next}");
        cause = next.source();
    }
    text
}

impl Bench for LocalBench {
    fn play(&self, scenario: &Scenario, sink: &mut dyn Sink) -> Result<Outcome, BenchError> {
        let mut player = Player::new(scenario, &self.engine)?;
        if sink.wants_can_frames() {
            player.record_can_frames();
        }
        for index in 0..scenario.steps.len() {
            if !player.play_step(index, sink)? {
                break;
            }
        }
        player.tell_invariants(sink)?;
        player.tell_figures(sink)?;
        Ok(player.outcome())
    }

    fn boot(&self, request: &BootRequest) -> Result<(), BenchError> {
        crate::desk::run(request, &self.engine)
    }

    fn sweep(&self, plan: &SweepPlan, sink: &mut dyn Sink) -> Result<SweepReport, BenchError> {
        crate::sweep::run(plan, &self.engine, sink)
    }
}
