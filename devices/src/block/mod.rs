//! virtio-blk (virtio 1.4 §5.2) over any block core.
//!
//! * [`BlockCore`] — what a shelf or a service medium must be able to do; data goes straight between
//!   guest memory and where it is kept.
//! * `virtio.rs` — [`BlockVirtio`], the virtio side: requests in, answers when the core has them.

#[cfg(test)]
mod tests;
mod virtio;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use virtio::{BlockVirtio, DEVICE_ID};

use crate::event::DeviceEvent;
use crate::time::Nanos;

/// Bytes of a sector: the unit of virtio-blk.
pub const SECTOR_BYTES: usize = 512;

/// What a driver asks of a block core.
#[derive(Debug)]
pub enum Request<'a> {
    /// Read `sectors` sectors from `sector` on.
    Read {
        /// First sector.
        sector: u64,
        /// How many.
        sectors: u32,
        /// Where they go, at once; until the answer comes they mean nothing, nor if it is an error.
        into: &'a mut dyn Destination,
    },
    /// Write whole sectors from `sector` on.
    Write {
        /// First sector.
        sector: u64,
        /// A multiple of [`SECTOR_BYTES`].
        bytes: u64,
        /// What is to be written; it has so many bytes.
        from: &'a mut dyn Source,
    },
    /// Make every write that was answered before durable.
    Flush,
}

/// Where the sectors of a read go, from first to last.
pub trait Destination: fmt::Debug {
    /// Takes the bytes that come next; what has no room is dropped.
    fn append(&mut self, bytes: &[u8]);

    /// Takes the first [`SECTOR_BYTES`] of every `stride` bytes: sectors with something between them.
    fn append_sectors(&mut self, bytes: &[u8], stride: usize) {
        for sector in bytes.chunks(stride) {
            self.append(sector.get(..SECTOR_BYTES).unwrap_or(sector));
        }
    }
}

/// Where the sectors of a write come from, from first to last.
pub trait Source: fmt::Debug {
    /// Fills `into` with the bytes that come next; where there are no more, with zeros.
    fn take(&mut self, into: &mut [u8]);

    /// Fills the first [`SECTOR_BYTES`] of every `stride` bytes, and hands these on as soon as they are.
    fn take_sectors(&mut self, into: &mut [u8], stride: usize, filled: &mut dyn FnMut(&mut [u8])) {
        for place in into.chunks_mut(stride) {
            let length = place.len().min(SECTOR_BYTES);
            self.take(&mut place[..length]);
            filled(place);
        }
    }
}

impl Destination for Vec<u8> {
    fn append(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

impl Source for &[u8] {
    fn take(&mut self, into: &mut [u8]) {
        let (now, later) = self.split_at(into.len().min(self.len()));
        *self = later;
        let (into, beyond) = into.split_at_mut(now.len());
        into.copy_from_slice(now);
        beyond.fill(0);
    }
}

/// The answer to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Completion {
    /// What [`BlockCore::submit`] returned.
    pub ticket: u64,
    /// When it was done.
    pub at: Nanos,
    /// Whether it could be done.
    pub result: Result<(), BlockError>,
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
        request: Request<'_>,
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
