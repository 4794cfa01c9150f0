//! Builds the reference firmware and puts it, packed as images, into the program.
//!
//! `firmware-ref` is a workspace of its own, freestanding; it is built in release mode whatever this
//! build is, in a target directory under `OUT_DIR`, by the same cargo. The table that comes out is read by
//! `src/firmware`.

mod elf;
mod pack;
mod sources;

use std::collections::BTreeSet;
use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::{env, fs};

/// The host's own triple: firmware needs no extra toolchain.
const TRIPLE: &str = "x86_64-unknown-linux-gnu";

fn main() -> Result<(), Box<dyn Error>> {
    let here = env::var("CARGO_MANIFEST_DIR")?;
    let out = env::var("OUT_DIR")?;
    let (workspace, out) = (Path::new(&here).join("../firmware-ref"), Path::new(&out));
    sources::watch(&workspace)?;

    let programs = sources::programs(&workspace)?;
    let target = out.join("firmware-target");
    build(&workspace, &target, &programs)?;

    let mut table = String::from("&[\n");
    for program in &programs {
        let path = target.join(TRIPLE).join("release").join(&program.binary);
        let elf = fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        let packed = pack::pack(program, &elf)
            .map_err(|error| format!("firmware {}: {error}", program.binary))?;
        let file = out.join(format!("{}.img", program.binary));
        fs::write(&file, &packed.bytes)?;
        table.push_str(&packed.table_entry(program, &file));
    }
    table.push_str("]\n");
    fs::write(out.join("firmware_table.rs"), table)?;
    Ok(())
}

/// Runs cargo in the firmware's workspace as if nobody had called it from a build.
///
/// Package by package name, not the whole workspace: its host tools would switch on features, and with
/// them the standard library, in what the firmware uses too.
fn build(
    workspace: &Path,
    target: &Path,
    programs: &[sources::Program],
) -> Result<(), Box<dyn Error>> {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(workspace)
        .args(["build", "--release", "--locked", "--quiet"])
        .args(["--target", TRIPLE, "--target-dir"])
        .arg(target);
    for program in programs {
        command.args(["--bin", &program.binary]);
    }
    let packages: BTreeSet<_> = programs.iter().map(sources::Program::folder).collect();
    for package in packages {
        command.args(["--package", &format!("arraybench-{package}")]);
    }
    // Clippy, sanitizers and coverage come with flags and wrappers that are not meant for firmware.
    for (name, _) in env::vars_os() {
        if name.to_str().is_none_or(leaks_into_firmware) {
            command.env_remove(name);
        }
    }
    let status = command.status()?;
    if !status.success() {
        return Err(format!(
            "the firmware does not build; see above, or run cargo build in {}",
            workspace.display()
        )
        .into());
    }
    Ok(())
}

/// Whether an environment variable of this build would change how the firmware is built.
fn leaks_into_firmware(name: &str) -> bool {
    const PREFIXES: [&str; 6] = [
        "CARGO_BUILD_",
        "CARGO_CFG_",
        "CARGO_ENCODED_",
        "CARGO_FEATURE_",
        "CARGO_PROFILE_",
        "CARGO_TARGET_",
    ];
    const NAMES: [&str; 9] = [
        "DEBUG",
        "OPT_LEVEL",
        "PROFILE",
        "RUSTDOCFLAGS",
        "RUSTFLAGS",
        "RUSTC_WRAPPER",
        "RUSTC_WORKSPACE_WRAPPER",
        "CARGO_MAKEFLAGS",
        "TARGET",
    ];
    NAMES.contains(&name) || PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}
