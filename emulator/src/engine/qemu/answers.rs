//! Keeps back the answers that a board waits for until all of its devices were served.
//!
//! A board spins on the used ring of the one device that it notifies, and goes on as soon as it finds an answer
//! there; but the board's other devices are served after that one. In the own VMM the CPU stands
//! meanwhile. Here it runs: so the device gets a used ring that the driver does not see, and what is in it goes to
//! the driver's ring when the board is to go on.

use std::sync::atomic::{Ordering, fence};

use devices::virtio::GuestMemory;
use virtio_queue::{Queue, QueueT};
use vm_memory::{Bytes, GuestAddress};

use crate::slot::Slot;

/// Guest-physical address of the ring that the driver does not see: above all that a guest can address.
pub(super) const PLACE: u64 = 1 << 56;

// struct virtq_used (virtio 1.4 §2.7.8): flags, index, then entries of an id and a length.
const INDEX_AT: u64 = 2;
const ENTRIES_AT: u64 = 4;
const ENTRY_BYTES: u64 = 8;

/// The answers of the device that a board notifies.
#[derive(Debug, Default)]
pub(super) struct Answers {
    /// The driver's used ring, and up to where it was filled.
    driver: Option<(u64, u16)>,
}

impl Answers {
    /// Puts the hidden ring in the place of the driver's, where that is new.
    pub(super) fn keep_back(&mut self, slot: &mut Slot, memory: &GuestMemory) {
        let Some(queue) = slot.queues.first_mut().filter(|queue| queue.ready()) else {
            return;
        };
        if queue.used_ring() == PLACE {
            // It was before, or paused and goes on.
            return;
        }
        self.driver = Some((queue.used_ring(), queue.next_used()));
        let half = |shift: u32| u32::try_from((PLACE >> shift) & 0xffff_ffff).ok();
        queue.set_used_ring_address(half(0), half(32));
        // The place belongs to this engine, and is as large as any ring.
        let _ = memory.write_obj(queue.next_used().to_le(), GuestAddress(PLACE + INDEX_AT));
    }

    /// Shows the driver what has been answered.
    pub(super) fn publish(&mut self, slots: &[Slot], memory: &GuestMemory) {
        let ready = |queue: &&Queue| queue.ready() && queue.used_ring() == PLACE;
        let queue = slots.first().and_then(|slot| slot.queues.first());
        let (Some(queue), Some((driver, shown))) = (queue.filter(ready), &mut self.driver) else {
            return;
        };
        let size = u64::from(queue.size().max(1));
        while *shown != queue.next_used() {
            let entry = ENTRIES_AT + u64::from(*shown) % size * ENTRY_BYTES;
            // A ring that is not in memory stays without answers, as it would anyway.
            if let Ok(answer) = memory.read_obj::<u64>(GuestAddress(PLACE + entry)) {
                let _ = memory.write_obj(answer, GuestAddress(driver.saturating_add(entry)));
            }
            *shown = shown.wrapping_add(1);
        }
        // The entries before the index (§2.7.8.2).
        fence(Ordering::Release);
        let at = GuestAddress(driver.saturating_add(INDEX_AT));
        let _ = memory.store(shown.to_le(), at, Ordering::Release);
    }
}
