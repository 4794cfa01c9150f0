use emulator::rig::Slot;

use super::super::action::{Action, BoardSource};
use super::super::contents::flash_of;
use super::super::load::{Context, read_straps};
use super::Verb;
use crate::files::Reader;

pub(super) const PULL: Verb = Verb {
    key: "pull",
    help: "pulls the board out of a slot, running or not",
    example: "{ pull = \"B\" }",
    read: read_pull,
};
pub(super) const INSERT: Verb = Verb {
    key: "insert",
    help: "puts a board into an empty slot; without `flash`, the one of that serial pulled before",
    example: "{ insert = \"B\", serial = \"SPARE-1\", flash = \"1.1\" }",
    read: read_insert,
};
pub(super) const SWAP: Verb = Verb {
    key: "swap",
    help: "pulls a board and inserts another; `flash` is one build, or says it bank by bank; `straps` are its own",
    example: "{ swap = \"B\", serial = \"SPARE-1\", flash = { all = \"1.0\", L3A = { build = \"2.0\", damage = \"bit-flips\" } } }",
    read: read_swap,
};

/// Length of the serial field in the board-control configuration space, less its NUL.
const SERIAL_MAX: usize = 15;

/// The one slot of `key`.
pub(super) fn slot(reader: &Reader<'_>, key: &'static str, context: &Context<'_>) -> Option<Slot> {
    let text = reader.string(key)?;
    known(text, context).or_else(|| {
        complain(reader, key, text, context);
        None
    })
}

/// The slots of `key`: one, or an array of them.
pub(super) fn slots(
    reader: &Reader<'_>,
    key: &'static str,
    context: &Context<'_>,
) -> Option<Vec<Slot>> {
    let mut found = Vec::new();
    for (text, _) in reader.strings(key) {
        match known(text, context) {
            Some(slot) if !found.contains(&slot) => found.push(slot),
            Some(_) => reader.complain(key, format!("slot {text} is named twice"), "name it once"),
            None => {
                complain(reader, key, text, context);
                return None;
            }
        }
    }
    (!found.is_empty()).then_some(found)
}

/// The slots of `board`, noting where it is absent.
pub(super) fn required_slots(reader: &Reader<'_>, context: &Context<'_>) -> Option<Vec<Slot>> {
    if !reader.has("board") {
        reader.findings().at(
            reader.span(),
            "here",
            "this step does not say which board",
            "add e.g. board = \"A\", or board = [\"A\", \"B\"]",
        );
        return None;
    }
    slots(reader, "board", context)
}

pub(super) fn known(text: &str, context: &Context<'_>) -> Option<Slot> {
    text.parse::<Slot>()
        .ok()
        .filter(|slot| slot.index() < context.rig.slots)
}

fn complain(reader: &Reader<'_>, key: &'static str, text: &str, context: &Context<'_>) {
    reader.complain(
        key,
        format!("this rig has no slot \"{text}\""),
        slots_remedy(context),
    );
}

pub(super) fn slots_remedy(context: &Context<'_>) -> String {
    let names: Vec<String> = context.rig.slots().map(|slot| slot.to_string()).collect();
    format!("slots of rig {}: {}", context.rig.name, names.join(", "))
}

fn read_pull(reader: &Reader<'_>, context: &Context<'_>) -> Option<Action> {
    Some(Action::Pull(slot(reader, "pull", context)?))
}

fn read_insert(reader: &Reader<'_>, context: &Context<'_>) -> Option<Action> {
    let slot = slot(reader, "insert", context);
    let board = board(reader, context);
    Some(Action::Insert(slot?, board?))
}

fn read_swap(reader: &Reader<'_>, context: &Context<'_>) -> Option<Action> {
    let slot = slot(reader, "swap", context);
    let board = board(reader, context);
    Some(Action::Swap(slot?, board?))
}

fn board(reader: &Reader<'_>, context: &Context<'_>) -> Option<BoardSource> {
    let serial = reader.required("serial", SERIAL_MAX, "add e.g. serial = \"SPARE-1\"");
    if serial.is_some_and(|serial| !serial.bytes().all(|b| b.is_ascii_graphic())) {
        reader.complain(
            "serial",
            "a serial number is printable ASCII",
            "leave out blanks and accents",
        );
    }
    let flash = match reader.value("flash") {
        Some(value) => Some(flash_of(value, "the board", context)?),
        None => None,
    };
    let straps = reader
        .has("straps")
        .then(|| read_straps(reader, context.rig));
    Some(BoardSource {
        serial: serial?.to_owned(),
        flash,
        straps,
    })
}
