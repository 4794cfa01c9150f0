//! Power, and cuts of it, as commands of the control socket.

use devices::power::{Operation, OperationKind, PowerLoss, Shape, mix};
use devices::time::Nanos;
use emulator::array::{ArmedCut, CutPoint, PowerDomain, Source};

/// What the commands are.
pub(super) const HELP: &str = "\
power on                 power comes
power off                power goes, and what is under way is done
cut [SHAPE]              power goes now; SHAPE is lost, torn or done: what becomes of what is under way [torn]
cut at OPERATION N [SHAPE]
                         the same, when the Nth such operation from now on begins
cut never                takes back all cuts that did not happen";

/// What a command asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    On,
    Off,
    Cut(Shape),
    Arm {
        kind: OperationKind,
        nth: u64,
        shape: Shape,
    },
    Disarm,
}

/// Reads a command, where it is one of these.
pub(super) fn order(command: &str, kinds: &[OperationKind]) -> Option<Result<Order, String>> {
    let words: Vec<&str> = command.split_whitespace().collect();
    Some(match words.as_slice() {
        ["power", "on"] => Ok(Order::On),
        ["power", "off"] => Ok(Order::Off),
        ["power", ..] => Err("say `power on` or `power off`".to_owned()),
        ["cut"] => Ok(Order::Cut(Shape::default())),
        ["cut", "never"] => Ok(Order::Disarm),
        ["cut", "at", operation, nth, rest @ ..] if rest.len() < 2 => {
            arm(operation, nth, rest.first(), kinds)
        }
        ["cut", "at", ..] => Err(format!(
            "say `cut at OPERATION N [SHAPE]`; OPERATION is {}",
            names(kinds)
        )),
        ["cut", word] => shape(word).map(Order::Cut),
        ["cut", ..] => Err("say `cut [SHAPE]` or `cut at OPERATION N [SHAPE]`".to_owned()),
        _ => return None,
    })
}

fn arm(
    operation: &str,
    nth: &str,
    word: Option<&&str>,
    kinds: &[OperationKind],
) -> Result<Order, String> {
    let kind = kinds.iter().find(|kind| kind.as_str() == operation);
    let kind = *kind.ok_or_else(|| {
        format!(
            "there is no operation {operation:?} here; it is {}",
            names(kinds)
        )
    })?;
    let nth = nth.parse().ok().filter(|nth| *nth > 0);
    let nth = nth.ok_or("N is a whole number from 1 on")?;
    let shape = word.map_or(Ok(Shape::default()), |word| shape(word))?;
    Ok(Order::Arm { kind, nth, shape })
}

fn shape(word: &str) -> Result<Shape, String> {
    let found = Shape::ALL.into_iter().find(|shape| name(*shape) == word);
    found.ok_or_else(|| format!("{word:?} is no shape; it is lost, torn or done"))
}

fn name(shape: Shape) -> &'static str {
    match shape {
        Shape::Lost => "lost",
        Shape::Torn => "torn",
        Shape::Done => "done",
    }
}

fn names(kinds: &[OperationKind]) -> String {
    let names: Vec<&str> = kinds.iter().map(|kind| kind.as_str()).collect();
    names.join(" or ")
}

/// Cuts that wait for their operation.
#[derive(Debug)]
pub(super) struct Cuts {
    seed: u64,
    losses: u64,
    armed: Vec<ArmedCut>,
}

impl Cuts {
    pub(super) fn new(seed: u64) -> Cuts {
        Cuts {
            seed,
            losses: 0,
            armed: Vec::new(),
        }
    }

    /// How many there are.
    pub(super) fn armed(&self) -> usize {
        self.armed.len()
    }

    pub(super) fn arm(&mut self, kind: OperationKind, nth: u64, shape: Shape) {
        let id = u32::try_from(self.armed.len()).unwrap_or(u32::MAX);
        let point = CutPoint {
            domain: PowerDomain::CHASSIS,
            source: Source::Chassis,
            unit: None,
            kind: Some(kind),
            address: None,
            nth,
            shape,
            seed: 0,
        };
        self.armed.push(ArmedCut { id, point, seen: 0 });
    }

    pub(super) fn disarm(&mut self) {
        self.armed.clear();
    }

    /// An operation began: the shape of the cut that waited for it, if one did.
    pub(super) fn began(&mut self, operation: &Operation) -> Option<Shape> {
        let mut fired = None;
        self.armed.retain_mut(|cut| {
            let matches = cut.matches(Source::Chassis, operation);
            if matches {
                fired = fired.or(Some(cut.point.shape));
            }
            !matches
        });
        fired
    }

    /// A loss of power of this shape, with details of its own.
    pub(super) fn loss(&mut self, now: Nanos, shape: Shape) -> PowerLoss {
        self.losses += 1;
        PowerLoss {
            now,
            shape,
            seed: mix(self.seed, self.losses),
        }
    }
}

/// A line about a cut.
pub(super) fn told(during: Option<OperationKind>, shape: Shape) -> String {
    let during = during.map(|kind| format!(" during={}", kind.as_str()));
    format!(
        "power-cut{} left={}",
        during.unwrap_or_default(),
        name(shape)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const KINDS: [OperationKind; 2] = [OperationKind::MemberWrite, OperationKind::Flush];

    #[test]
    fn commands_are_read_and_mistakes_are_answered() {
        let order = |command| order(command, &KINDS);
        let arm = |kind, nth, shape| Some(Ok(Order::Arm { kind, nth, shape }));
        assert_eq!(order("cut"), Some(Ok(Order::Cut(Shape::Torn))));
        assert_eq!(order("cut done"), Some(Ok(Order::Cut(Shape::Done))));
        let flush = OperationKind::Flush;
        assert_eq!(order("cut at flush 3"), arm(flush, 3, Shape::Torn));
        assert_eq!(order("cut at flush 3 lost"), arm(flush, 3, Shape::Lost));
        assert_eq!(order("cut never"), Some(Ok(Order::Disarm)));
        assert_eq!(order("status"), None);
        for (wrong, hint) in [
            ("cut at erase 1", "member-write or flush"),
            ("cut at flush 0", "from 1"),
            ("cut at flush", "cut at OPERATION N"),
            ("cut at flush 1 torn now", "cut at OPERATION N"),
            ("cut half", "lost, torn or done"),
            ("power up", "power on"),
        ] {
            let answer = order(wrong).unwrap().unwrap_err();
            assert!(answer.contains(hint), "{wrong}: {answer}");
        }
    }

    #[test]
    fn an_armed_cut_fires_once() {
        let mut cuts = Cuts::new(1);
        cuts.arm(OperationKind::Flush, 2, Shape::Lost);
        let operation = |kind| Operation {
            kind,
            unit: 0,
            address: 0,
            length: 1,
            begins: Nanos(0),
            ends: Nanos(1),
        };
        let fired = [
            OperationKind::Flush,
            OperationKind::MemberWrite,
            OperationKind::Flush,
            OperationKind::Flush,
        ]
        .map(|kind| cuts.began(&operation(kind)));
        assert_eq!(fired, [None, None, Some(Shape::Lost), None]);
        assert_eq!(cuts.armed(), 0);
    }
}
