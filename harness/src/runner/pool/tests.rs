use std::path::Path;

use super::*;
use crate::files::SourceFile;
use crate::runner::bench::BootRequest;
use crate::runner::sweep::{SweepPlan, SweepReport};

/// Stands in for an emulator: says of every expectation what it was told to.
struct Told {
    passed: bool,
    skip: usize,
    silent: bool,
    error: bool,
}

impl Bench for Told {
    fn play(&self, scenario: &Scenario, sink: &mut dyn Sink) -> Result<Outcome, BenchError> {
        if self.error {
            let what = "no /dev/kvm".to_owned();
            return Err(BenchError::NoEngine { what });
        }
        for expectation in scenario.expectations().into_iter().skip(self.skip) {
            sink.take(&Line::of(
                &scenario.id,
                Record::Expectation {
                    id: expectation.id,
                    line: expectation.line,
                    passed: self.passed,
                    message: String::new(),
                    proves: expectation.proves,
                },
            ))?;
        }
        if self.silent {
            let text = "cut of A".to_owned();
            sink.take(&Line::of(
                &scenario.id,
                Record::FaultSilent { step: 0, text },
            ))?;
        }
        Ok(Outcome {
            name: scenario.name.clone(),
            ..Outcome::default()
        })
    }

    fn boot(&self, _: &BootRequest) -> Result<(), BenchError> {
        Ok(())
    }

    fn sweep(&self, _: &SweepPlan, _: &mut dyn Sink) -> Result<SweepReport, BenchError> {
        Ok(SweepReport::default())
    }
}

const GOOD: Told = Told {
    passed: true,
    skip: 0,
    silent: false,
    error: false,
};

fn scenarios(count: usize) -> Vec<Scenario> {
    let text = "name = \"x\"\nrig = \"single\"\nfirmware = { A = \"1.0\", array = \"1.0\" }\n\
                steps = [{ expect = { boots = { A = 1 }, shelf = \"optimal\" } }]";
    let file = SourceFile {
        name: "s".to_owned(),
        text: text.into(),
    };
    (0..count)
        .map(|n| Scenario::parse(&file, Path::new(&format!("s{n}.toml"))).unwrap())
        .collect()
}

fn options(folder: &Path, golden: GoldenPolicy) -> PlayOptions {
    PlayOptions {
        jobs: 2,
        golden,
        golden_folder: Some(folder.to_path_buf()),
        stop_on_failure: false,
    }
}

/// How one scenario ends, and why.
fn check(bench: &Told, golden: GoldenPolicy, folder: &Path) -> (Verdict, String) {
    let mut lines: Vec<Line> = Vec::new();
    let options = options(folder, golden);
    play_all(bench, &scenarios(1), &options, &mut lines).unwrap();
    let end = lines.iter().find_map(|line| match &line.record {
        Record::ScenarioFinished {
            verdict, message, ..
        } => Some((*verdict, message.clone())),
        _ => None,
    });
    end.unwrap()
}

#[test]
fn a_scenario_passes_only_if_everything_ran_and_held() {
    use GoldenPolicy::Ignore;
    let folder = tempfile::tempdir().unwrap();
    let check = |bench: Told| check(&bench, Ignore, folder.path());
    assert_eq!(check(GOOD), (Verdict::Passed, String::new()));
    let ended = check(Told {
        passed: false,
        ..GOOD
    });
    assert_eq!(
        ended,
        (Verdict::Failed, "2 expectations did not hold".to_owned())
    );
    let ended = check(Told { skip: 1, ..GOOD });
    assert_eq!(
        ended,
        (Verdict::Failed, "one expectation never ran".to_owned())
    );
    let ended = check(Told {
        silent: true,
        ..GOOD
    });
    assert_eq!(ended, (Verdict::Failed, "one fault never fired".to_owned()));
    let ended = check(Told {
        error: true,
        ..GOOD
    });
    assert_eq!(
        ended,
        (Verdict::Broken, "no CPU engine: no /dev/kvm".to_owned())
    );
}

#[test]
fn goldens_are_compared_and_only_good_ones_blessed() {
    use GoldenPolicy::{Bless, Compare};
    let folder = tempfile::tempdir().unwrap();
    assert_eq!(check(&GOOD, Compare, folder.path()).0, Verdict::Failed);
    let bad = Told {
        passed: false,
        ..GOOD
    };
    assert_eq!(check(&bad, Bless, folder.path()).0, Verdict::Failed);
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    assert_eq!(check(&GOOD, Bless, folder.path()).0, Verdict::Passed);
    assert_eq!(check(&GOOD, Compare, folder.path()).0, Verdict::Passed);
}

#[test]
fn all_are_played_and_counted() {
    let folder = tempfile::tempdir().unwrap();
    let mut lines: Vec<Line> = Vec::new();
    let options = options(folder.path(), GoldenPolicy::Ignore);
    let totals = play_all(&GOOD, &scenarios(20), &options, &mut lines).unwrap();
    assert_eq!(totals.passed, 20);
    let options = PlayOptions {
        jobs: 1,
        stop_on_failure: true,
        ..options
    };
    let bad = Told {
        passed: false,
        ..GOOD
    };
    let totals = play_all(&bad, &scenarios(20), &options, &mut lines).unwrap();
    assert_eq!(totals.failed, 1);
}

#[test]
fn a_report_that_fails_ends_the_run() {
    struct Full;
    impl Sink for Full {
        fn take(&mut self, line: &Line) -> Result<(), SinkError> {
            match line.record {
                Record::Expectation { .. } => Err(SinkError {
                    name: "full".to_owned(),
                    source: std::io::Error::other("no space"),
                }),
                _ => Ok(()),
            }
        }
    }
    let folder = tempfile::tempdir().unwrap();
    let options = options(folder.path(), GoldenPolicy::Ignore);
    assert!(play_all(&GOOD, &scenarios(50), &options, &mut Full).is_err());
}

#[test]
fn a_command_can_be_pasted_into_a_shell() {
    assert_eq!(shell_word("a/b-1.toml"), "a/b-1.toml");
    assert_eq!(shell_word("my story's.toml"), "'my story'\\''s.toml'");
    assert_eq!(shell_word(""), "''");
}
