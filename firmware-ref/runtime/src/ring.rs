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

/// A virtqueue of `SIZE` descriptors for requests of at most `PIECES` buffers. Trusts nothing that
/// a device writes into the used ring.
#[derive(Debug)]
pub(crate) struct Ring<const SIZE: usize, const PIECES: usize> {
    slot: u8,
    index: u16,
    memory: NonNull<u8>,
    made_available: u16,
    taken: u16,
    /// Which places have a request on its way; the first SIZE / PIECES count.
    busy: [bool; SIZE],
    outstanding: usize,
}

impl<const SIZE: usize, const PIECES: usize> Ring<SIZE, PIECES> {
    /// Requests there is room for.
    pub(crate) const PLACES: usize = SIZE / PIECES;

    const AVAILABLE_AT: usize = DESCRIPTOR_BYTES * SIZE;
    const USED_AT: usize =
        (Self::AVAILABLE_AT + RING_AT + 2 * SIZE + 2).next_multiple_of(align_of::<u32>());
    const FITS: () = assert!(
        SIZE.is_power_of_two() && Self::USED_AT + RING_AT + USED_BYTES * SIZE + 2 <= RING_BYTES
    );

    /// Sets up queue `index` of `slot` in memory of the arena.
    pub(crate) fn new(slot: &mut Slot, index: u16) -> Result<Self, DeviceError> {
        let memory = allocate(RING_BYTES, RING_BYTES)?;
        Self::set_up(slot, index, memory)
    }

    /// The same for a queue whose answers are no news, such as that of a transmitter: the driver
    /// says so with VIRTQ_AVAIL_F_NO_INTERRUPT (virtio 1.4 §2.7.7).
    pub(crate) fn new_quiet(slot: &mut Slot, index: u16) -> Result<Self, DeviceError> {
        let ring = Self::new(slot, index)?;
        ring.make_quiet();
        Ok(ring)
    }

    /// Sets up queue `index` of `slot` in `memory`: [`RING_BYTES`], zeroed, page-aligned, for good.
    pub(crate) fn set_up(
        slot: &mut Slot,
        index: u16,
        memory: NonNull<u8>,
    ) -> Result<Self, DeviceError> {
        let () = Self::FITS;
        let size = u32::try_from(SIZE).unwrap_or(u32::MAX);
        if slot.max_queue_size(index) < size {
            return Err(DeviceError::QueueTooSmall);
        }
        let start = memory.addr().get();
        let parts = [0, Self::AVAILABLE_AT, Self::USED_AT].map(|offset| start + offset);
        slot.set_queue(index, size, parts);
        pending::opened(slot.number(), index, start + Self::USED_AT, 0);
        Ok(Ring {
            slot: slot.number(),
            index,
            memory,
            made_available: 0,
            taken: 0,
            busy: [false; SIZE],
            outstanding: 0,
        })
    }

    /// Takes over the live queue `index` of slot `slot` that lies in `memory`, if nothing is on its way.
    pub(crate) fn resume(slot: &Slot, index: u16, memory: NonNull<u8>) -> Option<Self> {
        let () = Self::FITS;
        let mut ring = Ring {
            slot: slot.number(),
            index,
            memory,
            made_available: 0,
            taken: 0,
            busy: [false; SIZE],
            outstanding: 0,
        };
        ring.made_available = ring.load16(Self::AVAILABLE_AT + INDEX_AT);
        ring.taken = ring.load16(Self::USED_AT + INDEX_AT);
        let used_ring = memory.addr().get() + Self::USED_AT;
        pending::opened(ring.slot, index, used_ring, ring.taken);
        (ring.taken == ring.made_available).then_some(ring)
    }

    /// Says that answers are no news (see [`Ring::new_quiet`]).
    pub(crate) fn make_quiet(&self) {
        self.store16(Self::AVAILABLE_AT, AVAIL_F_NO_INTERRUPT);
        pending::ignore(self.slot, self.index);
    }

    /// A place without a request, if there is one.
    pub(crate) fn free_place(&self) -> Option<usize> {
        self.busy.iter().take(Self::PLACES).position(|busy| !busy)
    }

    /// Places without a request.
    pub(crate) fn free_places(&self) -> usize {
        Self::PLACES.saturating_sub(self.outstanding)
    }

    /// Whether `place` has a request on its way.
    pub(crate) fn is_busy(&self, place: usize) -> bool {
        self.busy.get(place).copied().unwrap_or(false)
    }

    /// Requests without an answer taken.
    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding
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
        if self.load16(Self::USED_AT) & USED_F_NO_NOTIFY == 0 {
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
        let pieces = || {
            let read = readable.iter().map(|piece| (piece, 0));
            let written = writable.iter().map(|piece| (piece, DESC_F_WRITE));
            read.chain(written).filter(|(piece, _)| !piece.is_empty())
        };
        let count = pieces().count();
        if count == 0 || count > PIECES || place >= Self::PLACES || self.is_busy(place) {
            return Err(DeviceError::BadRequest);
        }
        let head = place * PIECES;
        for (n, (piece, write)) in pieces().enumerate() {
            let length = u32::try_from(piece.len()).map_err(|_| DeviceError::BadRequest)?;
            let next = if n + 1 < count { DESC_F_NEXT } else { 0 };
            let at = (head + n) * DESCRIPTOR_BYTES;
            self.store(at, &address(*piece).to_le_bytes());
            self.store(at + 8, &length.to_le_bytes());
            self.store16(at + 12, write | next);
            self.store16(at + 14, index(head + n + 1));
        }
        self.busy[place] = true;
        self.outstanding += 1;
        self.store16(Self::available_entry(self.made_available), index(head));
        self.made_available = self.made_available.wrapping_add(1);
        // Descriptors and entry before the index (§2.7.13.3.1).
        fence(Ordering::Release);
        self.store16(Self::AVAILABLE_AT + INDEX_AT, self.made_available);
        Ok(())
    }

    /// Tells the device that there are requests.
    pub(crate) fn notify(&self, slot: &Slot) {
        slot.notify(self.index);
    }

    /// Whether an answer waits to be taken.
    pub(crate) fn has_answer(&self) -> bool {
        self.load16(Self::USED_AT + INDEX_AT) != self.taken
    }

    /// Takes the next answer: to which place, and how many bytes the device says it wrote.
    pub(crate) fn take(&mut self) -> Result<Option<(usize, usize)>, DeviceError> {
        if !self.has_answer() {
            return Ok(None);
        }
        // The index before the entry.
        fence(Ordering::Acquire);
        let at = Self::USED_AT + RING_AT + usize::from(self.taken) % SIZE * USED_BYTES;
        let [head, written] = [self.load32(at), self.load32(at + 4)];
        let place = self
            .place_of(head)
            .filter(|place| self.is_busy(*place))
            .ok_or(DeviceError::Broken)?;
        self.busy[place] = false;
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
        (head.is_multiple_of(PIECES) && head / PIECES < Self::PLACES).then_some(head / PIECES)
    }

    fn available_entry(counter: u16) -> usize {
        Self::AVAILABLE_AT + RING_AT + 2 * (usize::from(counter) % SIZE)
    }

    fn store(&self, offset: usize, bytes: &[u8]) {
        for (n, byte) in bytes.iter().enumerate() {
            // SAFETY: descriptors lie at the start of the ring's page (`FITS`).
            unsafe { self.memory.add(offset + n).write_volatile(*byte) };
        }
    }

    fn store16(&self, offset: usize, value: u16) {
        // SAFETY: inside the ring's page (`FITS`), and even like every offset here.
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

    type Small = Ring<8, 3>;

    /// A slot of its own for each test: the table of pending answers is shared.
    fn ring(slot: u8) -> (Slot, Small) {
        let slot = Slot::for_test(slot);
        let memory = allocate(RING_BYTES, RING_BYTES).expect("room for a ring");
        let ring = Small::resume(&slot, 0, memory).expect("an empty ring is idle");
        // The device of these tests is asked only when the test says so.
        ring.store16(Small::USED_AT, USED_F_NO_NOTIFY);
        (slot, ring)
    }

    fn piece(bytes: &'static [u8]) -> NonNull<[u8]> {
        NonNull::from(bytes)
    }

    /// What a device does with the oldest request: answers `id`.
    fn answer(ring: &Small, id: u32, written: u32) {
        let index = ring.load16(Small::USED_AT + INDEX_AT);
        let at = Small::USED_AT + RING_AT + usize::from(index) % 8 * USED_BYTES;
        ring.store(at, &id.to_le_bytes());
        ring.store(at + 4, &written.to_le_bytes());
        ring.store16(Small::USED_AT + INDEX_AT, index.wrapping_add(1));
    }

    fn add(ring: &mut Small, slot: &Slot, place: usize) -> Result<(), DeviceError> {
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
        assert_eq!(Small::PLACES, 2);
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
        assert_eq!(ring.load16(Small::available_entry(0)), 3, "the head");
        assert_eq!(ring.load16(Small::AVAILABLE_AT + INDEX_AT), 1);
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
        assert!(Small::resume(&slot, 0, before.memory).is_none());
        answer(&before, 0, 5);
        // The level before need not have looked at the answer.
        let mut after = Small::resume(&slot, 0, before.memory).expect("idle");
        assert_eq!(after.take(), Ok(None));
        add(&mut after, &slot, 1).expect("free");
        answer(&after, 3, 2);
        assert_eq!(after.take(), Ok(Some((1, 2))));
    }
}
