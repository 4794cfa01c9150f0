use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::fan::{Sink, SinkError};
use super::record::{Line, Record, Verdict};
use super::timeline::timeline;

/// Keeps a JUnit file whole: written anew when a scenario starts or finishes, so a scenario
/// that never finished stands there as an error.
#[derive(Debug)]
pub struct Junit {
    path: PathBuf,
    cases: BTreeMap<String, Case>,
}

#[derive(Debug, Default)]
struct Case {
    name: String,
    path: String,
    repeat: String,
    assertions: usize,
    complaints: Vec<String>,
    timeline: Vec<String>,
    end: Option<(Verdict, String, u64)>,
}

/// Of a case that did not pass, this much of the end of its timeline goes into the file.
const TIMELINE_KEPT: usize = 200;

impl Junit {
    /// Keeps the file at `path`.
    pub fn new(path: &Path) -> Junit {
        Junit {
            path: path.to_path_buf(),
            cases: BTreeMap::new(),
        }
    }

    fn report(&self) -> Report {
        let mut report = Report::new("arraybench");
        let mut suite = TestSuite::new("scenarios");
        for (id, case) in &self.cases {
            suite.add_test_case(case.test_case(id));
        }
        report.add_test_suite(suite);
        report
    }

    fn write(&self) -> Result<(), SinkError> {
        let problem = |source| SinkError {
            name: self.path.display().to_string(),
            source,
        };
        let mut bytes = Vec::new();
        self.report()
            .serialize(&mut bytes)
            .map_err(|error| problem(std::io::Error::other(error)))?;
        // Renamed into place: a reader never sees half a file.
        let mut new = self.path.clone().into_os_string();
        new.push(".new");
        fs::write(&new, &bytes)
            .and_then(|()| fs::rename(&new, &self.path))
            .map_err(problem)
    }
}

impl Case {
    fn test_case(&self, id: &str) -> TestCase {
        let status = match &self.end {
            Some((Verdict::Passed, _, _)) => TestCaseStatus::success(),
            Some((Verdict::Failed, message, _)) => {
                self.non_success(NonSuccessKind::Failure, message)
            }
            Some((Verdict::Broken, message, _)) => self.non_success(NonSuccessKind::Error, message),
            None => self.non_success(NonSuccessKind::Error, "it did not finish"),
        };
        let mut case = TestCase::new(id, status);
        case.set_classname(&self.path)
            .set_assertions(self.assertions);
        if let Some((_, _, wall_ms)) = self.end {
            case.set_time(Duration::from_millis(wall_ms));
        }
        case.add_property(("story", self.name.as_str()));
        if !matches!(self.end, Some((Verdict::Passed, _, _))) {
            case.set_system_out(self.timeline.join("\n"));
        }
        case
    }

    fn non_success(&self, kind: NonSuccessKind, message: &str) -> TestCaseStatus {
        let mut status = TestCaseStatus::non_success(kind);
        status.set_message(message);
        let mut text = self.complaints.join("\n");
        text.push_str(&format!("\nrepeat with: {}\n", self.repeat));
        status.set_description(text.trim_start());
        status
    }

    fn take(&mut self, record: &Record) {
        match record {
            Record::ScenarioStarted {
                name, path, repeat, ..
            } => {
                self.name.clone_from(name);
                self.path.clone_from(path);
                self.repeat.clone_from(repeat);
            }
            Record::Expectation {
                id,
                line,
                passed,
                message,
                ..
            } => {
                self.assertions += 1;
                if !passed {
                    let text = format!("{}:{line}: {} did not hold: {message}", self.path, id.part);
                    self.complaints.push(text);
                }
            }
            Record::FaultSilent { text, .. } => {
                self.complaints.push(format!("fault never fired: {text}"));
            }
            Record::InvariantBroken {
                invariant, text, ..
            } => self
                .complaints
                .push(format!("invariant {invariant} broken: {text}")),
            Record::Golden {
                path,
                same: false,
                difference,
                blessed: false,
            } => self
                .complaints
                .push(format!("differs from {path}:\n{difference}")),
            Record::ScenarioFinished {
                verdict,
                message,
                wall_ms,
                ..
            } => self.end = Some((*verdict, message.clone(), *wall_ms)),
            _ => {}
        }
    }
}

impl Sink for Junit {
    fn take(&mut self, line: &Line) -> Result<(), SinkError> {
        if let Some(id) = &line.scenario {
            let case = self.cases.entry(id.clone()).or_default();
            case.take(&line.record);
            case.timeline.extend(timeline(line));
            if case.timeline.len() > 2 * TIMELINE_KEPT {
                case.timeline.drain(..TIMELINE_KEPT);
            }
        }
        match line.record {
            Record::RunStarted { .. }
            | Record::ScenarioStarted { .. }
            | Record::ScenarioFinished { .. }
            | Record::RunFinished { .. } => self.write(),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::sample;
    use super::*;

    #[test]
    fn a_run_that_hangs_leaves_its_cases() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("junit.xml");
        let mut sink = Junit::new(&path);
        for line in sample() {
            sink.take(&line).unwrap();
        }
        insta::assert_snapshot!(fs::read_to_string(&path).unwrap());
    }

    #[test]
    fn a_report_that_cannot_be_written_is_named() {
        let mut sink = Junit::new(Path::new("/nowhere/junit.xml"));
        let error = sample().iter().find_map(|line| sink.take(line).err());
        assert!(error.unwrap().to_string().contains("/nowhere/junit.xml"));
    }
}
