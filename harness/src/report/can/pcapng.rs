//! pcapng with the link type of SocketCAN (draft-ietf-opsawg-pcapng; LINKTYPE_CAN_SOCKETCAN).
//!
//! An interface a segment, nanoseconds. Three kinds of blocks are all that is needed; the crates there are
//! for the format had no release for years.

use std::io::{self, Write};

use devices::can::{Identifier, Kind};

use super::{CAN_EFF_FLAG, CAN_RTR_FLAG, Seen, error_frame};

const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const BYTE_ORDER_MAGIC: u32 = 0x1a2b_3c4d;
const LINKTYPE_CAN_SOCKETCAN: u16 = 227;
const OPTION_END: u16 = 0;
const OPTION_IF_NAME: u16 = 2;
const OPTION_IF_TSRESOL: u16 = 9;
/// Of the flags byte of a CAN FD frame.
const CANFD_BRS: u8 = 1;
const CANFD_ESI: u8 = 2;
const CANFD_FDF: u8 = 4;

/// A file in the making.
#[derive(Debug)]
pub(super) struct Pcapng<W: Write> {
    writer: W,
    interfaces: Vec<String>,
}

impl<W: Write> Pcapng<W> {
    /// Begins with a section header.
    pub(super) fn begin(writer: W) -> io::Result<Pcapng<W>> {
        let mut file = Pcapng {
            writer,
            interfaces: Vec::new(),
        };
        let mut body = BYTE_ORDER_MAGIC.to_le_bytes().to_vec();
        // Version 1.0; the length of the section is not told.
        body.extend([1, 0, 0, 0]);
        body.extend([0xff; 8]);
        file.block(SECTION_HEADER, &body)?;
        Ok(file)
    }

    /// Adds a frame, and its interface where that is new.
    pub(super) fn write(&mut self, seen: &Seen<'_>) -> io::Result<()> {
        let known = self.interfaces.iter().position(|name| name == seen.segment);
        let interface = match known {
            Some(interface) => interface,
            None => self.interface(seen.segment)?,
        };
        let packet = packet(seen);
        let length = u32::try_from(packet.len()).unwrap_or(0);
        let half = |half: u64| u32::try_from(half & 0xffff_ffff).unwrap_or(0);
        let (low, high) = (half(seen.time.0), half(seen.time.0 >> 32));
        let mut body = Vec::new();
        for word in [
            u32::try_from(interface).unwrap_or(0),
            high,
            low,
            length,
            length,
        ] {
            body.extend(word.to_le_bytes());
        }
        body.extend(&packet);
        self.block(ENHANCED_PACKET, &body)
    }

    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.writer.flush()
    }

    fn interface(&mut self, name: &str) -> io::Result<usize> {
        let mut body = LINKTYPE_CAN_SOCKETCAN.to_le_bytes().to_vec();
        // Reserved, and no limit to the length of packets.
        body.extend([0; 6]);
        // 10 to the power of -9.
        for (option, value) in [(OPTION_IF_NAME, name.as_bytes()), (OPTION_IF_TSRESOL, &[9])] {
            body.extend(option.to_le_bytes());
            body.extend(u16::try_from(value.len()).unwrap_or(0).to_le_bytes());
            body.extend(value);
            body.resize(body.len().next_multiple_of(4), 0);
        }
        body.extend(OPTION_END.to_le_bytes());
        body.extend([0; 2]);
        self.block(INTERFACE_DESCRIPTION, &body)?;
        self.interfaces.push(name.to_owned());
        Ok(self.interfaces.len() - 1)
    }

    /// Type, length, body, length.
    fn block(&mut self, kind: u32, body: &[u8]) -> io::Result<()> {
        let padded = body.len().next_multiple_of(4);
        let length = u32::try_from(padded + 12).unwrap_or(0).to_le_bytes();
        self.writer.write_all(&kind.to_le_bytes())?;
        self.writer.write_all(&length)?;
        self.writer.write_all(body)?;
        self.writer.write_all(&[0; 3][..padded - body.len()])?;
        self.writer.write_all(&length)
    }
}

/// Identifier with SocketCAN's flags, big-endian; length, flags of CAN FD, two reserved bytes; data.
fn packet(seen: &Seen<'_>) -> Vec<u8> {
    let (identifier, flags, data) = match seen.error {
        Some(error) => {
            let (identifier, data) = error_frame(error);
            (identifier, 0, data.to_vec())
        }
        None => {
            let identifier = match seen.frame.identifier() {
                Identifier::Standard(identifier) => u32::from(identifier),
                Identifier::Extended(identifier) => identifier | CAN_EFF_FLAG,
            };
            let (more, flags) = match seen.frame.kind() {
                Kind::Data => (0, 0),
                Kind::Remote => (CAN_RTR_FLAG, 0),
                Kind::Fd {
                    bit_rate_switch,
                    error_state_indicator,
                } => {
                    let brs = if bit_rate_switch { CANFD_BRS } else { 0 };
                    let esi = if error_state_indicator { CANFD_ESI } else { 0 };
                    (0, CANFD_FDF | brs | esi)
                }
            };
            (identifier | more, flags, seen.frame.payload().to_vec())
        }
    };
    let length = match (seen.error, seen.frame.kind()) {
        (None, Kind::Remote) => seen.frame.length(),
        _ => data.len(),
    };
    let mut packet = identifier.to_be_bytes().to_vec();
    packet.extend([u8::try_from(length).unwrap_or(0), flags, 0, 0]);
    packet.extend(data);
    packet
}

#[cfg(test)]
mod tests {
    use devices::can::Frame;
    use devices::time::Nanos;

    use super::*;

    #[test]
    fn blocks_are_whole_and_say_what_was_on_the_bus() {
        let mut file = Pcapng::begin(Vec::new()).unwrap();
        let frame = Frame::fd_padded(Identifier::Standard(0x123), true, &[7; 12]).unwrap();
        let seen = Seen {
            time: Nanos(0x1_0000_0002),
            segment: "extension",
            frame: &frame,
            error: None,
        };
        file.write(&seen).unwrap();
        file.write(&seen).unwrap();
        let bytes = file.writer;
        let word = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());
        let mut at = 0;
        let mut kinds = Vec::new();
        while at < bytes.len() {
            let length = usize::try_from(word(at + 4)).unwrap();
            assert_eq!(word(at + length - 4), word(at + 4), "block at {at}");
            kinds.push((word(at), at));
            at += length;
        }
        let names: Vec<u32> = kinds.iter().map(|(kind, _)| *kind).collect();
        let wanted = [
            SECTION_HEADER,
            INTERFACE_DESCRIPTION,
            ENHANCED_PACKET,
            ENHANCED_PACKET,
        ];
        assert_eq!(names, wanted, "one interface");
        let packet = kinds[2].1 + 8;
        let fields = [0, 4, 8, 12].map(|offset| word(packet + offset));
        assert_eq!(fields, [0, 1, 2, 20], "interface, time, length");
        let captured = &bytes[packet + 20..packet + 40];
        let header = [0, 0, 1, 0x23, 12, CANFD_FDF | CANFD_BRS, 0, 0];
        assert_eq!(captured[..8], header);
        assert_eq!(captured[8..], [7; 12]);
    }
}
