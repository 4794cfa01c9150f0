//! L3, build 1.0.
#![no_std]
#![no_main]

runtime::entry!(level3);

fn level3() -> ! {
    l3::run(&l3::BUILD_1_0)
}
