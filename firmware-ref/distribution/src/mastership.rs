//! Which of two or more masters is active (CD33, K8).
//!
//! In a storage array the midplane decides: whoever owns the lock is active, and the lock counts epochs. On
//! a bus that knows no lock the masters settle it among themselves: an active master says so every
//! 100 ms; when none has been heard for 500 ms, and 50 ms more for each slot, a standby becomes active in the epoch after
//! the newest it heard of. Of two active masters the one in the newer epoch stays, in the same epoch the
//! one in the lower slot. A master that comes back does not take the bus from the one that has it.

use crate::epoch::Epoch;
use crate::event::Cause;
use crate::message::{Heartbeat, MasterState, UpdateState};
use crate::{HEARTBEAT_PERIOD_NS, MASTER_LOSS_NS};

/// What a lower slot is given before the next tries.
const SLOT_SPREAD_NS: u64 = 50_000_000;
/// How long a master that gave it up abstains.
const ABSTAIN_NS: u64 = 2 * MASTER_LOSS_NS;

/// Who decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Authority {
    /// The owner of a midplane lock: [`crate::Master::lock`].
    Lock,
    /// The masters, by what they hear.
    Bus,
}

/// A master became active, or stopped being it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) active: bool,
    pub(crate) cause: Cause,
}

/// The state machine.
#[derive(Clone, Debug)]
pub(crate) struct Mastership {
    node: u8,
    slot: u8,
    authority: Authority,
    active: bool,
    epoch: Epoch,
    /// When the active one counts as lost, or when nobody else has become active by then.
    loss_ns: u64,
    /// Whether another one was active when last heard of.
    other: bool,
    heartbeat_ns: u64,
    leaving: bool,
    /// The update, as the active master tells it.
    pub(crate) update: UpdateState,
}

impl Mastership {
    pub(crate) fn new(node: u8, slot: u8, authority: Authority, now_ns: u64) -> Mastership {
        let mut mastership = Mastership {
            node,
            slot,
            authority,
            active: false,
            epoch: Epoch(0),
            loss_ns: 0,
            other: false,
            heartbeat_ns: now_ns,
            leaving: false,
            update: UpdateState::default(),
        };
        mastership.expect(now_ns, MASTER_LOSS_NS);
        mastership
    }

    fn expect(&mut self, now_ns: u64, for_ns: u64) {
        let spread_ns = SLOT_SPREAD_NS * u64::from(self.slot);
        self.loss_ns = now_ns.saturating_add(for_ns).saturating_add(spread_ns);
    }

    pub(crate) fn is_active(&self) -> bool {
        self.active
    }

    pub(crate) fn epoch(&self) -> Epoch {
        self.epoch
    }

    pub(crate) fn deadline_ns(&self) -> u64 {
        let settles = self.authority == Authority::Bus && !self.active;
        let loss_ns = if settles { self.loss_ns } else { u64::MAX };
        self.heartbeat_ns.min(loss_ns)
    }

    /// The heartbeat to send, if it is time.
    pub(crate) fn heartbeat(&mut self, now_ns: u64) -> Option<Heartbeat> {
        if now_ns < self.heartbeat_ns {
            return None;
        }
        self.heartbeat_ns = now_ns.saturating_add(HEARTBEAT_PERIOD_NS);
        let state = match (self.active, self.leaving) {
            (true, _) => MasterState::Active,
            (false, true) => MasterState::Leaving,
            (false, false) => MasterState::Standby,
        };
        self.leaving = false;
        Some(Heartbeat {
            node: self.node,
            slot: self.slot,
            state,
            epoch: self.epoch,
            update: self.update,
        })
    }

    /// Nobody waits for the next heartbeat: what it tells has changed.
    pub(crate) fn hurry(&mut self) {
        self.heartbeat_ns = 0;
    }

    pub(crate) fn tick(&mut self, now_ns: u64) -> Option<Change> {
        if self.authority != Authority::Bus || self.active || now_ns < self.loss_ns {
            return None;
        }
        let cause = if self.other {
            Cause::PartnerLost
        } else {
            Cause::Alone
        };
        Some(self.become_active(self.epoch.next(), cause))
    }

    fn become_active(&mut self, epoch: Epoch, cause: Cause) -> Change {
        self.active = true;
        self.epoch = epoch;
        self.hurry();
        let active = true;
        Change { active, cause }
    }

    fn become_standby(&mut self, now_ns: u64, cause: Cause) -> Change {
        self.active = false;
        self.expect(now_ns, MASTER_LOSS_NS);
        self.hurry();
        let active = false;
        Change { active, cause }
    }

    /// Another master says what it is.
    pub(crate) fn heard(&mut self, now_ns: u64, heartbeat: &Heartbeat) -> Option<Change> {
        let newer = heartbeat.epoch.is_newer_than(self.epoch);
        match heartbeat.state {
            MasterState::Standby => None,
            MasterState::Leaving => {
                let heard = self.authority == Authority::Bus && !self.active;
                // What was left long ago is not taken over.
                if !heard || self.epoch.is_newer_than(heartbeat.epoch) {
                    return None;
                }
                self.update = heartbeat.update;
                Some(self.become_active(heartbeat.epoch.next(), Cause::Handover))
            }
            MasterState::Active => {
                let first = heartbeat.epoch == self.epoch && heartbeat.slot < self.slot;
                if self.active && !newer && !first {
                    return None;
                }
                if self.epoch.is_newer_than(heartbeat.epoch) {
                    return None;
                }
                self.other = true;
                self.update = heartbeat.update;
                self.expect(now_ns, MASTER_LOSS_NS);
                if self.authority == Authority::Lock {
                    // The lock's answer is on its way; a newer epoch on the bus is proof enough to stop.
                    return (self.active && newer)
                        .then(|| self.become_standby(now_ns, Cause::Deposed));
                }
                self.epoch = heartbeat.epoch;
                self.active
                    .then(|| self.become_standby(now_ns, Cause::Deposed))
            }
        }
    }

    /// The midplane lock has this owner and epoch.
    pub(crate) fn lock(&mut self, now_ns: u64, owner: Option<u8>, epoch: Epoch) -> Option<Change> {
        if self.authority != Authority::Lock {
            return None;
        }
        let mine = owner == Some(self.slot);
        if mine && (!self.active || epoch != self.epoch) {
            return Some(self.become_active(epoch, Cause::Lock));
        }
        self.epoch = epoch;
        (!mine && self.active).then(|| self.become_standby(now_ns, Cause::Lock))
    }

    /// Gives it up for another master (K8). With a lock, that is released elsewhere.
    pub(crate) fn hand_over(&mut self, now_ns: u64) -> Option<Change> {
        if !self.active || self.authority != Authority::Bus {
            return None;
        }
        let change = self.become_standby(now_ns, Cause::Handover);
        self.leaving = true;
        self.expect(now_ns, ABSTAIN_NS);
        Some(change)
    }
}

#[cfg(test)]
#[path = "mastership_tests.rs"]
mod tests;
