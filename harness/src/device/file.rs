//! Files behind media.

use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};

use devices::medium::Medium;
use emulator::rig::Bytes;

use super::DeviceError;

/// What makes a directory one of `arraybench boot --state`, and what is locked there.
const STATE: &str = "array.json";
const LOCK: &str = "lock";
/// How much of a file is looked at to tell whether it is blank.
const LOOK_BYTES: u64 = 1 << 20;
/// The first bytes of a member disk's superblock, and where its two copies are (board manual §7).
const SUPERBLOCK: &[u8] = b"ABSHELF\x01";
const SUPERBLOCK_AT: [u64; 2] = [0, 520];

/// What a file is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// A member disk or a spare.
    Disk,
    /// A flash chip.
    Chip,
}

impl FileKind {
    fn fill(self) -> u8 {
        match self {
            FileKind::Disk => 0,
            FileKind::Chip => 0xff,
        }
    }
}

/// A file behind a medium that no other server uses, as long as this lives.
#[derive(Debug)]
pub struct DiskFile {
    path: PathBuf,
    bytes: u64,
    kind: FileKind,
    /// The file itself, and the state directory that it lies in. The system lets go of them when the process ends,
    /// however that comes.
    _locks: Vec<File>,
}

impl DiskFile {
    /// Finds the file `path`, or makes it with `size` bytes.
    ///
    /// # Errors
    /// It is missing and has no size, has another size, is of somebody else, or in use.
    pub fn open(path: &Path, size: Option<Bytes>, kind: FileKind) -> Result<DiskFile, DeviceError> {
        let host = |what: &str| {
            let what = format!("{} {what}", path.display());
            move |source| DeviceError::Host { what, source }
        };
        let mut locks = Vec::new();
        let folder = path.parent().filter(|it| !it.as_os_str().is_empty());
        let folder = folder.unwrap_or(Path::new("."));
        if folder.join(STATE).exists() {
            locks.push(lock(&folder.join(LOCK))?);
        }
        // Asked before opening: opening a named pipe would wait for its other end.
        let bytes = match fs::metadata(path) {
            Ok(facts) if !facts.is_file() => {
                let what = format!("{}: this is not a file; name a plain file", path.display());
                return Err(DeviceError::File(what));
            }
            Ok(facts) => {
                if let Some(size) = size.filter(|size| size.0 != facts.len()) {
                    return Err(DeviceError::File(format!(
                        "{}: it has {}, not {size}; leave --size away to use it as it is",
                        path.display(),
                        Bytes(facts.len()),
                    )));
                }
                facts.len()
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => match size {
                Some(size) => size.0,
                None => {
                    return Err(DeviceError::File(format!(
                        "{}: there is no such file; say --size SIZE to have it made",
                        path.display()
                    )));
                }
            },
            Err(error) => return Err(host("cannot be read")(error)),
        };
        // Makes what is missing; the lock is on what is there then.
        let medium = Medium::file(path, bytes, kind.fill())
            .map_err(|error| DeviceError::File(format!("{error}: {}", error.source)))?;
        locks.push(lock(path)?);
        if kind == FileKind::Disk && !is_disk(&medium) {
            return Err(DeviceError::File(format!(
                "{}: it is neither blank nor a disk of an array, and would be overwritten; name \
                 another file",
                path.display()
            )));
        }
        Ok(DiskFile {
            path: path.to_path_buf(),
            bytes,
            kind,
            _locks: locks,
        })
    }

    /// The medium that is this file.
    ///
    /// # Errors
    /// The file changed meanwhile.
    pub fn medium(&self) -> Result<Medium, DeviceError> {
        Medium::file(&self.path, self.bytes, self.kind.fill())
            .map_err(|error| DeviceError::File(format!("{error}: {}", error.source)))
    }
}

/// Whether a medium is blank, or says that it belongs to an array.
fn is_disk(medium: &Medium) -> bool {
    let length = usize::try_from(medium.len().min(LOOK_BYTES)).unwrap_or(0);
    let mut start = vec![0; length];
    if medium.read(0, &mut start).is_err() {
        return false;
    }
    let superblock = |at: &u64| {
        let at = usize::try_from(*at).unwrap_or(usize::MAX);
        start.get(at..).is_some_and(|it| it.starts_with(SUPERBLOCK))
    };
    SUPERBLOCK_AT.iter().any(superblock) || start.iter().all(|byte| *byte == 0)
}

fn lock(path: &Path) -> Result<File, DeviceError> {
    let host = |source| DeviceError::Host {
        what: format!("{} cannot be locked", path.display()),
        source,
    };
    let file = File::options()
        .read(true)
        .write(true)
        .open(path)
        .map_err(host)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(DeviceError::Busy(format!(
            "{}: another process uses it; end that one, or name another file",
            path.display()
        ))),
        Err(TryLockError::Error(error)) => Err(host(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path, size: Option<u64>) -> Result<DiskFile, String> {
        DiskFile::open(path, size.map(Bytes), FileKind::Disk).map_err(|error| error.to_string())
    }

    #[test]
    fn a_file_is_made_once_and_has_one_user() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        assert!(open(&path, None).unwrap_err().contains("say --size"));
        let first = open(&path, Some(1 << 20)).unwrap();
        assert!(open(&path, None).unwrap_err().contains("another process"));
        drop(first);
        assert!(open(&path, Some(2 << 20)).unwrap_err().contains("1MiB"));
        open(&path, None).unwrap();
    }

    #[test]
    fn what_somebody_else_wrote_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("letter");
        fs::write(&path, "dear").unwrap();
        assert!(open(&path, None).unwrap_err().contains("overwritten"));
        assert!(
            open(folder.path(), None)
                .unwrap_err()
                .contains("not a file")
        );
        assert_eq!(fs::read(&path).unwrap(), b"dear");
    }

    #[test]
    fn a_state_directory_in_use_keeps_its_disks() {
        let folder = tempfile::tempdir().unwrap();
        for name in [STATE, LOCK] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        let held = lock(&folder.path().join(LOCK)).unwrap();
        let path = folder.path().join("disk-0");
        assert!(open(&path, Some(1 << 20)).unwrap_err().contains("lock"));
        drop(held);
        open(&path, Some(1 << 20)).unwrap();
    }
}
