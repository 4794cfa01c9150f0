use serde::{Deserialize, Serialize};

use super::{Midplane, MidplaneCommand, Refusal};

/// One lock: who has it, and how often it was given out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Lock {
    owner: Option<u32>,
    epoch: u64,
}

/// What a controller may ask of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockAction {
    /// Own it, if nobody else does.
    Acquire,
    /// Give it back.
    Release,
    /// Only look.
    Query,
    /// Own it even if another does: the other is fenced first.
    Take,
}

/// How a lock stands after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LockAnswer {
    /// Slot of the owner; `None` where it is free.
    pub owner: Option<u32>,
    /// How many ownerships there have been: higher than that of every earlier owner.
    pub epoch: u64,
    /// Whether the request was done.
    pub outcome: Result<(), Refusal>,
}

impl Midplane {
    /// The controller in `slot` asks `action` of lock `lock`.
    ///
    /// A slot that is fenced gets no lock before it has reset: otherwise a controller that lost a
    /// take-over could fence its successor in turn.
    pub fn lock(&mut self, slot: u32, lock: u32, action: LockAction) -> LockAnswer {
        // A board that is on no slot of the midplane, a node of the CAN bus, may look.
        let barred = self.fenced(slot) || self.slot(slot).is_none();
        let index = usize::try_from(lock).unwrap_or(usize::MAX);
        let Some(state) = self.locks.get_mut(index) else {
            return LockAnswer {
                owner: None,
                epoch: 0,
                outcome: Err(Refusal::NoSuch),
            };
        };
        let owner = state.owner;
        let mine = owner == Some(slot);
        let outcome = match action {
            LockAction::Query => Ok(()),
            LockAction::Release if mine => {
                state.owner = None;
                Ok(())
            }
            LockAction::Release => Err(Refusal::Refused),
            LockAction::Acquire | LockAction::Take if mine => Ok(()),
            LockAction::Acquire | LockAction::Take if barred => Err(Refusal::Refused),
            LockAction::Acquire if owner.is_some() => Err(Refusal::Refused),
            LockAction::Acquire | LockAction::Take => {
                state.owner = Some(slot);
                state.epoch = state.epoch.saturating_add(1);
                Ok(())
            }
        };
        let answer = LockAnswer {
            owner: state.owner,
            epoch: state.epoch,
            outcome,
        };
        if let Some(previous) = owner
            && answer.owner == Some(slot)
            && previous != slot
        {
            self.fence(previous);
        }
        answer
    }

    /// Who owns a lock, seen from outside.
    pub fn lock_owner(&self, lock: u32) -> Option<u32> {
        self.locks.get(usize::try_from(lock).ok()?)?.owner
    }

    pub(super) fn free_locks_of(&mut self, slot: u32) {
        for lock in &mut self.locks {
            if lock.owner == Some(slot) {
                lock.owner = None;
            }
        }
    }

    fn fence(&mut self, slot: u32) {
        if let Some(lines) = self.slot_mut(slot)
            && !lines.fenced
        {
            lines.fenced = true;
            self.commands.push(MidplaneCommand::Fence(slot));
        }
    }
}
