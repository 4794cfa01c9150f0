//! One command cycle of a chip: chip select falls, words are clocked, chip select rises.

use serde::{Deserialize, Serialize};

use super::bus::WordClock;
use super::chip::{ChipIo, FlashChip};
use super::commands::{Action, Command};
use super::operation::{Effect, PageProgram};
use super::sfdp;
use crate::event::DeviceEvent;
use crate::medium::MediumError;
use crate::power::{Shape, mix};
use crate::time::Nanos;

/// Status register: write in progress, write enable latch, block-protect bits.
const STATUS_WIP: u8 = 1 << 0;
const STATUS_WEL: u8 = 1 << 1;
const STATUS_PROTECTION: u8 = 0b0011_1100;

/// What a line without driver reads as, and an unprogrammed byte.
const IDLE: u8 = 0xff;

/// How far the command being clocked has come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Cycle {
    /// Chip select is asserted, nothing clocked yet.
    Opcode,
    /// Address and dummy bytes are coming in.
    Header {
        opcode: u8,
        received: u8,
        address: u64,
    },
    /// Data goes in or out.
    Data(Data),
    /// The chip does not listen until chip select rises.
    Ignored,
}

/// The data phase of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Data {
    opcode: u8,
    address: u64,
    /// Words clocked in this phase so far.
    position: u64,
    /// Data latched for a program.
    program: Option<PageProgram>,
    /// Data latched for WRSR.
    status: u8,
    /// Bad cells were met by this read, and a notice was given.
    noticed: bool,
}

impl FlashChip {
    /// Chip select falls.
    pub(super) fn select(&mut self) {
        self.volatile.cycle = Some(Cycle::Opcode);
    }

    /// Chip select is gone without having risen (controller reset): nothing is executed.
    pub(super) fn abandon(&mut self) {
        self.volatile.cycle = None;
    }

    /// Clocks words: `mosi` in, `miso` out, as many as the longer has. What a shorter `mosi`
    /// lacks is 0 (the line idles low).
    pub(super) fn clock(
        &mut self,
        io: &mut ChipIo<'_>,
        clock: &WordClock,
        mosi: &[u8],
        miso: &mut [u8],
    ) -> Result<(), MediumError> {
        miso.fill(IDLE);
        let words = mosi.len().max(miso.len());
        let mut word = 0;
        while word < words {
            let input = mosi.get(word).copied().unwrap_or(0);
            let next = match self.volatile.cycle.take() {
                None => return Ok(()),
                Some(Cycle::Ignored) => {
                    self.volatile.cycle = Some(Cycle::Ignored);
                    return Ok(());
                }
                Some(Cycle::Opcode) => self.decode(io, input, clock.start_of(word))?,
                Some(Cycle::Header {
                    opcode,
                    received,
                    address,
                }) => self.header(opcode, received, address, input),
                Some(Cycle::Data(mut data)) => {
                    let result = self.data(io, clock, word, &mut data, mosi, miso);
                    data.position += (words - word) as u64;
                    self.volatile.cycle = Some(Cycle::Data(data));
                    return result;
                }
            };
            self.volatile.cycle = Some(next);
            word += 1;
        }
        Ok(())
    }

    /// The opcode is in.
    fn decode(
        &mut self,
        io: &mut ChipIo<'_>,
        opcode: u8,
        now: Nanos,
    ) -> Result<Cycle, MediumError> {
        self.settle(now)?;
        if !self.powered {
            return Ok(Cycle::Ignored);
        }
        let unit = io.unit;
        if self.faults.dead {
            if !self.volatile.dead_noted {
                self.volatile.dead_noted = true;
                let notice = format!("dead-chip-addressed chip={unit}");
                io.events.push(DeviceEvent::MediumFault(notice));
            }
            return Ok(Cycle::Ignored);
        }
        let command = Command::find(opcode);
        let obeys = |c: &Command| self.in_progress.is_none() || c.works_while_busy();
        match command {
            Some(command) if obeys(&command) => Ok(self.after_header(command, 0, 0)),
            found => {
                let cause = if found.is_some() { "busy" } else { "unknown" };
                io.ignored(opcode, cause);
                Ok(Cycle::Ignored)
            }
        }
    }

    /// An address or dummy byte is in.
    fn header(&mut self, opcode: u8, received: u8, address: u64, input: u8) -> Cycle {
        let Some(command) = Command::find(opcode) else {
            return Cycle::Ignored;
        };
        let in_address = received < command.address_bytes(self.volatile.four_byte);
        let address = if in_address {
            address << 8 | u64::from(input)
        } else {
            address
        };
        self.after_header(command, received.saturating_add(1), address)
    }

    /// The phase after `received` address and dummy bytes.
    fn after_header(&mut self, command: Command, received: u8, address: u64) -> Cycle {
        let opcode = command.opcode;
        let address_bytes = command.address_bytes(self.volatile.four_byte);
        if received < address_bytes + command.dummy_bytes {
            return Cycle::Header {
                opcode,
                received,
                address,
            };
        }
        let geometry = &self.part.geometry;
        let address = if command.action == Action::ReadParameters {
            address
        } else {
            // Address bits the chip does not have are not looked at.
            address % geometry.chip_bytes()
        };
        let program = (command.action == Action::Program).then(|| {
            let page_bytes = geometry.page_bytes();
            let first = address % u64::from(page_bytes);
            let within = u32::try_from(first).unwrap_or(0);
            PageProgram::new(address - first, within, page_bytes)
        });
        if command.action == Action::ReadData {
            self.unstable.next_read();
        }
        Cycle::Data(Data {
            opcode,
            address,
            position: 0,
            program,
            status: 0,
            noticed: false,
        })
    }

    /// Clocks all words from `word` on in the data phase.
    fn data(
        &mut self,
        io: &mut ChipIo<'_>,
        clock: &WordClock,
        word: usize,
        data: &mut Data,
        mosi: &[u8],
        miso: &mut [u8],
    ) -> Result<(), MediumError> {
        let Some(command) = Command::find(data.opcode) else {
            return Ok(());
        };
        let incoming = mosi.get(word..).unwrap_or_default();
        let outgoing = miso.get_mut(word..).unwrap_or_default();
        match command.action {
            Action::ReadData => {
                let at = data.address.wrapping_add(data.position);
                let noticed = self.read_cells(at, outgoing)?;
                for name in noticed.into_iter().flatten().filter(|_| !data.noticed) {
                    let (unit, address) = (io.unit, data.address);
                    let notice = format!("{name} chip={unit} command-address={address:#x}");
                    io.events.push(DeviceEvent::MediumFault(notice));
                }
                data.noticed |= noticed.iter().any(Option::is_some);
            }
            Action::ReadStatus => self.read_status(clock, word, outgoing)?,
            Action::ReadIdentity => {
                let start = usize::try_from(data.position % 3).unwrap_or(0);
                let identity = self.identity().into_iter().cycle().skip(start);
                for (out, byte) in outgoing.iter_mut().zip(identity) {
                    *out = byte;
                }
            }
            Action::ReadParameters => {
                let space = sfdp::parameters(&self.part);
                let start = usize::try_from(data.address + data.position).unwrap_or(usize::MAX);
                let there = space.get(start..).unwrap_or_default();
                for (out, byte) in outgoing.iter_mut().zip(there) {
                    *out = *byte;
                }
            }
            Action::Program => {
                if let Some(program) = &mut data.program {
                    program.send(incoming);
                }
            }
            Action::WriteStatus => {
                if let (0, Some(status)) = (data.position, incoming.first()) {
                    data.status = *status;
                }
            }
            // Nothing comes or goes; extra words keep the command from being executed.
            _ => {}
        }
        Ok(())
    }

    /// Streams cells from `address` on, going on at 0 past the end of the chip. Returns the names
    /// of what bad cells did to the data.
    fn read_cells(
        &mut self,
        address: u64,
        out: &mut [u8],
    ) -> Result<[Option<&'static str>; 2], MediumError> {
        let size = self.part.geometry.chip_bytes();
        let (mut noisy, mut stuck) = (false, false);
        let (mut at, mut rest) = (address % size, out);
        while !rest.is_empty() {
            let there = usize::try_from(size - at).unwrap_or(usize::MAX);
            let (piece, after) = rest.split_at_mut(there.min(rest.len()));
            self.medium.read(at, piece)?;
            noisy |= self.unstable.overlay(at, piece);
            stuck |= self.faults.overlay(at, piece);
            (at, rest) = (0, after);
        }
        Ok([
            noisy.then_some("unstable-bits-read"),
            stuck.then_some("stuck-bits-read"),
        ])
    }

    /// The status register is sampled anew for each word, so a long read of it is a poll.
    fn read_status(
        &mut self,
        clock: &WordClock,
        word: usize,
        out: &mut [u8],
    ) -> Result<(), MediumError> {
        let busy_words = match self.busy_until() {
            Some(ends) => (word..word + out.len())
                .take_while(|word| clock.start_of(*word) < ends)
                .count(),
            None => 0,
        };
        let (busy, idle) = out.split_at_mut(busy_words);
        busy.fill(self.status());
        if !idle.is_empty() {
            self.settle(clock.start_of(word + busy.len()))?;
            idle.fill(self.status());
        }
        Ok(())
    }

    fn status(&self) -> u8 {
        let flag = |bit, set| if set { bit } else { 0 };
        self.volatile.protection
            | flag(STATUS_WIP, self.in_progress.is_some())
            | flag(STATUS_WEL, self.volatile.write_enabled)
    }

    /// Chip select rises at `now`: the command that came in whole is executed.
    pub(super) fn deselect(&mut self, io: &mut ChipIo<'_>, now: Nanos) -> Result<(), MediumError> {
        let Some(cycle) = self.volatile.cycle.take() else {
            return Ok(());
        };
        if cycle == Cycle::Opcode {
            return Ok(());
        }
        let reset_enabled = std::mem::take(&mut self.volatile.reset_enabled);
        let Cycle::Data(data) = cycle else {
            return Ok(());
        };
        let Some(command) = Command::find(data.opcode) else {
            return Ok(());
        };
        self.settle(now)?;
        self.execute(io, command.action, data, reset_enabled, now)
    }

    fn execute(
        &mut self,
        io: &mut ChipIo<'_>,
        action: Action,
        data: Data,
        reset_enabled: bool,
        now: Nanos,
    ) -> Result<(), MediumError> {
        let geometry = self.part.geometry;
        let timings = self.part.timings;
        let takes_data = matches!(action, Action::Program | Action::WriteStatus);
        let reads = matches!(
            action,
            Action::ReadData | Action::ReadStatus | Action::ReadIdentity | Action::ReadParameters
        );
        if reads {
            return Ok(());
        }
        if takes_data == (data.position == 0) {
            io.ignored(data.opcode, "wrong-length");
            return Ok(());
        }
        let writes = takes_data
            || matches!(
                action,
                Action::EraseSector | Action::EraseBlock | Action::EraseChip
            );
        if writes && !self.volatile.write_enabled {
            io.ignored(data.opcode, "write-disabled");
            return Ok(());
        }
        let aligned = |unit: u32| {
            let length = u64::from(unit);
            let address = data.address - data.address % length;
            Effect::Erase { address, length }
        };
        let whole = Effect::Erase {
            address: 0,
            length: geometry.chip_bytes(),
        };
        match action {
            Action::WriteEnable => self.volatile.write_enabled = true,
            Action::WriteDisable => self.volatile.write_enabled = false,
            Action::EnterFourByte => self.volatile.four_byte = true,
            Action::LeaveFourByte => self.volatile.four_byte = false,
            Action::WriteStatus => {
                self.volatile.protection = data.status & STATUS_PROTECTION;
                self.volatile.write_enabled = false;
            }
            Action::Program => match data.program {
                Some(program) if !program.is_empty() => {
                    self.begin(io, Effect::Program(program), now, timings.page_program)?;
                }
                _ => {}
            },
            Action::EraseSector => {
                let sector = aligned(geometry.sector_bytes());
                self.begin(io, sector, now, timings.sector_erase)?;
            }
            Action::EraseBlock => {
                let block = aligned(geometry.block_bytes());
                self.begin(io, block, now, timings.block_erase)?;
            }
            Action::EraseChip => self.begin(io, whole, now, timings.chip_erase)?,
            Action::ResetEnable => self.volatile.reset_enabled = true,
            Action::Reset if reset_enabled => self.reset(io)?,
            _ => io.ignored(data.opcode, "reset-not-enabled"),
        }
        Ok(())
    }

    /// Software reset: an operation in progress is cut short, which may tear it.
    fn reset(&mut self, io: &mut ChipIo<'_>) -> Result<(), MediumError> {
        if let Some(operation) = &self.in_progress {
            let seed = mix(operation.begins.0, operation.ends.0);
            let notice = format!("reset-cut-operation chip={}", io.unit);
            io.events.push(DeviceEvent::MediumFault(notice));
            self.conclude(Shape::Torn, seed)?;
        }
        self.volatile = super::chip::Volatile::default();
        Ok(())
    }
}

impl ChipIo<'_> {
    /// Notes a command that changed nothing: a mistake of the firmware worth seeing.
    fn ignored(&mut self, opcode: u8, cause: &str) {
        let unit = self.unit;
        self.events.push(DeviceEvent::Notice(format!(
            "flash-command-ignored chip={unit} opcode={opcode:#04x} cause={cause}"
        )));
    }
}
