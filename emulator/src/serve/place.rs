use std::io;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use thiserror::Error;

/// A socket at a path of the file system. It goes when this goes.
#[derive(Debug)]
pub struct Place {
    /// Where to listen; never waits.
    pub listener: UnixListener,
    path: PathBuf,
}

/// Why a path cannot be listened at.
#[derive(Debug, Error)]
pub enum PlaceError {
    /// Somebody listens there.
    #[error(
        "{}: another process serves this socket; end it, or name another path",
        .0.display()
    )]
    InUse(PathBuf),
    /// There is something else.
    #[error("{}: this exists and is no socket; name another path", .0.display())]
    NoSocket(PathBuf),
    /// The host refuses.
    #[error("{}: this socket cannot be made: {source}", path.display())]
    Host {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl Place {
    /// Listens at `path`. A socket that nobody listens at any more (its server was killed) is replaced.
    ///
    /// # Errors
    /// Somebody else listens there, something else is there, or the host refuses.
    pub fn take(path: &Path) -> Result<Place, PlaceError> {
        let host = |source| PlaceError::Host {
            path: path.to_path_buf(),
            source,
        };
        match path.symlink_metadata() {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(host(error)),
            Ok(there) if !there.file_type().is_socket() => {
                return Err(PlaceError::NoSocket(path.to_path_buf()));
            }
            Ok(_) => match UnixStream::connect(path) {
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    std::fs::remove_file(path).map_err(host)?;
                }
                // A listener whose queue is full is one as well.
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => return Err(host(error)),
                _ => return Err(PlaceError::InUse(path.to_path_buf())),
            },
        }
        let listener = UnixListener::bind(path).map_err(host)?;
        listener.set_nonblocking(true).map_err(host)?;
        Ok(Place {
            listener,
            path: path.to_path_buf(),
        })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Whoever finds a stale socket replaces it.
        let _ = std::fs::remove_file(&self.path);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        // Closed without being removed: what a kill leaves.
        drop(UnixListener::bind(&path).unwrap());
        let place = Place::take(&path).unwrap();
        assert!(matches!(Place::take(&path), Err(PlaceError::InUse(_))));
        drop(place);
        assert!(!path.exists());
        std::fs::write(&path, "mine").unwrap();
        assert!(matches!(Place::take(&path), Err(PlaceError::NoSocket(_))));
        assert_eq!(std::fs::read(&path).unwrap(), b"mine");
        let nowhere = folder.path().join("missing/s");
        let error = Place::take(&nowhere).unwrap_err();
        assert!(error.to_string().contains("cannot be made"), "{error}");
    }
}
