//! What the second engine costs: all scenarios on both, and a board's start and stop beside bare QEMU's.
//!
//! `scripts/bench` runs it. Each line: figure, value, unit, target.

mod measure;
#[path = "measure/silence.rs"]
mod silence;

use std::io::Read;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::{Duration, Instant};

use emulator::engine::qemu::installation::Installation;
use emulator::engine::{EngineChoice, Hardware, Reset, Stop};
use emulator::rig::{Boot, Machine};
use emulator::slot::{Face, Slot};
use harness::play::Player;
use harness::runner::Engine;
use harness::scenario::Scenario;
use measure::{median, millis, report};
use silence::Silence;

const RUNS: usize = 15;
/// mov dx, 0x3f8; mov al, 'A'; out dx, al; hlt; and to the end of the ROM what is never reached.
const ROM: [u8; 16] = [
    0xba, 0xf8, 0x03, 0xb0, 0x41, 0xee, 0xf4, 0xf4, 0xf4, 0xf4, 0xf4, 0xf4, 0xf4, 0xf4, 0xf4, 0xf4,
];

/// Scenarios on the AB-1, which both engines have.
fn scenarios() -> Vec<Scenario> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let files = std::fs::read_dir(folder).expect("the scenarios are there");
    let mut paths: Vec<_> = files.flatten().map(|file| file.path()).collect();
    paths.sort();
    paths
        .iter()
        .map(|path| Scenario::load(path).unwrap_or_else(|error| panic!("{}", error.render(false))))
        .filter(|scenario| !scenario.rig.board.machine.runs_freely())
        .collect()
}

/// Seconds and boots of all of them, one after the other.
fn play_all(scenarios: &[Scenario], engine: &EngineChoice) -> (f64, u64) {
    let begin = Instant::now();
    let mut boots = 0;
    for scenario in scenarios {
        let mut player = Player::new(scenario, engine).expect("the bench plays");
        for step in 0..scenario.steps.len() {
            let held = player.play_step(step, &mut Silence);
            assert!(held.expect("the bench plays"), "{} {step}", scenario.id);
        }
        let boards = player.stage().array.boards();
        boots += boards
            .iter()
            .map(|board| board.counters().resets)
            .sum::<u64>();
    }
    (begin.elapsed().as_secs_f64(), boots)
}

/// From starting QEMU to the first word of its guest, and on until it is gone.
fn bare(installation: &Installation) -> f64 {
    let rom = std::env::temp_dir().join("arraybench-bench-rom");
    let mut image = vec![0xff; (64 << 10) - ROM.len()];
    image.extend(ROM);
    std::fs::write(&rom, image).expect("a ROM can be written");
    let begin = Instant::now();
    let mut child = installation
        .command()
        .args([
            "-nodefaults",
            "-no-user-config",
            "-display",
            "none",
            "-smp",
            "1",
        ])
        .args([
            "-accel", "tcg", "-cpu", "max", "-m", "16M", "-serial", "stdio",
        ])
        .args(["-M", "microvm,acpi=off,pit=off,pic=off,rtc=off", "-bios"])
        .arg(&rom)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .expect("QEMU starts");
    let mut word = [0];
    let output = child.stdout.as_mut().expect("it is a pipe");
    output
        .read_exact(&mut word)
        .expect("the guest says something");
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    millis(begin.elapsed())
}

/// The same of a board with `devices` devices.
fn board(engine: &EngineChoice, devices: usize) -> f64 {
    let hardware = Hardware {
        machine: Machine::Ab1,
        boot: Boot::default(),
        ram_mib: 16,
        rom: Arc::from(ROM),
        hang_limit: Duration::from_secs(10),
        slot: 0,
    };
    let mut engine = engine.build(&hardware).expect("the engine works");
    let mut slots: Vec<Slot> = (0..24).map(|_| Slot::default()).collect();
    for slot in slots.iter_mut().take(devices) {
        slot.fit(Face {
            device_id: 38,
            features: 1 << 32,
            queue_sizes: vec![64],
            config: vec![0; 64],
            generation: 0,
            wants_notify: true,
        });
    }
    let begin = Instant::now();
    engine.reset(Reset::Cold, &mut slots).expect("it boots");
    let stop = engine.run(&mut slots).expect("it runs");
    assert_eq!(stop, Stop::Printed(b"A".to_vec()));
    engine.power_off();
    millis(begin.elapsed())
}

fn main() {
    let kvm = Engine::Kvm.choose().expect("there is KVM");
    let qemu = Engine::Qemu.choose().expect("there is QEMU");
    let installation = Installation::find().expect("there is QEMU");
    let mut times = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..RUNS {
        times[0].push(bare(&installation));
        times[1].push(board(&qemu, 0));
        times[2].push(board(&qemu, 8));
    }
    let [bare, none, eight] = times.map(median);
    report("bare QEMU, start to first word to gone", bare, "ms", "");
    report("board on QEMU without devices, the same", none, "ms", "");
    report(
        "  over bare QEMU",
        (none / bare - 1.0) * 100.0,
        "%",
        "<= 10",
    );
    report(
        "board on QEMU with eight devices, the same",
        eight,
        "ms",
        "",
    );
    let scenarios = scenarios();
    let (on_kvm, boots) = play_all(&scenarios, &kvm);
    let (on_qemu, _) = play_all(&scenarios, &qemu);
    #[expect(clippy::cast_precision_loss, reason = "a count of a run")]
    report(
        "boots of boards in all scenarios",
        boots as f64,
        "boots",
        "",
    );
    report("all scenarios one by one on the own VMM", on_kvm, "s", "");
    report("all scenarios one by one on QEMU", on_qemu, "s", "");
    report("  times the own VMM", on_qemu / on_kvm, "", "<= 20");
}
