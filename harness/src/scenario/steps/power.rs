use devices::power::{OperationKind, Shape};
use emulator::rig::{Span, Unit};

use super::super::action::{Action, Cut, DeviceRef, Trigger};
use super::super::load::Context;
use super::super::socket::{Socket, nodes_named};
use super::Verb;
use super::boards::{required_sockets, sockets};
use super::dialogue::within;
use crate::files::{Reader, nearest};

pub(super) const POWER: Verb = Verb {
    key: "power",
    help: "switches power on or off (devices end what they are at); `board` or `domain` says where, else \
           the whole chassis",
    example: "{ power = \"on\", board = \"A\" }",
    read: read_power,
};
pub(super) const CUT: Verb = Verb {
    key: "cut",
    help: "takes power from a domain, at once or `at` an operation; one that never fires fails the run",
    example: "{ cut = \"A\", at = { device = \"A.flash0\", op = \"program\", nth = 40, shape = \"torn\" } }",
    read: read_cut,
};
pub(super) const AWAIT_CUTS: Verb = Verb {
    key: "await_cuts",
    help: "waits until every cut armed with `background = true` has fired",
    example: "{ await_cuts = true, within = \"60s\" }",
    read: read_await_cuts,
};
pub(super) const RESET: Verb = Verb {
    key: "reset",
    help: "presses the reset button of boards, of nodes too: warm keeps RAM, cold does not; neither is a power cut",
    example: "{ reset = \"cold\", board = [\"A\", \"B\"] }",
    read: read_reset,
};

const SHAPES: [(&str, Shape); 3] = [
    ("lost", Shape::Lost),
    ("torn", Shape::Torn),
    ("done", Shape::Done),
];
const OPERATIONS: [(&str, OperationKind); 5] = [
    ("program", OperationKind::Program),
    ("erase", OperationKind::Erase),
    ("member-write", OperationKind::MemberWrite),
    ("flush", OperationKind::Flush),
    ("can-frame", OperationKind::CanFrame),
];
const NTH_MAX: u64 = 10_000_000;
/// What a chip or a member disk can have at most.
const ADDRESS_MAX: u64 = 1 << 40;

fn read_power(reader: &Reader<'_>, context: &Context<'_>) -> Option<Action> {
    let on = reader.word("power", &[("on", true), ("off", false)]);
    let boards = sockets(reader, "board", context);
    let units = match (reader.has("board"), reader.has("domain")) {
        (true, true) => {
            reader.complain(
                "domain",
                "`board` and `domain` both say where",
                "keep one of them",
            );
            None
        }
        (true, false) => boards.map(|boards| boards.into_iter().map(Socket::unit).collect()),
        (false, true) => {
            let name = reader.string("domain")?;
            domain(reader, "domain", name, context)
        }
        (false, false) => context.rig.domain("chassis"),
    };
    Some(Action::Power {
        on: on?,
        units: units?,
    })
}

fn domain(
    reader: &Reader<'_>,
    key: &'static str,
    name: &str,
    context: &Context<'_>,
) -> Option<Vec<Unit>> {
    let nodes = || nodes_named(name, context.rig);
    let units = context.rig.domain(name);
    let units = units.or_else(|| nodes().map(|nodes| nodes.into_iter().map(Unit::Node).collect()));
    if units.is_none() {
        let known = context.rig.domain_names();
        let remedy = match nearest(name, known.iter().map(String::as_str)) {
            Some(meant) if meant.len() > 1 => format!("did you mean \"{meant}\"?"),
            _ => format!("domains of this rig: {}", known.join(", ")),
        };
        reader.complain(key, format!("there is no power domain \"{name}\""), remedy);
    }
    units
}

fn read_cut(reader: &Reader<'_>, context: &Context<'_>) -> Option<Action> {
    let name = reader.string("cut");
    let units = name.and_then(|name| domain(reader, "cut", name, context));
    let background = reader.flag("background").unwrap_or(false);
    let within = within(reader);
    let (at, shape) = match reader.has("at") {
        true => {
            if reader.has("shape") {
                reader.complain(
                    "shape",
                    "with `at`, the shape stands inside it",
                    "move it into `at`",
                );
            }
            let at = reader.table("at")?;
            let (trigger, shape) = read_trigger(&at, context);
            at.finish();
            (Some(trigger?), shape)
        }
        false => {
            if background {
                reader.complain(
                    "background",
                    "a cut at once cannot wait in the background",
                    "add `at`",
                );
            }
            (None, reader.word("shape", &SHAPES))
        }
    };
    Some(Action::Cut(Cut {
        domain: name?.to_owned(),
        units: units?,
        shape: shape.unwrap_or_default(),
        at,
        within,
        background,
    }))
}

fn read_trigger(at: &Reader<'_>, context: &Context<'_>) -> (Option<Trigger>, Option<Shape>) {
    let device = at
        .required("device", 40, "add e.g. device = \"A.flash0\"")
        .and_then(|text| device(at, text, context));
    let operation = at.word("op", &OPERATIONS);
    let nth = at.integer("nth", 1..=NTH_MAX).unwrap_or(1);
    let address = at.integer("address", 0..=ADDRESS_MAX);
    let shape = at.word("shape", &SHAPES);
    if let (Some(device), Some(operation)) = (device, operation) {
        let fits = match operation {
            OperationKind::Program | OperationKind::Erase => {
                matches!(device, DeviceRef::Flash { .. })
            }
            OperationKind::MemberWrite | OperationKind::Flush => {
                matches!(device, DeviceRef::Shelf { .. })
            }
            OperationKind::CanFrame => matches!(device, DeviceRef::Can { .. }),
        };
        if !fits {
            at.complain(
                "op",
                format!("this device never does a {}", operation.as_str()),
                "flash chips program and erase; the shelf does member-write and flush; on can there are can-frames",
            );
        }
    }
    if at.has("address") && matches!(device, Some(DeviceRef::Can { .. })) {
        at.complain("address", "a frame has no address", "count with `nth`");
    }
    let trigger = device.map(|device| Trigger {
        device,
        operation,
        address,
        nth: u32::try_from(nth).unwrap_or(u32::MAX),
    });
    (trigger, shape)
}

fn device(reader: &Reader<'_>, text: &str, context: &Context<'_>) -> Option<DeviceRef> {
    // Frames are those of the board in whose name they are asked for.
    let sender = text.strip_suffix(".can");
    let sender = sender.and_then(|name| Socket::of(name, context.rig));
    let frames = sender.map(|sender| DeviceRef::Can {
        sender: Some(sender.can_node(context.rig)),
    });
    let found = frames
        .or_else(|| text.parse().ok())
        .filter(|device| match *device {
            DeviceRef::Flash { board, chip } => {
                board.index() < context.rig.slots
                    && chip.is_none_or(|chip| chip < context.rig.board.flash.chips)
            }
            DeviceRef::Shelf { member } => {
                let shelf = &context.rig.shelf;
                member.is_none_or(|member| member < shelf.members + shelf.spares)
            }
            DeviceRef::Can { sender } => {
                let boards = context.rig.slots().count() + context.rig.nodes().count();
                !context.rig.can.segments.is_empty()
                    && sender.is_none_or(|it| usize::from(it) < boards)
            }
        });
    if found.is_none() {
        reader.complain(
            "device",
            format!("this rig has no device \"{text}\""),
            "devices are e.g. A.flash0, A.flash (both chips), shelf.disk2, shelf (all of it), can (every frame on \
             it), A.can (the frames that board sends)",
        );
    }
    found
}

fn read_await_cuts(reader: &Reader<'_>, _: &Context<'_>) -> Option<Action> {
    if reader.flag("await_cuts") == Some(false) {
        reader.complain(
            "await_cuts",
            "`await_cuts` is either true or not there",
            "remove the step",
        );
    }
    let within: Span = within(reader);
    Some(Action::AwaitCuts { within })
}

fn read_reset(reader: &Reader<'_>, context: &Context<'_>) -> Option<Action> {
    let warm = reader.word("reset", &[("warm", true), ("cold", false)]);
    let boards = required_sockets(reader, context);
    Some(Action::Reset {
        warm: warm?,
        boards: boards?,
    })
}
