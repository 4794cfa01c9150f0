//! Whether an image is one to run or store here.

use core::ops::Range;

use ed25519_compact::{PublicKey, Signature};

use crate::defect::Defect;
use crate::header::{BODY_OFFSET, HEADER_SIZE, ImageHeader, Kind};
use crate::read::{ReadAt, digest};

/// Whose images may run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust<'k> {
    /// Anybody's: a signature is not looked at.
    Anyone,
    /// Only those signed with the private half of this ed25519 key. All zero means that no key is
    /// fitted, and then nothing is trusted.
    SignedBy(&'k [u8; 32]),
}

impl Trust<'_> {
    /// Whether the header is by somebody trusted. The body follows through its digest.
    pub fn check(&self, header: &ImageHeader) -> Result<(), Defect> {
        match self {
            Trust::Anyone => Ok(()),
            Trust::SignedBy(key) if **key == [0; 32] => Err(Defect::NoKey),
            Trust::SignedBy(_) if !header.is_signed() => Err(Defect::Unsigned),
            Trust::SignedBy(key) => PublicKey::new(**key)
                .verify(header.signed_bytes(), &Signature::new(header.signature))
                .map_err(|_| Defect::Signature),
        }
    }
}

/// What an image must be to be run from, or stored in, one place.
#[derive(Clone, Debug)]
pub struct Requirements<'k> {
    /// The kind that belongs here.
    pub kind: Kind,
    /// Bytes of a bank; header and body must fit.
    pub capacity: u32,
    /// The memory that the body may be loaded into: the header's word alone must not let an image
    /// overwrite the code that loads it.
    pub load_window: Range<u32>,
    /// Whose images are accepted.
    pub trust: Trust<'k>,
}

impl Requirements<'_> {
    /// Checks what the header alone tells.
    pub fn check_header(&self, header: &ImageHeader) -> Result<(), Defect> {
        if header.kind != self.kind {
            return Err(Defect::WrongKind {
                expected: self.kind,
                found: header.kind,
            });
        }
        if header.total_length() > u64::from(self.capacity) {
            return Err(Defect::Oversized {
                length: header.total_length(),
                capacity: self.capacity,
            });
        }
        let end = header.load_address.checked_add(header.body_length);
        if header.load_address < self.load_window.start
            || end.is_none_or(|end| end > self.load_window.end)
        {
            return Err(Defect::LoadAddress(header.load_address));
        }
        self.trust.check(header)
    }

    /// Checks header and body of the image that begins at the first byte of `from`, where more may
    /// follow it, as in a bank. `buffer` limits how much is read at once.
    pub fn check_bank(
        &self,
        from: &mut impl ReadAt,
        buffer: &mut [u8],
    ) -> Result<ImageHeader, Defect> {
        let header = read_header(from)?;
        self.check_header(&header)?;
        let body_digest = digest(from, BODY_OFFSET, header.body_length, buffer)?;
        if body_digest != header.body_digest {
            return Err(Defect::BodyDigest);
        }
        Ok(header)
    }

    /// Checks an image that `from` holds exactly, as a file or a part of a package does.
    pub fn check_file(
        &self,
        from: &mut impl ReadAt,
        buffer: &mut [u8],
    ) -> Result<ImageHeader, Defect> {
        let header = read_header(from)?;
        if header.total_length() != u64::from(from.length()) {
            return Err(Defect::WrongLength {
                stated: header.total_length(),
                found: from.length(),
            });
        }
        self.check_bank(from, buffer)
    }
}

fn read_header(from: &mut impl ReadAt) -> Result<ImageHeader, Defect> {
    if from.length() < BODY_OFFSET {
        return Err(Defect::Truncated);
    }
    let mut bytes = [0; HEADER_SIZE];
    from.read_at(0, &mut bytes)?;
    ImageHeader::parse(&bytes)
}
