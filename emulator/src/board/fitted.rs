//! Which device sits in which slot of a board, and how it is served.
//!
//! This is the only place that knows all device types of a board. Everything else works on
//! slot numbers.

use devices::block::BlockVirtio;
use devices::board_control::{BoardControl, BoardControlCore, BoardControlVirtio, BoardIdentity};
use devices::can::CanVirtio;
use devices::console::{Console, ConsoleVirtio};
use devices::event::DeviceEvent;
use devices::flash::VirtioSpi;
use devices::network::PortVirtio;
use devices::panel::{Framebuffer, PanelVirtio};
use devices::service_media::ServiceMedia;
use devices::shelf::Shelf;
use devices::time::Nanos;
use devices::virtio::{GuestMemory, VirtioDevice};
use serde::{Deserialize, Serialize};
use virtio_bindings::virtio_ring::VRING_AVAIL_F_NO_INTERRUPT;
use virtio_queue::QueueT;
use vm_memory::{Bytes, GuestAddress};

use super::controller::Controller;
use crate::service::{self, NextDeadline, Served, Show, Visit};
use crate::shared::Shared;
use crate::slot::{Face, Slot};

/// Device slots of a board.
pub(super) const SLOTS: usize = 24;
/// Slot of board control.
pub(super) const CONTROL: usize = 0;
/// Slot of the SPI controller with the flash.
pub const FLASH_SLOT: usize = 1;
/// Slot of the block device on the shelf.
pub(super) const SHELF: usize = 2;
const MEDIA: usize = 3;
const CONSOLE: usize = 4;
const BACKPLANE: usize = 5;
const HOST: usize = 6;
const PANEL: usize = 7;
const CAN: usize = 8;
const FITTED: usize = 9;

/// Names of the fitted slots, for people.
pub const DEVICE_NAMES: [&str; FITTED] = [
    "control",
    "flash",
    "shelf",
    "media",
    "console",
    "backplane",
    "host",
    "panel",
    "can",
];

/// The virtio sides of a board's devices.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Fitted {
    control: BoardControlVirtio,
    flash: VirtioSpi,
    shelf: BlockVirtio<Shelf>,
    media: BlockVirtio<ServiceMedia>,
    console: ConsoleVirtio,
    backplane: PortVirtio,
    host: PortVirtio,
    panel: PanelVirtio,
    can: CanVirtio,
}

/// The cores that belong to the slot and not to the controller in it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct LocalCores {
    pub(super) control: BoardControl,
    pub(super) console: Console,
    pub(super) panel: Framebuffer,
}

impl LocalCores {
    pub(super) fn new(identity: BoardIdentity) -> LocalCores {
        LocalCores {
            control: BoardControl::new(identity),
            console: Console::default(),
            panel: Framebuffer::default(),
        }
    }
}

/// What a board has of the bench, and how it runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Fitting {
    /// Its firmware knows no board control: it is served as it comes, in real time.
    pub runs_freely: bool,
    /// Names of its devices, of [`DEVICE_NAMES`]; nothing: all of them.
    pub devices: Option<Vec<String>>,
}

impl Fitting {
    fn has(&self, index: usize) -> bool {
        let name = DEVICE_NAMES.get(index);
        let fitted =
            |devices: &Vec<String>| name.is_some_and(|name| devices.iter().any(|d| d == name));
        self.devices.as_ref().is_none_or(fitted)
    }
}

/// Everything a device may work on, borrowed for one call.
pub(super) struct Cores<'a> {
    pub(super) local: &'a mut LocalCores,
    pub(super) controller: Option<&'a mut Controller>,
    pub(super) shared: &'a mut Shared,
}

/// What one service of one device came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Serviced {
    /// Queues on which it returned buffers of which the driver wants to hear (bit n = queue n).
    pub(crate) returned: u32,
    /// Requests taken and not answered.
    pub(crate) unfinished: usize,
    /// Something the driver can read changed.
    pub(crate) changed: bool,
}

impl Fitted {
    pub(super) fn new(index: usize) -> Fitted {
        Fitted {
            control: BoardControlVirtio::default(),
            flash: VirtioSpi::new(),
            shelf: BlockVirtio::new(index),
            media: BlockVirtio::new(index),
            console: ConsoleVirtio::default(),
            backplane: PortVirtio::new(index, mac(0x00, index)),
            host: PortVirtio::new(index, mac(0x01, index)),
            panel: PanelVirtio::default(),
            can: CanVirtio::new(u16::try_from(index).unwrap_or(u16::MAX)),
        }
    }

    /// What the driver sees of the device in slot `index`; nothing where there is none, or a broken
    /// one.
    pub(super) fn face(
        &mut self,
        index: usize,
        fitting: &Fitting,
        cores: &mut Cores<'_>,
    ) -> Option<Face> {
        if !fitting.has(index) {
            return None;
        }
        let controller = cores.controller.as_deref();
        if controller.is_some_and(|c| c.broken.missing.contains(&index)) {
            return None;
        }
        let wants_notify = index == CONTROL || fitting.runs_freely;
        self.with(index, cores, Show { wants_notify })
    }

    /// Serves the device in slot `index` if its driver is ready.
    pub(super) fn service(
        &mut self,
        index: usize,
        cores: &mut Cores<'_>,
        serve: Serve<'_>,
    ) -> Serviced {
        self.with(index, cores, serve).unwrap_or_default()
    }

    /// Whether the device in slot `index` has something to do by itself at `now`.
    pub(super) fn is_due(&mut self, index: usize, cores: &mut Cores<'_>, now: Nanos) -> bool {
        let deadline = self.with(index, cores, NextDeadline).flatten();
        deadline.is_some_and(|at| at <= now)
    }

    /// Resets every virtio side: the requests in progress are forgotten, the cores keep what they
    /// have.
    pub(super) fn reset(&mut self, cores: &mut Cores<'_>) {
        for index in 0..FITTED {
            self.with(index, cores, Forget);
        }
    }

    /// When a device that is served next has something to do by itself. One that needs a reset is not:
    /// its deadline would pass and never be met, and time stand still.
    pub(super) fn deadline(&mut self, slots: &[Slot], cores: &mut Cores<'_>) -> Option<Nanos> {
        let served = |slot: &Slot| slot.live && !slot.needs_reset;
        let live = (0..FITTED).filter(|index| slots.get(*index).is_some_and(served));
        live.filter_map(|index| self.with(index, cores, NextDeadline).flatten())
            .min()
    }

    fn with<V: Visit>(
        &mut self,
        index: usize,
        cores: &mut Cores<'_>,
        visit: V,
    ) -> Option<V::Answer> {
        let Cores {
            local,
            controller,
            shared,
        } = cores;
        Some(match index {
            CONTROL => {
                let board = &mut local.control;
                let mut core = BoardControlCore {
                    board,
                    midplane: &mut shared.midplane,
                };
                visit.visit(&mut self.control, &mut core)
            }
            FLASH_SLOT => visit.visit(&mut self.flash, &mut &mut controller.as_mut()?.flash),
            SHELF => visit.visit(&mut self.shelf, &mut &mut shared.shelf),
            MEDIA => visit.visit(&mut self.media, &mut &mut shared.media),
            CONSOLE => visit.visit(&mut self.console, &mut &mut local.console),
            BACKPLANE => visit.visit(&mut self.backplane, &mut &mut shared.backplane),
            HOST => visit.visit(&mut self.host, &mut &mut shared.hosts),
            PANEL => visit.visit(&mut self.panel, &mut &mut local.panel),
            CAN => visit.visit(&mut self.can, &mut shared.can.as_mut()?),
            _ => return None,
        })
    }
}

/// MAC address of a controller's port (board manual §8).
fn mac(network: u8, index: usize) -> [u8; 6] {
    [
        0x02,
        0xab,
        network,
        0,
        0,
        u8::try_from(index).unwrap_or(0xff),
    ]
}

struct Forget;

impl Visit for Forget {
    type Answer = ();
    fn visit<D: VirtioDevice>(self, device: &mut D, core: &mut D::Core<'_>) {
        device.reset(core);
    }
}

/// One service call for one device of a board.
pub(crate) struct Serve<'a> {
    pub(crate) slot: &'a mut Slot,
    pub(crate) memory: &'a GuestMemory,
    pub(crate) now: Nanos,
    pub(crate) events: &'a mut Vec<DeviceEvent>,
}

impl Visit for Serve<'_> {
    type Answer = Serviced;

    fn visit<D: VirtioDevice>(self, device: &mut D, core: &mut D::Core<'_>) -> Serviced {
        let Serve {
            slot,
            memory,
            now,
            events,
        } = self;
        let serves = slot.live && !slot.needs_reset;
        let call = service::Serve {
            slot: &mut *slot,
            memory,
            now,
            events,
            ledger: None,
        };
        let Served { used, changed } = call.visit(device, core);
        let mut serviced = Serviced {
            changed,
            ..Serviced::default()
        };
        if serves {
            let returned = |queue: &usize| used & (1 << queue) != 0;
            serviced.returned = (0..slot.queues.len())
                .filter(|queue| returned(queue) && wants_news(slot, *queue, memory))
                .fold(0, |queues, queue| queues | 1 << queue);
            let requests = |queue: &usize| device.receive_queue() != Some(*queue);
            serviced.unfinished = (0..slot.queues.len())
                .filter(requests)
                .map(|queue| device.in_flight(queue) + left_on_ring(slot, queue, memory))
                .sum();
        }
        serviced
    }
}

/// Whether the driver wants to hear of buffers returned on `queue`: it says so in the available ring's
/// flags (VIRTQ_AVAIL_F_NO_INTERRUPT, virtio 1.4 §2.7.7), which here decide who ends a WAIT.
fn wants_news(slot: &Slot, queue: usize, memory: &GuestMemory) -> bool {
    let ring = slot.queues.get(queue);
    let flags = ring.and_then(|ring| {
        let at = GuestAddress(ring.avail_ring());
        memory.read_obj::<u16>(at).ok()
    });
    flags.is_none_or(|flags| u32::from(u16::from_le(flags)) & VRING_AVAIL_F_NO_INTERRUPT == 0)
}

/// Requests made available that the device has not taken yet.
fn left_on_ring(slot: &Slot, queue: usize, memory: &GuestMemory) -> usize {
    let Some(ring) = slot.queues.get(queue).filter(|ring| ring.ready()) else {
        return 0;
    };
    let index = ring.avail_idx(memory, std::sync::atomic::Ordering::Acquire);
    index.map_or(0, |index| {
        usize::from(index.0.wrapping_sub(ring.next_avail()))
    })
}

#[cfg(test)]
mod tests {
    use devices::can::{BitRates, CanBus, Topology};
    use devices::medium::Medium;
    use devices::midplane::Midplane;
    use devices::network::{PortSettings, Segment};
    use devices::shelf::{DiskTiming, Level, ShelfSettings};

    use super::*;

    fn shared() -> Shared {
        let second = Nanos::from_secs(1);
        let settings = ShelfSettings {
            level: Level::Zero,
            chunk_bytes: 4096,
            cache_bytes: 0,
            timing: DiskTiming {
                read: second,
                write: second,
                byte: Nanos(5),
                cache: second,
            },
            regions: Vec::new(),
            array_id: 1,
        };
        let disk = Medium::memory(1 << 20, 0);
        let segment = || Segment::new(2, PortSettings::default());
        Shared {
            midplane: Midplane::new(1, 0),
            shelf: Shelf::create(settings, vec![disk], Vec::new()).unwrap(),
            media: ServiceMedia::default(),
            backplane: segment(),
            hosts: segment(),
            can: None,
        }
    }

    #[test]
    fn a_device_that_needs_a_reset_holds_up_nobody() {
        let (mut fitted, mut shared) = (Fitted::new(0), shared());
        let mut local = LocalCores::new(BoardIdentity::default());
        let typed = Nanos(7);
        local.console.type_bytes(typed, b"ver");
        let mut slots: Vec<Slot> = (0..SLOTS).map(|_| Slot::default()).collect();
        let mut deadline = |slots: &[Slot]| {
            let mut cores = Cores {
                local: &mut local,
                controller: None,
                shared: &mut shared,
            };
            fitted.deadline(slots, &mut cores)
        };
        assert_eq!(deadline(&slots), None, "no driver");
        slots[CONSOLE].live = true;
        assert_eq!(deadline(&slots), Some(typed));
        slots[CONSOLE].needs_reset = true;
        assert_eq!(deadline(&slots), None);
    }

    /// A board that waits until its CAN controller is idle keeps buffers posted all the time.
    #[test]
    fn buffers_for_what_comes_are_no_requests() {
        let memory = GuestMemory::from_ranges(&[(GuestAddress(0), 0x1_0000)]).unwrap();
        let mut bus = CanBus::new(Topology::new(1), BitRates::default());
        bus.add_node(0).unwrap();
        let mut device = CanVirtio::new(0);
        let mut slot = Slot::default();
        let show = Show {
            wants_notify: false,
        };
        slot.fit(show.visit(&mut device, &mut &mut bus));
        slot.was_reset = false;
        slot.live = true;
        for (queue, at) in slot.queues.iter_mut().zip([0x1000_u16, 0x4000, 0x7000]) {
            let part = |number: u16| Some(u32::from(at + number * 0x1000));
            queue.set_desc_table_address(part(0), Some(0));
            queue.set_avail_ring_address(part(1), Some(0));
            queue.set_used_ring_address(part(2), Some(0));
            queue.set_ready(true);
        }
        let receive = GuestAddress(0x5002);
        memory.write_obj(3_u16, receive).unwrap();
        let serve = Serve {
            slot: &mut slot,
            memory: &memory,
            now: Nanos::ZERO,
            events: &mut Vec::new(),
        };
        let serviced = serve.visit(&mut device, &mut &mut bus);
        assert_eq!(serviced.unfinished, 0);
        // On any other ring they would be.
        assert_eq!(left_on_ring(&slot, 1, &memory), 3);
    }
}
