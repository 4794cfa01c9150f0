//! What one step leaves for the next, with real firmware.

use std::path::Path;

use emulator::engine::EngineChoice;
use harness::files::SourceFile;
use harness::play::Player;
use harness::report::{Line, Record, Sink, SinkError};
use harness::scenario::Scenario;

/// What did not hold, in words, and the steps whose faults had no effect.
#[derive(Default)]
struct Complaints(Vec<String>, Vec<usize>);

impl Sink for Complaints {
    fn take(&mut self, line: &Line) -> Result<(), SinkError> {
        if let Record::Expectation {
            passed: false,
            message,
            ..
        } = &line.record
        {
            self.0.push(message.clone());
        }
        if let Record::FaultSilent { step, .. } = &line.record {
            self.1.push(*step);
        }
        Ok(())
    }
}

fn scenario(rig: &str, firmware: &str, steps: &[&str]) -> Scenario {
    let steps = steps.join(", ");
    let text = format!(
        "name = \"Steps\"\nrig = {rig:?}\nfirmware = {firmware}\nsteps = [ {steps}, \
         {{ expect = {{ boots = {{ A = \">0\" }} }} }} ]\n"
    );
    let file = SourceFile {
        name: "steps.toml".to_owned(),
        text: text.into(),
    };
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/steps.toml");
    Scenario::parse(&file, &path).unwrap_or_else(|error| panic!("{}", error.render(false)))
}

/// Plays to the end or to the first step that fails: the timeline with its times, and complaints.
fn play(scenario: &Scenario) -> (Vec<String>, Vec<String>) {
    let mut complaints = Complaints::default();
    let mut player = Player::new(scenario, &EngineChoice::Kvm).expect("the bench plays");
    for step in 0..scenario.steps.len() {
        let played = player.play_step(step, &mut complaints);
        if !played.expect("the bench plays") {
            break;
        }
    }
    let entries = player.stage().timeline().iter();
    let timeline = entries.map(|entry| format!("{}: {}", entry.who, entry.what));
    (timeline.collect(), complaints.0)
}

/// Where in a timeline a line with this beginning stands.
fn place(timeline: &[String], beginning: &str) -> usize {
    let found = timeline.iter().position(|line| line.starts_with(beginning));
    found.unwrap_or_else(|| panic!("no {beginning:?} in {timeline:#?}"))
}

const POWER_ON: &str = "{ power = \"on\" }";
const UP: &str = "{ await = \"operational\", board = \"A\", within = \"30s\" }";

#[test]
fn a_board_that_was_just_reset_is_not_taken_for_what_it_was() {
    let twice = "{ expect = { boots = { A = 2 }, state = { A = \"operational\" } } }";
    let at_once = "{ expect = { state = { A = \"booting\" } } }";
    for verb in [
        "{ reset = \"cold\", board = \"A\" }",
        "{ reset = \"warm\", board = \"A\" }",
    ] {
        let steps = [POWER_ON, UP, verb, at_once, UP, twice];
        let story = scenario("single", "{ A = \"1.0\", array = \"1.0\" }", &steps);
        assert_eq!(play(&story).1, [""; 0], "{verb}");
    }
}

#[test]
fn lines_without_an_expected_answer_are_carried_out_in_order() {
    let steps = [
        POWER_ON,
        UP,
        "{ console = \"ver\", board = \"A\" }",
        "{ console = \"nonsense\", board = \"A\" }",
    ];
    let story = scenario("single", "{ A = \"1.0\", array = \"1.0\" }", &steps);
    let (timeline, complaints) = play(&story);
    assert_eq!(complaints, [""; 0]);
    let places = [
        "A: typed \"ver\"",
        "A: | system version 1.0",
        "A: typed \"nonsense\"",
        "A: | error: unknown command nonsense",
    ]
    .map(|line| place(&timeline, line));
    assert!(places.is_sorted(), "{timeline:#?}");
}

#[test]
fn a_line_that_nobody_reads_fails_its_step() {
    let steps = ["{ console = \"ver\", board = \"A\" }"];
    let story = scenario("single", "{ A = \"1.0\", array = \"1.0\" }", &steps);
    let (_, complaints) = play(&story);
    assert_eq!(
        complaints,
        ["\"ver\" was not read: A is off, application none"]
    );
}

#[test]
fn switching_off_and_cutting_are_told_apart() {
    let off = "{ power = \"off\" }";
    let at_once = "{ expect = { state = { A = \"off\" }, events = [\"A: powered-off\"], never = [\"power-cut\"] } }";
    let steps = [POWER_ON, UP, off, at_once, POWER_ON, UP, "{ cut = \"A\" }"];
    let story = scenario("single", "{ A = \"1.0\", array = \"1.0\" }", &steps);
    let (timeline, complaints) = play(&story);
    assert_eq!(complaints, [""; 0]);
    let places = ["A: powered-off", "shelf: powered-off", "A: power-cut"];
    assert!(places.map(|line| place(&timeline, line)).is_sorted());
}

#[test]
fn what_a_restore_undoes_is_told_and_not_counted() {
    let steps = [
        POWER_ON,
        UP,
        "{ checkpoint = \"up\" }",
        "{ note = \"in vain\" }",
        "{ cut = \"A\" }",
        "{ restore = \"up\" }",
        "{ expect = { events = [\"A: operational\", \"restored\"], never = [\"power-cut\"], \
         state = { A = \"operational\" } } }",
        "{ reset = \"cold\", board = \"A\" }",
        "{ checkpoint = \"again\" }",
        "{ restore = \"up\" }",
        "{ restore = \"again\" }",
        UP,
        "{ expect = { event_count = { \"A: operational\" = 2, \"restored\" = 2 } } }",
    ];
    let story = scenario("single", "{ A = \"1.0\", array = \"1.0\" }", &steps);
    let (timeline, complaints) = play(&story);
    assert_eq!(complaints, [""; 0]);
    let told = timeline.iter().filter(|line| line.contains(": restored"));
    let told: Vec<&str> = told.map(String::as_str).collect();
    let (up, again) = ("bench: restored \"up\"", "bench: restored \"again\"");
    assert_eq!(told, [up, up, again]);
    let undone = ["bench: noted", "A: power-cut", "bench: restored"];
    assert!(undone.map(|line| place(&timeline, line)).is_sorted());
}

#[test]
fn a_fault_of_the_bus_without_effect_is_told_unless_it_was_undone() {
    let check = |steps: &[&str], silent: &[usize]| {
        let firmware = "{ A = \"1.0\", array = \"1.0\" }";
        let scenario = scenario("nodes-alone", firmware, steps);
        let mut told = Complaints::default();
        let mut player = Player::new(&scenario, &EngineChoice::Kvm).expect("the bench plays");
        for step in 0..scenario.steps.len() {
            let held = player.play_step(step, &mut told).expect("the bench plays");
            assert!(held, "{:?}", told.0);
        }
        player
            .tell_invariants(&mut told)
            .expect("nothing fails to be told");
        assert_eq!(told.1, silent, "{steps:?}");
    };
    let on = r#"{ power = "on" }, { await = "minimal", board = "nodes", within = "1s" }"#;
    let late = r#"{ can_fault = "lost", from = "drive", nth = 1000 }"#;
    let soon = r#"{ can_fault = "lost", from = "drive" }"#;
    let wait = r#"{ wait = "3s" }"#;
    check(&[on, late, wait], &[2]);
    check(&[on, soon, wait], &[]);
    // Mended before it had an effect is without effect all the same.
    let mended = r#"{ can_fault = "mended" }"#;
    check(&[on, late, mended, wait], &[2]);
    let (keep, back) = (r#"{ checkpoint = "x" }"#, r#"{ restore = "x" }"#);
    check(&[on, keep, late, back, wait], &[]);
    check(&[on, late, keep, soon, wait, back], &[2]);
}

#[test]
fn a_node_in_its_place_has_the_power_of_its_place() {
    let steps = [
        r#"{ power = "on" }, { await = "minimal", board = "nodes", within = "1s" }"#,
        // Its supply stays on, so what is put in starts by itself.
        r#"{ pull = "xy" }, { insert = "xy", serial = "S-1" }"#,
        r#"{ await = "minimal", board = "xy", within = "1s" }"#,
        // Off, and it waits.
        r#"{ cut = "drive" }, { swap = "drive", serial = "S-2" }, { wait = "1s" }"#,
        r#"{ expect = { nodes = { xy = { serial = "S-1", boots = 2 }, drive = { serial = "S-2", state = "off" } } } }"#,
        r#"{ expect = { nodes = { all = { state = "minimal", count = 4 }, set-1 = { boots = 1 } } } }"#,
    ];
    let firmware = "{ A = \"1.0\", array = \"1.0\" }";
    let (_, complaints) = play(&scenario("nodes-alone", firmware, &steps));
    assert_eq!(complaints, [""; 0]);
}
