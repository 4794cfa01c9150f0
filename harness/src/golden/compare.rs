use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use similar::TextDiff;
use thiserror::Error;

use super::outcome::Outcome;
use super::panel::Panel;
use super::render::render;

/// The golden of one scenario.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Golden {
    folder: PathBuf,
    scenario: String,
}

/// How an outcome compares with its golden.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// It is the same.
    Same,
    /// Nobody has accepted one yet; the text that would be.
    Missing(String),
    /// It differs; the difference, line by line.
    Different(String),
}

/// The golden cannot be read or written.
#[derive(Debug, Error)]
#[error("{path} cannot be {done}")]
pub struct GoldenError {
    /// The file.
    pub path: PathBuf,
    /// Read or written.
    pub done: &'static str,
    /// Why.
    #[source]
    pub source: io::Error,
}

/// A golden is reviewed like code; nobody reviews more.
const GOLDEN_MAX: u64 = 16 << 20;
/// A diff longer than this is not read either.
const DIFFERENCE_LINES: usize = 120;
/// What insta puts between its header and the text.
const FENCE: &str = "---\n";
/// The test that compares the same goldens under `cargo insta`.
const SOURCE: &str = "harness/tests/goldens.rs";

/// The folder of goldens for a scenario file: `golden` beside it or beside a folder above it.
pub fn golden_folder(scenario: &Path) -> PathBuf {
    let start = fs::canonicalize(scenario).unwrap_or_else(|_| scenario.to_path_buf());
    start
        .ancestors()
        .skip(1)
        .map(|folder| folder.join("golden"))
        .find(|folder| folder.is_dir())
        .unwrap_or_else(|| scenario.parent().unwrap_or(Path::new("")).join("golden"))
}

impl Golden {
    /// The golden of `scenario` in `folder`.
    pub fn new(folder: &Path, scenario: &str) -> Golden {
        Golden {
            folder: folder.to_path_buf(),
            scenario: scenario.to_owned(),
        }
    }

    /// Its text file.
    pub fn path(&self) -> PathBuf {
        self.folder.join(format!("{}.snap", self.scenario))
    }

    fn panel_path(&self, panel: &Panel) -> PathBuf {
        self.folder
            .join(format!("{}.{}.png", self.scenario, panel.slot))
    }

    /// Compares an outcome with what was accepted.
    ///
    /// # Errors
    /// The golden is there but cannot be read.
    pub fn compare(&self, outcome: &Outcome) -> Result<Comparison, GoldenError> {
        let found = render(outcome);
        let Some(accepted) = self.read()? else {
            return Ok(Comparison::Missing(found));
        };
        let mut difference = String::new();
        if accepted.trim_end() != found.trim_end() {
            difference.push_str(&difference_of(&accepted, &found));
        }
        for panel in &outcome.panels {
            difference.extend(panel.difference(&self.panel_path(panel)));
        }
        Ok(match difference.is_empty() {
            true => Comparison::Same,
            false => Comparison::Different(difference),
        })
    }

    /// Accepts an outcome: it is the golden from now on.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn bless(&self, outcome: &Outcome) -> Result<(), GoldenError> {
        let text = format!(
            "{FENCE}source: {SOURCE}\nexpression: golden text of {}\n{FENCE}{}",
            self.scenario,
            render(outcome)
        );
        let problem = |path: &Path, source| GoldenError {
            path: path.to_path_buf(),
            done: "written",
            source,
        };
        fs::create_dir_all(&self.folder).map_err(|error| problem(&self.folder, error))?;
        for panel in &outcome.panels {
            let path = self.panel_path(panel);
            let bytes = panel
                .encode()
                .map_err(|error| problem(&path, io::Error::other(error)))?;
            fs::write(&path, bytes).map_err(|error| problem(&path, error))?;
        }
        let path = self.path();
        fs::write(&path, text).map_err(|error| problem(&path, error))
    }

    /// The accepted text without insta's header; nothing where none was accepted.
    fn read(&self) -> Result<Option<String>, GoldenError> {
        let path = self.path();
        let problem = |source| GoldenError {
            path: path.clone(),
            done: "read",
            source,
        };
        let length = match fs::metadata(&path) {
            Ok(facts) => facts.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(problem(error)),
        };
        if length > GOLDEN_MAX {
            return Err(problem(io::Error::other("it is too large to be a golden")));
        }
        let text = fs::read_to_string(&path).map_err(problem)?;
        let body = text
            .strip_prefix(FENCE)
            .and_then(|rest| rest.split_once(&format!("\n{FENCE}")))
            .map_or(text.as_str(), |(_, body)| body);
        Ok(Some(body.to_owned()))
    }
}

fn difference_of(accepted: &str, found: &str) -> String {
    let diff = TextDiff::from_lines(accepted, found);
    let text = diff
        .unified_diff()
        .context_radius(2)
        .header("golden", "this run")
        .to_string();
    let lines = text.lines().count();
    let mut out: String = text
        .lines()
        .take(DIFFERENCE_LINES)
        .flat_map(|line| [line, "\n"])
        .collect();
    if lines > DIFFERENCE_LINES {
        out.push_str(&format!("… and {} more lines\n", lines - DIFFERENCE_LINES));
    }
    out
}

#[cfg(test)]
mod tests {
    use devices::time::Nanos;

    use super::super::outcome::Entry;
    use super::*;

    fn outcome(text: &str, red: u8) -> Outcome {
        Outcome {
            scenario: "story".to_owned(),
            name: "A story".to_owned(),
            rig: "single".to_owned(),
            timeline: vec![Entry {
                time: Nanos::ZERO,
                place: "A".to_owned(),
                text: text.to_owned(),
            }],
            panels: vec![Panel {
                slot: "A".to_owned(),
                width: 4,
                height: 2,
                rgb: [[0, 0, 0].repeat(5), vec![red, 0, 0], [9, 9, 9].repeat(2)].concat(),
            }],
            ..Outcome::default()
        }
    }

    #[test]
    fn blessed_compared_and_different() {
        let folder = tempfile::tempdir().unwrap();
        let golden = Golden::new(&folder.path().join("golden"), "story");
        let first = outcome("operational", 1);
        assert!(matches!(
            golden.compare(&first).unwrap(),
            Comparison::Missing(_)
        ));
        golden.bless(&first).unwrap();
        assert_eq!(golden.compare(&first).unwrap(), Comparison::Same);
        let Comparison::Different(difference) = golden.compare(&outcome("hung", 1)).unwrap() else {
            panic!("not different");
        };
        insta::assert_snapshot!(difference);
        let Comparison::Different(difference) = golden.compare(&outcome("operational", 2)).unwrap()
        else {
            panic!("not different");
        };
        assert!(difference.contains("1 pixels differ"), "{difference}");
        assert!(difference.contains("column 1 row 1"), "{difference}");
    }

    #[test]
    fn only_pixels_of_a_picture_count() {
        let panel = outcome("", 7).panels.remove(0);
        let bytes = panel.encode().unwrap();
        assert_eq!(Panel::decode("A", &bytes).unwrap(), panel);
        assert!(Panel::decode("A", &bytes[..20]).is_err());
        assert!(Panel::decode("A", b"no picture").is_err());
        let wrong = Panel { width: 5, ..panel };
        assert!(wrong.encode().is_err());
    }

    #[test]
    fn goldens_lie_beside_a_folder_above_the_scenario() {
        let root = tempfile::tempdir().unwrap();
        let root = fs::canonicalize(root.path()).unwrap();
        fs::create_dir_all(root.join("golden")).unwrap();
        fs::create_dir_all(root.join("harness/scenarios")).unwrap();
        let scenario = root.join("harness/scenarios/story.toml");
        fs::write(&scenario, "").unwrap();
        assert_eq!(golden_folder(&scenario), root.join("golden"));
    }
}
