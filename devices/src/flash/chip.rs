use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::cycle::Cycle;
use super::faults::{Fault, Faults, UnstableBits, bit_mask};
use super::operation::InProgress;
use super::part::{FlashPart, PartError};
use crate::event::DeviceEvent;
use crate::medium::{Medium, MediumError};
use crate::power::PowerLoss;
use crate::time::Nanos;

/// One SPI NOR chip.
///
/// ```text
///   unpowered ──power_on──► idle ──CS rises after PP/SE/BE/CE──► busy ──ends──► idle
///       ▲                     │                                   │
///       └────power_lost───────┴───────────────────────────────────┘ (in a Shape)
/// ```
///
/// What a busy chip is doing reaches the medium when the chip is next looked at at or after the
/// end of it ([`FlashChip::settle`]). A chip is made unpowered: it answers 0xff.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlashChip {
    pub(super) part: FlashPart,
    pub(super) medium: Medium,
    pub(super) unstable: UnstableBits,
    pub(super) faults: Faults,
    /// Erases per sector that was ever erased.
    pub(super) wear: BTreeMap<u64, u32>,
    pub(super) powered: bool,
    pub(super) volatile: Volatile,
    pub(super) in_progress: Option<InProgress>,
}

/// What a chip forgets without power.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Volatile {
    /// The write enable latch, WEL.
    pub(super) write_enabled: bool,
    /// 4-byte address mode.
    pub(super) four_byte: bool,
    /// The last command was reset enable.
    pub(super) reset_enabled: bool,
    /// Block-protect bits of the status register: kept and read back, without effect.
    pub(super) protection: u8,
    /// The command being clocked in or out, while chip select is asserted.
    pub(super) cycle: Option<Cycle>,
    /// The chip is known to be dead; said once per power-on.
    pub(super) dead_noted: bool,
}

/// Who a chip is on its bus, and where its notices go.
#[derive(Debug)]
pub(super) struct ChipIo<'a> {
    pub(super) unit: u32,
    pub(super) events: &'a mut Vec<DeviceEvent>,
}

impl FlashChip {
    /// A chip of type `part` whose cells are `medium`.
    ///
    /// # Errors
    /// The medium has another size than the part.
    pub fn new(part: FlashPart, medium: Medium) -> Result<FlashChip, PartError> {
        let (found, wanted) = (medium.len(), part.geometry.chip_bytes());
        if found != wanted {
            return Err(PartError::MediumSize { found, wanted });
        }
        Ok(FlashChip {
            part,
            medium,
            unstable: UnstableBits::default(),
            faults: Faults::default(),
            wear: BTreeMap::new(),
            powered: false,
            volatile: Volatile::default(),
            in_progress: None,
        })
    }

    /// A factory-fresh chip of type `part` in memory: every byte 0xff.
    pub fn blank(part: FlashPart) -> FlashChip {
        FlashChip {
            medium: Medium::memory(part.geometry.chip_bytes(), 0xff),
            part,
            unstable: UnstableBits::default(),
            faults: Faults::default(),
            wear: BTreeMap::new(),
            powered: false,
            volatile: Volatile::default(),
            in_progress: None,
        }
    }

    /// The data sheet.
    pub fn part(&self) -> &FlashPart {
        &self.part
    }

    /// The cells, without the effect of an operation still in progress.
    pub fn medium(&self) -> &Medium {
        &self.medium
    }

    /// Power comes: idle, write-disabled, 3-byte addresses.
    pub fn power_on(&mut self) {
        self.powered = true;
        self.volatile = Volatile::default();
    }

    /// Power goes at `loss.now`: an operation in progress ends in `loss.shape`, volatile state is
    /// lost.
    ///
    /// # Errors
    /// The host failed to read or write the file behind the medium.
    pub fn power_lost(&mut self, loss: PowerLoss) -> Result<(), MediumError> {
        self.powered = false;
        self.settle(loss.now)?;
        self.conclude(loss.shape, loss.seed)?;
        self.volatile = Volatile::default();
        Ok(())
    }

    /// When the operation in progress ends; `None` when idle as far as was looked.
    pub fn busy_until(&self) -> Option<Nanos> {
        self.in_progress.as_ref().map(|operation| operation.ends)
    }

    /// Breaks something.
    ///
    /// # Errors
    /// The host failed to read or write the file behind the medium.
    pub fn inject(&mut self, fault: Fault) -> Result<(), MediumError> {
        match fault {
            Fault::StuckBit {
                address,
                bit,
                value,
            } => self.faults.stick(address, bit, value),
            Fault::BitRot { address, bit } => {
                let mut byte = [0];
                self.medium.read(address, &mut byte)?;
                self.medium.write(address, &[byte[0] ^ bit_mask(bit)])?;
            }
            Fault::Dead => self.faults.dead = true,
            Fault::WrongIdentity => self.faults.wrong_identity = true,
        }
        Ok(())
    }

    /// What RDID answers.
    pub(super) fn identity(&self) -> [u8; 3] {
        let [manufacturer, family, capacity] = self.part.identity;
        let off = u8::from(self.faults.wrong_identity);
        [manufacturer, family, capacity.wrapping_add(off)]
    }

    /// Removes stuck bits, revives a dead chip and gives one its own identity back. What rotted stays rotten.
    pub fn clear_faults(&mut self) {
        self.faults = Faults::default();
    }

    /// Programs the chip in the factory: no busy time, no wear, no erase needed.
    ///
    /// # Errors
    /// The host failed to write the file behind the medium.
    pub fn preload(&mut self, offset: u64, bytes: &[u8]) -> Result<(), MediumError> {
        self.unstable.settled(offset, bytes.len() as u64);
        self.medium.write(offset, bytes)
    }

    /// What the cells hold at `now`, stuck bits included, without the noise of unstable bits.
    ///
    /// # Errors
    /// The host failed to read or write the file behind the medium.
    pub fn read_back(
        &mut self,
        now: Nanos,
        offset: u64,
        into: &mut [u8],
    ) -> Result<(), MediumError> {
        self.settle(now)?;
        self.medium.read(offset, into)?;
        self.faults.overlay(offset, into);
        Ok(())
    }

    /// How often each sector was erased: (sector number, erases), sectors never erased left out.
    pub fn wear(&self) -> impl Iterator<Item = (u64, u32)> + '_ {
        self.wear.iter().map(|(sector, erases)| (*sector, *erases))
    }

    /// Bytes that a cut erase left with unstable bits.
    pub fn unstable_bytes(&self) -> usize {
        self.unstable.count()
    }
}

#[cfg(test)]
mod tests;
