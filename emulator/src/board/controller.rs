//! The part of a board that a person can pull out and put into another slot.

use std::collections::BTreeSet;

use devices::flash::SpiBus;
use serde::{Deserialize, Serialize};

/// A controller controller: its serial number and its flash. RAM, rings and roles stay behind when it is
/// pulled; what is in the flash goes with it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Controller {
    /// Serial number, ASCII.
    pub serial: String,
    /// The flash chips.
    pub flash: SpiBus,
    /// Its straps (board manual §5.2).
    pub straps: u32,
    /// What else is broken on it. Changes show at its next reset.
    pub broken: Broken,
}

/// What is broken on a controller besides its flash. It goes where the controller goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Broken {
    /// Device slots that look empty, by number.
    pub missing: BTreeSet<usize>,
    /// Byte of the boot ROM whose lowest bit reads wrong.
    pub rom_byte: Option<u16>,
}
