//! Frames as they are on a CAN socket of Linux: `struct can_frame` and `struct canfd_frame` (linux/can.h).

use devices::can::{CLASSIC_DATA_BYTES, FD_DATA_BYTES, Frame, Identifier, Kind};

/// Identifier, length, flags and two reserved bytes.
const HEADER_BYTES: usize = 8;
const CLASSIC_BYTES: usize = HEADER_BYTES + CLASSIC_DATA_BYTES;
/// The longest packet.
pub(super) const FD_BYTES: usize = HEADER_BYTES + FD_DATA_BYTES;

const CAN_EFF_FLAG: u32 = 0x8000_0000;
const CAN_RTR_FLAG: u32 = 0x4000_0000;
const CAN_ERR_FLAG: u32 = 0x2000_0000;
const CAN_EFF_MASK: u32 = 0x1fff_ffff;
const CAN_SFF_MASK: u32 = 0x7ff;
const CANFD_BRS: u8 = 0x01;
const CANFD_ESI: u8 = 0x02;
const CANFD_FDF: u8 = 0x04;

/// The packet that is a frame. Identifiers are in the host's order of bytes.
pub(super) fn bytes(frame: &Frame) -> Vec<u8> {
    let id = match frame.identifier() {
        Identifier::Standard(id) => u32::from(id),
        Identifier::Extended(id) => id | CAN_EFF_FLAG,
    };
    let (id, flags, length) = match frame.kind() {
        Kind::Data => (id, 0, CLASSIC_BYTES),
        Kind::Remote => (id | CAN_RTR_FLAG, 0, CLASSIC_BYTES),
        Kind::Fd {
            bit_rate_switch,
            error_state_indicator,
        } => {
            let brs = if bit_rate_switch { CANFD_BRS } else { 0 };
            let esi = if error_state_indicator { CANFD_ESI } else { 0 };
            (id, CANFD_FDF | brs | esi, FD_BYTES)
        }
    };
    let mut bytes = id.to_ne_bytes().to_vec();
    bytes.extend([u8::try_from(frame.length()).unwrap_or(0), flags, 0, 0]);
    bytes.extend(frame.payload());
    bytes.resize(length, 0);
    bytes
}

/// The frame that is a packet; nothing for error frames, and what no kernel sends. ESI is its next transmitter's to say.
pub(super) fn frame(packet: &[u8]) -> Option<Frame> {
    let (header, data) = packet.split_first_chunk::<HEADER_BYTES>()?;
    let [i0, i1, i2, i3, length, flags, ..] = *header;
    let id = u32::from_ne_bytes([i0, i1, i2, i3]);
    if id & CAN_ERR_FLAG != 0 {
        return None;
    }
    let identifier = if id & CAN_EFF_FLAG != 0 {
        Identifier::Extended(id & CAN_EFF_MASK)
    } else {
        Identifier::Standard(u16::try_from(id & CAN_SFF_MASK).ok()?)
    };
    let length = usize::from(length);
    let frame = match packet.len() {
        CLASSIC_BYTES if id & CAN_RTR_FLAG != 0 => Frame::remote(identifier, length),
        CLASSIC_BYTES => Frame::data(identifier, data.get(..length)?),
        FD_BYTES if id & CAN_RTR_FLAG == 0 => {
            Frame::fd_padded(identifier, flags & CANFD_BRS != 0, data.get(..length)?)
        }
        _ => return None,
    };
    frame.ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame_of(text: &str) -> Frame {
        text.parse().unwrap()
    }

    #[test]
    fn packets_have_the_layout_of_linux() {
        let check = |text, id: u32, length, flags, data: &[u8], size| {
            let packet = bytes(&frame_of(text));
            assert_eq!(packet.len(), size, "{text}");
            assert_eq!(packet[..4], id.to_ne_bytes(), "{text}");
            assert_eq!(packet[4..8], [length, flags, 0, 0], "{text}");
            let mut padded = data.to_vec();
            padded.resize(size - 8, 0);
            assert_eq!(packet[8..], padded, "{text}");
        };
        check("7FF#DEADBEEF", 0x7ff, 4, 0, &[0xde, 0xad, 0xbe, 0xef], 16);
        check("123#R8", 0x4000_0123, 8, 0, &[], 16);
        check("1FFFFFFF#", 0x9fff_ffff, 0, 0, &[], 16);
        check("00000001#R0", 0xc000_0001, 0, 0, &[], 16);
        check("001##0", 1, 0, 4, &[], 72);
        let long = format!("00000001##1{}", "5A".repeat(64));
        check(&long, 0x8000_0001, 64, 5, &[0x5a; 64], 72);
        let passive = frame_of("001##101").with_error_state_indicator(true);
        assert_eq!(bytes(&passive)[5], 7);
    }

    #[test]
    fn what_is_no_frame_is_none() {
        let good = bytes(&frame_of("123#11"));
        assert!(frame(&good).is_some());
        let spoiled = |at: usize, byte| {
            let mut packet = good.clone();
            packet[at] = byte;
            frame(&packet)
        };
        assert_eq!(spoiled(4, 9), None, "longer than it can be");
        let mut error = good.clone();
        error[..4].copy_from_slice(&(CAN_ERR_FLAG | 0x8).to_ne_bytes());
        assert_eq!(frame(&error), None);
        for length in [0, 7, 8, 15, 17, 71] {
            let mut packet = good.clone();
            packet.resize(length, 0);
            assert_eq!(frame(&packet), None, "{length}");
        }
        let mut fd = bytes(&frame_of("123##011"));
        fd[4] = 65;
        assert_eq!(frame(&fd), None);
        // CAN FD has no remote frames.
        fd[4] = 1;
        fd[..4].copy_from_slice(&(CAN_RTR_FLAG | 0x123).to_ne_bytes());
        assert_eq!(frame(&fd), None);
    }

    #[test]
    fn a_length_that_no_dlc_says_is_padded() {
        let mut fd = bytes(&frame_of("123##1112233445566778899AABBCC"));
        fd[4] = 9;
        assert_eq!(
            frame(&fd).unwrap().to_string(),
            "123##1112233445566778899000000"
        );
    }

    proptest! {
        #[test]
        fn any_packet_is_read(packet in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = frame(&packet);
        }

        #[test]
        fn a_frame_comes_back(
            id in 0_u32..1 << 29,
            extended: bool,
            kind in 0_usize..4,
            code in 0_usize..16,
            data in prop::collection::vec(any::<u8>(), 64),
        ) {
            let identifier = match extended {
                true => Identifier::Extended(id),
                false => Identifier::Standard(u16::try_from(id & CAN_SFF_MASK).unwrap()),
            };
            let short = code.min(8);
            let sent = match kind {
                0 => Frame::data(identifier, &data[..short]),
                1 => Frame::remote(identifier, short),
                brs => Frame::fd_padded(identifier, brs == 2, &data[..code * 4]),
            };
            let sent = sent.unwrap();
            prop_assert_eq!(frame(&bytes(&sent)), Some(sent));
        }
    }
}
