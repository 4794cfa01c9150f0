//! Commands: from their PDU, through the data they wait for, to their answer.

use super::{Answer, Cause, Command, Connection, DATA_MAX, Event, State};
use crate::login::Session;
use crate::pdu::{NO_TAG, Request, Response, flag, opcode};

/// SCSI status TASK SET FULL (SAM-5 §5.3.1).
pub(super) const TASK_SET_FULL: u8 = 0x28;

#[derive(Clone, Copy, Debug)]
pub(super) struct Task {
    header: Request,
    /// Data that have come, and that have to.
    received: usize,
    wanted: usize,
    /// Where the sequence that was asked for ends, and its target transfer tag.
    asked_until: usize,
    transfer_tag: u32,
    data_sn: u32,
    transfers: u32,
}

impl Task {
    fn expected_length(&self) -> usize {
        usize::try_from(self.header.word_20.get()).unwrap_or(usize::MAX)
    }
}

impl Connection<'_> {
    /// The command in `place`.
    pub fn command(&self, place: usize) -> Option<Command<'_>> {
        let nexus = self.session()?.nexus();
        let task = self.tasks.get(place)?.as_ref()?;
        Some(Command {
            nexus,
            tag: task.header.task_tag.get(),
            lun: lun(&task.header.lun),
            cdb: task.header.tail,
            data_out: self.data.get(place)?.get(..task.received)?,
        })
    }

    /// Answers the command in `place`, if it is still the one of `tag`.
    pub fn answer(&mut self, place: usize, tag: u32, answer: &Answer<'_>) {
        let Some(slot) = self.tasks.get_mut(place) else {
            return;
        };
        let State::FullFeature(session) = &self.state else {
            return;
        };
        let parameters = session.parameters;
        let Some(task) = slot.take_if(|task| task.header.task_tag.get() == tag) else {
            return;
        };
        let expected = task.expected_length();
        let takes = if task.header.has(flag::READ) {
            expected.min(DATA_MAX)
        } else {
            0
        };
        let data = answer.data_in;
        let moved = if task.header.has(flag::WRITE) {
            task.received
        } else {
            data.len()
        };
        let data = data.get(..data.len().min(takes)).unwrap_or_default();
        // §11.4.5: against what the initiator expected.
        let (residual_flag, residual) = match moved.cmp(&expected) {
            core::cmp::Ordering::Less => (flag::UNDERFLOW, expected - moved),
            core::cmp::Ordering::Equal => (0, 0),
            core::cmp::Ordering::Greater => (flag::OVERFLOW, moved - expected),
        };
        let residual = u32::try_from(residual).unwrap_or(u32::MAX);
        let at_most = |length: u32| usize::try_from(length).map_or(DATA_MAX, |l| l.min(DATA_MAX));
        let (segment, burst) = (
            at_most(parameters.segment_max),
            at_most(parameters.burst_max),
        );
        let mut data_sn = task.transfers;
        let mut offset = 0;
        while offset < data.len() {
            let burst_end = (offset / burst + 1) * burst;
            let end = data.len().min(offset + segment).min(burst_end);
            let last = end == data.len();
            let mut header = Response::new(opcode::DATA_IN, tag);
            header.flags = if end == burst_end { flag::FINAL } else { 0 };
            header.word_36 = data_sn.into();
            header.word_40 = u32::try_from(offset).unwrap_or(0).into();
            if last {
                // The status travels with the last data (§11.7.3).
                header.flags = flag::FINAL | flag::STATUS | residual_flag;
                header.status = answer.status;
                header.word_44 = residual.into();
                self.number(&mut header);
            } else {
                self.stamp(&mut header);
            }
            self.output
                .put(header, &[data.get(offset..end).unwrap_or_default()]);
            offset = end;
            data_sn = data_sn.wrapping_add(1);
        }
        if !data.is_empty() {
            return;
        }
        let mut header = Response::new(opcode::SCSI_RESPONSE, tag);
        header.transfer_tag = 0.into();
        header.flags |= residual_flag;
        header.status = answer.status;
        header.word_36 = data_sn.into();
        header.word_44 = residual.into();
        self.number(&mut header);
        let length = u16::try_from(answer.sense.len()).unwrap_or(0).to_be_bytes();
        if answer.sense.is_empty() {
            self.output.put(header, &[]);
        } else {
            self.output.put(header, &[&length, answer.sense]);
        }
    }

    /// Drops the commands that still wait for data.
    pub fn drop_waiting(&mut self) {
        for task in &mut self.tasks {
            task.take_if(|task| task.received < task.wanted);
        }
    }

    pub(super) fn scsi_command(
        &mut self,
        session: &Session,
        header: &Request,
        data: &[u8],
    ) -> Result<Option<Event>, Cause> {
        let parameters = &session.parameters;
        let writes = header.has(flag::WRITE);
        let expected = usize::try_from(header.word_20.get()).unwrap_or(usize::MAX);
        let first = parameters.first_burst_max.min(parameters.burst_max);
        let first = usize::try_from(first).unwrap_or(0);
        let unasked = if writes && parameters.immediate_data {
            first.min(expected)
        } else {
            0
        };
        // InitialR2T=Yes: no data but with the command come unasked, so F is set (§11.3.1).
        if data.len() > unasked || !header.has(flag::FINAL) {
            return Err(Cause::ProtocolError);
        }
        if header.extra_words != 0 {
            // Neither long CDBs nor commands in both directions (§11.2.2).
            self.reject(header, 0x05);
            return Ok(None);
        }
        let twice = self
            .tasks
            .iter()
            .flatten()
            .any(|task| task.header.task_tag == header.task_tag);
        if twice {
            // §11.17.1: task in progress.
            self.reject(header, 0x07);
            return Ok(None);
        }
        let Some(place) = self.tasks.iter().position(Option::is_none) else {
            let mut response = Response::new(opcode::SCSI_RESPONSE, header.task_tag.get());
            response.transfer_tag = 0.into();
            response.status = TASK_SET_FULL;
            self.number(&mut response);
            self.output.put(response, &[]);
            return Ok(None);
        };
        // More than fits is not asked for: the logical unit refuses such a command by its CDB.
        let wanted = if writes && expected <= DATA_MAX {
            expected
        } else {
            data.len()
        };
        self.store(place, 0, data);
        let task = Task {
            header: *header,
            received: data.len(),
            wanted,
            asked_until: 0,
            transfer_tag: NO_TAG,
            data_sn: 0,
            transfers: 0,
        };
        if let Some(slot) = self.tasks.get_mut(place) {
            *slot = Some(task);
        }
        if task.received == task.wanted {
            return Ok(Some(Event::Command(place)));
        }
        self.ask_for_data(session, place);
        Ok(None)
    }

    /// Asks for the next burst of data (§11.8).
    fn ask_for_data(&mut self, session: &Session, place: usize) {
        self.transfer_tag = self.transfer_tag.wrapping_add(1) & 0x7fff_ffff;
        let transfer_tag = self.transfer_tag;
        let Some(task) = self.tasks.get_mut(place).and_then(Option::as_mut) else {
            return;
        };
        let burst = usize::try_from(session.parameters.burst_max).unwrap_or(DATA_MAX);
        let length = burst.min(task.wanted - task.received);
        task.asked_until = task.received + length;
        task.transfer_tag = transfer_tag;
        task.data_sn = 0;
        let mut header = Response::new(opcode::R2T, task.header.task_tag.get());
        header.lun = task.header.lun;
        header.transfer_tag = transfer_tag.into();
        header.word_36 = task.transfers.into();
        header.word_40 = u32::try_from(task.received).unwrap_or(0).into();
        header.word_44 = u32::try_from(length).unwrap_or(0).into();
        task.transfers = task.transfers.wrapping_add(1);
        header.status_sn = self.status_sn.into();
        self.stamp(&mut header);
        self.output.put(header, &[]);
    }

    pub(super) fn data_out(
        &mut self,
        header: &Request,
        data: &[u8],
    ) -> Result<Option<Event>, Cause> {
        let State::FullFeature(session) = &self.state else {
            return Ok(None);
        };
        let session = *session;
        let found = self
            .tasks
            .iter()
            .position(|task| task.is_some_and(|task| task.header.task_tag == header.task_tag));
        let Some((place, task)) = found.and_then(|place| {
            let task = self.tasks.get(place).copied().flatten()?;
            Some((place, task))
        }) else {
            // Of a command that was given up meanwhile.
            return Ok(None);
        };
        let end = task.received + data.len();
        let offset = usize::try_from(header.buffer_offset()).unwrap_or(usize::MAX);
        // DataPDUInOrder=Yes: each takes up where the one before ended; F ends what was asked for.
        let in_order = header.word_20.get() == task.transfer_tag
            && header.data_sn() == task.data_sn
            && offset == task.received
            && end <= task.asked_until
            && header.has(flag::FINAL) == (end == task.asked_until);
        if task.received >= task.wanted || !in_order {
            return Err(Cause::ProtocolError);
        }
        self.store(place, task.received, data);
        if let Some(task) = self.tasks.get_mut(place).and_then(Option::as_mut) {
            task.received = end;
            task.data_sn = task.data_sn.wrapping_add(1);
        }
        if end == task.wanted {
            return Ok(Some(Event::Command(place)));
        }
        if end == task.asked_until {
            self.ask_for_data(&session, place);
        }
        Ok(None)
    }

    fn store(&mut self, place: usize, at: usize, data: &[u8]) {
        let room = self.data.get_mut(place).and_then(|room| room.get_mut(at..));
        if let Some(room) = room.and_then(|room| room.get_mut(..data.len())) {
            room.copy_from_slice(data);
        }
    }

    /// Task management (§11.5). Every command that has all its data is answered before this is read, so
    /// only those that wait for data are left to abort.
    pub(super) fn task_request(&mut self, header: &Request) -> Option<Event> {
        const COMPLETE: u8 = 0;
        const NO_SUCH_TASK: u8 = 1;
        const NO_SUCH_UNIT: u8 = 2;
        const NO_REASSIGNMENT: u8 = 4;
        const NOT_SUPPORTED: u8 = 5;
        let mut event = None;
        let result = match header.flags & 0x7f {
            1 => {
                let referenced = header.word_20;
                let aborted = self.tasks.iter_mut().any(|task| {
                    task.take_if(|t| t.header.task_tag == referenced && t.received < t.wanted)
                        .is_some()
                });
                if aborted { COMPLETE } else { NO_SUCH_TASK }
            }
            2 => {
                self.drop_waiting();
                COMPLETE
            }
            5 if lun(&header.lun) != 0 => NO_SUCH_UNIT,
            // LOGICAL UNIT RESET, and TARGET WARM RESET: there is one unit.
            5 | 6 => {
                event = Some(Event::Reset);
                COMPLETE
            }
            8 => NO_REASSIGNMENT,
            _ => NOT_SUPPORTED,
        };
        let mut response = Response::new(opcode::TASK_RESPONSE, header.task_tag.get());
        response.transfer_tag = 0.into();
        response.response = result;
        self.number(&mut response);
        self.output.put(response, &[]);
        event
    }
}

/// A logical unit number of one level (SAM-5 §4.7): peripheral or flat.
fn lun(bytes: &[u8; 8]) -> u16 {
    let [first, second, rest @ ..] = *bytes;
    if first >> 6 > 1 || rest != [0; 6] {
        return u16::MAX;
    }
    u16::from_be_bytes([first & 0x3f, second])
}
