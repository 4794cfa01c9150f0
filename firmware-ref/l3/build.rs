//! Links L3: freestanding, at its load address.

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
        // What L3 owns, and what fits its bank beside a header of 256 bytes.
        "-Wl,--defsym=__region_start=0x200000",
        "-Wl,--defsym=__region_end=0x800000",
        "-Wl,--defsym=__image_limit=0x7ff00",
    ] {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
    println!("cargo::rustc-link-arg-bins=-Wl,-T,{here}/../runtime/level.ld");
}
