//! Who owns which memory (firmware-ref/README.md has the whole map).

use core::ops::Range;
use core::sync::atomic::{AtomicBool, Ordering};

/// Where an L2 image may lie. The rest of L2's memory, up to 0x1fffff, is for its bss, arena and stack.
pub const L2_IMAGE: Range<u32> = 0x10_0000..0x12_0000;
/// Where an L3 image may lie. The rest of L3's memory, up to 0x3fffff, is for its bss, arena and stack.
pub const L3_IMAGE: Range<u32> = 0x20_0000..0x28_0000;
/// Memory that no level lives in: images on their way, and what a RAM test may overwrite.
pub const STAGING: Range<u32> = 0x80_0000..0xf0_0000;

/// Where the image of a CAN node may lie, its bss, arena and stack included. A node has 1 MiB.
pub const NODE_IMAGE: Range<u32> = 0x3_0000..0xe_0000;

/// The second part begins in the same stretch of 2 MiB: on some hosts the first touch of one is dear.
const FIRST_STAGING_BYTES: usize = 1 << 20;

static STAGING_TAKEN: AtomicBool = AtomicBool::new(false);
static LOAD_TAKEN: AtomicBool = AtomicBool::new(false);

/// Takes the staging memory, in two parts: the first holds a bank, the second whatever is largest.
/// Empty ones if it was taken before.
pub fn staging() -> [&'static mut [u8]; 2] {
    if STAGING_TAKEN.swap(true, Ordering::Relaxed) {
        return [&mut [], &mut []];
    }
    let memory = slice(STAGING.start, STAGING.end - STAGING.start);
    let (first, second) = memory.split_at_mut(FIRST_STAGING_BYTES.min(memory.len()));
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

/// Takes the memory that the image of a CAN node is loaded to; an empty one if it was taken before.
pub fn node_image() -> &'static mut [u8] {
    if LOAD_TAKEN.swap(true, Ordering::Relaxed) {
        return &mut [];
    }
    slice(NODE_IMAGE.start, NODE_IMAGE.end - NODE_IMAGE.start)
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

/// How much of the staging memory is tested, from its start, and the distance between two cells. Memory
/// that is used anyway.
const SAMPLE_BYTES: usize = 2 << 20;
const SAMPLE_STRIDE: usize = 64 << 10;

/// Tests a sample of memory: cells of the staging memory and, if asked, the address lines that tell
/// them apart. Before [`staging`] is taken, because it overwrites.
pub fn sample_is_sound(address_lines: bool) -> bool {
    if STAGING_TAKEN.swap(true, Ordering::Relaxed) {
        // In use; whoever uses it finds out what memory is worth by hashing what lies in it.
        return true;
    }
    let staging = slice(STAGING.start, STAGING.end - STAGING.start);
    let sample = staging.get_mut(..SAMPLE_BYTES).unwrap_or_default();
    let sound = is_sound(sample, address_lines);
    STAGING_TAKEN.store(false, Ordering::Relaxed);
    sound
}

/// Tests cells of `memory` and, if asked, the address lines that tell them apart. It overwrites.
pub fn is_sound(memory: &mut [u8], address_lines: bool) -> bool {
    let cells_hold = [0x55, 0xaa].into_iter().all(|pattern| {
        memory
            .iter_mut()
            .step_by(SAMPLE_STRIDE)
            .all(|cell| holds(cell, pattern))
    });
    cells_hold && (!address_lines || lines_differ(memory))
}

fn holds(cell: &mut u8, pattern: u8) -> bool {
    let cell = core::ptr::from_mut(cell);
    // SAFETY: from a reference. Volatile, so that memory is asked and not the compiler.
    unsafe {
        cell.write_volatile(pattern);
        cell.read_volatile() == pattern
    }
}

/// Writes a different value at every distance that is a power of two: a line that is stuck or shorted
/// makes two of them the same cell.
fn lines_differ(memory: &mut [u8]) -> bool {
    let cell = |line: u32| 1usize.checked_shl(line);
    let lines = || (0..usize::BITS).zip(1u8..);
    for (line, value) in lines() {
        if let Some(place) = cell(line).and_then(|at| memory.get_mut(at)) {
            // SAFETY: from a reference; volatile as above.
            unsafe { core::ptr::from_mut(place).write_volatile(value) };
        }
    }
    lines().all(|(line, value)| {
        let place = cell(line).and_then(|at| memory.get(at));
        // SAFETY: from a reference; volatile as above.
        place.is_none_or(|place| unsafe { core::ptr::from_ref(place).read_volatile() } == value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_memory_passes() {
        let mut memory = vec![0; SAMPLE_STRIDE + 3];
        assert!(is_sound(&mut memory, true));
        // The sample was really written, last pattern last.
        assert_eq!(memory[0], 0xaa);
        assert_eq!(memory[1 << 4], 5);
        assert!(is_sound(&mut [], true));
    }
}
