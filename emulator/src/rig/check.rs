use devices::time::Nanos;

use super::board::{Bank, Boot, parse_key};
use super::slot::{MAX_SLOTS, Unit};
use super::units::{Bytes, Span};
use super::{Rig, Strap};

/// One step of the way to a value in a rig file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PathStep {
    /// A key of a table.
    Key(String),
    /// An element of an array.
    Index(usize),
}

/// What makes a well-formed rig impossible.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RigProblem {
    /// Where the culprit is; it may be a default that the file does not spell out.
    pub path: Vec<PathStep>,
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
}

// A rig is a file from anywhere: these bounds keep what it can ask for within a small machine.
const RAM_MIB: (u32, u32) = (2, 256);
/// Above it the memory of a PC has a hole.
const FREE_RAM_MIB: (u32, u32) = (16, 2048);
const MEMBERS_MAX: u32 = 16;
const SPARES_MAX: u32 = 4;
const MEMBER_SIZE: (Bytes, Bytes) = (Bytes::mib(1), Bytes::mib(1 << 10));
const CHUNK: (Bytes, Bytes) = (Bytes::kib(4), Bytes::mib(1));
const CACHE_MAX: Bytes = Bytes::mib(64);
const CHIP_SIZE: (Bytes, Bytes) = (Bytes::kib(64), Bytes::mib(16));
const HANG_LIMIT: (Span, Span) = (Span::from_millis(10), Span::from_millis(60_000));
const DOMAINS_MAX: usize = 32;
/// No single device operation takes longer than this, so that no wait is for ever.
const TIMING_MAX: Span = Span::from_millis(60_000);
/// Length of the serial field of the board-control configuration space, NUL included.
const SERIAL_MAX: usize = 15;
const NAME_MAX: usize = 64;
/// Erase unit of the flash chips: a bank that shares one with its neighbour cannot be erased alone.
const SECTOR: u64 = 4096;

pub(super) struct Findings(Vec<RigProblem>);

impl Findings {
    pub(super) fn add(&mut self, path: &str, what: impl Into<String>, remedy: impl Into<String>) {
        let path = path.split('.').map(|step| match step.parse() {
            Ok(index) => PathStep::Index(index),
            Err(_) => PathStep::Key(step.to_owned()),
        });
        self.0.push(RigProblem {
            path: path.collect(),
            what: what.into(),
            remedy: remedy.into(),
        });
    }

    pub(super) fn bounds<T: PartialOrd + std::fmt::Display>(
        &mut self,
        path: &str,
        value: &T,
        range: &(T, T),
    ) {
        let (least, most) = range;
        if value < least || value > most {
            self.add(
                path,
                format!("{value} is out of bounds"),
                format!("choose from {least} to {most}"),
            );
        }
    }
}

impl Rig {
    /// Everything that makes the rig impossible; empty for a good one.
    pub fn problems(&self) -> Vec<RigProblem> {
        let mut found = Findings(Vec::new());
        self.check_chassis(&mut found);
        self.check_board(&mut found);
        self.check_banks(&mut found);
        self.check_shelf(&mut found);
        self.check_timings(&mut found);
        self.check_can(&mut found);
        self.check_domains(&mut found);
        found.0
    }

    fn check_chassis(&self, found: &mut Findings) {
        if !is_name(&self.name) {
            found.add(
                "name",
                "a rig needs a name of letters, digits, `-` and `.`",
                "add e.g. name = \"partner-pair\"",
            );
        }
        found.bounds("slots", &self.slots, &(1, MAX_SLOTS));
        found.bounds("hang_limit", &self.hang_limit, &HANG_LIMIT);
        for (index, serial) in self.serials.iter().enumerate() {
            let path = format!("serials.{index}");
            if u32::try_from(index).is_ok_and(|index| index >= self.slots) {
                found.add(
                    &path,
                    "there is no slot for this serial number",
                    "remove it, or raise `slots`",
                );
                break;
            }
            if serial.is_empty()
                || serial.len() > SERIAL_MAX
                // It becomes part of the names of files.
                || !serial.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
            {
                found.add(
                    &path,
                    format!("a serial number is 1 to {SERIAL_MAX} letters, digits and dashes"),
                    "write one like AB1-000A",
                );
            } else if self.serials.iter().take(index).any(|other| other == serial) {
                found.add(
                    &path,
                    "two boards have this serial number",
                    "give each board its own",
                );
            }
        }
        for (index, slot) in self.links.uncabled.iter().enumerate() {
            if !matches!(self.unit(slot), Some(Unit::Board(_))) {
                found.add(
                    &format!("links.uncabled.{index}"),
                    "the chassis has no such slot",
                    format!("name one of {}", self.slot_names()),
                );
            }
        }
    }

    fn check_board(&self, found: &mut Findings) {
        let board = &self.board;
        let ram_mib = match board.machine.runs_freely() {
            true => FREE_RAM_MIB,
            false => RAM_MIB,
        };
        found.bounds("board.ram_mib", &board.ram_mib, &ram_mib);
        self.check_machine(found);
        if !board.signing_key.is_empty() && parse_key(&board.signing_key).is_none() {
            found.add(
                "board.signing_key",
                "a signing key is 64 hexadecimal digits",
                "print it with `arraybench image sign --print-key`",
            );
        }
        if board.straps.contains(&Strap::SourceMedia)
            && board.straps.contains(&Strap::SourcePartner)
        {
            found.add(
                "board.straps",
                "the preferred version cannot live in two places",
                "keep one of source-media and source-partner",
            );
        }
        found.bounds("board.flash.chips", &board.flash.chips, &(1, 2));
        let size = board.flash.chip_size;
        if size > CHIP_SIZE.1 {
            found.add(
                "board.flash.chip_size",
                format!(
                    "three address bytes, which firmware boots with, do not reach all of {size}"
                ),
                format!(
                    "choose from {} to {}, in steps of 64KiB",
                    CHIP_SIZE.0, CHIP_SIZE.1
                ),
            );
        } else {
            found.bounds("board.flash.chip_size", &size, &CHIP_SIZE);
        }
        if !board.flash.chip_size.0.is_multiple_of(64 << 10) {
            found.add(
                "board.flash.chip_size",
                "a chip is a whole number of 64 KiB blocks",
                "round it up",
            );
        }
    }

    fn check_machine(&self, found: &mut Findings) {
        let Boot {
            firmware,
            kernel,
            initramfs,
            command_line,
            cpu,
        } = &self.board.boot;
        let machine = self.board.machine;
        let known = &crate::board::DEVICE_NAMES;
        for (index, device) in self.board.devices.iter().enumerate() {
            let path = format!("board.devices.{index}");
            if !known.contains(&device.as_str()) {
                let choices = format!("name some of {}", known.join(", "));
                found.add(&path, format!("there is no device {device:?}"), choices);
            }
        }
        if !machine.runs_freely() {
            for (key, value) in [
                ("firmware", firmware),
                ("kernel", kernel),
                ("initramfs", initramfs),
                ("command_line", command_line),
                ("cpu", cpu),
            ] {
                if !value.is_empty() {
                    found.add(
                        &format!("board.boot.{key}"),
                        "the AB-1 boots from its ROM and its flash",
                        "say machine = \"q35\", or remove it",
                    );
                }
            }
        } else if kernel.is_empty() && (!initramfs.is_empty() || !command_line.is_empty()) {
            let key = if initramfs.is_empty() {
                "command_line"
            } else {
                "initramfs"
            };
            found.add(
                &format!("board.boot.{key}"),
                "there is no kernel to give it to",
                "add kernel = \"…\"",
            );
        }
    }

    fn check_banks(&self, found: &mut Findings) {
        let flash = &self.board.flash;
        let table = flash.bank_table();
        if table.len() > 8 {
            found.add(
                "board.flash.banks",
                "a bank table has at most 8 entries",
                "remove some",
            );
            return;
        }
        for (index, bank) in table.iter().enumerate() {
            // A ready-made table has no line of its own: the layout is what is wrong then.
            let at = |field: &str| match flash.banks.is_empty() {
                true => "board.flash.layout".to_owned(),
                false => format!("board.flash.banks.{index}.{field}"),
            };
            let name = bank.name();
            if !(2..=3).contains(&bank.level) {
                found.add(&at("level"), "only levels 2 and 3 have banks", "say 2 or 3");
            }
            if bank.chip >= flash.chips {
                let remedy = match flash.banks.is_empty() {
                    true => "say layout = \"one-chip\", or fit another chip with `chips = 2`",
                    false => "count chips from 0, or fit another with `chips`",
                };
                found.add(
                    &at("chip"),
                    format!(
                        "bank {name} is in chip {}, the board has {}",
                        bank.chip, flash.chips
                    ),
                    remedy,
                );
            }
            if bank.size.0 == 0
                || !bank.size.0.is_multiple_of(SECTOR)
                || !bank.offset.0.is_multiple_of(SECTOR)
            {
                found.add(
                    &at("size"),
                    format!("bank {name} does not begin and end at a 4 KiB sector"),
                    "make offset and size multiples of 4KiB",
                );
            }
            if end(bank) > flash.chip_size.0 {
                found.add(
                    &at("size"),
                    format!("bank {name} ends outside its chip of {}", flash.chip_size),
                    "move or shrink it, or enlarge `chip_size`",
                );
            }
            for other in table.iter().take(index) {
                if (other.level, other.bank) == (bank.level, bank.bank) {
                    found.add(
                        &at("bank"),
                        format!("bank {name} is there twice"),
                        "rename one",
                    );
                } else if other.chip == bank.chip
                    && bank.offset.0 < end(other)
                    && other.offset.0 < end(bank)
                {
                    found.add(
                        &at("offset"),
                        format!("bank {name} overlaps bank {}", other.name()),
                        format!("begin it at {} or later", Bytes(end(other))),
                    );
                }
            }
        }
        for level in [2, 3] {
            if !table.iter().any(|bank| bank.level == level) {
                found.add(
                    "board.flash.banks",
                    format!("level {level} has no bank to boot from"),
                    "add at least one bank for each of the levels 2 and 3",
                );
            }
        }
    }

    fn check_shelf(&self, found: &mut Findings) {
        let shelf = &self.shelf;
        let fewest = shelf.level.fewest_members();
        found.bounds("shelf.members", &shelf.members, &(1, MEMBERS_MAX));
        if shelf.members < fewest {
            let level = u8::from(shelf.level);
            found.add(
                "shelf.members",
                format!("RAID {level} needs at least {fewest} members"),
                "add members or choose another level",
            );
        }
        found.bounds("shelf.member_size", &shelf.member_size, &MEMBER_SIZE);
        found.bounds("shelf.spares", &shelf.spares, &(0, SPARES_MAX));
        found.bounds("shelf.chunk", &shelf.chunk, &CHUNK);
        found.bounds("shelf.cache", &shelf.cache, &(Bytes(0), CACHE_MAX));
        if !shelf.chunk.0.is_power_of_two() {
            found.add("shelf.chunk", "a chunk is a power of two", "say e.g. 16KiB");
        } else if !shelf.member_size.0.is_multiple_of(shelf.chunk.0) {
            found.add(
                "shelf.member_size",
                "a member is a whole number of chunks",
                format!("make it a multiple of {}", shelf.chunk),
            );
        } else if shelf.member_chunks() == 0 {
            found.add(
                "shelf.chunk",
                "not one chunk fits on a member beside what the shelf keeps for itself",
                "make it smaller, or `member_size` larger",
            );
        }
    }

    fn check_timings(&self, found: &mut Findings) {
        let timings = &self.timings;
        let all = [
            ("timings.page_program", timings.page_program),
            ("timings.sector_erase", timings.sector_erase),
            ("timings.block_erase", timings.block_erase),
            ("timings.chip_erase", timings.chip_erase),
            ("timings.member_read", timings.member_read),
            ("timings.member_write", timings.member_write),
            ("timings.cache_access", timings.cache_access),
            ("links.backplane_latency", self.links.backplane_latency),
            ("links.host_latency", self.links.host_latency),
        ];
        for (path, span) in all {
            // Zero would let a guest make unbounded work in one instant.
            found.bounds(path, &span, &(Span(Nanos(1)), TIMING_MAX));
        }
    }

    fn check_domains(&self, found: &mut Findings) {
        if self.domains.len() > DOMAINS_MAX {
            found.add(
                "domains",
                format!("a rig has at most {DOMAINS_MAX} domains"),
                "remove some",
            );
            return;
        }
        for (name, units) in &self.domains {
            // Names go into a dotted path below, so a name with a dot would point elsewhere.
            if !is_name(name) || name.contains('.') {
                found.add(
                    "domains",
                    "a domain name is letters, digits and `-`",
                    "rename it",
                );
                continue;
            }
            let path = format!("domains.{name}");
            if name == "chassis" || name.parse::<Unit>().is_ok() {
                found.add(
                    &path,
                    format!("every rig has a domain `{name}` already"),
                    "choose another name",
                );
            }
            if units.is_empty() {
                found.add(
                    &path,
                    "a domain without units can lose no power",
                    "list units such as \"A\"",
                );
            }
            for (index, unit) in units.iter().enumerate() {
                if self.unit(unit).is_none() {
                    found.add(
                        &format!("{path}.{index}"),
                        "the chassis has no such unit",
                        format!("units are {} and shelf", self.slot_names()),
                    );
                }
            }
        }
    }

    fn slot_names(&self) -> String {
        let names: Vec<String> = self.slots().map(|slot| slot.to_string()).collect();
        names.join(", ")
    }
}

fn end(bank: &Bank) -> u64 {
    bank.offset.0.saturating_add(bank.size.0)
}

pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= NAME_MAX
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'.')
}

#[cfg(test)]
mod tests {
    use super::super::{BankLetter, Layout, RaidLevel};
    use super::*;

    /// What the default rig has to complain of after `change`.
    fn check(change: impl FnOnce(&mut Rig), wanted: &[&str]) {
        let mut rig = Rig {
            name: "test".to_owned(),
            ..Rig::default()
        };
        change(&mut rig);
        let found: Vec<String> = rig.problems().into_iter().map(|p| p.what).collect();
        assert_eq!(found, wanted);
    }

    fn bank(level: u8, bank: BankLetter, offset: u64, size: u64) -> Bank {
        Bank {
            level,
            bank,
            chip: 0,
            offset: Bytes(offset),
            size: Bytes(size),
        }
    }

    #[test]
    fn every_layout_is_possible() {
        check(|_| {}, &[]);
        check(|rig| rig.board.flash.layout = Layout::SameChip, &[]);
        check(
            |rig| rig.board.flash.chips = 1,
            &[
                "bank L2B is in chip 1, the board has 1",
                "bank L3B is in chip 1, the board has 1",
            ],
        );
        check(
            |rig| {
                rig.board.flash.chips = 1;
                rig.board.flash.layout = Layout::OneChip;
            },
            &[],
        );
    }

    #[test]
    fn banks_lie_in_their_chip_and_apart() {
        use BankLetter::{A, B};
        check(
            |rig| {
                rig.board.flash.banks = vec![
                    bank(2, A, 0, 0x2000),
                    bank(2, B, 0x1000, 0x2000),
                    bank(3, A, 0xff000, 0x2000),
                    bank(3, A, 0x10000, 0x100),
                ];
            },
            &[
                "bank L2B overlaps bank L2A",
                "bank L3A ends outside its chip of 1MiB",
                "bank L3A does not begin and end at a 4 KiB sector",
                "bank L3A is there twice",
            ],
        );
        check(
            |rig| rig.board.flash.banks = vec![bank(2, A, u64::MAX - 4095, 4096)],
            &[
                "bank L2A ends outside its chip of 1MiB",
                "level 3 has no bank to boot from",
            ],
        );
    }

    #[test]
    fn members_make_the_level() {
        check(
            |rig| {
                rig.shelf.level = RaidLevel::Six;
                rig.shelf.members = 3;
            },
            &["RAID 6 needs at least 4 members"],
        );
        check(
            |rig| rig.shelf.chunk = Bytes(12_288),
            &["a chunk is a power of two"],
        );
        check(
            |rig| rig.shelf.chunk = Bytes(0),
            &["0B is out of bounds", "a chunk is a power of two"],
        );
    }

    #[test]
    fn a_hostile_rig_cannot_ask_for_the_moon() {
        check(
            |rig| {
                rig.board.ram_mib = u32::MAX;
                rig.shelf.members = u32::MAX;
                rig.shelf.member_size = Bytes(u64::MAX);
                rig.shelf.cache = Bytes(u64::MAX);
                rig.timings.page_program = Span(Nanos(0));
                rig.slots = u32::MAX;
            },
            &[
                "4294967295 is out of bounds",
                "4294967295 is out of bounds",
                "4294967295 is out of bounds",
                "18446744073709551615B is out of bounds",
                "18446744073709551615B is out of bounds",
                "a member is a whole number of chunks",
                "0s is out of bounds",
            ],
        );
    }

    #[test]
    fn domains_and_cables_name_what_is_there() {
        check(
            |rig| {
                rig.domains.insert("shelf".to_owned(), vec!["A".to_owned()]);
                rig.domains.insert("feed".to_owned(), vec!["C".to_owned()]);
                rig.links.uncabled = vec!["shelf".to_owned()];
            },
            &[
                "the chassis has no such slot",
                "the chassis has no such unit",
                "every rig has a domain `shelf` already",
            ],
        );
    }
}
