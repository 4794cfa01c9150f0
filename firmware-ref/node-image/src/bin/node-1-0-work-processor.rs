//! Image of a node: work-processor, version 1.0.
#![no_std]
#![no_main]

runtime::entry!(image);

fn image() -> ! {
    node_image::run(&node_image::Build::version_1_0(distribution::Module::Work))
}
