//! How a story goes back to a point it was at.

use std::sync::Arc;

use super::{Kept, PlayError, Player};
use crate::report::{Line, Sink, SinkError};

/// A point of a story to which it can go back.
#[derive(Clone, Debug)]
pub(super) enum Checkpoint {
    /// All there was.
    Kept(Arc<Kept>),
    /// The steps before it: a run is a pure function of its story, so where an engine keeps nothing, playing
    /// them again comes to the same point.
    Steps(usize),
}

/// Reports heard of the steps when they were played first.
struct Unheard;

impl Sink for Unheard {
    fn take(&mut self, _line: &Line) -> Result<(), SinkError> {
        Ok(())
    }
}

impl Player<'_> {
    /// The point before step `step`.
    pub(super) fn checkpoint(&mut self, step: usize) -> Result<Checkpoint, PlayError> {
        if self.engine.makes_checkpoints() {
            Ok(Checkpoint::Kept(Arc::new(self.keep(None)?)))
        } else {
            Ok(Checkpoint::Steps(step))
        }
    }

    /// Back to a point of this story that it called `name`.
    pub(super) fn go_back(&mut self, name: &str, to: &Checkpoint) -> Result<(), PlayError> {
        match to {
            Checkpoint::Kept(kept) => {
                self.stage.go_back(name, &kept.stage)?;
                self.take_up(kept);
            }
            Checkpoint::Steps(steps) => {
                let again = self.play_again(*steps)?;
                self.stage.become_earlier(name, again.stage);
                self.pulled = again.pulled;
                self.live = again.live;
                self.read = again.read;
                self.marks = again.marks;
                self.armed = again.armed;
                self.can_faults = again.can_faults;
            }
        }
        let can_faults = self.fired_can_faults();
        self.told
            .undo_faults(self.stage.cuts_fired().len(), can_faults);
        Ok(())
    }

    fn play_again(&self, steps: usize) -> Result<Self, PlayError> {
        let mut again = Player::new(self.scenario, &self.engine)?;
        for step in 0..steps {
            again.play_step(step, &mut Unheard)?;
        }
        Ok(again)
    }
}
