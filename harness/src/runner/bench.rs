use std::path::PathBuf;
use std::sync::Arc;

use emulator::engine::Debugging;
use emulator::rig::Rig;
use thiserror::Error;

use super::engine::Engines;
use super::sweep::{SweepPlan, SweepReport};
use crate::golden::Outcome;
use crate::play::LocalBench;
use crate::report::{Sink, SinkError};
use crate::scenario::Scenario;
use crate::scenario::contents::Build;

/// The bench could not do its part: no verdict on the firmware.
#[derive(Debug, Error)]
pub enum BenchError {
    /// There is no engine to run firmware on.
    #[error("no CPU engine: {what}")]
    NoEngine {
        /// What is missing, and the command that mends it.
        what: String,
    },
    /// Firmware images of the reference builds are missing or unreadable.
    #[error("firmware: {what}")]
    Firmware {
        /// What is missing, and the command that mends it.
        what: String,
    },
    /// A state directory is not one, or of another rig.
    #[error("{what}")]
    State {
        /// The file, what is wrong with it, and the remedy.
        what: String,
    },
    /// Another process has what is needed.
    #[error("{what}")]
    Busy {
        /// What is in use, by whom, and the remedy.
        what: String,
    },
    /// The host refused something.
    #[error("{what}")]
    Host {
        /// What was being done.
        what: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// A report cannot be written.
    #[error(transparent)]
    Report(#[from] SinkError),
}

/// An interactive array.
#[derive(Debug)]
pub struct BootRequest {
    /// The rig.
    pub rig: Rig,
    /// What is in all banks, and on the array, where the state directory is new.
    pub firmware: Build,
    /// Where media are kept between runs; nothing: in memory.
    pub state: Option<PathBuf>,
    /// Decides every detail left open.
    pub seed: u64,
    /// Where debuggers find the boards: a TCP port for slot A, those after it for the others.
    pub debugger: Option<u16>,
    /// A CAN interface of this machine that joins the array's bus.
    pub can_bridge: Option<String>,
}

/// Whoever owns an emulator.
///
/// `play` tells the sink of steps, events, expectations, faults, invariants and figures, in the order
/// of virtual time; it does not judge, compare goldens or say that it started or finished.
pub trait Bench: Sync {
    /// Plays a scenario to its end, or until it makes no sense to go on.
    ///
    /// # Errors
    /// The bench could not do its part. Whatever firmware does is no error.
    fn play(&self, scenario: &Scenario, sink: &mut dyn Sink) -> Result<Outcome, BenchError>;

    /// Plays an interactive array until its operator leaves.
    ///
    /// # Errors
    /// As for [`Bench::play`].
    fn boot(&self, request: &BootRequest) -> Result<(), BenchError>;

    /// Plays a scenario once for every cut of the plan.
    ///
    /// # Errors
    /// As for [`Bench::play`].
    fn sweep(&self, plan: &SweepPlan, sink: &mut dyn Sink) -> Result<SweepReport, BenchError>;
}

/// The bench on these engines.
///
/// # Errors
/// This machine has no such engine.
pub fn bench(engines: &Engines) -> Result<Box<dyn Bench>, BenchError> {
    Ok(Box::new(LocalBench::new(engines.choose()?)))
}

/// The bench on these engines, where debuggers find board A at that TCP port of this machine and the others
/// at those after it, as far as they are on QEMU.
///
/// # Errors
/// This machine has no such engine.
pub fn debugged_bench(engines: &Engines, port: u16) -> Result<Box<dyn Bench>, BenchError> {
    let mut choice = engines.choose()?;
    let leave = Arc::default();
    choice.let_in(&Debugging { port, leave });
    Ok(Box::new(LocalBench::new(choice)))
}
