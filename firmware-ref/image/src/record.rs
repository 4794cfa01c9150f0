//! The programming record: when, and as which in order, an image was stored.

/// What a controller notes down when it stores an image in a bank (VC19). Not covered by the
/// signature: the vendor cannot know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record {
    /// Counts the images stored in one controller's banks of one level.
    pub sequence: u32,
    /// Calendar seconds since 1970 when it was stored.
    pub programmed_s: u64,
}

impl Record {
    /// The record of an image that was never stored in a bank, as in files and packages.
    pub const PACKED: Record = Record {
        sequence: 0,
        programmed_s: 0,
    };

    /// Whether this one was stored after `other` (VC25, VC33). The counter decides, because a clock may
    /// have been wrong; the date decides between factory-programmed banks with equal counts.
    /// The counter may wrap: of two banks the one *ahead* by less than half the range is newer.
    pub fn is_newer_than(&self, other: &Record) -> bool {
        match self.sequence.wrapping_sub(other.sequence) {
            0 => self.programmed_s > other.programmed_s,
            ahead => ahead < 1 << 31,
        }
    }

    /// The record of the next image to be stored, after this newest one.
    pub fn next(&self, programmed_s: u64) -> Record {
        Record {
            sequence: self.sequence.wrapping_add(1),
            programmed_s,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_decides_and_the_date_breaks_ties() {
        let record = |sequence, programmed_s| Record {
            sequence,
            programmed_s,
        };
        for (newer, older) in [
            (record(2, 0), record(1, 0)),
            (record(2, 100), record(1, 900)), // the clock was wrong
            (record(1, 900), record(1, 100)),
            (record(0, 0), record(u32::MAX, 0)), // the counter wrapped
            (record(u32::MAX, 5).next(6), record(u32::MAX, 5)),
        ] {
            assert!(newer.is_newer_than(&older), "{newer:?} {older:?}");
            assert!(!older.is_newer_than(&newer), "{newer:?} {older:?}");
        }
        assert!(!record(3, 3).is_newer_than(&record(3, 3)));
    }
}
