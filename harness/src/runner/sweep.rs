use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use devices::power::{OperationKind, Shape};
use emulator::rig::Unit;

use crate::scenario::{DeviceRef, Scenario};

/// What a sweep is asked to do.
#[derive(Debug)]
pub struct SweepPlan {
    /// The story to play.
    pub scenario: Scenario,
    /// Cut at frames on the CAN bus, one board after another, and not at operations.
    pub frames: bool,
    /// Cuts in one case: the second falls into the recovery from the first.
    pub depth: u32,
    /// Real time after which cases are sampled no more; nothing: all of them.
    pub budget: Option<Duration>,
    /// The part of all cases to play here.
    pub shard: Shard,
    /// Cases at a time.
    pub jobs: usize,
    /// The one case to play; empty: all of them.
    pub only: Vec<PlannedCut>,
    /// Where the media of failed cases are left.
    pub keep: PathBuf,
}

/// One cut of a case: written `A.flash0:program:40:torn`, or `can.5:can-frame:40:torn:node-3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PlannedCut {
    /// Where the operation is.
    pub device: DeviceRef,
    /// What kind it is.
    pub operation: OperationKind,
    /// Which one, from 1, since the scenario began.
    pub nth: u32,
    /// What becomes of it.
    pub shape: Shape,
    /// Whose power is lost; nothing: that of the board, or where the shelf is concerned of all.
    pub victim: Option<Unit>,
}

/// Part `index` of `count`: written `2/8`, counted from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    /// Which part, from 1.
    pub index: u32,
    /// How many parts.
    pub count: u32,
}

/// What came of a sweep.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SweepReport {
    /// Persistent operations that the story made.
    pub operations: u64,
    /// Cases in this shard, as far as they were found: deeper ones show only while cases are played.
    pub cases: u64,
    /// Cases that were played.
    pub played: u64,
    /// Whether time or failures ended it before all cases were found.
    pub cut_short: bool,
    /// Cuts that never fired.
    pub silent: Vec<Vec<PlannedCut>>,
    /// Cases that failed.
    pub failures: Vec<SweepFailure>,
}

/// A case that failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SweepFailure {
    /// Its cuts.
    pub cuts: Vec<PlannedCut>,
    /// What went wrong.
    pub message: String,
}

impl SweepReport {
    /// Whether every case was played.
    pub fn is_exhaustive(&self) -> bool {
        !self.cut_short && self.played >= self.cases
    }

    /// Whether nothing went wrong and nothing stayed silent.
    pub fn is_good(&self) -> bool {
        self.failures.is_empty() && self.silent.is_empty()
    }
}

impl Shard {
    /// All of it.
    pub const ALL: Shard = Shard { index: 1, count: 1 };

    /// Whether case number `case`, from 0, belongs to it.
    pub fn holds(self, case: u64) -> bool {
        case % u64::from(self.count.max(1)) == u64::from(self.index.saturating_sub(1))
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Shard, String> {
        let parse = || {
            let (index, count) = text.split_once('/')?;
            let (index, count): (u32, u32) = (index.parse().ok()?, count.parse().ok()?);
            (1..=count)
                .contains(&index)
                .then_some(Shard { index, count })
        };
        parse().ok_or_else(|| format!("`{text}` is no shard; write K/N with K from 1 to N"))
    }
}

const SHAPES: [(&str, Shape); 3] = [
    ("lost", Shape::Lost),
    ("torn", Shape::Torn),
    ("done", Shape::Done),
];
const OPERATIONS: [OperationKind; 5] = [
    OperationKind::Program,
    OperationKind::Erase,
    OperationKind::MemberWrite,
    OperationKind::Flush,
    OperationKind::CanFrame,
];

impl fmt::Display for PlannedCut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shape = SHAPES.iter().find(|(_, shape)| *shape == self.shape);
        let shape = shape.map_or("", |(word, _)| word);
        write!(
            f,
            "{}:{}:{}:{shape}",
            self.device,
            self.operation.as_str(),
            self.nth
        )?;
        self.victim.map_or(Ok(()), |victim| write!(f, ":{victim}"))
    }
}

impl FromStr for PlannedCut {
    type Err = String;

    fn from_str(text: &str) -> Result<PlannedCut, String> {
        let parse = || {
            let mut parts = text.split(':');
            let cut = PlannedCut {
                device: parts.next()?.parse().ok()?,
                operation: {
                    let word = parts.next()?;
                    OPERATIONS.into_iter().find(|kind| kind.as_str() == word)?
                },
                nth: parts.next()?.parse().ok().filter(|nth| *nth > 0)?,
                shape: {
                    let word = parts.next()?;
                    SHAPES.iter().find(|(known, _)| *known == word)?.1
                },
                victim: match parts.next() {
                    Some(word) => Some(victim(word)?),
                    None => None,
                },
            };
            parts.next().is_none().then_some(cut)
        };
        parse().ok_or_else(|| format!("`{text}` is no cut; write e.g. A.flash0:program:40:torn"))
    }
}

/// Reads what [`Unit`] is shown as.
fn victim(text: &str) -> Option<Unit> {
    match text.strip_prefix("node-") {
        Some(number) => {
            let number: u16 = number.parse().ok()?;
            number.checked_sub(1).map(Unit::Node)
        }
        None => text.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_is_written_as_it_is_read() {
        for text in [
            "A.flash0:program:40:torn",
            "B.flash:erase:1:lost",
            "shelf.disk2:member-write:7:done",
            "shelf:flush:1:torn",
            "can.5:can-frame:40:torn:node-3",
            "can.0:can-frame:1:torn:A",
        ] {
            assert_eq!(text.parse::<PlannedCut>().unwrap().to_string(), text);
        }
        for text in [
            "",
            "A.flash0",
            "A.flash0:program:0:torn",
            "A.flash0:program:1:torn:",
            "can.5:can-frame:40:torn:node-0",
            "can.5:can-frame:40:torn:node-3:",
            "Q.flash0:erase:1:torn",
        ] {
            assert!(text.parse::<PlannedCut>().is_err(), "{text}");
        }
    }

    #[test]
    fn shards_share_all_cases_out() {
        let shards: Vec<Shard> = ["1/3", "2/3", "3/3"]
            .map(|text| text.parse().unwrap())
            .to_vec();
        for case in 0..20 {
            assert_eq!(shards.iter().filter(|shard| shard.holds(case)).count(), 1);
        }
        for text in ["0/3", "4/3", "1", "a/b", "1/0"] {
            assert!(text.parse::<Shard>().is_err(), "{text}");
        }
    }
}
