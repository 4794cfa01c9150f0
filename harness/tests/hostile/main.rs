//! Files that are wrong, or meant to harm: each is answered with its name, its place, a remedy and exit
//! code 3, soon, within bounds of memory, and nothing on disk is touched.

mod firmware;
mod rigs;
mod scenarios;
mod states;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// Seconds of the wall clock after which an answer counts as none: a build without optimisation on a busy
/// machine takes 0.2.
const PATIENCE_S: &str = "30";
/// Address space in KiB that must do, whatever a file asks for.
const MEMORY_KIB: &str = "4194304";
const BAD_FILE: i32 = 3;

const GOOD: &str = "\
name = \"x\"
rig = \"single\"
firmware = { A = \"1.0\", array = \"1.0\" }
steps = [
  { power = \"on\" },
  { await = \"operational\", board = \"A\", within = \"30s\" },
]
";

/// What lies in a folder before the program sees it.
enum Put {
    Bytes(Vec<u8>),
    Folder,
    /// A named pipe that nobody writes.
    Pipe,
    Link(&'static str),
}

fn text(text: &str) -> Put {
    Put::Bytes(text.as_bytes().to_vec())
}

fn put(folder: &Path, name: &str, what: &Put) {
    let path = folder.join(name);
    match what {
        Put::Bytes(bytes) => fs::write(path, bytes).unwrap(),
        Put::Folder => fs::create_dir(path).unwrap(),
        Put::Pipe => assert!(Command::new("mkfifo").arg(path).status().unwrap().success()),
        Put::Link(to) => symlink(to, path).unwrap(),
    }
}

/// Everything below a folder: by path, what it is and what it holds.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        // Whoever opens a state notes there that it is in use.
        if path.file_name().is_some_and(|name| name == "lock") {
            continue;
        }
        let kind = path.symlink_metadata().unwrap().file_type();
        let mut holds = format!("{kind:?}").into_bytes();
        if kind.is_dir() {
            all.extend(contents(&path));
        } else if kind.is_file() {
            holds.extend(fs::read(&path).unwrap());
        }
        all.insert(path, holds);
    }
    all
}

/// Runs the program in `folder`: exit code and what it says.
fn run(folder: &Path, arguments: &[&str]) -> (i32, String) {
    let limited = "ulimit -v \"$1\"; shift; exec timeout \"$@\"";
    let output = Command::new("sh")
        .args(["-c", limited, "sh", MEMORY_KIB, PATIENCE_S])
        .arg(env!("CARGO_BIN_EXE_arraybench"))
        .args(arguments)
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    (output.status.code().unwrap_or(-1), said)
}

/// The program must refuse what is in `folder`, and say each of `wanted`, and a remedy.
fn refused(folder: &Path, case: &str, arguments: &[&str], wanted: &[&str]) {
    let before = contents(folder);
    let (code, said) = run(folder, arguments);
    assert_eq!(code, BAD_FILE, "{case}: {arguments:?} said:\n{said}");
    // Long lines are folded.
    let words = said.split_whitespace().filter(|word| *word != "│");
    let folded = words.collect::<Vec<_>>().join(" ");
    for wanted in wanted {
        assert!(folded.contains(wanted), "{case}: no `{wanted}` in:\n{said}");
    }
    let remedy = folded.contains("help: ") || folded.contains("; ");
    assert!(remedy, "{case}: no remedy in:\n{said}");
    assert!(
        said.len() < 20_000,
        "{case}: {} bytes of answer",
        said.len()
    );
    assert!(contents(folder) == before, "{case}: something was changed");
}

fn folder() -> TempDir {
    tempfile::tempdir().unwrap()
}
