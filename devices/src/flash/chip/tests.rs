use super::*;
use crate::flash::bus::{SpiBus, Transfer};
use crate::flash::commands::opcode::*;
use crate::flash::part::Geometry;
use crate::power::{OperationKind, Shape};

mod power;

const MIB: u64 = 1 << 20;
const PROGRAM: u64 = 700_000;
const SECTOR_ERASE: u64 = 45_000_000;

/// One chip on a bus, with a clock that moves as commands are sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Rig {
    bus: SpiBus,
    now: Nanos,
    events: Vec<DeviceEvent>,
}

impl Rig {
    fn of_size(bytes: u64) -> Rig {
        let part = FlashPart::new(Geometry::of_size(bytes).unwrap());
        let mut bus = SpiBus::new(vec![FlashChip::blank(part)]);
        bus.power_on();
        Rig {
            bus,
            now: Nanos::ZERO,
            events: Vec::new(),
        }
    }

    fn new() -> Rig {
        Rig::of_size(MIB)
    }

    /// Sends `command`, then clocks `answer` bytes out.
    fn send(&mut self, command: &[u8], answer: usize) -> Vec<u8> {
        let mut mosi = command.to_vec();
        mosi.resize(command.len() + answer, 0);
        let mut miso = vec![0; mosi.len()];
        let transfer = Transfer::to_chip(0);
        self.now = self
            .bus
            .transfer(self.now, &transfer, &mosi, &mut miso, &mut self.events)
            .unwrap();
        miso.split_off(command.len())
    }

    fn wait(&mut self, nanos: u64) {
        self.now += Nanos(nanos);
    }

    fn chip(&mut self) -> &mut FlashChip {
        &mut self.bus.chips_mut()[0]
    }

    fn read(&mut self, address: u64, length: usize) -> Vec<u8> {
        let [.., a, b, c, d] = address.to_be_bytes();
        self.send(&[READ_4B, a, b, c, d], length)
    }

    fn write(&mut self, command: u8, address: u64, data: &[u8], busy: u64) {
        let [.., a, b, c] = address.to_be_bytes();
        self.send(&[WREN], 0);
        self.send(&[&[command, a, b, c], data].concat(), 0);
        self.wait(busy);
    }

    fn program(&mut self, address: u64, data: &[u8]) {
        self.write(PP, address, data, PROGRAM);
    }

    fn erase(&mut self, address: u64) {
        self.write(SE, address, &[], SECTOR_ERASE);
    }

    /// Events since the last look.
    fn events(&mut self) -> Vec<DeviceEvent> {
        std::mem::take(&mut self.events)
    }

    fn cut(&mut self, shape: Shape, seed: u64) {
        let now = self.now;
        let loss = PowerLoss { now, shape, seed };
        self.bus.power_lost(loss).unwrap();
        self.bus.power_on();
    }

    fn all(&mut self) -> Vec<u8> {
        let now = self.now;
        let mut bytes = vec![0; usize::try_from(self.chip().medium.len()).unwrap()];
        self.chip().read_back(now, 0, &mut bytes).unwrap();
        bytes
    }
}

enum Step<'a> {
    /// Send these bytes, expect these.
    Do(&'a [u8], &'a [u8]),
    Wait(u64),
}
use Step::{Do, Wait};

fn check(what: &str, rig: &mut Rig, steps: &[Step<'_>]) {
    for (index, step) in steps.iter().enumerate() {
        match step {
            Do(command, wanted) => {
                let found = rig.send(command, wanted.len());
                assert_eq!(&found, wanted, "{what}: step {index} {command:02x?}");
            }
            Wait(nanos) => rig.wait(*nanos),
        }
    }
}

#[test]
fn identity_and_parameters() {
    check(
        "identity and parameters",
        &mut Rig::new(),
        &[
            Do(&[RDID], &[0xef, 0x40, 0x14, 0xef]),
            Do(&[SFDP, 0, 0, 0, 0], b"SFDP\x06\x01"),
            Do(&[SFDP, 0, 0, 0x34, 0], &[0xff, 0xff, 0x7f, 0x00]),
            Do(&[SFDP, 0, 0, 0x87, 0], &[0xff, 0xff, 0xff]),
            Do(&[EN4B], &[]),
            Do(&[SFDP, 0, 0, 1, 0], b"FDP"),
            Do(&[0x00], &[0xff]),
        ],
    );
}

#[test]
fn the_write_enable_latch() {
    check(
        "write enable",
        &mut Rig::new(),
        &[
            Do(&[RDSR], &[0]),
            Do(&[PP, 0, 0, 0, 0x55], &[]),
            Do(&[RDSR], &[0]),
            Do(&[READ, 0, 0, 0], &[0xff]),
            Do(&[SE, 0, 0, 0], &[]),
            Do(&[RDSR], &[0]),
            Do(&[WREN], &[]),
            Do(&[RDSR], &[2]),
            Do(&[WRDI], &[]),
            Do(&[RDSR], &[0]),
            // A program clears the latch when it ends.
            Do(&[WREN], &[]),
            Do(&[PP, 0, 0, 0, 0x55], &[]),
            Do(&[RDSR], &[3]),
            Wait(PROGRAM),
            Do(&[RDSR], &[0]),
            Do(&[READ, 0, 0, 0], &[0x55]),
        ],
    );
}

#[test]
fn a_busy_chip_listens_to_status_and_reset_only() {
    let mut rig = Rig::new();
    rig.chip().preload(0, &[0x11]).unwrap();
    check(
        "busy",
        &mut rig,
        &[
            Do(&[WREN], &[]),
            Do(&[SE, 0, 0x10, 0], &[]),
            Do(&[READ, 0, 0, 0], &[0xff, 0xff]),
            Do(&[RDID], &[0xff]),
            Do(&[WREN], &[]),
            Do(&[PP, 0, 0, 0, 0], &[]),
            Do(&[WRDI], &[]),
            Do(&[RDSR], &[3, 3]),
            Wait(SECTOR_ERASE),
            Do(&[RDSR], &[0]),
            Do(&[READ, 0, 0, 0], &[0x11]),
        ],
    );
}

#[test]
fn a_long_status_read_sees_the_end_of_the_operation() {
    let mut rig = Rig::new();
    rig.program(0, &[0]);
    rig.now = rig.now - Nanos(PROGRAM);
    // 50 MHz: 160 ns a word; the first goes to the opcode.
    let status = rig.send(&[RDSR], 5_000);
    let busy = status.iter().take_while(|byte| **byte == 3).count();
    assert_eq!(busy as u64, (PROGRAM - 160).div_ceil(160));
    assert!(status[busy..].iter().all(|byte| *byte == 0));
}

#[test]
fn programs_wrap_in_their_page_and_only_clear_bits() {
    let mut rig = Rig::new();
    rig.program(0x1fe, &[1, 2, 3, 4]);
    assert_eq!(rig.read(0x1fe, 3), [1, 2, 0xff]);
    assert_eq!(rig.read(0x100, 3), [3, 4, 0xff]);
    let rest = rig.all();
    assert_eq!(rest.iter().filter(|byte| **byte != 0xff).count(), 4);
    rig.events();
    rig.program(0x100, &[0b110]);
    assert_eq!(rig.read(0x100, 1), [0b010]);
    let events = rig.events();
    assert!(
        matches!(&events[..], [DeviceEvent::MediumFault(fault), DeviceEvent::OperationBegan(_)]
            if fault == "programmed-over-data chip=0 address=0x100 length=1"),
        "{events:?}"
    );
}

#[test]
fn erases_by_unit_are_announced_and_counted() {
    let mut rig = Rig::new();
    let check = |rig: &mut Rig, command: &[u8], busy, address, length| {
        rig.chip().preload(0, &[0; 0x30000]).unwrap();
        rig.events();
        rig.send(&[WREN], 0);
        let begins = rig.now + Nanos(160 * command.len() as u64);
        rig.send(command, 0);
        let ends = begins + Nanos(busy);
        let wanted = crate::power::Operation {
            kind: OperationKind::Erase,
            unit: 0,
            address,
            length,
            begins,
            ends,
        };
        assert_eq!(rig.events(), [DeviceEvent::OperationBegan(wanted)]);
        let mut byte = [9];
        rig.chip()
            .read_back(ends - Nanos(1), address, &mut byte)
            .unwrap();
        assert_eq!(byte, [0], "too early");
        rig.now = ends;
        let wanted: Vec<u8> = (0..MIB)
            .map(|at| {
                let erased = (address..address + length).contains(&at) || at >= 0x30000;
                if erased { 0xff } else { 0 }
            })
            .collect();
        assert!(rig.all() == wanted, "{command:02x?}");
    };
    check(
        &mut rig,
        &[SE, 0x01, 0x2f, 0xff],
        SECTOR_ERASE,
        0x12000,
        0x1000,
    );
    check(
        &mut rig,
        &[SE_4B, 0, 0x01, 0x2f, 0xff],
        SECTOR_ERASE,
        0x12000,
        0x1000,
    );
    check(
        &mut rig,
        &[BE, 0x01, 0x23, 0x45],
        150_000_000,
        0x10000,
        0x10000,
    );
    check(
        &mut rig,
        &[BE_4B, 0, 0x02, 0, 0],
        150_000_000,
        0x20000,
        0x10000,
    );
    check(&mut rig, &[CE], 2_000_000_000, 0, MIB);
    let wear: Vec<(u64, u32)> = rig.chip().wear().collect();
    assert_eq!(wear.len(), 256);
    assert_eq!(
        (wear[0x12], wear[0x13], wear[0x20]),
        ((0x12, 4), (0x13, 2), (0x20, 2))
    );
    assert_eq!(wear[0xff], (0xff, 1));
}

#[test]
fn commands_of_the_wrong_length_are_not_executed() {
    let erase = [SE, 0, 0, 0];
    check(
        "lengths",
        &mut Rig::new(),
        &[
            Do(&[WREN, 0], &[]),
            Do(&[RDSR], &[0]),
            Do(&[WREN], &[]),
            Do(&erase[..3], &[]),
            Do(&[SE, 0, 0, 0, 0], &[]),
            Do(&[PP, 0, 0, 0], &[]),
            Do(&[WRSR], &[]),
            Do(&[], &[]),
            Do(&[RDSR], &[2]),
        ],
    );
}

#[test]
fn four_byte_addresses_reach_beyond_16_mib() {
    let mut rig = Rig::of_size(32 * MIB);
    let high = 0x0123_4567;
    rig.chip().preload(high, b"high").unwrap();
    rig.chip().preload(0x23_4567, b"low!").unwrap();
    rig.chip().preload(32 * MIB - 2, b"xy").unwrap();
    check(
        "addresses",
        &mut rig,
        &[
            Do(&[READ, 0x23, 0x45, 0x67], b"low!"),
            Do(&[FAST_READ, 0x23, 0x45, 0x67, 0], b"low!"),
            Do(&[READ_4B, 1, 0x23, 0x45, 0x67], b"high"),
            Do(&[FAST_READ_4B, 1, 0x23, 0x45, 0x67, 0], b"high"),
            Do(&[EN4B], &[]),
            Do(&[READ, 1, 0x23, 0x45, 0x67], b"high"),
            Do(&[FAST_READ, 1, 0x23, 0x45, 0x67, 0], b"high"),
            Do(&[WREN], &[]),
            Do(&[PP, 1, 0, 0, 0, 0x77], &[]),
            Wait(PROGRAM),
            Do(&[EX4B], &[]),
            Do(&[READ, 0x23, 0x45, 0x67], b"low!"),
            Do(&[READ_4B, 1, 0, 0, 0], &[0x77]),
            Do(&[WREN], &[]),
            Do(&[PP_4B, 1, 0, 0, 1, 0x66], &[]),
            Wait(PROGRAM),
            Do(&[READ_4B, 1, 0, 0, 0], &[0x77, 0x66]),
            // Past the end of the chip a read goes on at 0; higher address bits do not exist.
            Do(&[READ_4B, 1, 0xff, 0xff, 0xfe], b"xy\xff"),
            Do(&[READ_4B, 3, 0x23, 0x45, 0x67], b"high"),
        ],
    );
}

#[test]
fn status_register_bits_are_kept_until_power_goes() {
    let mut rig = Rig::new();
    check(
        "protection",
        &mut rig,
        &[
            Do(&[WRSR, 0xff], &[]),
            Do(&[RDSR], &[0]),
            Do(&[WREN], &[]),
            Do(&[WRSR, 0xff], &[]),
            Do(&[RDSR], &[0b0011_1100]),
        ],
    );
    rig.cut(Shape::Done, 0);
    check("after power loss", &mut rig, &[Do(&[RDSR], &[0])]);
}

#[test]
fn reset_needs_its_enable_right_before_it() {
    check(
        "reset",
        &mut Rig::of_size(32 * MIB),
        &[
            Do(&[WREN], &[]),
            Do(&[RST], &[]),
            Do(&[RDSR], &[2]),
            Do(&[RSTEN], &[]),
            Do(&[RDSR], &[2]),
            Do(&[RST], &[]),
            Do(&[RDSR], &[2]),
            Do(&[EN4B], &[]),
            Do(&[RSTEN], &[]),
            Do(&[RST], &[]),
            Do(&[RDSR], &[0]),
            // Three address bytes again.
            Do(&[READ, 0, 0, 0], &[0xff]),
        ],
    );
}

#[test]
fn reset_while_busy_tears_the_operation() {
    let mut rig = Rig::new();
    rig.program(0, &[0; 256]);
    rig.write(SE, 0, &[], 1_000);
    rig.send(&[RSTEN], 0);
    rig.send(&[RST], 0);
    assert_eq!(rig.send(&[RDSR], 1), [0]);
    let bytes = rig.all();
    assert!(bytes[..256].iter().any(|byte| *byte != 0xff));
    assert!(bytes[..256].iter().any(|byte| *byte != 0));
    assert!(rig.chip().unstable_bytes() > 0);
}

#[test]
fn faults_show_and_can_be_cleared() {
    let mut rig = Rig::new();
    rig.chip().preload(0x10, &[0xf0; 4]).unwrap();
    let stuck = Fault::StuckBit {
        address: 0x11,
        bit: 0,
        value: true,
    };
    rig.chip().inject(stuck).unwrap();
    let rot = Fault::BitRot {
        address: 0x12,
        bit: 7,
    };
    rig.chip().inject(rot).unwrap();
    assert_eq!(rig.read(0x10, 4), [0xf0, 0xf1, 0x70, 0xf0]);
    let fault = "stuck-bits-read chip=0 command-address=0x10".to_owned();
    assert_eq!(rig.events(), [DeviceEvent::MediumFault(fault)]);
    rig.program(0x11, &[0]);
    assert_eq!(rig.read(0x10, 4), [0xf0, 0x01, 0x70, 0xf0]);
    rig.chip().inject(Fault::Dead).unwrap();
    rig.events();
    assert_eq!(rig.read(0x10, 2), [0xff, 0xff]);
    assert_eq!(rig.send(&[RDID], 3), [0xff; 3]);
    rig.erase(0);
    let dead = "dead-chip-addressed chip=0".to_owned();
    assert_eq!(rig.events(), [DeviceEvent::MediumFault(dead)]);
    rig.chip().clear_faults();
    assert_eq!(rig.read(0x10, 4), [0xf0, 0x00, 0x70, 0xf0]);
}

#[test]
fn a_chip_without_power_says_nothing() {
    let mut rig = Rig::new();
    rig.chip().powered = false;
    assert_eq!(rig.send(&[RDID], 3), [0xff; 3]);
}
