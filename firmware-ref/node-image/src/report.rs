//! What nodes tell each other of their work: class 7 of the identifiers, the least urgent.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 1 | type |
//! | 1 | 1 | position: where its mechanism is ([`position`]) |
//! | 2 | 2 | beats: reports since it runs, modulo 65536 |
//! | 4 | 2 | since 2.0: seconds since it runs, 65535 for more |

use distribution::{Frame, Module};

/// Time between two reports of a node: a library of 256 nodes takes 1 % of the bus for them.
pub const REPORT_PERIOD_NS: u64 = 5_000_000_000;

const CLASS: u8 = 7;

/// A sign of life and work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Report {
    /// The sender.
    pub node: u8,
    /// What it is.
    pub module: Module,
    /// Where its mechanism is.
    pub position: u8,
    /// Reports since it runs.
    pub beats: u16,
    /// How long it runs, where its version tells.
    pub uptime_s: Option<u16>,
}

impl Report {
    /// The frame that says it.
    pub fn encode(&self) -> Frame {
        let identifier = u16::from_be_bytes([CLASS, self.node]);
        let [b0, b1] = self.beats.to_le_bytes();
        let [u0, u1] = self.uptime_s.unwrap_or(0).to_le_bytes();
        let bytes = [self.module as u8, self.position, b0, b1, u0, u1];
        let length = if self.uptime_s.is_some() { 6 } else { 4 };
        let payload = bytes.get(..length).unwrap_or(&bytes);
        // Always: it is shorter than any limit.
        Frame::received(identifier, payload).unwrap_or_else(|| unreachable!())
    }

    /// What a received frame reports; nothing if it is no report.
    pub fn decode(identifier: u16, payload: &[u8]) -> Option<Report> {
        let [CLASS, node] = identifier.to_be_bytes() else {
            return None;
        };
        let (&[module, position, b0, b1], rest) = payload.split_first_chunk()?;
        Some(Report {
            node,
            module: Module::from_number(module)?,
            position,
            beats: u16::from_le_bytes([b0, b1]),
            uptime_s: rest.first_chunk().map(|bytes| u16::from_le_bytes(*bytes)),
        })
    }
}

/// Stations along the library that an accessor is moved to and back.
const STATIONS: u16 = 8;

/// Where the mechanism of a node is at its `beats`-th report: an accessor goes along the library and back, a
/// gripper opens (0) and closes (1), a drive stands idle (0) or turns (1). The others have none.
pub fn position(module: Module, beats: u16) -> u8 {
    let position = match module {
        Module::Xy => {
            let step = beats % (2 * STATIONS - 2);
            step.min(2 * STATIONS - 2 - step)
        }
        Module::Work => beats % 2,
        // A cartridge takes three reports to be written.
        Module::Drive => u16::from(!beats.is_multiple_of(4)),
        Module::Communication | Module::Panel | Module::Master => 0,
    };
    u8::try_from(position).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reports_of_both_versions_read_back() {
        for (uptime_s, bytes) in [
            (None, &[5, 1, 0x34, 0x12][..]),
            (Some(0x5678), &[5, 1, 0x34, 0x12, 0x78, 0x56]),
        ] {
            let report = Report {
                node: 9,
                module: Module::Drive,
                position: 1,
                beats: 0x1234,
                uptime_s,
            };
            let frame = report.encode();
            assert_eq!((frame.identifier(), frame.payload()), (0x709, bytes));
            assert_eq!(Report::decode(0x709, bytes), Some(report));
        }
        assert_eq!(Report::decode(0x609, &[5, 1, 0, 0]), None);
        assert_eq!(Report::decode(0x709, &[5, 1, 0]), None);
        assert_eq!(Report::decode(0x709, &[8, 1, 0, 0]), None);
    }

    #[test]
    fn an_accessor_goes_to_the_end_and_back() {
        let way: Vec<u8> = (0..15).map(|beats| position(Module::Xy, beats)).collect();
        assert_eq!(way, [0, 1, 2, 3, 4, 5, 6, 7, 6, 5, 4, 3, 2, 1, 0]);
        let drive: Vec<u8> = (1..6).map(|beats| position(Module::Drive, beats)).collect();
        assert_eq!(drive, [1, 1, 1, 0, 1]);
    }
}
