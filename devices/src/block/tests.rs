use proptest::prelude::*;

use super::*;
use crate::medium::Medium;
use crate::power::{PowerLoss, Shape};
use crate::service_media::ServiceMedia;
use crate::shelf::{DiskTiming, Level, Shelf, ShelfSettings};
use crate::test_driver::{TestDriver, check_hostile, hostile};
use crate::virtio::VirtioDevice;

/// A core that answers after a microsecond, in memory.
#[derive(Clone, Debug, Default, PartialEq)]
struct Plain {
    bytes: Vec<u8>,
    next_ticket: u64,
    answers: Vec<Completion>,
}

impl Plain {
    fn new() -> Plain {
        Plain {
            bytes: (0..16 * 512)
                .map(|n| u8::try_from(n / 512).unwrap())
                .collect(),
            ..Plain::default()
        }
    }
}

impl BlockCore for Plain {
    fn sectors(&self) -> u64 {
        16
    }

    fn read_only(&self) -> bool {
        false
    }

    fn submit(
        &mut self,
        now: Nanos,
        _: usize,
        request: Request<'_>,
        _: &mut Vec<DeviceEvent>,
    ) -> u64 {
        let at = |sector: u64| usize::try_from(sector).unwrap() * SECTOR_BYTES;
        let result = match request {
            Request::Read {
                sector,
                sectors,
                into,
            } => {
                into.append(&self.bytes[at(sector)..at(sector + u64::from(sectors))]);
                Ok(())
            }
            Request::Write {
                sector,
                bytes,
                from,
            } => {
                let end = at(sector) + usize::try_from(bytes).unwrap();
                from.take(&mut self.bytes[at(sector)..end]);
                Ok(())
            }
            Request::Flush => Err(BlockError::Failed),
        };
        self.next_ticket += 1;
        let ticket = self.next_ticket;
        self.answers.push(Completion {
            ticket,
            at: now + Nanos(1_000),
            result,
        });
        ticket
    }

    fn take_completions(&mut self, now: Nanos, _port: usize) -> Vec<Completion> {
        let (due, rest) = self.answers.drain(..).partition(|answer| answer.at <= now);
        self.answers = rest;
        due
    }

    fn forget(&mut self, _port: usize) {
        self.answers.clear();
    }

    fn deadline(&self, _port: usize) -> Option<Nanos> {
        self.answers.iter().map(|answer| answer.at).min()
    }

    fn identity(&self) -> [u8; 20] {
        *b"plain-core-for-tests"
    }
}

fn header(kind: u32, sector: u64) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &[0; 4], &sector.to_le_bytes()].concat()
}

/// One request, driven to its end: (bytes written as told, writable part).
fn check(core: &mut Plain, readable: &[&[u8]], writable: &[usize]) -> (u32, Vec<u8>) {
    let mut device = BlockVirtio::<Plain>::new(0);
    let mut driver = TestDriver::new(&device);
    driver.features |= F_FLUSH;
    driver.add(0, readable, writable);
    let mut core = core;
    driver.service(&mut device, &mut core);
    if let Some(at) = device.deadline(&core) {
        driver.now = at;
        driver.service(&mut device, &mut core);
    }
    let used = driver.used(0).remove(0);
    (used.written, used.bytes)
}

const F_FLUSH: u64 = 1 << virtio_bindings::virtio_blk::VIRTIO_BLK_F_FLUSH;
const IN: u32 = 0;
const OUT: u32 = 1;
const FLUSH: u32 = 4;
const GET_ID: u32 = 8;

#[test]
fn reads_and_writes_whole_sectors() {
    let mut core = Plain::new();
    let (written, bytes) = check(&mut core, &[&header(IN, 3)], &[1024, 1]);
    assert_eq!(
        (written, bytes[0], bytes[512], bytes[1024]),
        (1025, 3, 4, 0)
    );
    let data = [9; 512];
    assert_eq!(
        check(&mut core, &[&header(OUT, 5), &data], &[1]),
        (1, vec![0])
    );
    assert_eq!(core.bytes[5 * 512..6 * 512], data);
}

#[test]
fn the_status_is_the_last_writable_byte_however_buffers_are_cut() {
    let mut core = Plain::new();
    let (_, bytes) = check(
        &mut core,
        &[&header(IN, 3)[..7], &header(IN, 3)[7..]],
        &[100, 412, 1],
    );
    assert_eq!((bytes[511], bytes[512]), (3, 0));
    let (_, bytes) = check(&mut core, &[&header(IN, 3)], &[513]);
    assert_eq!((bytes[511], bytes[512]), (3, 0));
}

#[test]
fn impossible_requests_get_a_status() {
    let mut core = Plain::new();
    let mut status = |readable: &[&[u8]], writable: &[usize]| {
        *check(&mut core, readable, writable).1.last().unwrap()
    };
    assert_eq!(status(&[&header(IN, 16)], &[512, 1]), 1, "past the end");
    assert_eq!(status(&[&header(IN, u64::MAX)], &[512, 1]), 1, "overflow");
    assert_eq!(status(&[&header(IN, 0)], &[100, 1]), 1, "part of a sector");
    assert_eq!(status(&[&header(IN, 0)], &[1]), 1, "no data at all");
    assert_eq!(
        status(&[&header(OUT, 0), &[0; 100]], &[1]),
        1,
        "part of a sector"
    );
    assert_eq!(status(&[&header(FLUSH, 0)], &[1]), 1, "the core failed it");
    assert_eq!(status(&[&header(77, 0)], &[1]), 2, "unknown");
    assert_eq!(
        status(&[&header(IN, 0)[..8]], &[512, 1]),
        1,
        "header cut short"
    );
    assert_eq!(
        check(&mut core, &[&header(GET_ID, 0)], &[20, 1]).1,
        b"plain-core-for-tests\0"
    );
}

#[test]
fn a_request_without_a_status_byte_needs_a_reset_and_comes_back() {
    let (mut device, mut core) = (BlockVirtio::<Plain>::new(0), Plain::new());
    let mut driver = TestDriver::new(&device);
    driver.add(0, &[&header(OUT, 0), &[0; 512]], &[]);
    driver.service(&mut device, &mut &mut core);
    assert!(driver.needs_reset);
    assert_eq!(driver.used(0).len(), 1);
}

#[test]
fn buffers_that_lie_on_each_other_do_not_add_up() {
    let (mut device, mut core) = (BlockVirtio::<ServiceMedia>::new(0), ServiceMedia::default());
    core.insert("x", vec![1; 8 << 20].into());
    let mut driver = TestDriver::new(&device);
    // Eight megabytes in one of guest memory.
    let room = driver.allocate(1 << 20);
    let (piece, status) = ((room, 1 << 20, true), (room, 1, true));
    for _ in 0..12 {
        let request = driver.allocate(16);
        let mut parts = vec![(request, 16, false)];
        parts.extend([piece; 7]);
        parts.push(status);
        driver.offer(0, &parts);
    }
    driver.service(&mut device, &mut &mut core);
    assert_eq!(device.in_flight(0), 3, "the rest waits on the ring");
    while let Some(at) = device.deadline(&&mut core) {
        driver.now = at;
        driver.service(&mut device, &mut &mut core);
        assert!(device.in_flight(0) <= 3);
    }
    assert_eq!(driver.used(0).len(), 12);
}

/// What sector 5 of a shelf with a volatile cache holds after a write was answered and the power went.
fn written_to_shelf(features: u64) -> [u8; 512] {
    let disks = (0..3).map(|_| Medium::memory(160 * 520, 0)).collect();
    let mut shelf = Shelf::create(settings(), disks, Vec::new()).unwrap();
    shelf.power_on(Nanos::ZERO, &mut Vec::new());
    let mut device = BlockVirtio::<Shelf>::new(0);
    let mut driver = TestDriver::new(&device);
    driver.features |= features;
    driver.add(0, &[&header(OUT, 5), &[9; 512]], &[1]);
    let mut answers = Vec::new();
    while answers.is_empty() {
        let mut core = &mut shelf;
        driver.service(&mut device, &mut core);
        driver.now = device.deadline(&core).unwrap_or(driver.now);
        shelf.advance(driver.now, &mut driver.events);
        answers = driver.used(0);
    }
    assert_eq!(
        (answers[0].bytes.as_slice(), device.in_flight(0)),
        (&[0][..], 0)
    );
    let loss = PowerLoss {
        now: driver.now,
        shape: Shape::Lost,
        seed: 1,
    };
    shelf.power_lost(loss, &mut Vec::new());
    shelf.power_on(driver.now, &mut Vec::new());
    let mut found = [0; 512];
    assert!(shelf.peek(5, &mut found));
    found
}

#[test]
fn a_write_of_a_driver_that_knows_no_flush_is_durable_when_it_is_answered() {
    assert_eq!(written_to_shelf(0), [9; 512]);
    assert_eq!(written_to_shelf(F_FLUSH), [0; 512], "until it is flushed");
}

#[test]
fn service_media_refuse_writes() {
    let (mut device, mut core) = (BlockVirtio::<ServiceMedia>::new(0), ServiceMedia::default());
    core.insert("x", vec![1; 512].into());
    let mut driver = TestDriver::new(&device);
    driver.add(0, &[&header(OUT, 0), &[0; 512]], &[1]);
    driver.add(0, &[&header(FLUSH, 0)], &[1]);
    driver.service(&mut device, &mut &mut core);
    let statuses: Vec<u8> = driver.used(0).iter().map(|used| used.bytes[0]).collect();
    assert_eq!(statuses, [1, 2]);
}

proptest! {
    #[test]
    fn a_hostile_driver_gets_nowhere(
        plan in hostile(1, contents()),
    ) {
        let mut core = Plain::new();
        check_hostile(&mut BlockVirtio::<Plain>::new(0), &mut &mut core, &plan);
    }

    #[test]
    fn nor_at_a_shelf(plan in hostile(1, contents())) {
        let disks = (0..3).map(|_| Medium::memory(160 * 520, 0)).collect();
        let mut shelf = Shelf::create(settings(), disks, Vec::new()).unwrap();
        shelf.power_on(Nanos::ZERO, &mut Vec::new());
        check_hostile(&mut BlockVirtio::<Shelf>::new(0), &mut &mut shelf, &plan);
    }

    #[test]
    fn nor_at_service_media(plan in hostile(1, contents())) {
        let mut media = ServiceMedia::default();
        media.insert("x", vec![1; 8000].into());
        check_hostile(&mut BlockVirtio::<ServiceMedia>::new(0), &mut &mut media, &plan);
    }
}

#[test]
fn sectors_of_a_shelf_do_not_care_how_buffers_are_cut() {
    let disks = (0..3).map(|_| Medium::memory(200 * 520, 0)).collect();
    let mut shelf = Shelf::create(settings(), disks, Vec::new()).unwrap();
    shelf.power_on(Nanos::ZERO, &mut Vec::new());
    let mut device = BlockVirtio::<Shelf>::new(0);
    let mut driver = TestDriver::new(&device);
    let data: Vec<u8> = (0..27 * 512)
        .map(|n: u32| (n * 7 / 8).to_le_bytes()[0])
        .collect();
    // Whole blocks in one piece and in two, and pieces of sectors.
    let (first, rest) = data.split_at(4096 + 100);
    let (second, third) = rest.split_at(412);
    driver.add(0, &[&header(OUT, 8), first, second, third], &[1]);
    driver.add(0, &[&header(IN, 8)], &[4096 + 100, 412, 18 * 512, 1]);
    let mut answers = Vec::new();
    while answers.len() < 2 {
        let mut core = &mut shelf;
        driver.service(&mut device, &mut core);
        driver.now = device.deadline(&core).unwrap_or(driver.now);
        shelf.advance(driver.now, &mut driver.events);
        answers.extend(driver.used(0));
    }
    answers.sort_by_key(|answer| answer.bytes.len());
    assert_eq!(answers[0].bytes, [0]);
    let read = answers[1].bytes.len() - 1;
    assert_eq!(answers[1].bytes[..read], data[..read]);
}

fn settings() -> ShelfSettings {
    ShelfSettings {
        level: Level::Five,
        chunk_bytes: 1024,
        cache_bytes: 2048,
        timing: DiskTiming {
            read: Nanos(100),
            write: Nanos(200),
            byte: Nanos(5),
            cache: Nanos(10),
        },
        regions: Vec::new(),
        array_id: 1,
    }
}

/// Mostly request headers.
fn contents() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![8 => Just(IN), 8 => Just(OUT), 2 => Just(FLUSH), 1 => any::<u32>()];
    let one = (kind, prop_oneof![8 => 0..16_u64, 1 => any::<u64>()])
        .prop_map(|(kind, sector)| [header(kind, sector), vec![0; 16]].concat());
    proptest::collection::vec(one, 64).prop_map(|headers| headers.concat())
}
