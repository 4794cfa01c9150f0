//! What a controller asks of its surroundings.

use crate::event::Event;
#[cfg(doc)]
use crate::member::Cluster;
use crate::message::Heartbeat;

/// A midplane lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// Whoever owns it is master.
    Master,
    /// Whoever owns it serves logical unit 0.
    Lun0,
}

impl Lock {
    /// Its number at the midplane arbiter.
    pub fn number(self) -> u32 {
        match self {
            Lock::Master => 0,
            Lock::Lun0 => 1,
        }
    }
}

/// What is asked of the midplane arbiter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockVerb {
    /// Own it if nobody does.
    Acquire,
    /// Own it, and fence whoever did.
    Take,
    /// Give it up.
    Release,
}

/// What the arbiter answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockAnswer {
    /// Slot of the owner now.
    pub owner: Option<u8>,
    /// Counts changes of owner.
    pub epoch: u64,
}

/// What the controller must do, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Ask the arbiter, and report with [`Cluster::lock_answered`].
    Lock(Lock, LockVerb),
    /// Send to all partners.
    Send(Heartbeat),
    /// Trace.
    Trace(Event),
    /// Look up which versions the array declares, and report with [`Cluster::declare`].
    ReadDeclaration,
    /// Begin to serve the logical unit.
    ServeLun,
    /// Stop serving it.
    StopLun,
    /// Reset: this controller is fenced until it does.
    Reset,
}
