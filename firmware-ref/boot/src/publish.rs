//! Making the images that are running the preferred version (VC67, VC66).

use image::{
    BODY_OFFSET, HEADER_SIZE, ImageHeader, MANIFEST_SIZE, MAX_PARTS, Package, Part, ReadAt, Record,
    Unreadable, Version,
};
use sha2::{Digest, Sha256};

/// The medium did not take the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unwritable;

/// A free stretch of the store. Nobody looks there until the caller, who holds the midplane's lock (VC93),
/// has flushed it and entered it in the catalogue: so a publication cut short never happened.
pub trait PackageSink {
    /// Writes whole sectors at a multiple of the sector size, from the beginning of the stretch.
    fn write_at(&mut self, offset: u32, sectors: &[u8]) -> Result<(), Unwritable>;
}

/// Why nothing was published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishError {
    /// The buffer is smaller than a sector.
    Buffer,
    /// The bank did not deliver its image.
    Unreadable,
    /// The bank's body is not the one that was booted.
    BodyDigest,
    /// The store did not take it.
    Unwritable,
    /// More or larger images than a package holds, or none, or two of one kind.
    Parts,
}

impl PublishError {
    /// The word used in traces: `cause=…`.
    pub fn as_str(&self) -> &'static str {
        match self {
            PublishError::Buffer => "buffer",
            PublishError::Unreadable => "unreadable",
            PublishError::BodyDigest => "body-digest",
            PublishError::Unwritable => "unwritable",
            PublishError::Parts => "parts",
        }
    }
}

/// A package being written from a controller's own banks.
#[derive(Debug)]
pub struct Publication<'a, W> {
    sink: W,
    package: Package,
    buffer: &'a mut [u8],
}

const SECTOR_SIZE: usize = MANIFEST_SIZE;

impl<'a, W: PackageSink> Publication<'a, W> {
    /// Begins a package of `version`. Whole sectors of `buffer` are used at a time.
    pub fn new(sink: W, version: Version, buffer: &'a mut [u8]) -> Publication<'a, W> {
        let length = u32::try_from(MANIFEST_SIZE).unwrap_or(u32::MAX);
        Publication {
            sink,
            package: Package {
                version,
                length,
                parts: [None; MAX_PARTS],
            },
            buffer,
        }
    }

    /// Adds the image in `bank`, whose header is known from when it was selected. The programming
    /// record is this controller's alone and stays behind.
    pub fn add(&mut self, header: &ImageHeader, bank: impl ReadAt) -> Result<(), PublishError> {
        let slot = self.package.parts().count();
        if slot >= MAX_PARTS || self.package.part(header.kind).is_some() {
            return Err(PublishError::Parts);
        }
        let length = u32::try_from(header.total_length()).map_err(|_| PublishError::Parts)?;
        let mut file = PackedFile {
            header: header.with_record(Record::PACKED).encode(),
            bank,
        };
        let offset = self.package.length;
        let whole_sectors = self.buffer.len() / SECTOR_SIZE * SECTOR_SIZE;
        let room = u32::try_from(whole_sectors).unwrap_or(u32::MAX);
        let (mut part_digest, mut body_digest) = (Sha256::new(), Sha256::new());
        let mut done = 0;
        while done < length {
            let count = room.min(length - done);
            let padded = (count as usize).next_multiple_of(SECTOR_SIZE);
            let sectors = self
                .buffer
                .get_mut(..padded)
                .filter(|chunk| !chunk.is_empty());
            let sectors = sectors.ok_or(PublishError::Buffer)?;
            sectors.fill(0);
            let bytes = sectors
                .get_mut(..count as usize)
                .ok_or(PublishError::Buffer)?;
            file.read_at(done, bytes)
                .map_err(|_| PublishError::Unreadable)?;
            part_digest.update(&*bytes);
            let in_header = BODY_OFFSET.saturating_sub(done) as usize;
            body_digest.update(bytes.get(in_header..).unwrap_or_default());
            let at = offset.checked_add(done).ok_or(PublishError::Parts)?;
            self.sink
                .write_at(at, sectors)
                .map_err(|_| PublishError::Unwritable)?;
            done += count;
        }
        if body_digest.finalize()[..] != header.body_digest {
            return Err(PublishError::BodyDigest);
        }
        let part = Part {
            kind: header.kind,
            version: header.version,
            offset,
            length,
            digest: part_digest.finalize().into(),
        };
        let end = offset
            .checked_add(length.next_multiple_of(512))
            .ok_or(PublishError::Parts)?;
        *self
            .package
            .parts
            .get_mut(slot)
            .ok_or(PublishError::Parts)? = Some(part);
        self.package.length = end;
        Ok(())
    }

    /// Writes the manifest, last. The caller then flushes and makes the package the preferred one.
    pub fn finish(mut self) -> Result<Package, PublishError> {
        if self.package.parts().next().is_none() {
            return Err(PublishError::Parts);
        }
        self.sink
            .write_at(0, &self.package.encode())
            .map_err(|_| PublishError::Unwritable)?;
        Ok(self.package)
    }
}

/// The file that a bank was programmed from: the same bytes but for the programming record.
struct PackedFile<R> {
    header: [u8; HEADER_SIZE],
    bank: R,
}

impl<R: ReadAt> ReadAt for PackedFile<R> {
    fn length(&self) -> u32 {
        self.bank.length()
    }

    fn read_at(&mut self, offset: u32, out: &mut [u8]) -> Result<(), Unreadable> {
        let from_header = self.header.get(offset as usize..).unwrap_or_default();
        let (head, body) = out.split_at_mut(from_header.len().min(out.len()));
        head.copy_from_slice(from_header.get(..head.len()).ok_or(Unreadable)?);
        if body.is_empty() {
            return Ok(());
        }
        let at = u32::try_from(head.len())
            .ok()
            .and_then(|head| offset.checked_add(head));
        self.bank.read_at(at.ok_or(Unreadable)?, body)
    }
}
