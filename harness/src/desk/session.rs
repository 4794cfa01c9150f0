//! The array on the desk, and what is kept of it between runs.
//!
//! The state directory holds the media (flash chips by serial number, member disks) and `array.json`,
//! which says what belongs to which slot. Media are written through at once; `array.json` is written
//! last when a state is made and replaced as a whole, so that a kill at any moment loses nothing.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use devices::board_control::ResetReason;
use devices::power::Shape;
use devices::time::Nanos;
use emulator::array::{Array, PowerDomain, Storage, WiringError};
use emulator::board::Controller;
use emulator::rig::{Rig, Slot, Unit};
use serde::{Deserialize, Serialize};

use super::command::Command;
use super::glass;
use crate::golden::Panel;
use crate::host::{Host, Plan, Timing, transport};
use crate::provision;
use crate::runner::{BenchError, BootRequest};
use crate::scenario::contents::{
    ArrayContents, BankContents, Build, FlashContents, PackageContents,
};
use crate::stage::{Declared, Stage};

const KEPT: &str = "array.json";
const PANEL_WIDTH: usize = 256;
const PANEL_HEIGHT: u32 = 128;
const BLOCK_BYTES: usize = 4096;
/// Longest `array.json` worth reading.
const KEPT_BYTES_MAX: u64 = 64 << 10;

/// What is written beside the media.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    rig: Rig,
    /// Serial number of the board in each slot; nothing: empty.
    boards: Vec<Option<String>>,
}

/// An array somebody sits at.
#[derive(Debug)]
pub(super) struct Session {
    stage: Stage,
    rig: Rig,
    storage: Storage,
    front: usize,
    shown: Vec<usize>,
    seen: usize,
    timeline: bool,
    pulled: BTreeMap<String, Controller>,
    seed: u64,
}

fn broken(error: impl std::fmt::Display) -> BenchError {
    BenchError::Firmware {
        what: error.to_string(),
    }
}

/// The rig was checked before, so what cannot be built is a file that does not fit it.
fn unusable(error: WiringError) -> BenchError {
    match error {
        WiringError::Medium(error) => BenchError::State {
            what: format!("{error}: {}; name another state directory", error.source),
        },
        error => broken(error),
    }
}

/// What a serial number may be: it is part of the names of files.
fn is_serial(text: &str) -> bool {
    let plain = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
    !text.is_empty() && text.len() <= 16 && text.chars().all(plain)
}

impl Session {
    pub(super) fn open(request: &BootRequest) -> Result<Session, BenchError> {
        let rig = &request.rig;
        let (storage, kept) = match &request.state {
            None => (Storage::Memory, None),
            Some(folder) => {
                fs::create_dir_all(folder).map_err(|source| BenchError::Host {
                    what: format!("the state directory {} cannot be made", folder.display()),
                    source,
                })?;
                (Storage::Folder(folder.clone()), read_kept(folder, rig)?)
            }
        };
        if let (Some(folder), None) = (&request.state, &kept) {
            discard_unfinished(folder);
        }
        let rom = provision::rom(rig).map_err(broken)?;
        let mut array = Array::of_rig(rig, rom, &storage, request.seed).map_err(unusable)?;
        let boards = match &kept {
            Some(kept) => kept.boards.clone(),
            None => rig.slots().map(|slot| Some(rig.serial(slot))).collect(),
        };
        if kept.is_none() {
            let package = ArrayContents::Package(package(&request.firmware));
            provision::fill_shelf(&mut array.shared_mut().shelf, &package, request.seed)
                .map_err(broken)?;
        }
        for (slot, serial) in boards.iter().enumerate() {
            let Some(serial) = serial else { continue };
            let mut controller = Controller::blank(rig, serial, &storage).map_err(unusable)?;
            if kept.is_none() {
                let flash = flash(&request.firmware);
                provision::fill_flash(&mut controller, &flash, rig, request.seed)
                    .map_err(broken)?;
            }
            array.insert(slot, controller).map_err(broken)?;
        }
        let slots = boards.len();
        let host = Host::new(
            transport::of_rig(rig),
            slots,
            Timing::default(),
            BLOCK_BYTES,
        );
        let session = Session {
            stage: Stage::new(array, rig.clone(), host, Declared::default()),
            rig: rig.clone(),
            storage,
            front: 0,
            shown: vec![0; slots],
            seen: 0,
            timeline: false,
            pulled: BTreeMap::new(),
            seed: request.seed,
        };
        session.keep()?;
        Ok(session)
    }

    pub(super) fn greeting(&self) -> String {
        let kept = match &self.storage {
            Storage::Memory => "nothing is kept".to_owned(),
            Storage::Folder(folder) => format!("media are kept in {}", folder.display()),
        };
        format!(
            "rig {}: {} controller slots; {kept}",
            self.rig.name,
            self.rig.slots().count()
        )
    }

    pub(super) fn now(&self) -> Nanos {
        self.stage.array.now()
    }

    pub(super) fn power_on(&mut self) {
        self.stage.array.power_on(PowerDomain::CHASSIS);
    }

    pub(super) fn type_line(&mut self, line: &str) {
        let now = self.now();
        if let Ok(board) = self.stage.array.board_mut(self.front) {
            board
                .console_mut()
                .type_bytes(now, format!("{line}\n").as_bytes());
        }
    }

    /// Lets virtual time pass and prints what was said meanwhile.
    pub(super) fn advance(&mut self, span: Nanos, out: &mut impl Write) -> Result<(), BenchError> {
        let deadline = self.now() + span;
        self.stage.run_until(deadline, |_| false).map_err(broken)?;
        for slot in 0..self.shown.len() {
            let lines = self.stage.console(slot);
            for line in lines.get(self.shown[slot]..).unwrap_or_default() {
                let letter = emulator::array::slot_letter(slot);
                let _ = writeln!(out, "{letter}| {line}");
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
            Command::Reset { slot, warm } => {
                let reason = if *warm {
                    ResetReason::Warm
                } else {
                    ResetReason::Cold
                };
                let position = self.position(*slot)?;
                self.stage
                    .array
                    .reset(position, reason)
                    .map_err(|e| text(&e))?;
            }
            Command::Pull(slot) => {
                let position = self.position(*slot)?;
                let controller = self.stage.array.pull(position).map_err(|e| text(&e))?;
                let serial = controller.serial.clone();
                self.pulled.insert(serial.clone(), controller);
                self.keep().map_err(|e| text(&e))?;
                return Ok(format!("pulled {serial}"));
            }
            Command::Insert { slot, serial } => self.insert(*slot, serial.as_deref())?,
            Command::Media(what) => {
                let media = &mut self.stage.array.shared_mut().media;
                match what {
                    None => media.eject(),
                    Some(what) => {
                        let bytes = if what.contains('/') {
                            fs::read(what).map_err(|error| format!("{what}: {error}"))?
                        } else {
                            let build = Build::parse(what, Path::new(""))
                                .map_err(|(w, r)| format!("{w}; {r}"))?;
                            provision::package_bytes(&package(&build), self.seed)
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
            Command::Panel { slot, file } => {
                return self.panel(
                    slot.map_or(Ok(self.front), |slot| self.position(slot))?,
                    file.as_deref(),
                );
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

    fn insert(&mut self, slot: Slot, serial: Option<&str>) -> Result<(), String> {
        let position = self.position(slot)?;
        let serial = match serial {
            Some(serial) => serial.to_owned(),
            None => self
                .pulled
                .keys()
                .next()
                .cloned()
                .ok_or("no board lies on the desk; name a serial number")?,
        };
        if !is_serial(&serial) {
            return Err("a serial number is at most 16 letters, digits and dashes".to_owned());
        }
        let controller = match self.pulled.remove(&serial) {
            Some(controller) => controller,
            None => {
                Controller::blank(&self.rig, &serial, &self.storage).map_err(|e| e.to_string())?
            }
        };
        self.stage
            .array
            .insert(position, controller)
            .map_err(|e| e.to_string())?;
        self.stage.array.power_on(PowerDomain::board(position));
        self.keep().map_err(|e| e.to_string())
    }

    fn status(&self) -> String {
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
            "shelf: {:?}; virtual time {} s",
            self.stage.array.shared().shelf.status().state,
            self.now()
        ));
        lines.join("\n")
    }

    fn panel(&self, slot: usize, file: Option<&str>) -> Result<String, String> {
        let board = self.stage.array.boards().get(slot).ok_or("no such board")?;
        let pixels = board.panel().pixels();
        let Some(file) = file else {
            return Ok(glass::draw(pixels, PANEL_WIDTH));
        };
        let panel = Panel {
            slot: emulator::array::slot_letter(slot).to_string(),
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

    /// Writes which board is in which slot.
    fn keep(&self) -> Result<(), BenchError> {
        let Storage::Folder(folder) = &self.storage else {
            return Ok(());
        };
        let boards = self.stage.array.boards().iter();
        let boards = boards
            .map(|board| board.controller().map(|c| c.serial.clone()))
            .collect();
        let kept = Kept {
            rig: self.rig.clone(),
            boards,
        };
        let text = serde_json::to_vec_pretty(&kept).map_err(broken)?;
        let (new, path) = (folder.join("array.json.new"), folder.join(KEPT));
        let problem = |source| BenchError::Host {
            what: format!("{} cannot be written", path.display()),
            source,
        };
        fs::write(&new, text)
            .and_then(|()| fs::rename(&new, &path))
            .map_err(problem)
    }
}

/// What the state directory says, if it says anything.
fn read_kept(folder: &Path, rig: &Rig) -> Result<Option<Kept>, BenchError> {
    let path = folder.join(KEPT);
    let complain = |what: &str, remedy: &str| BenchError::State {
        what: format!("{}: {what}; {remedy}", path.display()),
    };
    let long = fs::metadata(&path).is_ok_and(|file| file.len() > KEPT_BYTES_MAX);
    let text = match fs::read(&path) {
        Ok(text) if !long => text,
        Ok(_) => {
            return Err(complain(
                "it is no state of an array",
                "name another directory",
            ));
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(complain(
                &error.to_string(),
                "mend it or name another directory",
            ));
        }
    };
    let kept: Kept = serde_json::from_slice(&text).map_err(|error| {
        complain(
            &error.to_string(),
            "name another directory, or delete this one",
        )
    })?;
    if !kept.boards.iter().flatten().all(|serial| is_serial(serial)) {
        return Err(complain(
            "a serial number in it is none",
            "name another directory, or delete this one",
        ));
    }
    if kept.rig != *rig || kept.boards.len() != rig.slots().count() {
        return Err(complain(
            "it belongs to another rig",
            "boot that rig, or name another directory",
        ));
    }
    Ok(Some(kept))
}

/// Removes the media of a state whose making was cut short: only files that a state has.
fn discard_unfinished(folder: &Path) {
    let ours = |path: &PathBuf| {
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or("");
        name.starts_with("flash-AB1-")
            || name
                .strip_prefix("disk-")
                .is_some_and(|n| n.parse::<u32>().is_ok())
    };
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for path in entries
        .filter_map(Result::ok)
        .map(|entry| entry.path())
        .filter(ours)
    {
        // What cannot be removed is complained about when it is opened.
        let _ = fs::remove_file(path);
    }
}

fn package(build: &Build) -> PackageContents {
    PackageContents {
        l2: build.clone(),
        l3: build.clone(),
        damage: None,
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
