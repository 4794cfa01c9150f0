//! Host commands: frames in, disk work for all of them together, frames out.

use runtime::block::{Disk, Operation, SECTOR_BYTES};
use runtime::board_control::LockAction;
use runtime::network::Port;
use scsi::cdb::Extent;
use scsi::ethernet::{DATA_MAX, Exchange, parse_command, response_header};
use scsi::inquiry::Identity;
use scsi::target::{AccessState, Answer, DataIn, DiskError, DiskOperation, Step, Target, Task};
use system_area::{BlockDevice, HOST_VOLUME_START};

use crate::Running;
use crate::application::Context;
use crate::hardware::{COMMANDS, FRAME_ROOM, Hardware};

/// Bytes of a command frame before its data-out.
const COMMAND_HEADER: usize = 42;

/// The SCSI target behind the host port.
#[derive(Debug)]
pub(crate) struct HostPort {
    target: Option<Target>,
    frames: &'static mut [u8],
    data: &'static mut [u8],
}

/// A command that waits for the disk.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    exchange: Exchange,
    operation: DiskOperation,
    task: Task,
}

type Batch = [Option<Waiting>; COMMANDS];

impl HostPort {
    /// Closed: nobody is answered.
    pub(crate) fn new(frames: &'static mut [u8], data: &'static mut [u8]) -> HostPort {
        HostPort {
            target: None,
            frames,
            data,
        }
    }

    /// Hosts are answered from now on.
    pub(crate) fn open(&mut self, hardware: &Hardware, running: &Running, array_identity: u64) {
        let board = hardware.control.identity();
        let mut revision = [b' '; 4];
        for (place, byte) in revision.iter_mut().zip(running.version.as_str().bytes()) {
            *place = byte;
        }
        let identity = Identity {
            array: array_identity,
            slot: board.slot,
            controllers: board.slots,
            revision,
        };
        self.target = Some(Target::new(identity, blocks(hardware)));
    }

    /// How the controller in `slot` may use the logical unit.
    pub(crate) fn set_access_state(&mut self, slot: u8, state: AccessState) {
        if let Some(target) = &mut self.target {
            target.set_access_state(slot, state);
        }
    }

    /// Takes every command that has arrived and answers it.
    pub(crate) fn serve(&mut self, context: &Context<'_>) {
        let hardware = context.hardware;
        let Some(port) = &hardware.host_port else {
            return;
        };
        let mut batch: Batch = [None; COMMANDS];
        self.receive(hardware, port, &mut batch);
        if batch.iter().all(Option::is_none) {
            return;
        }
        // First what reads and writes, then one flush for all that wait for one.
        for _ in 0..2 {
            let Some(shelf) = &hardware.shelf else {
                return;
            };
            self.work(hardware, shelf, port, &mut batch);
        }
    }

    /// Begins commands; those that need no disk are answered at once.
    fn receive(&mut self, hardware: &Hardware, port: &Port, batch: &mut Batch) {
        for (place, frame) in batch.iter_mut().zip(self.frames.chunks_mut(FRAME_ROOM)) {
            let Ok(Some(length)) = port.receive(frame) else {
                return;
            };
            let received = frame.get(..length).unwrap_or_default();
            let Some((exchange, command)) = parse_command(received) else {
                continue;
            };
            let Some(target) = &mut self.target else {
                continue;
            };
            match target.begin(&command) {
                Step::Answer(answer) => answer_with(hardware, port, &exchange, &answer, &[]),
                Step::Disk(operation, task) => {
                    *place = Some(Waiting {
                        exchange,
                        operation,
                        task,
                    });
                }
            }
        }
    }

    /// Does what the commands of the batch wait for, and goes on with them.
    fn work(&mut self, hardware: &Hardware, shelf: &Disk, port: &Port, batch: &mut Batch) {
        let together = self.run(hardware, shelf, batch, None);
        for place in 0..COMMANDS {
            let Some(waiting) = batch.get(place).copied().flatten() else {
                continue;
            };
            let result = match together {
                Ok(()) => Ok(()),
                // One of them failed: each for itself, to know which.
                Err(()) => self
                    .run(hardware, shelf, batch, Some(place))
                    .map_err(|()| self.why(hardware)),
            };
            let next = match waiting.task.resume(result) {
                Step::Disk(operation, task) => Some(Waiting {
                    operation,
                    task,
                    ..waiting
                }),
                Step::Answer(answer) => {
                    let data = self.data_of(place);
                    answer_with(hardware, port, &waiting.exchange, &answer, data);
                    None
                }
            };
            if let Some(slot) = batch.get_mut(place) {
                *slot = next;
            }
        }
    }

    /// Runs the disk work of the whole batch, or of one command; flushes only when nothing else is
    /// left, and once for all.
    fn run(
        &mut self,
        hardware: &Hardware,
        shelf: &Disk,
        batch: &Batch,
        only: Option<usize>,
    ) -> Result<(), ()> {
        let control = &hardware.control;
        let wanted = |place: usize| only.is_none_or(|only| only == place);
        let frames = self.frames.chunks(FRAME_ROOM);
        let buffers = self.data.chunks_mut(DATA_MAX);
        let transfers = batch.iter().zip(frames.zip(buffers)).enumerate();
        let operations = transfers.filter_map(|(place, (waiting, (frame, data)))| {
            let waiting = waiting.as_ref().filter(|_| wanted(place))?;
            match waiting.operation {
                DiskOperation::Read(extent) => Some(Operation::Read {
                    sector: sector(&extent),
                    into: data.get_mut(..bytes(&extent))?,
                }),
                DiskOperation::Write(extent) => Some(Operation::Write {
                    sector: sector(&extent),
                    from: frame.get(COMMAND_HEADER..)?.get(..bytes(&extent))?,
                }),
                DiskOperation::Flush => None,
            }
        });
        let transferred = shelf.run(control, operations);
        let flush = (0..).zip(batch).any(|(place, waiting)| {
            wanted(place) && waiting.is_some_and(|w| w.operation == DiskOperation::Flush)
        });
        let flushed = if flush { shelf.flush(control) } else { Ok(()) };
        transferred.and(flushed).map_err(|_| ())
    }

    /// Why the disk refused: perhaps the unit has a new owner, and this port is fenced.
    fn why(&self, hardware: &Hardware) -> DiskError {
        let lock = cluster::Lock::Lun0.number();
        match hardware.control.lock(lock, LockAction::Query) {
            Ok(lock) if lock.owner != Some(hardware.slot()) => DiskError::NotOwner,
            _ => DiskError::Medium,
        }
    }

    fn data_of(&self, place: usize) -> &[u8] {
        let mut buffers = self.data.chunks(DATA_MAX);
        buffers.nth(place).unwrap_or_default()
    }
}

/// Blocks of the host's volume.
pub(crate) fn blocks(hardware: &Hardware) -> u64 {
    hardware.array().sectors().saturating_sub(HOST_VOLUME_START)
}

fn sector(extent: &Extent) -> u64 {
    // The target has checked the extent against the volume.
    HOST_VOLUME_START.saturating_add(extent.lba)
}

fn bytes(extent: &Extent) -> usize {
    usize::try_from(extent.blocks).map_or(0, |blocks| blocks.saturating_mul(SECTOR_BYTES))
}

/// Sends an answer; `disk_data` is what the disk read for the command.
fn answer_with(
    hardware: &Hardware,
    port: &Port,
    exchange: &Exchange,
    answer: &Answer,
    disk_data: &[u8],
) {
    let data = match &answer.data_in {
        DataIn::None => &[],
        DataIn::Parameters(parameters) => parameters.as_bytes(),
        DataIn::Disk(bytes) => usize::try_from(*bytes)
            .ok()
            .and_then(|bytes| disk_data.get(..bytes))
            .unwrap_or_default(),
    };
    let header = response_header(exchange, answer, data.len());
    // An initiator that hears nothing asks again.
    let _lost = port.send(&hardware.control, &[&header, data]);
}
