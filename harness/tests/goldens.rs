//! Every scenario of the project as a test of its own, held by insta: `cargo test -p arraybench --test
//! goldens NAME` plays one, and `cargo insta review` shows and accepts what changed. The files are
//! those that `arraybench run` compares with and blesses.

use std::fs;
use std::path::Path;
use std::sync::Mutex;

use harness::golden::{Comparison, Golden, Outcome, golden_folder, render};
use harness::report::{Line, Record, Sink, SinkError};
use harness::runner::{
    Bench, BenchError, BootRequest, Engines, GoldenPolicy, PlayOptions, SweepPlan, SweepReport,
    bench, play_all,
};
use harness::scenario::Scenario;
use libtest_mimic::{Arguments, Failed, Trial};

fn main() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let entries = fs::read_dir(folder).expect("the project has scenarios");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("readable").path())
        .collect();
    files.sort();
    let trial = |file: std::path::PathBuf| {
        let name = file.file_stem()?.to_str()?.to_owned();
        Some(Trial::test(name, move || play(&file)))
    };
    let trials = files.into_iter().filter_map(trial).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

/// Plays the scenario in `file`, asks what `arraybench run` asks, and compares the outcome.
fn play(file: &Path) -> Result<(), Failed> {
    let scenario = Scenario::load(file)?;
    let listener = Listener {
        bench: bench(&Engines::default())?,
        outcome: Mutex::default(),
    };
    let options = PlayOptions {
        jobs: 1,
        golden: GoldenPolicy::Ignore,
        golden_folder: None,
        stop_on_failure: false,
    };
    let mut complaints = Complaints::default();
    let scenarios = std::slice::from_ref(&scenario);
    let totals = play_all(&listener, scenarios, &options, &mut complaints)?;
    if totals.passed != 1 {
        return Err(complaints.0.join("\n").into());
    }
    let outcome = listener.outcome.into_inner()?;
    let outcome = outcome.ok_or("it was not played")?;
    compare(file, &scenario.id, &outcome)
}

fn compare(file: &Path, id: &str, outcome: &Outcome) -> Result<(), Failed> {
    let folder = golden_folder(file);
    let mut settings = insta::Settings::clone_current();
    settings.set_snapshot_path(&folder);
    settings.set_prepend_module_to_snapshot(false);
    let expression = format!("golden text of {id}");
    settings.bind(|| insta::assert_snapshot!(id, render(outcome), &expression));
    // The text is accepted; what may still differ are the pictures beside it.
    match Golden::new(&folder, id).compare(outcome)? {
        Comparison::Same => Ok(()),
        Comparison::Different(difference) => Err(difference.into()),
        Comparison::Missing(_) => Err("there is no golden yet".into()),
    }
}

/// A bench that remembers what came of a scenario.
struct Listener {
    bench: Box<dyn Bench>,
    outcome: Mutex<Option<Outcome>>,
}

impl Bench for Listener {
    fn play(&self, scenario: &Scenario, sink: &mut dyn Sink) -> Result<Outcome, BenchError> {
        let outcome = self.bench.play(scenario, sink)?;
        if let Ok(mut kept) = self.outcome.lock() {
            *kept = Some(outcome.clone());
        }
        Ok(outcome)
    }

    fn boot(&self, request: &BootRequest) -> Result<(), BenchError> {
        self.bench.boot(request)
    }

    fn sweep(&self, plan: &SweepPlan, sink: &mut dyn Sink) -> Result<SweepReport, BenchError> {
        self.bench.sweep(plan, sink)
    }
}

/// What did not hold.
#[derive(Default)]
struct Complaints(Vec<String>);

impl Sink for Complaints {
    fn take(&mut self, line: &Line) -> Result<(), SinkError> {
        match &line.record {
            Record::Expectation {
                id,
                line,
                passed: false,
                message,
                ..
            } => self.0.push(format!("line {line}: {}: {message}", id.part)),
            Record::FaultSilent { text, .. } => self.0.push(format!("fault never fired: {text}")),
            Record::InvariantBroken {
                invariant, text, ..
            } => self.0.push(format!("invariant {invariant} broken: {text}")),
            Record::ScenarioFinished { message, .. } if !message.is_empty() => {
                self.0.push(message.clone());
            }
            _ => {}
        }
        Ok(())
    }
}
