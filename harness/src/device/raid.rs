//! The RAID shelf as a disk.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use devices::block::{BlockCore, BlockVirtio, Request};
use devices::event::DeviceEvent;
use devices::medium::Medium;
use devices::power::{OperationKind, Shape};
use devices::shelf::{DiskTiming, Level, Shelf, ShelfSettings, ShelfState};
use devices::time::Nanos;
use emulator::array::{ARRAY_ID, disk_timing};
use emulator::rig::{Bytes, RaidLevel, Timings};
use emulator::serve::{Hardware, Pace};
use emulator::service::Visit;

use super::cuts::{self, Cuts, Order, order};
use super::file::{DiskFile, FileKind};
use super::{DeviceError, line, unknown};

const KINDS: [OperationKind; 2] = [OperationKind::MemberWrite, OperationKind::Flush];
/// The port of whoever puts the shelf away, which no front-end has.
const OWN_PORT: usize = usize::MAX;
/// Any time at all: operations have a beginning and an end, between which a cut finds them.
const MOMENT: Nanos = Nanos(1);

/// A member disk or spare.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disk {
    /// A file.
    File(PathBuf),
    /// In memory, gone at the end.
    Memory,
}

/// What is to be served.
#[derive(Clone, Debug)]
pub struct RaidPlan {
    /// RAID level.
    pub level: RaidLevel,
    /// Member disks.
    pub members: Vec<Disk>,
    /// Disks that wait for a member to fail.
    pub spares: Vec<Disk>,
    /// Size of disks that are made.
    pub size: Option<Bytes>,
    /// Bytes of a chunk.
    pub chunk: Bytes,
    /// Bytes of the volatile cache.
    pub cache: Bytes,
    /// How the shelf's time goes: with its disks' real times, or as fast as can be.
    pub pace: Pace,
    /// Whether anybody can cut its power: then operations must take some time.
    pub cuttable: bool,
    /// Decides what cuts leave open.
    pub seed: u64,
}

/// The shelf, its port, and what holds its files.
#[derive(Debug)]
pub struct Raid {
    port: BlockVirtio<Shelf>,
    shelf: Shelf,
    powered: bool,
    size: Option<Bytes>,
    level: RaidLevel,
    /// By disk.
    files: BTreeMap<usize, DiskFile>,
    cuts: Cuts,
}

impl Raid {
    /// What the commands are.
    pub fn help() -> String {
        format!(
            "{}\n\
             fail disk N              disk N answers nothing any more; disks are counted from 0, spares last\n\
             replace disk N FILE      puts another disk in its place (`memory`: one in memory)\n\
             scrub                    looks at all disks for what rotted",
            cuts::HELP
        )
    }

    /// Assembles the shelf and gives it power.
    ///
    /// # Errors
    /// A file is not usable, or the disks make no array.
    pub fn new(plan: &RaidPlan) -> Result<Raid, DeviceError> {
        let mut files = BTreeMap::new();
        let (mut members, mut spares) = (Vec::new(), Vec::new());
        for (number, disk) in plan.members.iter().chain(&plan.spares).enumerate() {
            let medium = medium(disk, plan.size, number, &mut files)?;
            match number < plan.members.len() {
                true => members.push(medium),
                false => spares.push(medium),
            }
        }
        let timing = match plan.pace {
            Pace::Real => disk_timing(&Timings::default()),
            Pace::Leap if plan.cuttable => DiskTiming {
                read: MOMENT,
                write: MOMENT,
                byte: Nanos::ZERO,
                cache: MOMENT,
            },
            Pace::Leap => DiskTiming {
                read: Nanos::ZERO,
                write: Nanos::ZERO,
                byte: Nanos::ZERO,
                cache: Nanos::ZERO,
            },
        };
        let settings = ShelfSettings {
            level: match plan.level {
                RaidLevel::Zero => Level::Zero,
                RaidLevel::One => Level::One,
                RaidLevel::Five => Level::Five,
                RaidLevel::Six => Level::Six,
            },
            chunk_bytes: u32::try_from(plan.chunk.0).unwrap_or(u32::MAX),
            cache_bytes: plan.cache.0,
            timing,
            regions: Vec::new(),
            array_id: ARRAY_ID,
        };
        let mut shelf = Shelf::assemble(settings, members, spares)
            .map_err(|error| DeviceError::Usage(error.to_string()))?;
        shelf.power_on(Nanos::ZERO, &mut Vec::new());
        if shelf.status().state == ShelfState::Failed {
            let level = u8::from(plan.level);
            return Err(DeviceError::File(format!(
                "these disks are not enough of an array of level {level} with {} members and \
                 chunks of {}; say --level, --chunk and all disks as when it was made",
                plan.members.len(),
                plan.chunk,
            )));
        }
        Ok(Raid {
            port: BlockVirtio::new(0),
            shelf,
            powered: true,
            size: plan.size,
            level: plan.level,
            files,
            cuts: Cuts::new(plan.seed),
        })
    }

    /// Size of the volume.
    pub fn volume(&self) -> Bytes {
        Bytes(self.shelf.sectors() * 512)
    }

    fn lose_power(&mut self, now: Nanos, shape: Shape, news: &mut Vec<String>) {
        let mut events = Vec::new();
        let loss = self.cuts.loss(now, shape);
        self.shelf.power_lost(loss, &mut events);
        self.powered = false;
        news.extend(events.into_iter().filter_map(line));
    }

    fn obey(&mut self, now: Nanos, order: Order, news: &mut Vec<String>) -> String {
        match order {
            Order::On => {
                let mut events = Vec::new();
                self.shelf.power_on(now, &mut events);
                self.powered = true;
                news.push("powered-on".to_owned());
                news.extend(events.into_iter().filter_map(line));
            }
            Order::Off => {
                self.put_away(now);
                self.lose_power(now, Shape::Done, news);
                news.push("powered-off".to_owned());
            }
            Order::Cut(shape) => {
                self.lose_power(now, shape, news);
                news.push(cuts::told(None, shape));
            }
            Order::Arm { kind, nth, shape } => self.cuts.arm(kind, nth, shape),
            Order::Disarm => self.cuts.disarm(),
        }
        String::new()
    }

    fn disk(&self, word: &str) -> Result<usize, String> {
        let disks = self.shelf.status().members.len();
        let number = word.parse().ok().filter(|number| *number < disks);
        number.ok_or_else(|| format!("there is no disk {word:?}; they are 0 to {}", disks - 1))
    }

    fn replace(&mut self, number: usize, file: &str, news: &mut Vec<String>) -> Result<(), String> {
        let disk = match file {
            "memory" => Disk::Memory,
            path => Disk::File(Path::new(path).to_path_buf()),
        };
        let mut files = BTreeMap::new();
        let medium = medium(&disk, self.size, number, &mut files).map_err(|it| it.to_string())?;
        let mut events = Vec::new();
        self.shelf.replace_member(number, medium, &mut events);
        self.files.remove(&number);
        self.files.append(&mut files);
        news.extend(events.into_iter().filter_map(line));
        Ok(())
    }

    fn status(&self) -> String {
        let status = self.shelf.status();
        let members: Vec<String> = status
            .members
            .iter()
            .map(|member| format!("{member:?}").to_lowercase())
            .collect();
        let rebuilt = status.rebuild_percent.map(|it| format!(" {it}%"));
        format!(
            "raid {} {}{}; power {}; disks {}; cuts armed {}",
            u8::from(self.level),
            format!("{:?}", status.state).to_lowercase(),
            rebuilt.unwrap_or_default(),
            if self.powered { "on" } else { "off" },
            members.join(" "),
            self.cuts.armed(),
        )
    }
}

impl Hardware for Raid {
    fn with<V: Visit>(&mut self, _port: usize, visit: V) -> V::Answer {
        visit.visit(&mut self.port, &mut &mut self.shelf)
    }

    fn advance(&mut self, now: Nanos, events: &mut Vec<DeviceEvent>) {
        self.shelf.advance(now, events);
    }

    fn deadline(&self) -> Option<Nanos> {
        self.shelf.deadline()
    }

    fn heard(&mut self, now: Nanos, events: &mut Vec<DeviceEvent>, news: &mut Vec<String>) {
        for event in events.drain(..) {
            if let DeviceEvent::OperationBegan(operation) = &event
                && let Some(shape) = self.cuts.began(operation)
            {
                let kind = operation.kind;
                self.lose_power(now, shape, news);
                news.push(cuts::told(Some(kind), shape));
            }
            news.extend(line(event));
        }
    }

    fn command(
        &mut self,
        now: Nanos,
        command: &str,
        news: &mut Vec<String>,
    ) -> Result<String, String> {
        if let Some(order) = order(command, &KINDS) {
            return order.map(|order| self.obey(now, order, news));
        }
        let words: Vec<&str> = command.split_whitespace().collect();
        match words.as_slice() {
            ["status"] => return Ok(self.status()),
            ["scrub"] => {
                let mut events = Vec::new();
                self.shelf.start_scrub(now, &mut events);
                news.extend(events.into_iter().filter_map(line));
            }
            ["fail", "disk", number] => {
                let number = self.disk(number)?;
                let mut events = Vec::new();
                self.shelf.fail_member(number, &mut events);
                news.extend(events.into_iter().filter_map(line));
            }
            ["replace", "disk", number, file] => {
                let number = self.disk(number)?;
                self.replace(number, file, news)?;
            }
            _ => return unknown(command),
        }
        Ok(String::new())
    }

    fn put_away(&mut self, now: Nanos) {
        let mut events = Vec::new();
        let mut now = now;
        let ticket = self
            .shelf
            .submit(now, OWN_PORT, Request::Flush, &mut events);
        loop {
            self.shelf.advance(now, &mut events);
            let done = self.shelf.take_completions(now, OWN_PORT);
            if done.iter().any(|done| done.ticket == ticket) {
                return;
            }
            // Its own time: nobody waits for it any more.
            match BlockCore::deadline(&self.shelf, OWN_PORT) {
                Some(at) => now = now.max(at),
                None => return,
            }
        }
    }
}

fn medium(
    disk: &Disk,
    size: Option<Bytes>,
    number: usize,
    files: &mut BTreeMap<usize, DiskFile>,
) -> Result<Medium, DeviceError> {
    match disk {
        Disk::Memory => {
            let size = size.ok_or_else(|| {
                DeviceError::Usage("a disk in memory needs a size: say --size SIZE".to_owned())
            })?;
            Ok(Medium::memory(size.0, 0))
        }
        Disk::File(path) => {
            let file = DiskFile::open(path, size, FileKind::Disk)?;
            let medium = file.medium()?;
            files.insert(number, file);
            Ok(medium)
        }
    }
}
