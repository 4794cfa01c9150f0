use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::power::mix;

/// What the bench can break in a chip.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// A cell that reads as `value` whatever is programmed or erased.
    StuckBit {
        /// Byte address.
        address: u64,
        /// Bit 0 … 7.
        bit: u8,
        /// What it reads.
        value: bool,
    },
    /// A cell that lost or gained its charge: the stored bit flips, once.
    BitRot {
        /// Byte address.
        address: u64,
        /// Bit 0 … 7.
        bit: u8,
    },
    /// The chip answers nothing any more: every read is 0xff, every command is lost.
    Dead,
    /// Another part answers RDID: one of twice the size that the rest of the chip tells.
    WrongIdentity,
}

/// Bits of one byte that cannot change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Stuck {
    mask: u8,
    value: u8,
}

/// Faults of the silicon: they last until the bench clears them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Faults {
    stuck: BTreeMap<u64, Stuck>,
    pub(super) dead: bool,
    pub(super) wrong_identity: bool,
}

impl Faults {
    pub(super) fn stick(&mut self, address: u64, bit: u8, value: bool) {
        let mask = bit_mask(bit);
        let stuck = self.stuck.entry(address).or_default();
        stuck.mask |= mask;
        stuck.value = stuck.value & !mask | if value { mask } else { 0 };
    }

    /// Puts stuck bits over `bytes` read at `address`; says whether one of them made a difference.
    pub(super) fn overlay(&self, address: u64, bytes: &mut [u8]) -> bool {
        let mut altered = false;
        for (index, stuck) in within(&self.stuck, address, bytes.len()) {
            if let Some(byte) = bytes.get_mut(index) {
                let read = *byte & !stuck.mask | stuck.value & stuck.mask;
                altered |= read != *byte;
                *byte = read;
            }
        }
        altered
    }
}

/// Bits left between charged and discharged by a cut erase: each read gives another value, until
/// they are erased again or programmed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct UnstableBits {
    masks: BTreeMap<u64, u8>,
    seed: u64,
    reads: u64,
}

impl UnstableBits {
    /// Leaves the bits of `mask` at `address` unstable.
    pub(super) fn leave(&mut self, address: u64, mask: u8) {
        if mask != 0 {
            *self.masks.entry(address).or_default() |= mask;
        }
    }

    /// What the bits read as is decided by `seed` and the number of reads so far.
    pub(super) fn reseed(&mut self, seed: u64) {
        self.seed = seed;
    }

    /// A new read command begins: bits may read differently from the last one.
    pub(super) fn next_read(&mut self) {
        if !self.masks.is_empty() {
            self.reads = self.reads.wrapping_add(1);
        }
    }

    /// Puts noise over `bytes` read at `address`; says whether there was any to put.
    pub(super) fn overlay(&self, address: u64, bytes: &mut [u8]) -> bool {
        let mut any = false;
        for (index, mask) in within(&self.masks, address, bytes.len()) {
            if let Some(byte) = bytes.get_mut(index) {
                let at = address.wrapping_add(index as u64);
                let [noise, ..] = mix(mix(self.seed, self.reads), at).to_le_bytes();
                *byte ^= noise & mask;
                any = true;
            }
        }
        any
    }

    /// The byte at `address` was programmed with `data`: its zeros are zeros now.
    pub(super) fn programmed(&mut self, address: u64, data: u8) {
        if let Some(mask) = self.masks.get_mut(&address) {
            *mask &= data;
            if *mask == 0 {
                self.masks.remove(&address);
            }
        }
    }

    /// `[address, address + length)` was erased (or filled in the factory).
    pub(super) fn settled(&mut self, address: u64, length: u64) {
        if self.masks.is_empty() {
            return;
        }
        let mut tail = self.masks.split_off(&address);
        let mut after = tail.split_off(&address.saturating_add(length));
        self.masks.append(&mut after);
    }

    pub(super) fn count(&self) -> usize {
        self.masks.len()
    }
}

/// Bit `bit` of a byte; bits above 7 wrap, since a fault list may come from a file.
pub(super) fn bit_mask(bit: u8) -> u8 {
    1 << (bit & 7)
}

/// The entries of `map` within `length` bytes from `address`, by index from there.
fn within<T: Copy>(
    map: &BTreeMap<u64, T>,
    address: u64,
    length: usize,
) -> impl Iterator<Item = (usize, T)> + '_ {
    let end = address.saturating_add(length as u64);
    map.range(address..end)
        .map(move |(at, entry)| (usize::try_from(at - address).unwrap_or(usize::MAX), *entry))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stuck_bits_win_over_what_is_stored() {
        let mut faults = Faults::default();
        faults.stick(11, 0, true);
        faults.stick(11, 7, false);
        faults.stick(20, 3, false);
        let mut bytes = [0xf0; 4];
        assert!(faults.overlay(10, &mut bytes));
        assert_eq!(bytes, [0xf0, 0x71, 0xf0, 0xf0]);
        assert!(!faults.overlay(10, &mut bytes), "already as the cell reads");
        faults.stick(11, 7, true);
        assert!(faults.overlay(10, &mut bytes));
        assert_eq!(bytes[1], 0xf1);
    }

    #[test]
    fn unstable_bits_change_from_read_to_read_and_only_they() {
        let mut unstable = UnstableBits::default();
        unstable.reseed(7);
        unstable.leave(101, 0b0011_1100);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..64 {
            unstable.next_read();
            let mut bytes = [0xff, 0xff, 0xff];
            assert!(unstable.overlay(100, &mut bytes));
            assert_eq!((bytes[0], bytes[2]), (0xff, 0xff));
            assert_eq!(bytes[1] | 0b0011_1100, 0xff);
            seen.insert(bytes[1]);
        }
        assert!(seen.len() > 8, "{seen:?}");
    }

    #[test]
    fn programming_a_zero_settles_that_bit_and_erasing_all() {
        let mut unstable = UnstableBits::default();
        unstable.leave(5, 0b11);
        unstable.leave(9, 0b11);
        unstable.programmed(5, 0b1111_1110);
        assert_eq!(unstable.masks[&5], 0b10);
        unstable.programmed(5, 0);
        assert_eq!(unstable.count(), 1);
        unstable.settled(0, 9);
        assert_eq!(unstable.count(), 1);
        unstable.settled(9, 1);
        assert_eq!(unstable.count(), 0);
    }
}
