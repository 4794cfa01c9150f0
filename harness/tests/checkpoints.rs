//! Restoring a checkpoint and going on gives what going on without a restore gives.
//!
//! Two sorts of runs, all of real firmware: a few stories interrupted every few steps of the array, in
//! the middle of whatever the boards do; and every scenario of the project, interrupted before each
//! of its steps. What is compared is everything: CPU, RAM, media, devices, timeline, host.

use std::fs;
use std::path::Path;

use devices::board_control::ResetReason;
use devices::medium::Medium;
use devices::power::{OperationKind, Shape};
use devices::time::Nanos;
use emulator::array::{CutPoint, PowerDomain, SavedArray, Source};
use emulator::engine::EngineChoice;
use harness::files::SourceFile;
use harness::golden::Outcome;
use harness::host::Plan;
use harness::play::Player;
use harness::provision::package_bytes;
use harness::report::{Line, Sink, SinkError};
use harness::scenario::Scenario;
use harness::scenario::contents::{Build, PackageContents};
use harness::stage::{Stage, State};

/// Reports are not what is compared.
struct Silence;

impl Sink for Silence {
    fn take(&mut self, _line: &Line) -> Result<(), SinkError> {
        Ok(())
    }
}

/// Everything there is to say about a run at one moment.
#[derive(Debug, PartialEq)]
struct Everything {
    array: Vec<u8>,
    /// As text: a transport has no equality, but what it is made of shows.
    host: String,
    consoles: Vec<Vec<String>>,
    outcome: Outcome,
}

fn everything(player: &mut Player<'_>) -> Everything {
    let saved = player.stage_mut().array.save(None).expect("it is saved");
    let stage = player.stage();
    Everything {
        array: saved.to_bytes().expect("it is written"),
        host: format!("{:?}", stage.host),
        consoles: (0..stage.views().len())
            .map(|slot| stage.console(slot).to_vec())
            .collect(),
        outcome: player.outcome(),
    }
}

/// Complains where two runs part, without printing megabytes.
fn assert_same(found: &Everything, expected: &Everything, what: &str) {
    let lines = |everything: &Everything| everything.outcome.timeline.clone();
    for (found, expected) in lines(found).iter().zip(&lines(expected)) {
        assert_eq!(found, expected, "{what}");
    }
    assert_eq!(found.outcome, expected.outcome, "{what}");
    assert_eq!(found.consoles, expected.consoles, "{what}");
    assert!(found.host == expected.host, "{what}: the hosts differ");
    if found.array != expected.array {
        let where_at = difference(&found.array, &expected.array);
        panic!("{what}: arrays of the same story differ{where_at}");
    }
}

/// The first places where two arrays differ, each with the names that lead to it.
fn difference(found: &[u8], expected: &[u8]) -> String {
    let text = |bytes| format!("{:#?}", SavedArray::from_bytes(bytes).expect("it is read"));
    let (found, expected) = (text(found), text(expected));
    let mut path: Vec<(&str, usize)> = Vec::new();
    let mut places = String::new();
    for (ours, theirs) in found.lines().zip(expected.lines()) {
        let depth = (ours.len() - ours.trim_start().len()) / 4;
        path.truncate(depth);
        if let Some((_, index)) = path.last_mut() {
            *index += 1;
        }
        if ours != theirs && places.lines().count() < 40 {
            places.push('\n');
            for (name, index) in &path {
                places.push_str(&format!("{}[{index}]/", name.trim_matches([' ', '{', '['])));
            }
            places.push_str(&format!(" {} instead of {}", ours.trim(), theirs.trim()));
        }
        path.resize(depth, ("", 0));
        path.push((ours.trim(), 0));
    }
    places
}

/// Takes `from` to `to`, the array through the form of a file.
fn move_over(from: &mut Player<'_>, to: &mut Player<'_>) {
    let kept = from.keep(None).expect("it is kept");
    to.bring_back(&kept).expect("it is of the same rig");
    let array = from.stage_mut().array.save(None).expect("it is saved");
    let bytes = array.to_bytes().expect("it is written");
    let array = SavedArray::from_bytes(&bytes).expect("it is read");
    let stage = to.stage_mut();
    stage.array.restore(&array).expect("it is of the same rig");
}

/// Something that happens in a story, once its time has come.
type Beat = (fn(&Stage) -> bool, fn(&mut Stage));

fn scenario(rig: &str) -> Scenario {
    let slots = match rig {
        "single" => "A = \"1.0\"",
        _ => "A = \"1.0\", B = \"1.0\"",
    };
    let text = format!(
        "name = \"interrupted\"\nrig = \"{rig}\"\nfirmware = {{ {slots}, array = \"1.0\" }}\n\
         steps = [ {{ power = \"on\" }}, {{ expect = {{ boots = {{ A = 0 }} }} }} ]\n"
    );
    let file = SourceFile {
        name: "interrupted.toml".to_owned(),
        text: text.into(),
    };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/interrupted.toml");
    Scenario::parse(&file, &path).unwrap_or_else(|error| panic!("{}", error.render(false)))
}

/// A run of a story: how far it is, besides what the player knows.
struct Telling<'s> {
    player: Player<'s>,
    next: usize,
}

impl<'s> Telling<'s> {
    fn new(scenario: &'s Scenario) -> Telling<'s> {
        Telling {
            player: Player::new(scenario, &EngineChoice::Kvm).expect("the bench plays"),
            next: 0,
        }
    }

    /// One step of the array, and the beats that are due; false at the end of the story.
    fn step(&mut self, story: &[Beat]) -> bool {
        let stage = self.player.stage_mut();
        while let Some((due, act)) = story.get(self.next) {
            if !due(stage) {
                break;
            }
            act(stage);
            self.next += 1;
        }
        let mut looks = 0;
        let limit = Nanos::from_secs(60);
        let one_step = |_: &Stage| {
            looks += 1;
            looks > 1
        };
        stage.run_until(limit, one_step).expect("the bench runs");
        assert!(stage.array.now() < limit, "beat {} never comes", self.next);
        self.next < story.len()
    }
}

/// Tells `story` without interruption, then in each way of interrupting it, every `every` steps.
fn interrupt(rig: &str, story: &[Beat], every: usize) {
    let scenario = scenario(rig);
    let mut straight = Telling::new(&scenario);
    let mut steps = 1;
    while straight.step(story) {
        steps += 1;
    }
    let expected = everything(&mut straight.player);
    assert!(steps > 10 * every, "{steps} steps are too few");

    // In place: it goes on for a while, and is then brought back from there.
    let mut telling = Telling::new(&scenario);
    let mut base = None;
    for step in 1..=steps {
        telling.step(story);
        if step % every == 0 && step != steps {
            let kept = telling.player.keep(base.as_ref()).expect("it is kept");
            let next = telling.next;
            for _ in 0..(step % 41).min(steps - step) {
                telling.step(story);
            }
            telling.player.bring_back(&kept).expect("it fits");
            telling.next = next;
            base = Some(kept);
        }
    }
    assert_same(&everything(&mut telling.player), &expected, "in place");

    // Two arrays in turn, through bytes; each still holds what it was left with long ago.
    let mut here = Telling::new(&scenario);
    let mut there = Telling::new(&scenario);
    for step in 1..=steps {
        here.step(story);
        if step % every == 0 && step != steps {
            move_over(&mut here.player, &mut there.player);
            there.next = here.next;
            std::mem::swap(&mut here, &mut there);
        }
    }
    assert_same(&everything(&mut here.player), &expected, "through bytes");

    // Arrays that never had power.
    let mut telling = Telling::new(&scenario);
    for step in 1..=steps {
        telling.step(story);
        if step % (steps / 10) == 0 && step != steps {
            let mut fresh = Telling::new(&scenario);
            move_over(&mut telling.player, &mut fresh.player);
            fresh.next = telling.next;
            telling = fresh;
        }
    }
    assert_same(&everything(&mut telling.player), &expected, "fresh arrays");
}

fn at_once(_: &Stage) -> bool {
    true
}

fn all_up(stage: &Stage) -> bool {
    let mut boards = stage.views().iter();
    boards.all(|view| view.state == State::Operational)
}

fn all_run_2_0(stage: &Stage) -> bool {
    let new = |version: &Option<String>| version.as_deref() == Some("2.0");
    all_up(stage) && stage.views().iter().all(|view| new(&view.application))
}

fn said(stage: &Stage, part: &str) -> bool {
    stage
        .timeline()
        .iter()
        .any(|entry| entry.what.contains(part))
}

fn start_host(stage: &mut Stage) {
    let plan = Plan {
        interval: Nanos::from_millis(7),
        blocks: 200,
        write_percent: 60,
        depth: 4,
        seed: 3,
    };
    let now = stage.array.now();
    stage.host.start(now, plan);
}

fn type_on(stage: &mut Stage, slot: usize, text: &str) {
    let now = stage.array.now();
    let board = stage
        .array
        .board_mut(Source::Board(slot))
        .expect("there is such a slot");
    board.console_mut().type_bytes(now, text.as_bytes());
}

fn insert_2_0(stage: &mut Stage) {
    let package = PackageContents::of(&Build::Reference("2.0".to_owned()));
    let bytes = package_bytes(&package, 1).expect("there is such a package");
    stage.array.shared_mut().media.insert("2.0", bytes.into());
    stage.array.faces_changed();
}

fn cut_board(slot: usize, kind: OperationKind, nth: u64) -> CutPoint {
    CutPoint {
        domain: PowerDomain::board(slot),
        source: Source::Board(slot),
        unit: None,
        kind: Some(kind),
        address: None,
        nth,
        shape: Shape::Torn,
        seed: 9,
    }
}

#[test]
fn a_live_upgrade_with_power_cuts_is_not_changed_by_restoring() {
    let story: &[Beat] = &[
        (at_once, |s| s.array.power_on(PowerDomain::CHASSIS)),
        (all_up, start_host),
        (
            |s| s.host.figures().writes > 3,
            |s| {
                insert_2_0(s);
                // Half a command: the rest is typed after other things have happened.
                type_on(s, 0, "boot ");
            },
        ),
        (|s| s.host.figures().writes > 8, |s| type_on(s, 0, "-i\n")),
        (
            |s| said(s, "installed 2.0"),
            |s| {
                s.array.shared_mut().media.eject();
                s.array.faces_changed();
                s.array.arm(cut_board(0, OperationKind::Program, 200));
                type_on(s, 1, "disable A\n");
            },
        ),
        (
            |s| said(s, "controller A disabled"),
            |s| {
                type_on(s, 1, "enable A\n");
            },
        ),
        (
            |s| !s.array.boards()[0].powered(),
            |s| {
                s.array.arm(cut_board(0, OperationKind::Erase, 3));
                s.array.power_on(PowerDomain::board(0));
            },
        ),
        (
            |s| !s.array.boards()[0].powered(),
            |s| {
                s.array.power_on(PowerDomain::board(0));
            },
        ),
        (
            |s| all_up(s) && s.views()[0].application.as_deref() == Some("2.0"),
            |s| {
                let reset = s.array.reset(Source::Board(1), ResetReason::Warm);
                reset.expect("it has power");
            },
        ),
        (all_run_2_0, |s| s.host.stop()),
        (
            |s| !s.host.busy(),
            |s| {
                let now = s.array.now();
                s.host.verify(now);
            },
        ),
        (|s| !s.host.busy(), |_| {}),
    ];
    interrupt("partner-pair", story, 61);
}

#[test]
fn a_rebuild_and_losses_of_everything_are_not_changed_by_restoring() {
    let story: &[Beat] = &[
        (at_once, |s| s.array.power_on(PowerDomain::CHASSIS)),
        (all_up, start_host),
        (
            |s| s.host.figures().writes > 5,
            |s| {
                s.array
                    .with_shelf(|shelf, events| shelf.fail_member(1, events));
            },
        ),
        (
            |s| s.host.figures().writes > 9,
            |s| {
                s.array.arm(CutPoint {
                    domain: PowerDomain::CHASSIS,
                    source: Source::Shelf,
                    unit: None,
                    kind: Some(OperationKind::MemberWrite),
                    address: None,
                    nth: 5,
                    shape: Shape::Torn,
                    seed: 4,
                });
            },
        ),
        (
            |s| !s.array.shelf_powered(),
            |s| {
                s.array.power_on(PowerDomain::CHASSIS);
            },
        ),
        (
            |s| all_up(s) && s.host.figures().writes > 14,
            |s| {
                let spare = Medium::memory(16 << 20, 0);
                s.array
                    .with_shelf(|shelf, events| shelf.replace_member(1, spare, events));
                s.array.power_cut(PowerDomain::board(0), Shape::Lost);
                s.array.power_on(PowerDomain::board(0));
            },
        ),
        (all_up, |s| {
            let now = s.array.now();
            s.array
                .with_shelf(|shelf, events| shelf.start_scrub(now, events));
        }),
        (|s| s.host.figures().writes > 30, |s| s.host.stop()),
        (
            |s| !s.host.busy(),
            |s| {
                let now = s.array.now();
                s.host.verify(now);
            },
        ),
        (|s| !s.host.busy(), |_| {}),
    ];
    interrupt("single", story, 23);
}

#[test]
fn no_scenario_is_changed_by_restoring_before_each_step() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("there are scenarios")
        .map(|entry| entry.expect("it is listed").path())
        .collect();
    files.sort();
    for file in files {
        let scenario =
            Scenario::load(&file).unwrap_or_else(|error| panic!("{}", error.render(false)));
        if scenario.rig.board.machine.runs_freely() {
            continue;
        }
        let player = || Player::new(&scenario, &EngineChoice::Kvm).expect("the bench plays");
        let mut straight = player();
        for step in 0..scenario.steps.len() {
            let played = straight.play_step(step, &mut Silence);
            assert!(played.expect("the bench plays"), "{} {step}", scenario.id);
        }
        let expected = everything(&mut straight);
        let (mut here, mut there) = (player(), player());
        for step in 0..scenario.steps.len() {
            move_over(&mut here, &mut there);
            // The one left behind goes on too, so that it holds what will have to go.
            for one in [&mut here, &mut there] {
                let played = one.play_step(step, &mut Silence);
                assert!(played.expect("the bench plays"), "{} {step}", scenario.id);
            }
            std::mem::swap(&mut here, &mut there);
        }
        for end in [&mut here, &mut there] {
            assert_same(&everything(end), &expected, &scenario.id);
        }
    }
}
