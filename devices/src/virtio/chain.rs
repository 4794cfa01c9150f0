use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use virtio_queue::desc::split::Descriptor;
use virtio_queue::{Queue, QueueOwnedT, QueueT};
use vm_memory::{Address, Bytes, GuestAddress, GuestMemoryBackend};

use super::GuestMemory;
use super::cursor::{ChainReader, ChainWriter, Cursor};

/// Longest chain a device accepts, in descriptors: a chain can be no longer than its queue, and
/// no queue here is larger.
pub const MAX_CHAIN_DESCRIPTORS: usize = 256;

/// Most bytes a chain may describe in each direction: bounds what a guest can make the bench
/// allocate or copy for one request.
pub const MAX_CHAIN_BYTES: u64 = 8 << 20;

/// Most requests have no more: header, data, status and one to spare.
const USUAL_DESCRIPTORS: usize = 4;

/// One request, copied out of the descriptor table and checked as a whole before anything is done:
/// the guest may rewrite its descriptors while the request is in progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// Head descriptor, to give the chain back by.
    pub head: u16,
    /// Address and length: first those to read, then those to write.
    buffers: Vec<(u64, u32)>,
    /// How many are to be read.
    readable: usize,
}

/// Why a request could not be taken.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ChainError {
    /// The ring is unusable: no request can be taken or given back.
    #[error("available ring unusable: {0}")]
    Ring(String),
    /// This chain is unusable, the ring is not.
    #[error("descriptor chain {head} unusable: {what}")]
    Unusable {
        /// Head descriptor.
        head: u16,
        /// The rule it breaks.
        what: &'static str,
    },
}

impl Chain {
    /// Takes the next available chain off `queue`.
    ///
    /// # Errors
    /// The ring or the chain breaks the rules of virtio 1.4 §2.7 (see [`ChainError`]).
    pub fn take(queue: &mut Queue, memory: &GuestMemory) -> Result<Option<Chain>, ChainError> {
        // By far the most common answer, and it needs no look at the rest of the ring.
        let available = queue.avail_idx(memory, Ordering::Acquire);
        if available.is_ok_and(|index| index.0 == queue.next_avail()) {
            return Ok(None);
        }
        if !queue.is_valid(memory) {
            return Err(ChainError::Ring(
                "its addresses are not in memory".to_owned(),
            ));
        }
        let found = match queue.iter(memory) {
            Ok(mut available) => available.next(),
            Err(error) => return Err(ChainError::Ring(error.to_string())),
        };
        // Its descriptors are not taken from here: where one refers to an indirect table, the crate goes there
        // without a word.
        let head = found.map(|descriptors| descriptors.head_index());
        head.map(|head| Chain::of(queue, memory, head)).transpose()
    }

    /// The chain that begins at descriptor `head` of `queue`, whether it is available or not: one that was
    /// taken before, by somebody who could not answer it.
    ///
    /// # Errors
    /// The ring or the chain breaks the rules, as for [`Chain::take`].
    pub fn again(queue: &Queue, memory: &GuestMemory, head: u16) -> Result<Chain, ChainError> {
        if !queue.is_valid(memory) {
            return Err(ChainError::Ring(
                "its addresses are not in memory".to_owned(),
            ));
        }
        Chain::of(queue, memory, head)
    }

    fn of(queue: &Queue, memory: &GuestMemory, head: u16) -> Result<Chain, ChainError> {
        let size = queue.size();
        let table = queue.desc_table();
        let read = |index: u16| -> Option<Descriptor> {
            let at = table.checked_add(u64::from(index) * size_of::<Descriptor>() as u64)?;
            (index < size).then(|| memory.read_obj(GuestAddress(at)).ok())?
        };
        let next = |descriptor: &Descriptor| {
            let goes_on = descriptor.has_next();
            goes_on.then(|| read(descriptor.next()))?
        };
        let descriptors = std::iter::successors(read(head), next);
        Chain::checked(head, usize::from(size), memory, descriptors)
    }

    fn checked(
        head: u16,
        size: usize,
        memory: &GuestMemory,
        descriptors: impl Iterator<Item = Descriptor>,
    ) -> Result<Chain, ChainError> {
        let unusable = |what| Err(ChainError::Unusable { head, what });
        let mut chain = Chain {
            head,
            buffers: Vec::with_capacity(USUAL_DESCRIPTORS),
            readable: 0,
        };
        let mut terminated = false;
        for (count, descriptor) in (1..).zip(descriptors) {
            if count > size.min(MAX_CHAIN_DESCRIPTORS) {
                return unusable("longer than the queue (a loop?)");
            }
            if descriptor.refers_to_indirect_table() {
                return unusable("indirect, which was not offered");
            }
            let (address, length) = (descriptor.addr(), descriptor.len());
            let end_in_memory = length == 0
                || memory.check_range(address, usize::try_from(length).unwrap_or(usize::MAX));
            if !end_in_memory {
                return unusable("a buffer outside memory");
            }
            if !descriptor.is_write_only() {
                if chain.readable < chain.buffers.len() {
                    return unusable("a readable buffer after a writable one");
                }
                chain.readable += 1;
            }
            chain.buffers.push((address.raw_value(), length));
            terminated = !descriptor.has_next();
        }
        if !terminated {
            return unusable("it does not end (a loop or a bad next index)");
        }
        if chain.readable_len() > MAX_CHAIN_BYTES || chain.writable_len() > MAX_CHAIN_BYTES {
            return unusable("more bytes than a request may have");
        }
        Ok(chain)
    }

    /// Bytes the device may read.
    pub fn readable_len(&self) -> u64 {
        total(self.readable_part())
    }

    /// Bytes the device may write.
    pub fn writable_len(&self) -> u64 {
        total(self.writable_part())
    }

    /// Copies out of the readable part from byte `offset`; returns how many bytes there were.
    pub fn read(&self, memory: &GuestMemory, offset: u64, into: &mut [u8]) -> usize {
        self.reader(memory, offset).read(into)
    }

    /// The readable part from byte `offset` on, at most `limit` bytes.
    pub fn read_vec(&self, memory: &GuestMemory, offset: u64, limit: usize) -> Vec<u8> {
        let there = self.readable_len().saturating_sub(offset);
        let mut bytes = vec![0; usize::try_from(there).unwrap_or(limit).min(limit)];
        let n = self.read(memory, offset, &mut bytes);
        bytes.truncate(n);
        bytes
    }

    /// Copies into the writable part from byte `offset`; returns how many bytes had room.
    pub fn write(&self, memory: &GuestMemory, offset: u64, from: &[u8]) -> usize {
        self.writer(memory, offset).write(from)
    }

    /// Reads the readable part piece by piece, from byte `offset` on.
    pub fn reader<'a>(&'a self, memory: &'a GuestMemory, offset: u64) -> ChainReader<'a> {
        ChainReader(Cursor::new(memory, self.readable_part(), offset))
    }

    /// Writes the writable part piece by piece, from byte `offset` on.
    pub fn writer<'a>(&'a self, memory: &'a GuestMemory, offset: u64) -> ChainWriter<'a> {
        ChainWriter(Cursor::new(memory, self.writable_part(), offset))
    }

    fn readable_part(&self) -> &[(u64, u32)] {
        self.buffers.get(..self.readable).unwrap_or_default()
    }

    fn writable_part(&self) -> &[(u64, u32)] {
        self.buffers.get(self.readable..).unwrap_or_default()
    }
}

fn total(buffers: &[(u64, u32)]) -> u64 {
    buffers.iter().map(|(_, length)| u64::from(*length)).sum()
}
