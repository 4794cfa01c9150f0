//! What there is to build.

use std::error::Error;
use std::fs;
use std::path::Path;

use distribution::{Content, Module};
use image::{Kind, Version};

/// One firmware program: a build of a level, or of a node's boot ROM or image.
#[derive(Debug)]
pub(crate) struct Program {
    /// Name of its binary target: `l1`, `l2-1-0`, `l3-2-0-crash`, `node-rom-1-0`, `node-1-0-drive`.
    pub(crate) binary: String,
    pub(crate) kind: Kind,
    pub(crate) version: Version,
    /// Which nodes an image is for.
    pub(crate) content: Option<Content>,
}

impl Program {
    /// Folder of its package in the firmware's workspace.
    pub(crate) fn folder(&self) -> &'static str {
        folder(self.kind)
    }
}

fn folder(kind: Kind) -> &'static str {
    match kind {
        Kind::Node => "node-image",
        other => other.as_str(),
    }
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

/// The ROMs, and every build of the levels above and of nodes' images: one file in `src/bin` each.
pub(crate) fn programs(workspace: &Path) -> Result<Vec<Program>, Box<dyn Error>> {
    let rom = |binary: &str, kind, version: &str| -> Result<Program, Box<dyn Error>> {
        Ok(Program {
            binary: binary.to_owned(),
            kind,
            version: version.parse()?,
            content: None,
        })
    };
    let mut programs = vec![
        rom("l1", Kind::L1, "1.0")?,
        rom("node-rom-1-0", Kind::NodeRom, "1.0")?,
        rom("node-rom-1-0-resident", Kind::NodeRom, "1.0-resident")?,
    ];
    for kind in [Kind::L2, Kind::L3, Kind::Node] {
        let folder = workspace.join(folder(kind)).join("src/bin");
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
            let (version, content) = version(&binary, kind)
                .ok_or_else(|| format!("{binary} is not named {}", pattern(kind)))?;
            programs.push(Program {
                binary,
                kind,
                version,
                content,
            });
        }
    }
    Ok(programs)
}

fn pattern(kind: Kind) -> String {
    match kind {
        Kind::Node => "node-MAJOR-MINOR-TYPE[-BUILD]".to_owned(),
        level => format!("{level}-MAJOR-MINOR[-BUILD]"),
    }
}

/// The word for an image that is for all nodes, where others have the word of a type.
const COMMON: &str = "common";

/// `l3-2-0-crash` is version 2.0-crash, `node-2-0-drive-crash` the same for drives: cargo allows no dot in
/// the name of a target.
fn version(binary: &str, kind: Kind) -> Option<(Version, Option<Content>)> {
    let rest = binary.strip_prefix(kind.as_str())?.strip_prefix('-')?;
    let text = rest.replacen('-', ".", 1);
    if kind != Kind::Node {
        return Some((text.parse().ok()?, None));
    }
    let (number, rest) = text.split_once('-')?;
    let types = Module::ALL.map(|module| (module.as_str(), Content::Only(module)));
    let mut words = types.into_iter().chain([(COMMON, Content::All)]);
    // The whole word: `common` is no kind of `communication`.
    let (build, content) = words.find_map(|(word, content)| {
        let build = rest.strip_prefix(word)?;
        (build.is_empty() || build.starts_with('-')).then_some((build, content))
    })?;
    Some((format!("{number}{build}").parse().ok()?, Some(content)))
}
