//! One controller's view of the chassis, and what it does about it.

use heapless::Deque;
use image::Version;

use crate::action::{Action, Lock, LockAnswer, LockVerb};
use crate::event::{Cause, Event};
use crate::message::{Heartbeat, Role, State};
use crate::serving::Declared;
use crate::{HEARTBEAT_PERIOD_NS, PARTNER_LOSS_NS, SLOTS_MAX};

/// Most actions that one input can cause, several times over.
const ACTIONS_MAX: usize = 32;

/// What a controller sent before it stopped has arrived by then; none is back so soon.
const IN_FLIGHT_NS: u64 = 20_000_000;

/// What does not change while a controller runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// Its slot.
    pub slot: u8,
    /// The version it runs.
    pub version: Version,
    /// Resets since it was put into its slot.
    pub boots: u32,
    /// Whether it understands heartbeats of format 2 (and sends them when everybody does).
    pub understands_2: bool,
    /// Prior art 1B: versions are not looked at (VC91).
    pub tolerates_mixed: bool,
}

/// A partner that is operational, as far as is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Partner {
    heard_ns: u64,
    /// Nothing until its first heartbeat: it is only known to own the master lock.
    pub(crate) heartbeat: Option<Heartbeat>,
}

/// The state machine.
#[derive(Clone, Debug)]
pub struct Cluster {
    pub(crate) configuration: Configuration,
    pub(crate) state: State,
    pub(crate) role: Option<Role>,
    pub(crate) owns_lun: bool,
    /// Of the master lock, as last heard of: tells one tenure of a slot from the next.
    epoch: u64,
    now_ns: u64,
    next_heartbeat_ns: u64,
    pub(crate) declared: Option<Declared>,
    /// An undeclared mix was seen while another controller owned the unit.
    pub(crate) barred: bool,
    pub(crate) undeclared_mix: bool,
    /// Why the next change of role happens.
    cause: Cause,
    /// The master that was asked to hand over to this controller.
    heir_of: Option<u8>,
    /// This controller handed over and does not seek mastery before then.
    abstains_until_ns: u64,
    pub(crate) partners: [Option<Partner>; SLOTS_MAX],
    /// Until then, what the controller in a slot says is from before it stopped.
    deaf_until_ns: [u64; SLOTS_MAX],
    actions: Deque<Action, ACTIONS_MAX>,
}

impl Cluster {
    /// A controller that is not operational yet.
    pub fn new(configuration: Configuration) -> Cluster {
        Cluster {
            configuration,
            state: State::Booting,
            role: None,
            owns_lun: false,
            epoch: 0,
            now_ns: 0,
            next_heartbeat_ns: 0,
            declared: None,
            barred: false,
            undeclared_mix: false,
            cause: Cause::PartnerLost,
            heir_of: None,
            abstains_until_ns: 0,
            partners: [None; SLOTS_MAX],
            deaf_until_ns: [0; SLOTS_MAX],
            actions: Deque::new(),
        }
    }

    /// What to do next.
    pub fn next_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`Cluster::tick`] has something to do.
    pub fn deadline_ns(&self) -> u64 {
        if self.state != State::Operational {
            return u64::MAX;
        }
        let losses = self.partners.iter().flatten();
        losses
            .map(|partner| partner.heard_ns.saturating_add(PARTNER_LOSS_NS))
            .fold(self.next_heartbeat_ns, u64::min)
    }

    /// What this controller is.
    pub fn role(&self) -> Option<Role> {
        self.role
    }

    /// Whether it serves the logical unit.
    pub fn owns_lun(&self) -> bool {
        self.owns_lun
    }

    /// Whether the controller in `slot` is operational, as far as is known.
    pub fn is_operational(&self, slot: u8) -> bool {
        if slot == self.configuration.slot {
            return self.state == State::Operational;
        }
        self.partner(slot).is_some_and(|p| p.heartbeat.is_some())
    }

    /// Whether the controller in `slot` serves the logical unit, as far as is known.
    pub fn serves_lun(&self, slot: u8) -> bool {
        if slot == self.configuration.slot {
            return self.owns_lun;
        }
        self.partner(slot)
            .and_then(|p| p.heartbeat)
            .is_some_and(|heartbeat| heartbeat.owns_lun)
    }

    /// The version that the operational controller in `slot` runs.
    pub fn version_of(&self, slot: u8) -> Option<Version> {
        if slot == self.configuration.slot {
            return Some(self.configuration.version);
        }
        Some(self.partner(slot)?.heartbeat?.version)
    }

    /// The role of the operational controller in `slot`.
    pub fn role_of(&self, slot: u8) -> Option<Role> {
        if slot == self.configuration.slot {
            return self.role;
        }
        self.partner(slot)?.heartbeat?.role
    }

    /// The application runs: ask for a role.
    pub fn start(&mut self, now_ns: u64) {
        self.now_ns = now_ns;
        self.state = State::Operational;
        self.next_heartbeat_ns = now_ns.saturating_add(HEARTBEAT_PERIOD_NS);
        self.act(Action::Lock(Lock::Master, LockVerb::Acquire));
    }

    /// About to reset: gives everything up so that a partner can go on at once.
    pub fn leave(&mut self) {
        if self.state != State::Operational {
            return;
        }
        self.give_up();
        self.state = State::Leaving;
        self.send();
    }

    fn give_up(&mut self) {
        if self.owns_lun {
            self.stop_serving();
            self.act(Action::Lock(Lock::Lun0, LockVerb::Release));
        }
        if self.role == Some(Role::Master) {
            self.act(Action::Lock(Lock::Master, LockVerb::Release));
        }
    }

    /// The master in `slot` is asked to step down for this controller. False when there is nothing to
    /// hand over.
    pub fn succeed(&mut self, slot: u8) -> bool {
        // A partner not heard from yet is known only because it owns the master lock.
        let leads = |partner: Partner| {
            let heartbeat = partner.heartbeat;
            heartbeat.is_none_or(|heartbeat| heartbeat.role == Some(Role::Master))
        };
        let master = self.partner(slot).is_some_and(leads) && !self.barred;
        if master && self.role == Some(Role::Alternate) {
            self.heir_of = Some(slot);
        }
        self.heir_of == Some(slot)
    }

    /// A partner asks this controller to step down: it gives everything up but goes on as an alternate,
    /// so that hosts hear from it where to go.
    pub fn step_down(&mut self, now_ns: u64) {
        self.now_ns = self.now_ns.max(now_ns);
        if self.state != State::Operational || self.role != Some(Role::Master) {
            return;
        }
        self.give_up();
        self.abstains_until_ns = self.now_ns.saturating_add(PARTNER_LOSS_NS);
        self.cause = Cause::Handover;
        self.become_role(Role::Alternate);
    }

    /// Time has come to `now_ns`. All messages that arrived before must have been given in.
    pub fn tick(&mut self, now_ns: u64) {
        self.now_ns = self.now_ns.max(now_ns);
        if self.state != State::Operational {
            return;
        }
        for slot in 0..SLOTS_MAX {
            let Ok(slot) = u8::try_from(slot) else { break };
            let silent = self
                .partner(slot)
                .is_some_and(|p| self.now_ns >= p.heard_ns.saturating_add(PARTNER_LOSS_NS));
            if silent {
                self.lose(slot, Cause::PartnerLost);
            }
        }
        if self.now_ns >= self.next_heartbeat_ns {
            self.next_heartbeat_ns = self.now_ns.saturating_add(HEARTBEAT_PERIOD_NS);
            self.send();
            self.want_lun();
            self.seek_mastery();
        }
    }

    /// A partner's sign of life arrived.
    pub fn heard(&mut self, now_ns: u64, heartbeat: &Heartbeat) {
        self.now_ns = self.now_ns.max(now_ns);
        let slot = heartbeat.slot;
        let deaf_until_ns = self.deaf_until_ns.get(usize::from(slot));
        if slot == self.configuration.slot || deaf_until_ns.is_none_or(|at| self.now_ns < *at) {
            return;
        }
        if heartbeat.state != State::Operational {
            if heartbeat.state == State::Leaving {
                self.lose(slot, Cause::PartnerLeft);
            }
            return;
        }
        let before = self.partner(slot).and_then(|p| p.heartbeat);
        if let Some(place) = self.partners.get_mut(usize::from(slot)) {
            *place = Some(Partner {
                heard_ns: self.now_ns,
                heartbeat: Some(*heartbeat),
            });
        }
        if self.state != State::Operational {
            return;
        }
        let version = heartbeat.version;
        if before.is_none() {
            self.trace(Event::PartnerFound { slot, version });
            // It need not wait for the next period to know of this one.
            self.send();
        }
        if before.is_none_or(|before| before.version != version) {
            self.versions_changed();
        }
        if heartbeat.role == Some(Role::Master) && heartbeat.epoch > self.epoch {
            self.epoch = heartbeat.epoch;
            if self.role == Some(Role::Master) {
                self.deposed();
            }
        }
        if self.heir_of == Some(slot) && heartbeat.role != Some(Role::Master) {
            self.heir_of = None;
            self.cause = Cause::Handover;
            self.act(Action::Lock(Lock::Master, LockVerb::Acquire));
        }
    }

    /// The arbiter answered a [`Action::Lock`].
    pub fn lock_answered(&mut self, lock: Lock, verb: LockVerb, answer: LockAnswer) {
        if self.state != State::Operational || verb == LockVerb::Release {
            return;
        }
        let mine = answer.owner == Some(self.configuration.slot);
        match lock {
            Lock::Master if mine => {
                self.epoch = answer.epoch;
                self.become_role(Role::Master);
                self.want_lun();
            }
            Lock::Master => self.master_is(answer),
            Lock::Lun0 if mine && !self.owns_lun => {
                self.owns_lun = true;
                let epoch = answer.epoch;
                self.trace(Event::LunOwned { epoch });
                self.act(Action::ServeLun);
            }
            Lock::Lun0 if mine => {}
            // Not free although this controller is master: the owner before hangs, or is stopping.
            Lock::Lun0 => {
                let alive = answer.owner.is_some_and(|slot| self.is_operational(slot));
                if !alive && verb == LockVerb::Acquire {
                    self.act(Action::Lock(Lock::Lun0, LockVerb::Take));
                }
            }
        }
    }

    /// The controller in `slot` was put into reset from here.
    pub fn stopped(&mut self, now_ns: u64, slot: u8) {
        self.now_ns = self.now_ns.max(now_ns);
        self.lose(slot, Cause::PartnerStopped);
    }

    /// Another controller owns the master lock.
    fn master_is(&mut self, answer: LockAnswer) {
        let Some(owner) = answer.owner else { return };
        if self.role == Some(Role::Master) {
            self.deposed();
            return;
        }
        let same_tenure = self.role.is_some() && answer.epoch == self.epoch;
        let silent = self.cause == Cause::PartnerLost;
        self.epoch = answer.epoch;
        if self.role.is_none() {
            self.become_role(Role::Alternate);
        }
        if self.partner(owner).is_some() {
            return;
        }
        if same_tenure && silent {
            // It fell silent and still has the lock: it hangs. One that said that it leaves is believed only
            // when the lock is free: that may have been a message from before its reset.
            self.act(Action::Lock(Lock::Master, LockVerb::Take));
        } else if let Some(place) = self.partners.get_mut(usize::from(owner)) {
            // It has as long as any partner to show that it lives.
            *place = Some(Partner {
                heard_ns: self.now_ns,
                heartbeat: None,
            });
        }
    }

    fn become_role(&mut self, role: Role) {
        if self.role == Some(role) {
            return;
        }
        let version = self.configuration.version;
        let cause = self.cause;
        self.trace(match self.role {
            None => Event::Operational { role, version },
            Some(_) => Event::RoleChanged { role, cause },
        });
        self.role = Some(role);
        self.send();
    }

    fn deposed(&mut self) {
        self.stop_serving();
        self.cause = Cause::Deposed;
        self.become_role(Role::Alternate);
        self.act(Action::Reset);
    }

    /// A partner is no longer there; if nobody is master now, the lowest alternate becomes it.
    fn lose(&mut self, slot: u8, cause: Cause) {
        if cause != Cause::PartnerLost
            && let Some(deaf_until_ns) = self.deaf_until_ns.get_mut(usize::from(slot))
        {
            *deaf_until_ns = self.now_ns.saturating_add(IN_FLIGHT_NS);
        }
        let lost = self
            .partners
            .get_mut(usize::from(slot))
            .and_then(Option::take);
        let Some(lost) = lost else { return };
        if self.state != State::Operational {
            return;
        }
        if lost.heartbeat.is_some() {
            self.trace(Event::PartnerLost { slot });
        }
        self.cause = cause;
        self.seek_mastery();
    }

    /// If nobody is master, the lowest alternate becomes it.
    fn seek_mastery(&mut self) {
        let mut others = self.partners.iter().flatten();
        let has_master = self.role != Some(Role::Alternate)
            || others.any(|p| p.heartbeat.is_none_or(|h| h.role == Some(Role::Master)));
        let lowest = (0..self.configuration.slot).all(|lower| self.partner(lower).is_none());
        let abstains = self.now_ns < self.abstains_until_ns;
        if !has_master && lowest && !self.barred && !abstains {
            self.act(Action::Lock(Lock::Master, LockVerb::Acquire));
        }
    }

    pub(crate) fn partner(&self, slot: u8) -> Option<Partner> {
        self.partners.get(usize::from(slot)).copied().flatten()
    }

    fn send(&mut self) {
        // A feature gate: format 2 only when every partner heard of understands it.
        let mut heard = self.partners.iter().flatten().filter_map(|p| p.heartbeat);
        let format_2 = self.configuration.understands_2
            && heard.clone().next().is_some()
            && heard.all(|heartbeat| heartbeat.understands_2);
        let heartbeat = Heartbeat {
            slot: self.configuration.slot,
            state: self.state,
            role: self.role,
            owns_lun: self.owns_lun,
            understands_2: self.configuration.understands_2,
            epoch: self.epoch,
            version: self.configuration.version,
            boots: format_2.then_some(self.configuration.boots),
        };
        self.act(Action::Send(heartbeat));
    }

    pub(crate) fn trace(&mut self, event: Event) {
        self.act(Action::Trace(event));
    }

    pub(crate) fn act(&mut self, action: Action) {
        // Full only if nobody drains it, and then nothing matters any more.
        let _full = self.actions.push_back(action);
    }
}

#[cfg(test)]
#[path = "member_tests.rs"]
mod tests;
