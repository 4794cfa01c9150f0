use emulator::rig::Slot;

use super::super::action::{Action, BoardSource};
use super::super::contents::flash_of;
use super::super::load::{Context, read_straps};
use super::super::socket::{NODE_GROUPS, Socket, nodes_named};
use super::Verb;
use crate::files::Reader;

pub(super) const PULL: Verb = Verb {
    key: "pull",
    help: "pulls the board out of its slot, or a node out of its place, running or not",
    example: "{ pull = \"B\" }",
    read: read_pull,
};
pub(super) const INSERT: Verb = Verb {
    key: "insert",
    help: "puts a board into an empty slot or place; without `flash`, the one of that serial pulled before; a node \
           needs none",
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
    several(reader, key, |text| {
        let found = known(text, context).map(|slot| vec![slot]);
        if found.is_none() {
            complain(reader, key, text, context);
        }
        found
    })
}

/// The boards of `key`, controllers and nodes: one, or an array of them.
pub(super) fn sockets(
    reader: &Reader<'_>,
    key: &'static str,
    context: &Context<'_>,
) -> Option<Vec<Socket>> {
    several(reader, key, |text| {
        let found = named(text, context);
        if found.is_none() {
            complain_of_board(reader, key, text, context);
        }
        found
    })
}

fn several<T: PartialEq>(
    reader: &Reader<'_>,
    key: &'static str,
    read: impl Fn(&str) -> Option<Vec<T>>,
) -> Option<Vec<T>> {
    let mut found = Vec::new();
    for (text, _) in reader.strings(key) {
        for one in read(text)? {
            if found.contains(&one) {
                let what = format!("`{text}` names a board that is named already");
                reader.complain(key, what, "name it once");
                return None;
            } else {
                found.push(one);
            }
        }
    }
    (!found.is_empty()).then_some(found)
}

/// The boards that a word stands for.
pub(super) fn named(text: &str, context: &Context<'_>) -> Option<Vec<Socket>> {
    let nodes = || nodes_named(text, context.rig);
    let one = Socket::of(text, context.rig).map(|socket| vec![socket]);
    one.or_else(|| nodes().map(|nodes| nodes.into_iter().map(Socket::Node).collect()))
}

/// The one board of `key`.
pub(super) fn socket(
    reader: &Reader<'_>,
    key: &'static str,
    context: &Context<'_>,
) -> Option<Socket> {
    let text = reader.string(key)?;
    let found = Socket::of(text, context.rig);
    if found.is_none() {
        complain_of_board(reader, key, text, context);
    }
    found
}

/// The boards of `board`, noting where it is absent.
pub(super) fn required_sockets(reader: &Reader<'_>, context: &Context<'_>) -> Option<Vec<Socket>> {
    has_board(reader).then(|| sockets(reader, "board", context))?
}

/// The slots of `board`, noting where it is absent.
pub(super) fn required_slots(reader: &Reader<'_>, context: &Context<'_>) -> Option<Vec<Slot>> {
    has_board(reader).then(|| slots(reader, "board", context))?
}

fn has_board(reader: &Reader<'_>) -> bool {
    if !reader.has("board") {
        reader.findings().at(
            reader.span(),
            "here",
            "this step does not say which board",
            "add e.g. board = \"A\", or board = [\"A\", \"B\"]",
        );
    }
    reader.has("board")
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

fn complain_of_board(reader: &Reader<'_>, key: &'static str, text: &str, context: &Context<'_>) {
    if context.rig.nodes.is_empty() {
        return complain(reader, key, text, context);
    }
    let what = format!("this rig has no board \"{text}\"");
    reader.complain(key, what, nodes_remedy(context));
}

/// What boards there are where there are nodes.
pub(super) fn nodes_remedy(context: &Context<'_>) -> String {
    let groups = context.rig.nodes.iter().map(|group| match group.count {
        1 => group.name.clone(),
        count => format!("{0}-1 to {0}-{count}", group.name),
    });
    let groups: Vec<String> = groups.collect();
    format!(
        "{}; its nodes: {}; {NODE_GROUPS}",
        slots_remedy(context),
        groups.join(", ")
    )
}

pub(super) fn slots_remedy(context: &Context<'_>) -> String {
    let names: Vec<String> = context.rig.slots().map(|slot| slot.to_string()).collect();
    format!("slots of rig {}: {}", context.rig.name, names.join(", "))
}

fn read_pull(reader: &Reader<'_>, context: &Context<'_>) -> Option<Action> {
    Some(Action::Pull(socket(reader, "pull", context)?))
}

fn read_insert(reader: &Reader<'_>, context: &Context<'_>) -> Option<Action> {
    let socket = socket(reader, "insert", context);
    let board = board(reader, socket, context);
    Some(Action::Insert(socket?, board?))
}

fn read_swap(reader: &Reader<'_>, context: &Context<'_>) -> Option<Action> {
    let socket = socket(reader, "swap", context);
    let board = board(reader, socket, context);
    Some(Action::Swap(socket?, board?))
}

fn board(
    reader: &Reader<'_>,
    socket: Option<Socket>,
    context: &Context<'_>,
) -> Option<BoardSource> {
    if let Some(Socket::Node(_)) = socket {
        for key in ["flash", "straps"].iter().filter(|key| reader.has(key)) {
            let what = "a node keeps nothing, and its place tells it what it is";
            reader.complain(key, what, format!("leave out `{key}`"));
        }
    }
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
