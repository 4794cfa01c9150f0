//! A member disk or spare: a medium, one operation at a time, and what it counted.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::geometry::DATA_SECTOR;
use super::pool::Pool;
use super::sector::{self, BLOCK_SECTORS, Part, STORED_BLOCK_BYTES, STORED_BYTES, Stored};
use super::settings::DiskTiming;
use crate::event::DeviceEvent;
use crate::medium::Medium;
use crate::power::{Operation, OperationKind, PowerLoss, Shape, mix};
use crate::time::Nanos;

/// Consecutive sectors, as they are stored, on their way to a member disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Run {
    /// First sector on the member.
    pub(super) sector: u64,
    /// One behind the other.
    pub(super) pieces: Vec<Stored>,
}

impl Run {
    pub(super) fn sectors(&self) -> u64 {
        self.pieces.iter().map(Stored::sectors).sum()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.sectors() * STORED_BYTES as u64
    }
}

/// A write that waits for its drive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Waiting {
    run: Run,
    /// Not before this.
    ready: Nanos,
}

/// The write a drive is busy with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Current {
    run: Run,
    ends: Nanos,
}

/// What a drive has done since it was put in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberCounters {
    /// Accesses that read.
    pub reads: u64,
    /// Bytes read, of data.
    pub read_bytes: u64,
    /// Writes that ended.
    pub writes: u64,
    /// Bytes written, as stored.
    pub write_bytes: u64,
}

/// A member disk or spare.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Drive {
    pub(super) medium: Medium,
    /// Broken: it answers nothing any more.
    pub(super) dead: bool,
    /// Of another array, or out of this one for a while: not to be used until it is replaced.
    pub(super) stale: bool,
    pub(super) counters: MemberCounters,
    waiting: VecDeque<Waiting>,
    current: Option<Current>,
    /// Reads keep it busy until then.
    reading_until: Nanos,
}

impl Drive {
    pub(super) fn new(medium: Medium) -> Drive {
        Drive {
            medium,
            dead: false,
            stale: false,
            counters: MemberCounters::default(),
            waiting: VecDeque::new(),
            current: None,
            reading_until: Nanos::ZERO,
        }
    }

    /// Sectors as they are stored, at most eight; nothing from a dead drive.
    pub(super) fn stored(&self, sector: u64, sectors: u64) -> Option<Part<'_>> {
        if self.dead {
            return None;
        }
        let first = sector % BLOCK_SECTORS;
        if first + sectors <= BLOCK_SECTORS {
            let chunk = self.medium.read_chunk(sector / BLOCK_SECTORS).ok()?;
            return Some(Part::of(chunk, first, sectors));
        }
        let mut bytes = [0; STORED_BLOCK_BYTES];
        let length = usize::try_from(sectors).ok()? * STORED_BYTES;
        let bytes = bytes.get_mut(..length)?;
        let read = self.medium.read(sector::stored_address(sector), bytes);
        read.is_ok().then(|| Stored::from_bytes(bytes))
    }

    /// Puts a run on the medium at once. A medium that cannot be written is a dead drive.
    pub(super) fn put(&mut self, run: &Run) {
        self.exchange(run.clone(), &mut Pool::default());
    }

    /// The same; chunks that are not needed any more go to `pool`.
    fn exchange(&mut self, run: Run, pool: &mut Pool) {
        let Run { mut sector, pieces } = run;
        // What the journal is made of comes from elsewhere, and is best made of what it had before.
        let keep = sector >= DATA_SECTOR;
        let mut pieces = pieces;
        for pieces in pieces.chunk_by_mut(|a, b| a.is_whole_chunk() && b.is_whole_chunk()) {
            let aligned =
                sector.is_multiple_of(BLOCK_SECTORS) && pieces.iter().all(Part::is_whole_chunk);
            let chunks = pieces.iter_mut().map(Part::chunk_mut);
            let swapped =
                aligned && !self.dead && self.medium.swap_chunks(sector / BLOCK_SECTORS, chunks);
            for piece in pieces {
                if !swapped {
                    self.put_bytes(sector, piece);
                }
                sector += piece.sectors();
            }
        }
        if keep {
            pieces
                .into_iter()
                .for_each(|piece| pool.give(piece.into_chunk()));
        }
    }

    /// The same for bytes from the beginning of a sector on.
    fn put_bytes(&mut self, sector: u64, bytes: &[u8]) {
        let address = sector::stored_address(sector);
        if !self.dead && self.medium.write(address, bytes).is_err() {
            self.dead = true;
        }
    }

    /// Queues a write, to begin not before `ready`.
    pub(super) fn write(&mut self, run: Run, ready: Nanos) {
        if !self.dead {
            self.waiting.push_back(Waiting { run, ready });
        }
    }

    /// Accounts for reads: `accesses` of together `bytes`; returns when they are done.
    pub(super) fn read(
        &mut self,
        now: Nanos,
        accesses: u64,
        bytes: u64,
        timing: DiskTiming,
    ) -> Nanos {
        self.counters.reads += accesses;
        self.counters.read_bytes += bytes;
        let busy = self.current.as_ref().map_or(now, |current| current.ends);
        let each = Nanos(timing.read.0.saturating_mul(accesses));
        self.reading_until = now.max(busy).max(self.reading_until) + each + timing.transfer(bytes);
        self.reading_until
    }

    /// Whether no write is in progress or waiting.
    pub(super) fn is_idle(&self) -> bool {
        self.current.is_none() && self.waiting.is_empty()
    }

    /// When it next begins or ends a write.
    pub(super) fn next(&self) -> Option<Nanos> {
        match &self.current {
            Some(current) => Some(current.ends),
            None => Some(self.waiting.front()?.ready.max(self.reading_until)),
        }
    }

    /// Ends and begins what is due at `now`, which is what [`Drive::next`] said.
    pub(super) fn step(
        &mut self,
        unit: usize,
        now: Nanos,
        timing: DiskTiming,
        pool: &mut Pool,
        events: &mut Vec<DeviceEvent>,
    ) {
        if let Some(current) = self.current.take_if(|current| current.ends <= now) {
            self.counters.writes += 1;
            self.counters.write_bytes += current.run.bytes();
            self.exchange(current.run, pool);
        }
        self.begin(unit, now, timing, events);
    }

    /// Begins what is due at `now`.
    pub(super) fn begin(
        &mut self,
        unit: usize,
        now: Nanos,
        timing: DiskTiming,
        events: &mut Vec<DeviceEvent>,
    ) {
        let due = self.current.is_none() && self.next().is_some_and(|next| next <= now);
        if let Some(Waiting { run, .. }) = due.then(|| self.waiting.pop_front()).flatten() {
            let length = run.bytes();
            let ends = now + timing.write + timing.transfer(length);
            events.push(DeviceEvent::OperationBegan(Operation {
                kind: OperationKind::MemberWrite,
                unit: u32::try_from(unit).unwrap_or(u32::MAX),
                address: sector::stored_address(run.sector),
                length,
                begins: now,
                ends,
            }));
            self.current = Some(Current { run, ends });
        }
    }

    /// Gives up what is in progress or waiting.
    pub(super) fn drop_writes(&mut self) {
        self.current = None;
        self.waiting.clear();
    }

    /// What a power loss leaves of the write in progress; those that wait never happen. True
    /// where there was one.
    pub(super) fn power_lost(&mut self, unit: usize, loss: PowerLoss) -> bool {
        self.waiting.clear();
        self.reading_until = Nanos::ZERO;
        let Some(Current { run, .. }) = self.current.take() else {
            return false;
        };
        match loss.shape {
            Shape::Lost => {}
            Shape::Done => self.put(&run),
            Shape::Torn => {
                // A prefix of whole sectors and the first half of the next one.
                let mut whole = mix(loss.seed, unit as u64)
                    .checked_rem(run.sectors())
                    .unwrap_or(0);
                let mut prefix = Run {
                    sector: run.sector,
                    pieces: Vec::new(),
                };
                for piece in &run.pieces {
                    let part = piece.slice(0, whole);
                    whole -= part.sectors();
                    let torn = piece.slice(part.sectors(), 1);
                    prefix.pieces.push(part);
                    if let Some(half) = torn.get(..STORED_BYTES / 2) {
                        let at = prefix.sector + prefix.sectors();
                        self.put(&prefix);
                        self.put_bytes(at, half);
                        break;
                    }
                }
            }
        }
        true
    }
}
