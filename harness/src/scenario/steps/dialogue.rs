use std::collections::BTreeSet;

use emulator::rig::{Bytes, Slot, Span};

use super::super::action::{Action, Answer, BoardState, ConsoleStep, HostAction, Workload};
use super::super::load::Context;
use super::super::pattern::EventPattern;
use super::super::socket::{Socket, nodes_named};
use super::Verb;
use super::boards::{required_sockets, slot};
use crate::files::Reader;

pub(super) const CONSOLE: Verb = Verb {
    key: "console",
    help: "types a line on a board's console; `expect` is part of an answer, `lines` all of it, with neither \
           the next step follows when whatever was answered is complete, with `later = true` at once",
    example: "{ console = \"ver\", board = \"A\", expect = \"system version 2.0\" }",
    read: read_console,
};
pub(super) const AWAIT: Verb = Verb {
    key: "await",
    help: "waits until boards are booting, operational, error, crashed, hung, held, off or absent, or nodes \
           minimal, which is to run their boot ROM alone; a reset typed on a console comes later than its answer: wait \
           for the event `reset` first",
    example: "{ await = \"operational\", board = [\"A\", \"B\"], version = \"2.0\", within = \"120s\" }",
    read: read_await,
};
pub(super) const AWAIT_EVENT: Verb = Verb {
    key: "await_event",
    help: "waits for an event that comes after this step began",
    example: "{ await_event = \"A: reflash-started level=3\", within = \"60s\" }",
    read: read_await_event,
};
pub(super) const AWAIT_TEXT: Verb = Verb {
    key: "await_text",
    help: "waits for text on a board's console, in a line that need not be complete (a prompt), behind what was \
           last waited for or typed there",
    example: "{ await_text = \"=> \", board = \"A\", within = \"60s\" }",
    read: read_await_text,
};
pub(super) const WAIT: Verb = Verb {
    key: "wait",
    help: "lets virtual time pass (real time where boards run freely)",
    example: "{ wait = \"5s\" }",
    read: read_wait,
};
pub(super) const HOST: Verb = Verb {
    key: "host",
    help: "starts or stops host I/O, or verifies that everything acknowledged reads back",
    example: "{ host = \"start\", rate = 500, write_percent = 60, block = \"4KiB\", area = \"2MiB\", seed = 7 }",
    read: read_host,
};
pub(super) const CHECKPOINT: Verb = Verb {
    key: "checkpoint",
    help: "keeps the whole array under a name",
    example: "{ checkpoint = \"before\" }",
    read: read_checkpoint,
};
pub(super) const RESTORE: Verb = Verb {
    key: "restore",
    help: "brings a kept array back, media and clock included; what is undone stays in the timeline, but \
           no question counts it",
    example: "{ restore = \"before\" }",
    read: read_restore,
};
pub(super) const NOTE: Verb = Verb {
    key: "note",
    help: "writes a line into the timeline; `since` of an expect step can name it",
    example: "{ note = \"upgrade begins\" }",
    read: read_note,
};

const WITHIN_USUAL: Span = Span::from_millis(120_000);
const WITHIN_MAX: Span = Span::from_millis(24 * 3_600_000);
const LINE_MAX: usize = 200;
const NOTE_MAX: usize = 120;

/// The time-out of a step.
pub(super) fn within(reader: &Reader<'_>) -> Span {
    span(reader, "within").unwrap_or(WITHIN_USUAL)
}

fn span(reader: &Reader<'_>, key: &'static str) -> Option<Span> {
    let span: Span = reader.parsed(key)?;
    if span > WITHIN_MAX || span == Span::default() {
        reader.complain(
            key,
            format!("`{key}` is more than 0s and at most 24h"),
            "choose a span between",
        );
        return None;
    }
    Some(span)
}

/// The board whose console is meant and the time-out, with complaints about a text of several lines.
fn at_console(
    reader: &Reader<'_>,
    context: &Context<'_>,
    key: &'static str,
    text: Option<&str>,
    rule: &str,
) -> (Option<Slot>, Span) {
    if text.is_some_and(|text| text.chars().any(char::is_control)) {
        reader.complain(key, rule, "use a step for each line");
    }
    if !reader.has("board") {
        let remedy = "add e.g. board = \"A\"";
        reader.complain(key, "a console belongs to a board", remedy);
    }
    (slot(reader, "board", context), within(reader))
}

fn read_console(reader: &Reader<'_>, context: &Context<'_>) -> Option<Action> {
    let free = context.rig.board.machine.runs_freely();
    let line = match reader.string("console") {
        // A key to go on with: the firmware of others asks for one.
        Some("") if free => Some(""),
        _ => reader.required("console", LINE_MAX, "type a command such as \"ver\""),
    };
    let (board, within) = at_console(reader, context, "console", line, "one step types one line");
    let later = reader.flag("later").unwrap_or(false);
    let lines: Vec<String> = reader
        .strings("lines")
        .into_iter()
        .map(|(line, _)| line.to_owned())
        .collect();
    let answer = match (reader.has("expect"), reader.has("lines")) {
        (asked, again) if later && (asked || again) => {
            reader.complain(
                "later",
                "an answer that is waited for does not come later",
                "drop `later`, or what should come back",
            );
            None
        }
        (true, true) => {
            reader.complain(
                "lines",
                "`expect` and `lines` both say what comes back",
                "keep one of them",
            );
            None
        }
        (true, false) => reader
            .required(
                "expect",
                LINE_MAX,
                "say a part of the line that should come back",
            )
            .map(|text| Answer::Contains(text.to_owned())),
        (false, true) if lines.is_empty() => {
            reader.complain(
                "lines",
                "no lines at all would always come back",
                "say at least one",
            );
            None
        }
        (false, true) => Some(Answer::Lines(lines)),
        (false, false) if later => Some(Answer::Later),
        (false, false) => Some(Answer::Unasked),
    };
    if free {
        check_free_answer(reader, line, answer.as_ref());
    }
    Some(Action::Console(ConsoleStep {
        board: board?,
        line: line?.to_owned(),
        answer: answer?,
        within,
    }))
}

/// What says nothing where a board answers in real time, and may send back what is typed.
fn check_free_answer(reader: &Reader<'_>, line: Option<&str>, answer: Option<&Answer>) {
    match answer {
        Some(Answer::Unasked) => reader.complain(
            "console",
            "a board that runs freely answers when it likes, so nobody knows when it has",
            "add `expect` or `lines`, or later = true and a step that waits for text",
        ),
        Some(Answer::Contains(part)) if line.is_some_and(|line| line.contains(part)) => reader
            .complain(
                "expect",
                "the echo of the line that is typed would do",
                "say a part of the answer that is not in it",
            ),
        _ => {}
    }
}

fn read_await(reader: &Reader<'_>, context: &Context<'_>) -> Option<Action> {
    let mut words = BoardState::ALL.to_vec();
    words.push(("minimal", BoardState::Minimal));
    let state = reader.word("await", &words);
    let boards = required_sockets(reader, context);
    let within = within(reader);
    let version = match reader.has("version") {
        true => reader.required("version", 32, "say e.g. version = \"2.0\""),
        false => None,
    };
    if version.is_some() && state != Some(BoardState::Operational) {
        reader.complain(
            "version",
            "only an operational board runs a version",
            "await \"operational\"",
        );
    }
    let never = |board: &Socket| match board {
        Socket::Slot(_) => state == Some(BoardState::Minimal),
        Socket::Node(_) => state == Some(BoardState::Held),
    };
    if boards.iter().flatten().any(never) {
        reader.complain(
            "await",
            "one of these boards is never that",
            "nodes alone are ever minimal, and controllers alone are held",
        );
    }
    Some(Action::Await {
        state: state?,
        boards: boards?,
        version: version.map(str::to_owned),
        within,
    })
}

/// Reads an event pattern out of `text`, noting at `span` where it is none.
pub(super) fn pattern(
    text: &str,
    span: std::ops::Range<usize>,
    context: &Context<'_>,
) -> Option<EventPattern> {
    let rig = context.rig;
    let places = |word: &str| {
        let mut known: Vec<String> = rig.slots().map(|slot| slot.to_string()).collect();
        known.extend(["shelf", "can"].map(str::to_owned));
        if known.iter().any(|place| place == word) {
            return Ok(BTreeSet::from([word.to_owned()]));
        }
        let Some(meant) = nodes_named(word, rig) else {
            known.extend(rig.nodes().map(|node| node.name));
            return Err(known);
        };
        let nodes = (0..).zip(rig.nodes());
        let meant = nodes.filter(|(index, _)| meant.contains(index));
        Ok(meant.map(|(_, node)| node.name).collect())
    };
    let pattern = EventPattern::parse(text, places, &context.events);
    pattern
        .map_err(|(what, remedy)| context.findings.at(span, "here", what, remedy))
        .ok()
}

fn read_await_event(reader: &Reader<'_>, context: &Context<'_>) -> Option<Action> {
    let text = reader.string("await_event");
    let found = text.and_then(|text| pattern(text, reader.span_of("await_event"), context));
    let nth = reader.integer("nth", 1..=100_000).unwrap_or(1);
    let within = within(reader);
    Some(Action::AwaitEvent {
        pattern: found?,
        nth: u32::try_from(nth).ok()?,
        within,
    })
}

fn read_await_text(reader: &Reader<'_>, context: &Context<'_>) -> Option<Action> {
    let text = reader.required("await_text", LINE_MAX, "say a part of the line to wait for");
    let rule = "text is waited for within one line";
    let (board, within) = at_console(reader, context, "await_text", text, rule);
    Some(Action::AwaitText {
        text: text?.to_owned(),
        board: board?,
        within,
    })
}

fn read_wait(reader: &Reader<'_>, _: &Context<'_>) -> Option<Action> {
    span(reader, "wait").map(Action::Wait)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum HostVerb {
    Start,
    Stop,
    Verify,
}

fn read_host(reader: &Reader<'_>, _: &Context<'_>) -> Option<Action> {
    let words = [
        ("start", HostVerb::Start),
        ("stop", HostVerb::Stop),
        ("verify", HostVerb::Verify),
    ];
    Some(Action::Host(match reader.word("host", &words)? {
        HostVerb::Start => HostAction::Start(workload(reader)?),
        HostVerb::Stop => HostAction::Stop,
        HostVerb::Verify => HostAction::Verify,
    }))
}

// The limits keep one step from asking for more work than a run can do: at most 100 commands in a
// virtual millisecond, and the 8 KiB of data that one command of the transport carries.
const RATE_MAX: u64 = 100_000;
const BLOCK_MAX: u64 = 8 << 10;
const AREA_MAX: u64 = 1 << 30;
const SECTOR: u64 = 512;

fn workload(reader: &Reader<'_>) -> Option<Workload> {
    let small = |key, bounds, usual| {
        let n = reader.integer(key, bounds).unwrap_or(usual);
        u32::try_from(n).unwrap_or(u32::MAX)
    };
    let rate = small("rate", 1..=RATE_MAX, 200);
    let write_percent = small("write_percent", 0..=100, 50);
    let lun = small("lun", 0..=0, 0);
    let seed = reader.integer("seed", 0..=u64::MAX).unwrap_or(1);
    let block: Bytes = reader.parsed("block").unwrap_or(Bytes::kib(4));
    let area: Bytes = reader.parsed("area").unwrap_or(Bytes::mib(1));
    let path_timeout = span(reader, "path_timeout").unwrap_or(Span::from_millis(1_000));
    if block.0 == 0 || block.0 > BLOCK_MAX || !block.0.is_multiple_of(SECTOR) {
        reader.complain(
            "block",
            "a block is a multiple of 512 bytes, at most 8KiB",
            "say e.g. 4KiB",
        );
        return None;
    }
    if area.0 < block.0 || area.0 > AREA_MAX || !area.0.is_multiple_of(block.0) {
        reader.complain(
            "area",
            "the area is a whole number of blocks, at most 1GiB",
            "say e.g. 1MiB",
        );
        return None;
    }
    Some(Workload {
        rate,
        write_percent,
        block_bytes: u32::try_from(block.0).ok()?,
        area_bytes: area.0,
        lun,
        path_timeout,
        seed,
    })
}

fn read_checkpoint(reader: &Reader<'_>, context: &Context<'_>) -> Option<Action> {
    let name = reader.required("checkpoint", NOTE_MAX, "give it a name")?;
    if context.rig.board.machine.runs_freely() {
        reader.complain(
            "checkpoint",
            "boards of this rig run freely, and real time does not go back",
            "play what should happen twice in a scenario each",
        );
    }
    context.checkpoints.borrow_mut().push(name.to_owned());
    Some(Action::Checkpoint(name.to_owned()))
}

fn read_restore(reader: &Reader<'_>, context: &Context<'_>) -> Option<Action> {
    let name = reader.required("restore", NOTE_MAX, "name a checkpoint")?;
    if !context
        .checkpoints
        .borrow()
        .iter()
        .any(|known| known == name)
    {
        reader.complain(
            "restore",
            format!("no earlier step keeps a checkpoint \"{name}\""),
            format!("add {{ checkpoint = \"{name}\" }} before it"),
        );
        return None;
    }
    Some(Action::Restore(name.to_owned()))
}

fn read_note(reader: &Reader<'_>, context: &Context<'_>) -> Option<Action> {
    let text = reader.required("note", NOTE_MAX, "write what the reader should know")?;
    let mut notes = context.notes.borrow_mut();
    if notes.iter().any(|known| known == text) {
        reader.complain(
            "note",
            "an earlier note says the same",
            "word it differently, so that `since` can tell",
        );
    }
    notes.push(text.to_owned());
    Some(Action::Note(text.to_owned()))
}
