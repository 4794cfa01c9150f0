//! Links the ROMs: one of 16 KiB, and one of 64 KiB for nodes with flash.

include!("../runtime/link.rs");

fn main() {
    let here = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    println!("cargo::rerun-if-changed=../runtime/reset.s");
    link(&format!("{here}/rom.ld"));
    for (rom, start) in [
        ("node-rom-1-0", "0xfc000"),
        ("node-rom-1-0-resident", "0xf0000"),
    ] {
        println!("cargo::rustc-link-arg-bin={rom}=-Wl,--defsym=__rom_start={start}");
    }
}
