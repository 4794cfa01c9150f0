//! What each verb does.

use devices::board_control::ResetReason;
use devices::flash::Fault;
use devices::medium::Medium;
use devices::power::mix;
use devices::time::Nanos;
use emulator::array::{CutPoint, PowerDomain, Source, slot_letter};
use emulator::board::{Broken, Controller, Cpu, DEVICE_NAMES};
use emulator::rig::{Slot, Unit};

use super::{Answered, PlayError, Player, answered, domain, failed, index, usize_of};
use crate::host::Plan;
use crate::provision;
use crate::scenario::{
    Action, Answer, BoardFault, BoardSource, BoardState, ConsoleStep, Cut, DeviceRef, DiskAction,
    EventPattern, FlashFault, HostAction, LinkName, Step, Workload,
};
use crate::stage::{Stage, State, Waited};

/// How long the host may take to finish what is under way, or to read everything back.
const HOST_PATIENCE: Nanos = Nanos::from_secs(300);
/// A console that prints nothing for so long has said all: lines of one answer come with the time
/// between them that a board needs to look into its flash.
const CONSOLE_QUIET: Nanos = Nanos::from_millis(100);
/// Lines of an answer that a message shows, the last ones.
const ANSWER_SHOWN: usize = 20;

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
                for slot in boards {
                    self.stage.array.reset(index(*slot), reason)?;
                }
            }
            Action::Pull(slot) => self.pull(*slot)?,
            Action::Insert(slot, board) => self.insert(*slot, board)?,
            Action::Swap(slot, board) => {
                self.pull(*slot)?;
                self.insert(*slot, board)?;
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
                    boards.iter().all(|slot| is(stage, *slot, *state, version))
                })?;
                let message = match waited {
                    Waited::Met(at) => format!("held at {at}"),
                    _ => {
                        let found: Vec<String> = boards
                            .iter()
                            .map(|slot| describe(&self.stage, *slot))
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
    fn deadline(&self, span: Nanos) -> Nanos {
        (self.stage.array.now() + span).min(self.limit())
    }

    fn power(&mut self, on: bool, units: &[Unit]) {
        for unit in units {
            if let Unit::Board(slot) = unit
                && let Some(live) = self.live_slots.get_mut(index(*slot))
            {
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
        for (slot, board) in self.stage.array.boards().iter().enumerate() {
            if board.controller().is_some() && !board.powered() {
                self.live_slots[slot] = false;
            }
        }
    }

    fn pull(&mut self, slot: Slot) -> Result<(), PlayError> {
        let controller = self.stage.array.pull(index(slot))?;
        self.pulled.insert(controller.serial.clone(), controller);
        Ok(())
    }

    fn insert(&mut self, slot: Slot, board: &BoardSource) -> Result<(), PlayError> {
        let stored = self.pulled.remove(&board.serial);
        let mut controller = match (&board.flash, stored) {
            (None, Some(controller)) => controller,
            (flash, _) => {
                let rig = &self.scenario.rig;
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
        self.stage.array.insert(index(slot), controller)?;
        if self.live_slots.get(index(slot)).copied().unwrap_or(false) {
            self.stage.array.power_on(PowerDomain::board(index(slot)));
        }
        Ok(())
    }

    fn console(&mut self, step: &Step, console: &ConsoleStep) -> Result<Vec<Answered>, PlayError> {
        let slot = index(console.board);
        let before = self.stage.console(slot).len();
        let now = self.stage.array.now();
        // A serial port hears what the key of a terminal sends.
        let end = if self.stage.array.runs_freely() {
            '\r'
        } else {
            '\n'
        };
        let line = format!("{}{end}", console.line);
        self.stage.note(
            &console.board.to_string(),
            format!("typed {:?}", console.line),
        );
        // What is there by now is no answer.
        self.read[slot] = self.stage.console_end(slot);
        let board = self.stage.array.board_mut(slot)?;
        if board.console_mut().type_bytes(now, line.as_bytes()) < line.len() {
            let why = format!("{} reads nothing: no room to type more", console.board);
            return Ok(failed(step, why));
        }
        if console.answer == Answer::Later {
            return Ok(Vec::new());
        }
        let deadline = self.deadline(console.within.0);
        let found = |stage: &Stage| {
            let lines = stage.console(slot).get(before..).unwrap_or_default();
            match &console.answer {
                // Nobody will answer any more.
                Answer::Unasked | Answer::Later => !lines.is_empty() || is_dead(stage, slot),
                Answer::Contains(part) => lines.iter().any(|line| line.contains(part)),
                Answer::Lines(wanted) => {
                    wanted.is_empty() || lines.windows(wanted.len()).any(|seen| seen == wanted)
                }
            }
        };
        let waited = self.stage.run_until(deadline, found)?;
        if console.answer == Answer::Unasked {
            self.until_console_is_quiet(slot, deadline)?;
            let board = self.stage.array.board_mut(slot)?;
            if board.console().unread() == 0 {
                return Ok(Vec::new());
            }
            let state = describe(&self.stage, console.board);
            let why = format!("{:?} was not read: {state}", console.line);
            return Ok(failed(step, why));
        }
        let met = matches!(waited, Waited::Met(_));
        let seen = self.stage.console(slot).get(before..).unwrap_or_default();
        let skipped = seen.len().saturating_sub(ANSWER_SHOWN);
        let shown = seen.get(skipped..).unwrap_or_default();
        let before = match skipped {
            0 => String::new(),
            _ => format!("{skipped} lines and "),
        };
        let message = format!("{:?} answered {before}{shown:?}", console.line);
        if met && self.stage.array.runs_freely() {
            self.note_printed(console);
        }
        Ok(vec![answered("console", met, message)])
    }

    /// Of boards that run freely a golden has those lines alone that were asked for.
    fn note_printed(&mut self, console: &ConsoleStep) {
        let lines = match &console.answer {
            Answer::Contains(part) => std::slice::from_ref(part),
            Answer::Lines(lines) => lines.as_slice(),
            Answer::Unasked | Answer::Later => &[],
        };
        for line in lines {
            let who = console.board.to_string();
            self.stage.note(&who, format!("printed {line:?}"));
        }
    }

    fn until_console_is_quiet(&mut self, slot: usize, deadline: Nanos) -> Result<(), PlayError> {
        loop {
            let before = self.stage.console(slot).len();
            let quiet = (self.stage.array.now() + CONSOLE_QUIET).min(deadline);
            let waited = self
                .stage
                .run_until(quiet, |stage| stage.console(slot).len() > before)?;
            if !matches!(waited, Waited::Met(_)) {
                return Ok(());
            }
        }
    }

    fn await_text(
        &mut self,
        text: &str,
        board: Slot,
        within: Nanos,
    ) -> Result<Vec<Answered>, PlayError> {
        let slot = index(board);
        let deadline = self.deadline(within);
        let mut read = self.read[slot];
        let waited = self.stage.run_until(deadline, |stage| {
            let found = stage.find_on_console(slot, read, text);
            read = found.unwrap_or_else(|reached| reached);
            found.is_ok()
        })?;
        self.read[slot] = read;
        let met = matches!(waited, Waited::Met(_));
        let message = match waited {
            Waited::Met(at) => format!("{board} printed {text:?} at {at}"),
            _ => {
                let last = self.stage.last_words(slot);
                format!("{board} did not print {text:?} within {within} s; the last was {last:?}")
            }
        };
        if met {
            self.stage
                .note(&board.to_string(), format!("printed {text:?}"));
        }
        Ok(vec![answered("await_text", met, message)])
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
                .filter(|entry| pattern.matches(entry.who.parse().ok(), &entry.what))
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

    fn disk(&mut self, action: DiskAction) {
        let size = self.scenario.rig.shelf.member_size.0;
        let now = self.stage.array.now();
        self.stage.array.with_shelf(|shelf, events| match action {
            DiskAction::Fail(member) => shelf.fail_member(usize_of(member), events),
            DiskAction::Replace(member) => {
                shelf.replace_member(usize_of(member), Medium::memory(size, 0), events);
            }
            DiskAction::Scrub => shelf.start_scrub(now, events),
        });
    }

    fn flash_fault(&mut self, board: Slot, chip: u32, fault: &FlashFault) -> Result<(), PlayError> {
        let scenario = self.scenario;
        let Some(controller) = self.stage.array.board_mut(index(board))?.controller_mut() else {
            return Ok(());
        };
        let mut inject = |chip: u32, fault: Fault| -> Result<(), PlayError> {
            if let Some(chip) = controller.flash.chips_mut().get_mut(usize_of(chip)) {
                chip.inject(fault).map_err(provision::BuildError::from)?;
            }
            Ok(())
        };
        let text = match fault {
            FlashFault::Dead => {
                inject(chip, Fault::Dead)?;
                format!("flash-broke chip={chip} fault=dead")
            }
            FlashFault::WrongIdentity => {
                inject(chip, Fault::WrongIdentity)?;
                format!("flash-broke chip={chip} fault=wrong-id")
            }
            FlashFault::StuckBit {
                address,
                bit,
                value,
            } => {
                let bit = u8::try_from(*bit).unwrap_or(0);
                inject(
                    chip,
                    Fault::StuckBit {
                        address: *address,
                        bit,
                        value: *value,
                    },
                )?;
                format!("flash-broke chip={chip} fault=stuck-bit address={address:#x}")
            }
            FlashFault::Rot { level, bank, bits } => {
                let table = scenario.rig.board.flash.bank_table();
                let found = table
                    .iter()
                    .find(|entry| entry.level == *level && entry.bank == *bank);
                if let Some(entry) = found {
                    for nth in 0..*bits {
                        // Within the first 16 KiB behind the header, where every image has bytes.
                        let chance = mix(scenario.seed, u64::from(nth));
                        let address = entry.offset.0 + 256 + chance % (16 << 10);
                        let bit = u8::try_from((chance >> 32) % 8).unwrap_or(0);
                        inject(entry.chip, Fault::BitRot { address, bit })?;
                    }
                }
                format!("flash-broke bank=L{level}{bank:?} fault=rot bits={bits}")
            }
        };
        self.stage.note(&board.to_string(), text);
        Ok(())
    }

    fn board_fault(&mut self, board: Slot, fault: BoardFault) -> Result<(), PlayError> {
        let Some(controller) = self.stage.array.board_mut(index(board))?.controller_mut() else {
            return Ok(());
        };
        let text = match fault {
            BoardFault::DeviceMissing(slot) => {
                controller.broken.missing.insert(slot);
                let device = DEVICE_NAMES.get(slot).unwrap_or(&"?");
                format!("board-broke fault=device-missing device={device}")
            }
            BoardFault::RomByte(address) => {
                controller.broken.rom_byte = Some(address);
                format!("board-broke fault=rom-byte address={address:#x}")
            }
            BoardFault::Mended => {
                controller.broken = Broken::default();
                "board-mended".to_owned()
            }
        };
        self.stage.note(&board.to_string(), text);
        Ok(())
    }

    fn link(&mut self, link: LinkName, boards: &[Slot], up: bool) {
        for slot in boards {
            let shared = self.stage.array.shared_mut();
            let (segment, name) = match link {
                LinkName::Backplane => (&mut shared.backplane, "backplane"),
                LinkName::Host => (&mut shared.hosts, "host"),
            };
            segment.set_cable(index(*slot), up);
            let event = if up { "link-up" } else { "link-down" };
            self.stage
                .note(&slot.to_string(), format!("{event} link={name}"));
        }
        self.stage.array.faces_changed();
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

/// Whether nothing the board's firmware could do comes any more by itself.
fn is_dead(stage: &Stage, slot: usize) -> bool {
    let board = stage.array.boards().get(slot);
    board.is_none_or(|board| !matches!(board.cpu(), Cpu::Live | Cpu::InReset))
}

/// Whether board `slot` is in `state` and, if one is asked for, runs `version`.
pub(super) fn is(stage: &Stage, slot: Slot, state: BoardState, version: Option<&str>) -> bool {
    let right_version = version.is_none_or(|version| {
        let view = stage.views().get(index(slot));
        view.and_then(|view| view.application.as_deref()) == Some(version)
    });
    state_of(stage, slot) == state && right_version
}

/// The state of a board as seen from outside.
pub(super) fn state_of(stage: &Stage, slot: Slot) -> BoardState {
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
pub(super) fn describe(stage: &Stage, slot: Slot) -> String {
    let state = state_of(stage, slot);
    let word = BoardState::ALL
        .iter()
        .find(|(_, known)| *known == state)
        .map_or("?", |(w, _)| w);
    let view = stage.views().get(index(slot));
    let version = view
        .and_then(|view| view.application.clone())
        .unwrap_or("none".to_owned());
    format!(
        "{} is {word}, application {version}",
        slot_letter(index(slot))
    )
}
