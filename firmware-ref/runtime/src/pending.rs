//! Which queues hold answers that nobody has looked at yet.
//!
//! Board control wakes a waiting board for completions after the last WAIT was answered (board
//! manual §5.3). A driver that waits in the middle of its work would so swallow the wake-ups of
//! all others. Therefore a wait first looks here, and does not wait at all while a queue it asks for
//! holds an answer.

use core::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

use crate::slot::SLOTS;

/// Queues a slot can have here.
const QUEUES: usize = 2;

/// One bit per slot.
pub type SlotMask = u32;

struct Watched {
    /// Where the used ring's index is; 0 when the queue is not watched.
    used_index: AtomicUsize,
    /// Answers taken from it.
    taken: AtomicU16,
}

/// Queue by queue, those of a slot together.
static WATCHED: [Watched; SLOTS as usize * QUEUES] = [const {
    Watched {
        used_index: AtomicUsize::new(0),
        taken: AtomicU16::new(0),
    }
}; SLOTS as usize * QUEUES];

fn watched(slot: u8, queue: u16) -> Option<&'static Watched> {
    let queue = usize::from(queue);
    if queue >= QUEUES {
        return None;
    }
    WATCHED.get(usize::from(slot) * QUEUES + queue)
}

/// Queue `queue` has its used ring at `used_ring`, and `taken` answers of it are taken.
pub(crate) fn opened(slot: u8, queue: u16, used_ring: usize, taken: u16) {
    if let Some(entry) = watched(slot, queue) {
        entry.taken.store(taken, Ordering::Relaxed);
        // struct virtq_used: flags, then idx (virtio 1.4 §2.7.8).
        entry.used_index.store(used_ring + 2, Ordering::Relaxed);
    }
}

/// Answers of this queue are no reason to wake.
pub(crate) fn ignore(slot: u8, queue: u16) {
    if let Some(entry) = watched(slot, queue) {
        entry.used_index.store(0, Ordering::Relaxed);
    }
}

/// The slot was reset: nothing of it is pending.
pub(crate) fn closed(slot: u8) {
    for queue in 0..2 {
        ignore(slot, queue);
    }
}

/// One answer of this queue was taken.
pub(crate) fn taken(slot: u8, queue: u16) {
    if let Some(entry) = watched(slot, queue) {
        let taken = entry.taken.load(Ordering::Relaxed);
        entry.taken.store(taken.wrapping_add(1), Ordering::Relaxed);
    }
}

/// Those of `mask` whose queues hold answers not yet taken.
pub(crate) fn among(mask: SlotMask) -> SlotMask {
    let mut found = 0;
    for (slot, queues) in WATCHED.as_chunks::<QUEUES>().0.iter().enumerate() {
        let bit = 1 << slot;
        if mask & bit != 0 && queues.iter().any(holds_answers) {
            found |= bit;
        }
    }
    found
}

fn holds_answers(queue: &Watched) -> bool {
    let address = queue.used_index.load(Ordering::Relaxed);
    if address == 0 {
        return false;
    }
    // SAFETY: the address is the idx field of a used ring in the arena, which is never freed;
    // `closed` forgets it when the device is reset. Volatile, because the device writes it.
    let used = unsafe { (address as *const u16).read_volatile() };
    used != queue.taken.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slot_is_pending_from_completion_until_the_answer_is_taken() {
        let ring = Box::leak(Box::new([0u16; 2]));
        let address = ring.as_ptr().addr();
        opened(23, 0, address, 0);
        assert_eq!(among(u32::MAX) & 1 << 23, 0);
        ring[1] = 1;
        assert_eq!(among(1 << 23), 1 << 23);
        assert_eq!(among(1 << 22), 0);
        taken(23, 0);
        assert_eq!(among(1 << 23), 0);
        ring[1] = 2;
        ignore(23, 0);
        assert_eq!(among(1 << 23), 0);
    }
}
