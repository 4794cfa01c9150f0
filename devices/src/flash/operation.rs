//! Programs and erases: what they will do to the medium, and doing it.

use serde::{Deserialize, Serialize};

use super::chip::{ChipIo, FlashChip};
use super::power_loss::{torn_erase, torn_program};
use crate::event::DeviceEvent;
use crate::medium::{Medium, MediumError};
use crate::power::{Operation, OperationKind, Shape, mix};
use crate::time::Nanos;

/// The data latch of a program command: a page, and which part of it was sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PageProgram {
    page_address: u64,
    /// Where in the page the first byte goes.
    first: u32,
    /// Bytes sent, at most a page.
    count: u32,
    /// The whole page; bytes not sent are 0xff and so change nothing.
    latch: Vec<u8>,
}

impl PageProgram {
    pub(super) fn new(page_address: u64, first: u32, page_bytes: u32) -> PageProgram {
        PageProgram {
            page_address,
            first,
            count: 0,
            latch: vec![0xff; usize::try_from(page_bytes).unwrap_or(0)],
        }
    }

    /// Takes data bytes; past the end of the page they go on at its start, over what is there.
    pub(super) fn send(&mut self, bytes: &[u8]) {
        let page = self.latch.len();
        let sent = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        let Some(mut at) = self.end().checked_rem(page) else {
            return;
        };
        // Whatever is sent before the last page-full is overwritten by it.
        let skipped = bytes.len().saturating_sub(page);
        at = (at + skipped) % page;
        let bytes = &bytes[skipped..];
        let (head, tail) = bytes.split_at(bytes.len().min(page - at));
        self.latch[at..at + head.len()].copy_from_slice(head);
        self.latch[..tail.len()].copy_from_slice(tail);
        let whole = self.first.saturating_add(self.count).saturating_add(sent);
        let most = u32::try_from(page).unwrap_or(u32::MAX);
        if self.count.saturating_add(sent) > most {
            // From now on the oldest bytes are being replaced: what counts as first moves on.
            self.first = whole % most;
            self.count = most;
        } else {
            self.count += sent;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    fn end(&self) -> usize {
        usize::try_from(u64::from(self.first) + u64::from(self.count)).unwrap_or(0)
    }

    /// (index in the page, data) in the order the bytes were sent.
    pub(super) fn sent(&self) -> impl Iterator<Item = (usize, u8)> + '_ {
        let first = usize::try_from(self.first).unwrap_or(0);
        let count = usize::try_from(self.count).unwrap_or(0);
        let indices = (first..first.saturating_add(count))
            .filter_map(|index| index.checked_rem(self.latch.len()));
        indices.filter_map(|index| Some((index, *self.latch.get(index)?)))
    }

    /// Programming only clears bits.
    pub(super) fn apply(&self, page: &mut [u8]) {
        for (byte, data) in page.iter_mut().zip(&self.latch) {
            *byte &= data;
        }
    }

    /// Whether a byte that is to carry data (0xff carries none) needs a one where a zero is.
    fn needs_erase(&self, page: &[u8]) -> bool {
        let one_over_zero = |(index, data): (usize, u8)| {
            data != 0xff && page.get(index).is_some_and(|old| data & !old != 0)
        };
        self.sent().any(one_over_zero)
    }

    /// First byte and length as announced: what was sent, or the page where that wraps.
    fn extent(&self) -> (u64, u64) {
        if self.end() <= self.latch.len() {
            let first = self.page_address + u64::from(self.first);
            (first, u64::from(self.count))
        } else {
            (self.page_address, self.latch.len() as u64)
        }
    }
}

/// What an operation will have done once it is over.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Effect {
    Program(PageProgram),
    Erase { address: u64, length: u64 },
}

/// An operation the chip is busy with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct InProgress {
    pub(super) effect: Effect,
    pub(super) begins: Nanos,
    pub(super) ends: Nanos,
}

impl FlashChip {
    /// Begins a program or an erase at `begins` and announces it.
    pub(super) fn begin(
        &mut self,
        io: &mut ChipIo<'_>,
        effect: Effect,
        begins: Nanos,
        busy: Nanos,
    ) -> Result<(), MediumError> {
        let (kind, (address, length)) = match &effect {
            Effect::Program(program) => {
                let mut page = vec![0; program.latch.len()];
                self.medium.read(program.page_address, &mut page)?;
                let extent = program.extent();
                if program.needs_erase(&page) {
                    let unit = io.unit;
                    io.events.push(DeviceEvent::MediumFault(format!(
                        "programmed-over-data chip={unit} address={:#x} length={}",
                        extent.0, extent.1
                    )));
                }
                (OperationKind::Program, extent)
            }
            Effect::Erase { address, length } => (OperationKind::Erase, (*address, *length)),
        };
        let ends = begins + busy;
        io.events.push(DeviceEvent::OperationBegan(Operation {
            kind,
            unit: io.unit,
            address,
            length,
            begins,
            ends,
        }));
        self.in_progress = Some(InProgress {
            effect,
            begins,
            ends,
        });
        Ok(())
    }

    /// Applies the operation in progress if it is over at `now`.
    ///
    /// # Errors
    /// The host failed to read or write the file behind the medium.
    pub fn settle(&mut self, now: Nanos) -> Result<(), MediumError> {
        if self.in_progress.as_ref().is_some_and(|it| it.ends <= now) {
            self.conclude(Shape::Done, 0)?;
        }
        Ok(())
    }

    /// Ends the operation in progress, if any, in `shape`, whatever the time.
    pub(super) fn conclude(&mut self, shape: Shape, seed: u64) -> Result<(), MediumError> {
        let Some(operation) = self.in_progress.take() else {
            return Ok(());
        };
        self.volatile.write_enabled = false;
        match (operation.effect, shape) {
            (_, Shape::Lost) => Ok(()),
            (Effect::Program(program), shape) => self.end_program(&program, shape, seed),
            (Effect::Erase { address, length }, shape) => {
                self.end_erase(address, length, shape, seed)
            }
        }
    }

    fn end_program(
        &mut self,
        program: &PageProgram,
        shape: Shape,
        seed: u64,
    ) -> Result<(), MediumError> {
        let before = self.stored(program.page_address, program.latch.len())?;
        let mut page = before.clone();
        if shape == Shape::Torn {
            torn_program(&mut page, program, seed);
        } else {
            program.apply(&mut page);
        }
        self.medium.write(program.page_address, &page)?;
        for (index, data) in program.sent() {
            // A cut program only settles the bits it did clear.
            let settles = match (shape, before.get(index), page.get(index)) {
                (Shape::Torn, Some(before), Some(after)) => !(before & !after),
                _ => data,
            };
            self.unstable
                .programmed(program.page_address + index as u64, settles);
        }
        Ok(())
    }

    fn end_erase(
        &mut self,
        address: u64,
        length: u64,
        shape: Shape,
        seed: u64,
    ) -> Result<(), MediumError> {
        let sector_bytes = u64::from(self.part.geometry.sector_bytes());
        let step = usize::try_from(sector_bytes).unwrap_or(usize::MAX);
        self.unstable.settled(address, length);
        if shape == Shape::Torn {
            self.unstable.reseed(mix(seed, address));
        }
        let touched = self.medium.touched();
        for sector in (address..address.saturating_add(length)).step_by(step) {
            if shape == Shape::Torn {
                let mut bytes = self.stored(sector, step)?;
                for (offset, mask) in torn_erase(&mut bytes, sector, seed) {
                    self.unstable.leave(sector + offset, mask);
                }
                self.medium.write(sector, &bytes)?;
            } else if overlaps(&touched, sector, sector_bytes) {
                // Sectors never written stay untouched, so that checkpoints stay small and the
                // erase of a large chip is quick.
                self.medium.write(sector, &vec![0xff; step])?;
            }
            let wear = self.wear.entry(sector / sector_bytes).or_default();
            *wear = wear.saturating_add(1);
        }
        Ok(())
    }

    fn stored(&self, address: u64, length: usize) -> Result<Vec<u8>, MediumError> {
        let mut bytes = vec![0; length];
        self.medium.read(address, &mut bytes)?;
        Ok(bytes)
    }
}

const CHUNK_BYTES: u64 = Medium::CHUNK_BYTES as u64;

/// Whether one of the medium's chunks that start at `chunks` (ascending) lies in
/// `[address, address + length)`, in whole or in part.
fn overlaps(chunks: &[u64], address: u64, length: u64) -> bool {
    let ends_before = |chunk: &u64| chunk + CHUNK_BYTES <= address;
    let first = chunks.partition_point(ends_before);
    chunks
        .get(first)
        .is_some_and(|chunk| *chunk < address + length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_latch_wraps_within_its_page_and_keeps_the_last_page_full() {
        let check = |first, pieces: &[&[u8]], latch: &[u8], order: &[usize]| {
            let mut program = PageProgram::new(0x40, first, 4);
            for piece in pieces {
                program.send(piece);
            }
            assert_eq!(program.latch, latch, "{first} {pieces:?}");
            let sent: Vec<usize> = program.sent().map(|(index, _)| index).collect();
            assert_eq!(sent, order, "{first} {pieces:?}");
        };
        check(0, &[&[1, 2]], &[1, 2, 0xff, 0xff], &[0, 1]);
        check(3, &[&[1, 2]], &[2, 0xff, 0xff, 1], &[3, 0]);
        check(3, &[&[1], &[2]], &[2, 0xff, 0xff, 1], &[3, 0]);
        check(1, &[&[1, 2, 3, 4]], &[4, 1, 2, 3], &[1, 2, 3, 0]);
        check(1, &[&[1, 2, 3, 4, 5]], &[4, 5, 2, 3], &[2, 3, 0, 1]);
        check(
            1,
            &[&[1, 2, 3], &[4, 5, 6, 7, 8, 9]],
            &[8, 9, 6, 7],
            &[2, 3, 0, 1],
        );
        check(0, &[&[0; 9], &[7; 4]], &[7; 4], &[1, 2, 3, 0]);
    }

    #[test]
    fn data_over_data_needs_an_erase() {
        let check = |old: u8, data: u8, wanted| {
            let mut program = PageProgram::new(0, 1, 4);
            program.send(&[data]);
            assert_eq!(
                program.needs_erase(&[0, old, 0, 0]),
                wanted,
                "{old:02x} {data:02x}"
            );
        };
        check(0xff, 0x12, false);
        check(0x12, 0x12, false);
        check(0x12, 0x10, false);
        check(0x12, 0x13, true);
        check(0x00, 0xff, false);
    }

    #[test]
    fn chunks_in_part_or_whole() {
        let check = |address, length, wanted| {
            let found = overlaps(&[CHUNK_BYTES, 4 * CHUNK_BYTES], address, length);
            assert_eq!(found, wanted, "{address:#x} {length:#x}");
        };
        check(0, CHUNK_BYTES, false);
        check(0, CHUNK_BYTES + 1, true);
        check(CHUNK_BYTES, CHUNK_BYTES, true);
        check(2 * CHUNK_BYTES - 1, 1, true);
        check(2 * CHUNK_BYTES, 2 * CHUNK_BYTES, false);
        check(2 * CHUNK_BYTES, 2 * CHUNK_BYTES + 1, true);
        check(CHUNK_BYTES + 0x800, 0x100, true);
        check(5 * CHUNK_BYTES, 16 * CHUNK_BYTES, false);
    }
}
