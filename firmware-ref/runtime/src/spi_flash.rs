//! SPI NOR flash as a store: JEDEC commands over the [`SpiController`].

use core::cell::OnceCell;
use core::fmt;

use embedded_storage::nor_flash::{
    ErrorType, MultiwriteNorFlash, NorFlash, NorFlashError, NorFlashErrorKind, ReadNorFlash,
};

use crate::board_control::BoardControl;
use crate::error::DeviceError;
use crate::identity::BankPlace;
use crate::sfdp::{self, Busy, BusyTimes, SFDP_BYTES};
use crate::spi::{Command, Data, SpiController, Transfer};

const READ: u8 = 0x03;
const PAGE_PROGRAM: u8 = 0x02;
const READ_STATUS: u8 = 0x05;
const WRITE_ENABLE: u8 = 0x06;
const SECTOR_ERASE: u8 = 0x20;
const READ_SFDP: u8 = 0x5a;
const READ_ID: u8 = 0x9f;
const BLOCK_ERASE: u8 = 0xd8;

/// RDSR bit 0: write in progress.
const WRITE_IN_PROGRESS: u8 = 1;

const PAGE_BYTES: u32 = 256;
const SECTOR_BYTES: u32 = 4 << 10;
const BLOCK_BYTES: u32 = 64 << 10;
/// What three address bytes reach.
const REACH_BYTES: u32 = 1 << 24;

/// Changes put under one wait: each takes four of the ring's places.
const TOGETHER: usize = 32;
/// Shortest time between two looks at a chip that is busy for longer than it usually is.
const SHORTEST_POLL_NS: u64 = 10_000;

/// Why flash could not be read or changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlashError {
    /// The controller failed.
    Device(DeviceError),
    /// The range is not inside the region.
    OutOfBounds,
    /// An erase does not begin and end at sector boundaries.
    NotAligned,
    /// The chip stays busy.
    Stuck,
}

impl From<DeviceError> for FlashError {
    fn from(error: DeviceError) -> Self {
        FlashError::Device(error)
    }
}

impl fmt::Display for FlashError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FlashError::Device(error) => write!(f, "controller-{error}"),
            FlashError::OutOfBounds => f.write_str("out-of-bounds"),
            FlashError::NotAligned => f.write_str("not-aligned"),
            FlashError::Stuck => f.write_str("stuck"),
        }
    }
}

impl core::error::Error for FlashError {}

impl NorFlashError for FlashError {
    fn kind(&self) -> NorFlashErrorKind {
        match self {
            FlashError::OutOfBounds => NorFlashErrorKind::OutOfBounds,
            FlashError::NotAligned => NorFlashErrorKind::NotAligned,
            FlashError::Device(_) | FlashError::Stuck => NorFlashErrorKind::Other,
        }
    }
}

/// What a chip says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ChipFacts {
    /// RDID: manufacturer, type, capacity. All ones or all zeros: nobody answered.
    pub id: [u8; 3],
    /// Size from the SFDP basic table; `None` where the chip has no valid SFDP.
    pub sfdp_bytes: Option<u32>,
}

impl ChipFacts {
    /// Nobody answered.
    pub const SILENT: ChipFacts = ChipFacts {
        id: [0xff; 3],
        sfdp_bytes: None,
    };

    /// Whether a chip drove the line at all.
    pub fn answers(&self) -> bool {
        self.id != [0; 3] && self.id != [0xff; 3]
    }

    /// Whether a NOR chip answered whose own two accounts of its size agree.
    pub fn is_sound(&self) -> bool {
        let [_, _, capacity] = self.id;
        let of_id = 1u32.checked_shl(capacity.into());
        self.answers() && of_id.is_some() && self.sfdp_bytes == of_id
    }
}

/// Chips that can be probed: what chip selects a board may have.
pub const MOST_CHIPS: usize = 4;

/// Asks the first `chips.len()` chips who they are, in one wait.
///
/// # Errors
/// The controller failed.
pub fn probe(
    controller: &SpiController,
    control: &BoardControl,
    chips: &mut [ChipFacts],
) -> Result<(), DeviceError> {
    let mut answers = [([0; 3], [0; SFDP_BYTES]); MOST_CHIPS];
    controller.run(
        control,
        answers
            .iter_mut()
            .zip(0..)
            .take(chips.len())
            .flat_map(|((id, sfdp), chip)| {
                let read_id = Transfer {
                    chip,
                    command: Command::opcode(READ_ID),
                    data: Data::In(id),
                    busy_ns: 0,
                };
                let read_sfdp = Transfer {
                    chip,
                    command: Command::at_with_dummy(READ_SFDP, 0),
                    data: Data::In(sfdp),
                    busy_ns: 0,
                };
                [read_id, read_sfdp]
            }),
    )?;
    for (facts, (id, sfdp)) in chips.iter_mut().zip(&answers) {
        *facts = ChipFacts {
            id: *id,
            sfdp_bytes: sfdp::chip_bytes(sfdp),
        };
    }
    Ok(())
}

/// Whether anybody drives the line when `chip` is selected. A dead chip reads as an erased one does.
///
/// # Errors
/// The controller failed.
pub fn answers(
    controller: &SpiController,
    control: &BoardControl,
    chip: u8,
) -> Result<bool, DeviceError> {
    let mut id = [0; 3];
    let read_id = Transfer {
        chip,
        command: Command::opcode(READ_ID),
        data: Data::In(&mut id),
        busy_ns: 0,
    };
    controller.run(control, core::iter::once(read_id))?;
    let facts = ChipFacts {
        id,
        ..ChipFacts::SILENT
    };
    Ok(facts.answers())
}

/// Part of a chip and where its bytes go.
#[derive(Debug)]
pub struct Region<'a> {
    /// Chip select.
    pub chip: u8,
    /// First byte in the chip.
    pub address: u32,
    /// Where to.
    pub into: &'a mut [u8],
}

/// Reads several regions, of one chip or of several, in one wait.
///
/// # Errors
/// A region is out of reach, or the controller failed.
pub fn read_regions(
    controller: &SpiController,
    control: &BoardControl,
    regions: &mut [Region<'_>],
) -> Result<(), FlashError> {
    if regions
        .iter()
        .any(|region| !in_bounds(region.address, region.into.len(), REACH_BYTES))
    {
        return Err(FlashError::OutOfBounds);
    }
    controller.run(
        control,
        regions
            .iter_mut()
            .filter(|region| !region.into.is_empty())
            .map(|region| Transfer {
                chip: region.chip,
                command: Command::at(READ, region.address),
                data: Data::In(region.into),
                busy_ns: 0,
            }),
    )?;
    Ok(())
}

/// Whether `offset … offset + length` lies in `size` bytes.
fn in_bounds(offset: u32, length: usize, size: u32) -> bool {
    u32::try_from(length)
        .ok()
        .and_then(|length| offset.checked_add(length))
        .is_some_and(|end| end <= size)
}

/// A region of one chip, such as a bank: reads in one transfer, programs many pages and erases many
/// blocks under one wait.
#[derive(Clone, Debug)]
pub struct Flash<'a> {
    controller: &'a SpiController,
    control: &'a BoardControl,
    chip: u8,
    base: u32,
    size: u32,
    /// How long the chip is busy, as it says itself; asked for before it is first changed.
    times: OnceCell<BusyTimes>,
}

/// A command that changes a chip.
struct Change<'b> {
    command: Command,
    data: Data<'b>,
    busy: Busy,
}

impl<'a> Flash<'a> {
    /// The region that a bank-table entry names.
    pub fn new(
        controller: &'a SpiController,
        control: &'a BoardControl,
        place: BankPlace,
    ) -> Flash<'a> {
        Flash {
            controller,
            control,
            chip: place.chip,
            base: place.offset.min(REACH_BYTES),
            size: place.size.min(REACH_BYTES - place.offset.min(REACH_BYTES)),
            times: OnceCell::new(),
        }
    }

    fn check(&self, offset: u32, length: usize) -> Result<u32, FlashError> {
        if in_bounds(offset, length, self.size) {
            Ok(self.base + offset)
        } else {
            Err(FlashError::OutOfBounds)
        }
    }

    /// How long the chip is busy with what.
    fn times(&self) -> Result<BusyTimes, FlashError> {
        if let Some(times) = self.times.get() {
            return Ok(*times);
        }
        let mut space = [0; SFDP_BYTES];
        let ask = Transfer {
            chip: self.chip,
            command: Command::at_with_dummy(READ_SFDP, 0),
            data: Data::In(&mut space),
            busy_ns: 0,
        };
        self.controller.run(self.control, core::iter::once(ask))?;
        Ok(*self.times.get_or_init(|| sfdp::busy_times(&space)))
    }

    /// Runs commands that change the chip, each preceded by WREN, many of them under one wait: the
    /// controller leaves the chip alone for as long as it is usually busy, then looks whether it is
    /// done.
    ///
    /// A busy chip ignores everything but that look. So where it was found late, it is waited for,
    /// what followed is sent again, and it gets more time from then on. To send a change
    /// twice does no harm: programming only clears bits.
    fn change<'b>(
        &self,
        changes: impl Iterator<Item = Change<'b>> + Clone,
    ) -> Result<(), FlashError> {
        let chip = self.chip;
        let longest_ns = self.controller.longest_busy_ns();
        let mut rest = changes;
        let mut stretch = 1;
        while let Some(next) = rest.clone().next() {
            let patience_ns = |busy: Busy| busy.typical_ns.saturating_mul(stretch);
            // A controller that cannot leave the chip alone for long enough makes this driver look
            // after each command.
            let together = if patience_ns(next.busy) > longest_ns {
                1
            } else {
                TOGETHER
            };
            let mut statuses = [[0]; TOGETHER];
            let batch = rest.clone().take(together).zip(&mut statuses);
            let transfers = batch.flat_map(|(change, status)| {
                let busy_ns = patience_ns(change.busy).min(longest_ns);
                let enable = Transfer {
                    chip,
                    command: Command::opcode(WRITE_ENABLE),
                    data: Data::None,
                    busy_ns: 0,
                };
                let change = Transfer {
                    chip,
                    command: change.command,
                    data: change.data,
                    busy_ns,
                };
                [enable, change, read_status(chip, status)]
            });
            self.controller.run(self.control, transfers)?;
            match statuses.iter().position(|status| is_busy(*status)) {
                None => {
                    let _last = rest.nth(together - 1);
                }
                Some(late) => {
                    let busy = rest.nth(late).map_or(next.busy, |change| change.busy);
                    let given_ns = patience_ns(busy).min(longest_ns);
                    let longer_ns = self.await_idle(given_ns, busy.longest_ns)?;
                    while u64::from(busy.typical_ns) * u64::from(stretch) < longer_ns {
                        stretch *= 2;
                    }
                }
            }
        }
        Ok(())
    }

    /// Looks again, at growing distances, until the chip is done; it began `given_ns` ago and
    /// never takes longer than `longest_ns`. Returns how long it was given in all.
    fn await_idle(&self, given_ns: u32, longest_ns: u64) -> Result<u64, FlashError> {
        let mut given_ns = u64::from(given_ns);
        let mut pause_ns = (given_ns / 4).max(SHORTEST_POLL_NS);
        // At least one look comes after the longest time.
        while given_ns <= longest_ns {
            let then_ns = self.control.now_ns().saturating_add(pause_ns);
            self.control.wait(0, 0, Some(then_ns))?;
            given_ns = given_ns.saturating_add(pause_ns);
            pause_ns = pause_ns.saturating_mul(2);
            let mut status = [0xff];
            let look = core::iter::once(read_status(self.chip, &mut status));
            self.controller.run(self.control, look)?;
            if !is_busy(status) {
                return Ok(given_ns);
            }
        }
        Err(FlashError::Stuck)
    }
}

fn is_busy([status]: [u8; 1]) -> bool {
    status & WRITE_IN_PROGRESS != 0
}

fn read_status(chip: u8, status: &mut [u8; 1]) -> Transfer<'_> {
    Transfer {
        chip,
        command: Command::opcode(READ_STATUS),
        data: Data::In(status),
        busy_ns: 0,
    }
}

/// The page programs that store `bytes` at `address`: a program cannot leave its page, it would
/// wrap to the page's first byte.
fn page_programs(address: u32, bytes: &[u8]) -> impl Iterator<Item = (u32, &[u8])> + Clone {
    let mut at = address;
    let mut rest = bytes;
    core::iter::from_fn(move || {
        let room = usize::try_from(PAGE_BYTES - at % PAGE_BYTES).ok()?;
        let (page, after) = rest.split_at_checked(room).unwrap_or((rest, &[]));
        let here = at;
        at = at.checked_add(u32::try_from(page.len()).ok()?)?;
        rest = after;
        (!page.is_empty()).then_some((here, page))
    })
}

/// The erases that clear `from … to`, both at sector boundaries: whole blocks where possible.
fn erases(from: u32, to: u32) -> impl Iterator<Item = (u8, u32)> + Clone {
    let mut at = from;
    core::iter::from_fn(move || {
        let here = at;
        let left = to.checked_sub(here).filter(|left| *left > 0)?;
        let whole_block = here.is_multiple_of(BLOCK_BYTES) && left >= BLOCK_BYTES;
        let (opcode, bytes) = if whole_block {
            (BLOCK_ERASE, BLOCK_BYTES)
        } else {
            (SECTOR_ERASE, SECTOR_BYTES)
        };
        at = here.checked_add(bytes)?;
        Some((opcode, here))
    })
}

impl ErrorType for Flash<'_> {
    type Error = FlashError;
}

impl ReadNorFlash for Flash<'_> {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), FlashError> {
        let address = self.check(offset, bytes.len())?;
        let region = Region {
            chip: self.chip,
            address,
            into: bytes,
        };
        read_regions(self.controller, self.control, &mut [region])
    }

    fn capacity(&self) -> usize {
        usize::try_from(self.size).unwrap_or(usize::MAX)
    }
}

impl NorFlash for Flash<'_> {
    const WRITE_SIZE: usize = 1;
    const ERASE_SIZE: usize = 4096;

    fn erase(&mut self, from: u32, to: u32) -> Result<(), FlashError> {
        let length = to.checked_sub(from).ok_or(FlashError::OutOfBounds)?;
        let start = self.check(from, usize::try_from(length).unwrap_or(usize::MAX))?;
        if !start.is_multiple_of(SECTOR_BYTES) || !length.is_multiple_of(SECTOR_BYTES) {
            return Err(FlashError::NotAligned);
        }
        let times = self.times()?;
        self.change(
            erases(start, start + length).map(|(opcode, address)| Change {
                command: Command::at(opcode, address),
                data: Data::None,
                busy: if opcode == BLOCK_ERASE {
                    times.block_erase
                } else {
                    times.sector_erase
                },
            }),
        )
    }

    fn write(&mut self, offset: u32, bytes: &[u8]) -> Result<(), FlashError> {
        let start = self.check(offset, bytes.len())?;
        let times = self.times()?;
        self.change(page_programs(start, bytes).map(|(address, page)| Change {
            command: Command::at(PAGE_PROGRAM, address),
            data: Data::Out(page),
            busy: times.page_program,
        }))
    }
}

/// Programming clears bits; clearing more of them later is as good.
impl MultiwriteNorFlash for Flash<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_stay_in_their_pages() {
        let bytes = [7; 600];
        let check = |address, length: usize, wanted: &[(u32, usize)]| {
            let found: Vec<_> = page_programs(address, &bytes[..length])
                .map(|(at, page)| (at, page.len()))
                .collect();
            assert_eq!(found, wanted, "{length} bytes at {address:#x}");
        };
        check(0, 0, &[]);
        check(0, 256, &[(0, 256)]);
        check(0x1ff, 2, &[(0x1ff, 1), (0x200, 1)]);
        check(0x80, 600, &[(0x80, 128), (0x100, 256), (0x200, 216)]);
    }

    #[test]
    fn erases_use_blocks_where_they_fit() {
        let check = |from, to, wanted: &[(u8, u32)]| {
            let found: Vec<_> = erases(from, to).collect();
            assert_eq!(found, wanted, "{from:#x} to {to:#x}");
        };
        check(0, 0, &[]);
        check(0x10000, 0x20000, &[(BLOCK_ERASE, 0x10000)]);
        check(
            0xe000,
            0x21000,
            &[
                (SECTOR_ERASE, 0xe000),
                (SECTOR_ERASE, 0xf000),
                (BLOCK_ERASE, 0x10000),
                (SECTOR_ERASE, 0x20000),
            ],
        );
    }

    #[test]
    fn a_chip_is_sound_when_its_two_accounts_agree() {
        let check = |id, sfdp_bytes, wanted| {
            assert_eq!(ChipFacts { id, sfdp_bytes }.is_sound(), wanted, "{id:x?}");
        };
        check([0xef, 0x40, 20], Some(1 << 20), true);
        check([0xef, 0x40, 21], Some(1 << 20), false);
        check([0xef, 0x40, 20], None, false);
        check([0xff; 3], None, false);
        check([0xef, 0x40, 200], None, false);
    }
}
