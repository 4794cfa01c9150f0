//! Epochs: every change of the active master begins one, and what is older is not believed (K8).

use core::fmt;

use crate::EPOCH_MEMORY_NS;

/// Counts changes of the active master, modulo 2¹⁶.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Epoch(pub u16);

impl Epoch {
    /// Whether this one began after `other`: epochs are compared within half their range.
    pub fn is_newer_than(self, other: Epoch) -> bool {
        (1..0x8000).contains(&self.0.wrapping_sub(other.0))
    }

    /// The one after this.
    #[must_use]
    pub fn next(self) -> Epoch {
        Epoch(self.0.wrapping_add(1))
    }
}

impl From<u64> for Epoch {
    /// The epoch of a midplane lock, as it is told on the bus.
    fn from(lock: u64) -> Epoch {
        let [low, high, ..] = lock.to_le_bytes();
        Epoch(u16::from_le_bytes([low, high]))
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The newest epoch heard of, for a while.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Newest {
    epoch: Epoch,
    until_ns: u64,
}

impl Newest {
    /// Whether what is said in `epoch` is to be believed; it is remembered then.
    pub(crate) fn admits(&mut self, now_ns: u64, epoch: Epoch) -> bool {
        if now_ns < self.until_ns && self.epoch.is_newer_than(epoch) {
            return false;
        }
        *self = Newest {
            epoch,
            until_ns: now_ns.saturating_add(EPOCH_MEMORY_NS),
        };
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn epochs_go_round() {
        for (newer, older, is) in [
            (2, 1, true),
            (1, 1, false),
            (1, 2, false),
            (0, 0xffff, true),
            (0xffff, 0, false),
        ] {
            assert_eq!(Epoch(newer).is_newer_than(Epoch(older)), is);
        }
        assert_eq!(Epoch(0xffff).next(), Epoch(0));
        assert_eq!(Epoch::from(0x1_0002), Epoch(2));
    }

    #[test]
    fn k8_an_older_epoch_is_not_believed_while_the_newer_one_is_remembered() {
        let mut newest = Newest::default();
        assert!(newest.admits(0, Epoch(7)));
        assert!(!newest.admits(EPOCH_MEMORY_NS - 1, Epoch(6)));
        assert!(
            newest.admits(EPOCH_MEMORY_NS, Epoch(6)),
            "masters began anew"
        );
    }
}
