//! Frames, and the classes that their identifiers fall into.

/// Bytes of a frame of the longer format.
pub const FLEXIBLE_MAX: usize = 64;
/// Bytes of a classic frame.
pub const CLASSIC_MAX: usize = 8;

/// Bits 10 to 8 of an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Class {
    /// Heartbeats of masters.
    Mastership = 0,
    /// Orders to nodes.
    Command = 2,
    /// Starts of broadcasts.
    Start = 3,
    /// Fragments and ends of broadcasts.
    Data = 4,
    /// Requests of nodes for an image.
    Request = 5,
    /// What nodes say of themselves.
    Status = 6,
}

impl Class {
    /// The identifier of this class that `node` sends with.
    pub fn identifier(self, node: u8) -> u16 {
        u16::from_be_bytes([self as u8, node])
    }
}

/// Classes that a program wants to be woken for. The others need not be handed to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Classes(u8);

impl Classes {
    pub(crate) const fn of(classes: &[Class]) -> Classes {
        let mut bits = 0;
        let mut rest = classes;
        while let [class, others @ ..] = rest {
            bits |= 1 << (*class as u8);
            rest = others;
        }
        Classes(bits)
    }

    /// Whether frames with this identifier are among them.
    pub fn contains(self, identifier: u16) -> bool {
        let [class, _] = identifier.to_be_bytes();
        class < 8 && self.0 & (1 << class) != 0
    }

    /// A bit for each class.
    pub fn bits(self) -> u8 {
        self.0
    }
}

/// A data frame with a standard identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    identifier: u16,
    length: u8,
    bytes: [u8; FLEXIBLE_MAX],
}

impl Frame {
    pub(crate) fn new(class: Class, node: u8) -> Frame {
        Frame {
            identifier: class.identifier(node),
            length: 0,
            bytes: [0; FLEXIBLE_MAX],
        }
    }

    /// A frame as it comes from a driver; nothing when it has more than 64 bytes.
    pub fn received(identifier: u16, payload: &[u8]) -> Option<Frame> {
        let mut frame = Frame {
            identifier,
            length: u8::try_from(payload.len()).ok()?,
            bytes: [0; FLEXIBLE_MAX],
        };
        let place = frame.bytes.get_mut(..payload.len())?;
        place.copy_from_slice(payload);
        Some(frame)
    }

    pub(crate) fn with(mut self, bytes: &[u8]) -> Frame {
        let begin = usize::from(self.length);
        // More than fits is never asked for: fragments are cut to size before.
        if let Some(place) = self.bytes.get_mut(begin..begin + bytes.len()) {
            place.copy_from_slice(bytes);
            self.length = self
                .length
                .saturating_add(u8::try_from(bytes.len()).unwrap_or(0));
        }
        self
    }

    /// Its 11 bits.
    pub fn identifier(&self) -> u16 {
        self.identifier
    }

    /// Its data.
    pub fn payload(&self) -> &[u8] {
        self.bytes
            .get(..usize::from(self.length))
            .unwrap_or_default()
    }

    /// Whether it must be sent in the longer format (CAN FD).
    pub fn is_flexible(&self) -> bool {
        usize::from(self.length) > CLASSIC_MAX
    }

    /// Zeros up to the next length that a frame can have.
    pub(crate) fn padded(self) -> Frame {
        let length = usize::from(self.length);
        let zeros = padded(length).saturating_sub(length);
        self.with([0; FLEXIBLE_MAX].get(..zeros).unwrap_or_default())
    }
}

/// The next length that a frame can have (ISO 11898-1, table of DLC).
fn padded(length: usize) -> usize {
    let longer = [12, 16, 20, 24, 32, 48].into_iter();
    match length {
        0..=CLASSIC_MAX => length,
        _ => longer.fold(FLEXIBLE_MAX, |least, it| {
            if it >= length { least.min(it) } else { least }
        }),
    }
}
