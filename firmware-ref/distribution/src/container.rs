//! What is broadcast: the images of one module or of several (CD28, CD29, CD35), with a table of contents.
//!
//! Little-endian, padded with zeros to a multiple of 64 bytes:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 4 | `ABNI` |
//! | 4 | 1 | format = 1 |
//! | 5 | 1 | parts, 1 to 8 |
//! | 6 | 2 | zero |
//! | 8 | 4 | bytes of the whole, padding included |
//! | 12 | 24 each | parts |
//! | … | 4 | CRC-32 of all before it |
//!
//! Each part: content u8 (1 communication, 2 work, 3 xy, 4 panel, 5 drive, 6 master, 7 all), three zeros,
//! version (4 bytes), offset u32, length u32, entry u32 within the part, CRC-32 of the part u32.
//! Parts follow the table in its order, do not overlap, and no two are of one content.
//!
//! The table comes first, so a node picks its part while the rest passes: it needs RAM for its own image
//! and for 208 bytes of table, never for the whole.

use crate::CRC32;
use crate::message::BLOCK;
use crate::module::{Content, Module, VersionTag};

/// Parts that a container can have.
pub const PARTS_MAX: usize = 8;
/// Bytes before the table.
pub const HEADER: usize = 12;
/// Bytes of the longest table, header and sum included.
pub const TABLE_MAX: usize = HEADER + PARTS_MAX * PART + SUM;
/// Bytes of the longest container: what a start message can tell.
pub const LENGTH_MAX: u32 = BLOCK * 0xffff;

const MAGIC: [u8; 4] = *b"ABNI";
const FORMAT: u8 = 1;
const PART: usize = 24;
const SUM: usize = 4;

/// One image within a container.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part {
    /// Whom it is for.
    pub content: Content,
    /// Its version.
    pub version: VersionTag,
    /// Where it begins in the container.
    pub offset: u32,
    /// Its bytes.
    pub length: u32,
    /// Where execution begins, from its first byte on.
    pub entry: u32,
    /// CRC-32 of its bytes.
    pub crc: u32,
}

/// Why a container is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defect {
    /// Shorter than its table says.
    Truncated,
    /// Not a container, or one of another format.
    Format,
    /// The table is damaged.
    Table,
    /// A part lies outside, overlaps, is empty or stands twice; or its entry lies outside.
    Part(u8),
    /// The bytes of a part are not those of the table.
    Content(u8),
    /// Too many parts, or too many bytes.
    Oversized,
}

impl Defect {
    /// The word used in traces: `cause=…`.
    pub fn as_str(self) -> &'static str {
        match self {
            Defect::Truncated => "truncated",
            Defect::Format => "format",
            Defect::Table => "table",
            Defect::Part(_) => "part",
            Defect::Content(_) => "content",
            Defect::Oversized => "oversized",
        }
    }
}

/// A table of contents, checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contents<'a> {
    /// The entries.
    entries: &'a [[u8; PART]],
    /// Bytes of the whole container.
    pub total: u32,
}

/// Bytes of the table of the container that begins with `header`, header and sum included.
pub fn table_length(header: &[u8; HEADER]) -> Result<usize, Defect> {
    let [m0, m1, m2, m3, format, parts, zero0, zero1, ..] = *header;
    if [m0, m1, m2, m3] != MAGIC || format != FORMAT || [zero0, zero1] != [0; 2] {
        return Err(Defect::Format);
    }
    match usize::from(parts) {
        parts @ 1..=PARTS_MAX => Ok(HEADER + parts * PART + SUM),
        _ => Err(Defect::Format),
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}

impl Contents<'_> {
    /// Reads the table that `bytes` begin with; what follows it may be missing.
    pub fn parse(bytes: &[u8]) -> Result<Contents<'_>, Defect> {
        let header = bytes.first_chunk().ok_or(Defect::Truncated)?;
        let length = table_length(header)?;
        let total = word(header, 8).ok_or(Defect::Truncated)?;
        let table = bytes.get(..length - SUM).ok_or(Defect::Truncated)?;
        let sum = word(bytes, length - SUM).ok_or(Defect::Truncated)?;
        if CRC32.checksum(table) != sum {
            return Err(Defect::Table);
        }
        let in_blocks = total.is_multiple_of(BLOCK) && total <= LENGTH_MAX;
        if !in_blocks {
            return Err(Defect::Oversized);
        }
        let (entries, _) = table.get(HEADER..).unwrap_or_default().as_chunks();
        let mut free = u32::try_from(length).unwrap_or(u32::MAX);
        let mut seen = 0;
        for (index, entry) in (0u8..).zip(entries) {
            let part = parse_part(entry).ok_or(Defect::Part(index))?;
            let end = part.offset.checked_add(part.length);
            let fits = part.offset >= free && end.is_some_and(|end| end <= total);
            // Contents are numbered from 0 to 7.
            let content = 1u8 << part.content.number();
            if !fits || seen & content != 0 || part.entry >= part.length {
                return Err(Defect::Part(index));
            }
            free = end.unwrap_or(u32::MAX);
            seen |= content;
        }
        Ok(Contents { entries, total })
    }

    /// Reads the table and checks every part: what a master does with an image that it is given.
    pub fn check(bytes: &[u8]) -> Result<Contents<'_>, Defect> {
        let contents = Contents::parse(bytes)?;
        if u32::try_from(bytes.len()) != Ok(contents.total) {
            return Err(Defect::Truncated);
        }
        for (index, part) in (0u8..).zip(contents.parts()) {
            let begin = part.offset as usize;
            let stored = bytes
                .get(begin..)
                .and_then(|rest| rest.get(..part.length as usize));
            if stored.map(|stored| CRC32.checksum(stored)) != Some(part.crc) {
                return Err(Defect::Content(index));
            }
        }
        Ok(contents)
    }

    /// The parts, in their order.
    pub fn parts(&self) -> impl Iterator<Item = Part> {
        self.entries.iter().filter_map(parse_part)
    }

    /// The part for `module` (steps 343, 345): its own, or the common one (CD35).
    pub fn select(&self, module: Module) -> Option<Part> {
        let entry = |content: Content| {
            let mut entries = self.entries.iter();
            entries.find(|entry| content.may_suit(module) && entry[0] == content.number())
        };
        let entry = entry(Content::Only(module)).or_else(|| entry(Content::All));
        parse_part(entry?)
    }
}

fn parse_part(entry: &[u8; PART]) -> Option<Part> {
    let (&[content, zero0, zero1, zero2, v0, v1, v2, v3], words) = entry.split_first_chunk()?;
    let [offset, length, entry, crc] = *words.as_chunks().0.first_chunk()?;
    let content = Content::from_number(content).filter(|it| *it != Content::Combined)?;
    let length = u32::from_le_bytes(length);
    ([zero0, zero1, zero2] == [0; 3] && length != 0).then_some(Part {
        content,
        version: VersionTag::from_bytes([v0, v1, v2, v3]),
        offset: u32::from_le_bytes(offset),
        length,
        entry: u32::from_le_bytes(entry),
        crc: u32::from_le_bytes(crc),
    })
}

/// An image to be put into a container.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    /// Whom it is for; not [`Content::Combined`].
    pub content: Content,
    /// Its version.
    pub version: VersionTag,
    /// Where execution begins.
    pub entry: u32,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// Bytes of a container of `images`.
pub fn length(images: &[Image<'_>]) -> Result<usize, Defect> {
    if images.is_empty() || images.len() > PARTS_MAX {
        return Err(Defect::Oversized);
    }
    let table = HEADER + images.len() * PART + SUM;
    let bytes = images.iter().map(|image| image.bytes.len());
    let total = bytes.fold(table, usize::saturating_add);
    if total > LENGTH_MAX as usize {
        return Err(Defect::Oversized);
    }
    Ok(total.next_multiple_of(BLOCK as usize))
}

/// Writes a container of `images` to the beginning of `place`; answers how long it is.
pub fn write(images: &[Image<'_>], place: &mut [u8]) -> Result<usize, Defect> {
    let total = length(images)?;
    let place = place.get_mut(..total).ok_or(Defect::Oversized)?;
    place.fill(0);
    let table = HEADER + images.len() * PART;
    // Everything is within the length that was just computed.
    let word = |number: usize| u32::try_from(number).unwrap_or(u32::MAX).to_le_bytes();
    let mut put = |at: usize, bytes: &[u8]| {
        if let Some(to) = place.get_mut(at..at + bytes.len()) {
            to.copy_from_slice(bytes);
        }
    };
    put(0, &MAGIC);
    put(4, &[FORMAT, u8::try_from(images.len()).unwrap_or(0)]);
    put(8, &word(total));
    let mut offset = table + SUM;
    for (index, image) in images.iter().enumerate() {
        let at = HEADER + index * PART;
        put(at, &[image.content.number(), 0, 0, 0]);
        put(at + 4, &image.version.to_bytes());
        put(at + 8, &word(offset));
        put(at + 12, &word(image.bytes.len()));
        put(at + 16, &image.entry.to_le_bytes());
        put(at + 20, &CRC32.checksum(image.bytes).to_le_bytes());
        put(offset, image.bytes);
        offset += image.bytes.len();
    }
    let sum = CRC32.checksum(place.get(..table).unwrap_or_default());
    if let Some(to) = place.get_mut(table..table + SUM) {
        to.copy_from_slice(&sum.to_le_bytes());
    }
    // The one who builds is told what the one who reads would say.
    Contents::parse(place)?;
    Ok(total)
}

#[cfg(test)]
#[path = "container_tests.rs"]
mod tests;
