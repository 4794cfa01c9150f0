//! Links the ROM.

include!("../runtime/link.rs");

fn main() {
    let here = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    println!("cargo::rerun-if-changed=../runtime/reset.s");
    link(&format!("{here}/rom.ld"));
}
