//! The figures of the bench: counts first, then seconds of this machine.
//!
//! `scripts/bench` runs it. Each line: figure, value, unit, target.

mod measure;
#[path = "measure/silence.rs"]
mod silence;

use std::path::Path;
use std::sync::Barrier;
use std::thread;
use std::time::{Duration, Instant};

use devices::power::Shape;
use emulator::array::PowerDomain;
use emulator::engine::EngineChoice;
use harness::play::Player;
use harness::runner::{Engine, Shard, SweepPlan, bench};
use harness::scenario::Scenario;
use harness::stage::State;
use measure::{median, millis, report};
use silence::Silence;

const RUNS: usize = 15;

fn scenario(name: &str) -> Scenario {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("scenarios/{name}.toml"));
    Scenario::load(&path).unwrap_or_else(|error| panic!("{name}: {}", error.render(false)))
}

/// Steps of a scenario played to its end: wall milliseconds without building the array.
fn play(scenario: &Scenario) -> (f64, u64) {
    let mut player = Player::new(scenario, &EngineChoice::Kvm).expect("the bench plays");
    let begin = Instant::now();
    for step in 0..scenario.steps.len() {
        assert!(
            player
                .play_step(step, &mut Silence)
                .expect("the bench plays"),
            "step {step}"
        );
    }
    let took = millis(begin.elapsed());
    let boards = player.stage().array.boards();
    (
        took,
        boards.iter().map(|board| board.counters().exits).sum(),
    )
}

/// Board power cycles with a full boot to operational, in a second of `threads` threads.
fn power_cycles(threads: usize) -> f64 {
    const CYCLES: u32 = 400;
    let built = Barrier::new(threads + 1);
    let begin = thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let scenario = scenario("single-normal-boot");
                let mut player =
                    Player::new(&scenario, &EngineChoice::Kvm).expect("the bench plays");
                player.stage_mut().array.power_on(PowerDomain::CHASSIS);
                built.wait();
                for _ in 0..CYCLES {
                    let stage = player.stage_mut();
                    stage.array.power_cut(PowerDomain::board(0), Shape::Torn);
                    stage.array.power_on(PowerDomain::board(0));
                    let limit = stage.array.now() + devices::time::Nanos::from_secs(10);
                    let up = |stage: &harness::stage::Stage| {
                        stage.views()[0].state == State::Operational
                    };
                    stage.run_until(limit, up).expect("the bench plays");
                    assert!(up(stage), "the board boots");
                }
            });
        }
        built.wait();
        Instant::now()
    });
    f64::from(CYCLES) * threads as f64 / begin.elapsed().as_secs_f64()
}

fn main() {
    let single = scenario("single-normal-boot");
    let pair = scenario("pair-normal-boot");
    let upgrade = scenario("live-upgrade");
    #[expect(clippy::cast_precision_loss, reason = "counts of a run")]
    let count = |exits: u64| exits as f64;
    report(
        "VM exits, normal boot of one controller",
        count(play(&single).1),
        "exits",
        "<= 200",
    );
    report(
        "VM exits, live upgrade of the pair under host I/O",
        count(play(&upgrade).1),
        "exits",
        "",
    );
    let runs = |scenario: &Scenario| median((0..RUNS).map(|_| play(scenario).0).collect());
    report(
        "pair, power-on to both operational",
        runs(&pair),
        "ms",
        "<= 40",
    );
    report(
        "live upgrade of the pair under host I/O",
        runs(&upgrade),
        "ms",
        "<= 300",
    );
    report(
        "board power cycles with a full boot, 2 threads",
        power_cycles(2),
        "cycles/s",
        ">= 300",
    );
    let budget = Duration::from_secs(20);
    let plan = SweepPlan {
        frames: false,
        scenario: upgrade,
        depth: 1,
        budget: Some(budget),
        shard: Shard::ALL,
        jobs: 2,
        only: Vec::new(),
        keep: std::env::temp_dir().join("arraybench-figures"),
    };
    let begin = Instant::now();
    let swept = bench(&Engine::Kvm.into())
        .and_then(|bench| bench.sweep(&plan, &mut Silence))
        .expect("the bench sweeps");
    let rate = count(swept.played) / begin.elapsed().as_secs_f64();
    report(
        "sweep of the live upgrade, 2 threads",
        rate,
        "cases/s",
        ">= 50",
    );
    assert!(swept.is_good(), "{:?}", swept.failures.first());
}
