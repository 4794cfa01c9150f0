use vm_memory::{
    GuestAddress, GuestMemoryBackend, GuestMemoryRegion, MemoryRegionAddress, VolatileSlice,
};

use super::GuestMemory;

/// Goes through the readable part of a chain once.
#[derive(Debug)]
pub struct ChainReader<'a>(pub(super) Cursor<'a>);

/// Goes through the writable part of a chain once.
#[derive(Debug)]
pub struct ChainWriter<'a>(pub(super) Cursor<'a>);

impl<'a> ChainReader<'a> {
    /// Copies out what comes next; returns how many bytes there were.
    pub fn read(&mut self, into: &mut [u8]) -> usize {
        let mut done = 0;
        while let Some(rest) = into.get_mut(done..).filter(|rest| !rest.is_empty()) {
            let Some(piece) = self.0.piece() else {
                break;
            };
            let copied = piece.copy_to(rest);
            self.0.advance(copied);
            done += copied;
        }
        done
    }

    /// The next so many bytes, where they are in one piece; then it goes on behind them.
    pub(crate) fn whole(&mut self, bytes: usize) -> Option<VolatileSlice<'a>> {
        self.0.whole(bytes)
    }
}

impl<'a> ChainWriter<'a> {
    /// Copies in what comes next; returns how many bytes had room.
    pub fn write(&mut self, from: &[u8]) -> usize {
        let mut done = 0;
        while let Some(rest) = from.get(done..).filter(|rest| !rest.is_empty()) {
            let Some(piece) = self.0.piece() else {
                break;
            };
            // As much as has room.
            piece.copy_from(rest);
            let copied = piece.len().min(rest.len());
            self.0.advance(copied);
            done += copied;
        }
        done
    }

    /// The place of the next so many bytes, where it is in one piece; then it goes on behind them.
    pub(crate) fn whole(&mut self, bytes: usize) -> Option<VolatileSlice<'a>> {
        self.0.whole(bytes)
    }
}

/// A place in a scatter list.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    memory: &'a GuestMemory,
    /// Address and length of what comes after the current buffer.
    rest: std::slice::Iter<'a, (u64, u32)>,
    /// What is left of the current buffer: where it is in guest memory, and how much of it.
    address: u64,
    left: u64,
    /// What is left of the piece of it that was looked up last: buffers may go over the border of two
    /// regions of memory.
    piece: Option<VolatileSlice<'a>>,
}

impl<'a> Cursor<'a> {
    /// At byte `offset` of a list whose buffers are all in memory.
    pub(super) fn new(memory: &'a GuestMemory, list: &'a [(u64, u32)], offset: u64) -> Self {
        let mut cursor = Cursor {
            memory,
            rest: list.iter(),
            address: 0,
            left: 0,
            piece: None,
        };
        let mut skip = offset;
        for (address, length) in cursor.rest.by_ref() {
            let length = u64::from(*length);
            if skip < length {
                cursor.address = address + skip;
                cursor.left = length - skip;
                break;
            }
            skip -= length;
        }
        cursor
    }

    /// The next piece, not empty; nothing at the end of the list.
    fn piece(&mut self) -> Option<&VolatileSlice<'a>> {
        if self.piece.is_none() {
            self.piece = self.look_up();
        }
        self.piece.as_ref()
    }

    /// Goes on by so many bytes, at most to the end of the piece.
    fn advance(&mut self, bytes: usize) {
        let rest = self.piece.take().and_then(|piece| piece.offset(bytes).ok());
        self.piece = rest.filter(|rest| !rest.is_empty());
    }

    /// The next so many bytes, where they are in one piece; then it goes on behind them.
    fn whole(&mut self, bytes: usize) -> Option<VolatileSlice<'a>> {
        let whole = self.piece()?.subslice(0, bytes).ok()?;
        self.advance(bytes);
        Some(whole)
    }

    fn look_up(&mut self) -> Option<VolatileSlice<'a>> {
        while self.left == 0 {
            let (address, length) = self.rest.next()?;
            self.address = *address;
            self.left = u64::from(*length);
        }
        let (region, MemoryRegionAddress(at)) =
            self.memory.to_region_addr(GuestAddress(self.address))?;
        let length = self.left.min(region.len() - at);
        let piece = region.get_slice(MemoryRegionAddress(at), usize::try_from(length).ok()?);
        self.address += length;
        self.left -= length;
        piece.ok()
    }
}
