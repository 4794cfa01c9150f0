//! What travels on the bus.
//!
//! Standard identifiers: the class in bits 10 to 8, the sender's node number in bits 7 to 0. So no two
//! nodes ever send one identifier (ISO 11898-1: they would both go on after arbitration and
//! destroy each other's data), and the lower class wins the bus:
//!
//! | class | what | layout, little-endian |
//! |---|---|---|
//! | 0 | mastership | state u8 (1 standby, 2 active, 3 leaving), slot u8, epoch u16, flags u8, first set not served the update u8 |
//! | 2 | command | kind u8 (1 reboot, 2 report), scope u8 (0 all, 1 set, 2 node, 3 type), which u8, by u8 (0 operator, 1 master), epoch u16 |
//! | 3 | start | audience u8 (bit 7: node) and content, number u8, first set or node u8, last set u8, epoch u16, length u16 in blocks of 64 bytes |
//! | 4 | data | fragment modulo 4095 and number u16, up to 62 bytes |
//! | 4 | end | 0xfff and number u16, epoch u16, CRC-32 of the whole u32 |
//! | 5 | request | type u8 (0: generic), set u8, reason u8, boots u8, attempt u8 |
//! | 6 | status | state u8 (1 minimal, 2 operational, 3 failed), type u8, set u8, boots u8, version (4 bytes) |
//!
//! Everything but data fits a classic frame. Data and end share one identifier, so that no controller
//! that sends the more urgent of two waiting frames first can change their order. A start
//! has a more urgent one: nodes need to wake up only for classes 2 and 3 while they wait, for 2 once
//! their image runs (CD38), and the gap that follows a start lets them open the door for 4.

use crate::epoch::Epoch;
use crate::module::{Audience, Content, Identity, Module, Scope, VersionTag};

pub use crate::frame::{CLASSIC_MAX, Class, Classes, FLEXIBLE_MAX, Frame};

/// Bytes before those of a fragment.
pub const DATA_HEADER: usize = 2;
/// Broadcasts have a length in such blocks.
pub const BLOCK: u32 = 64;
/// Fragments are counted modulo this.
pub const FRAGMENTS: u16 = 4095;
/// Broadcasts are counted modulo this.
pub const NUMBERS: u8 = 16;

/// What a master is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum MasterState {
    /// Ready to take over.
    Standby = 1,
    /// Broadcasts.
    Active = 2,
    /// Gives it up now.
    Leaving = 3,
}

/// How far an update has come: a master that takes over goes on with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpdateState {
    /// On its way.
    pub running: bool,
    /// Sets are rebooted by an operator.
    pub by_operator: bool,
    /// All sets at once (CD49).
    pub at_once: bool,
    /// The first set that is not served the update (K3).
    pub turn: u8,
}

/// A sign of life of a master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The sender.
    pub node: u8,
    /// Its slot at the midplane.
    pub slot: u8,
    /// What it is.
    pub state: MasterState,
    /// The newest it knows.
    pub epoch: Epoch,
    /// The update, as the active master has it.
    pub update: UpdateState,
}

/// What a command asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Order {
    /// Run the boot program (CD7 (c), CD52).
    Reboot = 1,
    /// Say what you are.
    Report = 2,
}

/// A command to nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// The sender.
    pub node: u8,
    /// What is asked for.
    pub order: Order,
    /// Of whom.
    pub scope: Scope,
    /// The epoch of the master that commands; nothing for an operator's command (CD52).
    pub epoch: Option<Epoch>,
}

/// A broadcast begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// The sender.
    pub node: u8,
    /// Of the broadcast, modulo [`NUMBERS`].
    pub number: u8,
    /// What it holds.
    pub content: Content,
    /// Who may take it.
    pub audience: Audience,
    /// Of the sender's mastership.
    pub epoch: Epoch,
    /// Its length in blocks of [`BLOCK`] bytes.
    pub blocks: u16,
}

/// A fragment of a broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data<'a> {
    /// The sender.
    pub node: u8,
    /// Of the broadcast.
    pub number: u8,
    /// Which, modulo [`FRAGMENTS`].
    pub fragment: u16,
    /// The bytes; the last fragment may be padded to a length that frames can have.
    pub bytes: &'a [u8],
}

/// A broadcast is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The sender.
    pub node: u8,
    /// Of the broadcast.
    pub number: u8,
    /// As in its start.
    pub epoch: Epoch,
    /// CRC-32 of all of it.
    pub crc: u32,
}

/// Why a node asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// It booted (step 311).
    Booted = 1,
    /// It asked and nothing came (CD48).
    Unanswered = 2,
    /// What came was not for it (step 346, K18).
    OtherType = 3,
    /// What came was damaged or ended early (CD47).
    Damaged = 4,
}

impl Reason {
    /// The word used in traces: `reason=…`.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Booted => "booted",
            Reason::Unanswered => "unanswered",
            Reason::OtherType => "other-type",
            Reason::Damaged => "damaged",
        }
    }
}

/// A node asks for its image (steps 311, 320, 322).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The sender.
    pub node: u8,
    /// The encoded number for its type (CD17); nothing in a generic request.
    pub module: Option<Module>,
    /// Its set.
    pub set: u8,
    /// Why.
    pub reason: Reason,
    /// Boots since it was powered, modulo 256.
    pub boots: u8,
    /// Counts its requests since it booted, up to 255.
    pub attempt: u8,
}

/// How far a node has come (CD12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum NodeState {
    /// Its boot program runs.
    Minimal = 1,
    /// Its image runs.
    Operational = 2,
    /// Its self-test failed.
    Failed = 3,
}

/// What a node says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Who it is; its node number is the sender's.
    pub identity: Identity,
    /// How far it has come.
    pub state: NodeState,
    /// What it runs: all zero unless operational.
    pub version: VersionTag,
}

/// Anything that travels on the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A sign of life of a master.
    Heartbeat(Heartbeat),
    /// A command to nodes.
    Command(Command),
    /// A broadcast begins.
    Start(Start),
    /// A fragment of it.
    Data(Data<'a>),
    /// It is complete.
    End(End),
    /// A node asks for its image.
    Request(Request),
    /// What a node says of itself.
    Status(Status),
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
