//! Commands and responses as bytes (virtio 1.4 §5.7.6.7 and §5.7.6.8).

use super::{HEIGHT, MAX_BACKING_ENTRIES, WIDTH};
use crate::virtio::{Chain, GuestMemory};
use serde::{Deserialize, Serialize};

pub(super) mod command {
    pub(in super::super) const GET_DISPLAY_INFO: u32 = 0x0100;
    pub(in super::super) const RESOURCE_CREATE_2D: u32 = 0x0101;
    pub(in super::super) const RESOURCE_UNREF: u32 = 0x0102;
    pub(in super::super) const SET_SCANOUT: u32 = 0x0103;
    pub(in super::super) const RESOURCE_FLUSH: u32 = 0x0104;
    pub(in super::super) const TRANSFER_TO_HOST_2D: u32 = 0x0105;
    pub(in super::super) const RESOURCE_ATTACH_BACKING: u32 = 0x0106;
    pub(in super::super) const RESOURCE_DETACH_BACKING: u32 = 0x0107;
    pub(in super::super) const UPDATE_CURSOR: u32 = 0x0300;
    pub(in super::super) const MOVE_CURSOR: u32 = 0x0301;
}

const RESP_OK_NODATA: u32 = 0x1100;
const RESP_OK_DISPLAY_INFO: u32 = 0x1101;

/// Scanouts a display information has room for.
const MAX_SCANOUTS: usize = 16;

/// `struct virtio_gpu_ctrl_hdr`.
pub(super) const HEADER_BYTES: usize = 24;
const FLAG_FENCE: u32 = 1;

/// Longest command: a backing of as many entries as are allowed.
const MAX_COMMAND_BYTES: usize = HEADER_BYTES + 8 + 16 * MAX_BACKING_ENTRIES as usize;

/// Error responses; the number is the type on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum GpuError {
    Unspecified = 0x1200,
    OutOfMemory = 0x1201,
    InvalidScanoutId = 0x1202,
    InvalidResourceId = 0x1203,
    InvalidParameter = 0x1205,
}

/// What a command is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Success {
    NoData,
    DisplayInfo,
}

/// A rectangle of pixels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rect {
    pub(super) x: u32,
    pub(super) y: u32,
    pub(super) width: u32,
    pub(super) height: u32,
}

impl Rect {
    /// Not empty, and inside a picture of this size.
    pub(super) fn is_within(&self, width: u32, height: u32) -> bool {
        let fits = |from: u32, length: u32, size: u32| {
            length > 0 && from.checked_add(length).is_some_and(|end| end <= size)
        };
        fits(self.x, self.width, width) && fits(self.y, self.height, height)
    }

    /// What two rectangles have in common.
    pub(super) fn intersection(&self, other: &Rect) -> Option<Rect> {
        let common = |a: u32, a_length: u32, b: u32, b_length: u32| {
            let from = a.max(b);
            let to = a.saturating_add(a_length).min(b.saturating_add(b_length));
            to.checked_sub(from)
                .filter(|length| *length > 0)
                .map(|length| (from, length))
        };
        let (x, width) = common(self.x, self.width, other.x, other.width)?;
        let (y, height) = common(self.y, self.height, other.y, other.height)?;
        Some(Rect {
            x,
            y,
            width,
            height,
        })
    }
}

/// A command, copied out of guest memory; every field is read with a check of its length.
#[derive(Debug)]
pub(super) struct Command {
    bytes: Vec<u8>,
}

impl Command {
    pub(super) fn read(memory: &GuestMemory, chain: &Chain) -> Command {
        Command {
            bytes: chain.read_vec(memory, 0, MAX_COMMAND_BYTES),
        }
    }

    /// Its type, if it has a whole header.
    pub(super) fn kind(&self) -> Option<u32> {
        if self.bytes.len() < HEADER_BYTES {
            return None;
        }
        self.word_at(0).ok()
    }

    /// Word `n` after the header.
    pub(super) fn word(&self, n: usize) -> Result<u32, GpuError> {
        self.word_at(HEADER_BYTES + 4 * n)
    }

    /// The long that begins at word `n` after the header.
    pub(super) fn long(&self, n: usize) -> Result<u64, GpuError> {
        Ok(u64::from(self.word(n)?) | u64::from(self.word(n + 1)?) << 32)
    }

    /// The rectangle every drawing command begins with.
    pub(super) fn rect(&self) -> Result<Rect, GpuError> {
        Ok(Rect {
            x: self.word(0)?,
            y: self.word(1)?,
            width: self.word(2)?,
            height: self.word(3)?,
        })
    }

    fn word_at(&self, offset: usize) -> Result<u32, GpuError> {
        let rest = self.bytes.get(offset..).unwrap_or_default();
        let word = rest.first_chunk().ok_or(GpuError::InvalidParameter)?;
        Ok(u32::from_le_bytes(*word))
    }

    /// The response to this command, fence echoed (virtio 1.4 §5.7.6.7: a response carries the
    /// fence of its request).
    pub(super) fn response(&self, outcome: Result<Success, GpuError>) -> Vec<u8> {
        let kind = match outcome {
            Ok(Success::NoData) => RESP_OK_NODATA,
            Ok(Success::DisplayInfo) => RESP_OK_DISPLAY_INFO,
            Err(error) => error as u32,
        };
        let header = |n: usize| self.word_at(4 * n).unwrap_or(0);
        let mut words = vec![kind, 0, 0, 0, 0, 0];
        if self.kind().is_some() && header(1) & FLAG_FENCE != 0 {
            words = vec![kind, FLAG_FENCE, header(2), header(3), header(4), 0];
        }
        if outcome == Ok(Success::DisplayInfo) {
            // Per scanout: rectangle, enabled, flags. The glass is the only one.
            words.extend([0, 0, WIDTH, HEIGHT, 1, 0]);
            words.resize(words.len() + 6 * (MAX_SCANOUTS - 1), 0);
        }
        words.into_iter().flat_map(u32::to_le_bytes).collect()
    }
}
