//! Links the images: freestanding, at their load address.

fn main() {
    let here = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    println!("cargo::rerun-if-changed=../runtime/level.ld");
    for argument in [
        "-nostartfiles",
        "-nostdlib",
        "-static",
        "-no-pie",
        "-Wl,--build-id=none",
        "-Wl,--gc-sections",
        "-Wl,-z,max-page-size=4096",
        // What an image owns: RAM between the boot ROM's and the ROM's alias.
        "-Wl,--defsym=__region_start=0x30000",
        "-Wl,--defsym=__region_end=0xe0000",
        "-Wl,--defsym=__image_limit=0x80000",
    ] {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
    println!("cargo::rustc-link-arg-bins=-Wl,-T,{here}/../runtime/level.ld");
}
