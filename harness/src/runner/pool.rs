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
    let totals = thread::scope(|scope| {
        for _ in 0..jobs {
            let sender = sender.clone();
            let (next, stop) = (&next, &stop);
            scope.spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let Some(scenario) = scenarios.get(next.fetch_add(1, Ordering::Relaxed)) else {
                        break;
                    };
                    let verdict = play_one(bench, scenario, options, &mut ToReports(&sender));
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
struct ToReports<'c>(&'c SyncSender<Line>);

impl Sink for ToReports<'_> {
    fn take(&mut self, line: &Line) -> Result<(), SinkError> {
        // The other end lives as long as the scope of this thread.
        let _ = self.0.send(line.clone());
        Ok(())
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
    say(Record::ScenarioStarted {
        name: scenario.name.clone(),
        path: scenario.path.display().to_string(),
        rig: scenario.rig.name.clone(),
        seed: scenario.seed,
        steps: scenario.steps.len(),
        places,
        repeat: format!(
            "arraybench run {} --seed {} --timeline",
            scenario.path.display(),
            scenario.seed
        ),
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::bench::BootRequest;
    use super::super::sweep::{SweepPlan, SweepReport};
    use super::*;
    use crate::files::SourceFile;

    /// Stands in for an emulator: says of every expectation what it was told to.
    struct Told {
        passed: bool,
        skip: usize,
        silent: bool,
        error: bool,
    }

    impl Bench for Told {
        fn play(&self, scenario: &Scenario, sink: &mut dyn Sink) -> Result<Outcome, BenchError> {
            if self.error {
                let what = "no /dev/kvm".to_owned();
                return Err(BenchError::NoEngine { what });
            }
            for expectation in scenario.expectations().into_iter().skip(self.skip) {
                sink.take(&Line::of(
                    &scenario.id,
                    Record::Expectation {
                        id: expectation.id,
                        line: expectation.line,
                        passed: self.passed,
                        message: String::new(),
                        proves: expectation.proves,
                    },
                ))?;
            }
            if self.silent {
                let text = "cut of A".to_owned();
                sink.take(&Line::of(
                    &scenario.id,
                    Record::FaultSilent { step: 0, text },
                ))?;
            }
            Ok(Outcome {
                name: scenario.name.clone(),
                ..Outcome::default()
            })
        }

        fn boot(&self, _: &BootRequest) -> Result<(), BenchError> {
            Ok(())
        }

        fn sweep(&self, _: &SweepPlan, _: &mut dyn Sink) -> Result<SweepReport, BenchError> {
            Ok(SweepReport::default())
        }
    }

    const GOOD: Told = Told {
        passed: true,
        skip: 0,
        silent: false,
        error: false,
    };

    fn scenarios(count: usize) -> Vec<Scenario> {
        let text = "name = \"x\"\nrig = \"single\"\nfirmware = { A = \"1.0\", array = \"1.0\" }\n\
                    steps = [{ expect = { boots = { A = 1 }, shelf = \"optimal\" } }]";
        let file = SourceFile {
            name: "s".to_owned(),
            text: text.into(),
        };
        (0..count)
            .map(|n| Scenario::parse(&file, Path::new(&format!("s{n}.toml"))).unwrap())
            .collect()
    }

    fn options(folder: &Path, golden: GoldenPolicy) -> PlayOptions {
        PlayOptions {
            jobs: 2,
            golden,
            golden_folder: Some(folder.to_path_buf()),
            stop_on_failure: false,
        }
    }

    /// How one scenario ends, and why.
    fn check(bench: &Told, golden: GoldenPolicy, folder: &Path) -> (Verdict, String) {
        let mut lines: Vec<Line> = Vec::new();
        let options = options(folder, golden);
        play_all(bench, &scenarios(1), &options, &mut lines).unwrap();
        let end = lines.iter().find_map(|line| match &line.record {
            Record::ScenarioFinished {
                verdict, message, ..
            } => Some((*verdict, message.clone())),
            _ => None,
        });
        end.unwrap()
    }

    #[test]
    fn a_scenario_passes_only_if_everything_ran_and_held() {
        use GoldenPolicy::Ignore;
        let folder = tempfile::tempdir().unwrap();
        let check = |bench: Told| check(&bench, Ignore, folder.path());
        assert_eq!(check(GOOD), (Verdict::Passed, String::new()));
        let ended = check(Told {
            passed: false,
            ..GOOD
        });
        assert_eq!(
            ended,
            (Verdict::Failed, "2 expectations did not hold".to_owned())
        );
        let ended = check(Told { skip: 1, ..GOOD });
        assert_eq!(
            ended,
            (Verdict::Failed, "one expectation never ran".to_owned())
        );
        let ended = check(Told {
            silent: true,
            ..GOOD
        });
        assert_eq!(ended, (Verdict::Failed, "one fault never fired".to_owned()));
        let ended = check(Told {
            error: true,
            ..GOOD
        });
        assert_eq!(
            ended,
            (Verdict::Broken, "no CPU engine: no /dev/kvm".to_owned())
        );
    }

    #[test]
    fn goldens_are_compared_and_only_good_ones_blessed() {
        use GoldenPolicy::{Bless, Compare};
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(check(&GOOD, Compare, folder.path()).0, Verdict::Failed);
        let bad = Told {
            passed: false,
            ..GOOD
        };
        assert_eq!(check(&bad, Bless, folder.path()).0, Verdict::Failed);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        assert_eq!(check(&GOOD, Bless, folder.path()).0, Verdict::Passed);
        assert_eq!(check(&GOOD, Compare, folder.path()).0, Verdict::Passed);
    }

    #[test]
    fn all_are_played_and_counted() {
        let folder = tempfile::tempdir().unwrap();
        let mut lines: Vec<Line> = Vec::new();
        let options = options(folder.path(), GoldenPolicy::Ignore);
        let totals = play_all(&GOOD, &scenarios(20), &options, &mut lines).unwrap();
        assert_eq!(totals.passed, 20);
        let options = PlayOptions {
            jobs: 1,
            stop_on_failure: true,
            ..options
        };
        let bad = Told {
            passed: false,
            ..GOOD
        };
        let totals = play_all(&bad, &scenarios(20), &options, &mut lines).unwrap();
        assert_eq!(totals.failed, 1);
    }

    #[test]
    fn a_report_that_fails_ends_the_run() {
        struct Full;
        impl Sink for Full {
            fn take(&mut self, line: &Line) -> Result<(), SinkError> {
                match line.record {
                    Record::Expectation { .. } => Err(SinkError {
                        name: "full".to_owned(),
                        source: std::io::Error::other("no space"),
                    }),
                    _ => Ok(()),
                }
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let options = options(folder.path(), GoldenPolicy::Ignore);
        assert!(play_all(&GOOD, &scenarios(50), &options, &mut Full).is_err());
    }
}
