use std::io::BufReader;
use std::path::PathBuf;

use clap::Args;

use super::exit::{CliError, Exit};
use super::output::{bar_wanted, print, stderr_colours, write_file};
use super::run::PlayArguments;
use super::select::scenarios;
use crate::coverage::{Coverage, Row, Rows, outcomes, table};
use crate::files::{FileError, Problem, open_file};
use crate::report::{Console, Fan, Line, Record, Sink, SinkError, read_json_lines};
use crate::runner::{GoldenPolicy, PlayOptions, bench, play_all};
use crate::scenario::{Expectation, Scenario};

/// Show every acceptance row and the expectation that proves it.
///
/// A row is proven if at least one expectation that names it in `proves` ran, and all that did held. Plays
/// the scenarios for that, or reads the records of a run (`run --json`). A row that nothing proves,
/// a row that does not exist and an expectation that ran zero times are errors.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct CoverageCommand {
    /// Names of scenarios, or paths of files or folders of them [default: every scenario of the
    /// project]
    #[arg(value_name = "SCENARIOS")]
    files: Vec<PathBuf>,
    /// Read the records of a run instead of playing
    #[arg(long, value_name = "FILE")]
    from: Vec<PathBuf>,
    /// Only list the rows
    #[arg(long)]
    list: bool,
    /// Only rows that this issue must prove
    #[arg(long, value_name = "N")]
    issue: Option<u32>,
    /// Write the table as JSON too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(flatten)]
    play: PlayArguments,
}

const EXAMPLES: &str = "\
Examples:
  arraybench coverage                     play everything, show every row
  arraybench run --all --json run.jsonl; arraybench coverage --from run.jsonl
                                          the same from a run that is over
  arraybench coverage --list              the rows and what they ask";

impl CoverageCommand {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let rows = Rows::of_the_project();
        let wanted = |row: &Row| self.issue.is_none_or(|issue| row.required_by == issue);
        if self.list {
            let list: String = rows
                .iter()
                .filter(|row| wanted(row))
                .map(|row| format!("{:<6} {}\n", row.id, row.title))
                .collect();
            print(&list)?;
            return Ok(Exit::Good);
        }
        let scenarios = scenarios(&self.files, self.files.is_empty())?;
        let lines = match self.from.is_empty() {
            true => self.play(&scenarios)?,
            false => self.read()?,
        };
        let declared: Vec<Expectation> =
            scenarios.iter().flat_map(Scenario::expectations).collect();
        let coverage = Coverage::compute(&rows, wanted, &declared, &outcomes(&lines));
        print(&table(&coverage))?;
        if let Some(path) = &self.json {
            let text = serde_json::to_vec_pretty(&coverage).map_err(|error| CliError::Output {
                what: format!("{} cannot be written", path.display()),
                source: error.into(),
            })?;
            write_file(path, &text)?;
        }
        Ok(Exit::of(coverage.is_whole()))
    }

    fn play(&self, scenarios: &[Scenario]) -> Result<Vec<Line>, CliError> {
        let bench = bench(&self.play.engines()?)?;
        let options = PlayOptions {
            jobs: self.play.jobs(),
            golden: GoldenPolicy::Ignore,
            golden_folder: None,
            stop_on_failure: false,
        };
        let mut expectations = Expectations(Vec::new());
        {
            let mut fan = Fan::default();
            fan.add(&mut expectations);
            // The table is the output; how the run goes is told beside it.
            fan.add(Console::new(
                std::io::stderr(),
                stderr_colours(),
                bar_wanted(),
                false,
            ));
            play_all(bench.as_ref(), scenarios, &options, &mut fan)?;
        }
        Ok(expectations.0)
    }

    fn read(&self) -> Result<Vec<Line>, CliError> {
        let mut lines = Vec::new();
        let mut errors = Vec::new();
        for path in &self.from {
            let read = open_file(path)
                .map_err(|problem| problem.what)
                .and_then(|(file, _)| read_json_lines(BufReader::new(file)));
            match read {
                Ok(read) => lines.extend(read),
                Err(what) => {
                    let problem = Problem::new(what, "make it with `arraybench run --json FILE`");
                    errors.push(FileError::of(&path.display().to_string(), "", problem));
                }
            }
        }
        match errors.is_empty() {
            true => Ok(lines),
            false => Err(CliError::Files(errors)),
        }
    }
}

/// Keeps what coverage counts, and nothing of the rest.
struct Expectations(Vec<Line>);

impl Sink for &mut Expectations {
    fn take(&mut self, line: &Line) -> Result<(), SinkError> {
        if let Record::Expectation { .. } = line.record {
            self.0.push(line.clone());
        }
        Ok(())
    }
}
