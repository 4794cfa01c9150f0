use std::io;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;
use devices::time::Nanos;
use emulator::rig::Span;

use super::exit::{CliError, Exit};
use super::output::{bar_wanted, print, stdout_colours};
use super::run::{PlayArguments, RecordArguments};
use super::select::scenarios;
use crate::report::{Console, Fan, Figure, Line, Record, Sink, Totals, Verdict};
use crate::runner::{PlannedCut, Shard, SweepPlan, SweepReport, bench};
use crate::sweep::case_folder;

/// Cut the power at every operation of a scenario.
///
/// Plays the scenario once and lists every page program, erase, member-disk write and cache flush.
/// Then plays it again for each of them, with the power cut there, in each shape: the operation is
/// lost, torn, or done though nobody was told. After a cut the power comes back, and within 120 s of
/// virtual time every board that has power must be operational, no acknowledged write lost and no
/// invariant broken; nodes of the CAN bus must run an image of their type again, where somebody serves them. The scenario's own expectations are not asked: its story ends at the cut.
///
/// The report says "exhaustive" only if every case was played. A cut that never fired is a failure. Of
/// a case that failed flash and volume are left as files, and the command that repeats it is told.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Sweep {
    /// The name of a scenario (see `arraybench run --list`), or the path of its file
    #[arg(value_name = "SCENARIO")]
    scenario: PathBuf,
    /// Cuts in one case; with 2 the second falls into the recovery from the first
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=3))]
    depth: u32,
    /// Cut at every frame on the CAN bus instead, the power of one board after another
    #[arg(long)]
    frames: bool,
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
    records: RecordArguments,
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
  arraybench sweep story.toml --junit sweep.xml --json sweep.jsonl
                                       what a CI job wants
  arraybench sweep nodes-cold-start --frames --budget 10min
                                       each board loses its power at each frame on the CAN bus
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
        if scenario.rig.board.machine.runs_freely() {
            let what = format!(
                "boards of rig {} run freely, and a sweep goes back to checkpoints, which real time does not; \
                 cut their power in a scenario, as {} may do",
                scenario.rig.name, scenario.id
            );
            return Err(CliError::Usage(what));
        }
        if self.frames && scenario.rig.can.segments.is_empty() {
            let what = format!("rig {} has no CAN bus to have frames on", scenario.rig.name);
            return Err(CliError::Usage(what));
        }
        let bench = bench(&self.play.engines()?)?;
        let plan = SweepPlan {
            scenario,
            frames: self.frames,
            depth: self.depth,
            budget: self.budget.map(|span| Duration::from_nanos(span.0.0)),
            shard: self.shard,
            jobs: self.play.jobs(),
            only: self.only,
            keep: self.keep,
        };
        // Opened first: an hour later is too late to say that a report cannot be written.
        let mut reports = Fan::default();
        self.records.add_to(&mut reports)?;
        reports.take(&Line::of_run(Record::RunStarted {
            planned: 1,
            jobs: plan.jobs,
        }))?;
        let begin = Instant::now();
        let mut console = Console::new(io::stdout(), stdout_colours(), bar_wanted(), false);
        let report = bench.sweep(&plan, &mut console)?;
        drop(console);
        let wall_ms = u64::try_from(begin.elapsed().as_millis()).unwrap_or(u64::MAX);
        for line in records(&plan, &report, wall_ms) {
            reports.take(&line)?;
        }
        if !self.records.take_output() {
            print(&summary(&plan, &report))?;
        }
        Ok(Exit::of(report.is_good()))
    }
}

/// What a sweep found, as records: a scenario for the sweep, and one for each case that failed.
fn records(plan: &SweepPlan, report: &SweepReport, wall_ms: u64) -> Vec<Line> {
    let scenario = &plan.scenario;
    let mut lines = Vec::new();
    let mut totals = Totals::default();
    let mut add = |id: &str, cuts: &[PlannedCut], verdict, message: String| {
        let started = Record::ScenarioStarted {
            name: scenario.name.clone(),
            path: scenario.path.display().to_string(),
            rig: scenario.rig.name.clone(),
            seed: scenario.seed,
            steps: scenario.steps.len(),
            places: Vec::new(),
            repeat: repeat(plan, cuts),
        };
        lines.push(Line::of(id, started));
        let figure = |name: &str, count: u64| Figure {
            name: name.to_owned(),
            #[expect(clippy::cast_precision_loss, reason = "counts of cases are small")]
            value: count as f64,
            unit: name.to_owned(),
        };
        if cuts.is_empty() {
            let figures = vec![
                figure("operations", report.operations),
                figure("cases", report.cases),
                figure("played", report.played),
                figure("failed", report.failures.len() as u64),
                figure("silent", report.silent.len() as u64),
            ];
            lines.push(Line::of(id, Record::Figures { figures }));
        }
        totals.count(verdict);
        let finished = Record::ScenarioFinished {
            verdict,
            message,
            time: Nanos::ZERO,
            wall_ms: if cuts.is_empty() { wall_ms } else { 0 },
        };
        lines.push(Line::of(id, finished));
    };
    let verdict = match report.is_good() {
        true => Verdict::Passed,
        false => Verdict::Failed,
    };
    add(&scenario.id, &[], verdict, verdict_line(plan, report));
    let silent = "this cut never fired".to_owned();
    let silent = report.silent.iter().map(|cuts| (cuts, silent.clone()));
    let failed = report.failures.iter();
    let failed = failed.map(|failure| (&failure.cuts, failure.message.clone()));
    for (cuts, message) in failed.chain(silent) {
        let id = format!("{} {}", scenario.id, case(cuts));
        add(&id, cuts, Verdict::Failed, message);
    }
    lines.push(Line::of_run(Record::RunFinished { totals, wall_ms }));
    lines
}

/// The command that plays the sweep, or one case of it, again.
fn repeat(plan: &SweepPlan, cuts: &[PlannedCut]) -> String {
    let path = plan.scenario.path.display();
    match cuts {
        [] if plan.frames => format!("arraybench sweep {path} --frames --depth {}", plan.depth),
        [] => format!("arraybench sweep {path} --depth {}", plan.depth),
        cuts => format!("arraybench sweep {path} {}", case(cuts)),
    }
}

/// What a sweep found, and the command that repeats each failure.
fn summary(plan: &SweepPlan, report: &SweepReport) -> String {
    let mut out = String::new();
    for failure in &report.failures {
        let media = case_folder(&plan.keep, &failure.cuts);
        out.push_str(&format!("FAIL {}\n", failure.message));
        out.push_str(&format!("     media in: {}\n", media.display()));
        let repeat = repeat(plan, &failure.cuts);
        out.push_str(&format!("     repeat with: {repeat}\n"));
    }
    for cuts in &report.silent {
        out.push_str(&format!("SILENT this cut never fired: {}\n", case(cuts)));
    }
    out.push_str(&format!("{}\n", verdict_line(plan, report)));
    out
}

/// How much was played, and how it went.
fn verdict_line(plan: &SweepPlan, report: &SweepReport) -> String {
    let word = match (report.is_exhaustive(), plan.shard == Shard::ALL) {
        (true, true) => "exhaustive",
        (true, false) => "exhaustive within its shard",
        (false, _) => "sampled",
    };
    format!(
        "{} operations, {} cases, {} played, {} failed, {} silent: {word}",
        report.operations,
        report.cases,
        report.played,
        report.failures.len(),
        report.silent.len(),
    )
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
            frames: false,
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
