//! One device of the bench served alone, for people who want a disk or a flash on a virtual machine of their own.
//!
//! * `raid.rs`, `media.rs`, `flash.rs`, `console.rs`, `panel.rs`, `network.rs`, `can.rs`, `board_control.rs` — the kinds: core,
//!   virtio side, and commands.
//! * `file.rs` — files behind media: found or made, and locked.
//! * `cuts.rs` — power and armed cuts, as commands.
//! * `serving.rs` — sockets, signals, the clock: what all of them are served by.
//!
//! This is the only place of the harness where devices live by the wall clock.

mod board_control;
mod can;
mod console;
mod cuts;
mod file;
mod flash;
mod media;
mod network;
mod panel;
mod raid;
mod serving;

pub use board_control::BoardControl;
pub use can::Can;
pub use console::Console;
pub use file::{DiskFile, FileKind};
pub use flash::Flash;
pub use media::Media;
pub use network::Network;
pub use panel::Panel;
pub use raid::{Disk, Raid, RaidPlan};
pub use serving::{Serving, serve};

use devices::event::DeviceEvent;
use emulator::array::EventKind;
use thiserror::Error;

use crate::can_bridge::BridgeError;
use crate::stage::describe;

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

impl From<BridgeError> for DeviceError {
    fn from(error: BridgeError) -> DeviceError {
        DeviceError::Host {
            what: error.to_string(),
            source: error.source,
        }
    }
}

/// What people are told of an event.
fn line(event: DeviceEvent) -> Option<String> {
    describe(&EventKind::Device(event))
}

/// The answer to what is no command.
fn unknown(command: &str) -> Result<String, String> {
    Err(format!("{command:?} is no command here; try `help`"))
}
