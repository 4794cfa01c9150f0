use emulator::board::DEVICE_NAMES;
use emulator::rig::Slot;

use super::super::action::{Action, BoardFault, DeviceRef, DiskAction, FlashFault, LinkName};
use super::super::contents::{bank_name, package_of};
use super::super::load::Context;
use super::super::socket::Socket;
use super::Verb;
use super::boards::{required_slots, required_sockets, slots};
use crate::files::Reader;

pub(super) const MEDIA: Verb = Verb {
    key: "media",
    help: "puts a package into the service slot (of every board, or of `board`), or ejects it",
    example: "{ media = \"insert\", package = { build = \"2.0\", damage = \"truncated\" } }",
    read: read_media,
};
pub(super) const DISK: Verb = Verb {
    key: "disk",
    help: "fails or replaces a member disk, or scrubs the shelf",
    example: "{ disk = \"fail\", member = 2 }",
    read: read_disk,
};
pub(super) const FLASH_FAULT: Verb = Verb {
    key: "flash_fault",
    help: "breaks a chip: dead, wrong-id, stuck-bit (address, bit, value) or rot (bank, bits)",
    example: "{ flash_fault = \"stuck-bit\", chip = \"A.flash1\", address = 0x20010, bit = 3, value = 0 }",
    read: read_flash_fault,
};
pub(super) const BOARD_FAULT: Verb = Verb {
    key: "board_fault",
    help: "breaks a board, a node too, from its next reset on: device-missing (device), rom-byte (address); or mended",
    example: "{ board_fault = \"device-missing\", board = \"A\", device = \"console\" }",
    read: read_board_fault,
};
pub(super) const LINK: Verb = Verb {
    key: "link",
    help: "pulls or plugs a board's backplane or host link, or a cable of the CAN bus by its name in the rig",
    example: "{ link = \"host\", board = \"A\", to = \"down\" }",
    read: read_link,
};

fn read_media(reader: &Reader<'_>, context: &Context<'_>) -> Option<Action> {
    let insert = reader.word("media", &[("insert", true), ("eject", false)]);
    let boards = match reader.has("board") {
        true => slots(reader, "board", context),
        false => Some(context.rig.slots().collect()),
    };
    let package = match (insert?, reader.value("package")) {
        (true, Some(value)) => Some(package_of(value, "package", context)?),
        (true, None) => {
            reader.complain(
                "media",
                "nothing is said about what to insert",
                "add e.g. package = \"2.0\"",
            );
            return None;
        }
        (false, Some(_)) => {
            reader.complain("package", "ejecting needs no package", "remove it");
            return None;
        }
        (false, None) => None,
    };
    Some(Action::Media {
        package,
        boards: boards?,
    })
}

#[derive(Clone, Copy)]
enum DiskVerb {
    Fail,
    Replace,
    Scrub,
}

fn read_disk(reader: &Reader<'_>, context: &Context<'_>) -> Option<Action> {
    let words = [
        ("fail", DiskVerb::Fail),
        ("replace", DiskVerb::Replace),
        ("scrub", DiskVerb::Scrub),
    ];
    let verb = reader.word("disk", &words)?;
    if let DiskVerb::Scrub = verb {
        return Some(Action::Disk(DiskAction::Scrub));
    }
    let disks = u64::from(context.rig.shelf.members + context.rig.shelf.spares);
    if !reader.has("member") {
        reader.complain(
            "disk",
            "nothing is said about which disk",
            "add e.g. member = 2; they count from 0",
        );
    }
    let member = reader.integer("member", 0..=disks.saturating_sub(1))?;
    let member = u32::try_from(member).ok()?;
    Some(Action::Disk(match verb {
        DiskVerb::Replace => DiskAction::Replace(member),
        _ => DiskAction::Fail(member),
    }))
}

#[derive(Clone, Copy)]
enum FaultVerb {
    Dead,
    WrongIdentity,
    StuckBit,
    Rot,
}

fn read_flash_fault(reader: &Reader<'_>, context: &Context<'_>) -> Option<Action> {
    let words = [
        ("dead", FaultVerb::Dead),
        ("wrong-id", FaultVerb::WrongIdentity),
        ("stuck-bit", FaultVerb::StuckBit),
        ("rot", FaultVerb::Rot),
    ];
    let verb = reader.word("flash_fault", &words)?;
    if let FaultVerb::Rot = verb {
        return read_rot(reader, context);
    }
    let (board, chip) = chip(reader, context)?;
    let fault = match verb {
        FaultVerb::StuckBit => {
            let size = context.rig.board.flash.chip_size.0;
            let number = |key, most| {
                if !reader.has(key) {
                    reader.complain(
                        "flash_fault",
                        format!("a stuck bit needs `{key}`"),
                        format!("add {key} = 0"),
                    );
                }
                reader.integer(key, 0..=most)
            };
            let address = number("address", size.saturating_sub(1));
            let bit = number("bit", 7);
            let value = number("value", 1);
            FlashFault::StuckBit {
                address: address?,
                bit: u32::try_from(bit?).ok()?,
                value: value? == 1,
            }
        }
        FaultVerb::WrongIdentity => FlashFault::WrongIdentity,
        _ => FlashFault::Dead,
    };
    Some(Action::FlashFault { board, chip, fault })
}

#[derive(Clone, Copy)]
enum BoardFaultVerb {
    DeviceMissing,
    RomByte,
    Mended,
}

fn read_board_fault(reader: &Reader<'_>, context: &Context<'_>) -> Option<Action> {
    /// The ROM has 64 KiB.
    const ROM_LAST: u64 = 0xffff;
    let words = [
        ("device-missing", BoardFaultVerb::DeviceMissing),
        ("rom-byte", BoardFaultVerb::RomByte),
        ("mended", BoardFaultVerb::Mended),
    ];
    let verb = reader.word("board_fault", &words)?;
    let board: Option<Socket> =
        required_sockets(reader, context).and_then(|boards| one(reader, &boards));
    let needs = |key: &'static str, example: &str| {
        if !reader.has(key) {
            let (what, remedy) = (
                format!("this fault needs `{key}`"),
                format!("add {example}"),
            );
            reader.complain("board_fault", what, remedy);
        }
    };
    let fault = match verb {
        BoardFaultVerb::DeviceMissing => {
            needs("device", "device = \"console\"");
            let mut devices = [("", 0); DEVICE_NAMES.len()];
            for (slot, (device, name)) in devices.iter_mut().zip(DEVICE_NAMES).enumerate() {
                *device = (name, slot);
            }
            BoardFault::DeviceMissing(reader.word("device", &devices)?)
        }
        BoardFaultVerb::RomByte => {
            needs("address", "address = 0xe000");
            let address = reader.integer("address", 0..=ROM_LAST)?;
            BoardFault::RomByte(u16::try_from(address).ok()?)
        }
        BoardFaultVerb::Mended => BoardFault::Mended,
    };
    Some(Action::BoardFault {
        board: board?,
        fault,
    })
}

fn one_board(reader: &Reader<'_>, context: &Context<'_>) -> Option<Slot> {
    one(reader, &required_slots(reader, context)?)
}

pub(super) fn one<T: Copy>(reader: &Reader<'_>, boards: &[T]) -> Option<T> {
    match boards {
        [board] => Some(*board),
        _ => {
            reader.complain("board", "a fault befalls one board", "use a step for each");
            None
        }
    }
}

/// Rot names a bank, and the bank table of the rig says which chip that is.
fn read_rot(reader: &Reader<'_>, context: &Context<'_>) -> Option<Action> {
    let board = one_board(reader, context);
    let value = reader.value("bank");
    if value.is_none() {
        reader.complain(
            "flash_fault",
            "rot befalls a bank",
            "add e.g. bank = \"L3A\"",
        );
    }
    let bits = reader.integer("bits", 1..=4096).unwrap_or(1);
    let value = value?;
    let text = crate::files::string_of(value, "bank", context.findings)?;
    let (level, bank) = bank_name(text, value, context.findings)?;
    let table = context.rig.board.flash.bank_table();
    let entry = table
        .iter()
        .find(|entry| (entry.level, entry.bank) == (level, bank));
    let Some(entry) = entry else {
        reader.complain(
            "bank",
            format!("this board has no bank {text}"),
            "name a bank of its table",
        );
        return None;
    };
    Some(Action::FlashFault {
        board: board?,
        chip: entry.chip,
        fault: FlashFault::Rot {
            level,
            bank,
            bits: u32::try_from(bits).ok()?,
        },
    })
}

fn chip(reader: &Reader<'_>, context: &Context<'_>) -> Option<(Slot, u32)> {
    let text = reader.required("chip", 40, "add e.g. chip = \"A.flash0\"")?;
    match text.parse() {
        Ok(DeviceRef::Flash {
            board,
            chip: Some(chip),
        }) if board.index() < context.rig.slots && chip < context.rig.board.flash.chips => {
            Some((board, chip))
        }
        _ => {
            reader.complain(
                "chip",
                format!("this rig has no flash chip \"{text}\""),
                "say e.g. A.flash0",
            );
            None
        }
    }
}

fn read_link(reader: &Reader<'_>, context: &Context<'_>) -> Option<Action> {
    let mut words = vec![("backplane", LinkName::Backplane), ("host", LinkName::Host)];
    let cables = context.rig.can.cables.iter().enumerate();
    words.extend(cables.map(|(index, cable)| (cable.name.as_str(), LinkName::Can(index))));
    let link = reader.word("link", &words);
    let boards = match link {
        Some(LinkName::Can(_)) => {
            if reader.has("board") {
                let what = "a cable of the bus joins segments, and belongs to no board";
                reader.complain("board", what, "leave out `board`");
            }
            Some(Vec::new())
        }
        None => slots(reader, "board", context),
        Some(_) => required_slots(reader, context),
    };
    if !reader.has("to") {
        reader.complain(
            "link",
            "nothing is said about plugging or pulling",
            "add to = \"down\" or to = \"up\"",
        );
    }
    let up = reader.word("to", &[("up", true), ("down", false)]);
    Some(Action::Link {
        link: link?,
        boards: boards?,
        up: up?,
    })
}
