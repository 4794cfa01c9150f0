//! The self-test (CD15). The CAN controller is tested by being started.

use distribution::CRC32;
use runtime::ram;

/// The ROM's alias; its last four bytes are the CRC-32 of all before them, put there by whoever packs it.
const START: usize = 0xf_c000;
const BYTES: usize = 0x4000;

/// The part that does not work. Overwrites the image's memory.
pub(crate) fn first_fault(memory: &mut [u8]) -> Option<&'static str> {
    // SAFETY: the ROM is always there, mapped, and nobody writes it.
    let rom = unsafe { &*core::ptr::with_exposed_provenance::<[u8; BYTES]>(START) };
    let is_whole = rom
        .split_last_chunk()
        .is_some_and(|(body, sum)| CRC32.checksum(body).to_le_bytes() == *sum);
    if !is_whole {
        return Some("rom");
    }
    (!ram::is_sound(memory, true)).then_some("ram")
}
