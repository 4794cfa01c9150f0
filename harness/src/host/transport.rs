//! SCSI in Ethernet frames: the layer that Fibre Channel will replace.
//!
//! Ethernet type 0x88B6; header and layout as in the firmware manual, all little-endian.

/// Ethernet type of the transport (a local experimental one, IEEE 802 §9.2.3).
pub const ETHERNET_TYPE: [u8; 2] = [0x88, 0xb6];
/// The host's own address.
pub const HOST_MAC: [u8; 6] = [0x02, 0xab, 0x02, 0, 0, 0];
/// Most data one command carries: a jumbo frame less its headers, in whole blocks.
pub const MAX_DATA_BYTES: usize = 8192;

const ETHERNET_HEADER: usize = 14;
const HEADER: usize = 12;
const CDB: usize = 16;
const SENSE: usize = 32;
const COMMAND: u8 = 1;
const RESPONSE: u8 = 2;

/// Address of the host port of the controller in `slot`.
pub fn controller_mac(slot: usize) -> [u8; 6] {
    [0x02, 0xab, 0x01, 0, 0, u8::try_from(slot).unwrap_or(0xff)]
}

/// An answer as it came off the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Which command it answers.
    pub tag: u32,
    /// Address of the controller that sent it.
    pub from: [u8; 6],
    /// SCSI status.
    pub status: u8,
    /// Sense data (SPC-5 §4.4), empty with GOOD.
    pub sense: Vec<u8>,
    /// Data-in.
    pub data: Vec<u8>,
}

/// A command frame to `to`.
pub fn encode_command(to: [u8; 6], lun: u16, tag: u32, cdb: &[u8; 16], data: &[u8]) -> Vec<u8> {
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
pub fn decode_response(frame: &[u8]) -> Option<Response> {
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
    Some(Response {
        tag: word(4)?,
        from: ethernet.get(6..12)?.try_into().ok()?,
        status: status[0],
        sense: sense.get(..usize::from(status[1]))?.to_vec(),
        data: data.get(..length)?.to_vec(),
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
        let mut frame = vec![0; 14];
        frame[12..].copy_from_slice(&ETHERNET_TYPE);
        frame.extend([2, 0, 0, 0, 9, 0, 0, 0, 3, 0, 0, 0]);
        frame.extend([2, 18, 0, 0]);
        frame.extend([0x70; 32]);
        frame.extend(b"abc-padding");
        let response = decode_response(&frame).unwrap();
        assert_eq!((response.tag, response.status), (9, 2));
        assert_eq!(
            (response.sense.len(), response.data.as_slice()),
            (18, &b"abc"[..])
        );
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_response(&bytes);
        }
    }
}
