//! What an operator can type.

/// A command. Slots are as typed: A is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Command<'a> {
    /// An empty line.
    Nothing,
    /// `help`
    Help,
    /// `ver`
    Version,
    /// `ver -p`
    Package,
    /// `boot -i`, `boot -i -f`
    Install {
        /// Give up what an unusable system area may hold.
        force: bool,
    },
    /// `reset`
    ResetAll,
    /// `reset X`
    Reset(u8),
    /// `disable X`
    Disable(u8),
    /// `enable X`
    Enable(u8),
    /// `fru list`
    FruList,
    /// `sys list`
    SysList,
    /// `lun list`, where the build has it.
    LunList,
    /// A known command with wrong words after it; how it is used.
    Usage(&'static str),
    /// Anything else.
    Unknown(&'a str),
}

/// One line of `help`.
#[derive(Debug)]
pub(crate) struct Help {
    pub(crate) usage: &'static str,
    pub(crate) what: &'static str,
    /// Only builds that list LUNs have it.
    pub(crate) lists_luns: bool,
}

/// What `help` says, in this order.
pub(crate) const HELP: [Help; 11] = [
    help("help", "this list"),
    help("ver", "system version, controllers, flash banks"),
    help("ver -p", "what the preferred package carries"),
    help("boot -i [-f]", "install the package on service media"),
    help("reset", "reset all controllers at once (disruptive)"),
    help("reset X", "reset controller X"),
    help("disable X", "keep controller X in reset"),
    help("enable X", "let controller X boot"),
    help("fru list", "replaceable units"),
    help("sys list", "system settings"),
    Help {
        lists_luns: true,
        ..help("lun list", "logical units and their owner")
    },
];

const fn help(usage: &'static str, what: &'static str) -> Help {
    Help {
        usage,
        what,
        lists_luns: false,
    }
}

/// Understands a line, as a build that `lists_luns` or not does.
pub(crate) fn parse(line: &str, lists_luns: bool) -> Command<'_> {
    let mut words = line.split_ascii_whitespace();
    let Some(verb) = words.next() else {
        return Command::Nothing;
    };
    let rest = (words.next(), words.next(), words.next());
    match (verb, rest) {
        ("help", (None, ..)) => Command::Help,
        ("help", _) => Command::Usage("help"),
        ("ver", (None, ..)) => Command::Version,
        ("ver", (Some("-p"), None, _)) => Command::Package,
        ("ver", _) => Command::Usage("ver [-p]"),
        ("boot", (Some("-i"), None, _)) => Command::Install { force: false },
        ("boot", (Some("-i"), Some("-f"), None)) => Command::Install { force: true },
        ("boot", _) => Command::Usage("boot -i [-f]"),
        ("reset", (None, ..)) => Command::ResetAll,
        ("reset", (Some(slot), None, _)) => on_slot(slot, Command::Reset, "reset [X]"),
        ("reset", _) => Command::Usage("reset [X]"),
        ("disable", (Some(slot), None, _)) => on_slot(slot, Command::Disable, "disable X"),
        ("disable", _) => Command::Usage("disable X"),
        ("enable", (Some(slot), None, _)) => on_slot(slot, Command::Enable, "enable X"),
        ("enable", _) => Command::Usage("enable X"),
        ("fru", (Some("list"), None, _)) => Command::FruList,
        ("fru", _) => Command::Usage("fru list"),
        ("sys", (Some("list"), None, _)) => Command::SysList,
        ("sys", _) => Command::Usage("sys list"),
        ("lun", (Some("list"), None, _)) if lists_luns => Command::LunList,
        ("lun", _) if lists_luns => Command::Usage("lun list"),
        _ => Command::Unknown(verb),
    }
}

fn on_slot<'a>(word: &str, command: fn(u8) -> Command<'a>, usage: &'static str) -> Command<'a> {
    match word.as_bytes() {
        [letter @ b'A'..=b'D'] => command(letter - b'A'),
        [letter @ b'a'..=b'd'] => command(letter - b'a'),
        _ => Command::Usage(usage),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_understood() {
        let check = |line, expected| assert_eq!(parse(line, true), expected, "{line:?}");
        check("", Command::Nothing);
        check("  help ", Command::Help);
        check("ver", Command::Version);
        check("ver -p", Command::Package);
        check("ver -q", Command::Usage("ver [-p]"));
        check("ver -p -p", Command::Usage("ver [-p]"));
        check("boot -i", Command::Install { force: false });
        check("boot  -i  -f", Command::Install { force: true });
        check("boot", Command::Usage("boot -i [-f]"));
        check("boot -i -x", Command::Usage("boot -i [-f]"));
        check("boot -i -f -f", Command::Usage("boot -i [-f]"));
        check("reset", Command::ResetAll);
        check("reset b", Command::Reset(1));
        check("reset E", Command::Usage("reset [X]"));
        check("reset A B", Command::Usage("reset [X]"));
        check("disable A", Command::Disable(0));
        check("disable", Command::Usage("disable X"));
        check("enable AB", Command::Usage("enable X"));
        check("fru list", Command::FruList);
        check("sys list", Command::SysList);
        check("sys mode", Command::Usage("sys list"));
        check("lun list", Command::LunList);
        check("reboot now", Command::Unknown("reboot"));
        check("VER", Command::Unknown("VER"));
    }

    #[test]
    fn lun_list_came_with_1_1() {
        assert_eq!(parse("lun list", false), Command::Unknown("lun"));
        assert!(HELP.iter().any(|line| line.lists_luns));
    }
}
