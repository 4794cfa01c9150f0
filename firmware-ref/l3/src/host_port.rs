//! Host commands: commands in, disk work for all of them together, answers out.

use runtime::block::{Disk, Operation, SECTOR_BYTES};
use runtime::board_control::LockAction;
use scsi::cdb::Extent;
use scsi::ethernet::DATA_MAX;
use scsi::inquiry::Identity;
use scsi::target::{AccessState, Answer, DataIn, DiskError, DiskOperation, Step, Target, Task};
use system_area::{BlockDevice, HOST_VOLUME_START};

use crate::Running;
use crate::application::Context;
use crate::hardware::{COMMANDS, Hardware};
use crate::host_link::{HostLink, Received};

/// The SCSI target behind the host port.
#[derive(Debug)]
pub(crate) struct HostPort {
    target: Option<Target>,
    data: &'static mut [u8],
}

/// A command that waits for the disk.
#[derive(Clone, Copy, Debug)]
struct Waiting<E> {
    exchange: E,
    operation: DiskOperation,
    task: Task,
}

type Batch<E> = [Option<Waiting<E>>; COMMANDS];

impl HostPort {
    /// Closed: nobody is answered.
    pub(crate) fn new(data: &'static mut [u8]) -> HostPort {
        HostPort { target: None, data }
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
    pub(crate) fn serve<L: HostLink>(&mut self, context: &Context<'_>, link: &mut L) {
        let hardware = context.hardware;
        let mut batch: Batch<L::Exchange> = [None; COMMANDS];
        self.receive(hardware, link, &mut batch);
        if batch.iter().all(Option::is_none) {
            return;
        }
        // First what reads and writes, then one flush for all that wait for one.
        for _ in 0..2 {
            let Some(shelf) = &hardware.shelf else {
                return;
            };
            self.work(hardware, shelf, link, &mut batch);
        }
    }

    /// Begins commands; those that need no disk are answered at once.
    fn receive<L: HostLink>(
        &mut self,
        hardware: &Hardware,
        link: &mut L,
        batch: &mut Batch<L::Exchange>,
    ) {
        for (number, place) in batch.iter_mut().enumerate() {
            let received = link.receive(hardware, number);
            let Some(target) = &mut self.target else {
                match received {
                    Received::Nothing => return,
                    _ => continue,
                }
            };
            let (exchange, command) = match received {
                Received::Nothing => return,
                Received::Noise => continue,
                Received::Reset => {
                    target.reset();
                    continue;
                }
                Received::Command(exchange, command) => (exchange, command),
            };
            match target.begin(&command) {
                Step::Answer(answer) => answer_with(hardware, link, &exchange, &answer, &[]),
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
    fn work<L: HostLink>(
        &mut self,
        hardware: &Hardware,
        shelf: &Disk,
        link: &mut L,
        batch: &mut Batch<L::Exchange>,
    ) {
        let together = self.run(hardware, shelf, link, batch, None);
        for place in 0..COMMANDS {
            let Some(waiting) = batch.get(place).copied().flatten() else {
                continue;
            };
            let result = match together {
                Ok(()) => Ok(()),
                // One of them failed: each for itself, to know which.
                Err(()) => self
                    .run(hardware, shelf, link, batch, Some(place))
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
                    answer_with(hardware, link, &waiting.exchange, &answer, data);
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
    fn run<L: HostLink>(
        &mut self,
        hardware: &Hardware,
        shelf: &Disk,
        link: &L,
        batch: &Batch<L::Exchange>,
        only: Option<usize>,
    ) -> Result<(), ()> {
        let control = &hardware.control;
        let wanted = |place: usize| only.is_none_or(|only| only == place);
        let buffers = self.data.chunks_mut(DATA_MAX);
        let transfers = batch.iter().zip(buffers).enumerate();
        let operations = transfers.filter_map(|(place, (waiting, data))| {
            let waiting = waiting.as_ref().filter(|_| wanted(place))?;
            match waiting.operation {
                DiskOperation::Read(extent) => Some(Operation::Read {
                    sector: sector(&extent),
                    into: data.get_mut(..bytes(&extent))?,
                }),
                DiskOperation::Write(extent) => Some(Operation::Write {
                    sector: sector(&extent),
                    from: link.data_out(place).get(..bytes(&extent))?,
                }),
                DiskOperation::Flush => None,
            }
        });
        let transferred = shelf.run(control, operations);
        let flush = (0..).zip(batch).any(|(place, waiting)| {
            wanted(place)
                && waiting
                    .as_ref()
                    .is_some_and(|w| w.operation == DiskOperation::Flush)
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
fn answer_with<L: HostLink>(
    hardware: &Hardware,
    link: &mut L,
    exchange: &L::Exchange,
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
    link.answer(hardware, exchange, answer, data);
}
