//! Image of a node, whatever it is: version 2.0.
#![no_std]
#![no_main]

use distribution::Content;
use node_image::Build;

runtime::entry!(image);

fn image() -> ! {
    node_image::run_whatever_it_is(&Build::version_2_0(Content::All))
}
