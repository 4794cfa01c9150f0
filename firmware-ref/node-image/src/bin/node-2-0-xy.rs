//! Image of a node: xy, version 2.0.
#![no_std]
#![no_main]

use distribution::{Content::Only, Module};
use node_image::Build;

runtime::entry!(image);

fn image() -> ! {
    node_image::run(&Build::version_2_0(Only(Module::Xy)))
}
