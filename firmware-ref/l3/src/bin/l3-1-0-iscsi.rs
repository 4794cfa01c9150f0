//! L3, build 1.0 that knows iSCSI.
#![no_std]
#![no_main]

runtime::entry!(level3);

fn level3() -> ! {
    l3::run_by_strap(&l3::BUILD_1_0_ISCSI)
}
