//! The self-test (CD15). The CAN controller is tested by being started.

use distribution::CRC32;
use runtime::ram;

/// The part that does not work. Overwrites the image's memory. The ROM has `BYTES` below 1 MiB, where its alias is;
/// the last four are the CRC-32 of all before them, put there by whoever packs it.
pub(crate) fn first_fault<const BYTES: usize>(memory: &mut [u8]) -> Option<&'static str> {
    let start = 0x10_0000 - BYTES;
    // SAFETY: the ROM is always there, mapped, and nobody writes it.
    let rom = unsafe { &*core::ptr::with_exposed_provenance::<[u8; BYTES]>(start) };
    let is_whole = rom
        .split_last_chunk()
        .is_some_and(|(body, sum)| CRC32.checksum(body).to_le_bytes() == *sum);
    if !is_whole {
        return Some("rom");
    }
    (!ram::is_sound(memory, true)).then_some("ram")
}
