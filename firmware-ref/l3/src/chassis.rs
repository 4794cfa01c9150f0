//! The cluster's actions, carried out on the board.

use cluster::interlock::{Controller, Controllers};
use cluster::message::step_down_request;
use cluster::{
    Action, Cluster, Configuration, Declared, Heartbeat, Lock, LockAnswer, LockVerb, Role,
    SLOTS_MAX,
};
use runtime::board_control::{HoldAction, LockAction, Neighbour, ResetKind};
use scsi::target::AccessState;

use crate::application::Context;
use crate::host_port::HostPort;
use crate::source::Store;

/// This controller among the others.
#[derive(Debug)]
pub(crate) struct Chassis {
    cluster: Cluster,
    slot: u8,
    slots: u8,
    /// Of the master's lock, as last answered.
    master_epoch: u64,
    /// What the array declares was looked up again.
    has_catalogue_news: bool,
}

impl Chassis {
    pub(crate) fn new(context: &Context<'_>) -> Chassis {
        let identity = context.hardware.control.identity();
        Chassis {
            cluster: Cluster::new(Configuration {
                slot: identity.slot,
                version: context.running.version,
                boots: identity.boots,
                understands_2: context.build.heartbeat_2,
                tolerates_mixed: identity.straps.baseline_no_compare(),
            }),
            slot: identity.slot,
            slots: identity.slots,
            master_epoch: 0,
            has_catalogue_news: false,
        }
    }

    /// Counts masters: that of the midplane lock.
    pub(crate) fn master_epoch(&self) -> u64 {
        self.master_epoch
    }

    /// Whether another controller has changed the catalogue since the last call.
    pub(crate) fn take_catalogue_news(&mut self) -> bool {
        core::mem::take(&mut self.has_catalogue_news)
    }

    /// The state machine, to ask.
    pub(crate) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    pub(crate) fn role(&self) -> Option<Role> {
        self.cluster.role()
    }

    pub(crate) fn deadline_ns(&self) -> u64 {
        self.cluster.deadline_ns()
    }

    /// The slots of the chassis.
    pub(crate) fn slots(&self) -> impl Iterator<Item = u8> + use<> {
        let most = u8::try_from(SLOTS_MAX).unwrap_or(u8::MAX);
        0..self.slots.min(most)
    }

    /// The application runs: ask for a role.
    pub(crate) fn start(
        &mut self,
        context: &mut Context<'_>,
        declared: Option<Declared>,
        host_port: &mut HostPort,
    ) {
        drop_stale(context);
        self.cluster.declare(declared);
        self.cluster.start(context.hardware.control.now_ns());
        self.act(context, host_port);
    }

    pub(crate) fn tick(&mut self, context: &mut Context<'_>, host_port: &mut HostPort) {
        self.cluster.tick(context.hardware.control.now_ns());
        self.act(context, host_port);
    }

    pub(crate) fn heard(
        &mut self,
        context: &mut Context<'_>,
        heartbeat: &Heartbeat,
        host_port: &mut HostPort,
    ) {
        let now_ns = context.hardware.control.now_ns();
        self.cluster.heard(now_ns, heartbeat);
        self.act(context, host_port);
    }

    /// The catalogue was changed from here.
    pub(crate) fn declare(
        &mut self,
        context: &mut Context<'_>,
        declared: Option<Declared>,
        host_port: &mut HostPort,
    ) {
        self.cluster.declare(declared);
        self.act(context, host_port);
    }

    /// About to reset: gives everything up.
    pub(crate) fn leave(&mut self, context: &mut Context<'_>, host_port: &mut HostPort) {
        self.cluster.leave();
        self.act(context, host_port);
    }

    /// Asks the controller in `slot` to hand over to this one; false when there is nothing to hand over.
    pub(crate) fn ask_to_step_down(&mut self, context: &Context<'_>, slot: u8) -> bool {
        let Some(port) = &context.hardware.backplane else {
            return false;
        };
        let request = step_down_request(self.slot, slot);
        self.cluster.succeed(slot)
            && port
                .send(&context.hardware.control, &[request.as_bytes()])
                .is_ok()
    }

    /// A partner asks this controller to hand over.
    pub(crate) fn step_down(&mut self, context: &mut Context<'_>, host_port: &mut HostPort) {
        self.cluster.step_down(context.hardware.control.now_ns());
        self.act(context, host_port);
    }

    /// Puts another controller into reset.
    pub(crate) fn hold(&mut self, context: &mut Context<'_>, slot: u8, host_port: &mut HostPort) {
        // One that is not there is stopped already.
        let control = &context.hardware.control;
        let _there = control.hold(slot, HoldAction::Hold);
        self.cluster.stopped(control.now_ns(), slot);
        self.act(context, host_port);
    }

    /// Looks at the reset line of another controller; nothing where there is no such slot.
    pub(crate) fn neighbour(&self, context: &Context<'_>, slot: u8) -> Option<Neighbour> {
        if slot == self.slot {
            return None;
        }
        let control = &context.hardware.control;
        control.hold(slot, HoldAction::Query).ok()
    }

    /// Everybody, for the interlocks.
    pub(crate) fn controllers(&self, context: &Context<'_>) -> Controllers {
        let mut controllers = Controllers::default();
        for (slot, place) in self.slots().zip(&mut controllers) {
            *place = if slot == self.slot {
                Controller {
                    powered: true,
                    held: false,
                    operational: self.cluster.is_operational(slot),
                }
            } else {
                let neighbour = self.neighbour(context, slot);
                Controller {
                    powered: neighbour.is_some_and(|n| n.present && n.powered),
                    held: neighbour.is_some_and(|n| n.held),
                    operational: self.cluster.is_operational(slot),
                }
            };
        }
        controllers
    }

    /// The same, where only who could take the logical unit over counts as operational.
    pub(crate) fn stand_ins(&self, context: &Context<'_>) -> Controllers {
        let mut controllers = self.controllers(context);
        for (slot, place) in self.slots().zip(&mut controllers) {
            place.operational = self.cluster.could_serve(slot);
        }
        controllers
    }

    fn act(&mut self, context: &mut Context<'_>, host_port: &mut HostPort) {
        let hardware = context.hardware;
        let control = &hardware.control;
        while let Some(action) = self.cluster.next_action() {
            match action {
                Action::Lock(lock, verb) => self.lock(context, lock, verb),
                Action::Send(heartbeat) => {
                    if let Some(port) = hardware.backplane.as_ref().filter(|p| p.link_is_up()) {
                        // The next one comes in 100 ms.
                        let _lost = port.send(control, &[heartbeat.encode().as_bytes()]);
                    }
                }
                Action::Trace(event) => control.trace(format_args!("{event}")),
                Action::ReadDeclaration => {
                    self.has_catalogue_news = true;
                    let declared = Store::open(hardware, context.work).declaration();
                    self.cluster.declare(declared);
                }
                // The states below follow.
                Action::ServeLun | Action::StopLun => {}
                Action::Reset => {
                    control.trace(format_args!("reset-requested cause=fenced"));
                    control.reset(ResetKind::Cold)
                }
            }
        }
        for slot in self.slots() {
            let state = if self.cluster.serves_lun(slot) {
                AccessState::ActiveOptimized
            } else if self.cluster.is_operational(slot) {
                AccessState::Standby
            } else {
                AccessState::Unavailable
            };
            host_port.set_access_state(slot, state);
        }
    }

    fn lock(&mut self, context: &Context<'_>, lock: Lock, verb: LockVerb) {
        let action = match verb {
            LockVerb::Acquire => LockAction::Acquire,
            LockVerb::Take => LockAction::Take,
            LockVerb::Release => LockAction::Release,
        };
        let answer = match context.hardware.control.lock(lock.number(), action) {
            Ok(answer) => LockAnswer {
                owner: answer.owner,
                epoch: answer.epoch,
            },
            // A midplane without arbiter has one controller only.
            Err(_) => LockAnswer {
                owner: Some(self.slot),
                epoch: 0,
            },
        };
        if lock == Lock::Master {
            self.master_epoch = answer.epoch;
        }
        self.cluster.lock_answered(lock, verb, answer);
    }
}

/// Drops what the partners sent while this controller could not listen: it says how things were.
fn drop_stale(context: &Context<'_>) {
    const FRAMES_AT_MOST: usize = 256;
    let hardware = context.hardware;
    let Some(port) = &hardware.backplane else {
        return;
    };
    let mut frame = [0; 64];
    let mut dropped = 0;
    while dropped < FRAMES_AT_MOST {
        let before = dropped;
        while let Ok(Some(_)) = port.receive(&mut frame) {
            dropped += 1;
        }
        if dropped == before {
            return;
        }
        // The card has room for more of them now.
        hardware.settle();
    }
}
