//! Byte stores behind flash chips and member disks: memory or file.
//!
//! In memory a medium is a copy-on-write map of [`Chunk`]s, so cloning one (a checkpoint) costs
//! a reference count per stretch of some hundred chunks. On file it is written through on every write: what was
//! acknowledged is in the page cache at once and survives `kill -9`.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::ops::Deref;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fmt, io};

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

use crate::sparse::Sparse;

/// Granularity of copy on write: eight sectors of a member disk as they are stored, so that an aligned
/// 4 KiB are in one chunk; for a flash chip as good as any.
const CHUNK: usize = 8 * 520;

/// Part of a medium in memory, shared until it is written.
///
/// The count of those who share it lies beside the bytes, not before them: the counts of many chunks are in
/// the processor's cache, the bytes are not, and a change of a count waits for its memory.
#[derive(Clone, PartialEq, Eq)]
#[expect(
    clippy::redundant_allocation,
    reason = "so that the count is not before the bytes"
)]
pub struct Chunk(Arc<Box<[u8; CHUNK]>>);

impl Chunk {
    /// A chunk of these bytes.
    pub fn new(bytes: [u8; CHUNK]) -> Chunk {
        Chunk(Arc::new(Box::new(bytes)))
    }

    /// A chunk of zeros.
    pub fn zeros() -> Chunk {
        Chunk::new([0; CHUNK])
    }

    /// Whether nobody else has it.
    pub fn is_unshared(&mut self) -> bool {
        // There are no weak references, and who has it alone is the only one who could share it.
        Arc::strong_count(&self.0) == 1
    }

    /// Has the processor fetch the count of those who share it, and does not wait for that.
    pub fn fetch(&self) {
        std::hint::black_box(Arc::strong_count(&self.0));
    }

    /// To write; copied before where it is shared.
    pub fn bytes_mut(&mut self) -> &mut [u8; CHUNK] {
        let bytes: &mut Box<_> = Arc::make_mut(&mut self.0);
        bytes
    }
}

impl Deref for Chunk {
    type Target = [u8; CHUNK];

    fn deref(&self) -> &[u8; CHUNK] {
        &self.0
    }
}

impl fmt::Debug for Chunk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Chunk").finish_non_exhaustive()
    }
}

impl Serialize for Chunk {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.as_slice().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Chunk {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let bytes = Box::<[u8]>::deserialize(deserializer)?;
        let whole = Box::try_from(bytes).map_err(|_| D::Error::custom("a chunk of another length"));
        whole.map(|bytes| Chunk(Arc::new(bytes)))
    }
}

/// A byte store of fixed length with a fill byte where nothing was written.
pub struct Medium {
    length: u64,
    fill: u8,
    store: Store,
}

enum Store {
    Memory {
        chunks: Sparse<Chunk>,
        /// What all chunks are that were not written.
        blank: Chunk,
    },
    File {
        file: File,
        path: PathBuf,
    },
}

/// The host could not do what a medium asked.
#[derive(Debug, Error)]
#[error("{path}: {what}")]
pub struct MediumError {
    /// The file behind the medium.
    pub path: PathBuf,
    /// What was being done.
    pub what: &'static str,
    /// Why it failed.
    #[source]
    pub source: io::Error,
}

impl Medium {
    /// A medium of `length` bytes in memory, every byte `fill`.
    pub fn memory(length: u64, fill: u8) -> Medium {
        Medium {
            length,
            fill,
            store: Store::Memory {
                chunks: Sparse::default(),
                blank: Chunk::new([fill; CHUNK]),
            },
        }
    }

    /// A medium of `length` bytes in the file `path`, made (all `fill`) where it does not exist.
    /// A file that exists must have exactly that length.
    ///
    /// # Errors
    /// The file cannot be opened, made, locked or has another length.
    pub fn file(path: &Path, length: u64, fill: u8) -> Result<Medium, MediumError> {
        let problem = |what, source| MediumError {
            path: path.to_path_buf(),
            what,
            source,
        };
        let exists = path.exists();
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(|e| problem("cannot be opened for writing", e))?;
        if exists {
            let found = file
                .metadata()
                .map_err(|e| problem("cannot be read", e))?
                .len();
            if found != length {
                let e = io::Error::other(format!("it has {found} bytes, the medium {length}"));
                return Err(problem("is not the file of this medium", e));
            }
        } else if fill == 0 {
            file.set_len(length)
                .map_err(|e| problem("cannot be made", e))?;
        } else {
            let block = vec![fill; 1 << 20];
            let mut at = 0;
            while at < length {
                let n = usize::try_from((length - at).min(1 << 20)).unwrap_or(1 << 20);
                file.write_all_at(&block[..n], at)
                    .map_err(|e| problem("cannot be made", e))?;
                at += n as u64;
            }
        }
        Ok(Medium {
            length,
            fill,
            store: Store::File {
                file,
                path: path.to_path_buf(),
            },
        })
    }

    /// Length in bytes.
    pub fn len(&self) -> u64 {
        self.length
    }

    /// Whether the medium has no bytes at all.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Reads at `offset`; bytes past the end read as the fill byte.
    ///
    /// # Errors
    /// The host failed to read the file behind the medium.
    pub fn read(&self, offset: u64, into: &mut [u8]) -> Result<(), MediumError> {
        let n = self.clip(offset, into.len());
        let (into, beyond) = into.split_at_mut(n);
        beyond.fill(self.fill);
        match &self.store {
            Store::Memory { chunks, blank } => {
                for_each_chunk(offset, n, |index, within, range| {
                    let chunk = chunks.get(index).unwrap_or(blank);
                    let end = within + range.len();
                    into[range].copy_from_slice(&chunk[within..end]);
                });
                Ok(())
            }
            Store::File { file, path } => {
                file.read_exact_at(into, offset)
                    .map_err(|source| MediumError {
                        path: path.clone(),
                        what: "cannot be read",
                        source,
                    })
            }
        }
    }

    /// Writes at `offset`; bytes past the end are dropped.
    ///
    /// # Errors
    /// The host failed to write the file behind the medium.
    pub fn write(&mut self, offset: u64, from: &[u8]) -> Result<(), MediumError> {
        let n = self.clip(offset, from.len());
        let from = &from[..n];
        match &mut self.store {
            Store::Memory { chunks, blank } => {
                for_each_chunk(offset, n, |index, within, range| {
                    let chunk = chunks.get_or_insert_with(index, || blank.clone());
                    let end = within + range.len();
                    chunk.bytes_mut()[within..end].copy_from_slice(&from[range]);
                });
                Ok(())
            }
            Store::File { file, path } => {
                file.write_all_at(from, offset)
                    .map_err(|source| MediumError {
                        path: path.clone(),
                        what: "cannot be written",
                        source,
                    })
            }
        }
    }

    /// Reads the chunk `index`, lent where the medium is in memory.
    ///
    /// # Errors
    /// The host failed to read the file behind the medium.
    pub fn read_chunk(&self, index: u64) -> Result<Cow<'_, Chunk>, MediumError> {
        match &self.store {
            Store::Memory { chunks, blank } => {
                Ok(Cow::Borrowed(chunks.get(index).unwrap_or(blank)))
            }
            Store::File { .. } => {
                let mut bytes = [0; CHUNK];
                self.read(index.saturating_mul(CHUNK as u64), &mut bytes)?;
                Ok(Cow::Owned(Chunk::new(bytes)))
            }
        }
    }

    /// The same as writes of all their bytes, one chunk behind the other from chunk `index` on; but a medium in
    /// memory keeps the chunks themselves and gives those it had for them. False, and nothing done, where they do
    /// not all fit or the medium is a file.
    pub fn swap_chunks<'a>(
        &mut self,
        index: u64,
        mut chunks: impl ExactSizeIterator<Item = &'a mut Chunk>,
    ) -> bool {
        let end = index
            .checked_add(chunks.len() as u64)
            .and_then(|end| end.checked_mul(CHUNK as u64));
        let fits = end.is_some_and(|end| end <= self.length);
        match &mut self.store {
            Store::Memory {
                chunks: own, blank, ..
            } if fits => {
                let mut index = index;
                while chunks.len() > 0 {
                    let places = own.places(index, chunks.len() as u64);
                    index += places.len() as u64;
                    for (place, chunk) in places.iter_mut().zip(&mut chunks) {
                        std::mem::swap(place.get_or_insert_with(|| blank.clone()), chunk);
                    }
                }
                true
            }
            _ => false,
        }
    }

    /// The offsets of chunks that may differ from the fill byte, each [`Medium::CHUNK_BYTES`] long
    /// (the last may be cut short by the end).
    pub fn touched(&self) -> Vec<u64> {
        match &self.store {
            Store::Memory { chunks, .. } => chunks
                .iter()
                .map(|(index, _)| index * CHUNK as u64)
                .collect(),
            Store::File { .. } => (0..self.length).step_by(CHUNK).collect(),
        }
    }

    /// The granularity of [`Medium::touched`].
    pub const CHUNK_BYTES: usize = CHUNK;

    fn clip(&self, offset: u64, wanted: usize) -> usize {
        let there = self.length.saturating_sub(offset);
        usize::try_from(there).unwrap_or(usize::MAX).min(wanted)
    }

    /// An independent copy in memory; a file that cannot be read copies as fill bytes.
    fn detached(&self) -> Medium {
        let mut copy = Medium::memory(self.length, self.fill);
        let mut chunk = vec![0; CHUNK];
        for offset in self.touched() {
            let n = self.clip(offset, CHUNK);
            let blank = self.read(offset, &mut chunk[..n]).is_err()
                || chunk[..n].iter().all(|byte| *byte == self.fill);
            if !blank {
                // A write to memory cannot fail.
                let _ = copy.write(offset, &chunk[..n]);
            }
        }
        copy
    }
}

/// Splits `[offset, offset + length)` at chunk boundaries: (chunk index, first byte within it,
/// range within the caller's buffer).
fn for_each_chunk(
    offset: u64,
    length: usize,
    mut visit: impl FnMut(u64, usize, std::ops::Range<usize>),
) {
    let mut done = 0;
    while done < length {
        let at = offset + done as u64;
        let within = usize::try_from(at % CHUNK as u64).unwrap_or(0);
        let n = (CHUNK - within).min(length - done);
        visit(at / CHUNK as u64, within, done..done + n);
        done += n;
    }
}

impl Clone for Medium {
    /// A checkpoint: chunks are shared until written. A medium on file is copied into memory, so
    /// that the clone can never write the file.
    fn clone(&self) -> Self {
        match &self.store {
            Store::Memory { chunks, blank } => Medium {
                length: self.length,
                fill: self.fill,
                store: Store::Memory {
                    chunks: chunks.clone(),
                    blank: blank.clone(),
                },
            },
            Store::File { .. } => self.detached(),
        }
    }
}

impl PartialEq for Medium {
    fn eq(&self, other: &Self) -> bool {
        if self.length != other.length {
            return false;
        }
        let mut offsets = self.touched();
        offsets.extend(other.touched());
        let (mut mine, mut theirs) = ([0; CHUNK], [0; CHUNK]);
        offsets.into_iter().all(|offset| {
            self.read(offset, &mut mine).is_ok()
                && other.read(offset, &mut theirs).is_ok()
                && mine == theirs
        })
    }
}

impl fmt::Debug for Medium {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("Medium");
        out.field("length", &self.length);
        match &self.store {
            Store::Memory { chunks, .. } => out.field("chunks", &chunks.len()),
            Store::File { path, .. } => out.field("path", path),
        };
        out.finish()
    }
}

/// How a medium is written into a checkpoint file: only chunks that were touched.
#[derive(Serialize, Deserialize)]
struct Stored {
    length: u64,
    fill: u8,
    chunks: Vec<(u64, Chunk)>,
}

impl Serialize for Medium {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Medium {
            length,
            fill,
            store,
        } = self.clone();
        let chunks = match store {
            Store::Memory { chunks, .. } => chunks,
            Store::File { .. } => Sparse::default(),
        };
        let chunks = chunks
            .iter()
            .map(|(index, chunk)| (index, chunk.clone()))
            .collect();
        Stored {
            length,
            fill,
            chunks,
        }
        .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Medium {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Stored {
            length,
            fill,
            chunks,
        } = Stored::deserialize(deserializer)?;
        let fits = |index: &u64| {
            index
                .checked_mul(CHUNK as u64)
                .is_some_and(|at| at < length)
        };
        if !chunks.iter().all(|(index, _)| fits(index)) {
            return Err(D::Error::custom("a medium has a chunk outside its length"));
        }
        Ok(Medium {
            length,
            fill,
            store: Store::Memory {
                chunks: chunks.into_iter().collect(),
                blank: Chunk::new([fill; CHUNK]),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(medium: &Medium, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        medium.read(offset, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn a_clone_does_not_see_later_writes() {
        let mut medium = Medium::memory(10_000, 0xff);
        medium.write(4_000, &[1; 200]).unwrap();
        let checkpoint = medium.clone();
        medium.write(4_050, &[2; 100]).unwrap();
        assert_eq!(read(&checkpoint, 4_000, 200), vec![1; 200]);
        assert_eq!(read(&medium, 4_050, 100), vec![2; 100]);
        assert_ne!(medium, checkpoint);
    }

    #[test]
    fn chunks_change_places_over_the_border_of_a_leaf_or_not_at_all() {
        let chunk = |byte| Chunk::new([byte; CHUNK]);
        let mut medium = Medium::memory(520 * CHUNK as u64, 0xff);
        medium.write(511 * CHUNK as u64, &[9; CHUNK]).unwrap();
        let checkpoint = medium.clone();
        let mut chunks = [chunk(1), chunk(2), chunk(3)];
        assert!(medium.swap_chunks(510, chunks.iter_mut()));
        assert_eq!(chunks.each_ref().map(|chunk| chunk[0]), [0xff, 9, 0xff]);
        for (n, byte) in (510..513).zip(1..) {
            assert_eq!(read(&medium, n * CHUNK as u64, CHUNK), [byte; CHUNK]);
        }
        assert_eq!(read(&checkpoint, 511 * CHUNK as u64, CHUNK), [9; CHUNK]);
        assert!(!medium.swap_chunks(518, chunks.iter_mut()));
        assert!(!medium.swap_chunks(u64::MAX, chunks.iter_mut()));
        assert_eq!(read(&medium, 518 * CHUNK as u64, CHUNK), [0xff; CHUNK]);
    }

    #[test]
    fn the_end_is_a_wall() {
        let mut medium = Medium::memory(10, 0);
        medium.write(8, &[7; 8]).unwrap();
        assert_eq!(read(&medium, 6, 6), [0, 0, 7, 7, 0, 0]);
        medium.write(u64::MAX, &[7]).unwrap();
    }

    #[test]
    fn a_file_keeps_what_was_written_and_a_clone_leaves_it_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("disk");
        let mut medium = Medium::file(&path, 8192, 0xff).unwrap();
        medium.write(100, b"kept").unwrap();
        let mut copy = medium.clone();
        copy.write(100, b"gone").unwrap();
        drop(medium);
        assert_eq!(
            read(&Medium::file(&path, 8192, 0xff).unwrap(), 99, 6),
            b"\xffkept\xff"
        );
        assert!(
            Medium::file(&path, 4096, 0xff)
                .unwrap_err()
                .to_string()
                .contains("disk")
        );
    }

    #[test]
    fn stored_and_loaded_is_the_same() {
        let mut medium = Medium::memory(9_000, 0xff);
        medium.write(8_990, b"tail").unwrap();
        let bytes = postcard::to_stdvec(&medium).unwrap();
        assert_eq!(postcard::from_bytes::<Medium>(&bytes).unwrap(), medium);
    }
}
