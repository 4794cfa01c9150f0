use core::fmt;

use runtime::{SLOTS, Slot, kind, number};

/// Slots this firmware cannot do without, and what has to be in them. Service media and panel serve
/// people; an array works without.
const REQUIRED: [(u8, u32); 6] = [
    (number::BOARD_CONTROL, kind::BOARD_CONTROL),
    (number::FLASH, kind::SPI),
    (number::SHELF, kind::BLOCK),
    (number::CONSOLE, kind::CONSOLE),
    (number::BACKPLANE, kind::NETWORK),
    (number::HOST_PORT, kind::NETWORK),
];

/// What is in the board's slots: virtio ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slots([Option<u32>; SLOTS as usize]);

impl Slots {
    /// Looks into every slot.
    pub fn discover() -> Slots {
        let mut found = [None; SLOTS as usize];
        for (slot, device) in (0..SLOTS).zip(&mut found) {
            *device = Slot::device_id(slot);
        }
        Slots(found)
    }

    /// The first required slot that does not hold what it should.
    pub fn first_missing(&self) -> Option<u8> {
        REQUIRED
            .iter()
            .find(|(slot, kind)| self.0.get(usize::from(*slot)).copied().flatten() != Some(*kind))
            .map(|(slot, _)| *slot)
    }
}

/// Numbers of the slots in use: `0,1,2`.
impl fmt::Display for Slots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for (slot, device) in self.0.iter().enumerate() {
            if device.is_some() {
                write!(f, "{between}{slot}")?;
                between = ",";
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use std::string::ToString;

    use super::*;

    fn board(present: &[(u8, u32)]) -> Slots {
        let mut slots = [None; SLOTS as usize];
        for (slot, kind) in present {
            slots[usize::from(*slot)] = Some(*kind);
        }
        Slots(slots)
    }

    #[test]
    fn a_slot_in_use_is_listed() {
        assert_eq!(board(&[]).to_string(), "");
        assert_eq!(board(&[(0, 38), (5, 1), (23, 2)]).to_string(), "0,5,23");
    }

    #[test]
    fn every_required_device_is_missed() {
        assert_eq!(board(&REQUIRED).first_missing(), None);
        for n in 0..REQUIRED.len() {
            let (slot, kind) = REQUIRED[n];
            let mut present = REQUIRED;
            present[n] = (slot, kind + 100);
            assert_eq!(board(&present).first_missing(), Some(slot), "wrong kind");
            present[n] = (23, kind);
            assert_eq!(board(&present).first_missing(), Some(slot), "empty");
        }
    }
}
