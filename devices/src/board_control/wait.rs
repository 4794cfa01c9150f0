use serde::{Deserialize, Serialize};

use super::DEVICE_SLOTS;
use super::board::BoardControl;
use crate::time::Nanos;

/// Every slot whose completions can wake a board: all but board control itself.
const WAKING_SLOTS: u32 = (1 << DEVICE_SLOTS) - 2;

/// Response bit: the deadline has passed.
pub(super) const DEADLINE_PASSED: u32 = 1 << 31;

/// What the other slots did since the last WAIT was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Activity {
    /// Slots that returned buffers.
    completed: u32,
    /// Slots with requests not yet answered.
    busy: u32,
    /// When the last of the completions came.
    latest: Nanos,
}

/// A WAIT that is not answered yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wait {
    /// Slots of which any completion wakes.
    pub(super) any: u32,
    /// Slots which wake when they have completions and nothing is left to do.
    pub(super) idle: u32,
    /// [`Nanos::NEVER`] for none.
    pub(super) deadline: Nanos,
    pub(super) taken: Nanos,
}

impl BoardControl {
    /// The device in `slot` was serviced at `now`: it returned buffers or not, and has
    /// `unfinished` requests (taken and unanswered, or still on the available ring) left. Buffers
    /// posted for reception are not requests in this sense.
    pub fn serviced(&mut self, slot: u32, now: Nanos, returned_buffers: bool, unfinished: usize) {
        let bit = 1_u32.checked_shl(slot).unwrap_or(0) & WAKING_SLOTS;
        if returned_buffers && bit != 0 {
            self.activity.completed |= bit;
            self.activity.latest = self.activity.latest.max(now);
        }
        if unfinished > 0 {
            self.activity.busy |= bit;
        } else {
            self.activity.busy &= !bit;
        }
    }

    /// Whether the board sleeps in a WAIT.
    pub fn waiting(&self) -> bool {
        self.wait.is_some()
    }

    /// When the pending WAIT is due: at the completion that woke it (not later than the last
    /// service), else at its deadline. `None` without a WAIT, or when only a completion still to
    /// come can end it.
    pub fn wait_deadline(&self) -> Option<Nanos> {
        let wait = self.wait.as_ref()?;
        if self.woken(wait) {
            return Some(self.activity.latest.max(wait.taken));
        }
        (wait.deadline != Nanos::NEVER).then(|| wait.deadline.max(wait.taken))
    }

    /// Ends the pending WAIT if it is due: the `arg` of its answer.
    pub(super) fn take_wake(&mut self, now: Nanos) -> Option<u32> {
        let wait = self.wait.as_ref()?;
        let passed = wait.deadline != Nanos::NEVER && wait.deadline <= now;
        if !passed && !self.woken(wait) {
            return None;
        }
        self.wait = None;
        let completed = std::mem::take(&mut self.activity.completed);
        Some(completed | if passed { DEADLINE_PASSED } else { 0 })
    }

    /// The driver reset the device: its rings are gone, and with them what was in them.
    pub(super) fn forget_wait(&mut self) {
        self.wait = None;
        self.activity.completed = 0;
    }

    fn woken(&self, wait: &Wait) -> bool {
        let Activity {
            completed, busy, ..
        } = self.activity;
        completed & wait.any != 0 || completed & !busy & wait.idle != 0
    }
}
