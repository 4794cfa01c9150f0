//! Split virtqueues (virtio 1.4 §2.7), polled.
//!
//! A request of these drivers never has more than a few buffers. So the descriptor table is divided
//! into *places* of that many descriptors once and for all: place n owns descriptors n·PIECES …, the
//! place is the request's name from its making to its answer, and there is no free list. So all there is
//! to know about an idle queue lies in the ring, and a level can take it over from the level before.

use core::ptr::NonNull;
use core::sync::atomic::{Ordering, fence};

use crate::dma::allocate;
use crate::error::DeviceError;
use crate::pending;
use crate::slot::Slot;

/// struct virtq_desc: addr u64, len u32, flags u16, next u16.
const DESCRIPTOR_BYTES: usize = 16;
const DESC_F_NEXT: u16 = 1;
const DESC_F_WRITE: u16 = 2;
/// struct virtq_avail and virtq_used: flags u16, idx u16, then the ring.
const INDEX_AT: usize = 2;
const RING_AT: usize = 4;
/// struct virtq_used_elem: id u32, len u32.
const USED_BYTES: usize = 8;
const AVAIL_F_NO_INTERRUPT: u16 = 1;
const USED_F_NO_NOTIFY: u16 = 1;

/// Memory for any ring here; one page.
pub(crate) const RING_BYTES: usize = 4096;

/// How many descriptors a queue has, and how many buffers a request of it at most. No parameter of a type: one code for
/// all queues is smaller, and a node's boot ROM has four of them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    size: u16,
    pieces: u16,
    places: u16,
}

impl Shape {
    /// `size` descriptors for requests of `pieces` buffers.
    pub(crate) const fn new(size: u16, pieces: u16) -> Shape {
        let places = size / pieces;
        let shape = Shape {
            size,
            pieces,
            places,
        };
        assert!(size.is_power_of_two() && shape.places() <= Busy::BITS as usize);
        assert!(shape.used_at() + RING_AT + USED_BYTES * shape.size() + 2 <= RING_BYTES);
        shape
    }

    /// Requests there is room for.
    pub(crate) const fn places(self) -> usize {
        self.places as usize
    }

    const fn size(self) -> usize {
        self.size as usize
    }

    const fn pieces(self) -> usize {
        self.pieces as usize
    }

    const fn available_at(self) -> usize {
        DESCRIPTOR_BYTES * self.size()
    }

    const fn used_at(self) -> usize {
        // The available ring ends with used_event; the used ring is aligned to 4.
        (self.available_at() + RING_AT + 2 * self.size() + 2 + 3) & !3
    }

    /// Where entry `counter` of a ring of entries is, counted from its first. Sizes are powers of two.
    fn entry(self, counter: u16) -> usize {
        usize::from(counter & (self.size - 1))
    }
}

/// A bit for each place.
type Busy = u64;

/// A virtqueue. Trusts nothing that a device writes into the used ring.
#[derive(Debug)]
pub(crate) struct Ring {
    slot: u8,
    index: u16,
    shape: Shape,
    memory: NonNull<u8>,
    made_available: u16,
    taken: u16,
    /// Which places have a request on its way.
    busy: Busy,
    outstanding: u16,
}

impl Ring {
    /// Sets up queue `index` of `slot` in memory of the arena.
    pub(crate) fn new(slot: &mut Slot, index: u16, shape: Shape) -> Result<Ring, DeviceError> {
        let memory = allocate(RING_BYTES, RING_BYTES)?;
        Ring::set_up(slot, index, shape, memory)
    }

    /// The same for a queue whose answers are no news, such as that of a transmitter: the driver
    /// says so with VIRTQ_AVAIL_F_NO_INTERRUPT (virtio 1.4 §2.7.7).
    pub(crate) fn new_quiet(
        slot: &mut Slot,
        index: u16,
        shape: Shape,
    ) -> Result<Ring, DeviceError> {
        let ring = Ring::new(slot, index, shape)?;
        ring.make_quiet();
        Ok(ring)
    }

    /// Sets up queue `index` of `slot` in `memory`: [`RING_BYTES`], zeroed, page-aligned, for good.
    pub(crate) fn set_up(
        slot: &mut Slot,
        index: u16,
        shape: Shape,
        memory: NonNull<u8>,
    ) -> Result<Ring, DeviceError> {
        let size = u32::from(shape.size);
        if slot.max_queue_size(index) < size {
            return Err(DeviceError::QueueTooSmall);
        }
        let start = memory.addr().get();
        let parts = [start, start + shape.available_at(), start + shape.used_at()];
        slot.set_queue(index, size, parts);
        pending::opened(slot.number(), index, start + shape.used_at(), 0);
        Ok(Ring {
            slot: slot.number(),
            index,
            shape,
            memory,
            made_available: 0,
            taken: 0,
            busy: 0,
            outstanding: 0,
        })
    }

    /// Takes over the live queue `index` of slot `slot` that lies in `memory`, if nothing is on its way.
    pub(crate) fn resume(
        slot: &Slot,
        index: u16,
        shape: Shape,
        memory: NonNull<u8>,
    ) -> Option<Ring> {
        let mut ring = Ring {
            slot: slot.number(),
            index,
            shape,
            memory,
            made_available: 0,
            taken: 0,
            busy: 0,
            outstanding: 0,
        };
        ring.made_available = ring.load16(shape.available_at() + INDEX_AT);
        ring.taken = ring.load16(shape.used_at() + INDEX_AT);
        let used_ring = memory.addr().get() + shape.used_at();
        pending::opened(ring.slot, index, used_ring, ring.taken);
        (ring.taken == ring.made_available).then_some(ring)
    }

    /// Says that answers are no news (see [`Ring::new_quiet`]).
    pub(crate) fn make_quiet(&self) {
        self.store16(self.shape.available_at(), AVAIL_F_NO_INTERRUPT);
        pending::ignore(self.slot, self.index);
    }

    /// A place without a request, if there is one.
    pub(crate) fn free_place(&self) -> Option<usize> {
        let place = self.busy.trailing_ones() as usize;
        (place < self.shape.places()).then_some(place)
    }

    /// Places without a request.
    pub(crate) fn free_places(&self) -> usize {
        self.shape.places().saturating_sub(self.outstanding())
    }

    /// Whether `place` has a request on its way.
    pub(crate) fn is_busy(&self, place: usize) -> bool {
        place < self.shape.places() && self.busy >> place & 1 != 0
    }

    /// Requests without an answer taken.
    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding.into()
    }

    /// Makes a request available at a free place: what the device reads, then what it writes. Empty
    /// pieces are left out. Tells the device, unless it asked not to be told.
    ///
    /// # Safety
    /// Every piece must stay valid, and must not be borrowed as a Rust reference where the device
    /// may write, until the place comes back from [`Ring::take`] or the slot is reset.
    pub(crate) unsafe fn add(
        &mut self,
        slot: &Slot,
        place: usize,
        readable: &[NonNull<[u8]>],
        writable: &[NonNull<[u8]>],
    ) -> Result<(), DeviceError> {
        // SAFETY: the same contract.
        unsafe { self.add_silently(place, readable, writable) }?;
        // The device must see the request before this looks whether it wants to be told (§2.7.13.4.1).
        fence(Ordering::SeqCst);
        if self.load16(self.shape.used_at()) & USED_F_NO_NOTIFY == 0 {
            self.notify(slot);
        }
        Ok(())
    }

    /// The same without telling the device.
    ///
    /// # Safety
    /// As [`Ring::add`].
    pub(crate) unsafe fn add_silently(
        &mut self,
        place: usize,
        readable: &[NonNull<[u8]>],
        writable: &[NonNull<[u8]>],
    ) -> Result<(), DeviceError> {
        if place >= self.shape.places() || self.is_busy(place) {
            return Err(DeviceError::BadRequest);
        }
        let head = place * self.shape.pieces();
        let (mut next, mut last_flags) = (head, 0);
        for (pieces, flags) in [(readable, 0), (writable, DESC_F_WRITE)] {
            for piece in pieces.iter().filter(|piece| !piece.is_empty()) {
                let length = u32::try_from(piece.len());
                let (Ok(length), true) = (length, next < head + self.shape.pieces()) else {
                    return Err(DeviceError::BadRequest);
                };
                let at = next * DESCRIPTOR_BYTES;
                next += 1;
                last_flags = flags;
                self.store64(at, address(*piece));
                self.store32(at + 8, length);
                self.store16(at + 12, flags | DESC_F_NEXT);
                self.store16(at + 14, index(next));
            }
        }
        if next == head {
            return Err(DeviceError::BadRequest);
        }
        // Behind the last one comes none.
        self.store16(next * DESCRIPTOR_BYTES - 4, last_flags);
        self.busy |= 1 << place;
        self.outstanding += 1;
        self.store16(self.available_entry(self.made_available), index(head));
        self.made_available = self.made_available.wrapping_add(1);
        // Descriptors and entry before the index (§2.7.13.3.1).
        fence(Ordering::Release);
        self.store16(self.shape.available_at() + INDEX_AT, self.made_available);
        Ok(())
    }

    /// Tells the device that there are requests.
    pub(crate) fn notify(&self, slot: &Slot) {
        slot.notify(self.index);
    }

    /// Whether an answer waits to be taken.
    pub(crate) fn has_answer(&self) -> bool {
        self.load16(self.shape.used_at() + INDEX_AT) != self.taken
    }

    /// Takes the next answer: to which place, and how many bytes the device says it wrote.
    pub(crate) fn take(&mut self) -> Result<Option<(usize, usize)>, DeviceError> {
        if !self.has_answer() {
            return Ok(None);
        }
        // The index before the entry.
        fence(Ordering::Acquire);
        let at = self.shape.used_at() + RING_AT + self.shape.entry(self.taken) * USED_BYTES;
        let [head, written] = [self.load32(at), self.load32(at + 4)];
        let place = self
            .place_of(head)
            .filter(|place| self.is_busy(*place))
            .ok_or(DeviceError::Broken)?;
        self.busy &= !(1 << place);
        self.outstanding -= 1;
        self.taken = self.taken.wrapping_add(1);
        pending::taken(self.slot, self.index);
        Ok(Some((
            place,
            usize::try_from(written).unwrap_or(usize::MAX),
        )))
    }

    fn place_of(&self, head: u32) -> Option<usize> {
        let head = usize::try_from(head).ok()?;
        let place = head / self.shape.pieces();
        (place * self.shape.pieces() == head && place < self.shape.places()).then_some(place)
    }

    fn available_entry(&self, counter: u16) -> usize {
        self.shape.available_at() + RING_AT + 2 * self.shape.entry(counter)
    }

    fn store64(&self, offset: usize, value: u64) {
        // SAFETY: descriptors lie at the start of the ring's page ([`Shape::new`]), aligned.
        unsafe { self.memory.add(offset).cast::<u64>().write_volatile(value) };
    }

    fn store32(&self, offset: usize, value: u32) {
        // SAFETY: as above.
        unsafe { self.memory.add(offset).cast::<u32>().write_volatile(value) };
    }

    fn store16(&self, offset: usize, value: u16) {
        // SAFETY: inside the ring's page ([`Shape::new`]), and even like every offset here.
        unsafe { self.memory.add(offset).cast::<u16>().write_volatile(value) };
    }

    fn load16(&self, offset: usize) -> u16 {
        // SAFETY: as above. Volatile, because the device writes there.
        unsafe { self.memory.add(offset).cast::<u16>().read_volatile() }
    }

    fn load32(&self, offset: usize) -> u32 {
        // SAFETY: as above; used entries are aligned to 4.
        unsafe { self.memory.add(offset).cast::<u32>().read_volatile() }
    }
}

/// Descriptors are fewer than 65536.
fn index(descriptor: usize) -> u16 {
    u16::try_from(descriptor).unwrap_or(u16::MAX)
}

/// Bus addresses are memory addresses: paging maps RAM one to one and there is no IOMMU.
fn address(piece: NonNull<[u8]>) -> u64 {
    u64::try_from(piece.cast::<u8>().addr().get()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: Shape = Shape::new(8, 3);
    const AVAILABLE_AT: usize = SMALL.available_at();
    const USED_AT: usize = SMALL.used_at();

    /// A slot of its own for each test: the table of pending answers is shared.
    fn ring(slot: u8) -> (Slot, Ring) {
        let slot = Slot::for_test(slot);
        let memory = allocate(RING_BYTES, RING_BYTES).expect("room for a ring");
        let ring = Ring::resume(&slot, 0, SMALL, memory).expect("an empty ring is idle");
        // The device of these tests is asked only when the test says so.
        ring.store16(USED_AT, USED_F_NO_NOTIFY);
        (slot, ring)
    }

    fn piece(bytes: &'static [u8]) -> NonNull<[u8]> {
        NonNull::from(bytes)
    }

    /// What a device does with the oldest request: answers `id`.
    fn answer(ring: &Ring, id: u32, written: u32) {
        let index = ring.load16(USED_AT + INDEX_AT);
        let at = USED_AT + RING_AT + usize::from(index) % 8 * USED_BYTES;
        ring.store32(at, id);
        ring.store32(at + 4, written);
        ring.store16(USED_AT + INDEX_AT, index.wrapping_add(1));
    }

    fn add(ring: &mut Ring, slot: &Slot, place: usize) -> Result<(), DeviceError> {
        // SAFETY: statics, which nothing writes.
        unsafe {
            ring.add(
                slot,
                place,
                &[piece(b"head"), piece(b"")],
                &[piece(b"answer")],
            )
        }
    }

    #[test]
    fn a_request_is_a_chain_in_its_place() {
        let (slot, mut ring) = ring(20);
        assert_eq!(SMALL.places(), 2);
        add(&mut ring, &slot, 1).expect("the place is free");
        let flags = |descriptor: usize| ring.load16(descriptor * DESCRIPTOR_BYTES + 12);
        let length = |descriptor: usize| ring.load32(descriptor * DESCRIPTOR_BYTES + 8);
        assert_eq!((flags(3), length(3)), (DESC_F_NEXT, 4));
        assert_eq!(ring.load16(3 * DESCRIPTOR_BYTES + 14), 4, "the next one");
        assert_eq!(
            (flags(4), length(4)),
            (DESC_F_WRITE, 6),
            "the empty piece is left out"
        );
        assert_eq!(ring.load16(ring.available_entry(0)), 3, "the head");
        assert_eq!(ring.load16(AVAILABLE_AT + INDEX_AT), 1);
        assert_eq!((ring.free_place(), ring.free_places()), (Some(0), 1));
        assert_eq!(
            add(&mut ring, &slot, 1),
            Err(DeviceError::BadRequest),
            "busy"
        );
        assert_eq!(
            add(&mut ring, &slot, 2),
            Err(DeviceError::BadRequest),
            "no such place"
        );
    }

    #[test]
    fn answers_come_back_in_the_devices_order_past_the_end_of_the_counters() {
        let (slot, mut ring) = ring(21);
        for _ in 0..40_000 {
            add(&mut ring, &slot, 0).expect("free");
            add(&mut ring, &slot, 1).expect("free");
            assert_eq!((ring.free_place(), ring.take()), (None, Ok(None)));
            answer(&ring, 3, 6);
            answer(&ring, 0, 1);
            assert_eq!(ring.take(), Ok(Some((1, 6))));
            assert_eq!(ring.take(), Ok(Some((0, 1))));
            assert_eq!((ring.take(), ring.outstanding()), (Ok(None), 0));
        }
    }

    #[test]
    fn an_answer_to_nothing_is_the_devices_fault() {
        let check = |id| {
            let (slot, mut ring) = ring(22);
            add(&mut ring, &slot, 0).expect("free");
            answer(&ring, id, 0);
            let wanted = if id == 0 {
                Ok(Some((0, 0)))
            } else {
                Err(DeviceError::Broken)
            };
            assert_eq!(ring.take(), wanted, "id {id}");
        };
        // Its own; a middle descriptor; a place without a request; no place; no descriptor.
        [0, 1, 3, 6, 8, u32::MAX].into_iter().for_each(check);
    }

    #[test]
    fn only_an_idle_queue_is_taken_over() {
        let (slot, mut before) = ring(19);
        add(&mut before, &slot, 0).expect("free");
        assert!(Ring::resume(&slot, 0, SMALL, before.memory).is_none());
        answer(&before, 0, 5);
        // The level before need not have looked at the answer.
        let mut after = Ring::resume(&slot, 0, SMALL, before.memory).expect("idle");
        assert_eq!(after.take(), Ok(None));
        add(&mut after, &slot, 1).expect("free");
        answer(&after, 3, 2);
        assert_eq!(after.take(), Ok(Some((1, 2))));
    }
}
