//! How one level starts the next: L1 starts L2, L2 starts L3 (Fig. 4A of the version-control
//! patent). The decisions are those of the `boot` library; here they meet the board: both banks of the
//! level are read into memory under two waits, inspected there, and the chosen body is copied to
//! where it runs and hashed again.
#![no_std]

mod staged;

use core::convert::Infallible;
use core::fmt;
use core::ops::Range;

use boot::{Bank, Level, NoValid, Selection, choose, inspect, load};
use image::{Defect, HEADER_SIZE, ImageHeader, Requirements, Trust};
use runtime::board_control::BoardControl;
use runtime::handoff::{Choice, Handoff, Reason};
use runtime::spi_flash::{answers, read_regions};
use runtime::{BankName, BankPlace, Identity, SpiController, number, ram};

use crate::staged::Staged;

/// Why the next level does not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartError {
    /// Neither bank holds a valid image.
    NoValid(NoValid),
    /// The chosen image could not be loaded.
    Load(Defect),
    /// Board control failed.
    Board,
}

/// As the `cause=` of a boot error, with what is wrong with each bank.
impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StartError::NoValid(why) => write!(f, "a={} b={}", why.a.as_str(), why.b.as_str()),
            StartError::Load(defect) => write!(f, "load={}", defect.as_str()),
            StartError::Board => f.write_str("board-control"),
        }
    }
}

/// What an image of `level` must be to run on this board.
pub fn requirements<'k>(identity: &'k Identity, level: Level, capacity: u32) -> Requirements<'k> {
    const NO_KEY: [u8; 32] = [0; 32];
    let trust = if identity.straps.require_signature() {
        Trust::SignedBy(identity.signing_key.as_ref().unwrap_or(&NO_KEY))
    } else {
        Trust::Anyone
    };
    Requirements {
        kind: level.kind(),
        capacity,
        load_window: load_window(level),
        trust,
    }
}

/// The memory an image of `level` may be loaded into.
pub fn load_window(level: Level) -> Range<u32> {
    match level {
        Level::L2 => ram::L2_IMAGE,
        Level::L3 => ram::L3_IMAGE,
    }
}

/// The bank table's entry for one bank.
pub fn place(identity: &Identity, level: Level, bank: Bank) -> Option<BankPlace> {
    let number = match level {
        Level::L2 => 2,
        Level::L3 => 3,
    };
    identity.bank(number, name(bank))
}

/// A bank as the runtime names it.
pub fn name(bank: Bank) -> BankName {
    match bank {
        Bank::A => BankName::A,
        Bank::B => BankName::B,
    }
}

/// A bank as the decision logic names it.
pub fn bank(name: BankName) -> Bank {
    match name {
        BankName::A => Bank::A,
        BankName::B => Bank::B,
    }
}

/// Inspects both banks of `level` and chooses. Leaves what it read in the staging memory, the
/// chosen image included.
///
/// A controller that does not answer, a chip that is dead, a bank that the table lacks: all of
/// these are banks that cannot be read.
///
/// # Errors
/// No bank is valid.
pub fn select(
    control: &BoardControl,
    flash: Option<&SpiController>,
    level: Level,
) -> Result<Chosen, NoValid> {
    let identity = control.identity();
    let places = Bank::ALL.map(|bank| place(identity, level, bank));
    let mut banks = ram::staging().map(Staged::new);
    if let Some(flash) = flash {
        read_both(control, flash, identity, level, &places, &mut banks);
    }
    let [a, b] = &mut banks;
    let mut inspected = [a, b].into_iter().zip(places).map(|(staged, place)| {
        let Some(place) = place else {
            return Err(Defect::Unreadable);
        };
        let mut buffer = [0; 4096];
        staged.set_capacity(place.size);
        inspect(
            staged,
            &requirements(identity, level, place.size),
            &mut buffer,
        )
    });
    let missing = Err(Defect::Unreadable);
    let a_holds = inspected.next().unwrap_or(missing);
    let b_holds = inspected.next().unwrap_or(missing);
    drop(inspected);
    let selection = choose(a_holds, b_holds).map_err(|why| {
        let [at_a, at_b] = places;
        NoValid {
            a: heard(control, flash, at_a, why.a),
            b: heard(control, flash, at_b, why.b),
        }
    })?;
    let [a, b] = banks;
    let staged = match selection.bank {
        Bank::A => a,
        Bank::B => b,
    };
    Ok(Chosen { selection, staged })
}

/// A choice, and the chosen image in memory.
#[derive(Debug)]
pub struct Chosen {
    /// What was chosen, and why.
    pub selection: Selection,
    staged: Staged,
}

impl Chosen {
    /// The same in the words of the hand-over page.
    pub fn as_choice(&self) -> Choice {
        Choice {
            bank: name(self.selection.bank),
            reason: match self.selection.reason {
                boot::Reason::Newest => Reason::Newest,
                boot::Reason::OnlyValid => Reason::OnlyValid,
            },
            header: self.selection.header.encode(),
        }
    }

    /// Loads the image, hands over to it, and lets it run. `l2` is the choice L1 made, for L2 to
    /// pass on. All traces are delivered first: what comes next may be bad enough to crash at once.
    /// Board control and flash stay live, because setting a device up costs a dozen exits.
    ///
    /// # Errors
    /// What was loaded is not what was chosen, or board control failed.
    pub fn start(
        mut self,
        control: &BoardControl,
        flash: Option<&SpiController>,
        l2: Option<Choice>,
    ) -> Result<Infallible, StartError> {
        let header = self.selection.header;
        let window = ram::load_memory(header.load_address, header.body_length)
            .ok_or(StartError::Load(Defect::LoadAddress(header.load_address)))?;
        load(&mut self.staged, &header, window).map_err(StartError::Load)?;
        control.wait(0, 0, Some(0)).map_err(|_| StartError::Board)?;
        let mut live = 1 << number::BOARD_CONTROL;
        if flash.is_some_and(SpiController::is_idle) {
            live |= 1 << number::FLASH;
        }
        let chosen = self.as_choice();
        let (l2, l3) = match l2 {
            None => (chosen, None),
            Some(l2) => (l2, Some(chosen)),
        };
        let now_ns = control.now_ns();
        let handoff = Handoff {
            now_ns,
            live,
            l2,
            l3,
        };
        handoff.store();
        // SAFETY: the body was hashed where it lies, the parser has checked that the entry is inside
        // it, and the hand-over page is written. This level's own memory is elsewhere.
        unsafe { runtime::entry::jump(header.load_address.wrapping_add(header.entry_offset)) }
    }
}

/// What is wrong with a bank, once it was asked whether its chip is there at all: a dead one looks
/// erased.
pub fn heard(
    control: &BoardControl,
    flash: Option<&SpiController>,
    place: Option<BankPlace>,
    found: Defect,
) -> Defect {
    match (found, flash, place) {
        (Defect::Blank, Some(flash), Some(place))
            if answers(flash, control, place.chip) == Ok(false) =>
        {
            Defect::NoAnswer
        }
        _ => found,
    }
}

/// Reads headers, then the bodies of those whose header promises an image that may run.
fn read_both(
    control: &BoardControl,
    flash: &SpiController,
    identity: &Identity,
    level: Level,
    places: &[Option<BankPlace>; 2],
    banks: &mut [Staged; 2],
) {
    let headers = [HEADER_SIZE; 2];
    read(control, flash, places, banks, headers);
    let mut lengths = [0; 2];
    for ((length, staged), place) in lengths.iter_mut().zip(&*banks).zip(places) {
        let Some(place) = place else { continue };
        let promised = ImageHeader::parse(staged.present())
            .and_then(|header| {
                requirements(identity, level, place.size).check_header(&header)?;
                Ok(header.total_length())
            })
            .ok();
        *length = promised
            .and_then(|bytes| usize::try_from(bytes).ok())
            .unwrap_or(0);
    }
    read(control, flash, places, banks, lengths);
}

/// Reads the first `lengths` bytes of each bank in one wait. If that fails, each for itself: a
/// controller that refuses one chip must not take the other with it.
fn read(
    control: &BoardControl,
    flash: &SpiController,
    places: &[Option<BankPlace>; 2],
    banks: &mut [Staged; 2],
    lengths: [usize; 2],
) {
    let [a, b] = banks;
    let [to_a, to_b] = lengths;
    let [at_a, at_b] = *places;
    let region_a = at_a.and_then(|place| a.region(place, to_a));
    let region_b = at_b.and_then(|place| b.region(place, to_b));
    let together = match (region_a, region_b) {
        (Some(a), Some(b)) => read_regions(flash, control, &mut [a, b]),
        (Some(one), None) | (None, Some(one)) => read_regions(flash, control, &mut [one]),
        (None, None) => return,
    };
    for (staged, (place, length)) in [a, b].into_iter().zip([(at_a, to_a), (at_b, to_b)]) {
        let Some(region) = place.and_then(|place| staged.region(place, length)) else {
            continue;
        };
        let done = match together {
            Ok(()) => Ok(()),
            Err(_) => read_regions(flash, control, &mut [region]),
        };
        if done.is_ok() {
            staged.now_present(length);
        }
    }
}

/// One line about a choice, for the trace: `name bank=… version=… reason=…`.
pub fn trace_choice(control: &BoardControl, name: &str, selection: &Selection) {
    control.trace(format_args!(
        "{name} bank={} version={} reason={}",
        selection.bank,
        selection.header.version,
        selection.reason.as_str()
    ));
}
