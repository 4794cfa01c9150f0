//! The SPI controller with a NOR chip (board manual §6, virtio 1.4 §5.21). The queue is the crate's.

use devices::flash::{FlashPart, Geometry, sfdp_parameters};
use devices::virtio::F_VERSION_1;
use virtio_drivers::queue::VirtQueue;

use super::arena::Memory;
use super::contract::{Contract, Request};
use super::hardware::{CHIP_BYTES, FLASH};
use super::host::{Host, Pace, Port};

const OK: u8 = 0;
const PARAM_ERR: u8 = 1;
const HERTZ: u32 = 50_000_000;

/// `struct virtio_spi_transfer_head`: one chip select, one line, words of 8 bits, mode 0.
fn head(hertz: u32, inactive_ns: u32) -> Vec<u8> {
    let mut head = vec![0, 8, 1, 1, 1, 0, 0, 0];
    for word in [0, hertz, 0, 0, 0, inactive_ns] {
        head.extend(u32::to_le_bytes(word));
    }
    head
}

pub(super) fn contract() -> Contract {
    let mut config = vec![1, 1, 0, 0];
    for word in [1 << 7, 0b0101, HERTZ, 1_000_000, 1_000_000, 1_000_000] {
        config.extend(u32::to_le_bytes(word));
    }
    config.extend(4_000_000_000_u32.to_le_bytes());
    let mut readable = head(HERTZ, 0);
    readable.extend([0x9f, 0, 0, 0]);
    Contract {
        unit: FLASH,
        id: 45,
        features: F_VERSION_1,
        queues: &[256],
        config,
        request: Request {
            queue: 0,
            readable,
            writable: 5,
            written: 5,
            answer: vec![0xff, 0xef, 0x40, 0x14, OK],
        },
    }
}

struct Driver<H: Host> {
    port: Port<H>,
    queue: VirtQueue<Memory, 64>,
}

impl<H: Host> Driver<H> {
    fn new() -> Driver<H> {
        let mut port = Port::of(FLASH);
        assert!(port.negotiate(F_VERSION_1));
        let queue = VirtQueue::new(&mut port, 0, false, false).unwrap();
        port.go();
        Driver { port, queue }
    }

    /// One command, and `bytes` of what the chip says after it. The bus is quiet for `quiet_ns` then.
    fn transfer(&mut self, command: &[u8], bytes: usize, quiet_ns: u32) -> Vec<u8> {
        let head = head(HERTZ, quiet_ns);
        let sent = [command, &vec![0; bytes]].concat();
        let (mut received, mut result) = (vec![0; sent.len()], [0xee]);
        let written = self.queue.add_notify_wait_pop(
            &[&head, &sent],
            &mut [&mut received, &mut result],
            &mut self.port,
        );
        assert_eq!(written.unwrap() as usize, sent.len() + 1);
        assert_eq!(result, [OK]);
        received.split_off(command.len())
    }

    /// WREN, and a command that the chip is busy with for `busy_ns`.
    fn change(&mut self, command: &[u8], busy_ns: u32) {
        self.transfer(&[0x06], 0, 0);
        self.transfer(command, 0, busy_ns);
        assert_eq!(self.transfer(&[0x05], 1, 0), [0], "it is done");
    }

    fn read(&mut self, at: u8, bytes: usize) -> Vec<u8> {
        self.transfer(&[0x03, 0, at, 0], bytes, 0)
    }
}

pub(super) fn tells_what_chip_it_has<H: Host>() {
    let mut driver = Driver::<H>::new();
    assert_eq!(driver.transfer(&[0x9f], 3, 0), [0xef, 0x40, 0x14]);
    let part = FlashPart::new(Geometry::of_size(CHIP_BYTES).unwrap());
    let wanted = sfdp_parameters(&part);
    assert!(wanted.starts_with(b"SFDP"));
    let read = driver.transfer(&[0x5a, 0, 0, 0, 0], wanted.len(), 0);
    assert_eq!(read, wanted);
}

pub(super) fn keeps_what_was_programmed<H: Host>() {
    let mut driver = Driver::<H>::new();
    let page: Vec<u8> = (0..=255).collect();
    assert_eq!(driver.read(0x12, 256), [0xff; 256]);
    driver.change(&[&[0x02, 0, 0x12, 0], &page[..]].concat(), 3_000_000);
    assert_eq!(driver.read(0x12, 256), page);
    // Programming only clears bits.
    driver.change(&[0x02, 0, 0x12, 0, 0x0f, 0xf0], 3_000_000);
    assert_eq!(driver.read(0x12, 3), [0, 0, 2]);
    driver.change(&[0x20, 0, 0x10, 0], 400_000_000);
    assert_eq!(driver.read(0x12, 256), [0xff; 256]);
    // Without WREN nothing happens.
    driver.transfer(&[0x02, 0, 0x12, 0, 0], 0, 3_000_000);
    assert_eq!(driver.read(0x12, 1), [0xff]);
}

pub(super) fn answers_param_err<H: Host>() {
    let mut driver = Driver::<H>::new();
    // Chip select, bits a word, cs_change, lines, mode, frequency, a delay.
    let spoils: [(usize, &[u8]); 7] = [
        (0, &[1]),
        (1, &[16]),
        (2, &[2]),
        (3, &[4]),
        (8, &[1]),
        (12, &[0; 4]),
        (28, &[0xff; 4]),
    ];
    for (at, bytes) in spoils {
        let mut head = head(HERTZ, 0);
        head[at..at + bytes.len()].copy_from_slice(bytes);
        let mut result = [0xee];
        let (queue, port) = (&mut driver.queue, &mut driver.port);
        let written = queue.add_notify_wait_pop(&[&head, &[0x9f]], &mut [&mut result], port);
        assert_eq!((written.unwrap(), result), (1, [PARAM_ERR]), "byte {at}");
    }
    assert_eq!(driver.transfer(&[0x9f], 3, 0), [0xef, 0x40, 0x14]);
}

/// At one bit a second a transfer is not over when the device is reset: chip select goes, and the chip never
/// sees the command.
pub(super) fn drops_a_transfer_when_reset<H: Host>() {
    let port = Port::<H>::all(&[FLASH], Pace::Held).remove(0);
    let contract = contract();
    let mut ring = port.drive(&contract).remove(0);
    let mut erase = head(1, 0);
    erase.extend([0xc7; 400]);
    for n in 0..3 {
        let head = ring.put(n, &erase, 1);
        ring.offer(head);
    }
    port.notify_only(0);
    port.host.settle();
    assert_eq!(ring.used(), [], "under way");
    port.host.set_status(port.unit, 0);
    let mut fresh = port.drive(&contract).remove(0);
    // Answered without the bus.
    let head = fresh.put(0, &[0; 32], 1);
    fresh.offer(head);
    port.finish(0, &fresh);
    assert_eq!(fresh.used(), [(0, 1)]);
    assert_eq!(fresh.answer(0, 1), [PARAM_ERR]);
    assert_eq!(ring.used(), [], "forgotten");
}
