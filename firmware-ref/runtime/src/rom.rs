//! The boot ROM as the levels after it see it.

use crc::{CRC_32_ISO_HDLC, Crc, Table};

/// Where the ROM's alias is, and how long it is (board manual §2).
const START: usize = 0xf_0000;
const BYTES: usize = 0x1_0000;
/// Its last four bytes are the CRC-32 of all before them; whoever packs the ROM puts them there.
const SUM_BYTES: usize = 4;

/// Sixteen bytes a step: every boot reads the whole ROM.
const CRC32: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISO_HDLC);

/// Whether the ROM's checksum is right.
pub fn is_whole() -> bool {
    // SAFETY: the ROM is always there, mapped, and nobody writes it.
    let rom = unsafe { &*core::ptr::with_exposed_provenance::<[u8; BYTES]>(START) };
    sum_is_right(rom)
}

fn sum_is_right(rom: &[u8]) -> bool {
    rom.split_last_chunk::<SUM_BYTES>()
        .is_some_and(|(body, sum)| *sum == CRC32.checksum(body).to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_word_is_the_sum_of_the_rest() {
        // The check value of the CRC catalogue.
        let mut rom = *b"123456789\x26\x39\xf4\xcb";
        assert!(sum_is_right(&rom));
        for at in 0..rom.len() {
            rom[at] ^= 0x10;
            assert!(!sum_is_right(&rom), "byte {at}");
            rom[at] ^= 0x10;
        }
        assert!(!sum_is_right(&rom[..3]));
    }
}
