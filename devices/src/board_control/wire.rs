//! Requests and responses as bytes (board manual §5.3).

use crate::time::Nanos;
use crate::virtio::{Chain, GuestMemory};

/// Longest trace in bytes.
pub const MAX_TRACE_BYTES: usize = 200;

const HEADER_BYTES: usize = 16;

/// A request header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) op: u32,
    pub(super) arg: u32,
    pub(super) value: u64,
}

/// `status` of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Done = 0,
    Unsupported = 1,
    Refused = 2,
    BadArgument = 3,
}

/// A response without its time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Response {
    pub(super) status: Status,
    pub(super) arg: u32,
    pub(super) value: u64,
}

impl Response {
    pub(super) fn new(status: Status) -> Response {
        Response {
            status,
            arg: 0,
            value: 0,
        }
    }

    pub(super) fn done(arg: u32, value: u64) -> Response {
        Response {
            status: Status::Done,
            arg,
            value,
        }
    }

    /// Writes what fits; returns how much did.
    pub(super) fn write(&self, memory: &GuestMemory, chain: &Chain, now: Nanos) -> u32 {
        let mut bytes = [0; 24];
        bytes[..4].copy_from_slice(&(self.status as u32).to_le_bytes());
        bytes[4..8].copy_from_slice(&self.arg.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.value.to_le_bytes());
        bytes[16..].copy_from_slice(&now.0.to_le_bytes());
        let written = chain.write(memory, 0, &bytes);
        u32::try_from(written).unwrap_or(0)
    }
}

/// The header of a request; `None` if it is cut short.
pub(super) fn header(memory: &GuestMemory, chain: &Chain) -> Option<Header> {
    let mut op = [0; 4];
    let mut arg = [0; 4];
    let mut value = [0; 8];
    let n = chain.read(memory, 0, &mut op)
        + chain.read(memory, 4, &mut arg)
        + chain.read(memory, 8, &mut value);
    (n == HEADER_BYTES).then(|| Header {
        op: u32::from_le_bytes(op),
        arg: u32::from_le_bytes(arg),
        value: u64::from_le_bytes(value),
    })
}

/// The second mask of a WAIT: zero if there is no payload, `None` if it is cut short.
pub(super) fn idle_mask(memory: &GuestMemory, chain: &Chain) -> Option<u32> {
    let mut mask = [0; 4];
    match chain.read(memory, HEADER_BYTES as u64, &mut mask) {
        0 | 4 => Some(u32::from_le_bytes(mask)),
        _ => None,
    }
}

/// The text of a TRACE of `length` bytes: printable ASCII that begins with a word.
pub(super) fn trace(
    memory: &GuestMemory,
    chain: &Chain,
    length: u32,
) -> Result<String, &'static str> {
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > MAX_TRACE_BYTES {
        return Err("a trace longer than 200 bytes");
    }
    let bytes = chain.read_vec(memory, HEADER_BYTES as u64, length);
    if bytes.len() < length {
        return Err("a trace longer than its payload");
    }
    if !bytes.iter().all(|byte| matches!(byte, b' '..=b'~')) {
        return Err("a trace that is not printable ASCII");
    }
    match String::from_utf8(bytes) {
        Ok(text) if text.starts_with(|first: char| first != ' ') => Ok(text),
        _ => Err("a trace without an event name"),
    }
}
