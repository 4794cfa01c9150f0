//! What a node's programs have in common, and how its part is picked from what passes.

use crate::container::{Contents, Defect, Part};
use crate::event::{Dropped, NodeEvent};
use crate::frame::Frame;
use crate::module::{Identity, VersionTag};

/// Where the image is put (step 350).
pub trait Memory {
    /// Bytes that it can hold.
    fn capacity(&self) -> u32;
    /// Puts `bytes` at `offset`; both are within the capacity.
    fn store(&mut self, offset: u32, bytes: &[u8]);
    /// The first `length` bytes, read back.
    fn stored(&self, length: u32) -> &[u8];
}

impl Memory for [u8] {
    fn capacity(&self) -> u32 {
        u32::try_from(self.len()).unwrap_or(u32::MAX)
    }

    fn store(&mut self, offset: u32, bytes: &[u8]) {
        let place = self.get_mut(offset as usize..);
        for (to, from) in place.unwrap_or_default().iter_mut().zip(bytes) {
            *to = *from;
        }
    }

    fn stored(&self, length: u32) -> &[u8] {
        self.get(..length as usize).unwrap_or_default()
    }
}

/// What a node must do, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeAction {
    /// Send it.
    Send(Frame),
    /// Trace.
    Trace(NodeEvent),
    /// Run the image that lies in memory from the first byte on (step 350, CD45).
    Run {
        /// Where execution begins.
        entry: u32,
        /// Its bytes.
        length: u32,
        /// Its version.
        version: VersionTag,
    },
    /// Run the boot program from its beginning (CD7).
    Reboot,
}

/// Picks the part of a node from as much of the table as is `known` (steps 340 to 346).
pub(crate) fn select(
    known: &[u8],
    total: u32,
    identity: &Identity,
    capacity: u32,
) -> Result<Option<Part>, Dropped> {
    let contents = match Contents::parse(known) {
        Ok(contents) => contents,
        Err(Defect::Truncated) => return Ok(None),
        Err(_) => return Err(Dropped::Damaged),
    };
    if contents.total != total {
        return Err(Dropped::Damaged);
    }
    let part = contents.select(identity.module).ok_or(Dropped::OtherType)?;
    if part.length > capacity {
        return Err(Dropped::TooLarge);
    }
    Ok(Some(part))
}

/// Stores what of `bytes`, which are from `position` on, belongs to `part`.
pub(crate) fn store<M: Memory + ?Sized>(
    part: &Part,
    position: usize,
    bytes: &[u8],
    memory: &mut M,
) {
    let (begin, end) = (part.offset as usize, (part.offset + part.length) as usize);
    let from = begin.saturating_sub(position);
    let to = end.saturating_sub(position).min(bytes.len());
    if let Some(mine) = bytes.get(from..to) {
        let offset = (position + from).saturating_sub(begin);
        memory.store(u32::try_from(offset).unwrap_or(u32::MAX), mine);
    }
}
