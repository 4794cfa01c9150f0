//! Prior art 1A (VC90): the third level in flash only fetches the application from the array, at every
//! boot, and runs it in memory.
//!
//! The downloaded image is a third level like any other and runs where this one does. So it is checked
//! in the staging memory, and a few instructions outside of both copy it over this one. A mark beside
//! the hand-over page tells it not to download again; it is good once.

use core::ptr::NonNull;

use image::{Defect, HEADER_SIZE, ImageHeader, Part, PartReader, ReadAt};

use crate::hardware::Hardware;
use crate::source::PackageReader;
use boot::Level;
use runtime::ram;

/// Where the mark is: in the page of the hand-over, behind it.
const MARK_ADDRESS: usize = 0x8800;
const MARK: u64 = u64::from_le_bytes(*b"ABdwnld\x1a");
/// Where the copying instructions go: a page that nothing uses.
const MOVER_ADDRESS: usize = 0x9000;
/// cld; rep movsb; jmp rax.
const MOVER: [u8; 5] = [0xfc, 0xf3, 0xa4, 0xff, 0xe0];

fn mark() -> NonNull<u64> {
    NonNull::new(core::ptr::with_exposed_provenance_mut(MARK_ADDRESS))
        .unwrap_or(NonNull::dangling())
}

/// Whether the code that runs was downloaded. Answers once.
#[cfg(not(test))]
pub(crate) fn was_downloaded() -> bool {
    // SAFETY: memory of the hand-over page, mapped and aligned, which only this module uses.
    unsafe {
        let found = mark().read_volatile() == MARK;
        mark().write_volatile(0);
        found
    }
}

#[cfg(test)]
pub(crate) fn was_downloaded() -> bool {
    false
}

/// Reads the image into `memory` and checks it there: what was checked is what runs.
pub(crate) fn fetch(
    hardware: &Hardware,
    package: PackageReader<'_>,
    part: &Part,
    memory: &mut [u8],
    work: &mut [u8],
) -> Result<ImageHeader, Defect> {
    let length = usize::try_from(part.length).map_err(|_| Defect::Unreadable)?;
    let room = memory.len();
    let file = memory.get_mut(..length).ok_or(Defect::Oversized {
        length: u64::from(part.length),
        capacity: u32::try_from(room).unwrap_or(u32::MAX),
    })?;
    PartReader::new(package, part).read_at(0, file)?;
    let requirements = hardware.requirements(Level::L3);
    let mut bytes: &[u8] = file;
    let header = requirements.check_file(&mut bytes, work)?;
    if header.version == part.version {
        Ok(header)
    } else {
        Err(Defect::WrongVersion)
    }
}

/// Runs the image that [`fetch`] put into `memory`, in place of this program. Returns only when it cannot.
pub(crate) fn start(
    header: &ImageHeader,
    memory: &'static [u8],
) -> Result<core::convert::Infallible, Defect> {
    let address = header.load_address;
    let end = address.checked_add(header.body_length);
    if address < ram::L3_IMAGE.start || end.is_none_or(|end| end > ram::L3_IMAGE.end) {
        return Err(Defect::LoadAddress(address));
    }
    let length = usize::try_from(header.body_length).map_err(|_| Defect::Truncated)?;
    let body = memory
        .get(HEADER_SIZE..)
        .and_then(|body| body.get(..length));
    let body = body.ok_or(Defect::Truncated)?;
    let entry = u64::from(address).wrapping_add(u64::from(header.entry_offset));
    // SAFETY: mark and mover are in memory that nothing else uses. The body was checked where it lies, its
    // destination is the window of third-level images and below the staging memory, and the parser has
    // checked that the entry is inside it. The mover runs outside of what it overwrites and needs no
    // stack; devices write nothing before the next wait.
    unsafe {
        mark().write_volatile(MARK);
        let mover = core::ptr::with_exposed_provenance_mut::<[u8; 5]>(MOVER_ADDRESS);
        mover.write_volatile(MOVER);
        core::arch::asm!(
            "jmp {mover}",
            mover = in(reg) mover,
            in("rdi") u64::from(address),
            in("rsi") body.as_ptr(),
            in("rcx") length,
            in("rax") entry,
            options(noreturn)
        )
    }
}
