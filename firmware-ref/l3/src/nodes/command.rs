//! What an operator can type about nodes.

use distribution::message::NodeState;
use distribution::module::Scope;
use distribution::{Module, Offer, Order, RebootBy, Rollout, Timing, Wait};

use super::settings::OFFERS;

/// A command; the words behind `node`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Command {
    /// Nothing: how nodes are served.
    Show,
    /// `list`: by kind, set, state and version.
    List,
    /// `list all`: one by one.
    ListAll,
    /// `reboot …`
    Reboot(Scope),
    /// `update …`
    Update(Order),
    /// `wait …`
    Wait(Wait),
    /// `offer …`
    Offer(Offer),
    /// Wrong words; how it is used.
    Usage(&'static str),
}

/// What `help` says of them.
pub(super) const HELP: [(&str, &str); 6] = [
    ("node", "how nodes of the CAN bus are served"),
    ("node list", "how far they are, by kind (all: one by one)"),
    ("node reboot", "all, set N, NUMBER or TYPE"),
    ("node update", "with the preferred package, set by set"),
    (
        "node wait",
        "MS [first|latest|halving|shrinking MS] [cap MS]",
    ),
    ("node offer", "combined, requested, first or direct"),
];

const MS: u64 = 1_000_000;
const USAGE: &str = "node [list [all]|reboot ...|update ...|wait ...|offer ...]";
const REBOOT: &str = "node reboot all|set N|NUMBER|TYPE";
const UPDATE: &str = "node update [together] [by-operator]";
const WAIT: &str = "node wait MS [first|latest|halving|shrinking MS] [cap MS]";
const OFFER: &str = "node offer combined|requested|first|direct";

/// The word for what a node is doing.
pub(super) fn state(state: Option<NodeState>) -> &'static str {
    match state {
        None => "asked",
        Some(NodeState::Minimal) => "minimal",
        Some(NodeState::Operational) => "operational",
        Some(NodeState::Failed) => "failed",
    }
}

/// Understands the words behind `node`.
pub(super) fn parse(words: &str) -> Command {
    let mut words = words.split_ascii_whitespace();
    match words.next() {
        None => Command::Show,
        Some("list") => match (words.next(), words.next()) {
            (None, _) => Command::List,
            (Some("all"), None) => Command::ListAll,
            _ => Command::Usage("node list [all]"),
        },
        Some("reboot") => scope(words).map_or(Command::Usage(REBOOT), Command::Reboot),
        Some("update") => order(words).map_or(Command::Usage(UPDATE), Command::Update),
        Some("wait") => wait(words).map_or(Command::Usage(WAIT), Command::Wait),
        Some("offer") => {
            let word = words.next().filter(|_| words.next().is_none());
            let offer = OFFERS.into_iter().find(|(known, _)| Some(*known) == word);
            offer.map_or(Command::Usage(OFFER), |(_, offer)| Command::Offer(offer))
        }
        Some(_) => Command::Usage(USAGE),
    }
}

fn scope<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<Scope> {
    let scope = match words.next()? {
        "all" => Scope::All,
        "set" => Scope::Set(words.next()?.parse().ok()?),
        word => {
            let module = Module::ALL.into_iter().find(|it| it.as_str() == word);
            match module {
                Some(module) => Scope::Only(module),
                None => Scope::Node(word.parse().ok()?),
            }
        }
    };
    words.next().is_none().then_some(scope)
}

fn order<'a>(words: impl Iterator<Item = &'a str>) -> Option<Order> {
    let mut order = Order {
        rollout: Rollout::BySet,
        reboot_by: RebootBy::Message,
    };
    for word in words {
        match word {
            "together" => order.rollout = Rollout::AtOnce,
            "by-operator" => order.reboot_by = RebootBy::Operator,
            _ => return None,
        }
    }
    Some(order)
}

/// Without a cap the wait ends after ten periods at the latest (K17).
fn wait<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<Wait> {
    let ms = |word: &str| {
        let ms: u32 = word.parse().ok()?;
        (ms > 0).then_some(u64::from(ms) * MS)
    };
    let period_ns = ms(words.next()?)?;
    let mut wait = Wait {
        period_ns,
        timing: Timing::FromFirst,
        cap_ns: period_ns.saturating_mul(10),
    };
    while let Some(word) = words.next() {
        match word {
            "first" => wait.timing = Timing::FromFirst,
            "latest" => wait.timing = Timing::FromLatest,
            "halving" => wait.timing = Timing::Halving,
            "shrinking" => {
                let by_ns = ms(words.next()?)?;
                wait.timing = Timing::Shrinking { by_ns };
            }
            "cap" => wait.cap_ns = ms(words.next()?)?,
            _ => return None,
        }
    }
    Some(wait)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_understood() {
        let check = |words, expected| assert_eq!(parse(words), expected, "{words:?}");
        let order = |rollout, reboot_by| Command::Update(Order { rollout, reboot_by });
        let wait = |period_ms, timing, cap_ms| {
            Command::Wait(Wait {
                period_ns: period_ms * MS,
                timing,
                cap_ns: cap_ms * MS,
            })
        };
        check("", Command::Show);
        check("list", Command::List);
        check("list all", Command::ListAll);
        check("list some", Command::Usage("node list [all]"));
        check("reboot all", Command::Reboot(Scope::All));
        check("reboot set 2", Command::Reboot(Scope::Set(2)));
        check("reboot 17", Command::Reboot(Scope::Node(17)));
        check("reboot drive", Command::Reboot(Scope::Only(Module::Drive)));
        check("reboot", Command::Usage(REBOOT));
        check("reboot set", Command::Usage(REBOOT));
        check("reboot 256", Command::Usage(REBOOT));
        check("reboot 1 2", Command::Usage(REBOOT));
        check("update", order(Rollout::BySet, RebootBy::Message));
        check("update together", order(Rollout::AtOnce, RebootBy::Message));
        check(
            "update by-operator",
            order(Rollout::BySet, RebootBy::Operator),
        );
        check("update now", Command::Usage(UPDATE));
        check("wait 200", wait(200, Timing::FromFirst, 2000));
        check(
            "wait 200 latest cap 900",
            wait(200, Timing::FromLatest, 900),
        );
        let by_ns = 30 * MS;
        check(
            "wait 200 shrinking 30",
            wait(200, Timing::Shrinking { by_ns }, 2000),
        );
        check("wait 0", Command::Usage(WAIT));
        check("wait 10 shrinking", Command::Usage(WAIT));
        check("offer direct", Command::Offer(Offer::Direct));
        check("offer all", Command::Usage(OFFER));
        check("lst", Command::Usage(USAGE));
    }
}
