//! Arrays: boards, shared cores and the one virtual clock.
//!
//! An array advances by [`Array::step`]: either every board that can run does so until it waits, or
//! the clock moves to the next event. Boards run in slot order, one at a time; so a run is a pure
//! function of what the array was built from and what is done to it between steps.

mod checkpoint;
mod event;
mod freely;
mod operate;
mod power;
mod step;
mod wiring;

use std::sync::Arc;
use std::time::Duration;

use devices::board_control::{BoardIdentity, ResetReason};
use devices::can::CanBus;
use devices::midplane::Midplane;
use devices::network::{PortSettings, Segment};
use devices::service_media::ServiceMedia;
use devices::shelf::Shelf;
use devices::time::Nanos;
use thiserror::Error;

pub use self::checkpoint::SavedArray;
pub use self::event::{ArrayEvent, EventKind, Source, slot_letter};
use self::freely::RealClock;
pub use self::power::{ArmedCut, CutPoint, PowerDomain};
pub use self::step::Step;
pub use self::wiring::{ARRAY_ID, Roms, Storage, WiringError, disk_timing, flash_timings};
use crate::board::{Board, Fitting};
use crate::engine::{EngineChoice, EngineError, Hardware};
use crate::rig::{Boot, Machine};
use crate::shared::Shared;

/// What an array is built from.
#[derive(Debug)]
pub struct ArrayParts {
    /// What the chassis tells the board in each slot; as many as there are slots. Serial, boots
    /// and reset facts are filled in by the array.
    pub identities: Vec<BoardIdentity>,
    /// What runs the boards' CPUs.
    pub engine: EngineChoice,
    /// What the boards' CPUs sit in.
    pub machine: Machine,
    /// What a machine other than the AB-1 boots.
    pub boot: Boot,
    /// Devices of the bench that a machine other than the AB-1 has.
    pub devices: Vec<String>,
    /// The boot ROM of every AB-1.
    pub rom: Arc<[u8]>,
    /// The CAN bus, with the controller slots and then the nodes wired to it.
    pub can: Option<CanBus>,
    /// The nodes on the CAN bus.
    pub nodes: Vec<NodeParts>,
    /// The RAID shelf.
    pub shelf: Shelf,
    /// How fast the backplane link is.
    pub backplane: PortSettings,
    /// How fast the host link is.
    pub host_link: PortSettings,
    /// Calendar clock at virtual time 0, seconds since 1970-01-01.
    pub calendar_base: u64,
    /// What happens to a board that crashed.
    pub crash_policy: CrashPolicy,
    /// Host CPU time after which a board that touches no device counts as hung.
    pub hang_limit: Duration,
    /// Decides every detail that a power cut's shape leaves open.
    pub seed: u64,
}

/// What a node is built from.
#[derive(Clone, Debug)]
pub struct NodeParts {
    /// What its straps and its socket tell it. Boots and reset facts are filled in by the array.
    pub identity: BoardIdentity,
    /// The boot ROM.
    pub rom: Arc<[u8]>,
    /// Names of its devices, of [`crate::board::DEVICE_NAMES`].
    pub devices: Vec<String>,
}

/// What happens to a board that crashed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CrashPolicy {
    /// A cold reset at the end of the instant.
    #[default]
    Reset,
    /// It stays down until somebody resets it.
    StayDown,
}

/// How long a reset lasts. More than nothing, so that a board that resets itself at once, for ever,
/// cannot stop the clock.
pub const RESET_PULSE: Nanos = Nanos::from_millis(1);

/// A virtual array. See the module.
#[derive(Debug)]
pub struct Array {
    now: Nanos,
    seed: u64,
    shared: Shared,
    /// The controllers, then the nodes.
    boards: Vec<Board>,
    controllers: usize,
    crash_policy: CrashPolicy,
    /// When each board leaves reset, and why it was reset.
    leaving_reset: Vec<Option<(Nanos, ResetReason)>>,
    shelf_powered: bool,
    cuts: Vec<ArmedCut>,
    next_cut: u32,
    power_losses: u64,
    events: Vec<ArrayEvent>,
    /// Events before this index were looked at for armed cuts.
    examined: usize,
    /// Something happened to the boards that no deadline of theirs announces.
    disturbed: bool,
    /// Where boards run freely.
    real_clock: Option<RealClock>,
}

/// The bench cannot go on, or was asked for something that cannot be.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ArrayError {
    /// An engine failed.
    #[error("board {board} cannot run")]
    Engine {
        /// Which board.
        board: Source,
        /// Why.
        #[source]
        source: EngineError,
    },
    /// There is no such place for a board.
    #[error("there is no place {0} for a board")]
    NoPlace(Source),
    /// A place for a board is not in the state that the request needs.
    #[error("{place}: {problem}")]
    Place {
        /// Which one.
        place: Source,
        /// What is in the way.
        problem: &'static str,
    },
    /// A checkpoint that does not fit.
    #[error("the checkpoint does not fit this array: {0}")]
    Checkpoint(&'static str),
}

impl Array {
    /// An array without power and without boards in its slots.
    ///
    /// # Errors
    /// The host cannot run boards.
    pub fn new(parts: ArrayParts) -> Result<Array, ArrayError> {
        let slots = parts.identities.len();
        let count = u32::try_from(slots).unwrap_or(u32::MAX);
        let mut shared = Shared {
            midplane: Midplane::new(count, parts.calendar_base),
            shelf: parts.shelf,
            media: ServiceMedia::default(),
            backplane: Segment::new(slots, parts.backplane),
            hosts: Segment::new(slots + 1, parts.host_link),
            can: parts.can,
        };
        // The host's end of its link is always lit; the boards' ends follow their power.
        shared.hosts.set_powered(slots, true);
        for slot in 0..slots {
            shared.backplane.set_powered(slot, false);
            shared.hosts.set_powered(slot, false);
        }
        let runs_freely = parts.machine.runs_freely();
        let fitting = Fitting {
            runs_freely,
            devices: runs_freely.then_some(parts.devices),
        };
        let mut boards = Vec::with_capacity(slots);
        for (index, mut identity) in parts.identities.into_iter().enumerate() {
            identity.slot = u32::try_from(index).unwrap_or(u32::MAX);
            identity.slots = count;
            let failed = |source| ArrayError::Engine {
                board: Source::Board(index),
                source,
            };
            let hardware = Hardware {
                machine: parts.machine,
                boot: parts.boot.clone(),
                ram_mib: identity.ram_mib,
                rom: Arc::clone(&parts.rom),
                hang_limit: parts.hang_limit,
                slot: index,
            };
            let engine = parts.engine.build(&hardware).map_err(failed)?;
            boards.push(Board::new(
                index,
                engine,
                fitting.clone(),
                identity,
                &mut shared,
            ));
        }
        for (node, parts_of_node) in parts.nodes.into_iter().enumerate() {
            let NodeParts {
                mut identity,
                rom,
                devices,
            } = parts_of_node;
            let index = slots + node;
            identity.slot = u32::try_from(index).unwrap_or(u32::MAX);
            identity.slots = count;
            let hardware = Hardware {
                machine: Machine::Ab1,
                boot: Boot::default(),
                ram_mib: identity.ram_mib,
                rom,
                hang_limit: parts.hang_limit,
                slot: index,
            };
            let failed = |source| ArrayError::Engine {
                board: Source::Node(node),
                source,
            };
            let engine = parts.engine.of_nodes().build(&hardware).map_err(failed)?;
            let fitting = Fitting {
                runs_freely: false,
                devices: Some(devices),
            };
            boards.push(Board::new(index, engine, fitting, identity, &mut shared));
        }
        let all = boards.len();
        Ok(Array {
            now: Nanos::ZERO,
            seed: parts.seed,
            shared,
            boards,
            controllers: slots,
            crash_policy: parts.crash_policy,
            leaving_reset: vec![None; all],
            shelf_powered: false,
            cuts: Vec::new(),
            next_cut: 0,
            power_losses: 0,
            events: Vec::new(),
            examined: 0,
            disturbed: true,
            real_clock: runs_freely.then(RealClock::new),
        })
    }

    /// Virtual time.
    pub fn now(&self) -> Nanos {
        self.now
    }

    /// Whether its boards run freely, so that its clock follows real time.
    pub fn runs_freely(&self) -> bool {
        self.real_clock.is_some()
    }

    /// The controller slots.
    pub fn boards(&self) -> &[Board] {
        self.boards.get(..self.controllers).unwrap_or_default()
    }

    /// The nodes on the CAN bus.
    pub fn nodes(&self) -> &[Board] {
        self.boards.get(self.controllers..).unwrap_or_default()
    }

    /// Where what board `index` does happens.
    fn place(&self, index: usize) -> Source {
        match index.checked_sub(self.controllers) {
            None => Source::Board(index),
            Some(node) => Source::Node(node),
        }
    }

    /// The board in one place.
    pub fn board(&self, place: Source) -> Option<&Board> {
        match place {
            Source::Board(slot) => self.boards().get(slot),
            Source::Node(node) => self.nodes().get(node),
            _ => None,
        }
    }

    /// The same, to type on its console or to meddle with its unit.
    ///
    /// # Errors
    /// There is no such place for a board.
    pub fn board_mut(&mut self, place: Source) -> Result<&mut Board, ArrayError> {
        self.disturbed = true;
        let index = self.index(place)?;
        Ok(&mut self.boards[index])
    }

    /// What the boards share.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// What the boards share, to break a disk or cut a link.
    pub fn shared_mut(&mut self) -> &mut Shared {
        self.disturbed = true;
        &mut self.shared
    }

    /// The network between hosts and boards, to carry frames: boards wake when these arrive.
    pub fn host_network(&mut self) -> &mut Segment {
        &mut self.shared.hosts
    }

    /// The host's port on the host network.
    pub fn host_port(&self) -> usize {
        self.controllers
    }

    /// What happened since the last call, oldest first.
    pub fn take_events(&mut self) -> Vec<ArrayEvent> {
        // What a button made a device begin (a shelf that gets power replays its journal) is cut too.
        self.fire_cuts();
        self.examined = 0;
        std::mem::take(&mut self.events)
    }

    fn note(&mut self, source: Source, kind: EventKind) {
        self.events.push(ArrayEvent {
            at: self.now,
            source,
            kind,
        });
    }
}
