//! What a master is told when it begins, and what it asks of its surroundings.

#[cfg(doc)]
use crate::FRAME_GAP_MAX_NS;
use crate::event::MasterEvent;
use crate::frame::Frame;
#[cfg(doc)]
use crate::master::Master;
use crate::mastership::Authority;
use crate::module::Content;
use crate::window::Wait;

/// Frames that may wait for the bus.
pub const TRANSMIT_QUEUE_MAX: u8 = 32;
/// Which of two images of a kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edition {
    /// What runs.
    Base,
    /// What an update brings (step 360).
    Update,
}

impl Edition {
    /// The word used in traces: `edition=…`.
    pub fn as_str(self) -> &'static str {
        match self {
            Edition::Base => "base",
            Edition::Update => "update",
        }
    }
}

/// The images in the master's non-volatile memory (steps 300, 301; CD13).
pub trait Library {
    /// The container with this content, whole. It must not change while it is broadcast.
    fn image(&self, edition: Edition, content: Content) -> Option<&[u8]>;
}

/// What is broadcast for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Offer {
    /// The combined image for any request (CD28).
    Combined,
    /// The requested ones, one broadcast for each kind in the order of arrival (CD29, CD30, K18); the common
    /// or combined image for generic requests.
    Requested,
    /// Only the one that was requested first; who wanted another one asks again (CD36).
    First,
    /// Prior art: at once, to one addressed node at a time (CD63).
    Direct,
}

/// What does not change while a master runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// Its node number on the bus.
    pub node: u8,
    /// Its slot: at the midplane, or its place in the order of masters.
    pub slot: u8,
    /// Who decides which master is active.
    pub authority: Authority,
    /// How long it waits for requests.
    pub wait: Wait,
    /// What it broadcasts.
    pub offer: Offer,
    /// Whether the bus has the longer frames.
    pub flexible: bool,
    /// Frames that may wait for the bus, at most [`TRANSMIT_QUEUE_MAX`].
    pub transmit_queue: u8,
    /// Time between two fragments, for nodes that are slow; at most [`FRAME_GAP_MAX_NS`].
    pub frame_gap_ns: u64,
    /// In an update, how long a set may take from its reboot until all of it runs the update.
    pub set_timeout_ns: u64,
}

/// What a master must do, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MasterAction {
    /// Send it, after those before it; then say [`Master::sent`].
    Send(Frame),
    /// Trace.
    Trace(MasterEvent),
}
