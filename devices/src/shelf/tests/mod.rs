//! Tests of the shelf as a whole, and what they share.

mod levels;
mod members;
mod model;
mod power;
mod requests;

use std::collections::BTreeMap;

use super::redundancy;
use super::*;
use crate::block::{self, BlockError, Completion, SECTOR_BYTES};
use crate::event::DeviceEvent;
use crate::medium::Medium;
use crate::power::{Operation, PowerLoss, Shape, mix};
use crate::time::Nanos;
use array::Tally;

/// Chunks of two sectors make rows small enough to see every boundary.
pub(super) const CHUNK_SECTORS: u64 = 2;

pub(super) const ALL: [(Level, usize); 5] = [
    (Level::Zero, 2),
    (Level::One, 2),
    (Level::Five, 3),
    (Level::Five, 4),
    (Level::Six, 5),
];

pub(super) fn settings(level: Level) -> ShelfSettings {
    let region = |name: &str, first_sector, sectors| Region {
        name: name.to_owned(),
        first_sector,
        sectors,
    };
    ShelfSettings {
        level,
        chunk_bytes: 1024,
        cache_bytes: 1 << 20,
        timing: DiskTiming {
            read: Nanos::from_micros(100),
            write: Nanos::from_micros(200),
            byte: Nanos(5),
            cache: Nanos::from_micros(10),
        },
        regions: vec![region("system", 0, 4), region("host", 4, 1000)],
        array_id: 0x1234_5678_9abc_def0,
    }
}

pub(super) fn disk(rows: u64) -> Medium {
    let sectors = geometry::DATA_SECTOR + rows * CHUNK_SECTORS;
    Medium::memory(sectors * STORED_BYTES as u64, 0)
}

/// A request with its data.
#[derive(Clone, Debug)]
pub(super) enum Request {
    Read { sector: u64, sectors: u32 },
    Write { sector: u64, data: Vec<u8> },
    Flush,
}

/// An answer with what was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) ticket: u64,
    pub(super) at: Nanos,
    pub(super) result: Result<Vec<u8>, BlockError>,
}

/// A shelf with time going on.
#[derive(Clone, Debug)]
pub(super) struct Bench {
    /// By ticket, what reads put in their buffers.
    read: BTreeMap<u64, Vec<u8>>,
    pub(super) shelf: Shelf,
    pub(super) now: Nanos,
    pub(super) events: Vec<DeviceEvent>,
}

impl Bench {
    pub(super) fn new(level: Level, members: usize, spares: usize, rows: u64) -> Bench {
        Bench::with(&settings(level), members, spares, rows)
    }

    pub(super) fn with(
        settings: &ShelfSettings,
        members: usize,
        spares: usize,
        rows: u64,
    ) -> Bench {
        let disks = |n| (0..n).map(|_| disk(rows)).collect();
        let shelf = Shelf::create(settings.clone(), disks(members), disks(spares)).unwrap();
        let mut bench = Bench::of(shelf);
        bench.power_on();
        bench
    }

    pub(super) fn of(shelf: Shelf) -> Bench {
        Bench {
            shelf,
            now: Nanos::ZERO,
            events: Vec::new(),
            read: BTreeMap::new(),
        }
    }

    pub(super) fn power_on(&mut self) {
        self.shelf.power_on(self.now, &mut self.events);
    }

    pub(super) fn cut(&mut self, shape: Shape, seed: u64) {
        let now = self.now;
        let loss = PowerLoss { now, shape, seed };
        self.shelf.power_lost(loss, &mut self.events);
    }

    pub(super) fn submit(&mut self, request: &Request) -> u64 {
        self.submit_to(0, request)
    }

    pub(super) fn submit_to(&mut self, port: usize, request: &Request) -> u64 {
        let mut read = Vec::new();
        let mut from;
        let asked = match request {
            Request::Read { sector, sectors } => block::Request::Read {
                sector: *sector,
                sectors: *sectors,
                into: &mut read,
            },
            Request::Write { sector, data } => {
                from = data.as_slice();
                block::Request::Write {
                    sector: *sector,
                    bytes: data.len() as u64,
                    from: &mut from,
                }
            }
            Request::Flush => block::Request::Flush,
        };
        let ticket = self.shelf.submit(self.now, port, asked, &mut self.events);
        self.read.insert(ticket, read);
        ticket
    }

    /// The answers a port has got, with what was read.
    pub(super) fn answers(&mut self, port: usize) -> Vec<Answer> {
        let done = self.shelf.take_completions(self.now, port);
        let answer = |done: Completion| Answer {
            ticket: done.ticket,
            at: done.at,
            result: done.result.map(|()| self.read[&done.ticket].clone()),
        };
        done.into_iter().map(answer).collect()
    }

    /// Goes on to the next thing that happens; false where nothing will.
    pub(super) fn step(&mut self) -> bool {
        let Some(next) = self.shelf.deadline() else {
            return false;
        };
        assert!(next > self.now, "time stands still at {next}");
        self.now = next;
        self.shelf.advance(next, &mut self.events);
        true
    }

    pub(super) fn settle(&mut self) {
        while self.step() {}
    }

    /// The answer to a request, once it is there.
    pub(super) fn ask(&mut self, request: &Request) -> Answer {
        let ticket = self.submit(request);
        loop {
            let mut done = self.answers(0);
            if let Some(done) = done.extract_if(.., |done| done.ticket == ticket).next() {
                return done;
            }
            assert!(self.step(), "no answer");
        }
    }

    pub(super) fn write(&mut self, sector: u64, data: &[u8]) {
        let data = data.to_vec();
        let done = self.ask(&Request::Write { sector, data });
        assert_eq!(done.result, Ok(Vec::new()));
    }

    pub(super) fn flush(&mut self) {
        assert_eq!(self.ask(&Request::Flush).result, Ok(Vec::new()));
    }

    pub(super) fn read(&mut self, sector: u64, sectors: u32) -> Result<Vec<u8>, BlockError> {
        self.ask(&Request::Read { sector, sectors }).result
    }

    pub(super) fn content(&self) -> Option<Vec<u8>> {
        let sectors = usize::try_from(self.shelf.sectors()).unwrap();
        let mut content = vec![0; sectors * SECTOR_BYTES];
        self.shelf.peek(0, &mut content).then_some(content)
    }

    /// The first row whose members do not fit together.
    pub(super) fn inconsistent_row(&self) -> Option<u64> {
        let shelf = &self.shelf;
        let disagrees = |row: &u64| {
            (0..CHUNK_SECTORS).any(|offset| {
                let is = shelf.read_row(*row, offset, &mut Tally::new());
                let mut should = is.clone();
                let known = redundancy::complete(&shelf.geometry, *row, &mut should);
                redundancy::encode(&shelf.geometry, *row, &mut should);
                !known
                    || is
                        .iter()
                        .zip(&should)
                        .any(|(is, should)| is.is_some() && is != should)
            })
        };
        (0..shelf.geometry.rows).find(disagrees)
    }

    pub(super) fn operations(&self) -> Vec<Operation> {
        let operation = |event: &DeviceEvent| match event {
            DeviceEvent::OperationBegan(operation) => Some(*operation),
            _ => None,
        };
        self.events.iter().filter_map(operation).collect()
    }
}

/// Data that is different in every sector and for every `version`.
pub(super) fn pattern(sector: u64, sectors: u64, version: u64) -> Vec<u8> {
    let words = (sector..sector + sectors)
        .flat_map(|sector| (0..64).map(move |word| mix(mix(version, sector), word)));
    words.flat_map(u64::to_le_bytes).collect()
}
