#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Instant;

use devices::time::Nanos;

use super::bench::{Bench, BenchError};
use crate::golden::{Comparison, Golden, Outcome, golden_folder};
use crate::report::{Line, Record, Sink, SinkError, Totals, Verdict};
use crate::scenario::{ExpectationId, Scenario};

/// How to play scenarios.
#[derive(Clone, Debug)]
pub struct PlayOptions {
    /// How many at a time.
    pub jobs: usize,
    /// What to do about goldens.
    pub golden: GoldenPolicy,
    /// Where goldens are; nothing: found from the scenario's file.
    pub golden_folder: Option<PathBuf>,
    /// Begins no further scenario after one that did not pass.
    pub stop_on_failure: bool,
}

/// What to do about goldens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GoldenPolicy {
    /// Compare; a difference fails the scenario.
    Compare,
    /// Accept whatever came of a scenario in which everything held.
    Bless,
    /// Leave them alone: another seed than the accepted one plays.
    Ignore,
}

/// Records under way between a worker and the reports; a worker that is faster waits.
const IN_FLIGHT: usize = 4096;
/// More nodes than these share the last lane of a timeline, each line with its name.
const MOST_NODE_LANES: usize = 12;

/// Plays `scenarios`, several at a time. Reports are fed from this thread alone.
///
/// # Errors
/// A report cannot be written; scenarios under way are played to their end.
pub fn play_all(
    bench: &dyn Bench,
    scenarios: &[Scenario],
    options: &PlayOptions,
    sink: &mut dyn Sink,
) -> Result<Totals, SinkError> {
    let begin = Instant::now();
    let jobs = options.jobs.clamp(1, scenarios.len().max(1));
    sink.take(&Line::of_run(Record::RunStarted {
        planned: scenarios.len(),
        jobs,
    }))?;
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let (sender, receiver) = sync_channel(IN_FLIGHT);
    let wants_can_frames = sink.wants_can_frames();
    let totals = thread::scope(|scope| {
        for _ in 0..jobs {
            let sender = sender.clone();
            let (next, stop) = (&next, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let Some(scenario) = scenarios.get(next.fetch_add(1, Ordering::Relaxed)) else {
                        break;
                    };
                    let mut reports = ToReports {
                        reports: &sender,
                        wants_can_frames,
                    };
                    let verdict = play_one(bench, scenario, options, &mut reports);
                    if verdict != Verdict::Passed && options.stop_on_failure {
                        stop.store(true, Ordering::Relaxed);
                    }
                }
            });
        }
        drop(sender);
        forward(&receiver, &stop, sink)
    })?;
    sink.take(&Line::of_run(Record::RunFinished {
        totals,
        wall_ms: millis(begin),
    }))?;
    Ok(totals)
}

fn forward(
    receiver: &Receiver<Line>,
    stop: &AtomicBool,
    sink: &mut dyn Sink,
) -> Result<Totals, SinkError> {
    let mut totals = Totals::default();
    let mut result = Ok(());
    for line in receiver {
        if let Record::ScenarioFinished { verdict, .. } = line.record {
            totals.count(verdict);
        }
        // After an error the channel is still emptied, or the workers would wait for ever.
        if result.is_ok() {
            result = sink.take(&line);
        }
        if result.is_err() {
            stop.store(true, Ordering::Relaxed);
        }
    }
    result.map(|()| totals)
}

/// Hands records to the thread of the reports.
struct ToReports<'c> {
    reports: &'c SyncSender<Line>,
    wants_can_frames: bool,
}

impl Sink for ToReports<'_> {
    fn take(&mut self, line: &Line) -> Result<(), SinkError> {
        // The other end lives as long as the scope of this thread.
        let _ = self.reports.send(line.clone());
        Ok(())
    }

    fn wants_can_frames(&self) -> bool {
        self.wants_can_frames
    }
}

/// What the records of a scenario say of it, gathered as they pass.
struct Judge<'s> {
    sink: &'s mut dyn Sink,
    ran: BTreeSet<ExpectationId>,
    failed: usize,
    silent: usize,
    broken: usize,
}

impl Sink for Judge<'_> {
    fn take(&mut self, line: &Line) -> Result<(), SinkError> {
        match &line.record {
            Record::Expectation { id, passed, .. } => {
                self.ran.insert(id.clone());
                self.failed += usize::from(!passed);
            }
            Record::FaultSilent { .. } => self.silent += 1,
            Record::InvariantBroken { .. } => self.broken += 1,
            _ => {}
        }
        self.sink.take(line)
    }

    fn wants_can_frames(&self) -> bool {
        self.sink.wants_can_frames()
    }
}

impl Judge<'_> {
    /// What is wrong with the scenario; empty for a good one.
    fn complaints(&self, scenario: &Scenario) -> Vec<String> {
        let mut complaints = Vec::new();
        let mut add = |count: usize, one: &str, many: &str| match count {
            0 => {}
            1 => complaints.push(one.to_owned()),
            n => complaints.push(format!("{n} {many}")),
        };
        add(
            self.failed,
            "one expectation did not hold",
            "expectations did not hold",
        );
        add(self.silent, "one fault never fired", "faults never fired");
        add(
            self.broken,
            "one invariant was broken",
            "invariants were broken",
        );
        let all = scenario.expectations();
        let silent = all.iter().filter(|e| !self.ran.contains(&e.id)).count();
        // A test that tests nothing must not look like one that passed.
        add(
            silent,
            "one expectation never ran",
            "expectations never ran",
        );
        complaints
    }
}

fn play_one(
    bench: &dyn Bench,
    scenario: &Scenario,
    options: &PlayOptions,
    sink: &mut dyn Sink,
) -> Verdict {
    let begin = Instant::now();
    let mut say = |record| {
        let _ = sink.take(&Line::of(&scenario.id, record));
    };
    let mut places: Vec<String> = scenario.rig.slots().map(|slot| slot.to_string()).collect();
    places.push("shelf".to_owned());
    if !scenario.rig.can.segments.is_empty() {
        places.push("can".to_owned());
    }
    let nodes: Vec<String> = scenario.rig.nodes().map(|node| node.name).collect();
    if nodes.len() <= MOST_NODE_LANES {
        places.extend(nodes);
    }
    say(Record::ScenarioStarted {
        name: scenario.name.clone(),
        path: scenario.path.display().to_string(),
        rig: scenario.rig.name.clone(),
        seed: scenario.seed,
        steps: scenario.steps.len(),
        places,
        repeat: repeat(scenario, options),
    });
    let mut judge = Judge {
        sink,
        ran: BTreeSet::new(),
        failed: 0,
        silent: 0,
        broken: 0,
    };
    let played = bench.play(scenario, &mut judge);
    let complaints = judge.complaints(scenario);
    let (verdict, message, end) = match played {
        Err(error) => (Verdict::Broken, chain(&error), Nanos::ZERO),
        Ok(outcome) => {
            let (verdict, message) = judged(scenario, &outcome, options, complaints, sink);
            (verdict, message, outcome.end)
        }
    };
    let _ = sink.take(&Line::of(
        &scenario.id,
        Record::ScenarioFinished {
            verdict,
            message,
            time: end,
            wall_ms: millis(begin),
        },
    ));
    verdict
}

fn judged(
    scenario: &Scenario,
    outcome: &Outcome,
    options: &PlayOptions,
    mut complaints: Vec<String>,
    sink: &mut dyn Sink,
) -> (Verdict, String) {
    match compare(scenario, outcome, options, complaints.is_empty()) {
        Ok(None) => {}
        Ok(Some(record)) => {
            if let Record::Golden {
                same: false,
                blessed: false,
                ..
            } = record
            {
                complaints.push("the outcome is not the golden one".to_owned());
            }
            let _ = sink.take(&Line::of(&scenario.id, record));
        }
        Err(message) => return (Verdict::Broken, message),
    }
    match complaints.is_empty() {
        true => (Verdict::Passed, String::new()),
        false => (Verdict::Failed, complaints.join("; ")),
    }
}

fn compare(
    scenario: &Scenario,
    outcome: &Outcome,
    options: &PlayOptions,
    held: bool,
) -> Result<Option<Record>, String> {
    if options.golden == GoldenPolicy::Ignore {
        return Ok(None);
    }
    let folder = options.golden_folder.clone();
    let folder = folder.unwrap_or_else(|| golden_folder(&scenario.path));
    let golden = Golden::new(&folder, &scenario.id);
    let comparison = golden.compare(outcome).map_err(|error| chain(&error))?;
    let (same, difference) = match comparison {
        Comparison::Same => (true, String::new()),
        Comparison::Different(difference) => (false, difference),
        Comparison::Missing(text) => (
            false,
            format!("there is no golden yet; it would be:\n{text}"),
        ),
    };
    // A golden of a wrong behaviour would be a defect with a seal on it.
    let blessed = !same && held && options.golden == GoldenPolicy::Bless;
    if blessed {
        golden.bless(outcome).map_err(|error| chain(&error))?;
    }
    Ok(Some(Record::Golden {
        path: golden.path().display().to_string(),
        same,
        difference,
        blessed,
    }))
}

/// The command that plays the scenario again, alone. A seed is named only where it is not the
/// file's own, because naming one leaves the golden alone.
fn repeat(scenario: &Scenario, options: &PlayOptions) -> String {
    let path = shell_word(&scenario.path.display().to_string());
    match options.golden {
        GoldenPolicy::Ignore => {
            format!("arraybench run {path} --timeline --seed {}", scenario.seed)
        }
        GoldenPolicy::Compare | GoldenPolicy::Bless => format!("arraybench run {path} --timeline"),
    }
}

/// The text as one word of a shell command.
fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+,@".contains(c);
    match !text.is_empty() && text.chars().all(plain) {
        true => text.to_owned(),
        false => format!("'{}'", text.replace('\'', "'\\''")),
    }
}

/// An error with everything that caused it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        text.push_str(&format!(": {next}"));
        cause = next.source();
    }
    text
}

fn millis(begin: Instant) -> u64 {
    u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX)
}

impl BenchError {
    /// The error with everything that caused it.
    pub fn chain(&self) -> String {
        chain(self)
    }
}
