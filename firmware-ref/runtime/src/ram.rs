//! Who owns which memory (firmware-ref/README.md has the whole map).

use core::ops::Range;
use core::sync::atomic::{AtomicBool, Ordering};

/// Where an L2 image may lie. The rest of L2's memory, up to 0x1fffff, is for its bss, arena and stack.
pub const L2_IMAGE: Range<u32> = 0x10_0000..0x12_0000;
/// Where an L3 image may lie. The rest of L3's memory, up to 0x7fffff, is for its bss, arena and stack.
pub const L3_IMAGE: Range<u32> = 0x20_0000..0x28_0000;
/// Memory that no level lives in: images on their way, and what a RAM test may overwrite.
pub const STAGING: Range<u32> = 0x80_0000..0xf0_0000;

static STAGING_TAKEN: AtomicBool = AtomicBool::new(false);
static LOAD_TAKEN: AtomicBool = AtomicBool::new(false);

/// Takes the staging memory, in halves; empty ones if it was taken before.
pub fn staging() -> [&'static mut [u8]; 2] {
    if STAGING_TAKEN.swap(true, Ordering::Relaxed) {
        return [&mut [], &mut []];
    }
    let half = (STAGING.end - STAGING.start) / 2;
    let memory = slice(STAGING.start, 2 * half);
    let (first, second) = memory.split_at_mut(memory.len() / 2);
    [first, second]
}

/// Takes the memory an image of the next level is loaded to: `length` bytes from `address` on, if they
/// lie where images may. Once, because only one image is loaded.
pub fn load_memory(address: u32, length: u32) -> Option<&'static mut [u8]> {
    let end = address.checked_add(length)?;
    let inside = |window: Range<u32>| window.start <= address && end <= window.end;
    if !(inside(L2_IMAGE) || inside(L3_IMAGE)) || LOAD_TAKEN.swap(true, Ordering::Relaxed) {
        return None;
    }
    Some(slice(address, length))
}

/// Memory outside this level's own, which its callers make sure to hand out once.
fn slice(address: u32, length: u32) -> &'static mut [u8] {
    let (Ok(start), Ok(length)) = (usize::try_from(address), usize::try_from(length)) else {
        return &mut [];
    };
    let start = core::ptr::with_exposed_provenance_mut(start);
    // SAFETY: RAM that the linker scripts give to no program section, mapped by the reset path, and
    // handed out once (the flags above).
    unsafe { core::slice::from_raw_parts_mut(start, length) }
}
