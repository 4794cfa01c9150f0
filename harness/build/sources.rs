//! What there is to build.

use std::error::Error;
use std::fs;
use std::path::Path;

use image::{Kind, Version};

/// One firmware program: a build of a level.
#[derive(Debug)]
pub(crate) struct Program {
    /// Name of its binary target: `l1`, `l2-1-0`, `l3-2-0-crash`.
    pub(crate) binary: String,
    pub(crate) kind: Kind,
    pub(crate) version: Version,
}

/// Asks cargo to build again when anything in the firmware's workspace changes. Its own target directory,
/// where somebody built by hand, is left out, and so are the fuzz targets.
pub(crate) fn watch(workspace: &Path) -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build");
    for entry in fs::read_dir(workspace)? {
        let entry = entry?;
        if entry.file_name() != "target" && entry.file_name() != "fuzz" {
            println!("cargo::rerun-if-changed={}", entry.path().display());
        }
    }
    Ok(())
}

/// The ROM, and every build of the levels above it: one file in `src/bin` each.
pub(crate) fn programs(workspace: &Path) -> Result<Vec<Program>, Box<dyn Error>> {
    let mut programs = vec![Program {
        binary: "l1".to_owned(),
        kind: Kind::L1,
        version: "1.0".parse()?,
    }];
    for kind in [Kind::L2, Kind::L3] {
        let folder = workspace.join(kind.as_str()).join("src/bin");
        if !folder.is_dir() {
            continue;
        }
        let mut names = Vec::new();
        for entry in
            fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))?
        {
            let path = entry?.path();
            let name = path.file_stem().and_then(|stem| stem.to_str());
            names.extend(name.map(str::to_owned));
        }
        names.sort();
        for binary in names {
            let version = version(&binary, kind)
                .ok_or_else(|| format!("{binary} is not named {kind}-MAJOR-MINOR[-BUILD]"))?;
            programs.push(Program {
                binary,
                kind,
                version,
            });
        }
    }
    Ok(programs)
}

/// `l3-2-0-crash` is version 2.0-crash: cargo allows no dot in the name of a target.
fn version(binary: &str, kind: Kind) -> Option<Version> {
    let rest = binary.strip_prefix(kind.as_str())?.strip_prefix('-')?;
    rest.replacen('-', ".", 1).parse().ok()
}
