//! A scenario played again gives the same bytes, whatever plays beside it.
//!
//! `ARRAYBENCH_REPEATS=100 cargo test --release -p arraybench --test repeats` plays every scenario a
//! hundred times; without the variable a few are played a few times.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use harness::golden::Outcome;
use harness::report::{Line, Record, Sink, SinkError};
use harness::runner::{Bench, Engine, bench};
use harness::scenario::Scenario;

/// Everything that was told of a run; nothing in it knows the real time.
#[derive(Default)]
struct Told(Vec<Record>);

impl Sink for Told {
    fn take(&mut self, line: &Line) -> Result<(), SinkError> {
        self.0.push(line.record.clone());
        Ok(())
    }
}

/// Played on every ordinary run of the tests: a pair, power cuts, a swap, a rebuild.
const USUAL: [&str; 4] = [
    "live-upgrade",
    "pair-live-upgrade-cut",
    "pair-swap-other-version",
    "shelf-member-lost",
];
const USUAL_REPEATS: usize = 3;

fn load(path: &Path) -> Scenario {
    Scenario::load(path).unwrap_or_else(|error| panic!("{}", error.render(false)))
}

fn play(bench: &dyn Bench, scenario: &Scenario) -> (Outcome, String) {
    let mut told = Told::default();
    let outcome = bench.play(scenario, &mut told).expect("the bench plays");
    (outcome, format!("{:?}", told.0))
}

#[test]
fn a_run_repeated_gives_the_same_bytes_on_one_thread_and_on_two() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let asked = std::env::var("ARRAYBENCH_REPEATS").ok();
    let repeats = asked.as_ref().map_or(USUAL_REPEATS, |asked| {
        asked.parse().expect("ARRAYBENCH_REPEATS is a number")
    });
    let mut files: Vec<PathBuf> = if asked.is_some() {
        let entries = fs::read_dir(folder).expect("there are scenarios");
        entries
            .map(|entry| entry.expect("it is listed").path())
            .collect()
    } else {
        USUAL
            .iter()
            .map(|name| folder.join(format!("{name}.toml")))
            .collect()
    };
    files.sort();
    let all = files.iter().map(|file| load(file));
    // What runs freely in real time has times of its own in each run; its goldens compare facts.
    let scenarios: Vec<Scenario> = all
        .filter(|scenario| !scenario.rig.board.machine.runs_freely())
        .collect();
    let bench = bench(&Engine::Kvm.into()).expect("this machine can play");
    let first: Vec<_> = scenarios.iter().map(|s| play(&*bench, s)).collect();
    let next = AtomicUsize::new(0);
    let differ = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                loop {
                    // Neighbours in this order are different scenarios, so that they run side by side.
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let which = number % scenarios.len();
                    if number >= repeats * scenarios.len() {
                        break;
                    }
                    if play(&*bench, &scenarios[which]) != first[which] {
                        let mut differ = differ.lock().expect("nobody panicked");
                        differ.push(scenarios[which].id.clone());
                    }
                }
            });
        }
    });
    let differ = differ.into_inner().expect("nobody panicked");
    assert!(differ.is_empty(), "runs differ: {differ:?}");
}
