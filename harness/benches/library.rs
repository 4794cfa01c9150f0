//! The library: what it takes until a hundred drives run their images, and what one more node costs.
//!
//! `scripts/bench` runs it. Each line: figure, value, unit, target.

mod measure;
#[path = "measure/silence.rs"]
mod silence;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use emulator::engine::EngineChoice;
use harness::play::Player;
use harness::scenario::Scenario;
use measure::{median, millis, report};
use silence::Silence;

const RUNS: usize = 5;

/// What a cold start took.
struct Start {
    /// Wall clock, without building the array.
    took_ms: f64,
    virtual_s: f64,
    broadcasts: f64,
    /// VM exits of each node.
    exits: f64,
    /// Memory of the array, in MiB for each node.
    memory_mib: f64,
}

/// Plays the first steps of a scenario: power on, wait for all nodes.
#[expect(clippy::cast_precision_loss, reason = "figures of a run")]
fn start(scenario: &Scenario) -> Start {
    let before_kib = resident_kib();
    let mut player = Player::new(scenario, &EngineChoice::Kvm).expect("the bench plays");
    let begin = Instant::now();
    for step in 0..2 {
        let held = player.play_step(step, &mut Silence);
        assert!(held.expect("the bench plays"), "step {step}");
    }
    let took_ms = millis(begin.elapsed());
    let stage = player.stage();
    let nodes = stage.array.nodes();
    let exits: u64 = nodes.iter().map(|node| node.counters().exits).sum();
    let count = nodes.len() as f64;
    let what = stage.timeline().iter().map(|entry| entry.what.as_str());
    let broadcasts = what.filter(|what| what.starts_with("broadcast-started"));
    Start {
        took_ms,
        virtual_s: stage.array.now().0 as f64 / 1e9,
        broadcasts: broadcasts.count() as f64,
        exits: exits as f64 / count,
        memory_mib: resident_kib().saturating_sub(before_kib) as f64 / 1024.0 / count,
    }
}

fn resident_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number
        .and_then(|number| number.parse().ok())
        .expect("a number of KiB")
}

/// A controller and so many drives.
fn drives(folder: &Path, count: u32) -> Scenario {
    let rig = format!(
        "name = \"drives\"\nabout = \"{count} drives\"\nslots = 1\n\
         nodes = [{{ name = \"drive\", type = \"drive\", count = {count} }}]\n\
         [can]\nsegments = [\"base\"]\n"
    );
    let story = "name = \"Drives start\"\nabout = \"Drives get power.\"\nrig = \"./drives.toml\"\n\
                 firmware = { A = \"1.0-nodes\", array = \"1.0-nodes\" }\n\
                 steps = [\n{ power = \"on\" },\n\
                 { await = \"operational\", board = \"nodes\", version = \"1.0\", within = \"30s\" },\n]\n";
    let file = |name: &str, text: &str| -> PathBuf {
        let path = folder.join(name);
        fs::write(&path, text).expect("a temporary file");
        path
    };
    file("drives.toml", &rig);
    load(&file("start.toml", story))
}

fn load(path: &Path) -> Scenario {
    Scenario::load(path).unwrap_or_else(|error| panic!("{}", error.render(false)))
}

fn main() {
    let library = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/library-cold-start.toml");
    let library = load(&library);
    let starts: Vec<Start> = (0..RUNS).map(|_| start(&library)).collect();
    let first = &starts[0];
    report(
        "cold start of the library's 109 nodes",
        first.broadcasts,
        "broadcasts",
        "1",
    );
    report(
        "cold start of the library, each node",
        first.exits,
        "exits",
        "",
    );
    report(
        "cold start of the library, virtual",
        first.virtual_s,
        "s",
        "",
    );
    report(
        "cold start of the library, wall",
        median(starts.iter().map(|start| start.took_ms).collect()),
        "ms",
        "<= 5000",
    );
    let folder = std::env::temp_dir().join("arraybench-library");
    fs::create_dir_all(&folder).expect("a temporary folder");
    for count in [10, 50, 100, 200] {
        let scenario = drives(&folder, count);
        let starts: Vec<Start> = (0..3).map(|_| start(&scenario)).collect();
        report(
            &format!("{count} drives, each with its 1 MiB of RAM"),
            // What a run gives back stays with the process: only the first one tells.
            starts[0].memory_mib,
            "MiB",
            "<= 3",
        );
        report(
            &format!("{count} drives, each until operational"),
            starts[0].exits,
            "exits",
            "flat",
        );
        let each = |start: &Start| start.took_ms / f64::from(count);
        report(
            &format!("{count} drives, each until operational, wall"),
            median(starts.iter().map(each).collect()),
            "ms",
            "flat",
        );
    }
}
