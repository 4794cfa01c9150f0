//! Banks of NOR flash in memory, with what a loss of power does to them.

use std::cell::{Cell, RefCell};

use boot::{Bank, Level};
use embedded_storage::nor_flash::{
    ErrorType, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash, check_erase, check_read,
    check_write,
};

/// Bytes of a bank. Everything is small, so that a case costs microseconds; an L3 image still
/// takes more than one sector.
pub const BANK_SIZE: usize = 4096;
/// Bytes that an erase operation takes.
pub const SECTOR_SIZE: usize = 1024;
/// Bytes that a program operation takes.
pub const PAGE_SIZE: usize = 256;

/// What became of the operation during which power went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Nothing had happened yet.
    Lost,
    /// Part of it, how much and which part being decided by the number.
    Torn(u32),
    /// All of it.
    Done,
}

#[expect(
    clippy::large_enum_variant,
    reason = "nearly all are programs, and boxes cost time"
)]
/// One persistent operation, with all that is needed to do it again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// A sector erase.
    Erase {
        /// Which bank.
        place: (Level, Bank),
        /// First byte.
        offset: usize,
    },
    /// A page program.
    Program {
        /// Which bank.
        place: (Level, Bank),
        /// First byte.
        offset: usize,
        /// The page.
        page: [u8; PAGE_SIZE],
    },
    /// A write to the free stretch of the store. Nobody reads there before it is committed, so
    /// its content does not matter.
    StoreWrite,
    /// The catalogue entry that makes what was written the preferred version. The catalogue itself is
    /// made so that this happens whole or not at all.
    StoreCommit,
}

/// The contents of one bank.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BankState {
    /// What the cells hold.
    pub bytes: [u8; BANK_SIZE],
    /// For each sector, whether an erase of it was cut short: its cleared bits read as they please.
    pub unstable: [bool; BANK_SIZE / SECTOR_SIZE],
    /// The chip does not answer.
    pub dead: bool,
}

impl Default for BankState {
    fn default() -> BankState {
        let unstable = [false; BANK_SIZE / SECTOR_SIZE];
        BankState {
            bytes: [0xff; BANK_SIZE],
            unstable,
            dead: false,
        }
    }
}

impl BankState {
    /// A bank that holds a file from its first byte on.
    pub fn holding(file: &[u8]) -> BankState {
        let mut state = BankState::default();
        state.bytes[..file.len()].copy_from_slice(file);
        state
    }

    /// Does `operation` as far as `shape` says; operations of other places change nothing.
    pub fn apply(&mut self, operation: &Operation, shape: Shape) {
        match (operation, shape) {
            (_, Shape::Lost) | (Operation::StoreWrite | Operation::StoreCommit, _) => {}
            (Operation::Erase { offset, .. }, Shape::Done) => self.erase(*offset),
            (Operation::Erase { offset, .. }, Shape::Torn(seed)) => self.tear_erase(*offset, seed),
            (Operation::Program { offset, page, .. }, Shape::Done) => {
                self.program(*offset, page);
            }
            (Operation::Program { offset, page, .. }, Shape::Torn(seed)) => {
                self.tear_program(*offset, page, seed);
            }
        }
    }

    fn erase(&mut self, offset: usize) {
        self.bytes[offset..offset + SECTOR_SIZE].fill(0xff);
        self.unstable[offset / SECTOR_SIZE] = false;
    }

    /// Programming only clears bits.
    fn program(&mut self, offset: usize, page: &[u8]) {
        for (cell, value) in self.bytes[offset..].iter_mut().zip(page) {
            *cell &= value;
        }
    }

    /// From hardly begun to all but finished: each zero bit has risen with the odds of the seed, and
    /// those that have not are unsure.
    fn tear_erase(&mut self, offset: usize, seed: u32) {
        let noise = |index: usize| mix(u64::from(seed) << 32 | index as u64);
        for (index, cells) in self.bytes[offset..offset + SECTOR_SIZE]
            .chunks_exact_mut(8)
            .enumerate()
        {
            let (one, two) = (noise(2 * index), noise(2 * index + 1));
            let risen = match seed % 4 {
                0 => one & two & one.rotate_left(17) & two.rotate_left(29),
                1 => one & two,
                2 => one | two,
                _ => one | two | one.rotate_left(17) | two.rotate_left(29),
            };
            for (cell, mask) in cells.iter_mut().zip(risen.to_le_bytes()) {
                *cell |= mask;
            }
        }
        self.unstable[offset / SECTOR_SIZE] = true;
    }

    /// A prefix is done, one byte is partly cleared, the rest is as it was.
    fn tear_program(&mut self, offset: usize, page: &[u8; PAGE_SIZE], seed: u32) {
        let noise = mix(u64::from(seed)).to_le_bytes();
        let prefix = usize::from(noise[0]);
        self.program(offset, &page[..prefix]);
        self.bytes[offset + prefix] &= page[prefix] | noise[1];
    }
}

/// The SplitMix64 finaliser: the only source of chance.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// What a bank answers when it cannot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FlashError(pub NorFlashErrorKind);

impl NorFlashError for FlashError {
    fn kind(&self) -> NorFlashErrorKind {
        self.0
    }
}

/// A bank as the boot logic sees it; what it does to it is written to a log.
#[derive(Debug)]
pub struct FlashPort<'a> {
    /// The bank's contents.
    pub state: &'a mut BankState,
    /// Which bank it is.
    pub place: (Level, Bank),
    /// Every operation is noted here.
    pub log: &'a RefCell<Vec<Operation>>,
    /// Counts reads, so that an unstable bit differs from one to the next.
    pub reads: &'a Cell<u64>,
}

impl FlashPort<'_> {
    fn alive(&self) -> Result<(), FlashError> {
        if self.state.dead {
            Err(FlashError(NorFlashErrorKind::Other))
        } else {
            Ok(())
        }
    }

    fn carry_out(&mut self, operation: Operation) {
        self.log.borrow_mut().push(operation);
        self.state.apply(&operation, Shape::Done);
    }
}

impl ErrorType for FlashPort<'_> {
    type Error = FlashError;
}

impl ReadNorFlash for FlashPort<'_> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), FlashError> {
        self.alive()?;
        check_read(self, offset, bytes.len()).map_err(FlashError)?;
        let start = offset as usize;
        bytes.copy_from_slice(&self.state.bytes[start..start + bytes.len()]);
        if self.state.unstable.contains(&true) {
            self.reads.set(self.reads.get() + 1);
            for (at, byte) in (start..).zip(bytes) {
                if self.state.unstable[at / SECTOR_SIZE] {
                    let noise = mix(self.reads.get() << 16 | at as u64).to_le_bytes();
                    *byte |= noise[0] & noise[1];
                }
            }
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        BANK_SIZE
    }
}

impl NorFlash for FlashPort<'_> {
    const WRITE_SIZE: usize = 1;
    const ERASE_SIZE: usize = SECTOR_SIZE;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), FlashError> {
        self.alive()?;
        check_erase(self, from, to).map_err(FlashError)?;
        for offset in (from as usize..to as usize).step_by(SECTOR_SIZE) {
            self.carry_out(Operation::Erase {
                place: self.place,
                offset,
            });
        }
        Ok(())
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        self.alive()?;
        check_write(self, offset, bytes.len()).map_err(FlashError)?;
        let mut offset = offset as usize;
        let mut left = bytes;
        while !left.is_empty() {
            // A program operation wraps within its page, so a driver never crosses one.
            let room = PAGE_SIZE - offset % PAGE_SIZE;
            let (now, later) = left.split_at(room.min(left.len()));
            let mut page = [0xff; PAGE_SIZE];
            page[offset % PAGE_SIZE..][..now.len()].copy_from_slice(now);
            let start = offset - offset % PAGE_SIZE;
            self.carry_out(Operation::Program {
                place: self.place,
                offset: start,
                page,
            });
            offset += now.len();
            left = later;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLACE: (Level, Bank) = (Level::L3, Bank::A);

    fn with_port<T>(state: &mut BankState, work: impl FnOnce(&mut FlashPort<'_>) -> T) -> T {
        let (log, reads) = (RefCell::default(), Cell::default());
        work(&mut FlashPort {
            state,
            place: PLACE,
            log: &log,
            reads: &reads,
        })
    }

    #[test]
    fn programming_only_clears_and_erasing_sets_a_whole_sector() {
        let mut state = BankState::default();
        with_port(&mut state, |port| {
            port.write(250, &[0x0f; 10]).unwrap();
            port.write(250, &[0xf3; 1]).unwrap();
            assert_eq!(port.log.borrow().len(), 3, "the first crossed a page");
        });
        assert_eq!(
            state.bytes[249..261],
            [0xff, 3, 15, 15, 15, 15, 15, 15, 15, 15, 15, 0xff]
        );
        with_port(&mut state, |port| port.erase(0, 1024).unwrap());
        assert_eq!(state, BankState::default());
    }

    #[test]
    fn a_torn_program_is_a_prefix_and_a_torn_erase_reads_unsteadily() {
        let page = [0x55; PAGE_SIZE];
        let program = Operation::Program {
            place: PLACE,
            offset: 256,
            page,
        };
        let erase = Operation::Erase {
            place: PLACE,
            offset: 0,
        };
        for seed in 0..64 {
            let mut state = BankState::default();
            state.apply(&program, Shape::Torn(seed));
            let done = state.bytes[256..512]
                .iter()
                .take_while(|byte| **byte == 0x55)
                .count();
            assert!(
                state.bytes[256 + done + 1..]
                    .iter()
                    .all(|byte| *byte == 0xff)
            );

            let mut state = BankState::holding(&[0; 2048]);
            state.apply(&erase, Shape::Torn(seed));
            assert!(state.bytes[..1024].iter().any(|byte| *byte != 0));
            assert_eq!(state.bytes[1024..2048], [0; 1024]);
            with_port(&mut state, |port| {
                let mut reads = [[0; 64]; 2];
                for bytes in &mut reads {
                    port.read(0, bytes).unwrap();
                }
                assert!(seed % 4 == 3 || reads[0] != reads[1]);
            });
        }
    }

    #[test]
    fn what_is_out_of_bounds_or_dead_is_refused() {
        let mut state = BankState::default();
        with_port(&mut state, |port| {
            assert!(port.read(4095, &mut [0; 2]).is_err());
            assert!(port.write(4095, &[0; 2]).is_err());
            assert!(port.erase(0, 100).is_err());
            port.state.dead = true;
            assert!(port.read(0, &mut [0; 2]).is_err());
            assert!(port.log.borrow().is_empty());
        });
    }
}
