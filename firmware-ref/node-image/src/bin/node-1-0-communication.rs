//! Image of a node: communication, version 1.0.
#![no_std]
#![no_main]

use distribution::{Content::Only, Module};
use node_image::Build;

runtime::entry!(image);

fn image() -> ! {
    node_image::run(&Build::version_1_0(Only(Module::Communication)))
}
