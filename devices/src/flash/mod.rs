//! Dual flash: JEDEC SPI NOR chips on an SPI bus, behind a virtio SPI controller.
//!
//! ```text
//! part.rs        what kind of chip it is: geometry, identity, data-sheet times
//! commands.rs    the JEDEC command set as a table
//! sfdp.rs        JESD216 parameter tables made from the part
//! faults.rs      stuck bits, rot, a dead chip; unstable bits that a cut erase leaves behind
//! power_loss.rs  what a cut program or erase leaves in the medium
//! operation.rs   programs and erases: begun, in progress, applied
//! chip.rs        FlashChip: state, power, and what the bench may do to it from outside
//! cycle.rs       FlashChip: one command cycle, from chip select falling to chip select rising
//! bus.rs         SpiBus: chips, chip selects, transfer times
//! request.rs     the request header of a virtio SPI transfer, checked
//! virtio.rs      VirtioSpi: requests in order, one after another, in virtual time
//! ```
//!
//! A program or an erase begins when chip select rises and is announced by
//! [`crate::event::DeviceEvent::OperationBegan`]; its effect reaches the medium when the chip is
//! next looked at, at or after its end. A power cut in between leaves one of the
//! [`crate::power::Shape`]s.

mod bus;
mod chip;
mod commands;
mod cycle;
mod faults;
mod operation;
mod part;
mod power_loss;
mod request;
mod sfdp;
mod virtio;

pub use bus::{BusLimits, Schedule, SpiBus, Transfer, WordClock};
pub use chip::FlashChip;
pub use commands::opcode;
pub use faults::Fault;
pub use part::{FlashPart, Geometry, PartError, Timings};
pub use sfdp::parameters as sfdp_parameters;
pub use virtio::{DEVICE_ID, QUEUE_SIZE, VirtioSpi};
