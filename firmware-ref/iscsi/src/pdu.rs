//! PDUs: their headers, and a reader that finds them in a stream.
//!
//! All headers have 48 bytes and nearly the same fields (RFC 7143 §11). [`Request`] is what initiators send,
//! [`Response`] what targets do; where kinds of PDU differ, the names below say which field is meant.

use zerocopy::big_endian::U32;
use zerocopy::{FromBytes, FromZeros, Immutable, IntoBytes, KnownLayout, Unaligned};

/// Bytes of a basic header segment (§11.2.1).
pub const HEADER_BYTES: usize = 48;
/// Longest data segment either end of this bench receives: MaxRecvDataSegmentLength (§13.12).
pub const DATA_SEGMENT_MAX: usize = 8192;
/// Room for the longest PDU that a [`Reader`] has to hold: header, additional headers, data and padding.
pub const PDU_BYTES_MAX: usize = HEADER_BYTES + 255 * 4 + DATA_SEGMENT_MAX;
/// A tag or length that means *none* (§11.2.1.8).
pub const NO_TAG: u32 = 0xffff_ffff;

/// Operation codes (§11.2.1.2).
pub mod opcode {
    /// NOP-Out.
    pub const NOP_OUT: u8 = 0x00;
    /// SCSI Command.
    pub const SCSI_COMMAND: u8 = 0x01;
    /// SCSI Task Management Function Request.
    pub const TASK_REQUEST: u8 = 0x02;
    /// Login Request.
    pub const LOGIN_REQUEST: u8 = 0x03;
    /// Text Request.
    pub const TEXT_REQUEST: u8 = 0x04;
    /// SCSI Data-Out.
    pub const DATA_OUT: u8 = 0x05;
    /// Logout Request.
    pub const LOGOUT_REQUEST: u8 = 0x06;
    /// NOP-In.
    pub const NOP_IN: u8 = 0x20;
    /// SCSI Response.
    pub const SCSI_RESPONSE: u8 = 0x21;
    /// SCSI Task Management Function Response.
    pub const TASK_RESPONSE: u8 = 0x22;
    /// Login Response.
    pub const LOGIN_RESPONSE: u8 = 0x23;
    /// Text Response.
    pub const TEXT_RESPONSE: u8 = 0x24;
    /// SCSI Data-In.
    pub const DATA_IN: u8 = 0x25;
    /// Logout Response.
    pub const LOGOUT_RESPONSE: u8 = 0x26;
    /// Ready To Transfer.
    pub const R2T: u8 = 0x31;
    /// Reject.
    pub const REJECT: u8 = 0x3f;
}

/// In the operation code of a request: do not count it, do it now (§11.2.1.1).
pub const IMMEDIATE: u8 = 0x40;

/// Bits of the flags byte.
pub mod flag {
    /// Last PDU of a sequence (F); set where it means nothing.
    pub const FINAL: u8 = 0x80;
    /// SCSI Command: it reads (§11.3.1).
    pub const READ: u8 = 0x40;
    /// SCSI Command: it writes.
    pub const WRITE: u8 = 0x20;
    /// SCSI Command: simple task attribute.
    pub const SIMPLE: u8 = 0x01;
    /// Response, Data-In: more data than the initiator expected (§11.4.1).
    pub const OVERFLOW: u8 = 0x04;
    /// Response, Data-In: fewer data than the initiator expected.
    pub const UNDERFLOW: u8 = 0x02;
    /// Data-In: it carries the status too (§11.7.1).
    pub const STATUS: u8 = 0x01;
    /// Login: go to the next stage (T, §11.12.1); the same bit as F.
    pub const TRANSIT: u8 = 0x80;
    /// Login, Text: the text goes on in the next PDU (C, §11.12.2).
    pub const CONTINUE: u8 = 0x40;
}

/// What an initiator sends.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Request {
    /// Operation code, and [`IMMEDIATE`].
    pub opcode: u8,
    /// Flags; of a Task Management Function Request the function, of a Logout Request the reason.
    pub flags: u8,
    /// Login: highest and lowest version.
    pub versions: [u8; 2],
    /// Words of additional headers.
    pub extra_words: u8,
    /// Bytes of data without padding.
    pub data_length: [u8; 3],
    /// Logical unit; of a Login Request ISID and TSIH.
    pub lun: [u8; 8],
    /// Initiator task tag.
    pub task_tag: U32,
    /// Target transfer tag; SCSI Command: expected data transfer length; task management: referenced task;
    /// Login, Logout: connection id in the upper half.
    pub word_20: U32,
    /// Number of the command; nothing in Data-Out.
    pub command_sn: U32,
    /// Number of the status expected next.
    pub expected_status_sn: U32,
    /// SCSI Command: the CDB. Data-Out: see [`Request::data_sn`] and [`Request::buffer_offset`].
    pub tail: [u8; 16],
}

/// What a target sends.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned,
)]
#[repr(C)]
pub struct Response {
    /// Operation code.
    pub opcode: u8,
    /// Flags.
    pub flags: u8,
    /// Byte 2: response code, reason of a Reject, highest version of a Login Response.
    pub response: u8,
    /// Byte 3: SCSI status, active version of a Login Response.
    pub status: u8,
    /// Words of additional headers.
    pub extra_words: u8,
    /// Bytes of data without padding.
    pub data_length: [u8; 3],
    /// Logical unit; of a Login Response ISID and TSIH.
    pub lun: [u8; 8],
    /// Initiator task tag.
    pub task_tag: U32,
    /// Target transfer tag.
    pub transfer_tag: U32,
    /// Number of the status this is; of an R2T and of Data-In without status the next one or nothing.
    pub status_sn: U32,
    /// Number of the command expected next.
    pub expected_command_sn: U32,
    /// Highest number of a command that may be sent.
    pub max_command_sn: U32,
    /// Data-In: DataSN; R2T: R2TSN; SCSI Response: number of Data-In and R2T PDUs; Login Response: class and
    /// detail of the status in the upper half; Logout Response: nothing.
    pub word_36: U32,
    /// Data-In, R2T: buffer offset; SCSI Response: bidirectional residual; Logout Response: times to wait and
    /// to retain.
    pub word_40: U32,
    /// Data-In, SCSI Response: residual; R2T: desired length.
    pub word_44: U32,
}

impl Request {
    /// An empty one, immediate delivery or not as `opcode` says.
    pub fn new(opcode: u8, flags: u8, task_tag: u32) -> Request {
        Request {
            opcode,
            flags,
            task_tag: task_tag.into(),
            ..Request::new_zeroed()
        }
    }

    /// The operation code alone.
    pub fn operation(&self) -> u8 {
        self.opcode & 0x3f
    }

    /// Whether it is to be done now and not counted.
    pub fn is_immediate(&self) -> bool {
        self.opcode & IMMEDIATE != 0
    }

    /// Whether all bits of `flag` are set.
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag == flag
    }

    /// Data-Out: its number in the sequence (§11.7.4).
    pub fn data_sn(&self) -> u32 {
        self.tail_word(4)
    }

    /// Data-Out: where its data belong (§11.7.5).
    pub fn buffer_offset(&self) -> u32 {
        self.tail_word(8)
    }

    fn tail_word(&self, at: usize) -> u32 {
        let word = self.tail.get(at..at + 4).and_then(|w| w.try_into().ok());
        word.map_or(0, u32::from_be_bytes)
    }
}

impl Response {
    /// An empty one with F set.
    pub fn new(opcode: u8, task_tag: u32) -> Response {
        Response {
            opcode,
            flags: flag::FINAL,
            task_tag: task_tag.into(),
            transfer_tag: NO_TAG.into(),
            ..Response::new_zeroed()
        }
    }

    /// Whether all bits of `flag` are set.
    pub fn has(&self, flag: u8) -> bool {
        self.flags & flag == flag
    }
}

/// DataSegmentLength of so many bytes.
pub fn data_length(bytes: usize) -> [u8; 3] {
    // Both ends bound their data segments far below 2^24.
    let [_, length @ ..] = u32::try_from(bytes).unwrap_or(0).to_be_bytes();
    length
}

/// Bytes of padding after a data segment of `bytes` (§11.2.2).
pub fn padding(bytes: usize) -> usize {
    bytes.wrapping_neg() & 3
}

/// Comparison of serial numbers (§4.2.2.1, RFC 1982): whether `a` comes before `b`.
pub fn before(a: u32, b: u32) -> bool {
    a != b && b.wrapping_sub(a) < 1 << 31
}

/// The peer announced a PDU longer than it was told that this end takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLong;

/// Finds PDUs in a stream. It holds one at a time, in a buffer of [`PDU_BYTES_MAX`] bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reader<B> {
    buffer: B,
    filled: usize,
}

impl<B: AsRef<[u8]> + AsMut<[u8]>> Reader<B> {
    /// At the start of a stream.
    pub fn new(buffer: B) -> Reader<B> {
        Reader { buffer, filled: 0 }
    }

    /// Takes of `bytes` what still belongs to the PDU at hand, and says how many that was.
    ///
    /// # Errors
    /// The PDU does not fit: the stream is of no use any more.
    pub fn push(&mut self, bytes: &[u8]) -> Result<usize, TooLong> {
        let mut taken = 0;
        loop {
            let wanted = self.wanted()?;
            let rest = bytes.get(taken..).unwrap_or_default();
            let length = rest.len().min(wanted.saturating_sub(self.filled));
            if length == 0 {
                return Ok(taken);
            }
            let room = self.buffer.as_mut().get_mut(self.filled..);
            if let (Some(to), Some(from)) = (
                room.and_then(|room| room.get_mut(..length)),
                rest.get(..length),
            ) {
                to.copy_from_slice(from);
            }
            self.filled += length;
            taken += length;
        }
    }

    /// The PDU at hand, once it is whole: header and data.
    pub fn pdu<H: FromBytes + KnownLayout + Immutable + Unaligned>(&self) -> Option<(&H, &[u8])> {
        let (_, _, data) = self.lengths()?;
        if self.wanted().ok()? != self.filled {
            return None;
        }
        let bytes = self.buffer.as_ref();
        let header = H::ref_from_bytes(bytes.get(..HEADER_BYTES)?).ok()?;
        let at = self.wanted().ok()? - data - padding(data);
        Some((header, bytes.get(at..at + data)?))
    }

    /// Forgets the PDU at hand.
    pub fn forget(&mut self) {
        self.filled = 0;
    }

    /// Words of additional headers, their bytes, bytes of data.
    fn lengths(&self) -> Option<(u8, usize, usize)> {
        if self.filled < HEADER_BYTES {
            return None;
        }
        let [words, high, middle, low] = *self.buffer.as_ref().get(4..8)?.first_chunk()?;
        let data = u32::from_be_bytes([0, high, middle, low]);
        Some((
            words,
            usize::from(words) * 4,
            usize::try_from(data).unwrap_or(usize::MAX),
        ))
    }

    fn wanted(&self) -> Result<usize, TooLong> {
        let Some((_, extra, data)) = self.lengths() else {
            return Ok(HEADER_BYTES);
        };
        if data > DATA_SEGMENT_MAX {
            return Err(TooLong);
        }
        let wanted = HEADER_BYTES + extra + data + padding(data);
        if wanted > self.buffer.as_ref().len() {
            return Err(TooLong);
        }
        Ok(wanted)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn reader() -> Reader<Vec<u8>> {
        Reader::new(vec![0; PDU_BYTES_MAX])
    }

    fn pdu(extra_words: u8, data: &[u8]) -> Vec<u8> {
        let mut header = Request::new(opcode::TEXT_REQUEST, flag::FINAL, 7);
        header.extra_words = extra_words;
        header.data_length = data_length(data.len());
        let mut bytes = header.as_bytes().to_vec();
        bytes.extend(vec![0xee; usize::from(extra_words) * 4]);
        bytes.extend(data);
        bytes.extend(vec![0; padding(data.len())]);
        bytes
    }

    #[test]
    fn headers_have_the_fields_where_the_rfc_has_them() {
        // §11.3, §11.4, §11.8: offsets of the figures.
        assert_eq!(size_of::<Request>(), HEADER_BYTES);
        assert_eq!(size_of::<Response>(), HEADER_BYTES);
        let mut request = Request::new(opcode::SCSI_COMMAND, flag::FINAL | flag::READ, 0x0102_0304);
        request.word_20 = 0x1112_1314.into();
        request.command_sn = 0x2122_2324.into();
        request.expected_status_sn = 0x3132_3334.into();
        request.tail[0] = 0x28;
        let bytes = request.as_bytes();
        assert_eq!(bytes[..2], [0x01, 0xc0]);
        assert_eq!(bytes[16..20], [1, 2, 3, 4]);
        assert_eq!(bytes[20..24], [0x11, 0x12, 0x13, 0x14]);
        assert_eq!(bytes[24..28], [0x21, 0x22, 0x23, 0x24]);
        assert_eq!(bytes[28..33], [0x31, 0x32, 0x33, 0x34, 0x28]);
        let mut response = Response::new(opcode::R2T, 9);
        response.status_sn = 1.into();
        response.max_command_sn = 3.into();
        response.word_44 = 4.into();
        let bytes = response.as_bytes();
        assert_eq!(bytes[20..28], [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 1]);
        assert_eq!((bytes[35], bytes[47]), (3, 4));
        let mut data_out = Request::new(opcode::DATA_OUT, flag::FINAL, 9);
        data_out.tail[4..12].copy_from_slice(&[0, 0, 0, 5, 0, 0, 2, 0]);
        assert_eq!((data_out.data_sn(), data_out.buffer_offset()), (5, 512));
    }

    #[test]
    fn a_pdu_longer_than_agreed_is_refused_by_its_header() {
        let mut header = Request::new(opcode::DATA_OUT, flag::FINAL, 0);
        header.data_length = data_length(DATA_SEGMENT_MAX + 1);
        assert_eq!(reader().push(header.as_bytes()), Err(TooLong));
        let longest = pdu(255, &[1; DATA_SEGMENT_MAX]);
        assert_eq!(reader().push(&longest), Ok(longest.len()));
    }

    #[test]
    fn serial_numbers_wrap() {
        assert!(before(u32::MAX, 0) && before(1, 2));
        assert!(!before(0, u32::MAX) && !before(2, 2));
    }

    proptest! {
        /// However TCP cuts it, a stream is the same PDUs.
        #[test]
        fn pdus_come_out_as_they_went_in(
            sent in proptest::collection::vec((0_u8..3, 0_usize..40), 1..8),
            cuts in proptest::collection::vec(1_usize..70, 1..50),
        ) {
            let stream: Vec<u8> = sent
                .iter()
                .flat_map(|(words, length)| pdu(*words, &vec![u8::try_from(*length).unwrap(); *length]))
                .collect();
            let mut reader = reader();
            let mut found = Vec::new();
            let mut rest = stream.as_slice();
            let mut cuts = cuts.iter().cycle();
            while !rest.is_empty() {
                let (mut piece, after) = rest.split_at(rest.len().min(*cuts.next().unwrap()));
                rest = after;
                while !piece.is_empty() {
                    let taken = reader.push(piece).unwrap();
                    piece = &piece[taken..];
                    if let Some((header, data)) = reader.pdu::<Request>() {
                        prop_assert!(data.iter().all(|b| usize::from(*b) == data.len()));
                        found.push((header.extra_words, data.len()));
                        reader.forget();
                    }
                }
            }
            prop_assert_eq!(found, sent);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let mut reader = reader();
            let mut rest = bytes.as_slice();
            while !rest.is_empty() {
                let Ok(taken) = reader.push(rest) else { break };
                rest = &rest[taken..];
                if let Some((_, data)) = reader.pdu::<Response>() {
                    prop_assert!(data.len() <= DATA_SEGMENT_MAX);
                    reader.forget();
                } else {
                    prop_assert!(rest.is_empty());
                }
            }
        }
    }
}
