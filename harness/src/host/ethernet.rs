//! SCSI in Ethernet frames.
//!
//! Ethernet type 0x88B6; header and layout as in the firmware manual, all little-endian.

use devices::time::Nanos;

use super::transport::{Answer, Command, HOST_MAC, Outcome, Transport, controller_mac};

/// Ethernet type of the transport (a local experimental one, IEEE 802 §9.2.3).
pub const ETHERNET_TYPE: [u8; 2] = [0x88, 0xb6];

const ETHERNET_HEADER: usize = 14;
const HEADER: usize = 12;
const CDB: usize = 16;
const SENSE: usize = 32;
const COMMAND: u8 = 1;
const RESPONSE: u8 = 2;
/// Slots a chassis can have.
const CONTROLLERS: usize = 3;

/// A frame is a command, a frame is its answer.
#[derive(Clone, Debug, Default)]
pub struct EthernetScsi {
    outbox: Vec<Vec<u8>>,
    answers: Vec<Answer>,
}

impl Transport for EthernetScsi {
    fn send(&mut self, _now: Nanos, path: usize, tag: u32, command: &Command) {
        let frame = encode_command(controller_mac(path), 0, tag, &command.cdb, &command.data);
        self.outbox.push(frame);
    }

    fn give_up(&mut self, _now: Nanos, _path: usize) {}

    fn receive(&mut self, _now: Nanos, frame: &[u8]) {
        self.answers.extend(decode_response(frame));
    }

    fn advance(&mut self, _now: Nanos) {}

    fn deadline(&self) -> Option<Nanos> {
        None
    }

    fn take_frames(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.outbox)
    }

    fn take_answers(&mut self) -> Vec<Answer> {
        std::mem::take(&mut self.answers)
    }

    fn copy(&self) -> Box<dyn Transport> {
        Box::new(self.clone())
    }
}

/// A command frame to `to`.
fn encode_command(to: [u8; 6], lun: u16, tag: u32, cdb: &[u8; 16], data: &[u8]) -> Vec<u8> {
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut frame = Vec::with_capacity(ETHERNET_HEADER + HEADER + CDB + data.len());
    frame.extend(to);
    frame.extend(HOST_MAC);
    frame.extend(ETHERNET_TYPE);
    frame.extend([COMMAND, 0]);
    frame.extend(lun.to_le_bytes());
    frame.extend(tag.to_le_bytes());
    frame.extend(length.to_le_bytes());
    frame.extend(cdb);
    frame.extend(data);
    frame
}

/// Reads a response frame; `None` for anything else, however malformed.
fn decode_response(frame: &[u8]) -> Option<Answer> {
    let (ethernet, rest) = frame.split_at_checked(ETHERNET_HEADER)?;
    let (header, rest) = rest.split_at_checked(HEADER)?;
    let (status, rest) = rest.split_at_checked(4)?;
    let (sense, data) = rest.split_at_checked(SENSE)?;
    if ethernet[12..] != ETHERNET_TYPE || header[0] != RESPONSE {
        return None;
    }
    let word = |at: usize| {
        header
            .get(at..at + 4)?
            .try_into()
            .ok()
            .map(u32::from_le_bytes)
    };
    let length = usize::try_from(word(8)?).ok()?;
    let from = ethernet.get(6..12)?;
    Some(Answer {
        path: (0..CONTROLLERS).find(|slot| from == controller_mac(*slot))?,
        tag: word(4)?,
        outcome: Outcome::Status {
            status: status[0],
            sense: sense.get(..usize::from(status[1]))?.to_vec(),
            data: data.get(..length)?.to_vec(),
        },
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_command_has_the_manuals_layout() {
        let frame = encode_command(controller_mac(1), 0, 0x0102_0304, &[0x2a; 16], b"data");
        assert_eq!(frame.len(), 14 + 12 + 16 + 4);
        assert_eq!(frame[..6], [2, 0xab, 1, 0, 0, 1]);
        assert_eq!(frame[14..26], [1, 0, 0, 0, 4, 3, 2, 1, 4, 0, 0, 0]);
    }

    #[test]
    fn a_response_is_read_back() {
        let mut frame = vec![0; 6];
        frame.extend(controller_mac(1));
        frame.extend(ETHERNET_TYPE);
        frame.extend([2, 0, 0, 0, 9, 0, 0, 0, 3, 0, 0, 0]);
        frame.extend([2, 18, 0, 0]);
        frame.extend([0x70; 32]);
        frame.extend(b"abc-padding");
        let answer = decode_response(&frame).unwrap();
        assert_eq!((answer.path, answer.tag), (1, 9));
        let outcome = Outcome::Status {
            status: 2,
            sense: vec![0x70; 18],
            data: b"abc".to_vec(),
        };
        assert_eq!(answer.outcome, outcome);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_response(&bytes);
        }
    }
}
