use emulator::rig::{Rig, Slot, Unit};
use image::Kind;

use crate::files::nearest;
use crate::firmware;
use crate::scenario::Socket;

/// What the words behind a colon are good for: word, arguments, what it does.
pub(super) const COMMANDS: [(&str, &str, &str); 13] = [
    ("a", "", "console of board A; likewise :b, :c"),
    (
        "status",
        "",
        "every board: power, state, version, role; nodes that are alike; the host; the shelf",
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
    ("reset", "A|NODE [warm]", "press the reset button"),
    ("pull", "A|NODE", "pull a board; it then lies on the desk"),
    (
        "insert",
        "A|NODE [SERIAL [BUILD|blank]]",
        "put in a board from the desk, or a new one with BUILD in its flash; a node keeps nothing",
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
        "[A|NODE] [FILE.png]",
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
        board: Socket,
        warm: bool,
    },
    Pull(Socket),
    Insert {
        board: Socket,
        serial: Option<String>,
        build: Option<String>,
    },
    Media(Option<String>),
    Host(u32),
    HostStop,
    HostVerify,
    Panel {
        board: Option<Socket>,
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
        let board = |at: usize| -> Result<Socket, String> {
            let word = rest
                .get(at)
                .ok_or_else(|| format!("`{verb}` wants a board, e.g. A"))?;
            let slot = || word.to_uppercase().parse().map(Socket::Slot);
            let node = rig.node(word).map(Socket::Node);
            node.map_or_else(slot, Ok)
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
                board: board(0)?,
                warm: rest.len() > 1,
            },
            ("pull", [_]) => Command::Pull(board(0)?),
            ("insert", [_] | [_, _] | [_, _, _]) => Command::Insert {
                board: board(0)?,
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
                let is_board = |word: &str| word.len() == 1 || rig.node(word).is_some();
                let named = rest.first().is_some_and(|word| is_board(word));
                let file = rest.get(usize::from(named));
                if !named && rest.len() > 1 {
                    return Err(format!("`{}` is no board", rest[0]));
                }
                Command::Panel {
                    board: named.then(|| board(0)).transpose()?,
                    file: file.map(|word| (*word).to_owned()),
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
    use emulator::rig::NodeGroup;

    use super::*;

    #[test]
    fn commands_are_read_or_complained_about() {
        let slot = |index| Slot::new(index).unwrap();
        let rig = Rig {
            nodes: vec![NodeGroup {
                name: "drive".to_owned(),
                count: 2,
                ..NodeGroup::default()
            }],
            ..Rig::default()
        };
        let check = |text: &str, wanted: Result<Command, &str>| {
            assert_eq!(
                Command::parse(text, &rig),
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
                board: Socket::Slot(slot(0)),
                warm: true,
            }),
        );
        check(
            "insert B X1",
            Ok(Command::Insert {
                board: Socket::Slot(slot(1)),
                serial: Some("X1".to_owned()),
                build: None,
            }),
        );
        check(
            "insert B X1 2.0",
            Ok(Command::Insert {
                board: Socket::Slot(slot(1)),
                serial: Some("X1".to_owned()),
                build: Some("2.0".to_owned()),
            }),
        );
        check(
            "panel",
            Ok(Command::Panel {
                board: None,
                file: None,
            }),
        );
        check(
            "panel x.png",
            Ok(Command::Panel {
                board: None,
                file: Some("x.png".to_owned()),
            }),
        );
        check(
            "panel drive-2 x.png",
            Ok(Command::Panel {
                board: Some(Socket::Node(1)),
                file: Some("x.png".to_owned()),
            }),
        );
        check("panel drive-9 x.png", Err("`drive-9` is no board"));
        check("pull drive-1", Ok(Command::Pull(Socket::Node(0))));
        check("host 0", Err("`0` is no rate from 1 to 10000"));
        check("pull", Err("write it `:pull A|NODE`"));
        check("quit now", Err("write it `:quit`"));
        check("pul b", Err("`:pul` is no command; did you mean `:pull`?"));
        check("zebra", Err("`:zebra` is no command; :help lists all"));
        check("cut q", Err("`q` is neither a board, a node nor `shelf`"));
        check("", Err("a colon wants a command"));
    }
}
