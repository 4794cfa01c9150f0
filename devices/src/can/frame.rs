use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Most data bytes of a Classical CAN frame (ISO 11898-1:2015 §10.4.2.4).
pub const CLASSIC_DATA_BYTES: usize = 8;
/// Most data bytes of a CAN FD frame.
pub const FD_DATA_BYTES: usize = 64;

/// Data bytes for each value of the DLC field of an FD frame (ISO 11898-1:2015 table 5).
const FD_LENGTHS: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 24, 32, 48, 64];

/// A frame's identifier, in its format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Identifier {
    /// Base format: 11 bits.
    Standard(u16),
    /// Extended format: 29 bits, the upper 11 of which are the base identifier.
    Extended(u32),
}

/// What kind of frame it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// Classical CAN, with data.
    Data,
    /// Classical CAN, asking for data.
    Remote,
    /// CAN FD.
    Fd {
        /// BRS: the data phase goes at the data bit rate.
        bit_rate_switch: bool,
        /// ESI: the transmitter is error-passive.
        error_state_indicator: bool,
    },
}

/// Why there is no such frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FrameError {
    /// Over 11 or 29 bits.
    #[error("the identifier has more bits than its format")]
    Identifier,
    /// No DLC says so many bytes.
    #[error("no such frame has a data field of {0} bytes")]
    Length(usize),
    /// Text that is no frame.
    #[error("a frame is written as 123#11.22, 00000123#R4 or, CAN FD, 123##1.11.22")]
    Text,
}

/// One CAN frame: identifier, kind, data length code and data, all lawful.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "Stored", try_from = "Stored")]
pub struct Frame {
    identifier: Identifier,
    kind: Kind,
    /// In a remote frame: how many bytes are asked for.
    length: u8,
    data: [u8; FD_DATA_BYTES],
}

impl Frame {
    /// A Classical data frame with 0 to 8 bytes.
    ///
    /// # Errors
    /// The identifier or the length is out of range.
    pub fn data(identifier: Identifier, data: &[u8]) -> Result<Frame, FrameError> {
        Frame::new(identifier, Kind::Data, data.len(), data)
    }

    /// A remote frame asking for 0 to 8 bytes.
    ///
    /// # Errors
    /// The identifier or the length is out of range.
    pub fn remote(identifier: Identifier, length: usize) -> Result<Frame, FrameError> {
        Frame::new(identifier, Kind::Remote, length, &[])
    }

    /// A CAN FD frame with one of the 16 lengths there are (§10.4.2.4), from an error-active transmitter.
    ///
    /// # Errors
    /// The identifier or the length is out of range.
    pub fn fd(
        identifier: Identifier,
        bit_rate_switch: bool,
        data: &[u8],
    ) -> Result<Frame, FrameError> {
        let kind = Kind::Fd {
            bit_rate_switch,
            error_state_indicator: false,
        };
        Frame::new(identifier, kind, data.len(), data)
    }

    /// The same from any data of 0 to 64 bytes, padded with zeros to the next length there is, as controllers
    /// do with what is between two lengths.
    ///
    /// # Errors
    /// The identifier or the length is out of range.
    pub fn fd_padded(
        identifier: Identifier,
        bit_rate_switch: bool,
        data: &[u8],
    ) -> Result<Frame, FrameError> {
        let lengths = FD_LENGTHS.map(usize::from);
        let length = lengths.into_iter().find(|it| *it >= data.len());
        let mut padded = [0; FD_DATA_BYTES];
        let room = padded.get_mut(..data.len());
        room.ok_or(FrameError::Length(data.len()))?
            .copy_from_slice(data);
        let data = padded.get(..length.unwrap_or(0)).unwrap_or_default();
        Frame::fd(identifier, bit_rate_switch, data)
    }

    /// Any frame; `data` is ignored beyond what `kind` and `length` make of it.
    fn new(
        identifier: Identifier,
        kind: Kind,
        length: usize,
        data: &[u8],
    ) -> Result<Frame, FrameError> {
        let in_range = match identifier {
            Identifier::Standard(id) => id < 1 << 11,
            Identifier::Extended(id) => id < 1 << 29,
        };
        if !in_range {
            return Err(FrameError::Identifier);
        }
        let code = u8::try_from(length).map_err(|_| FrameError::Length(length))?;
        let lawful = match kind {
            Kind::Data | Kind::Remote => length <= CLASSIC_DATA_BYTES,
            Kind::Fd { .. } => FD_LENGTHS.contains(&code),
        };
        if !lawful || (kind != Kind::Remote && data.len() != length) {
            return Err(FrameError::Length(length));
        }
        let mut frame = Frame {
            identifier,
            kind,
            length: code,
            data: [0; FD_DATA_BYTES],
        };
        if kind != Kind::Remote {
            frame.data[..length].copy_from_slice(data);
        }
        Ok(frame)
    }

    /// Its identifier.
    pub fn identifier(&self) -> Identifier {
        self.identifier
    }

    /// Its kind.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether it is an FD frame.
    pub fn is_fd(&self) -> bool {
        matches!(self.kind, Kind::Fd { .. })
    }

    /// The data field, empty in a remote frame.
    pub fn payload(&self) -> &[u8] {
        let length = match self.kind {
            Kind::Remote => 0,
            Kind::Data | Kind::Fd { .. } => usize::from(self.length),
        };
        self.data.get(..length).unwrap_or_default()
    }

    /// Bytes it carries or, a remote frame, asks for.
    pub fn length(&self) -> usize {
        usize::from(self.length)
    }

    /// The DLC field (§10.4.2.4).
    pub fn data_length_code(&self) -> u8 {
        let code = FD_LENGTHS.iter().position(|it| *it == self.length);
        code.and_then(|it| u8::try_from(it).ok()).unwrap_or(0)
    }

    /// The same with the ESI bit as its transmitter's state asks (§10.4.2.3); nothing to set in a
    /// Classical frame.
    #[must_use]
    pub fn with_error_state_indicator(mut self, passive: bool) -> Frame {
        if let Kind::Fd {
            error_state_indicator,
            ..
        } = &mut self.kind
        {
            *error_state_indicator = passive;
        }
        self
    }

    /// The bits that contend for the bus, dominant (0) before recessive, as one number: the lowest wins
    /// (§10.4.2.2, §10.6). Base identifier, RTR, IDE; or base identifier, SRR, IDE, extension, RTR.
    pub fn arbitration_key(&self) -> u32 {
        let remote = u32::from(self.kind == Kind::Remote);
        match self.identifier {
            Identifier::Standard(id) => u32::from(id) << 21 | remote << 20,
            Identifier::Extended(id) => {
                (id >> 18) << 21 | 1 << 20 | 1 << 19 | (id & 0x3_ffff) << 1 | remote
            }
        }
    }
}

/// As candump writes it: `123#1122`, `00000123#R4`, `123##1…` (flags: 1 BRS, 2 ESI).
impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.identifier {
            Identifier::Standard(id) => write!(f, "{id:03X}#")?,
            Identifier::Extended(id) => write!(f, "{id:08X}#")?,
        }
        match self.kind {
            Kind::Data => {}
            Kind::Remote => write!(f, "R{}", self.length)?,
            Kind::Fd {
                bit_rate_switch,
                error_state_indicator,
            } => {
                let flags = u8::from(bit_rate_switch) | u8::from(error_state_indicator) << 1;
                write!(f, "#{flags}")?;
            }
        }
        self.payload()
            .iter()
            .try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

/// As `cansend` reads it, which is what [`Frame`]'s display writes; dots may stand between bytes.
impl FromStr for Frame {
    type Err = FrameError;

    fn from_str(text: &str) -> Result<Frame, FrameError> {
        let (id, rest) = text.split_once('#').ok_or(FrameError::Text)?;
        let number = hexadecimal(id).ok_or(FrameError::Text)?;
        let identifier = match id.len() {
            3 => u16::try_from(number).map(Identifier::Standard),
            8 => Ok(Identifier::Extended(number)),
            _ => return Err(FrameError::Text),
        };
        let identifier = identifier.map_err(|_| FrameError::Text)?;
        if let Some(flags) = rest.strip_prefix('#') {
            let digit = flags.get(..1).and_then(hexadecimal);
            let brs = digit.ok_or(FrameError::Text)? & 1 != 0;
            return Frame::fd(identifier, brs, &bytes(&flags[1..])?);
        }
        match rest.strip_prefix('R') {
            Some("") => Frame::remote(identifier, 0),
            Some(digit) if digit.len() == 1 => {
                let length = hexadecimal(digit).ok_or(FrameError::Text)?;
                Frame::remote(identifier, usize::try_from(length).unwrap_or(usize::MAX))
            }
            Some(_) => Err(FrameError::Text),
            None => Frame::data(identifier, &bytes(rest)?),
        }
    }
}

/// A number in hexadecimal digits, and nothing else.
fn hexadecimal(text: &str) -> Option<u32> {
    let digits = text.bytes().all(|it| it.is_ascii_hexdigit());
    u32::from_str_radix(text, 16).ok().filter(|_| digits)
}

fn bytes(text: &str) -> Result<Vec<u8>, FrameError> {
    let mut bytes = Vec::new();
    let mut rest = text.strip_prefix('.').unwrap_or(text);
    while !rest.is_empty() {
        let byte = rest.get(..2).and_then(hexadecimal);
        let byte = byte.and_then(|it| u8::try_from(it).ok());
        bytes.push(byte.ok_or(FrameError::Text)?);
        rest = &rest[2..];
        rest = rest.strip_prefix('.').unwrap_or(rest);
    }
    Ok(bytes)
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({self})")
    }
}

/// A frame as checkpoints have it; made a [`Frame`] again only if it is lawful.
#[derive(Serialize, Deserialize)]
struct Stored {
    identifier: Identifier,
    kind: Kind,
    length: u8,
    data: Vec<u8>,
}

impl From<Frame> for Stored {
    fn from(frame: Frame) -> Stored {
        Stored {
            identifier: frame.identifier,
            kind: frame.kind,
            length: frame.length,
            data: frame.payload().to_vec(),
        }
    }
}

impl TryFrom<Stored> for Frame {
    type Error = FrameError;

    fn try_from(stored: Stored) -> Result<Frame, FrameError> {
        let length = usize::from(stored.length);
        Frame::new(stored.identifier, stored.kind, length, &stored.data)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::*;

    pub(crate) fn any_frame() -> impl Strategy<Value = Frame> {
        let identifier = prop_oneof![
            (0_u16..1 << 11).prop_map(Identifier::Standard),
            (0_u32..1 << 29).prop_map(Identifier::Extended),
        ];
        let byte = prop_oneof![Just(0_u8), Just(0xff), any::<u8>()];
        let data = proptest::collection::vec(byte, FD_DATA_BYTES);
        (identifier, 0_u8..4, 0_usize..16, data).prop_map(|(identifier, kind, code, data)| {
            let short = code.min(CLASSIC_DATA_BYTES);
            let long = usize::from(FD_LENGTHS[code]);
            let frame = match kind {
                0 => Frame::data(identifier, &data[..short]),
                1 => Frame::remote(identifier, short),
                brs => Frame::fd(identifier, brs == 2, &data[..long]),
            };
            frame.unwrap()
        })
    }

    #[test]
    fn only_lawful_frames_exist() {
        let low = Identifier::Standard(0x7ff);
        let high = Identifier::Extended(0x1fff_ffff);
        assert!(Frame::data(low, &[0; 8]).is_ok());
        assert_eq!(Frame::data(low, &[0; 9]), Err(FrameError::Length(9)));
        assert!(Frame::remote(high, 8).is_ok());
        assert_eq!(Frame::remote(high, 9), Err(FrameError::Length(9)));
        assert!(Frame::fd(high, true, &[0; 64]).is_ok());
        assert_eq!(Frame::fd(high, true, &[0; 63]), Err(FrameError::Length(63)));
        assert_eq!(
            Frame::fd(low, true, &[0; 320]),
            Err(FrameError::Length(320))
        );
        let padded = Frame::fd_padded(low, true, &[9; 33]).unwrap();
        assert_eq!(padded.payload(), [[9; 33].as_slice(), &[0; 15]].concat());
        assert!(Frame::fd_padded(low, true, &[0; 65]).is_err());
        let wide = Identifier::Standard(0x800);
        assert_eq!(Frame::data(wide, &[]), Err(FrameError::Identifier));
        let wide = Identifier::Extended(1 << 29);
        assert_eq!(Frame::data(wide, &[]), Err(FrameError::Identifier));
    }

    #[test]
    fn priority_is_that_of_the_standard() {
        let standard = Identifier::Standard(0x123);
        // Its base identifier is the same.
        let extended = Identifier::Extended(0x123 << 18);
        let next = Identifier::Standard(0x124);
        let order = [
            Frame::data(standard, &[1]),
            Frame::remote(standard, 1),
            Frame::data(extended, &[1]),
            Frame::remote(extended, 1),
            Frame::data(Identifier::Extended(0x123 << 18 | 1), &[1]),
            Frame::data(next, &[1]),
        ];
        let keys: Vec<u32> = order.map(|it| it.unwrap().arbitration_key()).to_vec();
        assert!(keys.is_sorted_by(|a, b| a < b), "{keys:x?}");
        // RRS of an FD frame is dominant, so that it contends as a data frame does.
        let fd = Frame::fd(standard, false, &[1]).unwrap();
        assert_eq!(fd.arbitration_key(), keys[0]);
    }

    #[test]
    fn a_frame_is_written_as_candump_does() {
        let text = |frame: Result<Frame, FrameError>| frame.unwrap().to_string();
        let low = Identifier::Standard(0x12);
        assert_eq!(text(Frame::data(low, &[0xab, 1])), "012#AB01");
        assert_eq!(
            text(Frame::remote(Identifier::Extended(0x12), 4)),
            "00000012#R4"
        );
        let fd = Frame::fd(low, true, &[7]).map(|it| it.with_error_state_indicator(true));
        assert_eq!(text(fd), "012##307");
    }

    #[test]
    fn text_that_is_no_frame_is_refused() {
        let parse = |text: &str| text.parse::<Frame>();
        let dotted = parse("123#.11.22").unwrap();
        assert_eq!(dotted, parse("123#1122").unwrap());
        assert_eq!(parse("123#R").unwrap().to_string(), "123#R0");
        assert_eq!(parse("123##1.aB").unwrap().to_string(), "123##1AB");
        for text in [
            "", "#", "123", "12#", "1234#", "123#1", "123#+1", "123#1é", "+12#", "123#R12",
            "123##", "123##g", "123##é", "123#..11", "é23#",
        ] {
            assert_eq!(parse(text), Err(FrameError::Text), "{text}");
        }
        assert_eq!(parse("800#"), Err(FrameError::Identifier));
        assert_eq!(parse("ffffffff#"), Err(FrameError::Identifier));
        assert_eq!(parse("123#R9"), Err(FrameError::Length(9)));
        assert_eq!(parse("123#112233445566778899"), Err(FrameError::Length(9)));
    }

    #[test]
    fn a_stored_frame_that_is_none_is_refused() {
        let stored = Stored {
            identifier: Identifier::Standard(1),
            kind: Kind::Data,
            length: 9,
            data: vec![0; 9],
        };
        let bytes = postcard::to_stdvec(&stored).unwrap();
        assert!(postcard::from_bytes::<Frame>(&bytes).is_err());
    }

    proptest! {
        #[test]
        fn a_frame_survives_text(frame in any_frame()) {
            prop_assert_eq!(frame.to_string().parse::<Frame>(), Ok(frame));
        }

        #[test]
        fn a_frame_survives_storage(frame in any_frame()) {
            let bytes = postcard::to_stdvec(&frame).unwrap();
            prop_assert_eq!(postcard::from_bytes::<Frame>(&bytes).unwrap(), frame);
            let code = frame.data_length_code();
            prop_assert_eq!(usize::from(FD_LENGTHS[usize::from(code)]), frame.length());
        }
    }
}
