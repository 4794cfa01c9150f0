//! The master of the bus, carried out on the board: the midplane lock says who is active (K8), the array keeps
//! what must outlive a loss of power.

use cluster::Role;
use distribution::{
    Authority, Configuration, Edition, MASTER_SET, Master, MasterAction, MasterEvent,
};
use image::{Kind, Package};
use runtime::board_control::{LockAction, SlotMask};
use runtime::can::{CanController, Frame};
use runtime::{DeviceError, number};
use system_area::{Catalogue, Condition, commit};

use super::Nodes;
use super::command::{Command, HELP, parse};
use super::library::{Images, MEMORY_BYTES};
use super::settings::Settings;
use crate::application::Context;
use crate::chassis::Chassis;
use crate::hardware::Hardware;
use crate::publish::SYSTEM_AREA_LOCK;
use crate::source::look;

/// Frames of a broadcast that may wait for the bus. The controller's queue has 32 places: some are left for
/// heartbeats and commands.
const TRANSMIT_QUEUE: u8 = 28;
/// In an update, how long a set may take to come back. Nodes test themselves and ask at once.
const SET_TIMEOUT_NS: u64 = 20_000_000_000;

/// The master, active or not.
#[derive(Debug)]
pub(crate) struct CanMaster {
    bus: Option<Bus>,
    pub(super) master: Master,
    pub(super) images: Images,
    pub(super) settings: Settings,
    /// How far an update has come, as the array has it.
    kept_turn: u8,
    /// The catalogue is to be looked at.
    is_stale: bool,
}

/// The controller, and what it was given.
#[derive(Debug)]
struct Bus {
    can: CanController,
    places: usize,
    queued: usize,
    failed: u32,
}

impl Bus {
    fn open(hardware: &Hardware) -> Option<Bus> {
        let can = CanController::open_acknowledged(&hardware.control, number::CAN).ok()?;
        Some(Bus {
            places: can.room().ok()?,
            can,
            queued: 0,
            failed: 0,
        })
    }

    /// Frames that are on the bus since the last call, and frames that never will be.
    fn settled(&mut self) -> Result<(u8, u8), DeviceError> {
        let waiting = self.places.saturating_sub(self.can.room()?);
        let settled = self.queued.saturating_sub(waiting);
        let failed = self.can.failed().wrapping_sub(self.failed);
        self.queued = waiting;
        self.failed = self.can.failed();
        let settled = u8::try_from(settled).unwrap_or(u8::MAX);
        let failed = u8::try_from(failed).unwrap_or(u8::MAX).min(settled);
        Ok((settled - failed, failed))
    }

    fn send(&mut self, frame: &distribution::Frame) -> Result<bool, DeviceError> {
        let Some(frame) = Frame::new(frame.identifier(), frame.payload()) else {
            return Ok(false);
        };
        let taken = self.can.send(&frame)?;
        self.queued += usize::from(taken);
        Ok(taken)
    }
}

impl Nodes for CanMaster {
    const SERVES: bool = true;

    fn new(hardware: &Hardware, memory: &mut &'static mut [u8]) -> CanMaster {
        let bus = Bus::open(hardware);
        let whole = core::mem::take(memory);
        let (rest, images) = whole.split_at_mut(whole.len().saturating_sub(MEMORY_BYTES));
        *memory = rest;
        let slot = hardware.slot();
        let settings = Settings::default();
        let configuration = Configuration {
            node: slot,
            slot,
            authority: Authority::Lock,
            wait: settings.wait,
            offer: settings.offer,
            flexible: bus.as_ref().is_some_and(|bus| bus.can.has_fd()),
            transmit_queue: TRANSMIT_QUEUE,
            frame_gap_ns: 0,
            set_timeout_ns: SET_TIMEOUT_NS,
        };
        CanMaster {
            bus,
            master: Master::new(configuration, hardware.control.now_ns()),
            images: Images::new(images),
            settings,
            kept_turn: 0,
            is_stale: true,
        }
    }

    fn open(&mut self, context: &mut Context<'_>) {
        if self.bus.is_some() {
            self.refresh(context);
        }
    }

    fn masks(&self) -> [SlotMask; 2] {
        match &self.bus {
            None => [0; 2],
            // While frames go out, one wake-up for all of them.
            Some(bus) if bus.queued > 0 => [0, bus.can.mask()],
            Some(bus) => [bus.can.mask(), 0],
        }
    }

    fn deadline_ns(&self) -> u64 {
        match &self.bus {
            None => u64::MAX,
            Some(_) => self.master.deadline_ns(),
        }
    }

    fn serve(&mut self, context: &mut Context<'_>, chassis: &mut Chassis) {
        if let Err(error) = self.try_serve(context, chassis) {
            let control = &context.hardware.control;
            control.trace(format_args!("bus-failed cause={error}"));
            self.bus = None;
        }
    }

    fn help(&self, hardware: &Hardware) {
        for (usage, what) in HELP {
            hardware.say(format_args!("{usage:<12}  {what}"));
        }
    }

    fn obey(&mut self, context: &mut Context<'_>, words: &str) {
        let hardware = context.hardware;
        let command = parse(words);
        if let Command::Usage(usage) = command {
            return hardware.say(format_args!("error: usage: {usage}"));
        }
        if self.bus.is_none() {
            return hardware.say(format_args!("error: there is no CAN bus"));
        }
        let changes = !matches!(command, Command::Show | Command::List | Command::ListAll);
        if changes && !self.master.is_active() {
            return hardware.say(format_args!(
                "error: this controller is not the master; use the console of the one that is"
            ));
        }
        let now_ns = hardware.control.now_ns();
        match command {
            Command::Show => self.show(hardware),
            Command::List | Command::ListAll if self.master.nodes().next().is_none() => {
                hardware.say(format_args!("no node was heard yet"));
            }
            Command::List => self.list(hardware),
            Command::ListAll => self.list_all(hardware),
            Command::Reboot(scope) => {
                self.master.reboot(scope);
                hardware.say(format_args!("told to reboot"));
            }
            Command::Update(order) => self.master.update(now_ns, order),
            Command::Wait(wait) => self.set(
                context,
                Settings {
                    wait,
                    ..self.settings
                },
            ),
            Command::Offer(offer) => self.set(
                context,
                Settings {
                    offer,
                    ..self.settings
                },
            ),
            Command::Usage(_) => {}
        }
        // Now, and not with the next heartbeat. A bus that fails is told of there.
        let _failed = self.act(hardware);
    }

    fn objection(&self, package: &Package) -> Option<&'static str> {
        // A standby knows by the heartbeats how far it is.
        if self.master.is_updating() || self.master.turn() != 0 {
            return Some("node-update-unfinished");
        }
        let has_images = self.images.has_any(Edition::Base);
        (has_images && package.part(Kind::Node).is_none()).then_some("no-node-part")
    }

    fn catalogue_changed(&mut self) {
        self.is_stale = true;
    }
}

impl CanMaster {
    fn try_serve(
        &mut self,
        context: &mut Context<'_>,
        chassis: &mut Chassis,
    ) -> Result<(), DeviceError> {
        let hardware = context.hardware;
        let control = &hardware.control;
        let Some(bus) = &mut self.bus else {
            return Ok(());
        };
        if bus.can.is_bus_off() {
            bus.can.restart(control)?;
        }
        let now_ns = control.now_ns();
        let (sent, failed) = bus.settled()?;
        self.master.sent(sent);
        if failed > 0 {
            self.master.send_failed(failed);
        }
        while let Some(frame) = bus.can.receive()? {
            self.master.frame(now_ns, frame.id(), frame.data());
        }
        // On its way out it has given the lock up, but not its role.
        let is_operational = chassis.cluster().is_operational(hardware.slot());
        let owns = is_operational && chassis.role() == Some(Role::Master);
        self.is_stale |= chassis.take_catalogue_news() || (owns && !self.master.is_active());
        if self.is_stale && !self.master.is_broadcasting() {
            self.refresh(context);
        }
        let owner = owns.then_some(hardware.slot());
        self.master.lock(now_ns, owner, chassis.master_epoch());
        self.master.tick(now_ns, &self.images);
        if self.master.is_active() {
            // Before any node hears of it.
            self.keep_turn(context);
        }
        self.act(hardware)
    }

    fn act(&mut self, hardware: &Hardware) -> Result<(), DeviceError> {
        while let Some(action) = self.master.next_action() {
            match action {
                MasterAction::Send(frame) => {
                    let taken = match &mut self.bus {
                        Some(bus) => bus.send(&frame)?,
                        None => false,
                    };
                    if !taken {
                        self.master.send_failed(1);
                    }
                }
                MasterAction::Trace(event) => {
                    hardware.control.trace(format_args!("{event}"));
                    tell(hardware, &event);
                }
            }
        }
        Ok(())
    }

    /// Looks at the catalogue, and reads from the array what is new.
    fn refresh(&mut self, context: &mut Context<'_>) {
        let hardware = context.hardware;
        let Condition::Present(catalogue) = look(hardware, context.work) else {
            // What is in memory is as good as ever.
            return;
        };
        self.is_stale = false;
        self.images.read(hardware, &catalogue);
        self.apply(Settings::decode(&catalogue.node_settings()));
        self.kept_turn = catalogue.node_turn();
        if !self.master.is_updating() && self.master.turn() != self.kept_turn {
            self.master.set_turn(self.kept_turn);
        }
    }

    fn apply(&mut self, settings: Settings) {
        self.settings = settings;
        self.master.set_wait(settings.wait);
        self.master.set_offer(settings.offer);
    }

    /// Has the array keep how far an update has come.
    fn keep_turn(&mut self, context: &mut Context<'_>) {
        let turn = self.master.turn();
        if turn == MASTER_SET && !self.master.is_updating() {
            // Step 390 is done for all sets: what was the update is what nodes run.
            if self.change(context, Catalogue::finish_node_update) {
                self.kept_turn = 0;
                self.master.set_turn(0);
                self.is_stale = true;
            }
        } else if turn != self.kept_turn
            && self.change(context, |catalogue| catalogue.set_node_turn(turn))
        {
            self.kept_turn = turn;
        }
    }

    fn set(&mut self, context: &mut Context<'_>, settings: Settings) {
        let hardware = context.hardware;
        let bytes = settings.encode();
        if self.change(context, |catalogue| catalogue.set_node_settings(bytes)) {
            self.apply(settings);
            self.show_settings(hardware);
        } else {
            hardware.say(format_args!("error: the array does not keep it; try again"));
        }
    }

    /// Changes the catalogue. False when that did not work: somebody else is writing, or the array is out of
    /// reach.
    fn change(&self, context: &mut Context<'_>, change: impl FnOnce(&mut Catalogue)) -> bool {
        let hardware = context.hardware;
        let control = &hardware.control;
        let lock = control.lock(SYSTEM_AREA_LOCK, LockAction::Acquire);
        if lock.is_ok_and(|lock| lock.refused) {
            return false;
        }
        let changed = match look(hardware, context.work) {
            Condition::Present(mut catalogue) => {
                change(&mut catalogue);
                commit(&mut hardware.array(), &mut catalogue).is_ok()
            }
            _ => false,
        };
        let _free_after_reset = control.lock(SYSTEM_AREA_LOCK, LockAction::Release);
        changed
    }
}

/// What an operator who began an update wants to hear.
fn tell(hardware: &Hardware, event: &MasterEvent) {
    match event {
        MasterEvent::UpdateStarted => hardware.say(format_args!("node update started")),
        MasterEvent::UpdateRefused(refusal) => {
            hardware.say(format_args!("error: node update refused: {refusal}"));
        }
        MasterEvent::SetStarted {
            set: Some(set),
            by_operator: true,
        } => hardware.say(format_args!("reboot set {set} now")),
        MasterEvent::SetUpdated { set: Some(set) } => {
            hardware.say(format_args!("set {set} runs the update"));
        }
        MasterEvent::UpdateFinished => hardware.say(format_args!("node update finished")),
        MasterEvent::UpdateAborted(refusal) => {
            hardware.say(format_args!("error: node update aborted: {refusal}"));
        }
        _ => {}
    }
}
