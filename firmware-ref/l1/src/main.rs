//! L1: the boot ROM of a controller (VC13, VC14). Wakes the board up, chooses between the two
//! banks of L2, and lets the chosen one run. It is never rewritten.
#![no_std]
#![no_main]

use boot::Level;
use runtime::board_control::BoardControl;
use runtime::{SpiController, number};

core::arch::global_asm!(
    // 16 MiB.
    ".set RAM_PAGES, 8",
    include_str!("../../runtime/reset.s"),
    options(att_syntax)
);

runtime::entry!(level1);

fn level1() -> ! {
    let control = match BoardControl::open(0) {
        Ok(control) => control,
        // Nobody to tell but the last-words port.
        Err(error) => panic!("board control: {error}"),
    };
    let reset = control.identity().reset_reason;
    control.trace(format_args!("l1-started reset={reset}"));
    let flash = SpiController::open(number::FLASH).ok();
    let error = match next_level::select(&control, flash.as_ref(), Level::L2) {
        Ok(chosen) => {
            next_level::trace_choice(&control, "l2-selected", &chosen.selection);
            match chosen.start(&control, flash.as_ref(), None) {
                Ok(never) => match never {},
                Err(error) => error,
            }
        }
        Err(none) => next_level::StartError::NoValid(none),
    };
    control.trace(format_args!("boot-error level=1 cause=no-valid-l2 {error}"));
    control.park()
}
