use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::exit::CliError;
use crate::files::{FileError, Problem};
use crate::scenario::Scenario;

/// Where the scenarios of the project are, seen from a checkout of it.
const PROJECT_SCENARIOS: &str = "harness/scenarios";

/// The scenario files below the current directory's project, or of the sources this was built from.
fn all() -> Result<Vec<PathBuf>, CliError> {
    let built_from = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let folder = [Path::new(PROJECT_SCENARIOS), &built_from]
        .into_iter()
        .find(|folder| folder.is_dir())
        .ok_or_else(|| {
            CliError::Usage(format!(
                "there is no {PROJECT_SCENARIOS} here; name the scenario files instead of --all"
            ))
        })?
        .to_path_buf();
    in_folder(&folder)
}

/// The scenario files in `folder`, by name.
fn in_folder(folder: &Path) -> Result<Vec<PathBuf>, CliError> {
    let list = || -> std::io::Result<Vec<PathBuf>> {
        fs::read_dir(folder)?
            .map(|entry| Ok(entry?.path()))
            .collect()
    };
    let mut files = list().map_err(|error| {
        let problem = Problem::new(
            format!("the folder cannot be read: {error}"),
            "check the path",
        );
        FileError::of(&folder.display().to_string(), "", problem)
    })?;
    files.retain(|path| path.extension().is_some_and(|end| end == "toml"));
    files.sort();
    Ok(files)
}

/// Loads scenarios: files, folders of files, or all of the project. Everything wrong with any of
/// them is told at once.
pub(super) fn scenarios(paths: &[PathBuf], want_all: bool) -> Result<Vec<Scenario>, CliError> {
    let mut files = Vec::new();
    if want_all {
        files = all()?;
    }
    for path in paths {
        if path.is_dir() {
            files.extend(in_folder(path)?);
        } else {
            files.push(path.clone());
        }
    }
    if files.is_empty() {
        return Err(CliError::Usage(
            "name scenario files, or say --all".to_owned(),
        ));
    }
    let (mut scenarios, mut errors) = (Vec::new(), Vec::new());
    for file in &files {
        match Scenario::load(file) {
            Ok(scenario) => scenarios.push(scenario),
            Err(error) => errors.push(error),
        }
    }
    errors.extend(twins(&scenarios));
    match errors.is_empty() {
        true => Ok(scenarios),
        false => Err(CliError::Files(errors)),
    }
}

/// Two files of one name would share a golden and be one line in every report.
fn twins(scenarios: &[Scenario]) -> Vec<FileError> {
    let mut first: BTreeMap<&str, &Path> = BTreeMap::new();
    let mut errors = Vec::new();
    for scenario in scenarios {
        if let Some(other) = first.insert(&scenario.id, &scenario.path) {
            let what = format!("{} has the same file name", other.display());
            let problem =
                Problem::new(what, "rename one: goldens and reports know scenarios by it");
            errors.push(FileError::of(
                &scenario.path.display().to_string(),
                "",
                problem,
            ));
        }
    }
    errors
}
