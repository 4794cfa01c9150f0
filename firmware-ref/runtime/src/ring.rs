use core::ptr::NonNull;

use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::Transport;

use crate::dma::Direct;
use crate::error::DeviceError;
use crate::pending;
use crate::slot::Slot;

/// Most buffers one request here has.
pub(crate) const MAX_PIECES: usize = 4;

/// Names a request until its answer has been taken.
pub(crate) type Token = u16;

/// What an unfinished request consists of.
#[derive(Clone, Copy, Debug)]
struct Chain {
    pieces: [NonNull<[u8]>; MAX_PIECES],
    readable: usize,
    count: usize,
}

/// A virtqueue that remembers which buffers each request has, and that trusts nothing a device
/// writes into the used ring.
#[derive(Debug)]
pub(crate) struct Ring<const SIZE: usize> {
    queue: VirtQueue<Direct, SIZE>,
    slot: u8,
    index: u16,
    chains: [Option<Chain>; SIZE],
    outstanding: usize,
}

impl<const SIZE: usize> Ring<SIZE> {
    /// Sets up queue `index` of `slot`.
    pub(crate) fn new(slot: &mut Slot, index: u16) -> Result<Self, DeviceError> {
        Ok(Ring {
            queue: VirtQueue::new(slot, index, false, false)?,
            slot: slot.number(),
            index,
            chains: [None; SIZE],
            outstanding: 0,
        })
    }

    /// The same for a queue whose answers are no news, such as that of a transmitter: the driver
    /// says so with VIRTQ_AVAIL_F_NO_INTERRUPT (virtio 1.4 §2.7.7).
    pub(crate) fn new_quiet(slot: &mut Slot, index: u16) -> Result<Self, DeviceError> {
        let mut ring = Self::new(slot, index)?;
        ring.queue.set_dev_notify(false);
        pending::ignore(ring.slot, index);
        Ok(ring)
    }

    /// Makes a request available: what the device reads, then what it writes. Empty pieces are left
    /// out. Tells the device, unless it asked not to be told.
    ///
    /// # Safety
    /// Every piece must stay valid, and must not be borrowed as a Rust reference where the device
    /// may write, until the token comes back from [`Ring::take`] or the slot is reset.
    pub(crate) unsafe fn add(
        &mut self,
        slot: &mut Slot,
        readable: &[NonNull<[u8]>],
        writable: &[NonNull<[u8]>],
    ) -> Result<Token, DeviceError> {
        // SAFETY: the same contract.
        let token = unsafe { self.add_silently(readable, writable) }?;
        if self.queue.should_notify() {
            self.notify(slot);
        }
        Ok(token)
    }

    /// The same without telling the device.
    ///
    /// # Safety
    /// As [`Ring::add`].
    pub(crate) unsafe fn add_silently(
        &mut self,
        readable: &[NonNull<[u8]>],
        writable: &[NonNull<[u8]>],
    ) -> Result<Token, DeviceError> {
        let mut chain = Chain {
            pieces: [NonNull::slice_from_raw_parts(NonNull::dangling(), 0); MAX_PIECES],
            readable: 0,
            count: 0,
        };
        for (n, piece) in readable.iter().chain(writable).enumerate() {
            if piece.is_empty() {
                continue;
            }
            let Some(free) = chain.pieces.get_mut(chain.count) else {
                return Err(DeviceError::BadRequest);
            };
            *free = *piece;
            chain.count += 1;
            chain.readable += usize::from(n < readable.len());
        }
        if chain.count == 0 {
            return Err(DeviceError::BadRequest);
        }
        let token = chain.lend(|inputs, outputs| {
            // SAFETY: the caller keeps the buffers; the queue only stores their addresses.
            unsafe { self.queue.add(inputs, outputs) }
        })?;
        if let Some(entry) = self.chains.get_mut(usize::from(token)) {
            *entry = Some(chain);
            self.outstanding += 1;
        }
        Ok(token)
    }

    /// Tells the device that there are requests.
    pub(crate) fn notify(&self, slot: &mut Slot) {
        slot.notify(self.index);
    }

    /// Takes the next answer: which request, and how many bytes the device wrote.
    pub(crate) fn take(&mut self) -> Result<Option<(Token, usize)>, DeviceError> {
        let Some(token) = self.queue.peek_used() else {
            return Ok(None);
        };
        let chain = self
            .chains
            .get_mut(usize::from(token))
            .and_then(Option::take)
            .ok_or(DeviceError::Broken)?;
        let written = chain.lend(|inputs, outputs| {
            // SAFETY: the same pieces as were added under this token.
            unsafe { self.queue.pop_used(token, inputs, outputs) }
        })?;
        self.outstanding -= 1;
        pending::taken(self.slot, self.index);
        Ok(Some((
            token,
            usize::try_from(written).unwrap_or(usize::MAX),
        )))
    }

    /// Whether an answer waits to be taken.
    pub(crate) fn has_answer(&self) -> bool {
        self.queue.can_pop()
    }

    /// Requests without an answer taken.
    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// Whether a request of `pieces` buffers has room.
    pub(crate) fn has_room(&self, pieces: usize) -> bool {
        self.queue.available_desc() >= pieces
    }
}

impl Chain {
    /// Lends the pieces in the form the queue wants them.
    fn lend<R>(
        &self,
        use_them: impl for<'a> FnOnce(
            &'a [&'a [u8]],
            &'a mut [&'a mut [u8]],
        ) -> virtio_drivers::Result<R>,
    ) -> virtio_drivers::Result<R> {
        let mut inputs: [&[u8]; MAX_PIECES] = [&[]; MAX_PIECES];
        let mut outputs: [&mut [u8]; MAX_PIECES] = [&mut [], &mut [], &mut [], &mut []];
        let mut writable = 0;
        for (n, piece) in self.pieces.iter().take(self.count).enumerate() {
            if n < self.readable {
                // SAFETY: valid by the contract of `Ring::add`; only its address is used.
                inputs[n] = unsafe { piece.as_ref() };
            } else {
                // SAFETY: as above, and nothing else borrows it.
                outputs[writable] = unsafe { &mut *piece.as_ptr() };
                writable += 1;
            }
        }
        use_them(&inputs[..self.readable], &mut outputs[..writable])
    }
}
