//! Links L2.

include!("../runtime/link.rs");

fn main() {
    let here = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    link(&format!("{here}/../runtime/level.ld"));
    // What L2 owns, and what fits its bank beside a header of 256 bytes.
    for (symbol, address) in [
        ("__region_start", "0x100000"),
        ("__region_end", "0x200000"),
        ("__image_limit", "0x1ff00"),
    ] {
        println!("cargo::rustc-link-arg-bins=-Wl,--defsym={symbol}={address}");
    }
}
