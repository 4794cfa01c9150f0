//! The part of a board that a person can pull out and put into another slot.

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
}
