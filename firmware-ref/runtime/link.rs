// What the build scripts of all programs share; each takes it in with `include!`.

/// Tells the linker what every program of the firmware is: freestanding, at fixed addresses, laid
/// out by the linker script at `script`.
fn link(script: &str) {
    println!("cargo::rerun-if-changed={script}");
    for argument in [
        "-nostartfiles",
        "-nostdlib",
        "-static",
        "-no-pie",
        "-Wl,--build-id=none",
        "-Wl,--gc-sections",
        "-Wl,-z,max-page-size=4096",
    ] {
        println!("cargo::rustc-link-arg-bins={argument}");
    }
    println!("cargo::rustc-link-arg-bins=-Wl,-T,{script}");
}
