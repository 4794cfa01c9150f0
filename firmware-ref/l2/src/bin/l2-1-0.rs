//! L2, build 1.0.
#![no_std]
#![no_main]

runtime::entry!(level2);

fn level2() -> ! {
    l2::run(&l2::BUILD_1_0)
}
