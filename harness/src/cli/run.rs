use std::fs::File;
use std::io;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::thread;

use clap::Args;

use super::engine::EngineArgument;
use super::exit::{CliError, Exit};
use super::output::{bar_wanted, print, stdout_colours};
use super::select::scenarios;
use crate::report::{CanTraces, Console, Fan, Html, JsonLines, Junit, SinkError};
use crate::runner::{Engines, GoldenPolicy, PlayOptions, bench, play_all};
use crate::scenario::Scenario;

/// Play scenarios and compare each outcome with its golden.
///
/// A scenario is a TOML file that tells one story in steps. It passes if every expectation in it ran
/// and held, every fault in it fired, no invariant was broken, and timeline, final state and
/// panels are those of its golden (golden/<scenario>.snap). Runs are deterministic: the same
/// scenario, firmware and seed give the same bytes, however many jobs there are.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = long_help())]
pub(super) struct Run {
    /// Names of scenarios (see --list), or paths of scenario files or folders of them
    #[arg(value_name = "SCENARIOS")]
    files: Vec<PathBuf>,
    /// Every scenario of the project (harness/scenarios)
    #[arg(long)]
    all: bool,
    /// Print name and story of every scenario of the project, play nothing
    #[arg(long)]
    list: bool,
    /// Only read the files and say what is wrong with them
    #[arg(long)]
    check: bool,
    /// Show every event as it happens: virtual time, board, event
    #[arg(long, short)]
    timeline: bool,
    #[command(flatten)]
    play: PlayArguments,
    /// Play with another seed than the file's; goldens are then left alone
    #[arg(long, value_name = "S")]
    seed: Option<u64>,
    #[command(flatten)]
    records: RecordArguments,
    /// Write a timeline with one lane per board, for a browser
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the frames of CAN buses into a folder: SCENARIO.log (candump), SCENARIO.pcapng (Wireshark)
    #[arg(long, value_name = "DIR")]
    can_trace: Option<PathBuf>,
    /// Not for scenarios: they are played in virtual time, and hardware answers when it likes. `boot` and `device can`
    /// have it
    #[arg(long, value_name = "INTERFACE")]
    can_bridge: Option<String>,
    /// Accept the outcomes of scenarios in which everything held as goldens; read the diff first
    #[arg(long, conflicts_with = "seed")]
    bless: bool,
    /// Where goldens are [default: `golden` beside or above the scenario]
    #[arg(long, value_name = "DIR")]
    golden: Option<PathBuf>,
    /// Begin no further scenario after one that did not pass
    #[arg(long)]
    stop_on_failure: bool,
}

/// How to play.
#[derive(Clone, Debug, Args)]
pub(super) struct PlayArguments {
    /// Scenarios or cases at a time [default: one per CPU]
    #[arg(long, short, value_name = "N")]
    jobs: Option<NonZeroUsize>,
    #[command(flatten)]
    engine: EngineArgument,
}

/// Where to write what happened, for machines.
#[derive(Clone, Debug, Args)]
pub(super) struct RecordArguments {
    /// Write every record, one JSON object a line (`-`: to the output)
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write a JUnit report
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
}

impl RecordArguments {
    /// Whether the output belongs to records alone.
    pub(super) fn take_output(&self) -> bool {
        self.json.as_deref() == Some(Path::new("-"))
    }

    /// Adds the reports that were asked for.
    pub(super) fn add_to(&self, reports: &mut Fan<'static>) -> Result<(), CliError> {
        if self.take_output() {
            reports.add(JsonLines::new("on the output", io::stdout()));
        } else if let Some(path) = &self.json {
            let name = path.display().to_string();
            let file = File::create(path).map_err(|source| SinkError {
                name: name.clone(),
                source,
            })?;
            reports.add(JsonLines::new(&name, file));
        }
        if let Some(path) = &self.junit {
            reports.add(Junit::new(path));
        }
        Ok(())
    }
}

impl PlayArguments {
    pub(super) fn jobs(&self) -> usize {
        let cpus = || thread::available_parallelism().map_or(1, NonZeroUsize::get);
        self.jobs.map_or_else(cpus, NonZeroUsize::get)
    }

    pub(super) fn engines(&self) -> Result<Engines, CliError> {
        self.engine.choice()
    }
}

const EXAMPLES: &str = "\
Examples:
  arraybench run --all                                   everything, on all CPUs
  arraybench run --list                                  what there is to play
  arraybench run live-upgrade --timeline                 one story, event by event
  arraybench run --all --junit junit.xml --json run.jsonl --html run.html
                                                         what a CI job wants
  arraybench run my/story.toml --check                   is the file good?
  arraybench run my/story.toml --bless                   accept its outcome as golden

`arraybench run --help` lists every verb of the scenario language.";

fn long_help() -> String {
    format!(
        "{EXAMPLES}\n\nA scenario names a rig, says what is in flash and on the array, and goes on in steps:\n\n  \
         name = \"Single controller, normal boot\"\n  rig = \"single\"\n  covers = [\"VC70\"]\n  \
         firmware = {{ A = \"1.0\", array = \"1.0\" }}\n  steps = [\n    {{ power = \"on\" }},\n    \
         {{ await = \"operational\", board = \"A\", within = \"30s\" }},\n    \
         {{ expect = {{ boots = {{ A = 1 }} }}, proves = [\"VC70\"] }},\n  ]\n\n\
         Every step has exactly one verb:\n\n{}",
        Scenario::verbs_help()
    )
}

/// Names and stories, in two columns.
fn list(scenarios: &[Scenario]) -> String {
    let width = scenarios.iter().map(|s| s.id.len()).max().unwrap_or(0);
    let line = |scenario: &Scenario| format!("{:width$}  {}\n", scenario.id, scenario.name);
    scenarios.iter().map(line).collect()
}

impl Run {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        if let Some(name) = &self.can_bridge {
            return Err(CliError::Usage(format!(
                "--can-bridge {name}: a scenario is played in virtual time and comes out the same every time; what is \
                 behind {name} answers in real time, when it likes. Sit at the array with `arraybench boot RIG \
                 --can-bridge {name}`, or serve a controller alone with `arraybench device can --can-bridge {name}`"
            )));
        }
        let mut scenarios = scenarios(&self.files, self.all || self.list)?;
        if self.list {
            print(&list(&scenarios))?;
            return Ok(Exit::Good);
        }
        if self.check {
            print(&format!("{} scenarios, nothing wrong\n", scenarios.len()))?;
            return Ok(Exit::Good);
        }
        if let Some(seed) = self.seed {
            for scenario in &mut scenarios {
                scenario.seed = seed;
            }
        }
        let golden = match (self.seed, self.bless) {
            (Some(_), _) => GoldenPolicy::Ignore,
            (None, true) => GoldenPolicy::Bless,
            (None, false) => GoldenPolicy::Compare,
        };
        let options = PlayOptions {
            jobs: self.play.jobs(),
            golden,
            golden_folder: self.golden.clone(),
            stop_on_failure: self.stop_on_failure,
        };
        let bench = bench(&self.play.engines()?)?;
        let mut reports = self.reports()?;
        let totals = play_all(bench.as_ref(), &scenarios, &options, &mut reports)?;
        Ok(match (totals.failed, totals.broken) {
            (0, 0) => Exit::Good,
            (0, _) => Exit::Broken,
            _ => Exit::Failed,
        })
    }

    fn reports(&self) -> Result<Fan<'static>, CliError> {
        let mut reports = Fan::default();
        if !self.records.take_output() {
            let console = Console::new(io::stdout(), stdout_colours(), bar_wanted(), self.timeline);
            reports.add(console);
        }
        self.records.add_to(&mut reports)?;
        if let Some(path) = &self.html {
            reports.add(Html::create(path)?);
        }
        if let Some(folder) = &self.can_trace {
            reports.add(CanTraces::create(folder)?);
        }
        Ok(reports)
    }
}
