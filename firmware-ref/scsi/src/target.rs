//! The device server of logical unit 0.

use crate::cdb::{self, Cdb, Extent};
use crate::inquiry::{self, Identity};
use crate::parameters::Parameters;
use crate::sense::Sense;

/// Bytes per logical block.
pub const BLOCK_LENGTH: u32 = 512;
/// Longest READ or WRITE, in blocks (8 KiB: what fits one frame of the Ethernet transport).
pub const TRANSFER_LIMIT: u32 = 16;
/// Initiators remembered at a time; the longest silent one is forgotten for a new one.
pub const INITIATORS: usize = 8;

/// Status of a command (SAM-5 table 37).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Status {
    /// Done.
    Good = 0x00,
    /// Not done; the sense data says why.
    CheckCondition = 0x02,
    /// Too many commands in flight.
    TaskSetFull = 0x28,
}

/// How this controller may use the logical unit (SPC-4 §5.15.2.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum AccessState {
    /// It owns the logical unit.
    ActiveOptimized = 0x0,
    /// Another controller owns it.
    Standby = 0x2,
    /// The controller there is not operational.
    Unavailable = 0x3,
}

/// A command as any transport hands it over.
#[derive(Clone, Copy, Debug)]
pub struct Command<'a> {
    /// Who sent it (the transport's name for the nexus).
    pub initiator: u64,
    /// The addressed logical unit.
    pub lun: u16,
    /// The command descriptor block.
    pub cdb: Cdb,
    /// Data that came with it.
    pub data_out: &'a [u8],
}

/// Disk work for a command; blocks are counted from the start of the logical unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskOperation {
    /// Read into the data-in buffer of the command.
    Read(Extent),
    /// Write the command's data-out.
    Write(Extent),
    /// Make everything written so far durable.
    Flush,
}

/// Why disk work failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskError {
    /// The disk says so.
    Medium,
    /// This controller lost the logical unit meanwhile; another path has it.
    NotOwner,
}

/// What an answer carries back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataIn {
    /// Nothing.
    None,
    /// Parameter data.
    Parameters(Parameters),
    /// This many bytes of what the disk read.
    Disk(u32),
}

/// The end of a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: Status,
    /// With CHECK CONDITION, why.
    pub sense: Option<Sense>,
    /// What goes back to the initiator.
    pub data_in: DataIn,
}

impl Answer {
    fn good(data_in: DataIn) -> Answer {
        Answer {
            status: Status::Good,
            sense: None,
            data_in,
        }
    }

    fn check(sense: Sense) -> Answer {
        Answer {
            status: Status::CheckCondition,
            sense: Some(sense),
            data_in: DataIn::None,
        }
    }

    /// Too many commands in flight; try again.
    pub fn task_set_full() -> Answer {
        Answer {
            status: Status::TaskSetFull,
            ..Answer::good(DataIn::None)
        }
    }
}

/// What has to happen next for a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is over.
    Answer(Answer),
    /// Do this, then [`Task::resume`].
    Disk(DiskOperation, Task),
}

/// A command that waits for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Task(Waiting);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waiting {
    Read { bytes: u32 },
    Write,
    Flush,
}

impl Task {
    /// Goes on after its disk work ended.
    pub fn resume(self, result: Result<(), DiskError>) -> Step {
        let failed = match (self.0, result) {
            (Waiting::Read { bytes }, Ok(())) => {
                return Step::Answer(Answer::good(DataIn::Disk(bytes)));
            }
            (Waiting::Write, Ok(())) => {
                return Step::Disk(DiskOperation::Flush, Task(Waiting::Flush));
            }
            (Waiting::Flush, Ok(())) => return Step::Answer(Answer::good(DataIn::None)),
            (_, Err(DiskError::NotOwner)) => Sense::STANDBY,
            (Waiting::Read { .. }, Err(DiskError::Medium)) => Sense::READ_ERROR,
            (Waiting::Write | Waiting::Flush, Err(DiskError::Medium)) => Sense::WRITE_ERROR,
        };
        Step::Answer(Answer::check(failed))
    }
}

/// What one initiator still has to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Nexus {
    initiator: u64,
    attention: Option<Sense>,
}

/// The device server. It starts as after a reset: every initiator is told so once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    identity: Identity,
    blocks: u64,
    states: [AccessState; 4],
    /// Most recently heard initiator first.
    nexuses: [Option<Nexus>; INITIATORS],
}

impl Target {
    /// The device server of a logical unit of `blocks` blocks; no controller is available yet.
    pub fn new(identity: Identity, blocks: u64) -> Target {
        Target {
            identity,
            blocks,
            states: [AccessState::Unavailable; 4],
            nexuses: [None; INITIATORS],
        }
    }

    /// Notes how the controller in `slot` may use the logical unit. When it is this one,
    /// every known initiator is told with a unit attention.
    pub fn set_access_state(&mut self, slot: u8, state: AccessState) {
        let Some(place) = self.states.get_mut(usize::from(slot)) else {
            return;
        };
        if *place == state {
            return;
        }
        *place = state;
        if slot == self.identity.slot {
            for nexus in self.nexuses.iter_mut().flatten() {
                // A reset not yet reported says more (SAM-5 §5.14.4: it takes precedence).
                nexus.attention.get_or_insert(Sense::ACCESS_STATE_CHANGED);
            }
        }
    }

    /// The logical unit was reset by a task management function: every known initiator is told (SAM-5 §6.3.3).
    pub fn reset(&mut self) {
        for nexus in self.nexuses.iter_mut().flatten() {
            nexus.attention = Some(Sense::RESET_OCCURRED);
        }
    }

    /// How this controller may use the logical unit.
    pub fn access_state(&self) -> AccessState {
        self.states
            .get(usize::from(self.identity.slot))
            .copied()
            .unwrap_or(AccessState::Unavailable)
    }

    /// Takes a command in.
    pub fn begin(&mut self, command: &Command<'_>) -> Step {
        match self.dispatch(command) {
            Ok(step) => step,
            Err(sense) => Step::Answer(Answer::check(sense)),
        }
    }

    fn dispatch(&mut self, command: &Command<'_>) -> Result<Step, Sense> {
        let cdb = &command.cdb;
        let attention = self.nexus(command.initiator);
        // SAM-5 §5.14.7: these three are served whatever is pending.
        match cdb[0] {
            cdb::INQUIRY => return self.inquiry(command),
            cdb::REPORT_LUNS => return report_luns(cdb),
            cdb::REQUEST_SENSE => {
                if cdb[1] & 1 != 0 {
                    return Err(Sense::invalid_field(1)); // DESC: fixed format only
                }
                let sense = if command.lun == 0 {
                    attention.take().unwrap_or(Sense::NONE)
                } else {
                    Sense::LUN_NOT_SUPPORTED
                };
                let mut data = Parameters::new();
                data.push(&sense.encode());
                return parameters(data, usize::from(cdb[4]));
            }
            _ => {}
        }
        if command.lun != 0 {
            return Err(Sense::LUN_NOT_SUPPORTED);
        }
        if let Some(sense) = attention.take() {
            return Err(sense);
        }
        match cdb[0] {
            cdb::MODE_SENSE_6 => return mode_sense(cdb, false, self.blocks),
            cdb::MODE_SENSE_10 => return mode_sense(cdb, true, self.blocks),
            cdb::MAINTENANCE_IN => return self.report_target_port_groups(cdb),
            _ => {}
        }
        // Everything else needs the medium, or says whether it can be had
        // (SPC-4 §5.15.2.4.4 for standby; §5.15.2.4.5 for unavailable).
        let ready = match self.access_state() {
            AccessState::ActiveOptimized => Ok(()),
            AccessState::Standby => Err(Sense::STANDBY),
            AccessState::Unavailable => Err(Sense::UNAVAILABLE),
        };
        match cdb[0] {
            cdb::TEST_UNIT_READY => {
                ready?;
                Ok(Step::Answer(Answer::good(DataIn::None)))
            }
            cdb::READ_CAPACITY_10 => {
                ready?;
                let last = u32::try_from(self.blocks.saturating_sub(1)).unwrap_or(u32::MAX);
                let mut data = Parameters::new();
                data.push(&last.to_be_bytes());
                data.push(&BLOCK_LENGTH.to_be_bytes());
                parameters(data, usize::MAX)
            }
            cdb::SERVICE_ACTION_IN_16 => {
                if cdb[1] & 0x1f != cdb::READ_CAPACITY_16_ACTION {
                    return Err(Sense::invalid_field(1));
                }
                ready?;
                let mut data = Parameters::new();
                data.push(&self.blocks.saturating_sub(1).to_be_bytes());
                data.push(&BLOCK_LENGTH.to_be_bytes());
                data.push(&[0; 20]);
                parameters(data, length32(cdb::be32(cdb, 10)))
            }
            cdb::READ_10 | cdb::READ_16 => {
                ready?;
                let extent = self.transfer(cdb, cdb[0] == cdb::READ_16)?;
                if extent.blocks == 0 {
                    return Ok(Step::Answer(Answer::good(DataIn::None)));
                }
                let task = Task(Waiting::Read {
                    bytes: extent.blocks * BLOCK_LENGTH,
                });
                Ok(Step::Disk(DiskOperation::Read(extent), task))
            }
            cdb::WRITE_10 | cdb::WRITE_16 => {
                ready?;
                let extent = self.transfer(cdb, cdb[0] == cdb::WRITE_16)?;
                if extent.blocks == 0 {
                    return Ok(Step::Answer(Answer::good(DataIn::None)));
                }
                if command.data_out.len() != length32(extent.blocks * BLOCK_LENGTH) {
                    return Err(Sense::DATA_PHASE_ERROR);
                }
                Ok(Step::Disk(
                    DiskOperation::Write(extent),
                    Task(Waiting::Write),
                ))
            }
            cdb::SYNCHRONIZE_CACHE_10 | cdb::SYNCHRONIZE_CACHE_16 => {
                ready?;
                // The whole cache is committed, whatever the extent.
                Extent::parse(cdb, cdb[0] == cdb::SYNCHRONIZE_CACHE_16, self.blocks)?;
                Ok(Step::Disk(DiskOperation::Flush, Task(Waiting::Flush)))
            }
            _ => Err(Sense::INVALID_OPCODE),
        }
    }

    /// The extent of a READ or WRITE this target is willing to do.
    fn transfer(&self, cdb: &Cdb, long: bool) -> Result<Extent, Sense> {
        if cdb[1] & 0xe0 != 0 {
            return Err(Sense::invalid_field(1)); // RDPROTECT/WRPROTECT: no protection information
        }
        let extent = Extent::parse(cdb, long, self.blocks)?;
        if extent.blocks > TRANSFER_LIMIT {
            return Err(Sense::invalid_field(if long { 10 } else { 7 }));
        }
        Ok(extent)
    }

    fn inquiry(&self, command: &Command<'_>) -> Result<Step, Sense> {
        let cdb = &command.cdb;
        let data = match (cdb[1] & 1 != 0, cdb[2]) {
            (false, 0) => inquiry::standard(&self.identity, command.lun == 0),
            (false, _) => return Err(Sense::invalid_field(2)),
            (true, _) if command.lun != 0 => return Err(Sense::LUN_NOT_SUPPORTED),
            (true, page) => inquiry::vital_product_data(&self.identity, page, TRANSFER_LIMIT)?,
        };
        parameters(data, usize::from(cdb::be16(cdb, 3)))
    }

    /// SPC-4 §6.37, length-only header format: one group per controller.
    fn report_target_port_groups(&self, cdb: &Cdb) -> Result<Step, Sense> {
        if cdb[1] != cdb::REPORT_TARGET_PORT_GROUPS_ACTION {
            return Err(Sense::invalid_field(1));
        }
        let mut data = Parameters::new();
        data.push(&[0; 4]);
        for (slot, &state) in (0..self.identity.controllers).zip(&self.states) {
            let port = Identity::port_of(slot).to_be_bytes();
            // Supported: optimized, standby, unavailable. Status: by implicit behaviour.
            data.push(&[state as u8, 0x0d, port[0], port[1], 0, 0x02, 0, 1]);
            data.push(&[0, 0, port[0], port[1]]);
        }
        let length = data.length_u8().saturating_sub(4);
        data.put(3, &[length]);
        parameters(data, length32(cdb::be32(cdb, 6)))
    }

    /// What is pending for `initiator`, who becomes the most recently heard one. A new one
    /// has not heard of the last reset yet.
    fn nexus(&mut self, initiator: u64) -> &mut Option<Sense> {
        let known = self
            .nexuses
            .iter()
            .position(|n| n.is_some_and(|n| n.initiator == initiator));
        let place = known.unwrap_or(INITIATORS - 1);
        if let Some(until) = self.nexuses.get_mut(..=place) {
            until.rotate_right(1);
        }
        let first = &mut self.nexuses[0];
        if known.is_none() {
            *first = None;
        }
        &mut first
            .get_or_insert(Nexus {
                initiator,
                attention: Some(Sense::RESET_OCCURRED),
            })
            .attention
    }
}

fn parameters(data: Parameters, allocation_length: usize) -> Result<Step, Sense> {
    let data = data.truncated(allocation_length);
    Ok(Step::Answer(Answer::good(DataIn::Parameters(data))))
}

fn length32(length: u32) -> usize {
    usize::try_from(length).unwrap_or(usize::MAX)
}

/// SPC-4 §6.33: LUN 0 is all there is, and there are no well-known logical units.
fn report_luns(cdb: &Cdb) -> Result<Step, Sense> {
    let luns: u8 = match cdb[2] {
        0x00 | 0x02 => 1,
        0x01 => 0,
        _ => return Err(Sense::invalid_field(2)),
    };
    let allocation_length = cdb::be32(cdb, 6);
    if allocation_length < 16 {
        return Err(Sense::invalid_field(6));
    }
    let mut data = Parameters::new();
    data.push(&[0, 0, 0, luns * 8, 0, 0, 0, 0]);
    if luns == 1 {
        data.push(&[0; 8]);
    }
    parameters(data, length32(allocation_length))
}

/// SPC-4 §6.13/6.14: caching (WCE = 0: a WRITE is durable when it is answered) and control page.
fn mode_sense(cdb: &Cdb, long: bool, blocks: u64) -> Result<Step, Sense> {
    const CACHING: u8 = 0x08;
    const CONTROL: u8 = 0x0a;
    const ALL: u8 = 0x3f;
    const DPOFUA: u8 = 0x10;
    let page = cdb[2] & 0x3f;
    let page_control = cdb[2] >> 6;
    if page_control == 3 {
        return Err(Sense::invalid_field(2)); // no saved values
    }
    if !matches!(page, CACHING | CONTROL | ALL) || !matches!(cdb[3], 0x00 | 0xff) {
        return Err(Sense::invalid_field(if cdb[3] == 0 { 2 } else { 3 }));
    }
    let mut data = Parameters::new();
    let with_descriptor = cdb[1] & 0x08 == 0; // DBD
    let descriptor_length: u8 = if with_descriptor { 8 } else { 0 };
    if long {
        data.push(&[0, 0, 0, DPOFUA, 0, 0, 0, descriptor_length]);
    } else {
        data.push(&[0, 0, DPOFUA, descriptor_length]);
    }
    if with_descriptor {
        let count = u32::try_from(blocks).unwrap_or(u32::MAX).to_be_bytes();
        let length = BLOCK_LENGTH.to_be_bytes();
        data.push(&count);
        data.push(&length);
    }
    if matches!(page, CACHING | ALL) {
        data.push(&[CACHING, 18]);
        data.push(&[0; 18]); // current and default values, and nothing can be changed
    }
    if matches!(page, CONTROL | ALL) {
        data.push(&[CONTROL, 10]);
        data.push(&[0; 10]);
    }
    let (at, itself, allocation_length) = if long {
        (1, 2, usize::from(cdb::be16(cdb, 7)))
    } else {
        (0, 1, usize::from(cdb[4]))
    };
    let length = data.length_u8().saturating_sub(itself);
    data.put(at, &[length]);
    parameters(data, allocation_length)
}

#[cfg(test)]
#[path = "target_tests.rs"]
mod tests;
