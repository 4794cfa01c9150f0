//! The initiator's half of a session on one path.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use devices::time::Nanos;
use iscsi::TCP_PORT;
use iscsi::pdu::{
    DATA_SEGMENT_MAX, IMMEDIATE, NO_TAG, PDU_BYTES_MAX, Reader, Request, Response, before,
    data_length, flag, opcode, padding,
};
use iscsi::text::{number, pairs};
use zerocopy::IntoBytes;

use super::endpoint::{Endpoint, Input, Output, Route};
use crate::host::transport::{Answer, Command, HOST_MAC, Outcome};

const INITIATOR_NAME: &str = "iqn.2001-08.example.arraybench:host";
/// Operational stage, to full feature phase at once (§11.12.3).
const LOGIN_FLAGS: u8 = flag::TRANSIT | 1 << 2 | 3;
/// Logout, Task tags of what is no SCSI command; only one such is under way at a time.
const OWN_TAG: u32 = 0x7fff_0000;
/// Pause before a session that ended is opened anew, and how long a connection may be in the making when a
/// command needs it.
const RECONNECT_PAUSE: Nanos = Nanos::from_millis(100);
const PATIENCE: Nanos = Nanos::from_millis(10);
/// An endpoint keeps its inputs for checkpoints: after so many bytes an idle session is opened anew.
const RENEWAL_BYTES: usize = 32 << 20;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Purpose {
    Discovery,
    Use,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Connecting,
    LoggingIn,
    /// SendTargets is under way.
    Asking,
    Ready,
    LoggingOut,
}

/// A connection and the session on it.
#[derive(Clone, Debug)]
struct Connection {
    endpoint: Endpoint,
    begun: Nanos,
    reader: Reader<Vec<u8>>,
    purpose: Purpose,
    phase: Phase,
    command_sn: u32,
    max_command_sn: u32,
    expected_status_sn: u32,
    /// What the target takes (§13.12 to §13.14), and whether data may come with a command (§13.11).
    segment_max: usize,
    first_burst_max: usize,
    immediate_data: bool,
}

#[derive(Clone, Debug)]
struct Outstanding {
    data_out: Vec<u8>,
    expected: usize,
    data_in: Vec<u8>,
}

/// One path.
#[derive(Clone, Debug)]
pub(super) struct Session {
    path: usize,
    connections: u64,
    connection: Option<Connection>,
    reconnect_at: Option<Nanos>,
    target_name: Option<String>,
    /// Commands that wait for a session or for its window.
    queue: VecDeque<(u32, Command)>,
    outstanding: BTreeMap<u32, Outstanding>,
    pub(super) frames: Vec<Vec<u8>>,
    pub(super) answers: Vec<Answer>,
}

/// The session cannot go on.
struct Broken;

impl Session {
    pub(super) fn new(path: usize) -> Session {
        Session {
            path,
            connections: 0,
            connection: None,
            reconnect_at: None,
            target_name: None,
            queue: VecDeque::new(),
            outstanding: BTreeMap::new(),
            frames: Vec::new(),
            answers: Vec::new(),
        }
    }

    /// Connects for the first time.
    pub(super) fn begin(&mut self, now: Nanos) {
        if self.connections == 0 {
            self.connect(now);
        }
    }

    pub(super) fn send(&mut self, now: Nanos, tag: u32, command: &Command) {
        // TCP asks a controller that was away for a while ever more seldom. It may be back.
        let stale = self.connection.as_ref().is_none_or(|connection| {
            connection.phase == Phase::Connecting && now.saturating_sub(connection.begun) > PATIENCE
        });
        if stale && self.queue.is_empty() {
            self.connect(now);
        }
        self.queue.push_back((tag, command.clone()));
        self.flush(now);
    }

    /// Ends the session, with a reset for the peer, and loses its commands.
    pub(super) fn give_up(&mut self, now: Nanos) {
        if let Some(connection) = &mut self.connection {
            let output = connection.endpoint.tell(now, Input::Abort);
            self.frames.extend(output.frames);
        }
        self.lose(now);
    }

    pub(super) fn receive(&mut self, now: Nanos, frame: &Arc<[u8]>) {
        let meant =
            frame.first().is_some_and(|first| first & 1 != 0) || frame.starts_with(&self.mac());
        if meant {
            self.tell(now, Input::Frame(frame.clone()));
        }
    }

    pub(super) fn advance(&mut self, now: Nanos) {
        if self.deadline().is_none_or(|at| at > now) {
            return;
        }
        if self.connection.is_some() {
            self.tell(now, Input::Time);
        } else {
            self.connect(now);
        }
    }

    pub(super) fn deadline(&self) -> Option<Nanos> {
        match &self.connection {
            Some(connection) => connection.endpoint.deadline(),
            None => self.reconnect_at,
        }
    }

    fn mac(&self) -> [u8; 6] {
        let mut mac = HOST_MAC;
        mac[5] = u8::try_from(self.path).unwrap_or(u8::MAX);
        mac
    }

    fn connect(&mut self, now: Nanos) {
        let place = u8::try_from(self.path).unwrap_or(100);
        let route = Route {
            own_mac: self.mac(),
            own_address: [10, 0, 0, 101 + place],
            peer_address: [10, 0, 0, 1 + place],
            peer_port: TCP_PORT,
            number: self.connections,
        };
        self.connections += 1;
        let (endpoint, output) = Endpoint::connect(now, route);
        self.connection = Some(Connection {
            endpoint,
            begun: now,
            reader: Reader::new(vec![0; PDU_BYTES_MAX]),
            purpose: match self.target_name {
                Some(_) => Purpose::Use,
                None => Purpose::Discovery,
            },
            phase: Phase::Connecting,
            command_sn: 1,
            max_command_sn: 1,
            expected_status_sn: 0,
            segment_max: DATA_SEGMENT_MAX,
            first_burst_max: DATA_SEGMENT_MAX,
            immediate_data: true,
        });
        self.take(now, output);
    }

    fn tell(&mut self, now: Nanos, input: Input) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        let output = connection.endpoint.tell(now, input);
        self.take(now, output);
    }

    /// Goes on with what came out of the endpoint.
    fn take(&mut self, now: Nanos, output: Output) {
        self.frames.extend(output.frames);
        let Some(connection) = &mut self.connection else {
            return;
        };
        if connection.phase == Phase::Connecting && output.connected {
            connection.phase = Phase::LoggingIn;
            self.login(now);
        }
        if self.pdus(now, &output.bytes).is_err() {
            self.give_up(now);
        } else if output.over {
            let expected = self
                .connection
                .as_ref()
                .is_none_or(|connection| connection.phase == Phase::LoggingOut);
            if !expected {
                self.lose(now);
            } else if self.connection.is_some() {
                self.logged_out(now);
            }
        }
    }

    /// Everything under way on this path is lost.
    fn lose(&mut self, now: Nanos) {
        self.connection = None;
        self.reconnect_at = Some(now + RECONNECT_PAUSE);
        let outstanding = std::mem::take(&mut self.outstanding).into_keys();
        let queued = std::mem::take(&mut self.queue)
            .into_iter()
            .map(|(tag, _)| tag);
        for tag in outstanding.chain(queued) {
            self.answers.push(Answer {
                path: self.path,
                tag,
                outcome: Outcome::PathLost,
            });
        }
    }

    fn logged_out(&mut self, now: Nanos) {
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        let output = connection.endpoint.tell(now, Input::Abort);
        self.frames.extend(output.frames);
        if connection.purpose == Purpose::Discovery || !self.queue.is_empty() {
            self.connect(now);
        }
    }

    fn pdus(&mut self, now: Nanos, mut bytes: &[u8]) -> Result<(), Broken> {
        while !bytes.is_empty() {
            let Some(connection) = &mut self.connection else {
                return Ok(());
            };
            let taken = connection.reader.push(bytes).map_err(|_| Broken)?;
            bytes = bytes.get(taken..).unwrap_or_default();
            let Some((header, data)) = connection.reader.pdu::<Response>() else {
                continue;
            };
            let (header, data) = (*header, data.to_vec());
            connection.reader.forget();
            self.pdu(now, &header, &data)?;
        }
        Ok(())
    }

    fn pdu(&mut self, now: Nanos, header: &Response, data: &[u8]) -> Result<(), Broken> {
        let connection = self.connection.as_mut().ok_or(Broken)?;
        let max = header.max_command_sn.get();
        if before(connection.max_command_sn, max) {
            connection.max_command_sn = max;
        }
        let carries_status = match header.opcode {
            opcode::R2T => false,
            opcode::DATA_IN => header.has(flag::STATUS),
            _ => true,
        };
        if carries_status {
            connection.expected_status_sn = header.status_sn.get().wrapping_add(1);
        }
        let tag = header.task_tag.get();
        match (header.opcode, connection.phase) {
            (opcode::LOGIN_RESPONSE, Phase::LoggingIn) => self.logged_in(now, header, data),
            (opcode::TEXT_RESPONSE, Phase::Asking) => {
                let mut found = pairs(data).flatten();
                let name = found.find(|(key, _)| *key == "TargetName").ok_or(Broken)?;
                self.target_name = Some(name.1.to_owned());
                self.logout(now);
                Ok(())
            }
            (opcode::LOGOUT_RESPONSE, Phase::LoggingOut) => {
                self.logged_out(now);
                Ok(())
            }
            (opcode::DATA_IN, Phase::Ready) => {
                let task = self.outstanding.get_mut(&tag).ok_or(Broken)?;
                // DataPDUInOrder=Yes.
                if usize::try_from(header.word_40.get()) != Ok(task.data_in.len())
                    || task.data_in.len() + data.len() > task.expected
                {
                    return Err(Broken);
                }
                task.data_in.extend(data);
                if carries_status {
                    self.complete(now, tag, header.status, Vec::new());
                }
                Ok(())
            }
            (opcode::SCSI_RESPONSE, Phase::Ready) => {
                // SenseLength, then as many bytes (§11.4.7.2).
                let sense = match data.split_first_chunk() {
                    Some((length, sense)) => sense
                        .get(..usize::from(u16::from_be_bytes(*length)))
                        .ok_or(Broken)?,
                    None => &[],
                };
                if header.response != 0 {
                    return Err(Broken);
                }
                self.complete(now, tag, header.status, sense.to_vec());
                Ok(())
            }
            (opcode::R2T, Phase::Ready) => self.data_out(now, header),
            (opcode::NOP_IN, _) if header.transfer_tag.get() != NO_TAG => {
                let mut pong = Request::new(opcode::NOP_OUT | IMMEDIATE, flag::FINAL, NO_TAG);
                pong.word_20 = header.transfer_tag;
                pong.lun = header.lun;
                self.put(now, pong, data);
                Ok(())
            }
            _ => Err(Broken),
        }
    }

    fn login(&mut self, now: Nanos) {
        let Some(connection) = &self.connection else {
            return;
        };
        let mut text = format!("InitiatorName={INITIATOR_NAME}\0");
        match (&self.target_name, connection.purpose) {
            (Some(name), Purpose::Use) => {
                text.push_str(&format!("SessionType=Normal\0TargetName={name}\0"));
            }
            _ => text.push_str("SessionType=Discovery\0"),
        }
        text.push_str("HeaderDigest=None\0DataDigest=None\0ErrorRecoveryLevel=0\0");
        text.push_str("DefaultTime2Wait=0\0DefaultTime2Retain=0\0");
        text.push_str(&format!("MaxRecvDataSegmentLength={DATA_SEGMENT_MAX}\0"));
        if connection.purpose == Purpose::Use {
            text.push_str("MaxConnections=1\0InitialR2T=Yes\0ImmediateData=Yes\0");
            text.push_str("MaxBurstLength=262144\0FirstBurstLength=4096\0MaxOutstandingR2T=1\0");
            text.push_str("DataPDUInOrder=Yes\0DataSequenceInOrder=Yes\0");
        }
        let mut header = Request::new(opcode::LOGIN_REQUEST | IMMEDIATE, LOGIN_FLAGS, OWN_TAG);
        // ISID of the random format (§11.12.5), a number of its own for each initiator port.
        let port = u8::try_from(self.path).unwrap_or(u8::MAX);
        let kind = u8::from(connection.purpose == Purpose::Discovery);
        header.lun = [0x80, 0, 0, 1, kind, port, 0, 0];
        self.put(now, header, text.as_bytes());
    }

    fn logged_in(&mut self, now: Nanos, header: &Response, text: &[u8]) -> Result<(), Broken> {
        if header.word_36.get() >> 24 != 0 {
            // Perhaps the array has another name now.
            self.target_name = None;
            return Err(Broken);
        }
        if !header.has(LOGIN_FLAGS) {
            return Err(Broken);
        }
        let connection = self.connection.as_mut().ok_or(Broken)?;
        for (key, value) in pairs(text).flatten() {
            let length = || number(value).and_then(|n| usize::try_from(n).ok());
            match key {
                "MaxRecvDataSegmentLength" => {
                    connection.segment_max = length().ok_or(Broken)?.max(512);
                }
                "FirstBurstLength" => connection.first_burst_max = length().ok_or(Broken)?,
                "ImmediateData" => connection.immediate_data = value == "Yes",
                _ => {}
            }
        }
        match connection.purpose {
            Purpose::Use => {
                connection.phase = Phase::Ready;
                self.flush(now);
            }
            Purpose::Discovery => {
                connection.phase = Phase::Asking;
                let mut header = Request::new(opcode::TEXT_REQUEST, flag::FINAL, OWN_TAG);
                header.word_20 = NO_TAG.into();
                self.put_counted(now, header, b"SendTargets=All\0");
            }
        }
        Ok(())
    }

    fn logout(&mut self, now: Nanos) {
        if let Some(connection) = &mut self.connection {
            connection.phase = Phase::LoggingOut;
        }
        // Reason 0: close the session (§11.14.1).
        let header = Request::new(opcode::LOGOUT_REQUEST, flag::FINAL, OWN_TAG);
        self.put_counted(now, header, &[]);
    }

    /// Sends commands as far as the window is open.
    fn flush(&mut self, now: Nanos) {
        loop {
            let Some(connection) = &self.connection else {
                return;
            };
            let closed = before(connection.max_command_sn, connection.command_sn);
            if connection.phase != Phase::Ready || closed {
                return;
            }
            if self.outstanding.is_empty()
                && !self.queue.is_empty()
                && connection.endpoint.log_bytes() > RENEWAL_BYTES
            {
                self.logout(now);
                return;
            }
            let (immediate, first_burst) = (connection.immediate_data, connection.first_burst_max);
            let segment = connection.segment_max;
            let Some((tag, command)) = self.queue.pop_front() else {
                return;
            };
            let Command {
                cdb,
                data,
                expected,
            } = command;
            let direction = match (data.is_empty(), expected) {
                (false, _) => flag::WRITE,
                (true, 0) => 0,
                (true, _) => flag::READ,
            };
            let flags = flag::FINAL | direction | flag::SIMPLE;
            let mut header = Request::new(opcode::SCSI_COMMAND, flags, tag);
            header.word_20 = u32::try_from(data.len().max(expected)).unwrap_or(0).into();
            header.tail = cdb;
            let unasked = if immediate {
                data.len().min(first_burst).min(segment)
            } else {
                0
            };
            let immediate_data = data.get(..unasked).unwrap_or_default().to_vec();
            self.outstanding.insert(
                tag,
                Outstanding {
                    data_out: data,
                    expected,
                    data_in: Vec::new(),
                },
            );
            self.put_counted(now, header, &immediate_data);
        }
    }

    /// Sends the data that an R2T asks for (§11.8).
    fn data_out(&mut self, now: Nanos, ready: &Response) -> Result<(), Broken> {
        let segment = self.connection.as_ref().ok_or(Broken)?.segment_max;
        let task = self.outstanding.get(&ready.task_tag.get()).ok_or(Broken)?;
        let offset = usize::try_from(ready.word_40.get()).map_err(|_| Broken)?;
        let length = usize::try_from(ready.word_44.get()).map_err(|_| Broken)?;
        let asked = task
            .data_out
            .get(offset..)
            .and_then(|data| data.get(..length))
            .ok_or(Broken)?
            .to_vec();
        let mut sent = 0;
        for (data_sn, piece) in (0_u32..).zip(asked.chunks(segment)) {
            let last = sent + piece.len() == asked.len();
            let flags = if last { flag::FINAL } else { 0 };
            let mut header = Request::new(opcode::DATA_OUT, flags, ready.task_tag.get());
            header.lun = ready.lun;
            header.word_20 = ready.transfer_tag;
            let at = u32::try_from(offset + sent).unwrap_or(u32::MAX);
            header.tail[4..8].copy_from_slice(&data_sn.to_be_bytes());
            header.tail[8..12].copy_from_slice(&at.to_be_bytes());
            self.put(now, header, piece);
            sent += piece.len();
        }
        Ok(())
    }

    fn complete(&mut self, now: Nanos, tag: u32, status: u8, sense: Vec<u8>) {
        if let Some(task) = self.outstanding.remove(&tag) {
            self.answers.push(Answer {
                path: self.path,
                tag,
                outcome: Outcome::Status {
                    status,
                    sense,
                    data: task.data_in,
                },
            });
        }
        self.flush(now);
    }

    /// Sends a PDU that takes a number of the window.
    fn put_counted(&mut self, now: Nanos, header: Request, data: &[u8]) {
        self.put(now, header, data);
        if let Some(connection) = &mut self.connection {
            connection.command_sn = connection.command_sn.wrapping_add(1);
        }
    }

    fn put(&mut self, now: Nanos, mut header: Request, data: &[u8]) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        header.data_length = data_length(data.len());
        if header.operation() != opcode::DATA_OUT {
            header.command_sn = connection.command_sn.into();
        }
        header.expected_status_sn = connection.expected_status_sn.into();
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend(data);
        bytes.resize(bytes.len() + padding(data.len()), 0);
        let output = connection.endpoint.tell(now, Input::Write(bytes.into()));
        // At the same instant nothing can have come.
        self.frames.extend(output.frames);
    }
}
