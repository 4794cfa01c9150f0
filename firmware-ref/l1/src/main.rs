//! L1.
#![no_std]
#![no_main]
core::arch::global_asm!(include_str!("reset.s"), options(att_syntax));
runtime::entry!(level1);

fn level1() -> ! {
    let Ok(control) = runtime::board_control::BoardControl::open(0) else {
        panic!("no board control");
    };
    control.trace(format_args!(
        "l1-started reset={}",
        control.identity().reset_reason
    ));
    control.park()
}
