//! The devices under test with their cores: one of each, and two on a network and on a bus.

use std::sync::Arc;

use devices::block::BlockVirtio;
use devices::board_control::{
    BankEntry, BoardControl, BoardControlCore, BoardControlVirtio, BoardIdentity, ResetReason,
};
use devices::can::{BitRates, CanBus, CanVirtio, NodeId, Topology};
use devices::console::{Console, ConsoleVirtio};
use devices::event::DeviceEvent;
use devices::flash::{FlashChip, FlashPart, Geometry, SpiBus, VirtioSpi};
use devices::medium::Medium;
use devices::midplane::Midplane;
use devices::network::{PortSettings, PortVirtio, Segment};
use devices::panel::{Framebuffer, PanelVirtio};
use devices::service_media::ServiceMedia;
use devices::shelf::{DiskTiming, Level, Shelf, ShelfSettings};
use devices::time::Nanos;

use super::host::Pace;
use crate::service::Visit;

pub(super) const CONTROL: usize = 0;
pub(super) const FLASH: usize = 1;
pub(super) const SHELF: usize = 2;
pub(super) const MEDIA: usize = 3;
pub(super) const CONSOLE: usize = 4;
pub(super) const NETWORK: usize = 5;
/// The other end of the network.
pub(super) const PARTNER: usize = 6;
pub(super) const PANEL: usize = 7;
pub(super) const CAN: usize = 8;
/// Another controller on the bus.
pub(super) const CAN_PARTNER: usize = 9;

/// The node of the bus that cases send and hear with.
pub(super) const WATCHER: NodeId = 2;

/// Bytes of the flash chip.
pub(super) const CHIP_BYTES: u64 = 1 << 20;
/// The calendar when time began.
pub(super) const CALENDAR: u64 = 1_700_000_000;

pub(super) struct Hardware {
    control: BoardControlVirtio,
    pub(super) board: BoardControl,
    pub(super) midplane: Midplane,
    flash: VirtioSpi,
    pub(super) bus: SpiBus,
    shelf: BlockVirtio<Shelf>,
    pub(super) volume: Shelf,
    slot: BlockVirtio<ServiceMedia>,
    pub(super) media: ServiceMedia,
    console: ConsoleVirtio,
    pub(super) terminal: Console,
    ports: [PortVirtio; 2],
    pub(super) segment: Segment,
    panel: PanelVirtio,
    pub(super) glass: Framebuffer,
    controllers: [CanVirtio; 2],
    pub(super) wire: CanBus,
    /// All that happened.
    pub(super) events: Vec<DeviceEvent>,
}

pub(super) fn identity() -> BoardIdentity {
    let bank = |bank| BankEntry {
        level: 2,
        bank,
        chip: 0,
        offset: 0x4_0000 * u32::from(bank),
        size: 0x4_0000,
    };
    BoardIdentity {
        slot: 1,
        slots: 2,
        ram_mib: 16,
        serial: "AB-1-0042".to_owned(),
        reset_reason: ResetReason::Warm,
        boots: 3,
        straps: 0x105,
        banks: vec![bank(0), bank(1)],
        signing_key: [0x5c; 32],
        reset_time: Nanos(7),
        reset_calendar: CALENDAR,
    }
}

pub(super) const fn mac(unit: usize) -> [u8; 6] {
    [0x02, 0xab, 0, 0, 0, if unit == NETWORK { 0 } else { 1 }]
}

impl Hardware {
    /// Everything has power. Where time is held, disks take an hour and frames a minute.
    pub(super) fn new(pace: Pace) -> Hardware {
        let disk = match pace {
            Pace::Leap => Nanos::from_millis(1),
            Pace::Held => Nanos::from_secs(3600),
        };
        let settings = ShelfSettings {
            level: Level::One,
            chunk_bytes: 4096,
            cache_bytes: 0,
            timing: DiskTiming {
                read: disk,
                write: disk,
                byte: Nanos(1),
                cache: Nanos(1),
            },
            regions: Vec::new(),
            array_id: 1,
        };
        let disks = vec![Medium::memory(2 << 20, 0), Medium::memory(2 << 20, 0)];
        let mut volume = Shelf::create(settings, disks, Vec::new()).unwrap();
        let mut events = Vec::new();
        volume.power_on(Nanos::ZERO, &mut events);
        let part = FlashPart::new(Geometry::of_size(CHIP_BYTES).unwrap());
        let mut bus = SpiBus::new(vec![FlashChip::blank(part)]);
        bus.power_on();
        let mut segment = Segment::new(2, PortSettings::default());
        let mut midplane = Midplane::new(2, CALENDAR);
        for slot in 0..2 {
            midplane.set_present(slot, true);
            midplane.set_powered(slot, true);
            segment.set_powered(usize::try_from(slot).unwrap(), true);
        }
        let rates = match pace {
            Pace::Leap => BitRates::default(),
            // A server that lets a ring settle waits two seconds for what is due: nothing is.
            Pace::Held => BitRates {
                nominal: 1,
                data: 4,
            },
        };
        let mut wire = CanBus::new(Topology::new(1), rates);
        for _ in 0..=WATCHER {
            let node = wire.add_node(0).unwrap();
            wire.set_powered(Nanos::ZERO, node, true);
        }
        wire.start(Nanos::ZERO, WATCHER);
        Hardware {
            control: BoardControlVirtio::default(),
            board: BoardControl::new(identity()),
            midplane,
            flash: VirtioSpi::new(),
            bus,
            shelf: BlockVirtio::new(0),
            volume,
            slot: BlockVirtio::new(0),
            media: ServiceMedia::default(),
            console: ConsoleVirtio::default(),
            terminal: Console::default(),
            ports: [
                PortVirtio::new(0, mac(NETWORK)),
                PortVirtio::new(1, mac(PARTNER)),
            ],
            segment,
            panel: PanelVirtio::default(),
            glass: Framebuffer::default(),
            controllers: [CanVirtio::new(0), CanVirtio::new(1)],
            wire,
            events,
        }
    }

    pub(super) fn insert(&mut self, label: &str, bytes: &[u8]) {
        self.media.insert(label, Arc::from(bytes));
    }

    pub(super) fn with<V: Visit>(&mut self, unit: usize, visit: V) -> V::Answer {
        match unit {
            CONTROL => {
                let mut core = BoardControlCore {
                    board: &mut self.board,
                    midplane: &mut self.midplane,
                };
                visit.visit(&mut self.control, &mut core)
            }
            FLASH => visit.visit(&mut self.flash, &mut &mut self.bus),
            SHELF => visit.visit(&mut self.shelf, &mut &mut self.volume),
            MEDIA => visit.visit(&mut self.slot, &mut &mut self.media),
            CONSOLE => visit.visit(&mut self.console, &mut &mut self.terminal),
            NETWORK | PARTNER => {
                let port = &mut self.ports[unit - NETWORK];
                visit.visit(port, &mut &mut self.segment)
            }
            PANEL => visit.visit(&mut self.panel, &mut &mut self.glass),
            CAN | CAN_PARTNER => {
                let controller = &mut self.controllers[unit - CAN];
                visit.visit(controller, &mut &mut self.wire)
            }
            _ => unreachable!("there is no such unit"),
        }
    }

    pub(super) fn advance(&mut self, now: Nanos, events: &mut Vec<DeviceEvent>) {
        self.volume.advance(now, events);
        self.wire.advance(now);
    }

    /// When the cores have something to do by themselves.
    pub(super) fn deadline(&self) -> Option<Nanos> {
        let own = [self.volume.deadline(), self.wire.deadline()];
        own.into_iter().flatten().min()
    }
}
