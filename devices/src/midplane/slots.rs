use serde::{Deserialize, Serialize};

use super::{Midplane, MidplaneCommand, Refusal};

/// The lines between the midplane and one slot.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Slot {
    present: bool,
    powered: bool,
    /// Who pulls the reset line.
    held_by: Option<u32>,
    pub(super) fenced: bool,
}

/// What a controller may ask of another's reset line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldAction {
    /// Let it boot.
    Release,
    /// Keep it in reset.
    Hold,
    /// Only look.
    Query,
}

/// A slot as another controller sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotLines {
    /// A controller is in the slot.
    pub present: bool,
    /// It has power.
    pub powered: bool,
    /// It is kept in reset.
    pub held: bool,
}

impl Midplane {
    /// The controller in slot `by` asks `action` of the reset line of `slot`.
    ///
    /// A hold lasts until it is released or the controller that asked for it loses power or is
    /// pulled: a dead controller cannot keep its partner down. It outlives a reset of the asker.
    ///
    /// # Errors
    /// There is no such slot, a controller wants to hold itself, or who asks is in no slot.
    pub fn hold(&mut self, by: u32, slot: u32, action: HoldAction) -> Result<SlotLines, Refusal> {
        let foreign = self.slot(by).is_none();
        let Some(lines) = self.slot_mut(slot) else {
            return Err(Refusal::NoSuch);
        };
        match action {
            HoldAction::Hold | HoldAction::Release if foreign => return Err(Refusal::Refused),
            HoldAction::Query => {}
            HoldAction::Hold if by == slot => return Err(Refusal::Refused),
            HoldAction::Hold => {
                let was_held = lines.held_by.replace(by).is_some();
                if !was_held {
                    self.commands.push(MidplaneCommand::Hold(slot));
                    self.free_locks_of(slot);
                }
            }
            HoldAction::Release => {
                if lines.held_by.take().is_some() {
                    self.commands.push(MidplaneCommand::Release(slot));
                }
            }
        }
        Ok(self.lines(slot))
    }

    /// The lines of a slot; a slot that does not exist is absent.
    pub fn lines(&self, slot: u32) -> SlotLines {
        self.slot(slot)
            .map_or(SlotLines::default(), |lines| SlotLines {
                present: lines.present,
                powered: lines.powered,
                held: lines.held_by.is_some(),
            })
    }

    /// Whether the shelf port of `slot` refuses writes.
    pub fn fenced(&self, slot: u32) -> bool {
        self.slot(slot).is_some_and(|lines| lines.fenced)
    }

    /// A controller was put into `slot` or pulled out of it; a pulled one has no power either.
    pub fn set_present(&mut self, slot: u32, present: bool) {
        if let Some(lines) = self.slot_mut(slot) {
            lines.present = present;
        }
        if !present {
            self.set_powered(slot, false);
        }
    }

    /// The controller in `slot` got or lost power. Without power it has no locks and holds nobody.
    pub fn set_powered(&mut self, slot: u32, powered: bool) {
        if let Some(lines) = self.slot_mut(slot) {
            lines.powered = powered;
        }
        if powered {
            return;
        }
        self.free_locks_of(slot);
        for (held, lines) in (0..).zip(&mut self.slots) {
            if lines.held_by == Some(slot) {
                lines.held_by = None;
                self.commands.push(MidplaneCommand::Release(held));
            }
        }
    }
}
