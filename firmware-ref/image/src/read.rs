//! Reading an image wherever it lies, a buffer at a time.

use sha2::{Digest, Sha256};

/// The medium could not deliver the bytes: a dead chip, an unreachable array, an address outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unreadable;

/// Bytes that need not be in memory at once: a flash bank, a file, a stretch of an array.
pub trait ReadAt {
    /// How many bytes there are.
    fn length(&self) -> u32;

    /// Fills `out` with the bytes from `offset` on.
    fn read_at(&mut self, offset: u32, out: &mut [u8]) -> Result<(), Unreadable>;
}

impl ReadAt for &[u8] {
    fn length(&self) -> u32 {
        u32::try_from(self.len()).unwrap_or(u32::MAX)
    }

    fn read_at(&mut self, offset: u32, out: &mut [u8]) -> Result<(), Unreadable> {
        let start = usize::try_from(offset).map_err(|_| Unreadable)?;
        let end = start.checked_add(out.len()).ok_or(Unreadable)?;
        out.copy_from_slice(self.get(start..end).ok_or(Unreadable)?);
        Ok(())
    }
}

impl<R: ReadAt> ReadAt for &mut R {
    fn length(&self) -> u32 {
        R::length(self)
    }

    fn read_at(&mut self, offset: u32, out: &mut [u8]) -> Result<(), Unreadable> {
        R::read_at(self, offset, out)
    }
}

/// SHA-256 of `length` bytes from `offset` on, read through `buffer`. An empty buffer can hold
/// nothing and reads nothing: [`Unreadable`].
pub fn digest(
    from: &mut impl ReadAt,
    offset: u32,
    length: u32,
    buffer: &mut [u8],
) -> Result<[u8; 32], Unreadable> {
    let mut hash = Sha256::new();
    let mut done = 0;
    while done < length {
        let room = u32::try_from(buffer.len())
            .unwrap_or(u32::MAX)
            .min(length - done);
        let chunk = buffer
            .get_mut(..room as usize)
            .filter(|chunk| !chunk.is_empty());
        let chunk = chunk.ok_or(Unreadable)?;
        from.read_at(offset.checked_add(done).ok_or(Unreadable)?, chunk)?;
        hash.update(&*chunk);
        done += room;
    }
    Ok(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_does_not_depend_on_the_buffer() {
        let bytes: Vec<u8> = (0..1000u32).map(|n| n.to_le_bytes()[0]).collect();
        let whole: [u8; 32] = Sha256::digest(&bytes[3..]).into();
        for size in [1, 7, 64, 4096] {
            assert_eq!(
                digest(&mut &bytes[..], 3, 997, &mut vec![0; size]),
                Ok(whole)
            );
        }
        assert_eq!(
            digest(&mut &bytes[..], 4, 997, &mut [0; 64]),
            Err(Unreadable)
        );
        assert_eq!(digest(&mut &bytes[..], 0, 1000, &mut []), Err(Unreadable));
        assert_eq!(
            digest(&mut &bytes[..], u32::MAX, 2, &mut [0; 1]),
            Err(Unreadable)
        );
    }
}
