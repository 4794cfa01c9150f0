//! A power cut at every persistent operation of a scenario.
//!
//! The scenario is played once, with many checkpoints on the way, and every page program, erase,
//! member-disk write and flush is listed (`list.rs`). A case is one of them in one shape: the array is
//! brought back to the last checkpoint before it, runs on to that operation and loses power there — a
//! flash operation takes its board down, a shelf operation the whole chassis. Or a case is a frame on the CAN bus
//! and one of the boards, which loses its power there. Then power returns and the array must come back by itself
//! (`case.rs`).

mod case;
mod keep;
mod list;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Instant;

use self::case::{Judge, Judged, Share};
pub use self::keep::case_folder;
use self::list::{Listed, Planned, list};
use crate::play::{PlayError, Player};
use crate::report::{Line, Record, Sink};
use crate::runner::{BenchError, SweepFailure, SweepPlan, SweepReport};
use devices::power::OperationKind;
use emulator::engine::EngineChoice;

/// Failures after which a sweep stops: the rest would say the same.
const MOST_FAILURES: usize = 20;
/// With a budget, deeper cases are played in this many rounds, so that every first cut gets a few
/// second ones before any gets all.
const ROUNDS: u64 = 64;

/// Plays a sweep.
///
/// # Errors
/// The bench cannot play.
pub fn run(
    plan: &SweepPlan,
    engine: &EngineChoice,
    sink: &mut dyn Sink,
) -> Result<SweepReport, BenchError> {
    if !engine.makes_checkpoints() {
        let what = format!(
            "a sweep goes back to checkpoints, which the engine {engine} does not make; use --engine kvm"
        );
        return Err(BenchError::NoEngine { what });
    }
    let begin = Instant::now();
    // A single case says itself what it is.
    let first = plan.only.first();
    let frames = plan.frames || first.is_some_and(|cut| cut.operation == OperationKind::CanFrame);
    let mut listed = list(&plan.scenario, engine, frames)?;
    let mut nth = 0;
    listed.cases.retain(|case| {
        nth += 1;
        match plan.only.first() {
            Some(only) => case.cut == *only,
            None => plan.shard.holds(nth - 1),
        }
    });
    if plan.budget.is_some() {
        // What is left out when time is up should be spread over the whole story.
        let mut all: Vec<(u64, Planned)> = (0..).zip(listed.cases).collect();
        all.sort_by_key(|(nth, _)| devices::power::mix(plan.scenario.seed, *nth));
        listed.cases = all.into_iter().map(|(_, case)| case).collect();
    }
    let rounds = if plan.budget.is_some() && plan.depth > 1 {
        ROUNDS
    } else {
        1
    };
    let sweep = Sweep {
        plan,
        engine,
        listed: &listed,
        begin,
        rounds,
        next: AtomicUsize::new(0),
        stop: AtomicBool::new(false),
        report: Mutex::new(SweepReport {
            operations: listed.operations,
            cases: listed.cases.len() as u64,
            ..SweepReport::default()
        }),
    };
    if plan.only.len() == 1 && listed.cases.is_empty() {
        lock(&sweep.report).silent.push(plan.only.clone());
    }
    let broken: Mutex<Option<PlayError>> = Mutex::new(None);
    let (sender, progress) = channel();
    let told = thread::scope(|scope| {
        for _ in 0..plan.jobs.max(1) {
            let sender = sender.clone();
            let (sweep, broken) = (&sweep, &broken);
            scope.spawn(move || {
                if let Err(error) = sweep.work(&sender) {
                    *lock(broken) = Some(error);
                    sweep.stop.store(true, Ordering::Relaxed);
                }
            });
        }
        drop(sender);
        let told = progress
            .iter()
            .try_for_each(|record| sink.take(&Line::of_run(record)));
        if told.is_err() {
            sweep.stop.store(true, Ordering::Relaxed);
        }
        told
    });
    told?;
    if let Some(error) = broken.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error.into());
    }
    let report = sweep.report.into_inner();
    let mut report = report.unwrap_or_else(PoisonError::into_inner);
    report.failures.sort_by(|a, b| a.cuts.cmp(&b.cuts));
    report.silent.sort();
    Ok(report)
}

/// A sweep in progress, shared by its threads.
struct Sweep<'a> {
    plan: &'a SweepPlan,
    engine: &'a EngineChoice,
    listed: &'a Listed,
    begin: Instant,
    rounds: u64,
    next: AtomicUsize,
    stop: AtomicBool,
    report: Mutex<SweepReport>,
}

impl Sweep<'_> {
    /// Whether the budget is used up.
    fn over(&self) -> bool {
        let budget = self.plan.budget;
        budget.is_some_and(|budget| self.begin.elapsed() > budget)
    }

    /// Plays cases until there are no more.
    fn work(&self, progress: &Sender<Record>) -> Result<(), PlayError> {
        let over = || self.over() || self.stop.load(Ordering::Relaxed);
        let mut judge = Judge {
            player: Player::new(&self.plan.scenario, self.engine)?,
            plan: self.plan,
            listed: self.listed,
            share: Share::ALL,
            over: &over,
            judged: Judged::default(),
        };
        let count = self.listed.cases.len();
        loop {
            let item = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(round) = item.checked_div(count).map(|round| round as u64) else {
                return Ok(());
            };
            if round >= self.rounds {
                return Ok(());
            }
            if over() {
                lock(&self.report).cut_short = true;
                return Ok(());
            }
            judge.share = Share {
                nth: round,
                of: self.rounds,
            };
            judge.play(&self.listed.cases[item % count])?;
            let judged = std::mem::take(&mut judge.judged);
            let mut report = lock(&self.report);
            report.cases += judged.deeper;
            report.played += judged.played;
            report.silent.extend(judged.silent);
            report.failures.extend(judged.failures);
            // Nobody listens any more where a report could not be written.
            let _ = progress.send(Record::SweepProgress {
                played: report.played,
                cases: report.cases,
                failed: report.failures.len(),
            });
            if report.failures.len() >= MOST_FAILURES {
                self.stop.store(true, Ordering::Relaxed);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A failure with its cuts.
fn failure(cuts: &[Planned], message: String) -> SweepFailure {
    SweepFailure {
        cuts: cuts.iter().map(|planned| planned.cut).collect(),
        message,
    }
}
