//! Links the images.

include!("../runtime/link.rs");

fn main() {
    let here = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    link(&format!("{here}/../runtime/level.ld"));
    // What an image owns: RAM between the boot ROM's and the ROM's alias.
    for (symbol, address) in [
        ("__region_start", "0x30000"),
        ("__region_end", "0xe0000"),
        ("__image_limit", "0x80000"),
    ] {
        println!("cargo::rustc-link-arg-bins=-Wl,--defsym={symbol}={address}");
    }
}
