//! L3, build 2.0 that knows iSCSI.
#![no_std]
#![no_main]

runtime::entry!(level3);

fn level3() -> ! {
    l3::run_by_strap(&l3::BUILD_2_0_ISCSI)
}
