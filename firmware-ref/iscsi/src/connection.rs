//! The target's half of one connection, which is a session of its own.
//!
//! ```text
//! bytes of TCP ──► Reader ──► login │ text, ping, logout … ──► Output ──► bytes for TCP
//!                               └──► command, data-out ──► Event::Command ──► answer ──┘
//! ```
//!
//! `tasks.rs` has what becomes of commands.
//!
//! Nothing is taken in while its answer might not fit into the output: a peer that does not read is not heard.

mod tasks;

use core::fmt;

use self::tasks::Task;
use crate::login::{Identity, Login, Refusal, Session, SessionType};
use crate::output::Output;
use crate::pdu::{
    DATA_SEGMENT_MAX, HEADER_BYTES, NO_TAG, PDU_BYTES_MAX, Reader, Request, Response, before, flag,
    opcode,
};
use crate::text::{TextWriter, pairs};
use zerocopy::IntoBytes;

/// Commands of one connection at a time: the window between ExpCmdSN and MaxCmdSN (§4.2.2.1).
pub const TASKS: usize = 8;
/// Most data of one command.
pub const DATA_MAX: usize = DATA_SEGMENT_MAX;
/// Room for any answer: data in segments and bursts of at least 512 bytes, each piece with a header, and a
/// status with sense.
const ANSWER_BYTES: usize = DATA_MAX + (2 * DATA_MAX / 512 + 4) * (HEADER_BYTES + 4) + 64;

/// What a connection works in.
#[derive(Debug)]
pub struct Memory {
    input: [u8; PDU_BYTES_MAX],
    output: [u8; (TASKS + 1) * ANSWER_BYTES],
    data: [[u8; DATA_MAX]; TASKS],
}

impl Memory {
    /// Empty.
    pub const ZERO: Memory = Memory {
        input: [0; PDU_BYTES_MAX],
        output: [0; (TASKS + 1) * ANSWER_BYTES],
        data: [[0; DATA_MAX]; TASKS],
    };
}

/// Why a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// The initiator logged out.
    Logout,
    /// It may not log in.
    LoginRefused(Refusal),
    /// It broke the rules.
    ProtocolError,
    /// It announced a PDU longer than this end takes.
    TooLong,
    /// The same initiator port opened a session anew (§6.3.5).
    Reinstated,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Cause::Logout => f.write_str("logout"),
            Cause::LoginRefused(refusal) => write!(f, "login-refused-{:04x}", *refusal as u16),
            Cause::ProtocolError => f.write_str("protocol-error"),
            Cause::TooLong => f.write_str("pdu-too-long"),
            Cause::Reinstated => f.write_str("reinstated"),
        }
    }
}

/// Something to do for whoever has the logical unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A session was opened.
    Opened,
    /// The command in this place is complete: see [`Connection::command`].
    Command(usize),
    /// The logical unit is to be reset, and with it every command of every connection.
    Reset,
}

/// A command for the logical unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command<'a> {
    /// Whose it is.
    pub nexus: u64,
    /// Its tag, to tell it from a later one in the same place.
    pub tag: u32,
    /// Logical unit; 0xffff for a name that no unit here has.
    pub lun: u16,
    /// Command descriptor block.
    pub cdb: [u8; 16],
    /// Data-out.
    pub data_out: &'a [u8],
}

/// An answer to one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    /// SCSI status.
    pub status: u8,
    /// Sense data; none with GOOD.
    pub sense: &'a [u8],
    /// Data-in; none but with GOOD.
    pub data_in: &'a [u8],
}

#[derive(Debug)]
enum State {
    Login(Login),
    FullFeature(Session),
    /// What is in the output goes out, then the connection is closed.
    Ending(Cause),
}

/// The target's half of a connection.
#[derive(Debug)]
pub struct Connection<'m> {
    reader: Reader<&'m mut [u8]>,
    output: Output<'m>,
    data: &'m mut [[u8; DATA_MAX]; TASKS],
    state: State,
    tasks: [Option<Task>; TASKS],
    status_sn: u32,
    expected_command_sn: u32,
    max_command_sn: u32,
    transfer_tag: u32,
}

impl<'m> Connection<'m> {
    /// A connection that nobody has made yet.
    pub fn new(memory: &'m mut Memory) -> Connection<'m> {
        let Memory {
            input,
            output,
            data,
        } = memory;
        Connection {
            reader: Reader::new(input),
            output: Output::new(output),
            data,
            state: State::Login(Login::default()),
            tasks: [None; TASKS],
            status_sn: 0,
            expected_command_sn: 0,
            max_command_sn: 0,
            transfer_tag: 0,
        }
    }

    /// Somebody makes it now.
    pub fn restart(&mut self) {
        self.reader.forget();
        self.output.clear();
        self.state = State::Login(Login::default());
        self.tasks = [None; TASKS];
        self.status_sn = 0;
    }

    /// The session, once there is one.
    pub fn session(&self) -> Option<&Session> {
        match &self.state {
            State::FullFeature(session) => Some(session),
            State::Login(_) | State::Ending(_) => None,
        }
    }

    /// Why it ends, if it does. It is to be closed when all [output](Connection::output) is sent.
    pub fn ending(&self) -> Option<Cause> {
        match &self.state {
            State::Ending(cause) => Some(*cause),
            State::Login(_) | State::FullFeature(_) => None,
        }
    }

    /// Ends it.
    pub fn end(&mut self, cause: Cause) {
        self.state = State::Ending(cause);
        self.tasks = [None; TASKS];
    }

    /// Bytes for the peer.
    pub fn output(&self) -> &[u8] {
        self.output.waiting()
    }

    /// So many of them are sent.
    pub fn sent(&mut self, bytes: usize) {
        self.output.sent(bytes);
    }

    /// Takes bytes from the peer, at most to the end of a PDU, and does what that asks for. Says how many
    /// were taken: none while there is no room for an answer.
    pub fn receive(&mut self, bytes: &[u8], identity: &Identity<'_>) -> (usize, Option<Event>) {
        if self.ending().is_some() {
            return (bytes.len(), None);
        }
        let busy = self.tasks.iter().flatten().count();
        if self.output.room() < (busy + 1) * ANSWER_BYTES {
            return (0, None);
        }
        // Out of the way, so that its data can be looked at while everything else changes.
        let mut reader = core::mem::replace(&mut self.reader, Reader::new(&mut []));
        let taken = reader.push(bytes);
        let mut event = None;
        match taken {
            Err(_) => self.end(Cause::TooLong),
            Ok(_) => {
                if let Some((header, data)) = reader.pdu::<Request>() {
                    match self.pdu(header, data, identity) {
                        Ok(found) => event = found,
                        Err(cause) => self.end(cause),
                    }
                    reader.forget();
                }
            }
        }
        self.reader = reader;
        (taken.unwrap_or(bytes.len()), event)
    }

    fn pdu(
        &mut self,
        header: &Request,
        data: &[u8],
        identity: &Identity<'_>,
    ) -> Result<Option<Event>, Cause> {
        match &self.state {
            State::Login(_) => self.login(header, data, identity),
            State::Ending(_) => Ok(None),
            State::FullFeature(session) => {
                let session = *session;
                self.full_feature(&session, header, data, identity)
            }
        }
    }

    fn login(
        &mut self,
        header: &Request,
        data: &[u8],
        identity: &Identity<'_>,
    ) -> Result<Option<Event>, Cause> {
        let State::Login(login) = &mut self.state else {
            return Ok(None);
        };
        // §6.3: before the end of the login phase nothing else may come.
        if header.operation() != opcode::LOGIN_REQUEST || !header.is_immediate() {
            return Err(Cause::ProtocolError);
        }
        let mut text = [0; 2048];
        let mut writer = TextWriter::new(&mut text);
        let outcome = login.request(header, data, identity, &mut writer);
        let length = writer.length();
        let outcome = outcome.and_then(|accepted| {
            let length = length.ok_or(Refusal::InitiatorError)?;
            Ok((accepted, length))
        });
        // Login requests are immediate: they do not count (§11.12.8).
        self.expected_command_sn = header.command_sn.get();
        self.max_command_sn = self.expected_command_sn;
        let mut response = Response::new(opcode::LOGIN_RESPONSE, header.task_tag.get());
        response.transfer_tag = 0.into();
        response.lun = header.lun;
        match outcome {
            Ok((accepted, length)) => {
                response.flags = accepted.flags;
                if let Some(session) = accepted.session {
                    self.state = State::FullFeature(session);
                    // The session's handle (§11.13.3). There are no sessions of several connections, so any
                    // number but 0 will do.
                    let [.., high, low] = &mut response.lun;
                    [*high, *low] = [0, 1];
                }
                self.number(&mut response);
                self.output
                    .put(response, &[text.get(..length).unwrap_or_default()]);
                Ok(accepted.session.map(|_| Event::Opened))
            }
            Err(refusal) => {
                response.flags = 0;
                response.word_36 = (u32::from(refusal as u16) << 16).into();
                self.number(&mut response);
                self.output.put(response, &[]);
                Err(Cause::LoginRefused(refusal))
            }
        }
    }

    fn full_feature(
        &mut self,
        session: &Session,
        header: &Request,
        data: &[u8],
        identity: &Identity<'_>,
    ) -> Result<Option<Event>, Cause> {
        let operation = header.operation();
        if operation == opcode::DATA_OUT {
            return self.data_out(header, data);
        }
        if !header.is_immediate() {
            let number = header.command_sn.get();
            if number != self.expected_command_sn {
                let outside =
                    before(number, self.expected_command_sn) || before(self.max_command_sn, number);
                // §4.2.2.1: what is outside of the window is ignored. On one connection nothing can be
                // missing in between.
                return if outside {
                    Ok(None)
                } else {
                    Err(Cause::ProtocolError)
                };
            }
            // A full window was announced as such.
            if before(self.max_command_sn, number) {
                return Ok(None);
            }
            self.expected_command_sn = number.wrapping_add(1);
        }
        let normal = session.session_type == SessionType::Normal;
        match operation {
            opcode::TEXT_REQUEST => self.text(session, header, data, identity),
            opcode::LOGOUT_REQUEST => self.logout(header),
            opcode::SCSI_COMMAND if normal => self.scsi_command(session, header, data),
            opcode::TASK_REQUEST if normal => Ok(self.task_request(header)),
            opcode::NOP_OUT if normal => {
                self.nop_out(session, header, data);
                Ok(None)
            }
            opcode::LOGIN_REQUEST => Err(Cause::ProtocolError),
            _ => {
                // §11.17.1: command not supported.
                self.reject(header, 0x05);
                Ok(None)
            }
        }
    }

    fn nop_out(&mut self, session: &Session, header: &Request, data: &[u8]) {
        if header.task_tag.get() == NO_TAG {
            return; // Nobody wants an answer (§11.18).
        }
        let most = usize::try_from(session.parameters.segment_max).unwrap_or(usize::MAX);
        let mut response = Response::new(opcode::NOP_IN, header.task_tag.get());
        response.lun = header.lun;
        self.number(&mut response);
        self.output
            .put(response, &[data.get(..most).unwrap_or(data)]);
    }

    fn text(
        &mut self,
        session: &Session,
        header: &Request,
        data: &[u8],
        identity: &Identity<'_>,
    ) -> Result<Option<Event>, Cause> {
        if header.has(flag::CONTINUE) || !header.has(flag::FINAL) {
            // §11.17.1: protocol error; every answer fits one PDU.
            self.reject(header, 0x04);
            return Ok(None);
        }
        let mut text = [0; 2048];
        let mut writer = TextWriter::new(&mut text);
        for pair in pairs(data) {
            let (key, value) = pair.map_err(|_| Cause::ProtocolError)?;
            let discovery = session.session_type == SessionType::Discovery;
            match (key, value) {
                ("SendTargets", "All") if !discovery => writer.pair(key, "Reject"),
                ("SendTargets", wanted)
                    if wanted == "All" || wanted == identity.name || wanted.is_empty() =>
                {
                    identity.describe(&mut writer);
                }
                ("SendTargets", _) => {}
                _ => writer.pair(key, "NotUnderstood"),
            }
        }
        let length = writer.length().ok_or(Cause::ProtocolError)?;
        let mut response = Response::new(opcode::TEXT_RESPONSE, header.task_tag.get());
        response.lun = header.lun;
        self.number(&mut response);
        self.output
            .put(response, &[text.get(..length).unwrap_or_default()]);
        Ok(None)
    }

    fn logout(&mut self, header: &Request) -> Result<Option<Event>, Cause> {
        const FOR_RECOVERY: u8 = 2;
        const RECOVERY_NOT_SUPPORTED: u8 = 2;
        let mut response = Response::new(opcode::LOGOUT_RESPONSE, header.task_tag.get());
        response.transfer_tag = 0.into();
        let recovery = header.flags & 0x7f == FOR_RECOVERY;
        if recovery {
            response.response = RECOVERY_NOT_SUPPORTED;
        }
        self.number(&mut response);
        self.output.put(response, &[]);
        if recovery {
            return Ok(None);
        }
        Err(Cause::Logout)
    }

    /// Reject, with the header of what is rejected (§11.17).
    fn reject(&mut self, header: &Request, reason: u8) {
        let mut response = Response::new(opcode::REJECT, NO_TAG);
        response.transfer_tag = 0.into();
        response.response = reason;
        self.number(&mut response);
        self.output.put(response, &[header.as_bytes()]);
    }

    /// Gives a response the next status number.
    fn number(&mut self, response: &mut Response) {
        response.status_sn = self.status_sn.into();
        self.status_sn = self.status_sn.wrapping_add(1);
        self.stamp(response);
    }

    /// Tells the window: as many commands as there are free places.
    fn stamp(&mut self, response: &mut Response) {
        let free = self.tasks.iter().filter(|task| task.is_none()).count();
        let free = u32::try_from(free).unwrap_or(0);
        let end = self.expected_command_sn.wrapping_add(free).wrapping_sub(1);
        if before(self.max_command_sn, end) {
            // It never shrinks (§4.2.2.1).
            self.max_command_sn = end;
        }
        response.expected_command_sn = self.expected_command_sn.into();
        response.max_command_sn = self.max_command_sn.into();
    }
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
