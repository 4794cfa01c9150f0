use std::ops::Range;
use std::path::Path;

use emulator::rig::{NodeGroup, PathStep, Rig, RigProblem};
use image::Kind;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::binary::open_file;
use super::boot;
use super::diagnostic::{FileError, Problem};
use super::source::SourceFile;
use super::suggest::nearest;
use crate::firmware;

/// Size of the boot ROM (board manual §2).
pub const ROM_BYTES: u64 = 64 << 10;
/// The most that the boot ROM of a node has (board manual §11).
const NODE_ROM_BYTES: u64 = 16 << 10;

/// The most that the boot ROM of the nodes of a group has: those with flash have as much as controllers.
pub fn most_node_rom_bytes(group: &NodeGroup) -> u64 {
    if group.has_flash() {
        ROM_BYTES
    } else {
        NODE_ROM_BYTES
    }
}

/// Rigs that come with the bench, so that they are found wherever it runs: name and text.
pub const BUILT_IN_RIGS: [(&str, &str); 19] = [
    ("single", include_str!("../../rigs/single.toml")),
    ("partner-pair", include_str!("../../rigs/partner-pair.toml")),
    (
        "same-chip-pair",
        include_str!("../../rigs/same-chip-pair.toml"),
    ),
    ("triple", include_str!("../../rigs/triple.toml")),
    (
        "single-signed",
        include_str!("../../rigs/single-signed.toml"),
    ),
    (
        "single-big-chip",
        include_str!("../../rigs/single-big-chip.toml"),
    ),
    (
        "single-one-chip",
        include_str!("../../rigs/single-one-chip.toml"),
    ),
    (
        "single-slow-chip",
        include_str!("../../rigs/single-slow-chip.toml"),
    ),
    (
        "single-wrong-clock",
        include_str!("../../rigs/single-wrong-clock.toml"),
    ),
    (
        "linux-on-shelf",
        include_str!("../../rigs/linux-on-shelf.toml"),
    ),
    (
        "u-boot-on-shelf",
        include_str!("../../rigs/u-boot-on-shelf.toml"),
    ),
    ("nodes-alone", include_str!("../../rigs/nodes-alone.toml")),
    ("nodes-pair", include_str!("../../rigs/nodes-pair.toml")),
    ("nodes-single", include_str!("../../rigs/nodes-single.toml")),
    (
        "nodes-classic",
        include_str!("../../rigs/nodes-classic.toml"),
    ),
    ("nodes-sets", include_str!("../../rigs/nodes-sets.toml")),
    ("library", include_str!("../../rigs/library.toml")),
    ("nodes-few", include_str!("../../rigs/nodes-few.toml")),
    (
        "nodes-resident",
        include_str!("../../rigs/nodes-resident.toml"),
    ),
];

/// The names of the rigs that come with the bench.
pub fn built_in_rig_names() -> impl Iterator<Item = &'static str> {
    BUILT_IN_RIGS.iter().map(|(name, _)| *name)
}

/// Loads a rig: one that comes with the bench by its name, any other by its path (recognised by a
/// `/` or `.toml`), relative to `folder`.
///
/// # Errors
/// There is no such rig, or its file is wrong.
pub fn load_rig(name: &str, folder: &Path) -> Result<Rig, FileError> {
    if name.contains('/') || name.ends_with(".toml") {
        return parse_rig(&SourceFile::read(&folder.join(name))?);
    }
    let built_in = BUILT_IN_RIGS.iter().find(|(known, _)| *known == name);
    match built_in {
        Some((name, text)) => parse_rig(&SourceFile {
            name: format!("rigs/{name}.toml"),
            text: (*text).into(),
        }),
        None => {
            let remedy = match nearest(name, built_in_rig_names()) {
                Some(meant) => {
                    format!("did you mean `{meant}`? `arraybench boot --list` shows all")
                }
                None => {
                    let known: Vec<&str> = built_in_rig_names().collect();
                    format!(
                        "rigs of the bench: {}; a file is named by its path, e.g. ./{name}.toml",
                        known.join(", ")
                    )
                }
            };
            let what = "there is no rig of this name";
            Err(FileError::of(name, "", Problem::new(what, remedy)))
        }
    }
}

/// Reads a rig out of `file`.
///
/// # Errors
/// It is wrong; everything that is is told at once.
pub fn parse_rig(file: &SourceFile) -> Result<Rig, FileError> {
    let fail = |problems| FileError::new(&file.name, &file.text, problems);
    let mut rig: Rig =
        toml::from_str(&file.text).map_err(|error| fail(vec![serde_problem(&error)]))?;
    if rig.board.rom.contains('/') {
        rig.board.rom = beside(&file.name, &rig.board.rom);
    }
    for group in &mut rig.nodes {
        if group.rom.contains('/') {
            group.rom = beside(&file.name, &group.rom);
        }
    }
    let mut problems = rig.problems();
    problems.extend(boot::place(&mut rig.board.boot, |path| {
        beside(&file.name, path)
    }));
    problems.extend(rom_problem(&rig.board.rom));
    let groups = rig.nodes.iter().enumerate();
    problems.extend(groups.filter_map(|(index, group)| node_rom_problem(index, group)));
    let groups = rig.nodes.iter().enumerate();
    problems.extend(groups.filter_map(|(index, group)| node_image_problem(index, group)));
    if problems.is_empty() {
        return Ok(rig);
    }
    let tree = DeTable::parse(&file.text).map_err(|error| fail(vec![serde_problem(&error)]))?;
    let placed = problems.into_iter().map(|problem| {
        let span = place(&tree, &problem.path);
        Problem::new(problem.what, problem.remedy).at(span, "here")
    });
    Err(fail(placed.collect()))
}

/// The path of a file that rig file `rig` names, wherever it is asked for.
fn beside(rig: &str, path: &str) -> String {
    let folder = Path::new(rig).parent().unwrap_or(Path::new(""));
    let path = folder.join(path);
    // A state directory remembers its rig: the current directory must make no other rig of it.
    let whole = path.canonicalize().unwrap_or(path);
    whole.display().to_string()
}

/// What is wrong with the boot ROM of a group of nodes, if anything is.
fn node_rom_problem(index: usize, group: &NodeGroup) -> Option<RigProblem> {
    let rom = group.rom.as_str();
    let problem = |what: String, remedy: &str| node_problem(index, "rom", what, remedy);
    let bytes = if rom.contains('/') {
        open_file(Path::new(rom)).map(|(_, length)| length)
    } else {
        let Some(build) = firmware::node_rom(rom) else {
            let what = format!("there is no build {rom} of the nodes' boot ROM");
            let remedy = "builds are 1.0 and 1.0-resident; a file of your own is named with a `/`: \"./my-rom.bin\"";
            return Some(problem(what, remedy));
        };
        Ok(build.len() as u64)
    };
    let most = most_node_rom_bytes(group);
    match bytes {
        Ok(length) if length <= most => None,
        Ok(length) => {
            let what =
                format!("the boot ROM of a node has at most {most} bytes, {rom} has {length}");
            let remedy = if group.has_flash() {
                "keep the image that it loads out of it"
            } else {
                "keep the image that it loads out of it, or give the node flash for it: image = \"1.0\""
            };
            Some(problem(what, remedy))
        }
        Err(error) => Some(problem(format!("{rom}: {}", error.what), &error.remedy)),
    }
}

/// What is wrong with what is in the flash of a group of nodes, if anything is.
fn node_image_problem(index: usize, group: &NodeGroup) -> Option<RigProblem> {
    if !group.has_flash() || firmware::image_of_group(group).is_some() {
        return None;
    }
    let what = format!("there is no build {} of such a node's image", group.image);
    Some(node_problem(index, "image", what, "builds are 1.0 and 2.0"))
}

fn node_problem(index: usize, key: &str, what: String, remedy: &str) -> RigProblem {
    RigProblem {
        path: vec![
            PathStep::Key("nodes".to_owned()),
            PathStep::Index(index),
            PathStep::Key(key.to_owned()),
        ],
        what,
        remedy: remedy.to_owned(),
    }
}

/// What is wrong with the boot ROM of a rig's boards, if anything is.
fn rom_problem(rom: &str) -> Option<RigProblem> {
    let problem = |what: String, remedy: &str| RigProblem {
        path: ["board", "rom"]
            .map(|key| PathStep::Key(key.to_owned()))
            .into(),
        what,
        remedy: remedy.to_owned(),
    };
    if rom.contains('/') {
        return match open_file(Path::new(rom)) {
            Ok((_, ROM_BYTES)) => None,
            Ok((_, length)) => Some(problem(
                format!("a boot ROM has {ROM_BYTES} bytes, {rom} has {length}"),
                "pad it at its beginning: the reset vector is in its last 16 bytes",
            )),
            Err(error) => Some(problem(format!("{rom}: {}", error.what), &error.remedy)),
        };
    }
    let known = || firmware::all().iter().filter(|it| it.kind == Kind::L1);
    if known().any(|it| it.version == rom) {
        return None;
    }
    let versions: Vec<&str> = known().map(|it| it.version).collect();
    let remedy = format!(
        "builds are {}; a file of your own is named with a `/`: \"./my-rom.bin\"",
        versions.join(", ")
    );
    Some(problem(format!("there is no boot ROM \"{rom}\""), &remedy))
}

/// The place of the deepest part of `path` that the file spells out.
fn place(tree: &Spanned<DeTable<'_>>, path: &[PathStep]) -> Range<usize> {
    let mut span = 0..0;
    let mut table = Some(tree.get_ref());
    let mut array = None;
    for step in path {
        let next = match step {
            PathStep::Key(key) => table.and_then(|table| {
                // A table in a section of its own has no place worth showing but its name.
                let (name, value) = table.get_key_value(key.as_str())?;
                Some((
                    if value.get_ref().is_table() {
                        name.span()
                    } else {
                        value.span()
                    },
                    value,
                ))
            }),
            PathStep::Index(index) => array
                .and_then(|items: &toml::de::DeArray<'_>| items.get(*index))
                .map(|value| (value.span(), value)),
        };
        let Some((found, value)) = next else {
            break;
        };
        span = found;
        table = value.get_ref().as_table();
        array = match value.get_ref() {
            DeValue::Array(items) => Some(items),
            _ => None,
        };
    }
    span
}

/// What the TOML reader found wrong, with a suggestion where it names an unknown key or word.
pub(super) fn serde_problem(error: &toml::de::Error) -> Problem {
    let message = error.message();
    let span = error.span().unwrap_or(0..0);
    // serde words it "unknown field `x`, expected one of `a`, `b`" (or "expected `a` or `b`").
    let unknown = message
        .strip_prefix("unknown field ")
        .map(|rest| (rest, "key"))
        .or_else(|| {
            message
                .strip_prefix("unknown variant ")
                .map(|rest| (rest, "word"))
        });
    let Some((rest, kind)) = unknown else {
        return Problem::new(message.replace('\n', " "), "correct it").at(span, "here");
    };
    let mut quoted = rest.split('`').skip(1).step_by(2);
    let word = quoted.next().unwrap_or_default().to_owned();
    let known: Vec<&str> = quoted.collect();
    let remedy = match nearest(&word, known.iter().copied()) {
        Some(meant) => format!("did you mean `{meant}`?"),
        None => format!("known here: {}", known.join(", ")),
    };
    Problem::new(format!("there is no {kind} `{word}` here"), remedy).at(span, "not known here")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complaint(text: &str) -> String {
        let file = SourceFile {
            name: "my-rig.toml".to_owned(),
            text: text.into(),
        };
        parse_rig(&file).map_or_else(|error| error.render(false), |rig| format!("{rig:?}"))
    }

    #[test]
    fn the_rigs_of_the_bench_are_good_and_called_by_their_name() {
        for name in built_in_rig_names() {
            let rig = load_rig(name, Path::new(".")).unwrap_or_else(|error| panic!("{error}"));
            assert_eq!(rig.name, name);
        }
    }

    #[test]
    fn every_rig_file_is_known_by_name() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("rigs");
        for entry in std::fs::read_dir(folder).unwrap() {
            let file = entry.unwrap().file_name().into_string().unwrap();
            let Some(name) = file.strip_suffix(".toml") else {
                continue;
            };
            // That one is there to be read.
            let known = name == "every-key" || built_in_rig_names().any(|known| known == name);
            assert!(known, "{name}");
        }
    }

    #[test]
    fn the_rig_with_every_key_is_the_default() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("rigs");
        let rig = load_rig("./every-key.toml", &folder).unwrap_or_else(|error| panic!("{error}"));
        let wanted = Rig {
            name: "every-key".to_owned(),
            ..Rig::default()
        };
        assert_eq!(rig, wanted);
        // Every key that there is stands in the file.
        let all = toml::to_string(&wanted).unwrap();
        let text = include_str!("../../rigs/every-key.toml");
        for key in all
            .lines()
            .filter_map(|line| line.split_once(" = "))
            .map(|(key, _)| key)
        {
            assert!(
                text.lines()
                    .any(|line| line.starts_with(&format!("{key} ="))),
                "{key}"
            );
        }
    }

    #[test]
    fn an_unknown_key_comes_with_a_suggestion() {
        insta::assert_snapshot!(complaint("name = \"x\"\n[shelf]\nmembersize = \"16MiB\"\n"));
    }

    #[test]
    fn an_unknown_word_comes_with_a_suggestion() {
        insta::assert_snapshot!(complaint(
            "name = \"x\"\n[board]\nstraps = [\"folow-l2\"]\n"
        ));
    }

    #[test]
    fn a_wrong_type_and_a_wrong_unit_are_shown() {
        insta::assert_snapshot!(complaint("name = \"x\"\nslots = \"two\"\n"));
        insta::assert_snapshot!(complaint(
            "name = \"x\"\ntimings.page_program = \"7 parsec\"\n"
        ));
    }

    #[test]
    fn broken_toml_is_shown() {
        insta::assert_snapshot!(complaint("name = \"x\"\n[shelf\nmembers = 4\n"));
    }

    #[test]
    fn what_does_not_fit_together_is_shown_where_it_stands() {
        let text = "\
name = \"x\"
[shelf]
level = 6
members = 3
[[board.flash.banks]]
level = 2
bank = \"A\"
chip = 0
offset = 0
size = \"128KiB\"
[[board.flash.banks]]
level = 3
bank = \"A\"
chip = 0
offset = \"64KiB\"
size = \"512KiB\"
";
        insta::assert_snapshot!(complaint(text));
    }

    #[test]
    fn a_boot_rom_lies_where_its_rig_says() {
        let folder = tempfile::tempdir().unwrap();
        let rom = folder.path().join("rom.bin");
        std::fs::write(&rom, vec![0xf4; 64 << 10]).unwrap();
        let text = "name = \"x\"\nboard.rom = \"./rom.bin\"\n";
        std::fs::write(folder.path().join("x.toml"), text).unwrap();
        let rig = load_rig("x.toml", folder.path()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(Path::new(&rig.board.rom), rom.canonicalize().unwrap());
    }

    #[test]
    fn cd63_only_nodes_with_flash_have_a_large_rom_and_an_image_that_there_is() {
        let check = |keys: &str, wanted: &str| {
            let text = format!(
                "name = \"x\"\nnodes = [{{ name = \"n\", {keys} }}]\n[can]\nsegments = [\"base\"]\n"
            );
            let found = complaint(&text);
            assert!(found.contains(wanted), "{keys}: {found}");
        };
        check("rom = \"1.0-resident\"", "at most 16384 bytes");
        check("image = \"7.0\"", "there is no build 7.0");
        check("rom = \"1.0-resident\", image = \"2.0\"", "Rig {");
        check("image = \"1.0\"", "Rig {");
    }

    #[test]
    fn a_chip_that_cannot_be_addressed_comes_with_the_sizes() {
        insta::assert_snapshot!(complaint(
            "name = \"x\"\nboard.flash.chip_size = \"32MiB\"\n"
        ));
    }

    #[test]
    fn an_unknown_rig_comes_with_a_suggestion() {
        let error = load_rig("partner-pear", Path::new(".")).unwrap_err();
        insta::assert_snapshot!(error.render(false));
        let error = load_rig("./nothing/here.toml", Path::new(".")).unwrap_err();
        insta::assert_snapshot!(error.render(false));
    }
}
