//! Reading the catalogue, and committing a new one.

use boot::{Preferred, PreferredSource};
use image::PackageDefect;

use crate::HOST_VOLUME_START;
use crate::catalogue::{COPY_SIZE, Catalogue, Defect};
use crate::device::{BlockDevice, IoError, SECTOR_SIZE};

/// First sector of the copy for odd sequence numbers; that for even ones is at 0.
const ODD_COPY: u64 = 32;
const ODD_COPY_AT: usize = 32 * SECTOR_SIZE;

/// Bytes that one look at the catalogue reads: both copies and what lies between them.
pub const LOAD_SIZE: usize = ODD_COPY_AT + COPY_SIZE;

/// What the store holds. These are told apart because a disk that is foreign or out of reach must
/// never look empty (K23): an empty one gets written.
#[expect(
    clippy::large_enum_variant,
    reason = "there is no allocator to box a catalogue with"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    /// Never used: all zero, or its very first commit was cut short.
    Absent,
    /// Something is there that is no catalogue.
    Invalid(Damage),
    /// The disk does not answer.
    Unreachable,
    /// A catalogue.
    Present(Catalogue),
}

/// What is wrong with a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damage {
    /// Somebody else's disk.
    Foreign,
    /// Both copies are damaged.
    Damaged,
    /// Written by other software, in a format this one does not know.
    Format(u16),
    /// There is no room for the store on the disk.
    TooSmall,
}

impl Damage {
    /// The word used in traces: `cause=…`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Damage::Foreign => "foreign",
            Damage::Damaged => "damaged",
            Damage::Format(_) => "unknown-format",
            Damage::TooSmall => "too-small",
        }
    }
}

impl Condition {
    /// The catalogue, if there is one.
    pub fn catalogue(&self) -> Option<&Catalogue> {
        match self {
            Condition::Present(catalogue) => Some(catalogue),
            _ => None,
        }
    }
}

/// The store's answer to the compare step.
impl PreferredSource for Condition {
    fn preferred(&mut self) -> Preferred {
        match self {
            Condition::Absent => Preferred::Absent,
            Condition::Unreachable => Preferred::Unreachable,
            Condition::Invalid(damage) => Preferred::Invalid(match damage {
                Damage::Foreign => PackageDefect::Magic,
                Damage::Damaged => PackageDefect::ManifestCrc,
                Damage::Format(format) => PackageDefect::ManifestVersion(*format),
                Damage::TooSmall => PackageDefect::Truncated,
            }),
            Condition::Present(catalogue) => catalogue
                .preferred()
                .map_or(Preferred::Absent, |entry| Preferred::Present(entry.package)),
        }
    }
}

/// Looks at the catalogue: one read.
pub fn load(disk: &mut impl BlockDevice, buffer: &mut [u8; LOAD_SIZE]) -> Condition {
    match disk.sectors() {
        0 => return Condition::Unreachable,
        sectors if sectors < HOST_VOLUME_START => return Condition::Invalid(Damage::TooSmall),
        _ => {}
    }
    if disk.read(0, buffer).is_err() {
        return Condition::Unreachable;
    }
    let (even, rest) = buffer.split_at(COPY_SIZE);
    let odd = rest.get(ODD_COPY_AT - COPY_SIZE..).unwrap_or_default();
    match (Catalogue::decode(even), Catalogue::decode(odd)) {
        (Ok(even), Ok(odd)) if odd.sequence > even.sequence => Condition::Present(odd),
        (Ok(catalogue), _) | (_, Ok(catalogue)) => Condition::Present(catalogue),
        // Nothing was ever committed: as long as one copy is blank, no commit has got past the other.
        (Err(Defect::Blank), Err(Defect::Blank | Defect::Begun)) => between_is_blank(rest),
        (Err(Defect::Format(format)), _) | (_, Err(Defect::Format(format))) => {
            Condition::Invalid(Damage::Format(format))
        }
        (Err(Defect::Magic), _) | (_, Err(Defect::Magic)) => Condition::Invalid(Damage::Foreign),
        _ => Condition::Invalid(Damage::Damaged),
    }
}

/// A blank catalogue counts only where the sectors between the copies are blank too: some foreign
/// formats begin with zeros.
fn between_is_blank(rest: &[u8]) -> Condition {
    let between = rest.get(..ODD_COPY_AT - COPY_SIZE).unwrap_or_default();
    if between.iter().all(|byte| *byte == 0) {
        Condition::Absent
    } else {
        Condition::Invalid(Damage::Foreign)
    }
}

/// Makes `catalogue` the current one: writes the copy that is not current, then flushes. The first
/// commit of a store writes both copies, one after the other, so that a store that is in use never
/// has a blank one.
pub fn commit(disk: &mut impl BlockDevice, catalogue: &mut Catalogue) -> Result<(), IoError> {
    let commits = if catalogue.sequence == 0 { 2 } else { 1 };
    for _ in 0..commits {
        let mut next = *catalogue;
        next.sequence = next.sequence.saturating_add(1);
        let mut copy = [0; COPY_SIZE];
        next.encode(&mut copy);
        let odd = next.sequence % 2 == 1;
        disk.write(if odd { ODD_COPY } else { 0 }, &copy)?;
        disk.flush()?;
        *catalogue = next;
    }
    Ok(())
}
