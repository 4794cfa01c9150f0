//! L2: second level of a controller (VC15). Looks what hardware there is, tests it, then chooses
//! between the two banks of L3 and lets the chosen one run.
//!
//! The builds differ in [`Build`] alone; each is a program of its own in `src/bin`.
#![no_std]

mod discovery;
mod post;

use boot::Level;
use image::ImageHeader;
use next_level::StartError;
use runtime::board_control::BoardControl;
use runtime::handoff::{Choice, Handoff};
use runtime::{SpiController, number};

pub use discovery::Slots;
pub use post::{Unit, Verdict};

/// What makes one build differ from another.
#[derive(Clone, Copy, Debug)]
pub struct Build {
    /// Its version, the same as in its image's header.
    pub version: &'static str,
    /// Test the address lines of memory as well as its cells (since 1.1).
    pub tests_address_lines: bool,
}

/// Build 1.0.
pub const BUILD_1_0: Build = Build {
    version: "1.0",
    tests_address_lines: false,
};

/// Build 1.1: a longer memory test.
pub const BUILD_1_1: Build = Build {
    version: "1.1",
    tests_address_lines: true,
};

/// Build 2.0.
pub const BUILD_2_0: Build = Build {
    version: "2.0",
    tests_address_lines: true,
};

/// Runs the level.
pub fn run(build: &Build) -> ! {
    let handoff = Handoff::load();
    let opened = match &handoff {
        Some(handoff) => BoardControl::take_over(handoff),
        None => BoardControl::open(0),
    };
    let control = match opened {
        Ok(control) => control,
        // Nobody to tell but the last-words port.
        Err(error) => panic!("board control: {error}"),
    };
    let Some(handoff) = handoff else {
        // Not started by an L1 that this build knows.
        control.trace(format_args!("boot-error level=2 cause=no-handoff"));
        control.park();
    };
    trace_start(&control, build, &handoff.l2);

    let slots = Slots::discover();
    control.trace(format_args!("hardware-found slots={slots}"));
    let flash = SpiController::take_over(number::FLASH, &handoff).ok();
    match post::run(build, &control, slots, flash.as_ref()) {
        Verdict::Passed => control.trace(format_args!("post-passed")),
        Verdict::Failed(unit) => {
            control.trace(format_args!("post-failed unit={unit}"));
            control.park();
        }
    }

    let error = match next_level::select(&control, flash.as_ref(), Level::L3) {
        Ok(chosen) => {
            next_level::trace_choice(&control, "l3-selected", &chosen.selection);
            match chosen.start(&control, flash.as_ref(), Some(handoff.l2)) {
                Ok(never) => match never {},
                Err(error) => error,
            }
        }
        Err(none) => StartError::NoValid(none),
    };
    control.trace(format_args!("boot-error level=2 cause=no-valid-l3 {error}"));
    control.park()
}

/// The version traced is that of the code that runs. A header that says otherwise was made by a
/// mistake of whoever packed it.
fn trace_start(control: &BoardControl, build: &Build, choice: &Choice) {
    let (version, bank) = (build.version, choice.bank);
    control.trace(format_args!("l2-started version={version} bank={bank}"));
    let stated = ImageHeader::parse(&choice.header).ok();
    if stated.is_none_or(|header| header.version.as_str() != version) {
        control.trace(format_args!("version-mismatch level=2 built={version}"));
    }
}
