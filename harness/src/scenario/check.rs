use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use devices::can::Confinement;
use emulator::rig::{BankLetter, Slot, Span};

use super::action::{BoardState, Role, ShelfState};
use super::pattern::EventPattern;

/// One question of an `expect` step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// How often boards booted.
    Boots(BTreeMap<Slot, Bound>),
    /// What state boards are in.
    State(BTreeMap<Slot, BoardState>),
    /// What part boards play.
    Role(BTreeMap<Slot, Role>),
    /// Which application version boards run.
    Version(BTreeMap<Slot, String>),
    /// What is in banks.
    Banks(BTreeMap<Slot, BTreeMap<(u8, BankLetter), BankState>>),
    /// Whether the boot ROMs of boards are what the rig fitted.
    Rom(BTreeMap<Slot, RomState>),
    /// The serial numbers of boards.
    Serial(BTreeMap<Slot, String>),
    /// The preferred version on the array.
    Preferred(Preferred),
    /// Who owns LUNs; nobody: none.
    Owner(BTreeMap<Lun, Option<Slot>>),
    /// The longest time the host had no answer from LUNs, in nanoseconds.
    Outage(BTreeMap<Lun, Bound>),
    /// What the host counted.
    Host(BTreeMap<HostFigure, Bound>),
    /// What the bench counted at boards.
    Counters(BTreeMap<Slot, BTreeMap<Counter, Bound>>),
    /// The state of the shelf.
    Shelf(ShelfState),
    /// What nodes of the CAN bus are, group by group.
    Nodes(Vec<NodesWanted>),
    /// How many frames were on the CAN bus, those included that ended in an error.
    CanFrames(Bound),
    /// What boards said on their consoles before the note, and say again after it.
    Again(BTreeMap<Slot, Again>),
    /// Events that came, in this order, others between them allowed.
    Events(Vec<EventPattern>),
    /// Events that did not come.
    Never(Vec<EventPattern>),
    /// How often events came.
    EventCount(Vec<(EventPattern, Bound)>),
}

impl Check {
    /// Its key within `expect`.
    pub fn key(&self) -> &'static str {
        match self {
            Check::Boots(_) => "boots",
            Check::State(_) => "state",
            Check::Role(_) => "role",
            Check::Version(_) => "version",
            Check::Banks(_) => "banks",
            Check::Rom(_) => "rom",
            Check::Serial(_) => "serial",
            Check::Preferred(_) => "preferred",
            Check::Owner(_) => "owner",
            Check::Outage(_) => "outage",
            Check::Host(_) => "host",
            Check::Counters(_) => "counters",
            Check::Shelf(_) => "shelf",
            Check::Nodes(_) => "nodes",
            Check::CanFrames(_) => "can_frames",
            Check::Again(_) => "again",
            Check::Events(_) => "events",
            Check::Never(_) => "never",
            Check::EventCount(_) => "event_count",
        }
    }
}

/// What some nodes should be: each of them, or as many as `count` says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodesWanted {
    /// As the scenario calls them.
    pub name: String,
    /// Which they are.
    pub nodes: BTreeSet<u16>,
    /// How many are like that; nothing: all.
    pub count: Option<Bound>,
    /// Their state.
    pub state: Option<BoardState>,
    /// Version of the image that runs.
    pub version: Option<String>,
    /// Serial number of the board.
    pub serial: Option<String>,
    /// How often they booted.
    pub boots: Option<Bound>,
    /// What their CAN controllers' errors let them do.
    pub bus: Option<Confinement>,
    /// How large their boot ROM is.
    pub rom_bytes: Option<Bound>,
}

/// Every word for what a CAN controller's errors let it do.
pub const CONFINEMENTS: [(&str, Confinement); 4] = [
    ("error-active", Confinement::ErrorActive),
    ("error-warning", Confinement::ErrorWarning),
    ("error-passive", Confinement::ErrorPassive),
    ("bus-off", Confinement::BusOff),
];

/// Lines of a console that must have a counterpart: what follows the first word must be the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Again {
    /// First word of the lines before the note; one at least must be there.
    pub said: String,
    /// First word of their counterparts after it.
    pub says: String,
}

/// The number of a LUN, written `lun0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lun(pub u32);

impl fmt::Display for Lun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "lun{}", self.0)
    }
}

/// What a bank is expected to hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BankState {
    /// A valid image of this version.
    Version(String),
    /// Something, but no valid image.
    Invalid,
    /// Nothing: erased.
    Empty,
}

/// What a boot ROM is expected to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RomState {
    /// What the rig fitted, byte for byte.
    Intact,
    /// Something else.
    Altered,
}

impl RomState {
    /// Every state with its word.
    pub const ALL: [(&'static str, RomState); 2] =
        [("intact", RomState::Intact), ("altered", RomState::Altered)];
}

/// What the array is expected to hold as preferred version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Preferred {
    /// No image.
    Absent,
    /// Something that is no valid package.
    Invalid,
    /// A package with these versions.
    Versions {
        /// Of L2.
        l2: String,
        /// Of L3.
        l3: String,
    },
}

/// What the host counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostFigure {
    /// Reads acknowledged.
    Reads,
    /// Writes acknowledged.
    Writes,
    /// Commands that came back with an error on every path.
    Errors,
    /// Acknowledged blocks that did not read back as written.
    Lost,
    /// Times it moved to another path.
    Failovers,
}

impl HostFigure {
    /// Every figure with its word.
    pub const ALL: [(&'static str, HostFigure); 5] = [
        ("reads", HostFigure::Reads),
        ("writes", HostFigure::Writes),
        ("errors", HostFigure::Errors),
        ("lost", HostFigure::Lost),
        ("failovers", HostFigure::Failovers),
    ];
}

/// What the bench counts at a board.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Counter {
    /// Bytes of images (not of version information) read from the array.
    ImageBytesRead,
    /// Bytes of images written to the array.
    ImageBytesWritten,
    /// Requests to the shelf of any kind.
    ShelfRequests,
    /// Pages programmed.
    FlashPrograms,
    /// Sectors and blocks erased.
    FlashErases,
    /// VM exits.
    Exits,
}

impl Counter {
    /// Every counter with its word.
    pub const ALL: [(&'static str, Counter); 6] = [
        ("image_bytes_read", Counter::ImageBytesRead),
        ("image_bytes_written", Counter::ImageBytesWritten),
        ("shelf_requests", Counter::ShelfRequests),
        ("flash_programs", Counter::FlashPrograms),
        ("flash_erases", Counter::FlashErases),
        ("exits", Counter::Exits),
    ];
}

/// What a number should be: written `3`, `">0"`, `"<=200"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bound {
    /// How it should compare.
    pub relation: Relation,
    /// With what.
    pub value: u64,
}

/// How a number should compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// Equal.
    Exactly,
    /// Less.
    Below,
    /// Less or equal.
    AtMost,
    /// More.
    Above,
    /// More or equal.
    AtLeast,
}

/// Longer signs first, so that `<=` is not read as `<`.
const SIGNS: [(&str, Relation); 5] = [
    ("<=", Relation::AtMost),
    (">=", Relation::AtLeast),
    ("<", Relation::Below),
    (">", Relation::Above),
    ("", Relation::Exactly),
];

impl Bound {
    /// Exactly that.
    pub fn exactly(value: u64) -> Bound {
        Bound {
            relation: Relation::Exactly,
            value,
        }
    }

    /// Whether `actual` is as it should be.
    pub fn holds(self, actual: u64) -> bool {
        match self.relation {
            Relation::Exactly => actual == self.value,
            Relation::Below => actual < self.value,
            Relation::AtMost => actual <= self.value,
            Relation::Above => actual > self.value,
            Relation::AtLeast => actual >= self.value,
        }
    }

    /// Whether some number would not do: `">=0"` asserts nothing.
    pub fn can_fail(self) -> bool {
        !(self.relation == Relation::AtLeast && self.value == 0)
    }

    /// Reads a sign and whatever `read` makes of the rest.
    pub(super) fn parse(text: &str, read: impl Fn(&str) -> Option<u64>) -> Option<Bound> {
        let (sign, relation) = SIGNS.iter().find(|(sign, _)| text.starts_with(sign))?;
        let value = read(text.get(sign.len()..)?.trim())?;
        Some(Bound {
            relation: *relation,
            value,
        })
    }

    /// A bound on a whole number.
    pub(super) fn of_count(text: &str) -> Option<Bound> {
        Bound::parse(text, |rest| rest.parse().ok())
    }

    /// A bound on a span of time.
    pub(super) fn of_span(text: &str) -> Option<Bound> {
        Bound::parse(text, |rest| rest.parse::<Span>().ok().map(|span| span.0.0))
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = SIGNS
            .iter()
            .find(|(_, relation)| *relation == self.relation);
        write!(f, "{}{}", sign.map_or("", |(sign, _)| sign), self.value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_hold_where_they_say() {
        let check = |text: &str, held: &[u64], broken: &[u64]| {
            let bound = Bound::of_count(text).unwrap();
            assert!(held.iter().all(|n| bound.holds(*n)), "{text}");
            assert!(!broken.iter().any(|n| bound.holds(*n)), "{text}");
            assert_eq!(bound.to_string(), text);
        };
        check("3", &[3], &[2, 4]);
        check("<3", &[0, 2], &[3, 4]);
        check("<=3", &[0, 3], &[4]);
        check(">3", &[4], &[3]);
        check(">=3", &[3, 4], &[2]);
        assert_eq!(
            Bound::of_span("<= 2s").map(|b| b.value),
            Some(2_000_000_000)
        );
        assert_eq!(Bound::of_count("=>3"), None);
        assert_eq!(Bound::of_span("<3"), None);
        assert!(!Bound::of_count(">=0").is_some_and(Bound::can_fail));
    }
}
