use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use super::exit::CliError;
use crate::files::{FileError, Problem, nearest};
use crate::scenario::Scenario;

/// Where the scenarios of the project are, seen from a checkout of it.
const PROJECT_SCENARIOS: &str = "harness/scenarios";

/// The scenarios the product comes with: of the current directory's checkout, or of the sources this
/// was built from.
pub(super) fn project_scenarios() -> Result<Vec<PathBuf>, CliError> {
    let built_from = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let folder = [Path::new(PROJECT_SCENARIOS), &built_from]
        .into_iter()
        .find(|folder| folder.is_dir())
        .ok_or_else(|| {
            CliError::Usage(format!(
                "there is no {PROJECT_SCENARIOS} here; name scenario files by their paths"
            ))
        })?
        .to_path_buf();
    in_folder(&folder)
}

/// What a scenario file is called: `live-upgrade` for `harness/scenarios/live-upgrade.toml`.
pub(super) fn name_of(path: &Path) -> &str {
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    stem.unwrap_or_default()
}

/// The files that a word of the command line stands for: a folder of them, a file, or the name of
/// a scenario the product comes with.
fn files_of(word: &Path) -> Result<Vec<PathBuf>, CliError> {
    if word.is_dir() {
        return in_folder(word);
    }
    let name = word.to_str().filter(|text| !text.contains('/'));
    match name.filter(|text| !text.ends_with(".toml") && !word.exists()) {
        Some(name) => named(name, &project_scenarios()?).map(|file| vec![file]),
        None => Ok(vec![word.to_path_buf()]),
    }
}

/// The file called `name` among `known`.
fn named(name: &str, known: &[PathBuf]) -> Result<PathBuf, CliError> {
    let names: Vec<&str> = known.iter().map(|path| name_of(path)).collect();
    if let Some(at) = names.iter().position(|known| *known == name) {
        return Ok(known[at].clone());
    }
    let holding: Vec<&str> = names.iter().copied().filter(|n| n.contains(name)).collect();
    let meant = match (nearest(name, names.iter().copied()), holding.as_slice()) {
        (Some(meant), _) => format!("did you mean `{meant}`? "),
        (None, []) => String::new(),
        (None, some) => format!("did you mean one of {}? ", some.join(", ")),
    };
    let remedy = format!(
        "{meant}`arraybench run --list` shows all names; a file of your own is named by its path, e.g. ./{name}.toml"
    );
    let problem = Problem::new("there is no scenario of this name", remedy);
    Err(FileError::of(name, "", problem).into())
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

/// Loads scenarios: by name, files, folders of files, or all of the project. Everything wrong with any of
/// them is told at once.
pub(super) fn scenarios(paths: &[PathBuf], want_all: bool) -> Result<Vec<Scenario>, CliError> {
    let mut files = Vec::new();
    if want_all {
        files = project_scenarios()?;
    }
    for word in paths {
        files.extend(files_of(word)?);
    }
    if let (true, [folder, ..]) = (files.is_empty(), paths) {
        return Err(CliError::Usage(format!(
            "{} holds no scenario file (*.toml)",
            folder.display()
        )));
    }
    if files.is_empty() {
        return Err(CliError::Usage(
            "name scenarios or files of them, or say --all; `arraybench run --list` shows the names"
                .to_owned(),
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

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(name: &str) -> String {
        let known = ["live-upgrade", "single-upgrade", "single-normal-boot"];
        let files = known.map(|name| PathBuf::from(format!("s/{name}.toml")));
        match named(name, &files) {
            Ok(path) => path.display().to_string(),
            Err(CliError::Files(errors)) => errors[0].problems()[0].remedy.clone(),
            Err(other) => other.to_string(),
        }
    }

    #[test]
    fn a_name_is_found_or_answered_with_the_nearest() {
        assert_eq!(answer("live-upgrade"), "s/live-upgrade.toml");
        assert!(answer("live-upgarde").starts_with("did you mean `live-upgrade`?"));
        let several = "did you mean one of live-upgrade, single-upgrade?";
        assert!(answer("upgrade").starts_with(several));
        assert!(answer("zebra").starts_with("`arraybench run --list` shows all names"));
    }

    #[test]
    fn the_flagship_is_known_by_name() {
        let files = files_of(Path::new("live-upgrade")).unwrap();
        assert!(files[0].is_file(), "{files:?}");
    }
}
