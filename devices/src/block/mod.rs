//! virtio-blk (virtio 1.4 §5.2) over any block core.
//!
//! * [`BlockCore`] — what a shelf or a service medium must be able to do.
//! * `virtio.rs` — [`BlockVirtio`], the virtio side: requests in, answers when the core has them.

#[cfg(test)]
mod tests;
mod virtio;

use serde::{Deserialize, Serialize};

pub use virtio::{BlockVirtio, DEVICE_ID};

use crate::event::DeviceEvent;
use crate::time::Nanos;

/// Bytes of a sector: the unit of virtio-blk.
pub const SECTOR_BYTES: usize = 512;

/// What a driver asks of a block core.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Read `sectors` sectors from `sector` on.
    Read {
        /// First sector.
        sector: u64,
        /// How many.
        sectors: u32,
    },
    /// Write whole sectors from `sector` on.
    Write {
        /// First sector.
        sector: u64,
        /// A multiple of [`SECTOR_BYTES`].
        data: Vec<u8>,
    },
    /// Make every write that was answered before durable.
    Flush,
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completion {
    /// What [`BlockCore::submit`] returned.
    pub ticket: u64,
    /// When it was done.
    pub at: Nanos,
    /// What was read (empty for writes and flushes).
    pub result: Result<Vec<u8>, BlockError>,
}

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum BlockError {
    /// Sectors beyond the end.
    OutOfRange,
    /// This port lost its right to write.
    Fenced,
    /// The medium cannot do it: too few members, no medium, read-only.
    Failed,
    /// There is no power.
    PoweredOff,
}

/// What a block device works on; one core may serve several ports.
pub trait BlockCore {
    /// Size in sectors.
    fn sectors(&self) -> u64;

    /// Whether writes are refused as a matter of principle.
    fn read_only(&self) -> bool;

    /// Starts a request; its answer carries the ticket returned here.
    fn submit(
        &mut self,
        now: Nanos,
        port: usize,
        request: Request,
        events: &mut Vec<DeviceEvent>,
    ) -> u64;

    /// Answers to `port` that were done at or before `now`, in ticket order.
    fn take_completions(&mut self, now: Nanos, port: usize) -> Vec<Completion>;

    /// The driver of `port` was reset: it wants no answers any more.
    fn forget(&mut self, port: usize);

    /// When it next has something to do, or to answer `port`. What it has to answer another port does not
    /// count: nobody may be there to take it.
    fn deadline(&self, port: usize) -> Option<Nanos>;

    /// Twenty bytes of identity for VIRTIO_BLK_T_GET_ID.
    fn identity(&self) -> [u8; 20];
}
