//! The state directory: what is kept of an array between runs.
//!
//! It holds the media (flash chips by serial number, member disks) and `array.json`, which says what
//! belongs to which slot. Media are written through at once. `array.json` is written last when a
//! state or a board is made, and replaced as a whole; files it knows nothing of were left by a making
//! that was cut short, and are made anew. So a kill at any moment loses nothing.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use emulator::rig::Rig;
use serde::{Deserialize, Serialize};

use crate::files::read_binary;
use crate::runner::BenchError;

const KEPT: &str = "array.json";
const KEPT_NEW: &str = "array.json.new";
const LOCK: &str = "lock";
/// Longest `array.json` worth reading.
const KEPT_BYTES_MAX: u64 = 64 << 10;
/// Longest serial number that a board can tell its firmware.
pub(super) const SERIAL_MAX: usize = 15;
/// What this program writes and reads.
const FORMAT: u32 = 2;

/// What is written beside the media.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Kept {
    format: u32,
    rig: Rig,
    /// Serial number of the board in each slot; nothing: empty.
    pub(super) boards: Vec<Option<String>>,
    /// Boards that were pulled.
    pub(super) desk: Vec<String>,
}

/// Read before anything else, which another format may have otherwise.
#[derive(Deserialize)]
struct Header {
    format: u32,
}

/// A state directory that no other process uses.
#[derive(Debug)]
pub(super) struct StateFolder {
    pub(super) path: PathBuf,
    /// The system lets go of it when the process ends, however that comes.
    _lock: File,
}

/// What a serial number may be: it is part of the names of files.
pub(super) fn is_serial(text: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
    !text.is_empty() && text.len() <= SERIAL_MAX && text.chars().all(plain)
}

impl StateFolder {
    /// Opens or makes the directory for an array of `rig`, and says what is kept there.
    pub(super) fn open(path: &Path, rig: &Rig) -> Result<(StateFolder, Option<Kept>), BenchError> {
        let host = |what: &str, source| BenchError::Host {
            what: format!("the state directory {} {what}", path.display()),
            source,
        };
        if path.exists() && !path.is_dir() {
            return Err(BenchError::State {
                what: format!(
                    "{}: this is not a directory; name a new or an empty one",
                    path.display()
                ),
            });
        }
        fs::create_dir_all(path).map_err(|e| host("cannot be made", e))?;
        if !path.join(KEPT).exists() {
            refuse_foreign(path, rig)?;
        }
        let lock = File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path.join(LOCK))
            .map_err(|e| host("cannot be written", e))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(in_use(path)),
            Err(TryLockError::Error(e)) => return Err(host("cannot be locked", e)),
        }
        fs::write(path.join(LOCK), format!("{}\n", std::process::id()))
            .map_err(|e| host("cannot be written", e))?;
        let folder = StateFolder {
            path: path.to_path_buf(),
            _lock: lock,
        };
        let kept = folder.read(rig)?;
        if kept.is_none() {
            for slot in rig.slots() {
                folder.discard_board(&rig.serial(slot))?;
            }
            folder.discard(|name| name.starts_with("disk-"))?;
        }
        Ok((folder, kept))
    }

    /// Removes what is left of a board whose making was cut short.
    pub(super) fn discard_board(&self, serial: &str) -> Result<(), BenchError> {
        self.discard(|name| is_chip_of(serial, name))
    }

    fn discard(&self, ours: impl Fn(&str) -> bool) -> Result<(), BenchError> {
        let remove = || -> io::Result<()> {
            for name in names(&self.path)? {
                if ours(&name) {
                    fs::remove_file(self.path.join(name))?;
                }
            }
            Ok(())
        };
        remove().map_err(|source| BenchError::Host {
            what: format!("{} cannot be cleared", self.path.display()),
            source,
        })
    }

    /// Writes which boards there are, in the slots and on the desk.
    pub(super) fn write(
        &self,
        rig: &Rig,
        boards: Vec<Option<String>>,
        desk: Vec<String>,
    ) -> Result<(), BenchError> {
        let path = self.path.join(KEPT);
        let kept = Kept {
            format: FORMAT,
            rig: rig.clone(),
            boards,
            desk,
        };
        let new = self.path.join(KEPT_NEW);
        serde_json::to_vec_pretty(&kept)
            .map_err(io::Error::other)
            .and_then(|text| fs::write(&new, text))
            .and_then(|()| fs::rename(&new, &path))
            .map_err(|source| BenchError::Host {
                what: format!("{} cannot be written", path.display()),
                source,
            })
    }

    /// What the directory says, if it says anything.
    fn read(&self, rig: &Rig) -> Result<Option<Kept>, BenchError> {
        let path = self.path.join(KEPT);
        let complain = |what: &str, remedy: &str| BenchError::State {
            what: format!("{}: {what}; {remedy}", path.display()),
        };
        let other = "name another directory, or delete this one";
        if fs::symlink_metadata(&path).is_err_and(|e| e.kind() == io::ErrorKind::NotFound) {
            return Ok(None);
        }
        let text =
            read_binary(&path, KEPT_BYTES_MAX).map_err(|problem| complain(&problem.what, other))?;
        let header: Header =
            serde_json::from_slice(&text).map_err(|error| complain(&error.to_string(), other))?;
        if header.format != FORMAT {
            let what = format!(
                "it has format {}, this program reads format {FORMAT}",
                header.format
            );
            return Err(complain(&what, other));
        }
        let kept: Kept =
            serde_json::from_slice(&text).map_err(|error| complain(&error.to_string(), other))?;
        let mut serials = kept.boards.iter().flatten().chain(&kept.desk);
        if !serials.all(|serial| is_serial(serial)) {
            return Err(complain("a serial number in it is none", other));
        }
        if kept.rig != *rig || kept.boards.len() != rig.slots().count() {
            let what = format!("it belongs to another rig, `{}`", kept.rig.name);
            let what = match kept.rig.name == rig.name {
                true => format!("the rig `{}` was changed since", rig.name),
                false => what,
            };
            return Err(complain(&what, "boot that rig, or name another directory"));
        }
        Ok(Some(kept))
    }
}

fn names(folder: &Path) -> io::Result<Vec<String>> {
    let entries = fs::read_dir(folder)?;
    entries
        .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
        .collect()
}

fn is_chip_of(serial: &str, name: &str) -> bool {
    let rest = name.strip_prefix("flash-");
    let chip = rest.and_then(|rest| rest.strip_prefix(serial)?.strip_prefix('-'));
    chip.is_some_and(|chip| chip.parse::<u32>().is_ok())
}

/// Refuses a directory that holds anything but what a making that was cut short leaves.
fn refuse_foreign(folder: &Path, rig: &Rig) -> Result<(), BenchError> {
    let ours = |name: &str| {
        let disk = name.strip_prefix("disk-");
        name == LOCK
            || name == KEPT_NEW
            || disk.is_some_and(|number| number.parse::<u32>().is_ok())
            || rig.slots().any(|slot| is_chip_of(&rig.serial(slot), name))
    };
    let names = names(folder).map_err(|source| BenchError::Host {
        what: format!("the state directory {} cannot be read", folder.display()),
        source,
    })?;
    match names.iter().find(|name| !ours(name)) {
        None => Ok(()),
        Some(name) => Err(BenchError::State {
            what: format!(
                "{}: it is no state directory, it holds `{name}`; name a new or an empty directory",
                folder.display()
            ),
        }),
    }
}

fn in_use(folder: &Path) -> BenchError {
    let holder = fs::read_to_string(folder.join(LOCK)).unwrap_or_default();
    let process = match holder.trim().parse::<u32>() {
        Ok(process) => format!("process {process}"),
        // Between locking and writing there is a moment in which the file is empty.
        Err(_) => "another process".to_owned(),
    };
    BenchError::Busy {
        what: format!(
            "the state directory {} is in use by {process}; leave it there with :quit, or name \
             another directory",
            folder.display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path, rig: &Rig) -> Result<Option<Kept>, String> {
        let opened = StateFolder::open(path, rig);
        opened.map(|(_, kept)| kept).map_err(|e| e.to_string())
    }

    #[test]
    fn what_was_written_is_read_again_and_only_by_its_rig() {
        let folder = tempfile::tempdir().unwrap();
        let rig = Rig::default();
        let (state, kept) = StateFolder::open(folder.path(), &rig).unwrap();
        assert_eq!(kept, None);
        let boards = vec![Some("AB1-000A".to_owned()), None];
        state
            .write(&rig, boards.clone(), vec!["X-1".to_owned()])
            .unwrap();
        drop(state);
        let kept = open(folder.path(), &rig).unwrap().unwrap();
        assert_eq!((kept.boards, kept.desk), (boards, vec!["X-1".to_owned()]));
        let other = Rig {
            name: "other".to_owned(),
            ..Rig::default()
        };
        let error = open(folder.path(), &other).unwrap_err();
        assert!(error.contains("belongs to another rig"), "{error}");
        let text = fs::read_to_string(folder.path().join(KEPT)).unwrap();
        let newer = text.replace("\"format\": 2", "\"format\": 7");
        fs::write(folder.path().join(KEPT), newer).unwrap();
        let error = open(folder.path(), &rig).unwrap_err();
        assert!(error.contains("has format 7") && error.contains("delete"));
    }

    #[test]
    fn a_directory_of_somebody_else_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("letter.txt"), "dear").unwrap();
        let error = open(folder.path(), &Rig::default()).unwrap_err();
        assert!(error.contains("it holds `letter.txt`"), "{error}");
        assert_eq!(names(folder.path()).unwrap(), ["letter.txt"]);
    }

    #[test]
    fn a_file_is_no_state_directory() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = StateFolder::open(file.path(), &Rig::default()).unwrap_err();
        assert!(matches!(error, BenchError::State { .. }), "{error}");
    }

    #[test]
    fn a_making_that_was_cut_short_is_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["disk-0", "flash-AB1-000A-1", "array.json.new"] {
            fs::write(folder.path().join(name), "half").unwrap();
        }
        assert_eq!(open(folder.path(), &Rig::default()), Ok(None));
        let left = names(folder.path()).unwrap();
        assert!(
            !left
                .iter()
                .any(|n| n.starts_with("disk") || n.starts_with("flash"))
        );
    }
}
