//! Checkpoints taken while time passes, so that a sweep need not play a story from its beginning.

use devices::time::Nanos;

use super::{OperationCounts, SavedStage, Stage};
use emulator::array::ArrayError;

/// VM exits between two checkpoints of one wait. A checkpoint costs about as much as this many.
const EXITS_BETWEEN: u64 = 12;
/// Checkpoints after which the distance doubles, and doubles again: memory has an end.
const CLOSE_TOGETHER: usize = 256;

/// A stage in the middle of a wait. From here to `ends` nothing but time passes.
#[derive(Clone, Debug)]
pub struct Waypoint {
    /// Where it stood.
    pub stage: SavedStage,
    /// Persistent operations up to here.
    pub began: OperationCounts,
    /// When the next waypoint, or the end of the wait, came.
    pub ends: Nanos,
    /// Persistent operations by then.
    pub ended: OperationCounts,
}

/// What a stage keeps of its way.
#[derive(Debug, Default)]
pub(super) struct Track {
    waypoints: Vec<Waypoint>,
    /// VM exits of all boards at the last waypoint.
    exits: u64,
}

impl Stage {
    /// From now on keeps waypoints of every wait.
    pub fn keep_track(&mut self) {
        self.track = Some(Track::default());
    }

    /// The waypoints since [`Stage::keep_track`], oldest first; keeps no more.
    pub fn take_track(&mut self) -> Vec<Waypoint> {
        self.track.take().unwrap_or_default().waypoints
    }

    fn exits(&self) -> u64 {
        let boards = self.array.boards().iter().chain(self.array.nodes());
        boards.map(|board| board.counters().exits).sum()
    }

    /// A wait begins.
    pub(super) fn track_wait(&mut self) -> Result<(), ArrayError> {
        if self.track.is_some() {
            self.observe();
            self.add_waypoint()?;
        }
        Ok(())
    }

    /// A wait goes on.
    pub(super) fn track_progress(&mut self) -> Result<(), ArrayError> {
        let exits = self.exits();
        let due = self.track.as_ref().is_some_and(|track| {
            let far = EXITS_BETWEEN << (track.waypoints.len() / CLOSE_TOGETHER).min(16);
            // Where nothing was begun, nothing can be cut.
            let begun = |last: &Waypoint| last.began != self.seen.operations;
            exits - track.exits >= far && track.waypoints.last().is_some_and(begun)
        });
        if due {
            self.track_end();
            self.add_waypoint()?;
        }
        Ok(())
    }

    /// The last waypoint's stretch is over.
    pub(super) fn track_end(&mut self) {
        let now = self.array.now();
        if let Some(last) = self.track.as_mut().and_then(|t| t.waypoints.last_mut()) {
            last.ends = now;
            last.ended.clone_from(&self.seen.operations);
        }
    }

    fn add_waypoint(&mut self) -> Result<(), ArrayError> {
        let Some(mut track) = self.track.take() else {
            return Ok(());
        };
        let base = track.waypoints.last().map(|last| &last.stage);
        let stage = self.save(base)?;
        track.waypoints.push(Waypoint {
            stage,
            began: self.seen.operations.clone(),
            ends: self.array.now(),
            ended: self.seen.operations.clone(),
        });
        track.exits = self.exits();
        self.track = Some(track);
        Ok(())
    }
}
