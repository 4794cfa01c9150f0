//! What a flash chip says of itself in its Serial Flash Discoverable Parameters (JESD216B).

/// Bytes of the space that hold the headers and the basic table of any chip this firmware knows.
pub(crate) const SFDP_BYTES: usize = 256;

const SECTOR_EXPONENT: u32 = 12;
const BLOCK_EXPONENT: u32 = 16;

/// How long a chip is busy with one kind of operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Busy {
    /// Usually.
    pub(crate) typical_ns: u32,
    /// It never takes longer.
    pub(crate) longest_ns: u64,
}

/// The busy times this driver needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BusyTimes {
    pub(crate) page_program: Busy,
    pub(crate) sector_erase: Busy,
    pub(crate) block_erase: Busy,
}

/// For a chip that does not say: the usual times of such parts, and plenty as the longest.
const USUAL: BusyTimes = BusyTimes {
    page_program: usual(700_000),
    sector_erase: usual(45_000_000),
    block_erase: usual(150_000_000),
};

const fn usual(typical_ns: u32) -> Busy {
    Busy {
        typical_ns,
        longest_ns: typical_ns as u64 * 32,
    }
}

/// DWORD `number`, counted from 1, of the basic table; the first parameter header is that table's
/// (§6.3): its length in DWORDs in byte 3, a pointer to it in bytes 4 … 6.
fn basic_dword(sfdp: &[u8], number: usize) -> Option<u32> {
    let word = |at: usize| Some(u32::from_le_bytes(*sfdp.get(at..)?.first_chunk()?));
    if sfdp.get(..4)? != b"SFDP" || number > usize::from(*sfdp.get(11)?) {
        return None;
    }
    let table = usize::try_from(word(12)? & 0x00ff_ffff).ok()?;
    word(table.checked_add(4 * number.checked_sub(1)?)?)
}

/// Size of the chip in bytes (§6.4.5, DWORD 2).
pub(crate) fn chip_bytes(sfdp: &[u8]) -> Option<u32> {
    let density = basic_dword(sfdp, 2)?;
    if density >> 31 == 0 {
        // Size in bits, less one.
        (density.checked_add(1)?).checked_div(8)
    } else {
        // The exponent of the size in bits.
        1u32.checked_shl((density & 0x7fff_ffff).checked_sub(3)?)
    }
}

/// Busy times (§6.4.13 and §6.4.14, DWORDs 10 and 11); the usual ones where the chip does not say.
pub(crate) fn busy_times(sfdp: &[u8]) -> BusyTimes {
    BusyTimes {
        page_program: page_program(sfdp).unwrap_or(USUAL.page_program),
        sector_erase: erase(sfdp, SECTOR_EXPONENT).unwrap_or(USUAL.sector_erase),
        block_erase: erase(sfdp, BLOCK_EXPONENT).unwrap_or(USUAL.block_erase),
    }
}

fn page_program(sfdp: &[u8]) -> Option<Busy> {
    let times = basic_dword(sfdp, 11)?;
    let unit_ns = if bits(times, 13, 1) == 0 {
        8_000
    } else {
        64_000
    };
    busy((bits(times, 8, 5) + 1) * unit_ns, bits(times, 0, 4))
}

/// Of the erase type (DWORDs 8 and 9) whose size is two to the power of `exponent`.
fn erase(sfdp: &[u8], exponent: u32) -> Option<Busy> {
    const UNITS_MS: [u32; 4] = [1, 16, 128, 1_000];
    let kind = (0..4).find(|kind| {
        let sizes = basic_dword(sfdp, 8 + kind / 2);
        let at = 16 * u32::from(kind % 2 == 1);
        sizes.is_some_and(|sizes| bits(sizes, at, 8) == exponent)
    })?;
    let times = basic_dword(sfdp, 10)?;
    let field = bits(times, 4 + 7 * u32::try_from(kind).ok()?, 7);
    let unit_ms = UNITS_MS.get(usize::try_from(field >> 5).ok()?)?;
    let typical_ms = ((field & 0x1f) + 1).checked_mul(*unit_ms)?;
    // What does not fit is cut: the chip is looked at too early then, and found late.
    let typical_ns = typical_ms.saturating_mul(1_000_000);
    busy(typical_ns, bits(times, 0, 4))
}

/// The longest time is the typical one times 2 × (count + 1).
fn busy(typical_ns: u32, count: u32) -> Option<Busy> {
    (typical_ns != 0).then(|| Busy {
        typical_ns,
        longest_ns: u64::from(typical_ns) * 2 * (u64::from(count) + 1),
    })
}

fn bits(value: u32, from: u32, count: u32) -> u32 {
    value.checked_shr(from).unwrap_or(0) & ((1 << count) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Headers and a basic table of `dwords`.
    fn space(dwords: &[u32]) -> [u8; SFDP_BYTES] {
        let mut space = [0xff; SFDP_BYTES];
        space[..4].copy_from_slice(b"SFDP");
        space[11] = u8::try_from(dwords.len()).unwrap();
        space[12..16].copy_from_slice(&[0x30, 0, 0, 0xff]);
        for (at, dword) in (0x30..).step_by(4).zip(dwords) {
            space[at..at + 4].copy_from_slice(&dword.to_le_bytes());
        }
        space
    }

    #[test]
    fn size_of_a_chip() {
        let check = |density, wanted| assert_eq!(chip_bytes(&space(&[0, density])), wanted);
        check((8 << 20) - 1, Some(1 << 20));
        check(1 << 31 | 33, Some(1 << 30));
        check(1 << 31, None);
        assert_eq!(chip_bytes(&[0xff; 64]), None);
        assert_eq!(chip_bytes(&space(&[0, 0])[..0x30]), None);
        assert_eq!(chip_bytes(&space(&[0])), None, "the table ends before");
    }

    #[test]
    fn busy_times_of_a_chip() {
        let mut dwords = [0; 16];
        // Types 1 and 3 exist: 4 KiB, 64 KiB.
        dwords[7] = 0x200c;
        dwords[8] = 0xd810;
        // Longest is 6 × typical; type 1 takes 3 × 16 ms, type 3 takes 2 × 128 ms.
        dwords[9] = 2 | (0b01 << 5 | 2) << 4 | (0b10 << 5 | 1) << 18;
        // Longest is 4 × typical; a page takes 11 × 64 µs.
        dwords[10] = 1 | (1 << 5 | 10) << 8;
        let times = busy_times(&space(&dwords));
        let check = |busy: Busy, typical_ns, factor| {
            assert_eq!(busy.typical_ns, typical_ns);
            assert_eq!(busy.longest_ns, u64::from(typical_ns) * factor);
        };
        check(times.page_program, 704_000, 4);
        check(times.sector_erase, 48_000_000, 6);
        check(times.block_erase, 256_000_000, 6);
    }

    #[test]
    fn a_chip_that_does_not_say_gets_the_usual_times() {
        // Nine DWORDs are all that the first edition of the standard had.
        assert_eq!(busy_times(&space(&[0; 9])), USUAL);
        assert_eq!(busy_times(&[0xff; SFDP_BYTES]), USUAL);
    }
}
