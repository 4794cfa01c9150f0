//! L3, build 2.0 that serves the nodes of a CAN bus.
#![no_std]
#![no_main]

runtime::entry!(level3);

fn level3() -> ! {
    l3::run_with_nodes(&l3::BUILD_2_0_NODES)
}
