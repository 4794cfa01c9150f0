//! Scenario files: one story each, in a closed set of verbs.
//!
//! * [`Scenario::load`] — reads, checks against its rig, and complains with line and remedy.
//! * [`Step`], [`Action`] — what to do; each step has exactly one verb ([`VERBS`] is the table).
//! * [`Check`], [`Bound`] — what `expect` asks.
//! * [`EventPattern`] — how steps name events of the timeline (`"A: reflash-started level=3"`).
//! * [`contents`] — what is in flash and on the array before the first instruction.
//! * [`ExpectationId`], [`Expectation`] — everything of a scenario that can fail, by name.
//!
//! A runner needs nothing but a [`Scenario`]: names are resolved, bounds checked, defaults filled.

mod action;
mod build;
mod check;
mod expectation;
mod load;
mod pattern;
mod socket;
mod steps;
#[cfg(test)]
mod tests;

pub mod contents;

use std::path::PathBuf;

use emulator::rig::{Rig, Span};

use crate::coverage::RowId;

pub use action::{
    Action, Answer, BoardFault, BoardSource, BoardState, CanPart, ConsoleStep, Cut, DeviceRef,
    DiskAction, FlashFault, HostAction, LinkName, Role, ShelfState, Trigger, Workload,
};
pub use check::{
    Again, BankState, Bound, CONFINEMENTS, Check, Counter, HostFigure, Lun, NodesWanted, Preferred,
    Relation, RomState,
};
pub use expectation::{Expectation, ExpectationId};
pub use pattern::{EVENTS, EventPattern};
pub use socket::{NODE_GROUPS, Socket, nodes_named};
pub use steps::{VERBS, Verb};

/// One story, ready to be played.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// The file it was read from.
    pub path: PathBuf,
    /// File name without folder and `.toml`: the name of its golden, and its id in reports.
    pub id: String,
    /// One line that tells the story.
    pub name: String,
    /// More about it, for people.
    pub about: String,
    /// The rig it plays on, with the scenario's own straps set.
    pub rig: Rig,
    /// Every acceptance row that an expectation in it claims to prove.
    pub covers: Vec<RowId>,
    /// What is where before the first instruction.
    pub firmware: contents::Firmware,
    /// Decides every detail that the story leaves open.
    pub seed: u64,
    /// Virtual time after which the story has failed.
    pub limit: Span,
    /// Invariants that this story breaks on purpose, each with the reason.
    pub waived: Vec<(Invariant, String)>,
    /// What happens, in order.
    pub steps: Vec<Step>,
}

/// One step of a story.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// Line of the file, from 1.
    pub line: usize,
    /// The verb.
    pub verb: &'static str,
    /// The step as it stands in the file, on one line.
    pub text: String,
    /// What to do.
    pub action: Action,
    /// Acceptance rows proven if every expectation of the step passes.
    pub proves: Vec<RowId>,
}

/// What holds in every scenario, whatever it asserts (design §8).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Invariant {
    /// No board ends unable to boot.
    NoBrick,
    /// Never two owners of a LUN.
    OneOwner,
    /// No acknowledged write is lost.
    NoLostWrite,
    /// Partners never run a version mix outside a recorded upgrade.
    NoMix,
    /// An invalid image never runs.
    NoInvalidImage,
}

impl Invariant {
    /// Every invariant with its word in scenario files and reports.
    pub const ALL: [(&'static str, Invariant); 5] = [
        ("no-brick", Invariant::NoBrick),
        ("one-owner", Invariant::OneOwner),
        ("no-lost-write", Invariant::NoLostWrite),
        ("no-mix", Invariant::NoMix),
        ("no-invalid-image", Invariant::NoInvalidImage),
    ];

    /// Whether what the reference firmware says of itself shows that it holds, so that nothing can be known of
    /// other firmware.
    pub fn is_of_reference_firmware(self) -> bool {
        self != Invariant::NoLostWrite
    }

    /// Its word in scenario files and reports.
    pub fn as_str(self) -> &'static str {
        Invariant::ALL
            .iter()
            .find(|(_, invariant)| *invariant == self)
            .map_or("", |(word, _)| word)
    }
}
