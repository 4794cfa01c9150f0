//! What controllers say to each other on the backplane.
//!
//! One Ethernet frame each, type 0x88B5, little-endian after the Ethernet header:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 14 | 1 | kind: 1 heartbeat, 2 read request, 3 read answer, 4 request to step down |
//! | 15 | 1 | format of the kind |
//! | 16 | 1 | sender's slot |
//! | 17 | … | by kind |
//!
//! A firmware drops formats that it does not know, so a newer one is used only while every partner
//! is known to understand it: heartbeats of format 1 announce that in a flag.

use image::Version;

use crate::SLOTS_MAX;

/// Ethernet type of the backplane (IEEE 802 local experimental 1).
pub const ETHERTYPE: u16 = 0x88b5;
/// Whoever is operational shall answer.
pub const ANYBODY: u8 = 0xff;
/// Bytes that one read request can ask for.
pub const READ_MAX: usize = 8192;

const ETHERNET_HEADER: usize = 14;
const COMMON_HEADER: usize = 3;
const BROADCAST: [u8; 6] = [0xff; 6];
const KIND_HEARTBEAT: u8 = 1;
const KIND_READ: u8 = 2;
const KIND_DATA: u8 = 3;
const KIND_STEP_DOWN: u8 = 4;
const VERSION_SIZE: usize = image::LABEL_SIZE;

const FLAG_OWNS_LUN: u8 = 1 << 0;
const FLAG_UNDERSTANDS_2: u8 = 1 << 1;

/// Bytes before the data of a read answer.
pub const DATA_HEADER: usize = ETHERNET_HEADER + COMMON_HEADER + 9;

/// How far a controller has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Not serving yet.
    Booting,
    /// Serving, or ready to take over.
    Operational,
    /// About to reset, its locks released.
    Leaving,
}

/// What a controller is to its partners.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Owns the logical unit and speaks for the array.
    Master,
    /// Ready to become master.
    Alternate,
}

impl Role {
    /// The word used in traces: `role=…`.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Master => "master",
            Role::Alternate => "alternate",
        }
    }
}

/// A sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The sender's slot.
    pub slot: u8,
    /// How far it has come.
    pub state: State,
    /// What it is, once it knows.
    pub role: Option<Role>,
    /// Whether it owns logical unit 0.
    pub owns_lun: bool,
    /// Whether it would understand heartbeats of format 2.
    pub understands_2: bool,
    /// Epoch of the master lock as it knows it.
    pub epoch: u64,
    /// The version it runs.
    pub version: Version,
    /// Format 2: resets since it was put into its slot.
    pub boots: Option<u32>,
}

/// Anything that travels on the backplane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A sign of life.
    Heartbeat(Heartbeat),
    /// A booting controller wants part of the package that the receiver runs (VC5).
    Read {
        /// The sender's slot.
        slot: u8,
        /// Who shall answer: a slot, or [`ANYBODY`].
        to: u8,
        /// First byte in the package.
        offset: u32,
        /// Bytes wanted.
        length: u32,
    },
    /// The answer to [`Message::Read`].
    Data {
        /// The sender's slot.
        slot: u8,
        /// Whom it is for.
        to: u8,
        /// First byte in the package.
        offset: u32,
        /// Bytes in the whole package.
        total: u32,
        /// The bytes; fewer than wanted at the end of the package.
        bytes: &'a [u8],
    },
    /// The sender wants the receiver to give up the logical unit, because it is about to be stopped.
    StepDown {
        /// The sender's slot.
        slot: u8,
        /// Whom it is for.
        to: u8,
    },
}

/// A frame in the making.
#[derive(Clone, Debug)]
pub struct Frame {
    bytes: [u8; 64],
    length: usize,
}

impl Frame {
    fn new(source: [u8; 6], kind: u8, format: u8, slot: u8) -> Frame {
        let mut frame = Frame {
            bytes: [0; 64],
            length: 0,
        };
        frame.push(&BROADCAST);
        frame.push(&source);
        frame.push(&ETHERTYPE.to_be_bytes());
        frame.push(&[kind, format, slot]);
        frame
    }

    fn push(&mut self, bytes: &[u8]) {
        let end = self.length + bytes.len();
        if let Some(place) = self.bytes.get_mut(self.length..end) {
            place.copy_from_slice(bytes);
            self.length = end;
        }
    }

    /// The frame, Ethernet header included.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

/// The station address of the backplane port in `slot` (board manual §8).
pub fn station(slot: u8) -> [u8; 6] {
    [0x02, 0xab, 0, 0, 0, slot]
}

impl Heartbeat {
    /// The frame; of format 2 when `boots` is known.
    pub fn encode(&self) -> Frame {
        let format = if self.boots.is_some() { 2 } else { 1 };
        let mut frame = Frame::new(station(self.slot), KIND_HEARTBEAT, format, self.slot);
        let mut flags = 0;
        if self.owns_lun {
            flags |= FLAG_OWNS_LUN;
        }
        if self.understands_2 {
            flags |= FLAG_UNDERSTANDS_2;
        }
        let state = match self.state {
            State::Booting => 0,
            State::Operational => 1,
            State::Leaving => 2,
        };
        let role = match self.role {
            None => 0,
            Some(Role::Master) => 1,
            Some(Role::Alternate) => 2,
        };
        frame.push(&[state, role, flags]);
        frame.push(&self.epoch.to_le_bytes());
        let mut label = [0; VERSION_SIZE];
        for (place, byte) in label.iter_mut().zip(self.version.as_str().bytes()) {
            *place = byte;
        }
        frame.push(&label);
        if let Some(boots) = self.boots {
            frame.push(&boots.to_le_bytes());
        }
        frame
    }

    fn decode(format: u8, slot: u8, body: &[u8]) -> Option<Heartbeat> {
        let &[state, role, flags] = body.first_chunk()?;
        let label = field::<VERSION_SIZE>(body, 11)?;
        let end = label.iter().position(|byte| *byte == 0);
        let text = label.get(..end.unwrap_or(VERSION_SIZE))?;
        Some(Heartbeat {
            slot,
            state: match state {
                0 => State::Booting,
                1 => State::Operational,
                2 => State::Leaving,
                _ => return None,
            },
            role: match role {
                0 => None,
                1 => Some(Role::Master),
                2 => Some(Role::Alternate),
                _ => return None,
            },
            owns_lun: flags & FLAG_OWNS_LUN != 0,
            understands_2: flags & FLAG_UNDERSTANDS_2 != 0,
            epoch: u64::from_le_bytes(field(body, 3)?),
            version: core::str::from_utf8(text).ok()?.parse().ok()?,
            boots: match format {
                1 => None,
                2 => Some(u32::from_le_bytes(field(body, 11 + VERSION_SIZE)?)),
                _ => return None,
            },
        })
    }
}

/// The frame that asks the partners for a part of their package.
pub fn read_request(slot: u8, to: u8, offset: u32, length: u32) -> Frame {
    let mut frame = Frame::new(station(slot), KIND_READ, 1, slot);
    frame.push(&[to]);
    frame.push(&offset.to_le_bytes());
    frame.push(&length.to_le_bytes());
    frame
}

/// The frame that asks the controller in `to` to give up the logical unit.
pub fn step_down_request(slot: u8, to: u8) -> Frame {
    let mut frame = Frame::new(station(slot), KIND_STEP_DOWN, 1, slot);
    frame.push(&[to]);
    frame
}

/// The frame that answers; the data follow it.
pub fn data_header(slot: u8, to: u8, offset: u32, total: u32) -> Frame {
    let mut frame = Frame::new(station(slot), KIND_DATA, 1, slot);
    frame.push(&[to]);
    frame.push(&offset.to_le_bytes());
    frame.push(&total.to_le_bytes());
    frame
}

/// Takes the message out of a received frame; nothing where it is none, or of a format that this
/// firmware, understanding heartbeats up to `newest_format`, does not know.
pub fn parse(frame: &[u8], newest_format: u8) -> Option<Message<'_>> {
    let ethertype = u16::from_be_bytes(field(frame, 12)?);
    let &[kind, format, slot] = frame.get(ETHERNET_HEADER..)?.first_chunk()?;
    if ethertype != ETHERTYPE || usize::from(slot) >= SLOTS_MAX {
        return None;
    }
    let body = frame.get(ETHERNET_HEADER + COMMON_HEADER..)?;
    match (kind, format) {
        (KIND_HEARTBEAT, _) if format <= newest_format => {
            Heartbeat::decode(format, slot, body).map(Message::Heartbeat)
        }
        (KIND_READ, 1) => Some(Message::Read {
            slot,
            to: *body.first()?,
            offset: u32::from_le_bytes(field(body, 1)?),
            length: u32::from_le_bytes(field(body, 5)?),
        }),
        (KIND_DATA, 1) => Some(Message::Data {
            slot,
            to: *body.first()?,
            offset: u32::from_le_bytes(field(body, 1)?),
            total: u32::from_le_bytes(field(body, 5)?),
            bytes: body.get(9..)?,
        }),
        (KIND_STEP_DOWN, 1) => Some(Message::StepDown {
            slot,
            to: *body.first()?,
        }),
        _ => None,
    }
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn heartbeat() -> Heartbeat {
        Heartbeat {
            slot: 1,
            state: State::Operational,
            role: Some(Role::Alternate),
            owns_lun: false,
            understands_2: true,
            epoch: 0x0102_0304_0506_0708,
            version: "2.0-crash".parse().unwrap(),
            boots: None,
        }
    }

    #[test]
    fn heartbeats_of_both_formats_read_back() {
        for boots in [None, Some(7)] {
            let sent = Heartbeat {
                boots,
                ..heartbeat()
            };
            let frame = sent.encode();
            assert_eq!(
                parse(frame.as_bytes(), 2),
                Some(Message::Heartbeat(sent)),
                "{boots:?}"
            );
            let known_to_1 = parse(frame.as_bytes(), 1).is_some();
            assert_eq!(known_to_1, boots.is_none());
        }
    }

    #[test]
    fn reads_read_back() {
        let frame = read_request(2, ANYBODY, 100, 8192);
        let expected = Message::Read {
            slot: 2,
            to: ANYBODY,
            offset: 100,
            length: 8192,
        };
        assert_eq!(parse(frame.as_bytes(), 1), Some(expected));
        let header = data_header(0, 2, 100, 5000);
        assert_eq!(header.as_bytes().len(), DATA_HEADER);
        let mut frame = header.as_bytes().to_vec();
        frame.extend([7, 8]);
        let expected = Message::Data {
            slot: 0,
            to: 2,
            offset: 100,
            total: 5000,
            bytes: &[7, 8],
        };
        assert_eq!(parse(&frame, 1), Some(expected));
        let frame = step_down_request(1, 0);
        let expected = Message::StepDown { slot: 1, to: 0 };
        assert_eq!(parse(frame.as_bytes(), 1), Some(expected));
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_do_not(
            bytes in proptest::collection::vec(any::<u8>(), 0..80),
            kind in 0_u8..5,
        ) {
            let mut bytes = bytes;
            if bytes.len() > 16 {
                bytes[12..17].copy_from_slice(&[0x88, 0xb5, kind, 1, 0]);
            }
            let _ = parse(&bytes, 2);
        }
    }
}
