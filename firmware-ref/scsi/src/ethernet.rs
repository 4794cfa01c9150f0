//! SCSI-in-Ethernet: the transport of the host port until a fabric replaces it.
//!
//! One frame carries one command with its data-out, one frame its answer with its data-in. All
//! header fields are little-endian.
//!
//! | offset | size | command | response |
//! |---|---|---|---|
//! | 0 | 14 | Ethernet header, type 0x88B6 | the same |
//! | 14 | 1 | kind 1 | kind 2 |
//! | 15 | 1 | 0 | 0 |
//! | 16 | 2 | LUN | LUN |
//! | 18 | 4 | tag | tag of the command |
//! | 22 | 4 | bytes of data-out | bytes of data-in |
//! | 26 | 16 | CDB | SCSI status u8, sense length u8, 0 u16, sense (first 12 bytes) |
//! | 42 | 20 | data-out … | rest of the 32 bytes of sense |
//! | 62 | … | … | data-in |
//!
//! A frame may be longer than its contents (Ethernet pads); a shorter one is dropped, as a
//! damaged frame is: the initiator's time-out covers both.

use crate::cdb::Cdb;
use crate::sense::SENSE_LENGTH;
use crate::target::{Answer, Command};

/// Ethernet type of the transport (IEEE 802 local experimental 2).
pub const ETHERTYPE: u16 = 0x88b6;
/// Most data one command moves.
pub const DATA_MAX: usize = 8192;
/// Bytes before the data-in of a response.
pub const RESPONSE_HEADER: usize = ETHERNET_HEADER + HEADER + 4 + SENSE_AREA;
/// Longest frame of the transport.
pub const FRAME_MAX: usize = RESPONSE_HEADER + DATA_MAX;

const ETHERNET_HEADER: usize = 14;
const HEADER: usize = 12;
const SENSE_AREA: usize = 32;
const KIND_COMMAND: u8 = 1;
const KIND_RESPONSE: u8 = 2;

/// A 48-bit station address.
pub type Mac = [u8; 6];

/// What a response needs to know of the command it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exchange {
    /// The initiator's address.
    pub initiator: Mac,
    /// The address the command was sent to.
    pub target: Mac,
    /// The addressed logical unit.
    pub lun: u16,
    /// The initiator's name for the command.
    pub tag: u32,
}

/// Takes the command out of a received frame; nothing where the frame is none.
pub fn parse_command(frame: &[u8]) -> Option<(Exchange, Command<'_>)> {
    let target: Mac = array(frame, 0)?;
    let initiator: Mac = array(frame, 6)?;
    let kind = u16::from_be_bytes(array(frame, 12)?);
    let rest = frame.get(ETHERNET_HEADER..)?;
    if kind != ETHERTYPE || *rest.first()? != KIND_COMMAND {
        return None;
    }
    let exchange = Exchange {
        initiator,
        target,
        lun: u16::from_le_bytes(array(rest, 2)?),
        tag: u32::from_le_bytes(array(rest, 4)?),
    };
    let length = usize::try_from(u32::from_le_bytes(array(rest, 8)?)).ok()?;
    if length > DATA_MAX {
        return None;
    }
    let cdb: Cdb = array(rest, HEADER)?;
    let data_out = rest.get(HEADER + cdb.len()..)?.get(..length)?;
    let mut nexus = [0; 8];
    nexus[2..].copy_from_slice(&initiator);
    let command = Command {
        initiator: u64::from_be_bytes(nexus),
        lun: exchange.lun,
        cdb,
        data_out,
    };
    Some((exchange, command))
}

/// The bytes of a response before its data-in of `data_length` bytes.
pub fn response_header(
    exchange: &Exchange,
    answer: &Answer,
    data_length: usize,
) -> [u8; RESPONSE_HEADER] {
    let mut frame = [0; RESPONSE_HEADER];
    let mut at = 0;
    let mut push = |bytes: &[u8]| {
        if let Some(place) = frame.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
        at += bytes.len();
    };
    push(&exchange.initiator);
    push(&exchange.target);
    push(&ETHERTYPE.to_be_bytes());
    push(&[KIND_RESPONSE, 0]);
    push(&exchange.lun.to_le_bytes());
    push(&exchange.tag.to_le_bytes());
    push(&u32::try_from(data_length).unwrap_or(0).to_le_bytes());
    let sense = answer.sense.map(|s| s.encode());
    #[expect(clippy::cast_possible_truncation, reason = "18")]
    let sense_length = sense.map_or(0, |_| SENSE_LENGTH as u8);
    push(&[answer.status as u8, sense_length, 0, 0]);
    if let Some(sense) = sense {
        push(&sense);
    }
    frame
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::sense::Sense;
    use crate::target::{DataIn, Status};

    fn command_frame(data_length: u32, data: &[u8]) -> Vec<u8> {
        let mut frame = vec![2, 0xab, 1, 0, 0, 0, 2, 0xab, 2, 0, 0, 0, 0x88, 0xb6];
        frame.extend([1, 0, 0, 0, 0x78, 0x56, 0x34, 0x12]);
        frame.extend(data_length.to_le_bytes());
        frame.extend([0x2a, 0, 0, 0, 0, 5, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
        frame.extend(data);
        frame
    }

    #[test]
    fn a_command_travels_with_its_data() {
        let frame = command_frame(3, &[7, 8, 9, 0, 0, 0]);
        let (exchange, command) = parse_command(&frame).expect("a command");
        assert_eq!(exchange.tag, 0x1234_5678);
        assert_eq!(command.data_out, [7, 8, 9], "padding is not data");
        assert_eq!(command.initiator, 0x02ab_0200_0000);
        assert_eq!(command.cdb[5], 5);
    }

    #[test]
    fn a_frame_that_is_too_short_is_none() {
        assert!(parse_command(&command_frame(3, &[7, 8])).is_none());
        assert!(parse_command(&command_frame(8193, &[0; 8193])).is_none());
        let frame = command_frame(0, &[]);
        for end in 0..frame.len() {
            assert!(parse_command(&frame[..end]).is_none());
        }
        assert!(parse_command(&frame).is_some());
    }

    #[test]
    fn a_response_says_whose_it_is() {
        let (exchange, _) = parse_command(&command_frame(0, &[])).expect("a command");
        let answer = Answer {
            status: Status::CheckCondition,
            sense: Some(Sense::STANDBY),
            data_in: DataIn::None,
        };
        let frame = response_header(&exchange, &answer, 0);
        assert_eq!(frame[..6], exchange.initiator);
        assert_eq!(frame[6..12], exchange.target);
        assert_eq!(frame[14], 2);
        assert_eq!(frame[18..22], [0x78, 0x56, 0x34, 0x12]);
        assert_eq!(frame[26..28], [2, 18]);
        assert_eq!(frame[30..48], Sense::STANDBY.encode());
        assert_eq!(frame.len(), 62);
    }

    proptest! {
        #[test]
        fn any_bytes_parse_or_do_not(frame in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut frame = frame;
            if frame.len() > 14 {
                frame[12..15].copy_from_slice(&[0x88, 0xb6, 1]);
            }
            if let Some((_, command)) = parse_command(&frame) {
                prop_assert!(command.data_out.len() <= frame.len());
            }
        }
    }
}
