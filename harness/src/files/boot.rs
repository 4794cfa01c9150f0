//! What a machine other than the AB-1 boots: files of the user's, or in the folder that `scripts/setup` fills.

use std::env;
use std::path::{Path, PathBuf};

use emulator::rig::{Boot, PathStep, Rig, RigProblem};

use super::binary::open_file;

/// Begins the name of a file in [`FOLDER`].
const PREFIX: &str = "setup:";
/// Where `scripts/setup` puts things, in the checkout.
const FOLDER: &str = ".setup";

/// A file of the folder that `scripts/setup` fills is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotSetUp {
    /// The file, from the checkout.
    pub file: PathBuf,
    /// Who wants it, and where it was looked for.
    pub what: String,
    /// The command that mends it.
    pub remedy: &'static str,
}

fn files(boot: &mut Boot) -> [(&'static str, &mut String); 3] {
    [
        ("firmware", &mut boot.firmware),
        ("kernel", &mut boot.kernel),
        ("initramfs", &mut boot.initramfs),
    ]
}

/// Finds the user's files, with `beside` from where their rig file is; says which cannot be read. Those of
/// `scripts/setup` keep their names: whether they are there says nothing about the rig file.
pub(super) fn place(boot: &mut Boot, beside: impl Fn(&str) -> String) -> Vec<RigProblem> {
    let mut problems = Vec::new();
    for (key, file) in files(boot) {
        if file.is_empty() || file.starts_with(PREFIX) {
            continue;
        }
        *file = beside(file);
        if let Err(error) = open_file(Path::new(file)) {
            let path = ["board", "boot", key].map(|key| PathStep::Key(key.to_owned()));
            problems.push(RigProblem {
                path: path.into(),
                what: format!("{file}: {}", error.what),
                remedy: format!(
                    "{}; a name that begins with `{PREFIX}` is of the files that scripts/setup makes",
                    error.remedy
                ),
            });
        }
    }
    problems
}

/// The rig as this machine can build it, with the files of `scripts/setup` where they lie.
///
/// # Errors
/// One is not there.
pub fn with_setup_files(rig: &Rig) -> Result<Rig, NotSetUp> {
    let mut found = rig.clone();
    for (key, file) in files(&mut found.board.boot) {
        if let Some(name) = file.strip_prefix(PREFIX) {
            *file = find(name, &places()).ok_or_else(|| not_set_up(rig, key, name))?;
        }
    }
    Ok(found)
}

/// Each folder is looked at, then those above it.
fn places() -> Vec<PathBuf> {
    let program = env::current_exe().ok();
    let beside = program.and_then(|program| program.parent().map(Path::to_owned));
    beside.into_iter().chain(env::current_dir()).collect()
}

fn find(name: &str, places: &[PathBuf]) -> Option<String> {
    let above = places.iter().flat_map(|folder| folder.ancestors());
    let file = above
        .map(|folder| folder.join(FOLDER).join(name))
        .find(|file| file.is_file())?;
    Some(file.display().to_string())
}

fn not_set_up(rig: &Rig, key: &str, name: &str) -> NotSetUp {
    let places = places();
    let places: Vec<String> = places
        .iter()
        .map(|place| place.display().to_string())
        .collect();
    NotSetUp {
        file: Path::new(FOLDER).join(name),
        what: format!(
            "rig {} names it in board.boot.{key}, and it is in no folder above {}",
            rig.name,
            places.join(" or ")
        ),
        remedy: "mend it with: scripts/setup --foreign",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_scripts_setup_makes_is_found_above() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join(".setup/linux");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("vmlinuz"), "kernel").unwrap();
        let deep = root.path().join("target/release");
        let found = find("linux/vmlinuz", &[PathBuf::from("/nowhere"), deep.clone()]);
        assert_eq!(found, Some(folder.join("vmlinuz").display().to_string()));
        assert_eq!(find("linux/other", &[deep]), None);
    }

    #[test]
    fn what_is_not_there_comes_with_the_command_that_brings_it() {
        let mut rig = Rig::default();
        rig.board.boot.kernel = "setup:no/such/kernel".to_owned();
        let missing = with_setup_files(&rig).unwrap_err();
        assert_eq!(missing.file, Path::new(".setup/no/such/kernel"));
        assert!(missing.what.contains("board.boot.kernel"), "{missing:?}");
        assert!(missing.remedy.ends_with("scripts/setup --foreign"));
    }
}
