//! Storing an image in a bank, so that no loss of power can take the last good one.

use embedded_storage::nor_flash::NorFlash;
use image::{
    BODY_OFFSET, Defect, HEADER_SIZE, ImageHeader, ReadAt, Record, Requirements, Version, digest,
};

use crate::bank::BankReader;

/// What is to be stored, and what it must be.
#[derive(Clone, Copy, Debug)]
pub struct Order<'a> {
    /// What an image must be to be run from the target bank.
    pub requirements: &'a Requirements<'a>,
    /// The version announced. An image of another one would be found to differ at every boot.
    pub version: Version,
    /// Count and date for the image once stored.
    pub record: Record,
}

/// The order of erasing.
#[derive(Debug)]
pub enum Strategy<F> {
    /// Erase the target only. The bank that booted is not even reachable.
    Careful,
    /// **Known bad**, for the build `2.0-brick`: erase the booted bank too, before programming. A loss
    /// of power before the new header is written leaves nothing that boots. It exists so that
    /// the sweep can be shown to find it.
    EraseBothFirst {
        /// The bank that booted.
        booted: F,
    },
}

/// What a step has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The source is what was announced and may run here. Nothing has been erased yet.
    SourceChecked,
    /// The target holds no valid image any more.
    HeaderErased,
    /// The rest of the place is erased too.
    Erased,
    /// So many bytes of the body are programmed.
    Programmed {
        /// Bytes done.
        done: u32,
        /// Bytes in all.
        of: u32,
    },
    /// The body reads back as it should.
    BodyChecked,
    /// The header is written and reads back; the bank is valid and the newest.
    Finished,
}

/// Why an image was not stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReflashError {
    /// The source is not to be stored. Nothing was erased.
    Source(Defect),
    /// The buffer is smaller than a page. Nothing was erased.
    Buffer,
    /// The source failed while it was being copied. The target is not valid.
    Copy,
    /// The chip refused to erase. The target is not valid.
    Erase,
    /// The chip refused to program. The target is not valid.
    Program,
    /// The target does not read back as written, and is not valid.
    ReadBack,
}

impl ReflashError {
    /// The word used in traces: `cause=…`.
    pub fn as_str(&self) -> &'static str {
        match self {
            ReflashError::Source(defect) => defect.as_str(),
            ReflashError::Buffer => "buffer",
            ReflashError::Copy => "source-failed",
            ReflashError::Erase => "erase-failed",
            ReflashError::Program => "program-failed",
            ReflashError::ReadBack => "read-back",
        }
    }
}

/// Bytes that one program operation takes.
const PAGE_SIZE: usize = 256;

#[derive(Clone, Copy, Debug)]
enum State {
    CheckSource,
    EraseBooted(ImageHeader),
    EraseHeader(ImageHeader),
    EraseRest(ImageHeader),
    Program(ImageHeader, u32),
    CheckBody(ImageHeader),
    WriteHeader(ImageHeader),
    Finished(ImageHeader),
}

/// An image on its way from a source into a bank, one [`step`](Reflash::step) at a time, so that the
/// caller can show progress and renew its watchdog.
///
/// 1. The source is checked whole: an image that is altered, unsigned where a signature is
///    demanded, of the wrong kind or too large costs nothing.
/// 2. The target's header goes first, so that a half-erased bank is not mistaken for its old image.
/// 3. The body is programmed and read back.
/// 4. The header, one page, is programmed last: until then the bank is not valid.
#[derive(Debug)]
pub struct Reflash<'a, S, F> {
    order: Order<'a>,
    strategy: Strategy<F>,
    source: S,
    target: F,
    buffer: &'a mut [u8],
    state: State,
}

impl<'a, S: ReadAt, F: NorFlash> Reflash<'a, S, F> {
    /// Prepares; touches nothing. `buffer` holds at least a page; whole pages of it are used at a time,
    /// so the larger it is, the longer the writes a driver can batch.
    pub fn new(
        order: Order<'a>,
        strategy: Strategy<F>,
        source: S,
        target: F,
        buffer: &'a mut [u8],
    ) -> Reflash<'a, S, F> {
        const {
            assert!(
                PAGE_SIZE.is_multiple_of(F::WRITE_SIZE),
                "a header is one page"
            );
            assert!(
                F::ERASE_SIZE.is_multiple_of(PAGE_SIZE),
                "a header is within one sector"
            );
        };
        Reflash {
            order,
            strategy,
            source,
            target,
            buffer,
            state: State::CheckSource,
        }
    }

    /// Does all the steps.
    pub fn run(mut self) -> Result<ImageHeader, ReflashError> {
        loop {
            self.step()?;
            if let State::Finished(header) = self.state {
                return Ok(header);
            }
        }
    }

    /// The header as stored, once everything is done.
    pub fn stored(&self) -> Option<&ImageHeader> {
        match &self.state {
            State::Finished(header) => Some(header),
            _ => None,
        }
    }

    /// Does the next step. After an error there is no next step: start anew.
    pub fn step(&mut self) -> Result<Progress, ReflashError> {
        let (next, progress) = match self.state {
            State::CheckSource => {
                let header = self.check_source()?;
                let next = match self.strategy {
                    Strategy::Careful => State::EraseHeader(header),
                    Strategy::EraseBothFirst { .. } => State::EraseBooted(header),
                };
                (next, Progress::SourceChecked)
            }
            State::EraseBooted(header) => {
                if let Strategy::EraseBothFirst { booted } = &mut self.strategy {
                    erase(booted, 0, header.total_length())?;
                }
                (State::EraseHeader(header), Progress::SourceChecked)
            }
            State::EraseHeader(header) => {
                erase(&mut self.target, 0, 1)?;
                (State::EraseRest(header), Progress::HeaderErased)
            }
            State::EraseRest(header) => {
                erase(&mut self.target, F::ERASE_SIZE, header.total_length())?;
                (State::Program(header, 0), Progress::Erased)
            }
            State::Program(header, done) => {
                let done = self.program(&header, done)?;
                let of = header.body_length;
                let next = if done < of {
                    State::Program(header, done)
                } else {
                    State::CheckBody(header)
                };
                (next, Progress::Programmed { done, of })
            }
            State::CheckBody(header) => {
                self.check_body(&header)?;
                (State::WriteHeader(header), Progress::BodyChecked)
            }
            State::WriteHeader(header) => {
                let header = self.write_header(&header)?;
                (State::Finished(header), Progress::Finished)
            }
            State::Finished(_) => (self.state, Progress::Finished),
        };
        self.state = next;
        Ok(progress)
    }

    fn check_source(&mut self) -> Result<ImageHeader, ReflashError> {
        if self.buffer.len() < PAGE_SIZE {
            return Err(ReflashError::Buffer);
        }
        let requirements = self.order.requirements;
        let header = requirements
            .check_file(&mut self.source, self.buffer)
            .map_err(ReflashError::Source)?;
        if header.version != self.order.version {
            return Err(ReflashError::Source(Defect::WrongVersion));
        }
        let capacity = u32::try_from(self.target.capacity()).unwrap_or(u32::MAX);
        if header.total_length() > u64::from(capacity) {
            let length = header.total_length();
            return Err(ReflashError::Source(Defect::Oversized { length, capacity }));
        }
        Ok(header)
    }

    /// Programs the next bufferful of the body; answers how much of it is done then.
    fn program(&mut self, header: &ImageHeader, done: u32) -> Result<u32, ReflashError> {
        let whole_pages = self.buffer.len() / PAGE_SIZE * PAGE_SIZE;
        let left = header.body_length.saturating_sub(done);
        let count = left.min(u32::try_from(whole_pages).unwrap_or(u32::MAX));
        let padded = (count as usize).next_multiple_of(F::WRITE_SIZE);
        // Neither can fail: `count` is within the whole pages of the buffer and of the image.
        let chunk = self.buffer.get_mut(..padded).ok_or(ReflashError::Buffer)?;
        let at = BODY_OFFSET.checked_add(done).ok_or(ReflashError::Program)?;
        // What an erased flash reads, so that the padding costs no wear.
        chunk.fill(0xff);
        let body = chunk
            .get_mut(..count as usize)
            .ok_or(ReflashError::Buffer)?;
        self.source
            .read_at(at, body)
            .map_err(|_| ReflashError::Copy)?;
        self.target
            .write(at, chunk)
            .map_err(|_| ReflashError::Program)?;
        Ok(done.saturating_add(count))
    }

    fn check_body(&mut self, header: &ImageHeader) -> Result<(), ReflashError> {
        let mut target = BankReader(&mut self.target);
        let stored = digest(&mut target, BODY_OFFSET, header.body_length, self.buffer);
        // This also finds a source that gave other bytes than those that were checked.
        if stored == Ok(header.body_digest) {
            Ok(())
        } else {
            Err(ReflashError::ReadBack)
        }
    }

    fn write_header(&mut self, header: &ImageHeader) -> Result<ImageHeader, ReflashError> {
        let header = header.with_record(self.order.record);
        let bytes = header.encode();
        self.target
            .write(0, &bytes)
            .map_err(|_| ReflashError::Program)?;
        let mut stored = [0; HEADER_SIZE];
        BankReader(&mut self.target)
            .read_at(0, &mut stored)
            .map_err(|_| ReflashError::ReadBack)?;
        if stored == bytes {
            Ok(header)
        } else {
            Err(ReflashError::ReadBack)
        }
    }
}

/// Erases the sectors from `from` that hold any of the first `length` bytes.
fn erase<F: NorFlash>(flash: &mut F, from: usize, length: u64) -> Result<(), ReflashError> {
    let end = usize::try_from(length).map_err(|_| ReflashError::Erase)?;
    let end = end.next_multiple_of(F::ERASE_SIZE);
    if end <= from {
        return Ok(());
    }
    let sector = |at: usize| u32::try_from(at).map_err(|_| ReflashError::Erase);
    flash
        .erase(sector(from)?, sector(end)?)
        .map_err(|_| ReflashError::Erase)
}
