//! Image of a node: communication, version 2.0.
#![no_std]
#![no_main]

runtime::entry!(image);

fn image() -> ! {
    node_image::run(&node_image::Build::version_2_0(
        distribution::Module::Communication,
    ))
}
