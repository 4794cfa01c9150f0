use std::cell::RefCell;
use std::collections::BTreeSet;
use std::path::Path;

use emulator::rig::{Rig, Span, Strap};
use toml::de::DeTable;

use super::contents::Firmware;
use super::steps::read_steps;
use super::{Invariant, Scenario};
use crate::coverage::{RowId, Rows};
use crate::files::{FileError, Findings, Problem, Reader, SourceFile, load_rig};

/// What reading a step may refer to.
pub(super) struct Context<'c> {
    pub(super) file: &'c SourceFile,
    pub(super) folder: &'c Path,
    pub(super) rig: &'c Rig,
    pub(super) rows: &'c Rows,
    pub(super) findings: &'c Findings,
    /// Event names of the scenario's own.
    pub(super) events: Vec<String>,
    /// Notes so far.
    pub(super) notes: RefCell<Vec<String>>,
    /// Checkpoints so far.
    pub(super) checkpoints: RefCell<Vec<String>>,
}

const NAME_MAX: usize = 120;
const SEED_USUAL: u64 = 1;
/// Virtual time after which a story has failed, where the file does not say.
const LIMIT_USUAL: Span = Span::from_millis(3_600_000);
const LIMIT_MAX: Span = Span::from_millis(30 * 24 * 3_600_000);
/// Where fixed text stands in for a missing remedy.
const ROW_EXAMPLE: &str = "`arraybench coverage --list` shows every row";

impl Scenario {
    /// Reads the scenario at `path` and the rig it names.
    ///
    /// # Errors
    /// Either file cannot be used; everything wrong with it is told at once.
    pub fn load(path: &Path) -> Result<Scenario, FileError> {
        let file = SourceFile::read(path)?;
        Scenario::parse(&file, path)
    }

    /// Reads a scenario out of `file`; `path` is where it would stand.
    ///
    /// # Errors
    /// As for [`Scenario::load`].
    pub fn parse(file: &SourceFile, path: &Path) -> Result<Scenario, FileError> {
        let fail = |problems| FileError::new(&file.name, &file.text, problems);
        let tree = DeTable::parse(&file.text).map_err(|error| {
            let span = error.span().unwrap_or(0..0);
            let what = error.message().replace('\n', " ");
            fail(vec![
                Problem::new(what, "correct it; this is a TOML file").at(span, "here"),
            ])
        })?;
        let findings = Findings::default();
        let scenario = read(file, path, tree.get_ref(), &findings)?;
        match scenario {
            Some(scenario) if findings.is_empty() => Ok(scenario),
            _ => Err(fail(findings.into_problems())),
        }
    }
}

/// Only a bad rig *file* is an error at once: nothing in the scenario can be checked without it.
fn read(
    file: &SourceFile,
    path: &Path,
    tree: &DeTable<'_>,
    findings: &Findings,
) -> Result<Option<Scenario>, FileError> {
    let top = Reader::new(tree, 0..0, "a scenario", findings);
    let folder = path.parent().unwrap_or(Path::new(""));
    let name = top.required("name", NAME_MAX, "say in one line what the story is");
    let about = top.string("about").unwrap_or_default();
    let Some(rig) = read_rig(&top, folder)? else {
        return Ok(None);
    };
    let rows = Rows::of_the_project();
    let context = Context {
        file,
        folder,
        rig: &rig,
        rows: &rows,
        findings,
        events: read_events(&top),
        notes: RefCell::default(),
        checkpoints: RefCell::default(),
    };
    let covers = read_rows(&top, "covers", &context);
    let firmware = read_firmware(&top, &context);
    let seed = top.integer("seed", 0..=u64::MAX).unwrap_or(SEED_USUAL);
    let limit = read_limit(&top);
    let waived = read_waived(&top, &rig);
    let steps = read_steps(&top, &context);
    check_cover(&top, &covers, &steps, findings);
    top.finish();
    let (Some(name), Some(firmware)) = (name, firmware) else {
        return Ok(None);
    };
    Ok(Some(Scenario {
        path: path.to_path_buf(),
        id: path
            .file_stem()
            .map(|stem| stem.to_string_lossy().into_owned())
            .unwrap_or_default(),
        name: name.to_owned(),
        about: about.to_owned(),
        covers: covers.into_iter().map(|(row, _)| row).collect(),
        firmware,
        seed,
        limit,
        waived,
        steps,
        rig,
    }))
}

fn read_rig(top: &Reader<'_>, folder: &Path) -> Result<Option<Rig>, FileError> {
    let Some(name) = top.required("rig", 4096, "add e.g. rig = \"partner-pair\"") else {
        return Ok(None);
    };
    let mut rig = match load_rig(name, folder) {
        Ok(rig) => rig,
        // A rig that is not there is the scenario's mistake; a rig that is wrong is its own.
        Err(error)
            if error
                .problems()
                .iter()
                .all(|problem| problem.place.is_none()) =>
        {
            for problem in error.problems() {
                top.complain("rig", problem.what.clone(), problem.remedy.clone());
            }
            return Ok(None);
        }
        Err(error) => return Err(error),
    };
    if top.has("straps") {
        rig.board.straps = read_straps(top, &rig);
    }
    Ok(Some(rig))
}

/// Reads `straps`, for boards of `rig`.
pub(super) fn read_straps(reader: &Reader<'_>, rig: &Rig) -> Vec<Strap> {
    let words: Vec<(&str, Strap)> = Strap::ALL
        .iter()
        .map(|(strap, word)| (*word, *strap))
        .collect();
    let straps: Vec<Strap> = reader
        .strings("straps")
        .into_iter()
        .filter_map(|(text, span)| {
            crate::files::word_of(text, span, "straps", &words, reader.findings())
        })
        .collect();
    let mut board = rig.clone();
    board.board.straps.clone_from(&straps);
    for problem in board.problems() {
        reader.complain("straps", problem.what, problem.remedy);
    }
    straps
}

fn read_events(top: &Reader<'_>) -> Vec<String> {
    let mut events = Vec::new();
    for (name, span) in top.strings("events") {
        let good = !name.is_empty()
            && name.len() <= 64
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if good {
            events.push(name.to_owned());
        } else {
            let remedy = "event names are lower-case letters, digits and `-`";
            top.findings()
                .at(span, "here", "this is no event name", remedy);
        }
    }
    events
}

/// Reads row ids, noting those that do not exist.
pub(super) fn read_rows(
    reader: &Reader<'_>,
    key: &'static str,
    context: &Context<'_>,
) -> Vec<(RowId, std::ops::Range<usize>)> {
    let mut found: Vec<(RowId, std::ops::Range<usize>)> = Vec::new();
    for (id, span) in reader.strings(key) {
        if found.iter().any(|(known, _)| known.0 == id) {
            context.findings.at(
                span,
                "again",
                format!("row {id} is named twice"),
                "remove one",
            );
        } else if let Some(row) = context.rows.get(id) {
            found.push((row.id.clone(), span));
        } else {
            let remedy = match context.rows.nearest(id) {
                Some(meant) => format!("did you mean {meant}? {ROW_EXAMPLE}"),
                None => ROW_EXAMPLE.to_owned(),
            };
            context.findings.at(
                span,
                "here",
                format!("there is no acceptance row {id}"),
                remedy,
            );
        }
    }
    found
}

fn read_firmware(top: &Reader<'_>, context: &Context<'_>) -> Option<Firmware> {
    if !top.has("firmware") {
        context.findings.at(
            0..0,
            "in this file",
            "a scenario says what is in flash and on the array at first",
            "add e.g. firmware = { A = \"1.0\", B = \"1.0\", array = \"1.0\" }",
        );
        return None;
    }
    Firmware::read(top.table("firmware")?, context)
}

fn read_limit(top: &Reader<'_>) -> Span {
    let limit = top.parsed("limit").unwrap_or(LIMIT_USUAL);
    if limit > LIMIT_MAX || limit == Span::default() {
        top.complain(
            "limit",
            "a story ends within 30 virtual days",
            "lower `limit`",
        );
    }
    limit
}

fn read_waived(top: &Reader<'_>, rig: &Rig) -> Vec<(Invariant, String)> {
    let mut waived = Vec::new();
    if rig.board.machine.runs_freely() {
        let reason = "it shows in what the reference firmware says of itself";
        let all = Invariant::ALL.iter().map(|(_, invariant)| *invariant);
        let unknowable = all.filter(|invariant| invariant.is_of_reference_firmware());
        waived.extend(unknowable.map(|invariant| (invariant, reason.to_owned())));
    }
    let Some(reader) = top.table("waive") else {
        return waived;
    };
    for (word, invariant) in Invariant::ALL {
        if let Some(reason) = reader.string(word) {
            if reason.trim().is_empty() {
                reader.complain(
                    word,
                    "a waived invariant needs a reason",
                    "say why this story breaks it",
                );
            }
            waived.push((invariant, reason.to_owned()));
        }
    }
    reader.finish();
    waived
}

/// `covers` is what a reader sees first: it must be neither more nor less than what is proven.
fn check_cover(
    top: &Reader<'_>,
    covers: &[(RowId, std::ops::Range<usize>)],
    steps: &[super::Step],
    findings: &Findings,
) {
    let proven: BTreeSet<&RowId> = steps.iter().flat_map(|step| &step.proves).collect();
    for (row, span) in covers {
        if !proven.contains(row) {
            findings.at(
                span.clone(),
                "here",
                format!("nothing in this scenario proves {row}"),
                format!("add proves = [\"{row}\"] to the expectation that would fail without it"),
            );
        }
    }
    let missing: Vec<String> = proven
        .iter()
        .filter(|row| !covers.iter().any(|(covered, _)| covered == **row))
        .map(|row| format!("\"{row}\""))
        .collect();
    if !missing.is_empty() {
        top.complain(
            "covers",
            format!(
                "rows are proven here that `covers` does not name: {}",
                missing.join(", ")
            ),
            "add them to `covers`",
        );
    }
}
