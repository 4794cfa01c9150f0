//! Checkpoint and restore of a whole array.
//!
//! Every core and every virtio side is plain data, so a checkpoint is their clone plus what each
//! engine saves. Media share unchanged chunks with the checkpoint, RAM shares unchanged pages
//! with the checkpoint before it.

use devices::board_control::ResetReason;
use devices::time::Nanos;
use serde::{Deserialize, Serialize};

use super::event::ArrayEvent;
use super::power::ArmedCut;
use super::{Array, ArrayError};
use crate::board::SavedBoard;
use crate::shared::Shared;

/// First bytes of a checkpoint as a file.
const MAGIC: &[u8; 8] = b"ABCKPT\0\x01";

/// An array as a value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SavedArray {
    now: Nanos,
    seed: u64,
    shared: Shared,
    boards: Vec<SavedBoard>,
    leaving_reset: Vec<Option<(Nanos, ResetReason)>>,
    shelf_powered: bool,
    cuts: Vec<ArmedCut>,
    next_cut: u32,
    power_losses: u64,
    events: Vec<ArrayEvent>,
    examined: usize,
}

impl SavedArray {
    /// As bytes for a file.
    ///
    /// # Errors
    /// The state cannot be written (it always can, unless memory is short).
    pub fn to_bytes(&self) -> Result<Vec<u8>, ArrayError> {
        let body = postcard::to_stdvec(self);
        let body = body.map_err(|_| ArrayError::Checkpoint("it cannot be written"))?;
        Ok([MAGIC.as_slice(), &body].concat())
    }

    /// Reads what [`SavedArray::to_bytes`] wrote.
    ///
    /// # Errors
    /// The bytes are not a checkpoint of this version.
    pub fn from_bytes(bytes: &[u8]) -> Result<SavedArray, ArrayError> {
        let body = bytes.strip_prefix(MAGIC).ok_or(ArrayError::Checkpoint(
            "it is not a checkpoint of this version",
        ))?;
        postcard::from_bytes(body).map_err(|_| ArrayError::Checkpoint("its contents are damaged"))
    }
}

impl Array {
    /// The whole array as a value. `base`, an earlier checkpoint of the same array, makes it
    /// smaller: what did not change is shared.
    ///
    /// # Errors
    /// An engine cannot be checkpointed.
    pub fn save(&mut self, base: Option<&SavedArray>) -> Result<SavedArray, ArrayError> {
        let mut boards = Vec::with_capacity(self.boards.len());
        for index in 0..self.boards.len() {
            let place = self.place(index);
            let base = base.and_then(|base| base.boards.get(index));
            let failed = |source| ArrayError::Engine {
                board: place,
                source,
            };
            let saved = self.boards[index].save(base).map_err(failed)?;
            boards.push(saved);
        }
        Ok(SavedArray {
            now: self.now,
            seed: self.seed,
            shared: self.shared.clone(),
            boards,
            leaving_reset: self.leaving_reset.clone(),
            shelf_powered: self.shelf_powered,
            cuts: self.cuts.clone(),
            next_cut: self.next_cut,
            power_losses: self.power_losses,
            events: self.events.clone(),
            examined: self.examined,
        })
    }

    /// Back to what [`Array::save`] saw, on this or another array of the same rig.
    ///
    /// # Errors
    /// The checkpoint is of another rig.
    pub fn restore(&mut self, saved: &SavedArray) -> Result<(), ArrayError> {
        if saved.boards.len() != self.boards.len() || saved.leaving_reset.len() != self.boards.len()
        {
            return Err(ArrayError::Checkpoint("it has another number of boards"));
        }
        for (index, saved) in saved.boards.iter().enumerate() {
            let place = self.place(index);
            let failed = |source| ArrayError::Engine {
                board: place,
                source,
            };
            self.boards[index].restore(saved).map_err(failed)?;
        }
        self.now = saved.now;
        self.seed = saved.seed;
        self.shared.clone_from(&saved.shared);
        self.leaving_reset.clone_from(&saved.leaving_reset);
        self.shelf_powered = saved.shelf_powered;
        self.cuts.clone_from(&saved.cuts);
        self.next_cut = saved.next_cut;
        self.power_losses = saved.power_losses;
        self.events.clone_from(&saved.events);
        self.examined = saved.examined.min(saved.events.len());
        self.disturbed = true;
        Ok(())
    }
}
