//! From a rig file to an array.

use std::path::PathBuf;
use std::sync::Arc;

use devices::board_control::{BankEntry, BoardIdentity};
use devices::can::{BitRates, CanBus, SegmentId, Topology};
use devices::flash::{FlashChip, FlashPart, Geometry, SpiBus, Timings};
use devices::medium::{Medium, MediumError};
use devices::network::PortSettings;
use devices::shelf::{DiskTiming, Level, Region, Shelf, ShelfSettings};
use devices::time::Nanos;
use thiserror::Error;

use super::{Array, ArrayError, ArrayParts, CrashPolicy, NodeParts, Source};
use crate::board::{Broken, Controller};
use crate::engine::EngineChoice;
use crate::engine::qemu::installation::Missing;
use crate::rig::{self, BankLetter, Node, NodeGroup, NodeType, Rig};

/// An array cannot be built from a rig.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum WiringError {
    /// The host cannot run it.
    #[error(transparent)]
    Array(#[from] ArrayError),
    /// A file behind a medium is unusable.
    #[error(transparent)]
    Medium(#[from] MediumError),
    /// A machine that only QEMU has, and there is no QEMU.
    #[error(transparent)]
    Qemu(#[from] Missing),
    /// The rig asks for hardware that cannot exist.
    #[error("the rig's {what} cannot be built: {why}")]
    Hardware {
        /// Which part.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
}

/// Where an array keeps what survives a loss of power.
#[derive(Clone, Debug, Default)]
pub enum Storage {
    /// In memory, gone with the array.
    #[default]
    Memory,
    /// In files of this folder.
    Folder(PathBuf),
}

impl Storage {
    fn medium(&self, name: &str, length: u64, fill: u8) -> Result<Medium, MediumError> {
        match self {
            Storage::Memory => Ok(Medium::memory(length, fill)),
            Storage::Folder(folder) => Medium::file(&folder.join(name), length, fill),
        }
    }
}

impl Controller {
    /// A controller of the rig's board type with blank flash.
    ///
    /// # Errors
    /// The chips cannot exist, or their files are unusable.
    pub fn blank(rig: &Rig, serial: &str, storage: &Storage) -> Result<Controller, WiringError> {
        let flash = &rig.board.flash;
        let mut chips = Vec::new();
        for index in 0..flash.chips {
            let name = format!("flash-{serial}-{index}");
            let medium = storage.medium(&name, flash.chip_size.0, 0xff)?;
            chips.push(chip(rig, flash.chip_size.0, medium)?);
        }
        Ok(Controller {
            serial: serial.to_owned(),
            flash: SpiBus::new(chips),
            straps: rig.board.strap_bits(),
            broken: Broken::default(),
        })
    }
}

impl Controller {
    /// The board of a node: it keeps nothing but its boot ROM, which stays with its place, and what is in its
    /// flash chip if it has one. A new one has `image` there.
    ///
    /// # Errors
    /// The chip cannot exist, or is too small.
    pub fn of_node(
        rig: &Rig,
        node: &Node<'_>,
        serial: &str,
        image: &[u8],
    ) -> Result<Controller, WiringError> {
        let mut chips = Vec::new();
        if node.group.has_flash() {
            let medium = Medium::memory(NODE_FLASH_BYTES, 0xff);
            let mut chip = chip(rig, NODE_FLASH_BYTES, medium)?;
            chip.preload(0, image)?;
            chips.push(chip);
        }
        Ok(Controller {
            serial: serial.to_owned(),
            flash: SpiBus::new(chips),
            straps: straps(node.group),
            broken: Broken::default(),
        })
    }
}

/// Size of the flash chip of a node that has one (board manual §11).
const NODE_FLASH_BYTES: u64 = 1 << 20;

/// A flash chip of the rig's kind.
fn chip(rig: &Rig, bytes: u64, medium: Medium) -> Result<FlashChip, WiringError> {
    let impossible = |why: String| WiringError::Hardware { what: "flash", why };
    let geometry = Geometry::of_size(bytes).map_err(|error| impossible(error.to_string()))?;
    let mut part = FlashPart::new(geometry);
    part.timings = flash_timings(&rig.timings);
    FlashChip::new(part, medium).map_err(|error| impossible(error.to_string()))
}

impl Array {
    /// An array as `rig` says, without power and without controllers in its slots.
    ///
    /// # Errors
    /// The host cannot run it, or a file behind a medium is unusable.
    pub fn of_rig(
        rig: &Rig,
        engine: &EngineChoice,
        roms: &Roms,
        storage: &Storage,
        seed: u64,
    ) -> Result<Array, WiringError> {
        let identity = identity(rig);
        let parts = ArrayParts {
            identities: rig.slots().map(|_| identity.clone()).collect(),
            engine: engine.for_machine(rig.board.machine)?,
            can: can(rig),
            nodes: nodes(rig, &roms.nodes),
            machine: rig.board.machine,
            boot: rig.board.boot.clone(),
            devices: rig.board.devices.clone(),
            rom: Arc::clone(&roms.controllers),
            shelf: shelf(rig, storage)?,
            backplane: port(rig.links.backplane_latency),
            host_link: port(rig.links.host_latency),
            calendar_base: rig.calendar_start_s,
            crash_policy: match rig.on_crash {
                rig::CrashPolicy::Reset => CrashPolicy::Reset,
                rig::CrashPolicy::StayDown => CrashPolicy::StayDown,
            },
            hang_limit: std::time::Duration::from_nanos(rig.hang_limit.0.0),
            seed,
        };
        let mut array = Array::new(parts)?;
        for (index, node) in rig.nodes().enumerate() {
            let image = roms.images.get(index).map_or(&[][..], |image| image);
            let controller = Controller::of_node(rig, &node, &node.name, image)?;
            array.insert(Source::Node(index), controller)?;
        }
        for (slot, name) in rig.slots().enumerate() {
            array
                .shared_mut()
                .hosts
                .set_cable(slot, rig.is_cabled(name));
        }
        Ok(array)
    }
}

/// What boards start from.
#[derive(Clone, Debug)]
pub struct Roms {
    /// Of all controllers.
    pub controllers: Arc<[u8]>,
    /// Of each node.
    pub nodes: Vec<Arc<[u8]>>,
    /// What the factory put into the flash of each node; nothing where there is none.
    pub images: Vec<Vec<u8>>,
}

fn can(rig: &Rig) -> Option<CanBus> {
    let can = &rig.can;
    let segments = u16::try_from(can.segments.len()).ok().filter(|n| *n > 0)?;
    let segment = |index: usize| SegmentId::try_from(index).unwrap_or(0);
    let mut topology = Topology::new(segments);
    for cable in &can.cables {
        let [a, b] = cable
            .joins
            .each_ref()
            .map(|name| segment(rig.segment(name)));
        topology = topology.with_cable(a, b);
    }
    let rates = BitRates {
        nominal: can.bit_rate,
        data: can.data_bit_rate,
    };
    let mut bus = CanBus::new(topology, rates);
    let controllers = rig.slots().map(|slot| rig.segment_of(slot));
    for index in controllers.chain(rig.nodes().map(|node| node.segment)) {
        bus.add_node(segment(index))?;
    }
    Some(bus)
}

/// Nodes have board control and CAN, those of the operator a panel, some flash.
fn nodes(rig: &Rig, roms: &[Arc<[u8]>]) -> Vec<NodeParts> {
    let parts = |(node, rom): (Node<'_>, &Arc<[u8]>)| {
        let panel = (node.group.kind == NodeType::OperatorPanel).then_some("panel");
        let flash = node.group.has_flash().then_some("flash");
        let devices = ["control", "can"].into_iter().chain(panel).chain(flash);
        NodeParts {
            identity: BoardIdentity {
                ram_mib: node.group.ram_mib,
                ..BoardIdentity::default()
            },
            rom: Arc::clone(rom),
            devices: devices.map(str::to_owned).collect(),
        }
    };
    rig.nodes().zip(roms).map(parts).collect()
}

/// The straps of a node (board manual §11): what it is, the set it is updated with, and how it asks.
fn straps(group: &NodeGroup) -> u32 {
    group.kind.code() | u32::from(group.set) << 8 | u32::from(group.generic) << 16
}

fn port(latency: rig::Span) -> PortSettings {
    PortSettings {
        latency: latency.0,
        ..PortSettings::default()
    }
}

/// What the chassis tells every board.
fn identity(rig: &Rig) -> BoardIdentity {
    let bank = |bank: &rig::Bank| BankEntry {
        level: bank.level,
        bank: match bank.bank {
            BankLetter::A => 0,
            BankLetter::B => 1,
        },
        chip: u8::try_from(bank.chip).unwrap_or(u8::MAX),
        offset: u32::try_from(bank.offset.0).unwrap_or(u32::MAX),
        size: u32::try_from(bank.size.0).unwrap_or(u32::MAX),
    };
    BoardIdentity {
        ram_mib: rig.board.ram_mib,
        banks: rig.board.flash.bank_table().iter().map(bank).collect(),
        signing_key: rig.board.signing_key_bytes(),
        ..BoardIdentity::default()
    }
}

/// Members move 200 MB/s.
const MEMBER_BYTE: Nanos = Nanos(5);

/// How fast the disks of a rig are.
pub fn disk_timing(timings: &rig::Timings) -> DiskTiming {
    DiskTiming {
        read: timings.member_read.0,
        write: timings.member_write.0,
        byte: MEMBER_BYTE,
        cache: timings.cache_access.0,
    }
}

/// How fast the flash chips of a rig are.
pub fn flash_timings(timings: &rig::Timings) -> Timings {
    Timings {
        page_program: timings.page_program.0,
        sector_erase: timings.sector_erase.0,
        block_erase: timings.block_erase.0,
        chip_erase: timings.chip_erase.0,
    }
}

fn shelf(rig: &Rig, storage: &Storage) -> Result<Shelf, WiringError> {
    let settings = ShelfSettings {
        level: match rig.shelf.level {
            rig::RaidLevel::Zero => Level::Zero,
            rig::RaidLevel::One => Level::One,
            rig::RaidLevel::Five => Level::Five,
            rig::RaidLevel::Six => Level::Six,
        },
        chunk_bytes: u32::try_from(rig.shelf.chunk.0).unwrap_or(u32::MAX),
        cache_bytes: rig.shelf.cache.0,
        timing: disk_timing(&rig.timings),
        regions: REGIONS.iter().map(region).collect(),
        array_id: ARRAY_ID,
    };
    let mut disks = Vec::new();
    for index in 0..rig.shelf.members + rig.shelf.spares {
        disks.push(storage.medium(&disk_name(index), rig.shelf.member_size.0, 0)?);
    }
    let spares = disks.split_off(
        usize::try_from(rig.shelf.members)
            .unwrap_or(usize::MAX)
            .min(disks.len()),
    );
    Shelf::assemble(settings, disks, spares).map_err(|error| WiringError::Hardware {
        what: "shelf",
        why: error.to_string(),
    })
}

/// Written into the superblock of every member disk of the bench.
pub const ARRAY_ID: u64 = 0x4142_2d31;

/// Parts of the volume whose traffic the shelf counts apart: name, first sector, sectors. They are
/// those of the reference firmware's volume layout (firmware manual); the shelf only counts.
const REGIONS: [(&str, u64, u64); 3] = [
    ("catalogue", 0, 64),
    ("packages", 64, 16_384 - 64),
    ("data", 16_384, u64::MAX - 16_384),
];

fn region((name, first_sector, sectors): &(&str, u64, u64)) -> Region {
    Region {
        name: (*name).to_owned(),
        first_sector: *first_sector,
        sectors: *sectors,
    }
}

fn disk_name(index: u32) -> String {
    format!("disk-{index}")
}
