//! What one step leaves for the next, with real firmware.

use std::path::Path;

use emulator::engine::EngineChoice;
use harness::files::SourceFile;
use harness::play::Player;
use harness::report::{Line, Record, Sink, SinkError};
use harness::scenario::Scenario;

/// What did not hold, in words.
#[derive(Default)]
struct Complaints(Vec<String>);

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
