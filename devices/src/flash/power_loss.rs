//! What a cut program or erase leaves in the medium: pure functions of (contents, command, seed).

use super::operation::PageProgram;
use crate::power::mix;

/// Bytes of each sector that a cut erase leaves with unstable bits.
const UNSTABLE_BYTES_PER_SECTOR: u64 = 32;

/// Cuts a program short: of the bytes it would change, in the order they were sent, some are done
/// and the next one has only some of its bits cleared. `page` is the page as it was.
pub(super) fn torn_program(page: &mut [u8], program: &PageProgram, seed: u64) {
    let pending = |(index, data): (usize, u8)| {
        let clears = page.get(index).copied().unwrap_or(0) & !data;
        (clears != 0).then_some((index, clears))
    };
    let changes: Vec<(usize, u8)> = program.sent().filter_map(pending).collect();
    let Some(done) = mix(seed, 0).checked_rem(changes.len() as u64) else {
        return;
    };
    let done = usize::try_from(done).unwrap_or(0);
    for (step, (index, clears)) in changes.into_iter().enumerate().take(done + 1) {
        let cleared = if step < done {
            clears
        } else {
            some_of(clears, seed)
        };
        if let Some(byte) = page.get_mut(index) {
            *byte &= !cleared;
        }
    }
}

/// Some of the bits of `bits`, but never all, and at least one where there are two.
fn some_of(bits: u8, seed: u64) -> u8 {
    let lowest = bits & bits.wrapping_neg();
    let [noise, ..] = mix(seed, 1).to_le_bytes();
    match bits & noise {
        0 if lowest != bits => lowest,
        all if all == bits => bits & !lowest,
        some => some,
    }
}

/// Cuts the erase of one sector short: some bits have become ones, the others are as they were.
/// Returns (offset, mask) of the bits left unstable. Those may look erased already: a sector is
/// only clean after an erase that ended.
pub(super) fn torn_erase(sector: &mut [u8], address: u64, seed: u64) -> Vec<(u64, u8)> {
    let seed = mix(seed, address);
    // How far the erase had come: a quarter, a half or three quarters of the bits.
    let progress = mix(seed, 0) % 3;
    for (index, eight) in (1u64..).zip(sector.chunks_mut(8)) {
        let (one, other) = (mix(seed, 2 * index), mix(seed, 2 * index + 1));
        let erased = match progress {
            0 => one & other,
            1 => one,
            _ => one | other,
        };
        for (byte, bits) in eight.iter_mut().zip(erased.to_le_bytes()) {
            *byte |= bits;
        }
    }
    let length = sector.len() as u64;
    let unstable = |n| {
        let chance = mix(!seed, n);
        let [first, second, ..] = chance.rotate_right(32).to_le_bytes();
        // Few bits of a byte, at least one.
        let mask = first & second | 1 << (first & 7);
        chance.checked_rem(length).map(|offset| (offset, mask))
    };
    (0..UNSTABLE_BYTES_PER_SECTOR)
        .filter_map(unstable)
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn program(first: u32, bytes: &[u8]) -> PageProgram {
        let mut program = PageProgram::new(0, first, 256);
        program.send(bytes);
        program
    }

    proptest! {
        #[test]
        fn a_torn_program_lies_between_before_and_after(
            before in proptest::collection::vec(any::<u8>(), 256),
            sent in proptest::collection::vec(any::<u8>(), 1..400),
            first in 0u32..256,
            seed: u64,
        ) {
            let program = program(first, &sent);
            let mut after = before.clone();
            program.apply(&mut after);
            let mut torn = before.clone();
            torn_program(&mut torn, &program, seed);
            for index in 0..256 {
                prop_assert_eq!(torn[index] & before[index], torn[index], "sets no bit");
                prop_assert_eq!(torn[index] & after[index], after[index], "clears no other bit");
            }
            // Done bytes, at most one partial one, untouched bytes, in the order of sending.
            let steps: Vec<u8> = program
                .sent()
                .filter(|(index, _)| before[*index] != after[*index])
                .map(|(index, _)| match torn[index] {
                    byte if byte == after[index] => 0,
                    byte if byte != before[index] => 1,
                    _ => 2,
                })
                .collect();
            prop_assert!(steps.is_sorted());
            prop_assert!(steps.iter().filter(|step| **step == 1).count() <= 1);
            prop_assert!(steps.is_empty() || torn != after, "torn is not done");
        }

        #[test]
        fn a_torn_erase_only_sets_bits(
            before in proptest::collection::vec(any::<u8>(), 4096),
            seed: u64,
        ) {
            let mut torn = before.clone();
            let unstable = torn_erase(&mut torn, 0x3000, seed);
            prop_assert!(before.iter().zip(&torn).all(|(old, new)| old & new == *old));
            prop_assert!(torn != before && torn.iter().any(|byte| *byte != 0xff));
            prop_assert_eq!(unstable.len(), 32);
            prop_assert!(unstable.iter().all(|(offset, mask)| *offset < 4096 && *mask != 0));
        }
    }

    #[test]
    fn the_seed_decides_where_a_program_stops() {
        let program = program(0, &[0; 256]);
        let stops: std::collections::BTreeSet<usize> = (0..200)
            .map(|seed| {
                let mut page = vec![0xff; 256];
                torn_program(&mut page, &program, seed);
                page.iter().filter(|byte| **byte == 0).count()
            })
            .collect();
        assert!(stops.len() > 90, "{stops:?}");
    }
}
