//! The host: what an array is for.
//!
//! A host reads and writes the array's volume through the controllers' firmware, on whichever path
//! answers. It is a pure state machine over virtual time: frames and instants in, frames out.
//! [`initiator`] speaks SCSI and knows paths but no transport; [`transport`] says what a transport is, and
//! [`ethernet`] and [`iscsi`] are two; [`workload`] decides what to read and write; [`ledger`] knows what every
//! block may hold and finds lost writes.

/// SCSI in Ethernet frames.
pub mod ethernet;
/// SCSI initiator with several paths to one logical unit.
pub mod initiator;
/// iSCSI over TCP/IP.
pub mod iscsi;
/// What every block of the volume may hold.
pub mod ledger;
/// What carries commands.
pub mod transport;
/// What the host reads and writes, and what it measured.
pub mod workload;

pub use initiator::{Initiator, Timing};
pub use transport::{Command, Transport};
pub use workload::{Figures, Host, Plan, Problem};
