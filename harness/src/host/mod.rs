//! The host: what an array is for.
//!
//! A host reads and writes the array's volume through the controllers' firmware, on whichever path
//! answers. It is a pure state machine over virtual time: frames and instants in, frames out.
//! [`initiator`] speaks SCSI and knows paths but no transport; [`transport`] puts commands into
//! Ethernet frames; [`workload`] decides what to read and write; [`ledger`] knows what every
//! block may hold and finds lost writes.

/// SCSI initiator with several paths to one logical unit.
pub mod initiator;
/// What every block of the volume may hold.
pub mod ledger;
/// SCSI in Ethernet frames.
pub mod transport;
/// What the host reads and writes, and what it measured.
pub mod workload;

pub use initiator::{Command, Initiator, Timing};
pub use workload::{Figures, Host, Plan, Problem};
