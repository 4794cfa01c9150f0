//! What is in flash and on the array before the first instruction, and how it may be damaged.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use emulator::rig::{BankLetter, Slot};
use toml::de::DeValue;

use crate::files::{Findings, Reader, Value, nearest, string_of};

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
    /// What is wrong with it.
    pub damage: Option<Damage>,
}

/// Where an image comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Build {
    /// A build of the reference firmware.
    Reference(String),
    /// A file of somebody's own.
    File(PathBuf),
}

/// Builds of the reference firmware. The last ones are known to be bad.
pub const REFERENCE_BUILDS: [&str; 9] = [
    "1.0",
    "1.1",
    "2.0",
    "1.0-iscsi",
    "2.0-iscsi",
    "2.0-crash",
    "2.0-hang",
    "2.0-mute",
    "2.0-brick",
];

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

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Build::Reference(name) => f.write_str(name),
            Build::File(path) => path.display().fmt(f),
        }
    }
}

impl Build {
    /// A build by name, or a file (recognised by a `/`) relative to `folder`.
    ///
    /// # Errors
    /// What is wrong, and the remedy.
    pub fn parse(text: &str, folder: &Path) -> Result<Build, (String, String)> {
        if text.contains('/') {
            let path = folder.join(text);
            return match path.is_file() {
                true => Ok(Build::File(path)),
                false => Err((
                    format!("there is no file {}", path.display()),
                    "check the path; it is relative to the file that names it".to_owned(),
                )),
            };
        }
        if REFERENCE_BUILDS.contains(&text) {
            return Ok(Build::Reference(text.to_owned()));
        }
        let remedy = match nearest(text, REFERENCE_BUILDS) {
            // Another version number is no slip of a finger.
            Some(meant) if text.contains('-') => format!("did you mean \"{meant}\"?"),
            _ => format!(
                "builds are {}; a file of your own is named with a `/`: \"./my.img\"",
                REFERENCE_BUILDS.join(", ")
            ),
        };
        Err((format!("there is no build \"{text}\""), remedy))
    }
}

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
                _ => package_of(value, "array", context).map(ArrayContents::Package),
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
        return Some(
            BANKS
                .iter()
                .map(|(_, place)| match place.1 {
                    BankLetter::A => (*place, a.clone()),
                    BankLetter::B => (*place, b.clone()),
                })
                .collect(),
        );
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
    Some(flash)
}

fn bank_of(
    value: &Value<'_>,
    key: &str,
    letter: BankLetter,
    context: &Context<'_>,
) -> Option<BankContents> {
    let usual = USUAL_SEQUENCE.iter().find(|(known, _)| *known == letter);
    let usual = usual.map_or(1, |(_, sequence)| *sequence);
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

/// Reads a package: one build for both levels, or level by level, perhaps damaged.
pub(super) fn package_of(
    value: &Value<'_>,
    key: &str,
    context: &Context<'_>,
) -> Option<PackageContents> {
    if let DeValue::String(_) = value.get_ref() {
        let build = build_of(value, key, context)?;
        return Some(PackageContents {
            l2: build.clone(),
            l3: build,
            damage: None,
        });
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
    let damage = damage_of(&reader);
    reader.finish();
    Some(PackageContents {
        l2: l2?,
        l3: l3?,
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
