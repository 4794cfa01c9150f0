use proptest::prelude::*;
use virtio_queue::desc::{RawDescriptor, split::Descriptor};
use virtio_queue::mock::MockSplitQueue;
use virtio_queue::{Queue, QueueT};
use vm_memory::{Bytes, GuestAddress};

use super::*;
use crate::flash::chip::FlashChip;
use crate::flash::commands::opcode::*;
use crate::flash::part::{FlashPart, Geometry};
use crate::power::{PowerLoss, Shape};
use crate::virtio::GuestMemory;

const MEMORY: usize = 1 << 20;
const NEXT: u16 = 1;
const WRITE: u16 = 2;
/// Where the used ring is put: the mock would lay it over the second half of the available ring.
const USED: u32 = 0x8000;

fn spi_bus() -> SpiBus {
    let part = FlashPart::new(Geometry::of_size(1 << 20).unwrap());
    let mut bus = SpiBus::new(vec![FlashChip::blank(part.clone()), FlashChip::blank(part)]);
    bus.power_on();
    bus
}

fn memory() -> GuestMemory {
    GuestMemory::from_ranges(&[(GuestAddress(0), MEMORY)]).unwrap()
}

fn head(chip: u8, cs_change: u8, inactive_ns: u32) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    head[..3].copy_from_slice(&[chip, 8, cs_change]);
    head[12..16].copy_from_slice(&50_000_000u32.to_le_bytes());
    head[28..].copy_from_slice(&inactive_ns.to_le_bytes());
    head
}

/// A driver with its guest memory, and the device it drives.
struct Driver {
    memory: GuestMemory,
    queue: Queue,
    device: VirtioSpi,
    bus: SpiBus,
    events: Vec<DeviceEvent>,
    descriptors: u16,
    next_buffer: u64,
    needs_reset: bool,
}

/// Where the parts of a request lie, to look at its answer.
#[derive(Clone, Copy, Debug)]
struct Request {
    receive: (u64, usize),
}

impl Driver {
    fn new() -> Driver {
        let memory = memory();
        let mut queue: Queue = MockSplitQueue::new(&memory, 256).create_queue().unwrap();
        queue.set_used_ring_address(Some(USED), Some(0));
        Driver {
            memory,
            queue,
            device: VirtioSpi::new(),
            bus: spi_bus(),
            events: Vec::new(),
            descriptors: 0,
            next_buffer: 0x10000,
            needs_reset: false,
        }
    }

    fn place(&mut self, bytes: &[u8]) -> u64 {
        let at = self.next_buffer;
        self.memory.write_slice(bytes, GuestAddress(at)).unwrap();
        self.next_buffer += bytes.len() as u64;
        at
    }

    /// Makes a request available: readable pieces, then bytes of room for rx_buf and result.
    fn offer(&mut self, readable: &[&[u8]], room: usize) -> Request {
        let mut pieces: Vec<(u64, usize, u16)> = readable
            .iter()
            .map(|bytes| (self.place(bytes), bytes.len(), 0))
            .collect();
        let receive = self.place(&vec![0xee; room]);
        if room > 0 {
            pieces.push((receive, room, WRITE));
        }
        let first = self.descriptors;
        let last = pieces.len() - 1;
        for (index, (at, length, flags)) in pieces.into_iter().enumerate() {
            let more = if index < last { NEXT } else { 0 };
            let length = u32::try_from(length).unwrap();
            let raw = Descriptor::new(at, length, flags | more, self.descriptors + 1);
            let slot = GuestAddress(16 * u64::from(self.descriptors));
            self.memory
                .write_obj(RawDescriptor::from(raw), slot)
                .unwrap();
            self.descriptors += 1;
        }
        self.make_available(first);
        Request {
            receive: (receive, room.saturating_sub(1)),
        }
    }

    fn make_available(&mut self, head: u16) {
        let index_at = GuestAddress(16 * 256 + 2);
        let index: u16 = self.memory.read_obj(index_at).unwrap();
        let entry = GuestAddress(16 * 256 + 4 + 2 * u64::from(index % 256));
        self.memory.write_obj(head, entry).unwrap();
        self.memory
            .write_obj(index.wrapping_add(1), index_at)
            .unwrap();
    }

    fn write(&mut self, chip: u8, inactive_ns: u32, bytes: &[u8]) -> Request {
        self.offer(&[&head(chip, 1, inactive_ns), bytes], 1)
    }

    fn service(&mut self, now: Nanos) {
        let queues = std::slice::from_mut(&mut self.queue);
        let mut io = DeviceIo::new(now, F_VERSION_1, &self.memory, queues, &mut self.events);
        self.device.service(&mut &mut self.bus, &mut io);
        self.needs_reset |= io.needs_reset;
    }

    fn deadline(&mut self) -> Option<Nanos> {
        self.device.deadline(&&mut self.bus)
    }

    /// Serves until nothing is under way; returns every instant the device woke at.
    fn run(&mut self, start: Nanos) -> Vec<Nanos> {
        self.service(start);
        let mut instants = Vec::new();
        while let Some(now) = self.deadline() {
            instants.push(now);
            self.service(now);
        }
        instants
    }

    fn used(&self) -> Vec<(u32, u32)> {
        let read = |at: u64| -> u32 { self.memory.read_obj(GuestAddress(at)).unwrap() };
        let base = u64::from(USED);
        let index: u16 = self.memory.read_obj(GuestAddress(base + 2)).unwrap();
        (0..u64::from(index))
            .map(|entry| (read(base + 4 + 8 * entry), read(base + 8 + 8 * entry)))
            .collect()
    }

    /// (rx_buf, result)
    fn answer(&self, request: Request) -> (Vec<u8>, u8) {
        let (at, length) = request.receive;
        let mut bytes = vec![0; length + 1];
        self.memory
            .read_slice(&mut bytes, GuestAddress(at))
            .unwrap();
        let result = bytes.pop().unwrap();
        (bytes, result)
    }

    fn read_back(&mut self, chip: usize, now: Nanos, offset: u64, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.bus.chips_mut()[chip]
            .read_back(now, offset, &mut bytes)
            .unwrap();
        bytes
    }
}

#[test]
fn configuration_is_as_the_standard_lays_it_out() {
    let config = VirtioSpi::new().config(&&mut spi_bus());
    let word = |at: usize| u32::from_le_bytes(config[at..at + 4].try_into().unwrap());
    assert_eq!(config.len(), 32);
    assert_eq!(config[..4], [2, 1, 0, 0]);
    assert_eq!((word(4), word(8), word(12)), (1 << 7, 0b0101, 50_000_000));
    assert_eq!(word(28), 4_000_000_000);
}

#[test]
fn full_duplex_half_duplex_and_kept_chip_select() {
    let mut driver = Driver::new();
    driver.bus.chips_mut()[1].preload(0, b"flash").unwrap();
    let identity = driver.offer(&[&head(0, 1, 0), &[RDID, 0, 0, 0]], 4 + 1);
    let command = driver.offer(&[&head(1, 0, 0), &[READ, 0, 0, 0]], 1);
    let data = driver.offer(&[&head(1, 1, 0)], 5 + 1);
    let nothing = driver.offer(&[&head(1, 1, 0)], 1);
    driver.run(Nanos(77));
    assert_eq!(driver.answer(identity), (vec![0xff, 0xef, 0x40, 0x14], 0));
    assert_eq!(driver.answer(command), (vec![], 0));
    assert_eq!(driver.answer(data), (b"flash".to_vec(), 0));
    assert_eq!(driver.answer(nothing), (vec![], 0));
    assert_eq!(driver.used(), [(0, 5), (3, 1), (6, 6), (8, 1)]);
    assert_eq!(driver.events, []);
}

#[test]
fn a_batch_runs_in_true_virtual_time() {
    let mut driver = Driver::new();
    driver.write(0, 0, &[WREN]);
    let program = driver.write(0, 700_000, &[PP, 0, 0, 0, 0x5a]);
    driver.write(0, 0, &[WREN]);
    driver.write(0, 0, &[SE, 0, 0, 0]);
    let read = driver.offer(&[&head(0, 1, 0), &[READ, 0, 0, 0, 0]], 5 + 1);
    let start = 1_000u64;
    driver.service(Nanos(start));
    assert_eq!(driver.device.in_flight(0), 5);
    assert_eq!(driver.used(), []);

    // The program is known as begun when chip select rises, and given back after its delay.
    let begins = Nanos(start + 160 + 5 * 160);
    driver.service(Nanos(start + 160));
    assert_eq!(driver.deadline(), Some(begins));
    driver.service(begins);
    let began = |driver: &Driver| {
        let events = driver.events.iter();
        let began = events.filter_map(|event| match event {
            DeviceEvent::OperationBegan(operation) => Some((operation.begins, operation.ends)),
            _ => None,
        });
        began.collect::<Vec<_>>()
    };
    let ends = begins + Nanos(700_000);
    assert_eq!(began(&driver), [(begins, ends)]);
    assert_eq!(
        (driver.device.in_flight(0), driver.deadline()),
        (4, Some(ends))
    );
    assert_eq!(driver.answer(program).1, 0xee, "not given back yet");
    assert_eq!(driver.read_back(0, begins, 0, 1), [0xff]);

    let instants = driver.run(ends);
    let erase = ends + Nanos(160 + 4 * 160);
    assert_eq!(began(&driver)[1], (erase, erase + Nanos(45_000_000)));
    assert_eq!(driver.answer(program).1, TRANS_OK);
    assert_eq!(instants.last(), Some(&(erase + Nanos(5 * 160))));
    assert_eq!(driver.answer(read).0, [0xff; 5], "busy erasing");
    assert_eq!(driver.device.in_flight(0), 0);
}

#[test]
fn a_late_service_changes_no_times() {
    let batch = |driver: &mut Driver| {
        for page in 0..8 {
            driver.write(0, 0, &[WREN]);
            driver.write(0, 700_000, &[PP, 0, page, 0, page]);
        }
    };
    let (mut prompt, mut late) = (Driver::new(), Driver::new());
    batch(&mut prompt);
    batch(&mut late);
    let end = *prompt.run(Nanos(5)).last().unwrap();
    late.service(Nanos(5));
    late.service(end);
    assert_eq!(prompt.used(), late.used());
    assert_eq!(prompt.events, late.events);
    assert_eq!((prompt.bus, prompt.device), (late.bus, late.device));
}

#[test]
fn a_power_cut_in_a_batch_leaves_the_rest_undone() {
    let mut driver = Driver::new();
    for page in 0..3 {
        driver.write(0, 0, &[WREN]);
        driver.write(0, 700_000, &[PP, 0, page, 0, 0]);
    }
    driver.service(Nanos(0));
    while driver.events.len() < 2 {
        let now = driver.deadline().unwrap();
        driver.service(now);
    }
    let DeviceEvent::OperationBegan(second) = driver.events[1] else {
        panic!("{:?}", driver.events);
    };
    let loss = PowerLoss {
        now: second.begins + Nanos(1),
        shape: Shape::Lost,
        seed: 1,
    };
    driver.bus.power_lost(loss).unwrap();
    driver.device.reset(&mut &mut driver.bus);
    assert_eq!((driver.device.in_flight(0), driver.deadline()), (0, None));
    driver.bus.power_on();
    let found = [0, 0x100, 0x200].map(|at| driver.read_back(0, Nanos::NEVER, at, 1)[0]);
    assert_eq!(found, [0, 0xff, 0xff]);
}

#[test]
fn invalid_requests_get_a_result() {
    let check = |readable: &[&[u8]], room: usize, used: u32, result: Option<u8>| {
        let mut driver = Driver::new();
        let request = driver.offer(readable, room);
        let next = driver.offer(&[&head(0, 1, 0), &[RDSR, 0]], 3);
        driver.run(Nanos(0));
        assert_eq!(driver.used()[0].1, used, "{readable:?} {room}");
        if let Some(result) = result {
            let blank = vec![0xff; room - 1];
            assert_eq!(
                driver.answer(request),
                (blank, result),
                "{readable:?} {room}"
            );
        }
        assert!(matches!(
            &driver.events[..],
            [DeviceEvent::DriverFault { .. }]
        ));
        assert_eq!(driver.answer(next), (vec![0xff, 0], TRANS_OK));
        assert!(!driver.needs_reset);
    };
    let valid = head(0, 1, 0);
    check(&[&valid[..31]], 1, 1, Some(PARAM_ERR));
    check(&[&valid[..31]], 9, 9, Some(PARAM_ERR));
    check(&[&head(2, 1, 0)], 4, 4, Some(PARAM_ERR));
    check(&[&head(0, 7, 0), &[RDID]], 1, 1, Some(PARAM_ERR));
    check(&[&valid, &[RDID, 0]], 4, 4, Some(PARAM_ERR));
    check(&[&valid, &[RDID, 0]], 0, 0, None);
}

#[test]
fn reset_forgets_requests_but_not_the_chips_work() {
    let mut driver = Driver::new();
    driver.write(0, 0, &[WREN]);
    driver.write(0, 0, &[SE, 0, 0, 0]);
    driver.bus.chips_mut()[0].preload(0, &[0]).unwrap();
    driver.run(Nanos(0));
    // Chip select of the other chip stays asserted after its command, and into the next transfer.
    driver.offer(&[&head(1, 0, 0), &[WREN]], 1);
    driver.run(Nanos(10_000));
    driver.write(1, 0, &[0; 9]);
    driver.service(Nanos(20_000));
    driver.device.reset(&mut &mut driver.bus);
    assert_eq!(driver.device, VirtioSpi::new());
    let status = driver.offer(&[&head(1, 1, 0), &[RDSR, 0]], 3);
    driver.run(Nanos(30_000));
    assert_eq!(
        driver.answer(status).0,
        [0xff, 0],
        "chip select did not rise"
    );
    assert_eq!(driver.read_back(0, Nanos::from_millis(44), 0, 1), [0]);
    assert_eq!(driver.read_back(0, Nanos::from_millis(46), 0, 1), [0xff]);
}

#[test]
fn a_checkpoint_between_any_two_instants_goes_on_the_same() {
    let mut driver = Driver::new();
    for page in 0..4 {
        driver.write(page % 2, 0, &[WREN]);
        driver.write(page % 2, 700_000, &[PP, 0, page, 0, page]);
    }
    driver.service(Nanos(0));
    while let Some(now) = driver.deadline() {
        let bytes = postcard::to_stdvec(&(&driver.device, &driver.bus)).unwrap();
        let (device, bus): (VirtioSpi, SpiBus) = postcard::from_bytes(&bytes).unwrap();
        assert_eq!((&device, &bus), (&driver.device, &driver.bus));
        (driver.device, driver.bus) = (device, bus);
        driver.service(now);
    }
    let found: Vec<u8> = (0..4)
        .map(|page| driver.read_back(page % 2, Nanos::NEVER, page as u64 * 256, 1)[0])
        .collect();
    assert_eq!(found, [0, 1, 2, 3]);
}

/// One descriptor of a hostile table.
fn descriptor() -> impl Strategy<Value = (u64, u32, u16, u16)> {
    let address = prop_oneof![
        8 => 0x10000u64..0x20000,
        1 => any::<u64>(),
        1 => (MEMORY as u64 - 64)..(MEMORY as u64 + 64),
    ];
    let length = prop_oneof![8 => 0u32..64, 2 => Just(32u32), 1 => any::<u32>()];
    let flags = prop_oneof![8 => 0u16..4, 1 => any::<u16>()];
    let next = prop_oneof![8 => 0u16..16, 1 => any::<u16>()];
    (address, length, flags, next)
}

#[derive(Clone, Debug)]
enum Move {
    Offer(u16),
    Service(u64),
    Deadline,
    Reset,
    AvailableIndex(u16),
    QueueReset,
}

fn hostile_move() -> impl Strategy<Value = Move> {
    prop_oneof![
        8 => (0u16..16).prop_map(Move::Offer),
        1 => any::<u16>().prop_map(Move::Offer),
        4 => (0u64..1_000_000).prop_map(Move::Service),
        4 => Just(Move::Deadline),
        1 => Just(Move::Reset),
        1 => any::<u16>().prop_map(Move::AvailableIndex),
        1 => Just(Move::QueueReset),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever a driver puts on the ring: no panic, and every request that was taken is given
    /// back exactly once, unless the device got a reset or its head does not exist.
    #[test]
    fn a_hostile_driver_is_only_ever_answered(
        table in proptest::collection::vec(descriptor(), 16),
        filler in proptest::collection::vec(any::<u8>(), 256),
        moves in proptest::collection::vec(hostile_move(), 1..40),
    ) {
        let mut driver = Driver::new();
        for page in 0..256u64 {
            // Valid headers all over the buffers, so that some requests reach the chips.
            let at = 0x10000 + 256 * page;
            driver.memory.write_slice(&filler, GuestAddress(at)).unwrap();
            driver.memory.write_slice(&head(0, 1, 9), GuestAddress(at)).unwrap();
        }
        for (slot, (address, length, flags, next)) in (0u64..).zip(table) {
            let raw = RawDescriptor::from(Descriptor::new(address, length, flags, next));
            driver.memory.write_obj(raw, GuestAddress(16 * slot)).unwrap();
        }
        let mut now = Nanos::ZERO;
        let mut lost = 0;
        for step in moves {
            match step {
                Move::Offer(head) => driver.make_available(head),
                Move::Service(later) => {
                    now += Nanos(later);
                    driver.service(now);
                }
                Move::Deadline => {
                    now = driver.deadline().unwrap_or(now).max(now);
                    driver.service(now);
                }
                Move::Reset => {
                    lost += driver.device.in_flight(0);
                    driver.device.reset(&mut &mut driver.bus);
                    prop_assert_eq!(driver.device.in_flight(0), 0);
                }
                Move::AvailableIndex(index) => {
                    let at = GuestAddress(16 * 256 + 2);
                    driver.memory.write_obj(index, at).unwrap();
                }
                Move::QueueReset => driver.queue.set_ready(!driver.queue.ready()),
            }
            prop_assert!(driver.device.in_flight(0) <= 256);
        }
        driver.queue.set_ready(true);
        driver.run(now);
        prop_assert_eq!(driver.device.in_flight(0), 0);
        let nowhere = |event: &&DeviceEvent| {
            matches!(event, DeviceEvent::DriverFault { what, .. } if what.contains("used ring"))
        };
        let nowhere = driver.events.iter().filter(nowhere).count();
        prop_assert!(nowhere == 0 || driver.needs_reset);
        let gone = u16::try_from(lost + nowhere).unwrap();
        let taken = driver.queue.next_avail();
        prop_assert_eq!(driver.queue.next_used(), taken.wrapping_sub(gone));
    }
}
