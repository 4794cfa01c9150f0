//! What the commands need of the machine, and everything around it that needs no machine.
//!
//! * [`Bench`] — plays a scenario, boots an array interactively, plays one case of a sweep. Whoever owns
//!   the emulator implements it; [`bench()`] hands it out.
//! * [`play_all`] — plays many scenarios at a time, judges each and compares it with its golden.
//! * [`PlannedCut`], [`Shard`], [`SweepPlan`] — what a sweep is asked to do.

mod bench;
mod engine;
mod pool;
mod sweep;

pub use bench::{Bench, BenchError, BootRequest, bench, debugged_bench};
pub use engine::{Engine, Engines};
pub use pool::{GoldenPolicy, PlayOptions, play_all};
pub use sweep::{PlannedCut, Shard, SweepFailure, SweepPlan, SweepReport};
