//! What is in flash and on the array before the first instruction, and how it may be damaged.

use std::collections::BTreeMap;

use emulator::rig::{BankLetter, Rig, Slot};
use image::{Kind, MANIFEST_SIZE};
use toml::de::DeValue;

use crate::files::{Findings, Problem, Reader, Value, string_of};

pub use super::build::{Build, REFERENCE_BUILDS};
use super::load::Context;

/// What is where before the first instruction.
#[derive(Clone, Debug, PartialEq)]
pub struct Firmware {
    /// The boards fitted at first; a slot that is missing is empty.
    pub boards: BTreeMap<Slot, FlashContents>,
    /// What the array's system area holds.
    pub array: ArrayContents,
}

/// What is in each bank of a board.
pub type FlashContents = BTreeMap<(u8, BankLetter), BankContents>;

/// What is in a bank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BankContents {
    /// Nothing: erased.
    Empty,
    /// An image.
    Image {
        /// The build it comes from.
        build: Build,
        /// Which in the order of programming; the highest valid one of a level boots.
        sequence: u32,
        /// What is wrong with it.
        damage: Option<Damage>,
    },
}

/// What the array's system area holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ArrayContents {
    /// No image: a volume that never belonged to a system.
    Absent,
    /// Data of somebody else where the catalogue should be.
    Foreign,
    /// A preferred version.
    Package(PackageContents),
}

/// A package: on the array, or on service media.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageContents {
    /// The build of its L2.
    pub l2: Build,
    /// The build of its L3.
    pub l3: Build,
    /// Images for the nodes of the CAN bus, if it has any.
    pub nodes: Option<Build>,
    /// What is wrong with it.
    pub damage: Option<Damage>,
}

impl PackageContents {
    /// All levels of one build.
    pub fn of(build: &Build) -> PackageContents {
        PackageContents {
            l2: build.clone(),
            l3: build.clone(),
            nodes: build.node_images(),
            damage: None,
        }
    }
}

/// One build in every bank.
pub fn in_all_banks(build: &Build) -> FlashContents {
    let contents = |(_, place): &(&str, (u8, BankLetter))| {
        let contents = BankContents::Image {
            build: build.clone(),
            sequence: usual_sequence(place.1),
            damage: None,
        };
        (*place, contents)
    };
    BANKS.iter().map(contents).collect()
}

fn usual_sequence(letter: BankLetter) -> u32 {
    let usual = USUAL_SEQUENCE.iter().find(|(known, _)| *known == letter);
    usual.map_or(1, |(_, sequence)| *sequence)
}

/// What can be wrong with an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// This many bits of the image differ; the seed of the scenario says which.
    BitFlips(u32),
    /// It is an image of the other level.
    WrongKind,
    /// Its header states more than there is.
    WrongLength,
    /// Its second half is missing.
    Truncated,
    /// It bears no signature.
    Unsigned,
    /// Its body and checksum were changed after it was signed.
    Altered,
}

const DAMAGES: [(&str, Damage); 6] = [
    ("bit-flips", Damage::BitFlips(1)),
    ("wrong-kind", Damage::WrongKind),
    ("wrong-length", Damage::WrongLength),
    ("truncated", Damage::Truncated),
    ("unsigned", Damage::Unsigned),
    ("altered", Damage::Altered),
];

const BITS_MAX: u64 = 4096;
/// Sequence numbers where none are given: bank A was programmed last.
const USUAL_SEQUENCE: [(BankLetter, u32); 2] = [(BankLetter::A, 2), (BankLetter::B, 1)];
const BANKS: [(&str, (u8, BankLetter)); 4] = [
    ("L2A", (2, BankLetter::A)),
    ("L2B", (2, BankLetter::B)),
    ("L3A", (3, BankLetter::A)),
    ("L3B", (3, BankLetter::B)),
];

fn build_of(value: &Value<'_>, key: &str, context: &Context<'_>) -> Option<Build> {
    let text = string_of(value, key, context.findings)?;
    Build::parse(text, context.folder)
        .map_err(|(what, remedy)| context.findings.at(value.span(), "here", what, remedy))
        .ok()
}

fn damage_of(reader: &Reader<'_>) -> Option<Damage> {
    let damage = reader.word("damage", &DAMAGES);
    let bits = reader.integer("bits", 1..=BITS_MAX);
    match (damage, bits) {
        (Some(Damage::BitFlips(_)), Some(bits)) => u32::try_from(bits).ok().map(Damage::BitFlips),
        (_, Some(_)) => {
            reader.complain(
                "bits",
                "`bits` says how many bits flip",
                "add damage = \"bit-flips\", or drop `bits`",
            );
            damage
        }
        _ => damage,
    }
}

impl Firmware {
    /// Reads the `firmware` table: each slot of the rig, and `array`.
    pub(super) fn read(reader: Reader<'_>, context: &Context<'_>) -> Option<Firmware> {
        let mut boards = BTreeMap::new();
        for slot in context.rig.slots() {
            let key = slot_key(slot);
            let Some(value) = reader.value(key) else {
                context.findings.at(
                    reader.span(),
                    "here",
                    format!("`firmware` does not say what is in slot {key}"),
                    format!("add e.g. {key} = \"1.0\", or {key} = \"no-board\""),
                );
                continue;
            };
            if value.get_ref().as_str() == Some("no-board") {
                continue;
            }
            if let Some(flash) = flash_of(value, key, context) {
                boards.insert(slot, flash);
            }
        }
        let array = match reader.value("array") {
            Some(value) => match value.get_ref().as_str() {
                Some("absent") => Some(ArrayContents::Absent),
                Some("foreign") => Some(ArrayContents::Foreign),
                _ => package_of(value, "array", context).map(|package| {
                    if let Some(problem) = package_misfit(&package, context.rig) {
                        context.findings.add(problem.at(value.span(), "here"));
                    }
                    ArrayContents::Package(package)
                }),
            },
            None => {
                context.findings.at(
                    reader.span(),
                    "here",
                    "`firmware` does not say what is on the array",
                    "add array = \"1.0\", or array = \"absent\"",
                );
                None
            }
        };
        reader.finish();
        Some(Firmware {
            boards,
            array: array?,
        })
    }
}

fn slot_key(slot: Slot) -> &'static str {
    match slot.index() {
        0 => "A",
        1 => "B",
        _ => "C",
    }
}

/// Reads what is in the flash of a board: one build for all banks, or bank by bank.
pub(super) fn flash_of(
    value: &Value<'_>,
    key: &str,
    context: &Context<'_>,
) -> Option<FlashContents> {
    if value.get_ref().is_str() {
        let contents = |letter| bank_of(value, key, letter, context);
        let (a, b) = (contents(BankLetter::A)?, contents(BankLetter::B)?);
        let flash = BANKS
            .iter()
            .map(|(_, place)| match place.1 {
                BankLetter::A => (*place, a.clone()),
                BankLetter::B => (*place, b.clone()),
            })
            .collect();
        complain_of_misfits(&flash, value, context);
        return Some(flash);
    }
    let reader = Reader::of(value, &format!("the flash of {key}"), context.findings)?;
    let all = reader.value("all");
    let mut flash = FlashContents::new();
    for (name, place) in BANKS {
        match reader.value(name).or(all) {
            Some(value) => {
                flash.insert(place, bank_of(value, name, place.1, context)?);
            }
            None => context.findings.at(
                reader.span(),
                "here",
                format!("nothing is said about bank {name}"),
                format!("add {name} = \"empty\", or all = \"1.0\" for the rest"),
            ),
        }
    }
    reader.finish();
    complain_of_misfits(&flash, value, context);
    Some(flash)
}

fn complain_of_misfits(flash: &FlashContents, value: &Value<'_>, context: &Context<'_>) {
    for problem in misfits(flash, context.rig) {
        context.findings.add(problem.at(value.span(), "here"));
    }
}

/// What of `flash` a board of `rig` cannot have in its banks.
pub fn misfits(flash: &FlashContents, rig: &Rig) -> Vec<Problem> {
    let misfit = |bank: &emulator::rig::Bank| {
        let BankContents::Image { build, damage, .. } = flash.get(&(bank.level, bank.bank))? else {
            return None;
        };
        let kind = match (bank.level == 2, damage == &Some(Damage::WrongKind)) {
            (true, false) | (false, true) => Kind::L2,
            _ => Kind::L3,
        };
        let (name, room) = (bank.name(), bank.size.0);
        match build.image_bytes(kind) {
            Ok(bytes) if bytes <= room => None,
            Ok(bytes) => Some(Problem::new(
                format!("{build} in {name} has {bytes} bytes, the bank {room}"),
                "enlarge the bank in the rig file, or name another build",
            )),
            Err(problem) => Some(problem),
        }
    };
    rig.board
        .flash
        .bank_table()
        .iter()
        .filter_map(misfit)
        .collect()
}

/// Why the array of `rig` has no room for a package, if it has none.
pub fn package_misfit(package: &PackageContents, rig: &Rig) -> Option<Problem> {
    let bytes = |build: &Build, kind| build.image_bytes(kind);
    let (l2, l3) = match (bytes(&package.l2, Kind::L2), bytes(&package.l3, Kind::L3)) {
        (Ok(l2), Ok(l3)) => (l2, l3),
        (Err(problem), _) | (_, Err(problem)) => return Some(problem),
    };
    let nodes = package.nodes.as_ref().map(|build| bytes(build, Kind::Node));
    let nodes = match nodes.transpose() {
        Ok(nodes) => nodes.unwrap_or(0),
        Err(problem) => return Some(problem),
    };
    let sector = system_area::SECTOR_SIZE as u64;
    let volume = rig.shelf.volume().0 / sector;
    if volume < system_area::HOST_VOLUME_START {
        return Some(Problem::new(
            format!(
                "the array's volume of {} KiB has no room for the system area",
                volume / 2
            ),
            "enlarge `shelf.member_size` in the rig file, or say array = \"absent\"",
        ));
    }
    let area = system_area::HOST_VOLUME_START - system_area::PACKAGE_AREA_START;
    let room = area * sector;
    // Manifest and images begin at sectors.
    let images = [l2, l3, nodes].map(|bytes| bytes.next_multiple_of(sector));
    let whole = MANIFEST_SIZE as u64 + images.iter().sum::<u64>();
    (whole > room).then(|| {
        Problem::new(
            format!("a package of {whole} bytes has no room in the {room} of the system area"),
            "name another build",
        )
    })
}

fn bank_of(
    value: &Value<'_>,
    key: &str,
    letter: BankLetter,
    context: &Context<'_>,
) -> Option<BankContents> {
    let usual = usual_sequence(letter);
    if value.get_ref().as_str() == Some("empty") {
        return Some(BankContents::Empty);
    }
    if !value.get_ref().is_table() {
        return Some(BankContents::Image {
            build: build_of(value, key, context)?,
            sequence: usual,
            damage: None,
        });
    }
    let reader = Reader::of(value, &format!("bank {key}"), context.findings)?;
    let build = required_build(&reader, "build", context);
    let sequence = reader.integer("sequence", 1..=1_000_000);
    let damage = damage_of(&reader);
    reader.finish();
    Some(BankContents::Image {
        build: build?,
        sequence: sequence
            .and_then(|n| u32::try_from(n).ok())
            .unwrap_or(usual),
        damage,
    })
}

fn required_build(reader: &Reader<'_>, key: &'static str, context: &Context<'_>) -> Option<Build> {
    match reader.value(key) {
        Some(value) => build_of(value, key, context),
        None => {
            let remedy = format!("add {key} = \"1.0\"");
            context
                .findings
                .at(reader.span(), "here", format!("`{key}` is missing"), remedy);
            None
        }
    }
}

/// Reads `nodes`: images for nodes, or `none`.
fn nodes_of(value: &Value<'_>, context: &Context<'_>) -> Option<Option<Build>> {
    let text = string_of(value, "nodes", context.findings)?;
    if text == "none" {
        return Some(None);
    }
    let complain = |(what, remedy)| context.findings.at(value.span(), "here", what, remedy);
    let images = Build::parse_nodes(text, context.folder).map_err(complain);
    images.ok().map(Some)
}

/// Reads a package: one build for both levels, or level by level, perhaps damaged.
pub(super) fn package_of(
    value: &Value<'_>,
    key: &str,
    context: &Context<'_>,
) -> Option<PackageContents> {
    if let DeValue::String(_) = value.get_ref() {
        let build = build_of(value, key, context)?;
        return Some(PackageContents::of(&build));
    }
    let reader = Reader::of(value, &format!("`{key}`"), context.findings)?;
    let (l2, l3) = match reader.value("build") {
        Some(value) => {
            let build = build_of(value, "build", context);
            (build.clone(), build)
        }
        None => (
            required_build(&reader, "l2", context),
            required_build(&reader, "l3", context),
        ),
    };
    let nodes = match reader.value("nodes") {
        Some(value) => nodes_of(value, context)?,
        None => l3.as_ref().and_then(Build::node_images),
    };
    let damage = damage_of(&reader);
    reader.finish();
    Some(PackageContents {
        l2: l2?,
        l3: l3?,
        nodes,
        damage,
    })
}

/// Reads `L2A` …
pub(super) fn bank_name(
    text: &str,
    value: &Value<'_>,
    findings: &Findings,
) -> Option<(u8, BankLetter)> {
    crate::files::word_of(text, value.span(), "bank", &BANKS, findings)
}
