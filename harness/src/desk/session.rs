//! The array on the desk, and the buttons of its chassis.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::Path;

use devices::board_control::ResetReason;
use devices::power::Shape;
use devices::time::Nanos;
use emulator::array::{Array, PowerDomain, Source, Storage, WiringError};
use emulator::board::Controller;
use emulator::engine::EngineChoice;
use emulator::rig::{NodeType, Rig, Slot, Unit};

use super::command::Command;
use super::glass;
use super::state::{SERIAL_MAX, StateFolder, is_serial};
use crate::can_bridge::{Bridge, Interface};
use crate::files::{LARGEST_FIRMWARE_BYTES, read_binary};
use crate::golden::{Panel, nodes_line};
use crate::host::{Host, Plan, Timing, transport};
use crate::play::{PlayError, nodes_alike};
use crate::provision;
use crate::runner::{BenchError, BootRequest};
use crate::scenario::Socket;
use crate::scenario::contents::{
    ArrayContents, BankContents, Build, FlashContents, PackageContents,
};
use crate::stage::{Declared, Stage};

const PANEL_WIDTH: usize = 256;
const PANEL_HEIGHT: u32 = 128;
const BLOCK_BYTES: usize = 4096;
/// How long frames from outside wait at most, and those of the bus.
const BRIDGE_STEP: Nanos = Nanos::from_millis(1);

/// An array somebody sits at.
#[derive(Debug)]
pub(super) struct Session {
    stage: Stage,
    rig: Rig,
    storage: Storage,
    folder: Option<StateFolder>,
    /// What is in the flash of a new board.
    firmware: Build,
    front: usize,
    shown: Vec<usize>,
    /// What each console had begun to say at the last look, and whether that is on show.
    begun: Vec<(String, bool)>,
    seen: usize,
    timeline: bool,
    pulled: BTreeMap<String, Controller>,
    bridge: Option<Bridge>,
    seed: u64,
}

fn broken(error: impl Into<PlayError>) -> BenchError {
    error.into().into()
}

/// The rig was checked before, so what cannot be built is a file that does not fit it.
fn unusable(error: WiringError) -> BenchError {
    match error {
        WiringError::Medium(error) => BenchError::State {
            what: format!("{error}: {}; name another state directory", error.source),
        },
        error => PlayError::from(error).into(),
    }
}

impl Session {
    pub(super) fn open(
        request: &BootRequest,
        engine: &EngineChoice,
    ) -> Result<Session, BenchError> {
        let rig = &request.rig;
        let (folder, kept) = match &request.state {
            None => (None, None),
            Some(path) => {
                let (folder, kept) = StateFolder::open(path, rig)?;
                (Some(folder), kept)
            }
        };
        let storage = folder.as_ref().map_or(Storage::Memory, |folder| {
            Storage::Folder(folder.path.clone())
        });
        let roms = provision::roms(rig).map_err(broken)?;
        let buildable = provision::located(rig).map_err(broken)?;
        let mut array =
            Array::of_rig(&buildable, engine, &roms, &storage, request.seed).map_err(unusable)?;
        let mut pulled = BTreeMap::new();
        if let Some(kept) = &kept {
            for (slot, serial) in kept.boards.iter().enumerate() {
                let Some(serial) = serial else { continue };
                let controller = Controller::blank(rig, serial, &storage).map_err(unusable)?;
                array
                    .insert(Source::Board(slot), controller)
                    .map_err(broken)?;
            }
            for serial in &kept.desk {
                let controller = Controller::blank(rig, serial, &storage).map_err(unusable)?;
                pulled.insert(serial.clone(), controller);
            }
        } else if rig.board.machine.runs_freely() {
            // Nothing of the reference firmware's is for others.
            for (position, slot) in rig.slots().enumerate() {
                let controller = Controller::blank(rig, &rig.serial(slot), &storage);
                let controller = controller.map_err(unusable)?;
                array
                    .insert(Source::Board(position), controller)
                    .map_err(broken)?;
            }
        } else {
            let package = ArrayContents::Package(PackageContents::of(&request.firmware));
            provision::fill_shelf(&mut array.shared_mut().shelf, &package, request.seed)
                .map_err(broken)?;
            for (position, slot) in rig.slots().enumerate() {
                let serial = rig.serial(slot);
                let mut controller = Controller::blank(rig, &serial, &storage).map_err(unusable)?;
                let flash = flash(&request.firmware);
                provision::fill_flash(&mut controller, &flash, rig, request.seed)
                    .map_err(broken)?;
                array
                    .insert(Source::Board(position), controller)
                    .map_err(broken)?;
            }
        }
        let slots = rig.slots().count();
        let host = Host::new(
            transport::of_rig(rig),
            slots,
            Timing::default(),
            BLOCK_BYTES,
        );
        let mut session = Session {
            stage: Stage::new(array, rig.clone(), host, Declared::default()),
            rig: rig.clone(),
            storage,
            folder,
            firmware: request.firmware.clone(),
            front: 0,
            shown: vec![0; slots],
            begun: vec![Default::default(); slots],
            seen: 0,
            timeline: false,
            pulled,
            bridge: None,
            seed: request.seed,
        };
        if let Some(name) = &request.can_bridge {
            let interface = Interface::open(name).map_err(|error| BenchError::Host {
                what: error.to_string(),
                source: error.source,
            })?;
            session.join(interface);
        }
        session.keep()?;
        Ok(session)
    }

    /// Joins an interface of the host to the array's CAN bus, where it has one.
    pub(super) fn join(&mut self, interface: Interface) {
        let bus = self.stage.array.shared_mut().can.as_mut();
        self.bridge = bus.and_then(|bus| Bridge::join(interface, bus));
    }

    pub(super) fn greeting(&self) -> String {
        let kept = match &self.folder {
            None => "nothing is kept; --state DIR keeps it".to_owned(),
            Some(folder) => format!("all is kept in {}", folder.path.display()),
        };
        format!("rig {}: {}; {kept}", self.rig.name, self.rig.about)
    }

    pub(super) fn now(&self) -> Nanos {
        self.stage.array.now()
    }

    pub(super) fn power_on(&mut self) {
        self.stage.array.power_on(PowerDomain::CHASSIS);
    }

    /// Whether time passes by itself.
    pub(super) fn runs_freely(&self) -> bool {
        self.stage.array.runs_freely()
    }

    /// Whether something real is on its CAN bus.
    pub(super) fn is_bridged(&self) -> bool {
        self.bridge.is_some()
    }

    /// Letter of the console in front.
    pub(super) fn front(&self) -> char {
        emulator::array::slot_letter(self.front)
    }

    /// Types a line at the console in front; says why nobody will read it, if so.
    pub(super) fn type_line(&mut self, line: &str) -> Result<(), String> {
        let (now, letter) = (self.now(), self.front());
        // A serial port hears what the key of a terminal sends.
        let end = if self.runs_freely() { '\r' } else { '\n' };
        let board = self.stage.array.board_mut(Source::Board(self.front));
        let board = board.map_err(|error| error.to_string())?;
        if board.controller().is_none() {
            return Err(format!("slot {letter} is empty; :insert {letter}"));
        }
        if !board.powered() {
            return Err(format!("{letter} has no power; :on {letter}"));
        }
        board
            .console_mut()
            .type_bytes(now, format!("{line}{end}").as_bytes());
        Ok(())
    }

    /// Lets virtual time pass and prints what was said meanwhile.
    pub(super) fn advance(&mut self, span: Nanos, out: &mut impl Write) -> Result<(), BenchError> {
        let deadline = self.now() + span;
        let mut until = self.now();
        while until < deadline {
            until = match self.bridge {
                None => deadline,
                Some(_) => deadline.min(until + BRIDGE_STEP),
            };
            self.stage.run_until(until, |_| false).map_err(broken)?;
            self.carry(out);
        }
        for slot in 0..self.shown.len() {
            let lines = self.stage.console(slot);
            for line in lines.get(self.shown[slot]..).unwrap_or_default() {
                let letter = emulator::array::slot_letter(slot);
                let _ = writeln!(out, "{letter}| {line}");
            }
            if lines.len() > self.shown[slot] {
                self.begun[slot] = Default::default();
            }
            self.shown[slot] = lines.len();
        }
        if self.timeline {
            for entry in self.stage.timeline().get(self.seen..).unwrap_or_default() {
                if !entry.what.starts_with("| ") {
                    let _ = writeln!(out, "  {}  {:<6} {}", entry.at, entry.who, entry.what);
                }
            }
        }
        self.seen = self.stage.timeline().len();
        let _ = out.flush();
        Ok(())
    }

    /// Carries frames between the array's CAN bus and the one outside.
    fn carry(&mut self, out: &mut impl Write) {
        let now = self.now();
        let Some(bridge) = &mut self.bridge else {
            return;
        };
        let mut news = Vec::new();
        if let Some(bus) = &mut self.stage.array.shared_mut().can {
            bridge.exchange(now, bus, &mut news);
        }
        for line in news {
            let _ = writeln!(out, "  {line}");
        }
    }

    /// Prints what consoles have begun to say and left so since this was last called: a prompt, mostly. With its end
    /// it comes once more.
    pub(super) fn show_unfinished(&mut self, out: &mut impl Write) {
        for (slot, (begun, on_show)) in self.begun.iter_mut().enumerate() {
            let line = self.stage.unfinished_line(slot);
            if *begun != line {
                (*begun, *on_show) = (line, false);
            } else if !line.is_empty() && !std::mem::replace(on_show, true) {
                let letter = emulator::array::slot_letter(slot);
                let _ = writeln!(out, "{letter}| {line}");
            }
        }
        let _ = out.flush();
    }

    pub(super) fn obey(&mut self, command: &Command) -> Result<String, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        match command {
            Command::Front(slot) => {
                self.front = self.position(*slot)?;
                return Ok(format!("console of {slot}"));
            }
            Command::Status => return Ok(self.status()),
            Command::On(units) => self.stage.array.power_on(self.domain(units)?),
            Command::Cut(units) => {
                let domain = self.domain(units)?;
                self.stage.array.power_cut(domain, Shape::Torn);
            }
            Command::Reset { board, warm } => {
                let reason = if *warm {
                    ResetReason::Warm
                } else {
                    ResetReason::Cold
                };
                let array = &mut self.stage.array;
                array
                    .reset(Source::of(board.unit()), reason)
                    .map_err(|e| text(&e))?;
            }
            Command::Pull(board) => {
                let array = &mut self.stage.array;
                let controller = array.pull(Source::of(board.unit())).map_err(|e| text(&e))?;
                let serial = controller.serial.clone();
                if let Socket::Slot(_) = board {
                    self.pulled.insert(serial.clone(), controller);
                }
                self.keep().map_err(|e| text(&e))?;
                return Ok(format!("pulled {serial}"));
            }
            Command::Insert {
                board,
                serial,
                build,
            } => {
                let (serial, build) = (serial.as_deref(), build.as_deref());
                return match board {
                    Socket::Slot(slot) => self.insert(*slot, serial, build),
                    Socket::Node(_) if build.is_some() => Err("a node keeps no build".to_owned()),
                    Socket::Node(node) => self.insert_node(*node, serial),
                };
            }
            Command::Media(what) => {
                let media = &mut self.stage.array.shared_mut().media;
                match what {
                    None => media.eject(),
                    Some(what) => {
                        let bytes = if what.contains('/') {
                            read_binary(Path::new(what), LARGEST_FIRMWARE_BYTES)
                                .map_err(|problem| format!("{what}: {}", problem.what))?
                        } else {
                            let build = Build::parse(what, Path::new(""))
                                .map_err(|(w, r)| format!("{w}; {r}"))?;
                            provision::package_bytes(&PackageContents::of(&build), self.seed)
                                .map_err(|e| text(&e))?
                        };
                        media.insert(what, bytes.into());
                    }
                }
                self.stage.array.faces_changed();
            }
            Command::Host(rate) => {
                let plan = Plan {
                    interval: Nanos(1_000_000_000 / u64::from(*rate)),
                    blocks: 256,
                    write_percent: 50,
                    depth: 4,
                    seed: self.seed,
                };
                let now = self.now();
                self.stage.host.start(now, plan);
            }
            Command::HostStop => self.stage.host.stop(),
            Command::HostVerify => {
                let now = self.now();
                self.stage.host.verify(now);
            }
            Command::Panel { board, file } => {
                if let Some(Socket::Node(node)) = board
                    && let Some(node) = self.rig.nodes().nth((*node).into())
                    && node.group.kind != NodeType::OperatorPanel
                {
                    return Err(format!("{} has no panel", node.name));
                }
                let place =
                    board.map_or(Source::Board(self.front), |board| Source::of(board.unit()));
                return self.panel(place, file.as_deref());
            }
            Command::Timeline(on) => self.timeline = *on,
            Command::Help | Command::Quit => {}
        }
        Ok(String::new())
    }

    fn position(&self, slot: Slot) -> Result<usize, String> {
        let position = usize::try_from(slot.index()).unwrap_or(usize::MAX);
        if position < self.shown.len() {
            Ok(position)
        } else {
            Err(format!("this rig has no slot {slot}"))
        }
    }

    fn domain(&self, units: &[Unit]) -> Result<PowerDomain, String> {
        for unit in units {
            if let Unit::Board(slot) = unit {
                self.position(*slot)?;
            }
        }
        Ok(if units.is_empty() {
            PowerDomain::CHASSIS
        } else {
            PowerDomain::of(units)
        })
    }

    fn insert(
        &mut self,
        slot: Slot,
        serial: Option<&str>,
        build: Option<&str>,
    ) -> Result<String, String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let position = self.position(slot)?;
        let boards = || self.stage.array.boards().iter();
        if boards()
            .nth(position)
            .is_some_and(|b| b.controller().is_some())
        {
            return Err(format!("slot {slot} is taken; :pull {slot} first"));
        }
        let mut lying = self.pulled.keys();
        let serial = match (serial, lying.next(), lying.next()) {
            (Some(serial), ..) => serial.to_owned(),
            (None, Some(only), None) => only.clone(),
            (None, None, _) => return Err("no board lies on the desk; name a serial number".into()),
            (None, ..) => {
                let all: Vec<&str> = self.pulled.keys().map(String::as_str).collect();
                return Err(format!("which of {}?", all.join(", ")));
            }
        };
        if !is_serial(&serial) {
            return Err(format!(
                "a serial number is at most {SERIAL_MAX} letters, digits and dashes"
            ));
        }
        let fitted = boards().position(|b| b.controller().is_some_and(|c| c.serial == serial));
        if let Some(other) = fitted {
            let other = emulator::array::slot_letter(other);
            return Err(format!("{serial} is in slot {other}"));
        }
        let (controller, what) = match (self.pulled.remove(&serial), build) {
            (Some(controller), None) => (controller, "as it was pulled".to_owned()),
            (Some(controller), Some(_)) => {
                self.pulled.insert(serial.clone(), controller);
                return Err(format!(
                    "{serial} is no new board; its flash holds what it holds"
                ));
            }
            (None, build) => self.new_board(&serial, build)?,
        };
        self.stage
            .array
            .insert(Source::Board(position), controller)
            .map_err(|e| text(&e))?;
        self.stage.array.power_on(PowerDomain::board(position));
        self.keep().map_err(|e| text(&e))?;
        Ok(format!("{serial} is in slot {slot}, {what}"))
    }

    /// A new node, as nothing can be told from what lay on the desk.
    fn insert_node(&mut self, node: u16, serial: Option<&str>) -> Result<String, String> {
        let socket = Socket::Node(node);
        let parts = self.rig.nodes().nth(node.into()).ok_or("no such node")?;
        if serial.is_some_and(|serial| !is_serial(serial)) {
            return Err(format!(
                "a serial number is at most {SERIAL_MAX} letters, digits and dashes"
            ));
        }
        let serial = serial.unwrap_or(&parts.name);
        let image = provision::kept_image(parts.group).map_err(|e| e.to_string())?;
        let board =
            Controller::of_node(&self.rig, &parts, serial, &image).map_err(|e| e.to_string())?;
        let array = &mut self.stage.array;
        array
            .insert(Source::of(socket.unit()), board)
            .map_err(|error| error.to_string())?;
        array.power_on(PowerDomain::of(&[socket.unit()]));
        Ok(format!("{serial} is in the place of {}", parts.name))
    }

    /// A board that was never here before.
    fn new_board(&self, serial: &str, build: Option<&str>) -> Result<(Controller, String), String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        if let Some(folder) = &self.folder {
            folder.discard_board(serial).map_err(|e| text(&e))?;
        }
        let build = match build {
            Some("blank") => None,
            Some(build) => {
                Some(Build::parse(build, Path::new("")).map_err(|(w, r)| format!("{w}; {r}"))?)
            }
            None if self.runs_freely() => None,
            None => Some(self.firmware.clone()),
        };
        let mut controller =
            Controller::blank(&self.rig, serial, &self.storage).map_err(|e| text(&e))?;
        let Some(build) = build else {
            return Ok((controller, "new, its flash blank".to_owned()));
        };
        provision::fill_flash(&mut controller, &flash(&build), &self.rig, self.seed)
            .map_err(|e| text(&e))?;
        Ok((controller, format!("new, with {build} in its flash")))
    }

    /// What the array is built as.
    pub(super) fn rig(&self) -> &Rig {
        &self.rig
    }

    pub(super) fn status(&self) -> String {
        let mut lines = Vec::new();
        for (slot, (board, view)) in self
            .stage
            .array
            .boards()
            .iter()
            .zip(self.stage.views())
            .enumerate()
        {
            let letter = emulator::array::slot_letter(slot);
            let serial = board.controller().map_or("empty", |c| c.serial.as_str());
            let power = if board.powered() { "on" } else { "off" };
            let runs = view.application.as_deref().unwrap_or("-");
            let role = view.role.as_deref().unwrap_or("-");
            let state = view.state.as_str();
            lines.push(format!(
                "{letter} {serial:<16} power {power:<3} {state:<12} runs {runs:<10} {role}"
            ));
        }
        for nodes in nodes_alike(&self.stage, &self.rig) {
            lines.push(nodes_line(&nodes));
        }
        let figures = self.stage.host.figures();
        lines.push(format!(
            "host: {} reads, {} writes, {} failed; longest outage {} s; {} problems",
            figures.reads,
            figures.writes,
            figures.failed,
            self.stage.host.outage(Nanos::ZERO, self.now()),
            self.stage.host.problems().len(),
        ));
        lines.push(format!(
            "shelf: {:?}; virtual time {}.{:03} s",
            self.stage.array.shared().shelf.status().state,
            self.now().0 / 1_000_000_000,
            self.now().0 / 1_000_000 % 1000,
        ));
        lines.extend(self.bridge.as_ref().map(Bridge::status));
        if !self.pulled.is_empty() {
            let lying: Vec<&str> = self.pulled.keys().map(String::as_str).collect();
            lines.push(format!("on the desk: {}", lying.join(", ")));
        }
        lines.join("\n")
    }

    fn panel(&self, place: Source, file: Option<&str>) -> Result<String, String> {
        let board = self.stage.array.board(place).ok_or("no such board")?;
        let pixels = board.panel().pixels();
        let Some(file) = file else {
            return Ok(glass::draw(pixels, PANEL_WIDTH));
        };
        let panel = Panel {
            slot: place.to_string(),
            width: u32::try_from(PANEL_WIDTH).unwrap_or(0),
            height: PANEL_HEIGHT,
            rgb: pixels
                .chunks_exact(4)
                .flat_map(|p| [p[0], p[1], p[2]])
                .collect(),
        };
        fs::write(file, panel.encode()?).map_err(|error| format!("{file}: {error}"))?;
        Ok(format!("wrote {file}"))
    }

    /// Writes down which boards there are.
    fn keep(&self) -> Result<(), BenchError> {
        let Some(folder) = &self.folder else {
            return Ok(());
        };
        let boards = self.stage.array.boards().iter();
        let boards = boards
            .map(|board| board.controller().map(|c| c.serial.clone()))
            .collect();
        folder.write(&self.rig, boards, self.pulled.keys().cloned().collect())
    }
}

fn flash(build: &Build) -> FlashContents {
    use emulator::rig::BankLetter::{A, B};
    let image = |sequence| BankContents::Image {
        build: build.clone(),
        sequence,
        damage: None,
    };
    FlashContents::from([
        ((2, A), image(2)),
        ((2, B), image(1)),
        ((3, A), image(2)),
        ((3, B), image(1)),
    ])
}
