//! What each verb does.

use devices::board_control::ResetReason;
use devices::power::mix;
use devices::time::Nanos;
use emulator::array::{CutPoint, Source};
use emulator::board::{Controller, Cpu};
use emulator::rig::{Rig, Unit};

use super::{Answered, PlayError, Player, answered, domain, failed, index, nodes, usize_of};
use crate::host::Plan;
use crate::provision;
use crate::scenario::{
    Action, BoardSource, BoardState, Cut, DeviceRef, EventPattern, HostAction, Socket, Step,
    Workload,
};
use crate::stage::{Stage, State, Waited};

/// How long the host may take to finish what is under way, or to read everything back.
const HOST_PATIENCE: Nanos = Nanos::from_secs(300);
impl Player<'_> {
    pub(super) fn act(&mut self, number: usize, step: &Step) -> Result<Vec<Answered>, PlayError> {
        match &step.action {
            Action::Power { on, units } => self.power(*on, units),
            Action::Cut(cut) => return self.cut(number, step, cut),
            Action::Reset { warm, boards } => {
                let reason = if *warm {
                    ResetReason::Warm
                } else {
                    ResetReason::Cold
                };
                for board in boards {
                    self.stage.array.reset(Source::of(board.unit()), reason)?;
                }
            }
            Action::Pull(socket) => self.pull(*socket)?,
            Action::Insert(socket, board) => self.insert(*socket, board)?,
            Action::Swap(socket, board) => {
                self.pull(*socket)?;
                self.insert(*socket, board)?;
            }
            Action::Media { package, .. } => {
                let media = match package {
                    Some(package) => {
                        let bytes = provision::package_bytes(package, self.scenario.seed)?;
                        let label = format!("package-{}", package.l3);
                        self.stage
                            .array
                            .shared_mut()
                            .media
                            .insert(&label, bytes.into());
                        format!("media-inserted package={}", package.l3)
                    }
                    None => {
                        self.stage.array.shared_mut().media.eject();
                        "media-ejected".to_owned()
                    }
                };
                self.stage.note("chassis", media);
                self.stage.array.faces_changed();
            }
            Action::Console(console) => return self.console(step, console),
            Action::Await {
                state,
                boards,
                version,
                within,
            } => {
                let deadline = self.deadline(within.0);
                let version = version.as_deref();
                let waited = self.stage.run_until(deadline, |stage| {
                    boards
                        .iter()
                        .all(|board| is(stage, *board, *state, version))
                })?;
                let message = match waited {
                    Waited::Met(at) => format!("held at {at}"),
                    _ => {
                        // Of a hundred nodes those that are not as they should be.
                        let wrong = boards
                            .iter()
                            .filter(|board| !is(&self.stage, **board, *state, version));
                        let rig = &self.scenario.rig;
                        let found: Vec<String> = wrong
                            .map(|board| describe(&self.stage, *board, rig))
                            .collect();
                        format!("not within {}: {}", within, found.join(", "))
                    }
                };
                return Ok(vec![answered(
                    "await",
                    matches!(waited, Waited::Met(_)),
                    message,
                )]);
            }
            Action::AwaitEvent {
                pattern,
                nth,
                within,
            } => {
                return self.await_event(pattern, *nth, within.0);
            }
            Action::AwaitText {
                text,
                board,
                within,
            } => return self.await_text(text, *board, within.0),
            Action::AwaitCuts { within } => {
                let deadline = self.deadline(within.0);
                let wanted: Vec<u32> = self.armed.keys().copied().collect();
                let waited = self.stage.run_until(deadline, |stage| {
                    wanted.iter().all(|cut| stage.cuts_fired().contains(cut))
                })?;
                if !matches!(waited, Waited::Met(_)) {
                    return Ok(failed(step, "an armed cut did not fire".to_owned()));
                }
                self.note_cut_slots();
            }
            Action::Wait(span) => {
                let deadline = self.deadline(span.0);
                self.stage.run_until(deadline, |_| false)?;
            }
            Action::Host(action) => return self.host(step, action),
            Action::Expect { since, checks } => return Ok(self.ask(since.as_deref(), checks)),
            Action::Disk(action) => self.disk(*action),
            Action::FlashFault { board, chip, fault } => {
                self.flash_fault(*board, *chip, fault)?;
            }
            Action::BoardFault { board, fault } => self.board_fault(*board, *fault)?,
            Action::CanFault(fault) => self.can_fault(number, fault),
            Action::CanMend(part) => self.can_mend(*part),
            Action::Link { link, boards, up } => self.link(*link, boards, *up),
            Action::Checkpoint(name) => {
                let checkpoint = self.checkpoint(number)?;
                self.named.insert(name.clone(), checkpoint);
            }
            Action::Restore(name) => {
                // A scenario that names a checkpoint it never made is refused when it is loaded.
                let named = self.named.clone();
                if let Some(checkpoint) = named.get(name) {
                    self.go_back(name, checkpoint)?;
                }
                // Going back does not unmake a checkpoint: it can be gone back to again.
                self.named = named;
            }
            Action::Note(name) => {
                self.mark(name.clone());
                self.stage.note("bench", format!("noted {name:?}"));
            }
        }
        Ok(Vec::new())
    }

    /// `span` from now, at most the end of the story.
    pub(super) fn deadline(&self, span: Nanos) -> Nanos {
        (self.stage.array.now() + span).min(self.limit())
    }

    fn power(&mut self, on: bool, units: &[Unit]) {
        for unit in units {
            let socket = match unit {
                Unit::Board(slot) => Socket::Slot(*slot),
                Unit::Node(node) => Socket::Node(*node),
                Unit::Shelf => continue,
            };
            if let Some(live) = self.live(socket) {
                *live = on;
            }
        }
        if on {
            self.stage.array.power_on(domain(units));
        } else {
            self.stage.array.power_off(domain(units));
        }
    }

    fn cut(&mut self, number: usize, step: &Step, cut: &Cut) -> Result<Vec<Answered>, PlayError> {
        let Some(trigger) = &cut.at else {
            self.stage.array.power_cut(domain(&cut.units), cut.shape);
            self.note_cut_slots();
            return Ok(Vec::new());
        };
        let (source, unit) = match trigger.device {
            DeviceRef::Flash { board, chip } => (Source::Board(index(board)), chip),
            DeviceRef::Shelf { member } => (Source::Shelf, member),
            DeviceRef::Can { sender } => (Source::Can, sender.map(u32::from)),
        };
        let id = self.stage.array.arm(CutPoint {
            domain: domain(&cut.units),
            source,
            unit,
            kind: trigger.operation,
            address: trigger.address,
            nth: u64::from(trigger.nth),
            shape: cut.shape,
            seed: mix(self.scenario.seed, number as u64),
        });
        self.armed.insert(id, number);
        if cut.background {
            return Ok(Vec::new());
        }
        let deadline = self.deadline(cut.within.0);
        let waited = self
            .stage
            .run_until(deadline, |stage| stage.cuts_fired().contains(&id))?;
        if matches!(waited, Waited::Met(_)) {
            self.note_cut_slots();
            return Ok(Vec::new());
        }
        Ok(failed(
            step,
            format!("the cut did not fire within {}", cut.within),
        ))
    }

    /// Slots without power after a cut stay without until they are switched on again.
    fn note_cut_slots(&mut self) {
        let array = &self.stage.array;
        let boards = array.boards().iter().chain(array.nodes());
        for (board, live) in boards.zip(&mut self.live) {
            if board.controller().is_some() && !board.powered() {
                *live = false;
            }
        }
    }

    /// Whether the power of a board's place is switched on.
    fn live(&mut self, socket: Socket) -> Option<&mut bool> {
        let position = match socket {
            Socket::Slot(slot) => index(slot),
            Socket::Node(node) => self.scenario.rig.slots().count() + usize::from(node),
        };
        self.live.get_mut(position)
    }

    fn pull(&mut self, socket: Socket) -> Result<(), PlayError> {
        let controller = self.stage.array.pull(Source::of(socket.unit()))?;
        let key = (matches!(socket, Socket::Node(_)), controller.serial.clone());
        self.pulled.insert(key, controller);
        Ok(())
    }

    fn insert(&mut self, socket: Socket, board: &BoardSource) -> Result<(), PlayError> {
        let rig = &self.scenario.rig;
        let node = match socket {
            Socket::Node(node) => rig.nodes().nth(node.into()),
            Socket::Slot(_) => None,
        };
        // Boards of nodes and controllers fit only their own kind of place.
        let key = (node.is_some(), board.serial.clone());
        let mut controller = match (&board.flash, self.pulled.remove(&key), node) {
            (None, Some(controller), _) => controller,
            (_, _, Some(node)) => {
                let image = provision::kept_image(node.group)?;
                Controller::of_node(rig, &node, &board.serial, &image)?
            }
            (flash, _, None) => {
                let storage = emulator::array::Storage::Memory;
                let mut controller = Controller::blank(rig, &board.serial, &storage)?;
                if let Some(flash) = flash {
                    provision::fill_flash(&mut controller, flash, rig, self.scenario.seed)?;
                }
                controller
            }
        };
        if let Some(straps) = &board.straps {
            controller.straps = straps.iter().fold(0, |bits, strap| bits | strap.bits());
        }
        self.stage
            .array
            .insert(Source::of(socket.unit()), controller)?;
        if self.live(socket).is_some_and(|live| *live) {
            self.stage.array.power_on(domain(&[socket.unit()]));
        }
        Ok(())
    }

    fn await_event(
        &mut self,
        pattern: &EventPattern,
        nth: u32,
        within: Nanos,
    ) -> Result<Vec<Answered>, PlayError> {
        let from = self.stage.timeline().len();
        let deadline = self.deadline(within);
        let waited = self.stage.run_until(deadline, |stage| {
            let new = stage.timeline().get(from..).unwrap_or_default();
            let count = new
                .iter()
                .filter(|entry| pattern.matches(&entry.who, &entry.what))
                .count();
            count >= usize_of(nth)
        })?;
        let message = match waited {
            Waited::Met(at) => format!("{pattern} came at {at}"),
            _ => format!("{pattern} did not come within {within} s"),
        };
        Ok(vec![answered(
            "await_event",
            matches!(waited, Waited::Met(_)),
            message,
        )])
    }

    fn host(&mut self, step: &Step, action: &HostAction) -> Result<Vec<Answered>, PlayError> {
        let now = self.stage.array.now();
        match action {
            HostAction::Start(workload) => {
                self.stage
                    .note("host", format!("host-started rate={}", workload.rate));
                self.stage.host.start(now, plan(workload));
                Ok(Vec::new())
            }
            HostAction::Stop => {
                self.stage.host.stop();
                let idle = self.until_host_is_idle()?;
                self.stage.note("host", "host-stopped");
                if idle {
                    return Ok(Vec::new());
                }
                Ok(failed(
                    step,
                    "commands were still under way when time was up".to_owned(),
                ))
            }
            HostAction::Verify => {
                let before = self.stage.host.problems().len();
                self.stage.host.verify(now);
                let idle = self.until_host_is_idle()?;
                let problems = self.stage.host.problems().get(before..).unwrap_or_default();
                let message = match (idle, problems.first()) {
                    (_, Some(problem)) => problem.what.clone(),
                    (false, None) => "not everything could be read in time".to_owned(),
                    (true, None) => {
                        let blocks = self.stage.host.acknowledged_blocks();
                        format!("{blocks} acknowledged blocks read back as written")
                    }
                };
                let passed = idle && problems.is_empty();
                self.stage.note("host", "host-verified");
                Ok(vec![answered("host", passed, message)])
            }
        }
    }

    fn until_host_is_idle(&mut self) -> Result<bool, PlayError> {
        let deadline = self.deadline(HOST_PATIENCE);
        let waited = self.stage.run_until(deadline, |stage| !stage.host.busy())?;
        Ok(matches!(waited, Waited::Met(_)))
    }
}

fn plan(workload: &Workload) -> Plan {
    Plan {
        interval: Nanos(1_000_000_000 / u64::from(workload.rate.max(1))),
        blocks: workload.area_bytes / u64::from(workload.block_bytes.max(1)),
        write_percent: workload.write_percent,
        depth: 4,
        seed: workload.seed,
    }
}

/// Whether a board is in `state` and, if one is asked for, runs `version`.
pub(super) fn is(stage: &Stage, board: Socket, state: BoardState, version: Option<&str>) -> bool {
    let right_version = version.is_none_or(|version| version_of(stage, board) == Some(version));
    state_of(stage, board) == state && right_version
}

/// The version that a board runs.
fn version_of(stage: &Stage, board: Socket) -> Option<&str> {
    match board {
        Socket::Slot(slot) => {
            let view = stage.views().get(index(slot))?;
            view.application.as_deref()
        }
        Socket::Node(node) => nodes::version_of(stage, node),
    }
}

/// The state of a board as seen from outside.
pub(super) fn state_of(stage: &Stage, board: Socket) -> BoardState {
    let slot = match board {
        Socket::Slot(slot) => slot,
        Socket::Node(node) => return nodes::state_of(stage, node),
    };
    let position = index(slot);
    let Some(board) = stage.array.boards().get(position) else {
        return BoardState::Absent;
    };
    if board.controller().is_none() {
        return BoardState::Absent;
    }
    if !board.powered() {
        return BoardState::Off;
    }
    if stage.array.shared().midplane.lines(slot.index()).held {
        return BoardState::Held;
    }
    match board.cpu() {
        Cpu::Crashed(_) | Cpu::Halted => BoardState::Crashed,
        Cpu::Hung(_) => BoardState::Hung,
        Cpu::Off | Cpu::InReset | Cpu::Live => match stage.views().get(position) {
            Some(view) if view.state == State::Operational => BoardState::Operational,
            Some(view) if view.state == State::Error => BoardState::Error,
            _ => BoardState::Booting,
        },
    }
}

/// A board's state in words, for messages.
pub(super) fn describe(stage: &Stage, board: Socket, rig: &Rig) -> String {
    let state = state_of(stage, board);
    let all = BoardState::ALL.iter().chain(&BoardState::OF_NODES);
    let word = all
        .into_iter()
        .find(|(_, known)| *known == state)
        .map_or("?", |(w, _)| w);
    let version = version_of(stage, board).unwrap_or("none");
    let what = match board {
        Socket::Slot(_) => "application",
        Socket::Node(_) => "image",
    };
    format!("{} is {word}, {what} {version}", board.name(rig))
}
