//! What carries SCSI commands to controllers: the layer that another kind of host link replaces.

use std::fmt::Debug;

use devices::time::Nanos;
use emulator::rig::{HostTransport, Rig};

use super::ethernet::EthernetScsi;
use super::iscsi::Iscsi;

/// The first of the host's own station addresses; path number in the last byte.
pub const HOST_MAC: [u8; 6] = [0x02, 0xab, 0x02, 0, 0, 0];

/// Address of the host port of the controller in `slot`.
pub fn controller_mac(slot: usize) -> [u8; 6] {
    [0x02, 0xab, 0x01, 0, 0, u8::try_from(slot).unwrap_or(0xff)]
}

/// One SCSI command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// Command descriptor block, zero-padded.
    pub cdb: [u8; 16],
    /// Data-out.
    pub data: Vec<u8>,
    /// Most bytes of data-in.
    pub expected: usize,
}

/// What came of a command that was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The path it came on.
    pub path: usize,
    /// Which sending it answers.
    pub tag: u32,
    /// What came.
    pub outcome: Outcome,
}

/// What can come of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The target's answer.
    Status {
        /// SCSI status.
        status: u8,
        /// Sense data (SPC-5 §4.4), empty with GOOD.
        sense: Vec<u8>,
        /// Data-in.
        data: Vec<u8>,
    },
    /// None will come on this path.
    PathLost,
}

/// One end of the host links, with a path to every controller. Frames and instants in, frames and answers
/// out; nothing here decides when to try again or where.
pub trait Transport: Debug + Send + Sync {
    /// Sends a command on a path; its answer will have this tag.
    fn send(&mut self, now: Nanos, path: usize, tag: u32, command: &Command);

    /// A command on this path was not answered in time.
    fn give_up(&mut self, now: Nanos, path: usize);

    /// Takes a frame off the wire.
    fn receive(&mut self, now: Nanos, frame: &[u8]);

    /// Does what is due.
    fn advance(&mut self, now: Nanos);

    /// When something is next due.
    fn deadline(&self) -> Option<Nanos>;

    /// Frames to put on the wire.
    fn take_frames(&mut self) -> Vec<Vec<u8>>;

    /// Answers that came.
    fn take_answers(&mut self) -> Vec<Answer>;

    /// The same again: a checkpoint.
    fn copy(&self) -> Box<dyn Transport>;
}

impl Clone for Box<dyn Transport> {
    fn clone(&self) -> Self {
        self.as_ref().copy()
    }
}

/// The transport that the boards of `rig` are strapped for.
pub fn of_rig(rig: &Rig) -> Box<dyn Transport> {
    match rig.board.host_transport() {
        HostTransport::EthernetScsi => Box::new(EthernetScsi::default()),
        HostTransport::Iscsi => Box::new(Iscsi::new(rig.slots().count())),
    }
}
