use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Most controller slots a chassis can have.
pub const MAX_SLOTS: u32 = 3;

/// A controller slot of the chassis: 0 is A, 1 is B …
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Slot(u32);

/// A text that names no slot.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{0}` names no controller slot; slots are A, B and C")]
pub struct SlotError(pub String);

impl Slot {
    /// The slot with that index.
    ///
    /// # Errors
    /// No chassis has so many.
    pub fn new(index: u32) -> Result<Slot, SlotError> {
        if index < MAX_SLOTS {
            Ok(Slot(index))
        } else {
            Err(SlotError(index.to_string()))
        }
    }

    /// 0 for A, 1 for B …
    pub fn index(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            0 => "A",
            1 => "B",
            _ => "C",
        })
    }
}

impl FromStr for Slot {
    type Err = SlotError;

    fn from_str(text: &str) -> Result<Slot, SlotError> {
        match text {
            "A" => Ok(Slot(0)),
            "B" => Ok(Slot(1)),
            "C" => Ok(Slot(2)),
            _ => Err(SlotError(text.to_owned())),
        }
    }
}

impl TryFrom<String> for Slot {
    type Error = SlotError;

    fn try_from(text: String) -> Result<Slot, SlotError> {
        text.parse()
    }
}

impl From<Slot> for String {
    fn from(slot: Slot) -> String {
        slot.to_string()
    }
}

/// Something with a power supply of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Unit {
    /// The controller board in a slot.
    Board(Slot),
    /// A node on the CAN bus, from 0.
    Node(u16),
    /// The RAID shelf.
    Shelf,
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unit::Board(slot) => slot.fmt(f),
            Unit::Node(node) => write!(f, "node-{}", node + 1),
            Unit::Shelf => f.write_str("shelf"),
        }
    }
}

impl FromStr for Unit {
    type Err = SlotError;

    fn from_str(text: &str) -> Result<Unit, SlotError> {
        match text {
            "shelf" => Ok(Unit::Shelf),
            _ => text.parse().map(Unit::Board),
        }
    }
}
