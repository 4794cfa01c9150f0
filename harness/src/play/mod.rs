//! Plays a scenario on a stage.
//!
//! * [`Player`] — one scenario in progress: the stage, the marks, the boards on the bench.
//! * `act.rs` — what each verb does, of which `console.rs` types and listens, `faults.rs` and `can.rs` break; `ask.rs` — what each question
//!   of `expect` finds, `nodes.rs` those of nodes.
//! * `outcome.rs` — everything a golden or a report says about the end; `tell.rs` — what the
//!   reports are told meanwhile.
//!
//! The player presses buttons, types, inserts media, cuts power and runs the host. It never
//! reaches into a board's memory.

mod act;
mod ask;
mod bench;
mod can;
mod checkpoint;
mod console;
mod faults;
mod nodes;
mod outcome;
mod tell;

use std::collections::BTreeMap;
use std::sync::Arc;

use devices::can::{Fault, FaultId};
use devices::time::Nanos;
use emulator::array::{Array, ArrayError, PowerDomain, Source, Storage, WiringError};
use emulator::board::Controller;
use emulator::engine::EngineChoice;
use emulator::rig::{Rig, Slot, Unit};
use thiserror::Error;

pub use self::bench::LocalBench;
pub(crate) use self::bench::chain;
use self::checkpoint::Checkpoint;
pub(crate) use self::nodes::nodes_alike;
use self::tell::Told;
use crate::host::{Host, Timing, transport};
use crate::provision::{self, BuildError};
use crate::report::{Sink, SinkError};
use crate::scenario::{Action, HostAction, Scenario, Socket, Step};
use crate::stage::{Declared, Place, SavedStage, Stage};

/// Bytes of a host block where a scenario starts no host.
const USUAL_BLOCK_BYTES: u32 = 4096;

/// The bench could not play: no verdict on the firmware.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PlayError {
    /// The array cannot be built.
    #[error(transparent)]
    Wiring(#[from] WiringError),
    /// The array cannot run, or the scenario asks for what cannot be done to it.
    #[error(transparent)]
    Array(#[from] ArrayError),
    /// What should be in flash or on the array cannot be made.
    #[error(transparent)]
    Build(#[from] BuildError),
    /// A report cannot be written.
    #[error(transparent)]
    Report(#[from] SinkError),
}

/// How a step ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The verb, or the key within `expect`.
    pub part: &'static str,
    /// What was expected and what was found.
    pub message: String,
    /// Whether it held.
    pub passed: bool,
}

/// Counts from which later ones count.
#[derive(Clone, Debug, Default)]
struct Mark {
    at: Nanos,
    timeline: usize,
    /// Lines of each board's console.
    lines: Vec<usize>,
    boots: Vec<u32>,
    node_boots: Vec<u32>,
    can_frames: u64,
    counters: Vec<BTreeMap<crate::scenario::Counter, u64>>,
    host: crate::host::Figures,
    lost: usize,
    failovers: u64,
}

/// One scenario in progress.
#[derive(Debug)]
pub struct Player<'s> {
    scenario: &'s Scenario,
    engine: EngineChoice,
    stage: Stage,
    /// The boot ROM that the rig fits on every board.
    rom: Arc<[u8]>,
    /// Boards that were pulled: whether of a node, and serial number.
    pulled: BTreeMap<(bool, String), Controller>,
    /// Slots, and places of nodes behind them, whose power is switched on, whether or not a board is in them.
    live: Vec<bool>,
    /// How far each board's console was read.
    read: Vec<Place>,
    marks: BTreeMap<String, Mark>,
    /// Checkpoints that the scenario made, by name.
    named: BTreeMap<String, Checkpoint>,
    /// Cuts that were armed: number, and the step that did it.
    armed: BTreeMap<u32, usize>,
    /// What was broken on the CAN bus, and the step that did it.
    can_faults: BTreeMap<FaultId, (usize, Fault)>,
    told: Told,
}

/// A player as a value.
#[derive(Clone, Debug)]
pub struct Kept {
    stage: SavedStage,
    pulled: BTreeMap<(bool, String), Controller>,
    live: Vec<bool>,
    read: Vec<Place>,
    marks: BTreeMap<String, Mark>,
    named: BTreeMap<String, Checkpoint>,
    armed: BTreeMap<u32, usize>,
    can_faults: BTreeMap<FaultId, (usize, Fault)>,
}

impl<'s> Player<'s> {
    /// Sets the stage: builds the array, fills flash and shelf. Nothing has power yet.
    ///
    /// # Errors
    /// The array or what should be in it cannot be made.
    pub fn new(scenario: &'s Scenario, engine: &EngineChoice) -> Result<Player<'s>, PlayError> {
        let rig = &scenario.rig;
        let roms = provision::roms(rig)?;
        let mut array = Array::of_rig(
            &provision::located(rig)?,
            engine,
            &roms,
            &Storage::Memory,
            scenario.seed,
        )?;
        provision::fill_shelf(
            &mut array.shared_mut().shelf,
            &scenario.firmware.array,
            scenario.seed,
        )?;
        for (slot, flash) in &scenario.firmware.boards {
            let mut controller = Controller::blank(rig, &rig.serial(*slot), &Storage::Memory)?;
            provision::fill_flash(&mut controller, flash, rig, scenario.seed)?;
            array.insert(Source::Board(index(*slot)), controller)?;
        }
        let slots = rig.slots().count();
        let block_bytes = usize_of(block_bytes(scenario));
        let host = Host::new(transport::of_rig(rig), slots, timing(scenario), block_bytes);
        let mut player = Player {
            scenario,
            engine: engine.clone(),
            rom: roms.controllers,
            stage: Stage::new(array, rig.clone(), host, declared(scenario)),
            pulled: BTreeMap::new(),
            live: vec![false; slots + rig.nodes().count()],
            read: vec![Place::default(); slots],
            marks: BTreeMap::new(),
            named: BTreeMap::new(),
            armed: BTreeMap::new(),
            can_faults: BTreeMap::new(),
            told: Told::default(),
        };
        player.mark(String::new());
        Ok(player)
    }

    /// The stage.
    pub fn stage(&self) -> &Stage {
        &self.stage
    }

    /// The stage, for a sweep that cuts power of its own.
    pub fn stage_mut(&mut self) -> &mut Stage {
        &mut self.stage
    }

    /// Plays step `index` and tells the reports how everything in it that can fail ended. False when
    /// something failed: the steps after it make no sense any more.
    ///
    /// # Errors
    /// The bench cannot go on.
    pub fn play_step(&mut self, index: usize, sink: &mut dyn Sink) -> Result<bool, PlayError> {
        let scenario = self.scenario;
        let Some(step) = scenario.steps.get(index) else {
            return Ok(false);
        };
        self.tell_step(index, step, sink)?;
        let answers = self.act(index, step);
        self.stage.observe();
        self.tell_news(sink)?;
        let answers = answers?;
        self.tell_answers(index, step, &answers, sink)?;
        Ok(answers.iter().all(|answer| answer.passed))
    }

    /// Everything as a value. `base`, an earlier one, makes it smaller.
    ///
    /// # Errors
    /// An engine cannot be checkpointed.
    pub fn keep(&mut self, base: Option<&Kept>) -> Result<Kept, PlayError> {
        Ok(Kept {
            stage: self.stage.save(base.map(|base| &base.stage))?,
            pulled: self.pulled.clone(),
            live: self.live.clone(),
            read: self.read.clone(),
            marks: self.marks.clone(),
            named: self.named.clone(),
            armed: self.armed.clone(),
            can_faults: self.can_faults.clone(),
        })
    }

    /// Back to what [`Player::keep`] saw, on this or another player of the same scenario.
    ///
    /// # Errors
    /// It is of another rig.
    pub fn bring_back(&mut self, kept: &Kept) -> Result<(), PlayError> {
        self.stage.restore(&kept.stage)?;
        self.take_up(kept);
        let can_faults = self.fired_can_faults();
        let (timeline, cuts) = (self.stage.timeline(), self.stage.cuts_fired());
        self.told.go_back(timeline.len(), cuts.len(), can_faults);
        Ok(())
    }

    /// Everything but the stage.
    fn take_up(&mut self, kept: &Kept) {
        self.pulled.clone_from(&kept.pulled);
        self.live.clone_from(&kept.live);
        self.read.clone_from(&kept.read);
        self.marks.clone_from(&kept.marks);
        self.named.clone_from(&kept.named);
        self.armed.clone_from(&kept.armed);
        self.can_faults.clone_from(&kept.can_faults);
    }

    /// Latest instant of the story.
    fn limit(&self) -> Nanos {
        self.scenario.limit.0
    }
}

/// Every place of a rig for a board, with its name, in the order of their numbers on the CAN bus.
fn sockets(rig: &Rig) -> impl Iterator<Item = (String, Socket)> {
    let slots = rig
        .slots()
        .map(|slot| (slot.to_string(), Socket::Slot(slot)));
    let nodes = (0..).zip(rig.nodes());
    slots.chain(nodes.map(|(index, node)| (node.name, Socket::Node(index))))
}

/// Position of a slot.
fn index(slot: Slot) -> usize {
    usize_of(slot.index())
}

fn usize_of(n: u32) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}

fn domain(units: &[Unit]) -> PowerDomain {
    PowerDomain::of(units)
}

/// The first workload of the scenario.
fn workload(scenario: &Scenario) -> Option<&crate::scenario::Workload> {
    scenario.steps.iter().find_map(|step| match &step.action {
        Action::Host(HostAction::Start(workload)) => Some(workload),
        _ => None,
    })
}

fn block_bytes(scenario: &Scenario) -> u32 {
    workload(scenario).map_or(USUAL_BLOCK_BYTES, |workload| workload.block_bytes)
}

fn timing(scenario: &Scenario) -> Timing {
    let mut timing = Timing::default();
    if let Some(workload) = workload(scenario) {
        timing.path_timeout = workload.path_timeout.0;
    }
    timing
}

fn declared(scenario: &Scenario) -> Declared {
    Declared {
        waived: scenario
            .waived
            .iter()
            .map(|(invariant, _)| *invariant)
            .collect(),
    }
}

/// A step's answer.
fn answered(part: &'static str, passed: bool, message: String) -> Answered {
    Answered {
        part,
        message,
        passed,
    }
}

/// Steps that only act can still fail; they answer under their verb.
fn failed(step: &Step, message: String) -> Vec<Answered> {
    vec![answered(step.verb, false, message)]
}
