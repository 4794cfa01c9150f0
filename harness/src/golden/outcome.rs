use devices::time::Nanos;

use super::panel::Panel;

/// What came of a scenario.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// [`crate::scenario::Scenario::id`].
    pub scenario: String,
    /// The one-line story.
    pub name: String,
    /// The rig it played on.
    pub rig: String,
    /// Its seed.
    pub seed: u64,
    /// Its boards ran in real time: what time decides is no part of it.
    pub runs_freely: bool,
    /// Invariants that were not watched, by their words. Told where boards run freely; a scenario says its own.
    pub waived: Vec<String>,
    /// When it ended.
    pub end: Nanos,
    /// What happened, in order.
    pub timeline: Vec<Entry>,
    /// Every slot, in order.
    pub boards: Vec<BoardOutcome>,
    /// The nodes of the CAN bus, those together that are alike.
    pub nodes: Vec<NodesOutcome>,
    /// The CAN bus, if there is one with nodes on it.
    pub can: Option<CanOutcome>,
    /// The array.
    pub array: ArrayOutcome,
    /// What the host saw, if there was one.
    pub host: Option<HostOutcome>,
    /// What the panels showed at the end.
    pub panels: Vec<Panel>,
}

/// One line of the timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub time: Nanos,
    /// Where: `A`, `shelf`, `bench`.
    pub place: String,
    /// `event-name key=value …`, past tense; console lines begin with `| `.
    pub text: String,
}

/// The final state of a slot.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct BoardOutcome {
    /// `A` …
    pub slot: String,
    /// Serial number; empty for an empty slot.
    pub serial: String,
    /// The word of its [`crate::scenario::BoardState`].
    pub state: String,
    /// The word of its [`crate::scenario::Role`]; empty where it plays none.
    pub role: String,
    /// Version of the application that runs; empty where none does.
    pub version: String,
    /// Boots since the board was put into its slot.
    pub boots: u64,
    /// Bytes of images read from the array in all.
    pub image_bytes_read: u64,
    /// Bank by bank: name, and what is in it (`2.0 valid sequence=3`, `empty`, `invalid header-crc`).
    pub banks: Vec<(String, String)>,
}

/// Nodes that ended alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodesOutcome {
    /// The word of their [`emulator::rig::NodeType`].
    pub kind: String,
    /// The word of their [`crate::scenario::BoardState`].
    pub state: String,
    /// Version of the image that runs; empty where none does.
    pub version: String,
    /// Their names, in order.
    pub names: Vec<String>,
}

/// The final state of the CAN bus.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CanOutcome {
    /// Frames in all, those included that ended in an error.
    pub frames: u64,
    /// Boards whose controllers are other than error-active: name, and what they are.
    pub troubled: Vec<(String, String)>,
}

/// The final state of the array.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ArrayOutcome {
    /// Preferred version: `l2=2.0 l3=2.0`, `absent`, `invalid cause=…`.
    pub preferred: String,
    /// State of the shelf.
    pub shelf: String,
    /// LUN by LUN: name, and who owns it with which epoch (`A epoch=3`, `none`).
    pub owners: Vec<(String, String)>,
}

/// What the host saw.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostOutcome {
    /// Reads acknowledged.
    pub reads: u64,
    /// Writes acknowledged.
    pub writes: u64,
    /// Commands that failed on every path.
    pub errors: u64,
    /// Acknowledged blocks that did not read back.
    pub lost: u64,
    /// Changes of path.
    pub failovers: u64,
    /// LUN by LUN: name, and the longest time without an answer.
    pub outages: Vec<(String, Nanos)>,
}
