//! Serial Flash Discoverable Parameters (JESD216B): the tables a driver reads to learn the part.

use super::commands::opcode;
use super::part::{FlashPart, Geometry};
use crate::time::Nanos;

/// Where the basic flash parameter table lies (§6.4), 16 DWORDs.
const BASIC_AT: usize = 0x30;
const BASIC_DWORDS: usize = 16;
/// Where the 4-byte address instruction table lies (§6.7), 2 DWORDs.
const FOUR_BYTE_AT: usize = 0x80;
const FOUR_BYTE_DWORDS: usize = 2;

/// The whole SFDP space of `part`; everything past its end reads as 0xff.
pub fn parameters(part: &FlashPart) -> Vec<u8> {
    let mut space = vec![0xff; FOUR_BYTE_AT + 4 * FOUR_BYTE_DWORDS];
    // §6.2: signature, revision 1.6 (= JESD216B), number of headers less one, unused.
    put(&mut space, 0, b"SFDP");
    put(&mut space, 4, &[6, 1, 1, 0xff]);
    // §6.3: id low byte, minor, major, length in DWORDs, pointer (24 bits), id high byte.
    let header = |id: u8, minor: u8, dwords: usize, at: usize| {
        let dwords = u8::try_from(dwords).unwrap_or(0);
        let [low, middle, high, _] = u32::try_from(at).unwrap_or(0).to_le_bytes();
        [id, minor, 1, dwords, low, middle, high, 0xff]
    };
    put(&mut space, 8, &header(0x00, 6, BASIC_DWORDS, BASIC_AT));
    put(
        &mut space,
        16,
        &header(0x84, 0, FOUR_BYTE_DWORDS, FOUR_BYTE_AT),
    );
    for (index, dword) in basic(part).iter().enumerate() {
        put(&mut space, BASIC_AT + 4 * index, &dword.to_le_bytes());
    }
    for (index, dword) in four_byte().iter().enumerate() {
        put(&mut space, FOUR_BYTE_AT + 4 * index, &dword.to_le_bytes());
    }
    space
}

fn put(space: &mut [u8], at: usize, bytes: &[u8]) {
    if let Some(there) = space.get_mut(at..at + bytes.len()) {
        there.copy_from_slice(bytes);
    }
}

/// The basic flash parameter table, DWORD 1 first.
fn basic(part: &FlashPart) -> [u32; BASIC_DWORDS] {
    let geometry = &part.geometry;
    let times = &part.timings;
    let [uniform_4k, opcode_4k] = if geometry.sector_bytes() == 4096 {
        [0b01, u32::from(opcode::SE)]
    } else {
        [0b11, 0xff]
    };
    let ones = |from: u32, to: u32| ((1u32 << (to - from + 1)) - 1) << from;
    [
        // 1: 4 KiB erase everywhere; buffered writes of 64 bytes and more; block-protect bits
        // volatile, written after WREN; opcode; 3- or 4-byte addresses; single-bit reads only.
        uniform_4k
            | 1 << 2
            | 1 << 3
            | 1 << 4
            | ones(5, 7)
            | opcode_4k << 8
            | 0b01 << 17
            | ones(23, 31),
        density(geometry),
        // 3, 4: no 1-4-4, 1-1-4, 1-1-2, 1-2-2 reads.
        0,
        0,
        // 5: no 2-2-2, no 4-4-4 reads (bits 0 and 4); 6, 7: their settings.
        0xffff_ffee,
        0x0000_ffff,
        0x0000_ffff,
        // 8: erase types 1 and 2; 9: types 3 and 4 do not exist.
        erase_type(geometry.sector_bytes(), opcode::SE)
            | erase_type(geometry.block_bytes(), opcode::BE) << 16,
        0,
        // 10: times of erase types 1 and 2, and how many times longer the longest is.
        longest(times.sector_erase, 5, &ERASE_UNITS).max(longest(
            times.block_erase,
            5,
            &ERASE_UNITS,
        )) | erase_time(times.sector_erase) << 4
            | erase_time(times.block_erase) << 11,
        // 11: page size, program times and how many times longer the longest is, chip erase time.
        longest(times.page_program, 5, &PAGE_UNITS)
            | geometry.page_bytes().ilog2() << 4
            | encode(times.page_program, 5, &PAGE_UNITS) << 8
            // A byte takes as long as a page; the field ends at 128 us and then says that.
            | encode(times.page_program, 4, &BYTE_UNITS) << 14
            | encode(Nanos(1), 4, &BYTE_UNITS) << 19
            | encode(times.chip_erase, 5, &CHIP_UNITS) << 24
            | 1 << 31,
        // 12, 13: no suspend and resume (bit 31 set: not supported).
        0xffff_ffff,
        0xffff_ffff,
        // 14: poll WIP with RDSR (bit 2); no deep power-down (bit 31 set: not supported).
        0b11 | 1 << 2 | 1 << 31,
        // 15: no quad modes, so no quad-enable bit.
        ones(24, 31),
        // 16: status register volatile, WREN first (bit 1); reset by 66h 99h (bit 12); 4-byte
        // mode left by E9h (14), reset (20) or power cycle (21), entered by B7h (24), besides the
        // dedicated instructions (29); reserved bits set.
        1 << 1
            | 1 << 7
            | 1 << 12
            | 1 << 14
            | 1 << 20
            | 1 << 21
            | ones(22, 23)
            | 1 << 24
            | 1 << 29
            | 1 << 31,
    ]
}

/// DWORD 2: size in bits less one, or its exponent with bit 31 set from 4 Gbit on.
fn density(geometry: &Geometry) -> u32 {
    let bits = geometry.chip_bytes() * 8;
    match u32::try_from(bits - 1) {
        Ok(last) if last < 1 << 31 => last,
        // Only powers of two can be told; a driver must not go past what there is.
        _ => 1 << 31 | bits.ilog2(),
    }
}

fn erase_type(bytes: u32, opcode: u8) -> u32 {
    bytes.ilog2() | u32::from(opcode) << 8
}

const MILLISECOND: u64 = 1_000_000;
const ERASE_UNITS: [u64; 4] = [
    MILLISECOND,
    16 * MILLISECOND,
    128 * MILLISECOND,
    1_000 * MILLISECOND,
];
const CHIP_UNITS: [u64; 4] = [
    16 * MILLISECOND,
    256 * MILLISECOND,
    4_000 * MILLISECOND,
    64_000 * MILLISECOND,
];
const PAGE_UNITS: [u64; 2] = [8_000, 64_000];
const BYTE_UNITS: [u64; 2] = [1_000, 8_000];

/// DWORD 10: 5 bits of count, 2 of unit.
fn erase_time(time: Nanos) -> u32 {
    encode(time, 5, &ERASE_UNITS)
}

/// A time as (count less one) in `count_bits` bits with the index of the unit above it: the
/// shortest that is not shorter than `time`, or the longest there is.
fn encode(time: Nanos, count_bits: u32, units: &[u64]) -> u32 {
    let most = 1u64 << count_bits;
    for (index, unit) in (0u32..).zip(units) {
        let count = time.0.div_ceil(*unit).max(1);
        if let (true, Ok(count)) = (count <= most, u32::try_from(count - 1)) {
            return index << count_bits | count;
        }
    }
    let last = u32::try_from(units.len().saturating_sub(1)).unwrap_or(0);
    last << count_bits | ((1 << count_bits) - 1)
}

/// The factor from what [`encode`] makes of a time to the longest it can take, which is
/// 2 × (factor + 1): the least that covers `time`, or the most there is.
fn longest(time: Nanos, count_bits: u32, units: &[u64]) -> u32 {
    let field = encode(time, count_bits, units);
    let unit = usize::try_from(field >> count_bits).map_or(0, |index| units[index]);
    let typical = (u64::from(field & ((1 << count_bits) - 1)) + 1) * unit;
    (0..15)
        .find(|factor| 2 * (u64::from(*factor) + 1) * typical >= time.0)
        .unwrap_or(15)
}

/// The 4-byte address instruction table: READ 13h (bit 0), FAST READ 0Ch (1), PP 12h (6), erase
/// types 1 and 2 (9, 10) with their opcodes; bits 20 and up reserved.
fn four_byte() -> [u32; FOUR_BYTE_DWORDS] {
    let supported = 1 | 1 << 1 | 1 << 6 | 1 << 9 | 1 << 10;
    let erases = u32::from_le_bytes([opcode::SE_4B, opcode::BE_4B, 0xff, 0xff]);
    [supported | 0xfff0_0000, erases]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flash::part::Timings;

    fn part(chip_bytes: u64) -> FlashPart {
        FlashPart::new(Geometry::of_size(chip_bytes).unwrap())
    }

    fn dword(part: &FlashPart, table: usize, number: usize) -> u32 {
        let space = parameters(part);
        let at = table + 4 * (number - 1);
        u32::from_le_bytes(space[at..at + 4].try_into().unwrap())
    }

    fn bits(value: u32, from: u32, to: u32) -> u32 {
        value >> from & ((1 << (to - from + 1)) - 1)
    }

    #[test]
    fn headers_point_at_their_tables() {
        let space = parameters(&part(1 << 20));
        assert_eq!(&space[..8], b"SFDP\x06\x01\x01\xff");
        assert_eq!(&space[8..16], &[0x00, 6, 1, 16, 0x30, 0, 0, 0xff]);
        assert_eq!(&space[16..24], &[0x84, 0, 1, 2, 0x80, 0, 0, 0xff]);
        assert_eq!(space.len(), 0x88);
    }

    #[test]
    fn basic_table_of_the_board_part() {
        let board = part(1 << 20);
        let check = |number, from, to, wanted, what| {
            let found = bits(dword(&board, BASIC_AT, number), from, to);
            assert_eq!(found, wanted, "DWORD {number} bits {from}-{to}: {what}");
        };
        check(1, 0, 1, 0b01, "4 KiB erase everywhere");
        check(1, 2, 2, 1, "64-byte write granularity");
        check(1, 3, 4, 0b11, "volatile protect bits behind WREN");
        check(1, 8, 15, 0x20, "4 KiB erase opcode");
        check(1, 16, 16, 0, "no 1-1-2");
        check(1, 17, 18, 0b01, "3- or 4-byte addresses");
        check(1, 19, 22, 0, "no DTR, 1-2-2, 1-4-4, 1-1-4");
        check(2, 0, 30, (8 << 20) - 1, "density");
        check(2, 31, 31, 0, "density in bits");
        check(5, 0, 0, 0, "no 2-2-2");
        check(5, 4, 4, 0, "no 4-4-4");
        check(8, 0, 7, 12, "type 1 is 4 KiB");
        check(8, 8, 15, 0x20, "type 1 opcode");
        check(8, 16, 23, 16, "type 2 is 64 KiB");
        check(8, 24, 31, 0xd8, "type 2 opcode");
        check(9, 0, 7, 0, "no type 3");
        check(9, 16, 23, 0, "no type 4");
        check(10, 0, 3, 0, "longest = 2 x typical");
        check(10, 4, 8, 2, "sector erase: 3 ...");
        check(10, 9, 10, 0b01, "... x 16 ms = 48 ms");
        check(10, 11, 15, 9, "block erase: 10 ...");
        check(10, 16, 17, 0b01, "... x 16 ms = 160 ms");
        check(11, 4, 7, 8, "256-byte pages");
        check(11, 8, 12, 10, "page program: 11 ...");
        check(11, 13, 13, 1, "... x 64 us = 704 us");
        check(11, 14, 17, 15, "byte program: 16 ...");
        check(11, 18, 18, 1, "... x 8 us, the longest there is");
        check(11, 24, 28, 7, "chip erase: 8 ...");
        check(11, 29, 30, 0b01, "... x 256 ms = 2.048 s");
        check(12, 31, 31, 1, "no suspend");
        check(14, 2, 7, 1, "busy: RDSR bit 0");
        check(14, 31, 31, 1, "no deep power-down");
        check(15, 20, 22, 0, "no quad enable");
        check(16, 0, 6, 0b10, "volatile status register, WREN");
        check(16, 8, 13, 0b01_0000, "reset by 66h 99h");
        check(16, 14, 23, 0b11_1100_0001, "leave 4-byte mode");
        check(16, 24, 31, 0b1010_0001, "enter 4-byte mode");
    }

    #[test]
    fn density_of_large_parts_is_an_exponent() {
        let check = |bytes, wanted| assert_eq!(dword(&part(bytes), BASIC_AT, 2), wanted);
        check(3 << 16, (3 << 19) - 1);
        check(256 << 20, 0x7fff_ffff);
        check(512 << 20, 0x8000_0000 | 32);
    }

    #[test]
    fn four_byte_table() {
        let board = part(1 << 20);
        assert_eq!(dword(&board, FOUR_BYTE_AT, 1), 0xfff0_0643);
        assert_eq!(dword(&board, FOUR_BYTE_AT, 2), 0xffff_dc21);
    }

    #[test]
    fn times_round_up_and_saturate() {
        let check = |nanos, wanted: u32| {
            let mut part = part(1 << 20);
            part.timings = Timings {
                sector_erase: Nanos(nanos),
                ..Timings::default()
            };
            let dword = dword(&part, BASIC_AT, 10);
            assert_eq!(
                (bits(dword, 9, 10) << 5) | bits(dword, 4, 8),
                wanted,
                "{nanos}"
            );
        };
        check(0, 0);
        check(MILLISECOND, 0);
        check(MILLISECOND + 1, 1);
        check(32 * MILLISECOND, 31);
        check(33 * MILLISECOND, 1 << 5 | 2);
        check(1_000 * MILLISECOND, 2 << 5 | 7);
        check(32_000 * MILLISECOND, 3 << 5 | 31);
        check(u64::MAX, 3 << 5 | 31);
    }

    #[test]
    fn the_longest_time_covers_what_the_typical_one_cannot_tell() {
        let check = |page_program, wanted| {
            let mut part = part(1 << 20);
            part.timings.page_program = page_program;
            assert_eq!(bits(dword(&part, BASIC_AT, 11), 0, 3), wanted);
        };
        // 32 × 64 us are the most there is as a typical time.
        check(Nanos::from_micros(2_048), 0);
        check(Nanos::from_micros(4_096), 0);
        check(Nanos::from_micros(4_097), 1);
        check(Nanos::from_millis(20), 4);
        check(Nanos(u64::MAX), 15);
    }
}
