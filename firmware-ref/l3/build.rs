//! Links L3.

include!("../runtime/link.rs");

fn main() {
    let here = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    link(&format!("{here}/l3.ld"));
}
