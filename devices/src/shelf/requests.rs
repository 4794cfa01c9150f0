//! What controllers ask of the volume, each through a port of its own.

use serde::{Deserialize, Serialize};

use super::array::{Found, Shelf, Tally};
use super::sector::{BLOCK_SECTORS, Part, STORED_BYTES};
use super::status::Counters;
use crate::block::{BlockCore, BlockError, Completion, Destination, Request, SECTOR_BYTES};
use crate::event::DeviceEvent;
use crate::time::Nanos;

/// What the shelf knows of one controller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Port {
    /// It lost its right to write.
    pub(super) fenced: bool,
    /// Answers it did not take so far.
    pub(super) done: Vec<Completion>,
    /// Per region of the settings.
    pub(super) counters: Vec<Counters>,
}

/// A request that is answered when a round ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Waiter {
    port: usize,
    ticket: u64,
    round: u64,
}

/// Blocks that are found before the first of them is copied.
const GATHERED: usize = 32;

/// When and how a request ends.
enum Outcome {
    At(Nanos, Result<(), BlockError>),
    AfterRound(u64),
}

impl Shelf {
    /// Starts a request of a port; its answer carries the ticket returned here.
    pub fn submit(
        &mut self,
        now: Nanos,
        port: usize,
        request: Request<'_>,
        events: &mut Vec<DeviceEvent>,
    ) -> u64 {
        self.advance(now, events);
        let now = now.max(self.clock);
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        let outcome = if self.powered {
            self.start(now, port, request, events)
        } else {
            Outcome::At(now, Err(BlockError::PoweredOff))
        };
        match outcome {
            Outcome::At(at, result) => self.answer(port, Completion { ticket, at, result }),
            Outcome::AfterRound(round) => self.waiters.push(Waiter {
                port,
                ticket,
                round,
            }),
        }
        self.advance(now, events);
        ticket
    }

    fn start(
        &mut self,
        now: Nanos,
        port: usize,
        request: Request<'_>,
        events: &mut Vec<DeviceEvent>,
    ) -> Outcome {
        let soon = now + self.settings.timing.cache;
        match request {
            Request::Read {
                sector,
                sectors,
                into,
            } => {
                let Some(end) = self.end_of(sector, u64::from(sectors)) else {
                    return Outcome::At(soon, Err(BlockError::OutOfRange));
                };
                self.count(port, sector, end, |counters, bytes| {
                    counters.read_requests += 1;
                    counters.read_bytes += bytes;
                });
                let (at, result) = self.read(now, sector, end, into, events);
                Outcome::At(at.max(soon), result)
            }
            Request::Write {
                sector,
                bytes,
                from,
            } => {
                let sectors = bytes / SECTOR_BYTES as u64;
                let whole = bytes.is_multiple_of(SECTOR_BYTES as u64);
                let Some(end) = self.end_of(sector, sectors).filter(|_| whole) else {
                    return Outcome::At(soon, Err(BlockError::OutOfRange));
                };
                if self.fenced(port) {
                    return Outcome::At(soon, Err(BlockError::Fenced));
                }
                if self.has_failed() {
                    return Outcome::At(soon, Err(BlockError::Failed));
                }
                self.count(port, sector, end, |counters, bytes| {
                    counters.write_requests += 1;
                    counters.write_bytes += bytes;
                });
                self.cache.write(sector, sectors, from);
                if self.cache.bytes() > self.settings.cache_bytes {
                    return self.next_round();
                }
                Outcome::At(soon, Ok(()))
            }
            Request::Flush if self.has_failed() => Outcome::At(soon, Err(BlockError::Failed)),
            Request::Flush if !self.cache.dirty.is_empty() => self.next_round(),
            Request::Flush if self.rounds.running.is_some() => {
                Outcome::AfterRound(self.rounds.begun)
            }
            Request::Flush => Outcome::At(soon, Ok(())),
        }
    }

    fn next_round(&mut self) -> Outcome {
        self.rounds.wanted = true;
        Outcome::AfterRound(self.rounds.next())
    }

    /// Reads sectors up to `end`; when that is done and what it gave.
    fn read(
        &mut self,
        now: Nanos,
        first: u64,
        end: u64,
        into: &mut dyn Destination,
        events: &mut Vec<DeviceEvent>,
    ) -> (Nanos, Result<(), BlockError>) {
        let (mut tally, mut recovered, mut lost) = (Tally::new(), Vec::new(), None);
        let mut good = Vec::new();
        // Of a single block nothing is to be put off, and nothing for it to be made.
        let at_once = end - first <= BLOCK_SECTORS;
        self.read_sectors(first, end, &mut tally, &mut |found| match found {
            Found::Good(stored) if at_once => into.append_sectors(&stored, STORED_BYTES),
            Found::Good(stored) => {
                good.push(stored);
                if good.len() == GATHERED {
                    hand_over(&mut good, into);
                }
            }
            Found::Recovered(sector, stored) => {
                hand_over(&mut good, into);
                into.append(stored.first_data());
                recovered.push((sector, stored));
            }
            Found::Lost(sector) => lost = lost.or(Some(sector)),
        });
        hand_over(&mut good, into);
        for (sector, stored) in recovered {
            let what = format!("bad-sector-recovered sector={sector}");
            events.push(DeviceEvent::MediumFault(what));
            // The next round writes it anew.
            self.cache.dirty.put(sector, &stored);
        }
        let at = self.charge(now, &tally);
        match lost {
            None => (at, Ok(())),
            Some(sector) => {
                let what = format!("sector-unreadable sector={sector}");
                events.push(DeviceEvent::MediumFault(what));
                (at, Err(BlockError::Failed))
            }
        }
    }

    /// The sector after the last one, if all of them exist.
    fn end_of(&self, sector: u64, sectors: u64) -> Option<u64> {
        sector
            .checked_add(sectors)
            .filter(|end| *end <= self.sectors())
    }

    fn count(&mut self, port: usize, first: u64, end: u64, add: impl Fn(&mut Counters, u64)) {
        let regions = &self.settings.regions;
        let counters = &mut self.ports.entry(port).or_default().counters;
        counters.resize(regions.len(), Counters::default());
        for (region, counters) in regions.iter().zip(counters) {
            let region_end = region.first_sector.saturating_add(region.sectors);
            let shared = end
                .min(region_end)
                .saturating_sub(first.max(region.first_sector));
            if shared > 0 {
                add(counters, shared * SECTOR_BYTES as u64);
            }
        }
    }

    fn answer(&mut self, port: usize, completion: Completion) {
        self.ports.entry(port).or_default().done.push(completion);
    }

    /// Answers everybody who waits for rounds up to `round`.
    pub(super) fn answer_waiters(&mut self, at: Nanos, round: u64, result: Result<(), BlockError>) {
        for waiter in std::mem::take(&mut self.waiters) {
            if waiter.round > round {
                self.waiters.push(waiter);
                continue;
            }
            let ticket = waiter.ticket;
            self.answer(waiter.port, Completion { ticket, at, result });
        }
    }

    /// Fails everything that was asked and is not done, in the time the electronics take for it.
    pub(super) fn refuse_unanswered(&mut self) {
        let (now, refused) = (self.clock, Err(BlockError::PoweredOff));
        let at = now + self.settings.timing.cache;
        let ports = self.ports.values_mut();
        for done in ports.flat_map(|port| &mut port.done) {
            if done.at > now {
                (done.at, done.result) = (at, refused);
            }
        }
        self.answer_waiters(at, u64::MAX, refused);
    }

    /// Answers to `port` that were done at or before `now`, in ticket order.
    pub fn take_completions(&mut self, now: Nanos, port: usize) -> Vec<Completion> {
        let Some(port) = self.ports.get_mut(&port) else {
            return Vec::new();
        };
        let mut taken: Vec<Completion> = port.done.extract_if(.., |done| done.at <= now).collect();
        taken.sort_by_key(|done| done.ticket);
        taken
    }

    /// The driver of `port` was reset or lost power: it wants no answers any more. What the
    /// cache accepted from it stays.
    pub fn forget(&mut self, port: usize) {
        if let Some(port) = self.ports.get_mut(&port) {
            port.done.clear();
        }
        self.waiters.retain(|waiter| waiter.port != port);
    }

    /// Takes the right to write from a port.
    pub fn fence(&mut self, port: usize) {
        self.ports.entry(port).or_default().fenced = true;
    }

    /// Gives the right to write back.
    pub fn unfence(&mut self, port: usize) {
        self.ports.entry(port).or_default().fenced = false;
    }

    /// Whether a port lost its right to write.
    pub fn fenced(&self, port: usize) -> bool {
        self.ports.get(&port).is_some_and(|port| port.fenced)
    }
}

/// Gives what was found to who asked.
fn hand_over(good: &mut Vec<Part<'_>>, into: &mut dyn Destination) {
    // Where all of them are is asked before the first is copied: that would have to wait for memory to have
    // taken what is under way to it, each time anew.
    let stored: Vec<&[u8]> = good.iter().map(|part| &**part).collect();
    for stored in stored {
        into.append_sectors(stored, STORED_BYTES);
    }
    good.clear();
}

impl BlockCore for Shelf {
    fn sectors(&self) -> u64 {
        Shelf::sectors(self)
    }

    fn read_only(&self) -> bool {
        false
    }

    fn submit(
        &mut self,
        now: Nanos,
        port: usize,
        request: Request<'_>,
        events: &mut Vec<DeviceEvent>,
    ) -> u64 {
        Shelf::submit(self, now, port, request, events)
    }

    fn take_completions(&mut self, now: Nanos, port: usize) -> Vec<Completion> {
        Shelf::take_completions(self, now, port)
    }

    fn forget(&mut self, port: usize) {
        Shelf::forget(self, port);
    }

    fn deadline(&self, _port: usize) -> Option<Nanos> {
        Shelf::deadline(self)
    }

    /// `arraybench` and the low half of the array's number in hexadecimal.
    fn identity(&self) -> [u8; 20] {
        let mut identity = [0; 20];
        let number = self.settings.array_id & 0xffff_ffff;
        let text = format!("arraybench-{number:08x}");
        for (into, byte) in identity.iter_mut().zip(text.bytes()) {
            *into = byte;
        }
        identity
    }
}
