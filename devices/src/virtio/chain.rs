use std::sync::atomic::Ordering;

use serde::{Deserialize, Serialize};
use thiserror::Error;
use virtio_queue::{Queue, QueueOwnedT, QueueT};
use vm_memory::{Address, Bytes, GuestAddress, GuestMemoryBackend};

use super::GuestMemory;

/// Longest chain a device accepts, in descriptors: a chain can be no longer than its queue, and
/// no queue here is larger.
pub const MAX_CHAIN_DESCRIPTORS: usize = 256;

/// Most bytes a chain may describe in each direction: bounds what a guest can make the bench
/// allocate or copy for one request.
pub const MAX_CHAIN_BYTES: u64 = 8 << 20;

/// One request, copied out of the descriptor table and checked as a whole before anything is done:
/// the guest may rewrite its descriptors while the request is in progress.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chain {
    /// Head descriptor, to give the chain back by.
    pub head: u16,
    readable: Vec<(u64, u32)>,
    writable: Vec<(u64, u32)>,
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
        let size = usize::from(queue.size());
        let found = match queue.iter(memory) {
            Ok(mut available) => available.next(),
            Err(error) => return Err(ChainError::Ring(error.to_string())),
        };
        let Some(mut descriptors) = found else {
            return Ok(None);
        };
        let head = descriptors.head_index();
        let unusable = |what| Err(ChainError::Unusable { head, what });
        let mut chain = Chain {
            head,
            readable: Vec::new(),
            writable: Vec::new(),
        };
        let mut terminated = false;
        let mut count = 0;
        for descriptor in descriptors.by_ref() {
            count += 1;
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
            if descriptor.is_write_only() {
                chain.writable.push((address.raw_value(), length));
            } else if chain.writable.is_empty() {
                chain.readable.push((address.raw_value(), length));
            } else {
                return unusable("a readable buffer after a writable one");
            }
            terminated = !descriptor.has_next();
        }
        if !terminated {
            return unusable("it does not end (a loop or a bad next index)");
        }
        if chain.readable_len() > MAX_CHAIN_BYTES || chain.writable_len() > MAX_CHAIN_BYTES {
            return unusable("more bytes than a request may have");
        }
        Ok(Some(chain))
    }

    /// Bytes the device may read.
    pub fn readable_len(&self) -> u64 {
        self.readable
            .iter()
            .map(|(_, length)| u64::from(*length))
            .sum()
    }

    /// Bytes the device may write.
    pub fn writable_len(&self) -> u64 {
        self.writable
            .iter()
            .map(|(_, length)| u64::from(*length))
            .sum()
    }

    /// Copies out of the readable part from byte `offset`; returns how many bytes there were.
    pub fn read(&self, memory: &GuestMemory, offset: u64, into: &mut [u8]) -> usize {
        let mut done = 0;
        for (address, length) in pieces(&self.readable, offset) {
            let n = length.min(into.len() - done);
            // The range was checked when the chain was taken; memory never shrinks.
            if n == 0
                || memory
                    .read_slice(&mut into[done..done + n], address)
                    .is_err()
            {
                break;
            }
            done += n;
        }
        done
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
        let mut done = 0;
        for (address, length) in pieces(&self.writable, offset) {
            let n = length.min(from.len() - done);
            if n == 0 || memory.write_slice(&from[done..done + n], address).is_err() {
                break;
            }
            done += n;
        }
        done
    }
}

/// The non-empty pieces of a scatter list from byte `offset` on.
fn pieces(list: &[(u64, u32)], offset: u64) -> impl Iterator<Item = (GuestAddress, usize)> + '_ {
    let mut skip = offset;
    list.iter().filter_map(move |&(address, length)| {
        let length = u64::from(length);
        let skipped = skip.min(length);
        skip -= skipped;
        let rest = usize::try_from(length - skipped).unwrap_or(usize::MAX);
        (rest > 0).then_some((GuestAddress(address + skipped), rest))
    })
}
