use emulator::rig::{Rig, Slot, Unit};
use image::Kind;

use crate::files::nearest;
use crate::firmware;

/// What the words behind a colon are good for: word, arguments, what it does.
pub(super) const COMMANDS: [(&str, &str, &str); 13] = [
    ("a", "", "console of board A; likewise :b, :c"),
    (
        "status",
        "",
        "every board: power, state, version, role; the host; the shelf",
    ),
    (
        "on",
        "[A|NODE|shelf]",
        "give power; to everything where nothing is named",
    ),
    (
        "cut",
        "[A|NODE|shelf]",
        "take power away, in the middle of whatever is under way",
    ),
    ("reset", "A [warm]", "press the reset button"),
    ("pull", "A", "pull a board; it then lies on the desk"),
    (
        "insert",
        "A [SERIAL [BUILD|blank]]",
        "put in a board from the desk, or a new one with BUILD in its flash",
    ),
    (
        "media",
        "BUILD|./FILE|eject",
        "put a package into the service slot, or take it out",
    ),
    (
        "host",
        "[RATE|stop|verify]",
        "the host reads and writes, RATE times a second",
    ),
    (
        "panel",
        "[A] [FILE.png]",
        "show a panel, or keep its picture",
    ),
    ("timeline", "on|off", "print every event as it happens"),
    ("help", "", "this list"),
    ("quit", "", "leave; so do Ctrl-D and Ctrl-C"),
];

/// The list of all commands.
pub(super) fn help() -> String {
    let mut text = "Lines go to the console in front (try: help). A line with a colon is for the \
                    chassis:\n"
        .to_owned();
    for (word, arguments, what) in COMMANDS {
        let command = format!(":{word} {arguments}");
        text.push_str(&format!("  {command:<33} {what}\n"));
    }
    text.push_str(&format!("builds: {}", builds()));
    text
}

/// The builds of the reference firmware that a package can be made of.
fn builds() -> String {
    let l3 = firmware::all().iter().filter(|f| f.kind == Kind::L3);
    let names: Vec<&str> = l3.map(|firmware| firmware.version).collect();
    names.join(", ")
}

/// One of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Front(Slot),
    Status,
    On(Vec<Unit>),
    Cut(Vec<Unit>),
    Reset {
        slot: Slot,
        warm: bool,
    },
    Pull(Slot),
    Insert {
        slot: Slot,
        serial: Option<String>,
        build: Option<String>,
    },
    Media(Option<String>),
    Host(u32),
    HostStop,
    HostVerify,
    Panel {
        slot: Option<Slot>,
        file: Option<String>,
    },
    Timeline(bool),
    Help,
    Quit,
}

impl Command {
    /// Reads a command for the array of `rig`; the complaint names the word that was wrong.
    pub(super) fn parse(text: &str, rig: &Rig) -> Result<Command, String> {
        let words: Vec<&str> = text.split_whitespace().collect();
        let (verb, rest) = words.split_first().ok_or("a colon wants a command")?;
        let slot = |at: usize| -> Result<Slot, String> {
            let word = rest
                .get(at)
                .ok_or_else(|| format!("`{verb}` wants a board, e.g. A"))?;
            word.to_uppercase()
                .parse()
                .map_err(|_| format!("`{word}` is no board"))
        };
        let units = || -> Result<Vec<Unit>, String> {
            let unit = |word: &&str| {
                let upper = word.to_uppercase();
                let name = if upper == "SHELF" {
                    "shelf"
                } else {
                    upper.as_str()
                };
                // A board that this rig has not is complained of where it would be used.
                let unit = rig.unit(word).or_else(|| name.parse().ok());
                unit.ok_or_else(|| format!("`{word}` is neither a board, a node nor `shelf`"))
            };
            rest.iter().map(unit).collect()
        };
        Ok(match (*verb, rest) {
            ("status", []) => Command::Status,
            ("on", _) => Command::On(units()?),
            ("cut", _) => Command::Cut(units()?),
            ("reset", [_] | [_, "warm"]) => Command::Reset {
                slot: slot(0)?,
                warm: rest.len() > 1,
            },
            ("pull", [_]) => Command::Pull(slot(0)?),
            ("insert", [_] | [_, _] | [_, _, _]) => Command::Insert {
                slot: slot(0)?,
                serial: rest.get(1).map(|s| (*s).to_owned()),
                build: rest.get(2).map(|s| (*s).to_owned()),
            },
            ("media", ["eject"]) => Command::Media(None),
            ("media", [what]) => Command::Media(Some((*what).to_owned())),
            ("host", []) => Command::Host(100),
            ("host", ["stop"]) => Command::HostStop,
            ("host", ["verify"]) => Command::HostVerify,
            ("host", [rate]) => {
                let parsed = rate.parse().ok().filter(|rate| (1..=10_000).contains(rate));
                Command::Host(parsed.ok_or_else(|| format!("`{rate}` is no rate from 1 to 10000"))?)
            }
            ("panel", _) if rest.len() < 3 => {
                let named = rest.first().filter(|word| word.len() == 1);
                let file = rest
                    .iter()
                    .find(|word| word.len() > 1)
                    .map(|word| (*word).to_owned());
                Command::Panel {
                    slot: named.map(|_| slot(0)).transpose()?,
                    file,
                }
            }
            ("timeline", ["on"]) => Command::Timeline(true),
            ("timeline", ["off"]) => Command::Timeline(false),
            ("help", []) => Command::Help,
            ("quit" | "q" | "exit", []) => Command::Quit,
            (name, []) if name.len() == 1 => {
                let parsed = name.to_uppercase().parse();
                Command::Front(parsed.map_err(|_| format!("there is no board `{name}`"))?)
            }
            (name, _) => return Err(complaint(name)),
        })
    }
}

/// What is wrong with a command called `name`.
fn complaint(name: &str) -> String {
    if let Some((word, arguments, _)) = COMMANDS.iter().find(|(word, ..)| *word == name) {
        return format!("write it `{}`", format!(":{word} {arguments}").trim_end());
    }
    match nearest(name, COMMANDS.iter().map(|(word, ..)| *word)) {
        Some(meant) => format!("`:{name}` is no command; did you mean `:{meant}`?"),
        None => format!("`:{name}` is no command; :help lists all"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_or_complained_about() {
        let slot = |index| Slot::new(index).unwrap();
        let check = |text: &str, wanted: Result<Command, &str>| {
            assert_eq!(
                Command::parse(text, &Rig::default()),
                wanted.map_err(str::to_owned),
                "{text}"
            );
        };
        check("b", Ok(Command::Front(slot(1))));
        check(
            "cut shelf a",
            Ok(Command::Cut(vec![Unit::Shelf, Unit::Board(slot(0))])),
        );
        check(
            "reset a warm",
            Ok(Command::Reset {
                slot: slot(0),
                warm: true,
            }),
        );
        check(
            "insert B X1",
            Ok(Command::Insert {
                slot: slot(1),
                serial: Some("X1".to_owned()),
                build: None,
            }),
        );
        check(
            "insert B X1 2.0",
            Ok(Command::Insert {
                slot: slot(1),
                serial: Some("X1".to_owned()),
                build: Some("2.0".to_owned()),
            }),
        );
        check(
            "panel",
            Ok(Command::Panel {
                slot: None,
                file: None,
            }),
        );
        check("host 0", Err("`0` is no rate from 1 to 10000"));
        check("pull", Err("write it `:pull A`"));
        check("quit now", Err("write it `:quit`"));
        check("pul b", Err("`:pul` is no command; did you mean `:pull`?"));
        check("zebra", Err("`:zebra` is no command; :help lists all"));
        check("cut q", Err("`q` is neither a board, a node nor `shelf`"));
        check("", Err("a colon wants a command"));
    }
}
