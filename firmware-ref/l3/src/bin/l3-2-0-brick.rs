//! L3, build 2.0-brick.
#![no_std]
#![no_main]

runtime::entry!(level3);

fn level3() -> ! {
    l3::run(&l3::BUILD_2_0_BRICK)
}
