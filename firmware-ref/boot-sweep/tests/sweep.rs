//! The sweep finds nothing with the good build, and finds the known-bad one.

use boot::{Bank, Level};
use boot_sweep::{
    Build, Expectation, Limits, Operation, Scenario, Trace, ViolationKind, run_to_the_end, sweep,
};

/// Exhaustive over operations at both depths; the binary tries more torn outcomes of each.
const TWICE: Limits = Limits { torn: &[4, 2] };
const ONCE: Limits = Limits { torn: &[4] };

fn story(name: &str) -> Scenario {
    Scenario::all()
        .into_iter()
        .find(|story| story.name == name)
        .unwrap()
}

#[test]
fn vc70_to_vc76_every_story_takes_its_boots_and_no_more() {
    for story in Scenario::all() {
        let mut board = story.board(Build::Careful).unwrap();
        let (boots, end) = run_to_the_end(&mut board, 10, &mut Trace::default());
        assert_eq!(boots, story.expectation.boots, "{}", story.name);
        assert!(story.is_met(&end, &board), "{}: {end:?}", story.name);
        // What is reached stays: one boot more changes nothing (VC45, VC47).
        let mut trace = Trace::default();
        let again = run_to_the_end(&mut board, 10, &mut trace);
        assert_eq!(again, (1, end), "{}", story.name);
        assert_eq!(
            (trace.operations.len(), trace.image_bytes_read),
            (0, 0),
            "{}",
            story.name
        );
    }
}

#[test]
fn vc48_no_cut_nor_a_second_one_during_recovery_keeps_a_board_from_its_version() {
    let mut cases = 0;
    for story in Scenario::all() {
        // Checking signatures takes most of the time; the order of operations is the same.
        let report = sweep(
            &story,
            Build::Careful,
            if story.signed { ONCE } else { TWICE },
        )
        .unwrap();
        assert!(
            report.violations.is_empty(),
            "{}: {:?}",
            story.name,
            report.violations.first()
        );
        // A sweep in which nothing could fire would prove nothing.
        if story.expectation.boots > 1 {
            assert!(report.operations >= 8 && report.cases > 8, "{}", story.name);
        }
        cases += report.cases;
    }
    assert!(cases > 8_000, "{cases} cases");
}

#[test]
fn the_build_that_erases_both_banks_first_is_caught() {
    for name in [
        "upgrade of L3",
        "upgrade of both levels",
        "upgrade of L3, signatures demanded",
    ] {
        let report = sweep(&story(name), Build::Brick, ONCE).unwrap();
        assert!(report.has(ViolationKind::Bricked), "{name}");
        assert!(report.has(ViolationKind::BootedBankTouched), "{name}");
    }
}

#[test]
fn a_story_that_cannot_end_as_told_is_reported() {
    let mut wrong = story("upgrade of L3");
    wrong.expectation = Expectation {
        boots: 1,
        ..wrong.expectation
    };
    let report = sweep(&wrong, Build::Careful, Limits { torn: &[] }).unwrap();
    assert!(report.has(ViolationKind::NotConverged));
}

#[test]
fn vc39_vc46_only_the_other_bank_is_written_and_the_booted_version_remains() {
    let story = story("upgrade of L3");
    let before = story.board(Build::Careful).unwrap();
    let mut after = before.clone();
    let mut trace = Trace::default();
    run_to_the_end(&mut after, 10, &mut trace);
    for (level, bank) in [
        (Level::L2, Bank::A),
        (Level::L2, Bank::B),
        (Level::L3, Bank::B),
    ] {
        assert_eq!(
            after.bank(level, bank),
            before.bank(level, bank),
            "{level:?} {bank}"
        );
    }
    // The header's page goes first and comes last.
    let place = (Level::L3, Bank::A);
    assert_eq!(
        trace.operations.first(),
        Some(&Operation::Erase { place, offset: 0 })
    );
    assert!(matches!(
        trace.operations.last(),
        Some(Operation::Program { place: at, offset: 0, .. }) if *at == place
    ));
}
