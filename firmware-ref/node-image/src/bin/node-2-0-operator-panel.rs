//! Image of a node: operator-panel, version 2.0.
#![no_std]
#![no_main]

runtime::entry!(image);

fn image() -> ! {
    node_image::run_with_panel(&node_image::Build::version_2_0(distribution::Module::Panel))
}
