//! A run for the tests of reports: one scenario that passes, one that fails, one that never ends.

use devices::time::Nanos;

use super::record::{Figure, Line, Record, Totals, Verdict};
use crate::coverage::RowId;
use crate::scenario::ExpectationId;

fn started(id: &str, name: &str) -> Line {
    Line::of(
        id,
        Record::ScenarioStarted {
            name: name.to_owned(),
            path: format!("scenarios/{id}.toml"),
            rig: "partner-pair".to_owned(),
            seed: 1,
            steps: 3,
            places: ["A", "B", "shelf"].map(str::to_owned).to_vec(),
            repeat: format!("arraybench run scenarios/{id}.toml --seed 1"),
        },
    )
}

fn happened(id: &str, millis: u64, place: &str, text: &str) -> Line {
    Line::of(
        id,
        Record::Happened {
            time: Nanos::from_millis(millis),
            place: place.to_owned(),
            text: text.to_owned(),
        },
    )
}

fn expectation(id: &str, step: usize, passed: bool, message: &str) -> Line {
    Line::of(
        id,
        Record::Expectation {
            id: ExpectationId {
                scenario: id.to_owned(),
                step,
                part: "boots".to_owned(),
            },
            line: 9 + step,
            passed,
            message: message.to_owned(),
            proves: vec![RowId("VC70".to_owned())],
        },
    )
}

fn finished(id: &str, verdict: Verdict, message: &str) -> Line {
    Line::of(
        id,
        Record::ScenarioFinished {
            verdict,
            message: message.to_owned(),
            time: Nanos::from_millis(1_500),
            wall_ms: 12,
        },
    )
}

pub(super) fn sample() -> Vec<Line> {
    let (good, bad, hung) = ("good-boot", "bad-boot", "hung-boot");
    vec![
        Line::of_run(Record::RunStarted {
            planned: 3,
            jobs: 2,
        }),
        started(good, "A pair boots"),
        Line::of(
            good,
            Record::StepStarted {
                step: 0,
                line: 8,
                text: "{ power = \"on\" }".to_owned(),
            },
        ),
        happened(good, 0, "bench", "powered-on domain=chassis"),
        started(bad, "A pair boots badly <script>"),
        happened(good, 1, "A", "l1-started reset=power-on"),
        happened(good, 1, "B", "l1-started reset=power-on"),
        Line::of(
            good,
            Record::ConsoleLine {
                time: Nanos::from_millis(2),
                place: "A".to_owned(),
                text: "ready & <waiting>".to_owned(),
            },
        ),
        happened(good, 1_400, "shelf", "scrub-finished"),
        expectation(good, 1, true, "A booted once"),
        Line::of(
            good,
            Record::Figures {
                figures: vec![Figure {
                    name: "exits of A".to_owned(),
                    value: 118.0,
                    unit: "exits".to_owned(),
                }],
            },
        ),
        Line::of(
            good,
            Record::Golden {
                path: "golden/good-boot.snap".to_owned(),
                same: true,
                difference: String::new(),
                blessed: false,
            },
        ),
        finished(good, Verdict::Passed, ""),
        happened(bad, 3, "A", "boot-error level=2 cause=no-valid-l3"),
        Line::of(
            bad,
            Record::FaultFired {
                step: 0,
                time: Nanos::from_millis(3),
                text: "cut of A at program 40 of A.flash0, torn".to_owned(),
            },
        ),
        expectation(bad, 2, false, "A booted 0 times, expected 1"),
        Line::of(
            bad,
            Record::InvariantBroken {
                invariant: "no-brick".to_owned(),
                time: Nanos::from_millis(4),
                text: "A has no valid L3 bank".to_owned(),
            },
        ),
        Line::of(
            bad,
            Record::FaultSilent {
                step: 1,
                text: "cut of B at erase 9 of B.flash1: only 2 came".to_owned(),
            },
        ),
        Line::of(
            bad,
            Record::Golden {
                path: "golden/bad-boot.snap".to_owned(),
                same: false,
                difference: "-boots 1\n+boots 0\n".to_owned(),
                blessed: false,
            },
        ),
        finished(bad, Verdict::Failed, "1 expectation did not hold"),
        started(hung, "A run that never ends"),
        happened(hung, 5, "B", "l2-started version=1.0 bank=A"),
        Line::of_run(Record::RunFinished {
            totals: Totals {
                passed: 1,
                failed: 1,
                broken: 0,
            },
            wall_ms: 40,
        }),
    ]
}
