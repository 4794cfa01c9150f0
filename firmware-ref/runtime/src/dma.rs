//! Memory for rings and buffers: one arena between the program's bss and its stack, handed out
//! once, never taken back. A level that ends leaves nothing behind that needs freeing: the next
//! one resets the devices before it uses its own arena.

use core::ptr::NonNull;
use core::sync::atomic::{AtomicUsize, Ordering};

use crate::error::DeviceError;

/// First free byte of the arena; 0 until the first allocation.
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// Takes `length` zeroed bytes aligned to `alignment` (a power of two), for good.
///
/// # Errors
/// The arena is used up.
pub fn allocate(length: usize, alignment: usize) -> Result<NonNull<u8>, DeviceError> {
    let (start, end) = arena::bounds();
    let mut from = 0;
    let take = |next: usize| {
        from = next.max(start).checked_next_multiple_of(alignment.max(1))?;
        from.checked_add(length).filter(|to| *to <= end)
    };
    NEXT.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
        .map_err(|_| DeviceError::OutOfMemory)?;
    let pointer = NonNull::new(from as *mut u8).ok_or(DeviceError::OutOfMemory)?;
    // SAFETY: the range lies in the arena, which nothing but this function hands out, and it was
    // not handed out before. A device looks at its used ring as soon as the ring is set up, so
    // what a warm reset left here has to go.
    unsafe { pointer.write_bytes(0, length) };
    Ok(pointer)
}

/// A buffer that a device may read or write at any time while a request names it. So it is never
/// borrowed, only copied from and to.
#[derive(Debug)]
pub struct Buffer {
    start: NonNull<u8>,
    length: usize,
}

impl Buffer {
    /// Takes `length` zeroed bytes of the arena.
    ///
    /// # Errors
    /// The arena is used up.
    pub fn new(length: usize) -> Result<Buffer, DeviceError> {
        Ok(Buffer {
            start: allocate(length, 16)?,
            length,
        })
    }

    /// Bytes it has.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether it has none.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Copies `from` to `offset`; what does not fit is left out. Returns how much did.
    // A call: inlined everywhere it would not fit a node's boot ROM.
    #[inline(never)]
    pub fn write(&mut self, offset: usize, from: &[u8]) -> usize {
        let n = from.len().min(self.length.saturating_sub(offset));
        if n > 0 {
            // SAFETY: `offset + n` is inside the buffer, which only this value owns; `from` cannot
            // overlap it, because the buffer is never borrowed.
            unsafe {
                self.start
                    .add(offset)
                    .copy_from_nonoverlapping(NonNull::from(from).cast(), n);
            };
        }
        n
    }

    /// Copies from `offset` on; returns how much there was.
    pub fn read(&self, offset: usize, into: &mut [u8]) -> usize {
        let n = into.len().min(self.length.saturating_sub(offset));
        if n > 0 {
            // SAFETY: as in `write`.
            unsafe {
                self.start
                    .add(offset)
                    .copy_to_nonoverlapping(NonNull::from(into).cast(), n);
            };
        }
        n
    }

    /// One byte, 0 past the end.
    pub fn byte(&self, offset: usize) -> u8 {
        let mut byte = [0];
        self.read(offset, &mut byte);
        byte[0]
    }

    /// A little-endian word, 0 past the end.
    pub fn u32(&self, offset: usize) -> u32 {
        let mut bytes = [0; 4];
        self.read(offset, &mut bytes);
        u32::from_le_bytes(bytes)
    }

    /// A little-endian double word, 0 past the end.
    pub fn u64(&self, offset: usize) -> u64 {
        let mut bytes = [0; 8];
        self.read(offset, &mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// The part `from … from + length`, cut to what there is, for a descriptor.
    pub(crate) fn piece(&self, from: usize, length: usize) -> NonNull<[u8]> {
        let from = from.min(self.length);
        let length = length.min(self.length - from);
        // SAFETY: inside the buffer by the two lines above.
        NonNull::slice_from_raw_parts(unsafe { self.start.add(from) }, length)
    }
}

/// Pages outside every level's own memory, for the queues that one level leaves live to the next
/// (memory map in firmware-ref/README.md). Which page is whose is part of the hand-over ABI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SharedPage {
    BoardControlRing = 0x9000,
    BoardControlRequests = 0xa000,
    SpiRing = 0xb000,
    SpiRequests = 0xc000,
}

impl SharedPage {
    pub(crate) const BYTES: usize = 4096;

    pub(crate) fn start(self) -> NonNull<u8> {
        let start = core::ptr::with_exposed_provenance_mut(self as usize);
        NonNull::new(start).unwrap_or(NonNull::dangling())
    }

    /// Clears it; for whoever does not take over what is in it.
    pub(crate) fn clear(self) {
        // SAFETY: the page is RAM that belongs to the one driver that names it, and the device that
        // may have had a queue there has been reset.
        unsafe { self.start().write_bytes(0, Self::BYTES) };
    }

    /// The page as a buffer.
    pub(crate) fn as_buffer(self) -> Buffer {
        Buffer {
            start: self.start(),
            length: Self::BYTES,
        }
    }
}

/// On the board: what the linker script leaves between bss and stack.
#[cfg(panic = "abort")]
mod arena {
    unsafe extern "C" {
        static __arena_start: u8;
        static __arena_end: u8;
    }

    pub(super) fn bounds() -> (usize, usize) {
        // Only the addresses of these mean anything.
        (
            (&raw const __arena_start).addr(),
            (&raw const __arena_end).addr(),
        )
    }
}

/// In tests on the host, which unwind: a part of the test program.
#[cfg(not(panic = "abort"))]
mod arena {
    use core::cell::UnsafeCell;

    const BYTES: usize = 1 << 20;

    struct Arena(UnsafeCell<[u8; BYTES]>);
    // SAFETY: only its address is taken here.
    unsafe impl Sync for Arena {}
    static ARENA: Arena = Arena(UnsafeCell::new([0; BYTES]));

    pub(super) fn bounds() -> (usize, usize) {
        let start = ARENA.0.get().addr();
        (start, start + BYTES)
    }
}
