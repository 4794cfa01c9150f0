//! Power-on self test (VC28): processor-near parts first, each with the parts it needs already
//! tested.

use core::fmt;

use runtime::board_control::BoardControl;
use runtime::spi_flash::{ChipFacts, MOST_CHIPS, probe};
use runtime::{SpiController, ram, rom};

use crate::Build;
use crate::discovery::Slots;

/// A part of the board that can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// The boot ROM's checksum is wrong.
    Rom,
    /// A memory cell or address line.
    Ram,
    /// A required slot is empty or holds something else.
    Slot(u8),
    /// The flash controller does not work.
    FlashController,
    /// A flash chip answers, but is not what it should be.
    FlashChip(usize),
}

/// As in `post-failed unit=…`.
impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unit::Rom => f.write_str("rom"),
            Unit::Ram => f.write_str("ram"),
            Unit::Slot(slot) => write!(f, "slot{slot}"),
            Unit::FlashController => f.write_str("flash"),
            Unit::FlashChip(chip) => write!(f, "flash{chip}"),
        }
    }
}

/// What the test says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The board may go on.
    Passed,
    /// It may not.
    Failed(Unit),
}

pub(crate) fn run(
    build: &Build,
    control: &BoardControl,
    slots: Slots,
    flash: Option<&SpiController>,
) -> Verdict {
    if !rom::is_whole() {
        return Verdict::Failed(Unit::Rom);
    }
    if !ram::sample_is_sound(build.tests_address_lines) {
        return Verdict::Failed(Unit::Ram);
    }
    if let Some(slot) = slots.first_missing() {
        return Verdict::Failed(Unit::Slot(slot));
    }
    let Some(flash) = flash else {
        return Verdict::Failed(Unit::FlashController);
    };
    let mut chips = [ChipFacts::SILENT; MOST_CHIPS];
    let fitted = usize::from(flash.chips()).min(MOST_CHIPS);
    let Some(chips) = chips.get_mut(..fitted) else {
        return Verdict::Failed(Unit::FlashController);
    };
    if probe(flash, control, chips).is_err() {
        return Verdict::Failed(Unit::FlashController);
    }
    for (chip, _) in chips.iter().enumerate().filter(|(_, f)| !f.answers()) {
        control.trace(format_args!("post-degraded unit={}", Unit::FlashChip(chip)));
    }
    judge(chips)
}

/// A chip that answers wrongly cannot be trusted with a re-flash: the board must not go on. A chip
/// that does not answer at all is what the second chip is there for (VC20, VC21); it is only noted.
fn judge(chips: &[ChipFacts]) -> Verdict {
    let wrong = chips
        .iter()
        .position(|facts| facts.answers() && !facts.is_sound());
    match wrong {
        Some(chip) => Verdict::Failed(Unit::FlashChip(chip)),
        None if chips.iter().any(ChipFacts::answers) => Verdict::Passed,
        None => Verdict::Failed(Unit::FlashController),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_chip_may_be_dead_but_none_may_be_wrong() {
        let good = ChipFacts {
            id: [0xef, 0x40, 20],
            sfdp_bytes: Some(1 << 20),
        };
        let wrong = ChipFacts {
            id: [0xef, 0x40, 24],
            ..good
        };
        let dead = ChipFacts::SILENT;
        let check = |chips: &[ChipFacts], wanted| {
            assert_eq!(judge(chips), wanted, "{chips:?}");
        };
        check(&[good, good], Verdict::Passed);
        check(&[good, dead], Verdict::Passed);
        check(&[dead, good], Verdict::Passed);
        check(&[dead, dead], Verdict::Failed(Unit::FlashController));
        check(&[good, wrong], Verdict::Failed(Unit::FlashChip(1)));
        check(&[wrong, dead], Verdict::Failed(Unit::FlashChip(0)));
        // A board may have one chip only, or a controller without any.
        check(&[good], Verdict::Passed);
        check(&[dead], Verdict::Failed(Unit::FlashController));
        check(&[], Verdict::Failed(Unit::FlashController));
    }
}
