//! A power cut at every persistent operation of a scenario.
//!
//! The scenario is played once, with a checkpoint before each step, and every page program, erase,
//! member-disk write and flush is listed. A case is one of them in one shape: the array is brought
//! back to the checkpoint before it, plays on to that operation and loses power there — a flash
//! operation takes its board down, a shelf operation the whole chassis. Then power returns and
//! the array must come back by itself (`case.rs`).

mod case;
mod keep;
mod list;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use self::case::{Judged, play_case};
use self::list::{Planned, list};
use crate::play::{PlayError, Player};
use crate::report::Sink;
use crate::runner::{BenchError, SweepFailure, SweepPlan, SweepReport};

/// Failures after which a sweep stops: the rest would say the same.
const MOST_FAILURES: usize = 20;

/// Plays a sweep.
///
/// # Errors
/// The bench cannot play.
pub fn run(plan: &SweepPlan, _sink: &mut dyn Sink) -> Result<SweepReport, BenchError> {
    let begin = Instant::now();
    let mut listed = list(&plan.scenario)?;
    if !plan.only.is_empty() {
        return repeat(plan, &listed);
    }
    let mut nth = 0;
    listed.cases.retain(|_| {
        nth += 1;
        plan.shard.holds(nth - 1)
    });
    if plan.budget.is_some() {
        // What is left out when time is up should be spread over the whole story.
        let seed = plan.scenario.seed;
        listed
            .cases
            .sort_by_cached_key(|case| devices::power::mix(seed, case.ordinal()));
    }
    let report = Mutex::new(SweepReport {
        operations: listed.operations,
        cases: if plan.depth > 1 {
            0
        } else {
            listed.cases.len() as u64
        },
        ..SweepReport::default()
    });
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let broken: Mutex<Option<PlayError>> = Mutex::new(None);
    thread::scope(|scope| {
        for _ in 0..plan.jobs.max(1) {
            scope.spawn(|| {
                let work = || -> Result<(), PlayError> {
                    let mut player = Player::new(&plan.scenario)?;
                    while !stop.load(Ordering::Relaxed) {
                        let Some(case) = listed.cases.get(next.fetch_add(1, Ordering::Relaxed))
                        else {
                            break;
                        };
                        let over = plan.budget.is_some_and(|budget| begin.elapsed() > budget);
                        if over {
                            let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
                            report.cases += u64::from(plan.depth > 1);
                            break;
                        }
                        let judged = play_case(&mut player, &listed, case, plan)?;
                        let mut report = report.lock().unwrap_or_else(PoisonError::into_inner);
                        note(&mut report, judged, plan.depth > 1);
                        if report.failures.len() >= MOST_FAILURES {
                            stop.store(true, Ordering::Relaxed);
                        }
                    }
                    Ok(())
                };
                if let Err(error) = work() {
                    *broken.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                    stop.store(true, Ordering::Relaxed);
                }
            });
        }
    });
    if let Some(error) = broken.into_inner().unwrap_or_else(PoisonError::into_inner) {
        return Err(error.into());
    }
    let mut report = report.into_inner().unwrap_or_else(PoisonError::into_inner);
    report.failures.sort_by(|a, b| a.cuts.cmp(&b.cuts));
    report.silent.sort();
    Ok(report)
}

fn note(report: &mut SweepReport, judged: Judged, count: bool) {
    report.played += judged.played;
    if count {
        report.cases += judged.played;
    }
    report.silent.extend(judged.silent);
    report.failures.extend(judged.failures);
}

/// Plays the one case that was asked for.
fn repeat(plan: &SweepPlan, listed: &list::Listed) -> Result<SweepReport, BenchError> {
    let mut report = SweepReport {
        operations: listed.operations,
        cases: 1,
        ..SweepReport::default()
    };
    let first = plan.only.first();
    let Some(case) = listed.cases.iter().find(|case| Some(&case.cut) == first) else {
        report.silent.push(plan.only.clone());
        return Ok(report);
    };
    let mut player = Player::new(&plan.scenario)?;
    let judged = play_case(&mut player, listed, case, plan)?;
    report.played = judged.played;
    report.failures = judged.failures;
    report.silent = judged.silent;
    Ok(report)
}

/// A failure with its cuts.
fn failure(cuts: &[&Planned], message: String) -> SweepFailure {
    SweepFailure {
        cuts: cuts.iter().map(|planned| planned.cut).collect(),
        message,
    }
}
