use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use rustix::time::{ClockId, clock_gettime};

use super::*;
use crate::files::{FileError, SourceFile};

const HEAD: &str = r#"name = "a story"
rig = "partner-pair"
firmware = { A = "1.0", B = "1.0", array = "1.0" }
"#;
const NODES_HEAD: &str = r#"name = "a story"
rig = "nodes-alone"
firmware = { A = "no-board", array = "absent" }
"#;
const PASS: &str = r#"{ expect = { boots = { A = 1 } } }"#;

fn parse(text: &str) -> Result<Scenario, FileError> {
    let file = SourceFile {
        name: "story.toml".to_owned(),
        text: text.into(),
    };
    Scenario::parse(&file, Path::new("story.toml"))
}

/// The scenario of one step and one expectation that is there for the sake of it.
fn with_step(step: &str) -> Result<Scenario, FileError> {
    parse(&format!("{HEAD}steps = [\n  {step},\n  {PASS},\n]\n"))
}

fn action(step: &str) -> Action {
    match with_step(step) {
        Ok(scenario) => scenario.steps[0].action.clone(),
        Err(error) => panic!("{step}\n{error}"),
    }
}

/// What is wrong with a step, and the remedy, without the picture.
fn complaints(result: Result<Scenario, FileError>) -> String {
    let error = result.expect_err("it should not be accepted");
    let lines: Vec<String> = error
        .problems()
        .iter()
        .map(|problem| format!("{} -> {}", problem.what, problem.remedy))
        .collect();
    lines.join("\n")
}

#[test]
fn every_example_of_the_manual_is_accepted() {
    for verb in VERBS {
        let before = r#"{ note = "upgrade begins" }, { checkpoint = "before" }"#;
        let text = match verb.key {
            "can_fault" => format!("{NODES_HEAD}steps = [{}, {PASS}]", verb.example),
            "note" | "checkpoint" => format!("{HEAD}steps = [{}, {PASS}]", verb.example),
            "expect" => format!(
                "covers = [\"VC73\"]\n{HEAD}steps = [{before}, {}]",
                verb.example
            ),
            _ => format!("{HEAD}steps = [{before}, {}, {PASS}]", verb.example),
        };
        if let Err(error) = parse(&text) {
            panic!("{}: {error}", verb.key);
        }
    }
}

#[test]
fn every_scenario_of_the_project_is_good() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut seen = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "toml") {
            Scenario::load(&path).unwrap_or_else(|error| panic!("{error}"));
            seen += 1;
        }
    }
    assert!(seen >= 3);
}

#[test]
fn a_step_says_what_it_means() {
    use devices::power::{OperationKind, Shape};
    let slot = |index| emulator::rig::Slot::new(index).unwrap();
    let Action::Cut(cut) = action(
        r#"{ cut = "A", at = { device = "A.flash0", op = "program", nth = 40, shape = "lost" } }"#,
    ) else {
        panic!("not a cut");
    };
    assert_eq!(cut.shape, Shape::Lost);
    assert!(!cut.background);
    assert_eq!(
        cut.at,
        Some(Trigger {
            device: DeviceRef::Flash {
                board: slot(0),
                chip: Some(0)
            },
            operation: Some(OperationKind::Program),
            address: None,
            nth: 40,
        })
    );
    let Action::Power { units, .. } = action(r#"{ power = "off" }"#) else {
        panic!("not power");
    };
    assert_eq!(units.len(), 3);
    let Action::Swap(_, board) =
        action(r#"{ swap = "B", serial = "S", flash = { all = "1.1", L2B = "empty" } }"#)
    else {
        panic!("not a swap");
    };
    let flash = board.flash.unwrap();
    use contents::BankContents;
    use emulator::rig::BankLetter::{A, B};
    assert_eq!(flash[&(2, B)], BankContents::Empty);
    // Where nothing is said bank A was programmed last, so it is what boots.
    let sequence = |bank| match &flash[&(3, bank)] {
        BankContents::Image { sequence, .. } => *sequence,
        BankContents::Empty => 0,
    };
    assert!(sequence(A) > sequence(B));
}

#[test]
fn expectations_have_names_and_rows() {
    let text = format!(
        "covers = [\"VC70\"]\n{HEAD}steps = [\n{{ power = \"on\" }},\n\
         {{ expect = {{ boots = {{ A = 1 }}, shelf = \"optimal\" }}, proves = [\"VC70\"] }},\n\
         {{ console = \"ver\", board = \"A\", expect = \"1.0\" }}]"
    );
    let names: Vec<String> = parse(&text)
        .unwrap()
        .expectations()
        .iter()
        .map(|e| format!("{} line {} {:?}", e.id, e.line, e.proves))
        .collect();
    assert_eq!(
        names,
        [
            "story step 2 boots line 7 [RowId(\"VC70\")]",
            "story step 2 shelf line 7 [RowId(\"VC70\")]",
            "story step 3 console line 8 []",
        ]
    );
}

#[test]
fn complaints_about_steps() {
    let steps = [
        r#"{ pwer = "on" }"#,
        r#"{ power = "on", cut = "A" }"#,
        r#"{ }"#,
        r#""power on""#,
        r#"{ power = "onn" }"#,
        r#"{ power = "on", bord = "A" }"#,
        r#"{ power = "on", board = "C" }"#,
        r#"{ cut = "chasis" }"#,
        r#"{ cut = "A", at = { device = "A.flash7" } }"#,
        r#"{ cut = "A", at = { device = "shelf", op = "erase" } }"#,
        r#"{ cut = "A", at = { device = "A.flash", nht = 3 } }"#,
        r#"{ cut = "A", background = true }"#,
        r#"{ reset = "warm" }"#,
        r#"{ insert = "B", serial = "" }"#,
        r#"{ swap = "B", serial = "S", flash = { L2A = "1.0" } }"#,
        r#"{ swap = "B", serial = "S", flash = "3.0" }"#,
        r#"{ swap = "B", serial = "S", flash = "./nowhere.img" }"#,
        r#"{ swap = "B", serial = "S", flash = { all = { build = "1.0", damage = "bitflips" } } }"#,
        r#"{ media = "insert" }"#,
        r#"{ console = "ver", board = "A", expect = "a", lines = ["a"] }"#,
        r#"{ console = "ver" }"#,
        r#"{ await = "operational" }"#,
        r#"{ await = "operational", board = "A", within = "120" }"#,
        r#"{ await_event = "A: reflash-begun" }"#,
        r#"{ host = "start", block = "100B" }"#,
        r#"{ host = "start", rate = 1000000000 }"#,
        r#"{ expect = {} }"#,
        r#"{ expect = { boots = { A = ">=0" } } }"#,
        r#"{ expect = { bots = { A = 1 } } }"#,
        r#"{ expect = { boots = { A = 1 } }, since = "never noted" }"#,
        r#"{ expect = { outage = { lun0 = 3 } } }"#,
        r#"{ expect = { never = ["reflash-startd"] } }"#,
        r#"{ expect = { event_count = { "A: rebuild-started" = 0 } } }"#,
        r#"{ expect = { boots = { A = 1 } }, proves = ["VC7o"] }"#,
        r#"{ power = "on", proves = ["VC70"] }"#,
        r#"{ disk = "fail", member = 9 }"#,
        r#"{ flash_fault = "stuck-bit", chip = "A.flash0", address = 0 }"#,
        r#"{ board_fault = "device-missing", board = "A", device = "pannel" }"#,
        r#"{ board_fault = "rom-byte", board = ["A", "B"] }"#,
        r#"{ link = "host", board = "A" }"#,
        r#"{ restore = "nothing" }"#,
    ];
    let mut all = String::new();
    for step in steps {
        all.push_str(&format!("{step}\n{}\n\n", complaints(with_step(step))));
    }
    insta::assert_snapshot!(all);
}

#[test]
fn a_step_may_mean_nodes() {
    use devices::can::{Effect, Fault, Place};
    let action = |step: &str| {
        let text = format!("{NODES_HEAD}steps = [{step}, {PASS}]\n");
        parse(&text).unwrap_or_else(|error| panic!("{error}")).steps[0]
            .action
            .clone()
    };
    let node = |n| Socket::Node(n);
    let Action::Reset { boards, .. } = action(r#"{ reset = "warm", board = ["set-2", "A"] }"#)
    else {
        panic!("not a reset");
    };
    let a = Socket::Slot(emulator::rig::Slot::new(0).unwrap());
    assert_eq!(boards, [node(2), node(3), node(4), a]);
    assert_eq!(action(r#"{ pull = "drive" }"#), Action::Pull(node(4)));
    // On the bus the controller's slot comes first.
    let fault = Fault::Frame {
        from: Some(5),
        nth: 3,
        effect: Effect::Lost,
        place: Place::At(vec![1, 2]),
    };
    let step = r#"{ can_fault = "lost", from = "drive", nth = 3, at = "set-1" }"#;
    assert_eq!(action(step), Action::CanFault(fault));
    let step = r#"{ can_fault = "short", segment = "extension" }"#;
    assert_eq!(action(step), Action::CanFault(Fault::Short(1)));
    let step = r#"{ can_fault = "mended", board = "xy" }"#;
    assert_eq!(action(step), Action::CanMend(CanPart::Node(3)));
    let Action::Cut(cut) = action(r#"{ cut = "set-1", at = { device = "xy.can", nth = 2 } }"#)
    else {
        panic!("not a cut");
    };
    let sender = Some(3);
    assert_eq!(cut.at.map(|at| at.device), Some(DeviceRef::Can { sender }));
    let units = [0, 1].map(emulator::rig::Unit::Node);
    assert_eq!(cut.units, units);
}

#[test]
fn complaints_about_nodes() {
    let steps = [
        r#"{ reset = "cold", board = "drive-1" }"#,
        r#"{ reset = "cold", board = ["drive", "set-2"] }"#,
        r#"{ await = "held", board = "nodes" }"#,
        r#"{ await = "minimal", board = "A" }"#,
        r#"{ swap = "drive", serial = "S", flash = "1.0" }"#,
        r#"{ console = "ver", board = "drive" }"#,
        r#"{ link = "flexx", to = "down" }"#,
        r#"{ link = "flex", board = "A", to = "down" }"#,
        r#"{ cut = "drive", at = { device = "drvie.can" } }"#,
        r#"{ cut = "drive", at = { device = "can", op = "erase", address = 3 } }"#,
        r#"{ can_fault = "babbling" }"#,
        r#"{ can_fault = "babbling", board = "set-2" }"#,
        r#"{ can_fault = "crc", board = "drive" }"#,
        r#"{ can_fault = "short" }"#,
        r#"{ can_fault = "short", segment = "bas" }"#,
        r#"{ can_fault = "bit-rate", board = "drive" }"#,
        r#"{ can_fault = "bit-rate", board = "drive", bit_rate = 500000 }"#,
        r#"{ can_fault = "mended", board = "drive", segment = "base" }"#,
        r#"{ expect = { nodes = {} } }"#,
        r#"{ expect = { nodes = { all = {} } } }"#,
        r#"{ expect = { nodes = { drives = { state = "minimal" } } } }"#,
        r#"{ expect = { nodes = { all = { state = "held" } } } }"#,
        r#"{ expect = { nodes = { all = { count = 3 } } } }"#,
        r#"{ expect = { can_frames = ">=0" } }"#,
    ];
    let mut all = String::new();
    for step in steps {
        let text = format!("{NODES_HEAD}steps = [\n  {step},\n  {PASS},\n]\n");
        all.push_str(&format!("{step}\n{}\n\n", complaints(parse(&text))));
    }
    all.push_str(&complaints(with_step(r#"{ can_fault = "lost" }"#)));
    insta::assert_snapshot!(all);
}

#[test]
fn complaints_about_the_whole() {
    let good = format!("steps = [{PASS}]");
    let texts = [
        String::new(),
        format!("{HEAD}steps = [{{ power = \"on\" }}]"),
        format!("{HEAD}{good}\nstep = 1"),
        format!("covers = [\"VC70\", \"VC700\"]\n{HEAD}{good}"),
        format!("{HEAD}steps = [{{ expect = {{ boots = {{ A = 1 }} }}, proves = [\"VC70\"] }}]"),
        format!("straps = [\"folow-l2\"]\n{HEAD}{good}"),
        format!("limit = \"0s\"\nwaive = {{ no-brick = \"\" }}\n{HEAD}{good}"),
        format!("name = \"x\"\nrig = \"partner-pear\"\n{good}"),
        format!(
            "name = \"x\"\nrig = \"single\"\nfirmware = {{ A = \"1.0\", B = \"1.0\" }}\n{good}"
        ),
        format!("{HEAD}steps = 3"),
    ];
    let mut all = String::new();
    for text in &texts {
        all.push_str(&format!("{text}\n=> {}\n\n", complaints(parse(text))));
    }
    insta::assert_snapshot!(all);
}

#[test]
fn a_complaint_as_people_see_it() {
    let error = with_step(
        r#"{ cut = "A", at = { device = "A.flash0", opp = "program", shape = "tron" } }"#,
    );
    insta::assert_snapshot!(error.unwrap_err().render(false));
}

#[test]
fn a_wrong_rig_file_is_shown_as_such() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("mine.toml"),
        "name = \"mine\"\nslots = 9\n",
    )
    .unwrap();
    let story = folder.path().join("story.toml");
    std::fs::write(&story, HEAD.replace("partner-pair", "./mine.toml")).unwrap();
    let shown = Scenario::load(&story).unwrap_err().render(false);
    assert!(
        shown.contains("mine.toml:2:9") && shown.contains("choose from 1 to 3"),
        "{shown}"
    );
}

fn cpu_seconds() -> f64 {
    let spent = clock_gettime(ClockId::ThreadCPUTime);
    Duration::try_from(spent).unwrap().as_secs_f64()
}

#[test]
fn hostile_files_are_refused_within_a_second() {
    let folder = tempfile::tempdir().unwrap();
    let check = |name: &str, bytes: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        // Time of this thread: what else the machine does is not asked.
        let begin = cpu_seconds();
        let shown = Scenario::load(&path).unwrap_err().render(false);
        assert!(cpu_seconds() - begin < 1.0, "{name}");
        assert!(shown.contains(name), "{name}: {shown}");
        assert!(shown.len() < 20_000, "{name}: {}", shown.len());
    };
    let largest = usize::try_from(SourceFile::LARGEST_BYTES).unwrap();
    check("huge.toml", &vec![b'a'; largest + 1]);
    check("line.toml", &vec![b'a'; largest]);
    check("brackets.toml", "[".repeat(largest).as_bytes());
    check(
        "nested.toml",
        format!("a = {}", "[".repeat(largest - 9)).as_bytes(),
    );
    check(
        "dotted.toml",
        format!("{}a = 1", "a.".repeat(largest / 2 - 9)).as_bytes(),
    );
    check("binary.toml", &[0xff, 0xfe, 0, 1, 2]);
    check("empty.toml", b"");
    let step = "{ p = 1 },";
    let many = format!(
        "{HEAD}steps = [{}]",
        step.repeat((largest - 200) / step.len())
    );
    check("steps.toml", many.as_bytes());
    let keys: String = (0..30_000).map(|n| format!("k{n} = 1\n")).collect();
    check("keys.toml", format!("{HEAD}{keys}").as_bytes());
    assert!(Scenario::load(folder.path()).is_err());
    assert!(Scenario::load(Path::new("/dev/zero")).is_err());
}

proptest! {
    #[test]
    fn any_text_gets_an_answer(text in "\\PC{0,200}") {
        let _ = parse(&text).map_err(|error| error.render(false));
    }

    #[test]
    fn any_damage_to_a_good_file_gets_an_answer(at in 0usize..3000, len in 0usize..40, put in "[\\[\\]{}=\"',.a-z0-9\n]{0,8}") {
        let good = include_str!("../../scenarios/pair-live-upgrade-cut.toml");
        let start = good.floor_char_boundary(at.min(good.len()));
        let end = good.floor_char_boundary((start + len).min(good.len()));
        let text = format!("{}{put}{}", &good[..start], &good[end.max(start)..]);
        let _ = parse(&text).map_err(|error| error.render(false));
    }
}

#[test]
fn what_makes_no_sense_in_real_time_is_refused() {
    let complain = |steps: &str| {
        let text = format!(
            "name = \"a story\"\nrig = \"linux-on-shelf\"\nfirmware = {{ A = \"empty\", array = \"absent\" }}\n\
             steps = [{steps}, {PASS}]\n"
        );
        parse(&text).map_or_else(|error| error.to_string(), |_| String::new())
    };
    let check = |steps: &str, wanted: &str| {
        let found = complain(steps);
        assert!(found.contains(wanted), "{steps}\n{found}");
    };
    check(r#"{ checkpoint = "x" }"#, "real time does not go back");
    check(
        r#"{ console = "ls", board = "A" }"#,
        "answers when it likes",
    );
    check(
        r#"{ console = "echo yes", board = "A", expect = "yes" }"#,
        "the echo of the line",
    );
    let again = r#"{ expect = { again = { A = { said = "stored", says = "found" } } } }"#;
    check(again, "before a note");
    let good =
        r#"{ console = "", board = "A", later = true }, { await_text = "=> ", board = "A" }"#;
    assert_eq!(complain(good), "");
}
