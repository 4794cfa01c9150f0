//! One device of the bench served alone, for people who want a disk or a flash on a virtual machine of their own.
//!
//! * `raid.rs` — the RAID shelf.
//! * `file.rs` — files behind media: found or made, and locked.
//! * `cuts.rs` — power and armed cuts, as commands.
//! * `serving.rs` — sockets, signals, the clock: what all of them are served by.
//!
//! This is the only place of the harness where devices live by the wall clock.

mod cuts;
mod file;
mod raid;
mod serving;

pub use file::{DiskFile, FileKind};
pub use raid::{Disk, Raid, RaidPlan};
pub use serving::{Attachment, Serving, serve};

use thiserror::Error;

/// A device cannot be served.
#[derive(Debug, Error)]
pub enum DeviceError {
    /// The command line asks for what cannot be.
    #[error("{0}")]
    Usage(String),
    /// A file is not what it should be.
    #[error("{0}")]
    File(String),
    /// Somebody else has a file or a socket.
    #[error("{0}")]
    Busy(String),
    /// The host refuses.
    #[error("{what}: {source}")]
    Host {
        /// What was being done.
        what: String,
        /// Why it failed.
        source: std::io::Error,
    },
}
