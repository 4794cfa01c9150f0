use std::io;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use emulator::rig::Span;

use super::exit::{CliError, Exit};
use super::output::{bar_wanted, print, stdout_colours};
use super::run::PlayArguments;
use super::select::scenarios;
use crate::report::Console;
use crate::runner::{PlannedCut, Shard, SweepPlan, SweepReport, bench};

/// Cut the power at every operation of a scenario.
///
/// Plays the scenario once and lists every page program, erase, member-disk write and cache flush.
/// Then plays it again for each of them, with the power cut there, in each shape: the operation is
/// lost, torn, or done though nobody was told. After a cut the power comes back, and within the
/// scenario's limit the array must stand where the scenario would have left it, invariants unbroken.
///
/// The report says "exhaustive" only if every case was played. A cut that never fired is a failure.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Sweep {
    /// The name of a scenario (see `arraybench run --list`), or the path of its file
    #[arg(value_name = "SCENARIO")]
    scenario: PathBuf,
    /// Cuts in one case; with 2 the second falls into the recovery from the first
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=3))]
    depth: u32,
    /// Real time after which the rest is left out, e.g. 5min
    #[arg(long, value_name = "SPAN")]
    budget: Option<Span>,
    /// Play part K of N, so that N machines share the sweep
    #[arg(long, value_name = "K/N", default_value = "1/1")]
    shard: Shard,
    /// Play one case: its cuts, in order, as a failure prints them
    #[arg(long = "case", value_name = "CUT", num_args = 1..)]
    only: Vec<PlannedCut>,
    /// Where the flash and disks of failed cases are left
    #[arg(long, value_name = "DIR", default_value = "reports/sweep")]
    keep: PathBuf,
    #[command(flatten)]
    play: PlayArguments,
}

const EXAMPLES: &str = "\
Examples:
  arraybench sweep live-upgrade
                                       every operation, every shape
  arraybench sweep story.toml --depth 2 --budget 10min
                                       cut again while it recovers, as far as time allows
  arraybench sweep story.toml --shard 3/8
                                       the third eighth
  arraybench sweep story.toml --case A.flash0:program:40:torn
                                       one case again, alone";

impl Sweep {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        if self.scenario.is_dir() {
            let what = format!("{} is a folder; name one scenario", self.scenario.display());
            return Err(CliError::Usage(what));
        }
        let scenario = scenarios(std::slice::from_ref(&self.scenario), false)?
            .pop()
            .ok_or_else(|| CliError::Usage("name one scenario".to_owned()))?;
        let bench = bench(self.play.engine())?;
        let plan = SweepPlan {
            scenario,
            depth: self.depth,
            budget: self.budget.map(|span| Duration::from_nanos(span.0.0)),
            shard: self.shard,
            jobs: self.play.jobs(),
            only: self.only,
            keep: self.keep,
        };
        let mut console = Console::new(io::stdout(), stdout_colours(), bar_wanted(), false);
        let report = bench.sweep(&plan, &mut console)?;
        print(&summary(&plan, &report))?;
        Ok(Exit::of(report.is_good()))
    }
}

/// What a sweep found, and the command that repeats each failure.
fn summary(plan: &SweepPlan, report: &SweepReport) -> String {
    let path = plan.scenario.path.display();
    let mut out = String::new();
    for failure in &report.failures {
        out.push_str(&format!("FAIL {}\n", failure.message));
        out.push_str(&format!(
            "     repeat with: arraybench sweep {path} {}\n",
            case(&failure.cuts)
        ));
    }
    for cuts in &report.silent {
        out.push_str(&format!("SILENT this cut never fired: {}\n", case(cuts)));
    }
    let word = match (report.is_exhaustive(), plan.shard == Shard::ALL) {
        (true, true) => "exhaustive",
        (true, false) => "exhaustive within its shard",
        (false, _) => "sampled",
    };
    out.push_str(&format!(
        "{} operations, {} cases, {} played, {} failed, {} silent: {word}\n",
        report.operations,
        report.cases,
        report.played,
        report.failures.len(),
        report.silent.len(),
    ));
    out
}

fn case(cuts: &[PlannedCut]) -> String {
    let cuts: Vec<String> = cuts.iter().map(PlannedCut::to_string).collect();
    format!("--case {}", cuts.join(" "))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::files::SourceFile;
    use crate::runner::SweepFailure;
    use crate::scenario::Scenario;

    #[test]
    fn a_sweep_says_what_it_did_and_how_to_repeat() {
        let text = include_str!("../../scenarios/single-normal-boot.toml");
        let file = SourceFile {
            name: "s.toml".to_owned(),
            text: text.into(),
        };
        let plan = SweepPlan {
            scenario: Scenario::parse(&file, Path::new("s.toml")).unwrap(),
            depth: 2,
            budget: None,
            shard: Shard::ALL,
            jobs: 1,
            only: Vec::new(),
            keep: PathBuf::new(),
        };
        let cut = |text: &str| text.parse::<PlannedCut>().unwrap();
        let report = SweepReport {
            operations: 50,
            cases: 150,
            played: 100,
            cut_short: true,
            silent: vec![vec![cut("B.flash1:erase:9:lost")]],
            failures: vec![SweepFailure {
                cuts: vec![
                    cut("A.flash0:program:40:torn"),
                    cut("A.flash0:erase:1:lost"),
                ],
                message: "invariant no-brick broken: A has no valid L3 bank".to_owned(),
            }],
        };
        insta::assert_snapshot!(summary(&plan, &report));
        let whole = SweepReport {
            played: 150,
            cut_short: false,
            ..SweepReport {
                silent: Vec::new(),
                failures: Vec::new(),
                ..report
            }
        };
        assert!(whole.is_good() && summary(&plan, &whole).ends_with("exhaustive\n"));
    }
}
