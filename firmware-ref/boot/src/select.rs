//! Which bank to run (Fig. 4A).

use embedded_storage::nor_flash::ReadNorFlash;
use image::{BODY_OFFSET, Defect, HEADER_SIZE, ImageHeader, Record, Requirements};

use crate::bank::{Bank, inspect};

/// Why a bank was selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Both are valid and this one was stored last (VC25, VC29).
    Newest,
    /// The other one is not valid (VC26, VC30).
    OnlyValid,
}

impl Reason {
    /// The word used in traces: `reason=…`.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Newest => "newest",
            Reason::OnlyValid => "only-valid",
        }
    }
}

/// The bank to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Selection {
    /// Which one.
    pub bank: Bank,
    /// Why.
    pub reason: Reason,
    /// What its header says.
    pub header: ImageHeader,
    /// What the other bank holds, or why that is not valid.
    pub other: Result<ImageHeader, Defect>,
}

impl Selection {
    /// The programming record for the next image stored in this level. The selected bank is the
    /// newest valid one, so one more than its count is more than any.
    pub fn next_record(&self, calendar_s: u64) -> Record {
        self.header.record.next(calendar_s)
    }

    /// The selection once the selected bank has turned out bad after all, because it read differently
    /// when it was [`load`]ed.
    pub fn without_selected(&self, defect: Defect) -> Result<Selection, NoValid> {
        match self.bank {
            Bank::A => choose(Err(defect), self.other),
            Bank::B => choose(self.other, Err(defect)),
        }
    }
}

/// Neither bank is valid: the error condition (VC27, VC31).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoValid {
    /// What is wrong with bank A.
    pub a: Defect,
    /// What is wrong with bank B.
    pub b: Defect,
}

/// Chooses between two banks that were inspected: the valid one, or of two the one *stored* last, whatever
/// its version (VC33). Nothing is remembered from earlier boots (VC35).
pub fn choose(
    a: Result<ImageHeader, Defect>,
    b: Result<ImageHeader, Defect>,
) -> Result<Selection, NoValid> {
    let (bank, reason, header) = match (a, b) {
        (Ok(a), Ok(b)) if b.record.is_newer_than(&a.record) => (Bank::B, Reason::Newest, b),
        (Ok(a), Ok(_)) => (Bank::A, Reason::Newest, a),
        (Ok(a), Err(_)) => (Bank::A, Reason::OnlyValid, a),
        (Err(_), Ok(b)) => (Bank::B, Reason::OnlyValid, b),
        (Err(a), Err(b)) => return Err(NoValid { a, b }),
    };
    let other = match bank {
        Bank::A => b,
        Bank::B => a,
    };
    Ok(Selection {
        bank,
        reason,
        header,
        other,
    })
}

/// Inspects both banks of a level and chooses.
pub fn select(
    a: &mut impl ReadNorFlash,
    b: &mut impl ReadNorFlash,
    requirements: &Requirements<'_>,
    buffer: &mut [u8],
) -> Result<Selection, NoValid> {
    choose(
        inspect(a, requirements, buffer),
        inspect(b, requirements, buffer),
    )
}

/// Copies the body of a selected image to where it runs, and hashes *that copy*: a bank whose erase
/// was cut short may read differently the second time, and only what was checked may run.
pub fn load(
    flash: &mut impl ReadNorFlash,
    header: &ImageHeader,
    destination: &mut [u8],
) -> Result<(), Defect> {
    let room = destination.len();
    let length = header.body_length as usize;
    let body = destination.get_mut(..length).ok_or(Defect::Oversized {
        length: header.total_length(),
        capacity: u32::try_from(room + HEADER_SIZE).unwrap_or(u32::MAX),
    })?;
    flash
        .read(BODY_OFFSET, body)
        .map_err(|_| Defect::Unreadable)?;
    if header.body_matches(body) {
        Ok(())
    } else {
        Err(Defect::BodyDigest)
    }
}
