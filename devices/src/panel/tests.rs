use proptest::prelude::*;
use proptest::sample::select;
use vm_memory::{Bytes, GuestAddress};

use super::*;
use crate::test_driver::{TestDriver, Used, check_hostile, hostile};
use crate::virtio::VirtioDevice;

const OK: u32 = 0x1100;
const UNSPECIFIED: u32 = 0x1200;
const OUT_OF_MEMORY: u32 = 0x1201;
const INVALID_SCANOUT: u32 = 0x1202;
const INVALID_RESOURCE: u32 = 0x1203;
const INVALID_PARAMETER: u32 = 0x1205;

/// Where the tests keep pictures in guest memory.
const PICTURE: u32 = 0x10_0000;

struct Bench {
    glass: Framebuffer,
    device: PanelVirtio,
    driver: TestDriver,
}

impl Bench {
    fn new() -> Bench {
        let device = PanelVirtio::default();
        Bench {
            glass: Framebuffer::default(),
            driver: TestDriver::new(&device),
            device,
        }
    }

    fn ask_raw(&mut self, queue: usize, request: &[u8], room: usize) -> Used {
        self.driver.add(queue, &[request], &[room]);
        let mut core = &mut self.glass;
        self.driver.service(&mut self.device, &mut core);
        assert!(!self.driver.needs_reset);
        let mut used = self.driver.used(queue);
        assert_eq!(used.len(), 1);
        used.remove(0)
    }

    /// Asks on the control queue: the type of the response.
    fn ask(&mut self, kind: u32, words: &[u32]) -> u32 {
        let used = self.ask_raw(0, &request(kind, words), 24);
        assert_eq!(used.written, 24);
        word(&used.bytes, 0)
    }

    /// Plays commands: (type, words after the header, type of the response).
    fn play(&mut self, table: &[(u32, &[u32], u32)]) {
        for (n, (kind, words, expected)) in table.iter().enumerate() {
            assert_eq!(
                self.ask(*kind, words),
                *expected,
                "row {n}: {kind:#x} {words:?}"
            );
        }
    }

    fn pixel(&self, x: usize, y: usize) -> [u8; 4] {
        let at = (y * 256 + x) * 4;
        self.glass.pixels()[at..at + 4].try_into().unwrap()
    }

    fn store(&self, at: u32, bytes: &[u8]) {
        let address = GuestAddress(u64::from(at));
        self.driver.memory.write_slice(bytes, address).unwrap();
    }
}

fn request(kind: u32, words: &[u32]) -> Vec<u8> {
    let header = [kind, 0, 0, 0, 0, 0];
    let all = header.iter().chain(words);
    all.flat_map(|word| word.to_le_bytes()).collect()
}

fn word(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

#[test]
fn there_is_one_scanout_of_the_size_of_the_glass() {
    let mut bench = Bench::new();
    let core = &mut bench.glass;
    assert_eq!(
        bench.device.config(&core),
        [0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0]
    );
    let used = bench.ask_raw(0, &request(0x100, &[]), 500);
    assert_eq!(used.written, 408);
    let words = [0, 24, 28, 32, 36, 40, 44, 48].map(|at| word(&used.bytes, at));
    assert_eq!(words, [0x1101, 0, 0, 256, 128, 1, 0, 0]);
}

#[test]
fn a_picture_reaches_the_glass_by_transfer_and_flush() {
    // (format, bytes of a pixel, what is seen)
    let table = [
        (1, [1, 2, 3, 4], [3, 2, 1, 0xff]),
        (2, [1, 2, 3, 4], [3, 2, 1, 0xff]),
        (67, [1, 2, 3, 4], [1, 2, 3, 0xff]),
    ];
    for (format, bytes, seen) in table {
        let mut bench = Bench::new();
        bench.store(PICTURE, &bytes.repeat(256 * 128));
        bench.play(&[
            (0x101, &[5, format, 256, 128], OK),
            (0x106, &[5, 1, PICTURE, 0, 256 * 128 * 4, 0], OK),
            (0x103, &[0, 0, 256, 128, 0, 5], OK),
            (0x105, &[0, 0, 256, 128, 0, 0, 5, 0], OK),
        ]);
        assert_eq!(bench.pixel(0, 0), [0, 0, 0, 0xff]);
        bench.play(&[(0x104, &[10, 20, 100, 50, 5, 0], OK)]);
        let corners = [(9, 20), (10, 19), (110, 69), (109, 70), (10, 20), (109, 69)];
        let black = [0, 0, 0, 0xff];
        let expected = [black, black, black, black, seen, seen];
        assert_eq!(corners.map(|(x, y)| bench.pixel(x, y)), expected);
        assert_eq!(bench.glass.flushes(), 1);
        bench.play(&[(0x103, &[0, 0, 0, 0, 0, 0], OK)]);
        assert_eq!(bench.pixel(10, 20), black);
    }
}

#[test]
fn a_transfer_follows_offset_stride_and_scatter() {
    let mut bench = Bench::new();
    // A resource of 4 x 3 whose backing is scattered in pieces of 20, 0, 4 and 24 bytes; pixel n
    // has the bytes n, n, n, n.
    let pixels: Vec<u8> = (0..12).flat_map(|n| [n; 4]).collect();
    bench.store(PICTURE + 0x100, &pixels[..20]);
    bench.store(PICTURE + 0x200, &pixels[20..24]);
    bench.store(PICTURE, &pixels[24..]);
    #[rustfmt::skip]
    let backing = [
        1, 4,
        PICTURE + 0x100, 0, 20, 0,
        0, 0, 0, 0,
        PICTURE + 0x200, 0, 4, 0,
        PICTURE, 0, 24, 0,
    ];
    bench.play(&[
        (0x101, &[1, 67, 4, 3], OK),
        (0x106, &backing, OK),
        (0x103, &[1, 1, 3, 2, 0, 1], OK),
        // Pixels (1, 1) to (3, 2), which begin at pixel 5.
        (0x105, &[1, 1, 3, 2, 5 * 4, 0, 1, 0], OK),
        (0x104, &[0, 0, 4, 3, 1, 0], OK),
        // One byte beyond the backing, or far beyond.
        (0x105, &[1, 1, 3, 2, 5 * 4 + 1, 0, 1, 0], INVALID_PARAMETER),
        (
            0x105,
            &[0, 0, 1, 1, u32::MAX, u32::MAX, 1, 0],
            INVALID_PARAMETER,
        ),
    ]);
    let seen = [(0, 0), (2, 0), (0, 1), (2, 1), (3, 1)].map(|(x, y)| bench.pixel(x, y)[0]);
    assert_eq!(seen, [5, 7, 9, 11, 0]);
}

#[test]
fn wrong_commands_get_the_error_of_the_standard() {
    let small: &[u32] = &[1, 1, 16, 16];
    let max = u32::MAX;
    Bench::new().play(&[
        (0x101, &[0, 1, 16, 16], INVALID_RESOURCE),
        (0x101, &[1, 9, 16, 16], INVALID_PARAMETER),
        (0x101, &[1, 1, 0, 16], INVALID_PARAMETER),
        (0x101, &[1, 1, 16], INVALID_PARAMETER),
        (0x101, &[1, 1, max, max], OUT_OF_MEMORY),
        (0x101, &[1, 1, 512, 513], OUT_OF_MEMORY),
        (0x101, small, OK),
        (0x101, small, INVALID_RESOURCE),
        (0x102, &[2, 0], INVALID_RESOURCE),
        (0x103, &[0, 0, 16, 16, 1, 1], INVALID_SCANOUT),
        (0x103, &[0, 0, 16, 16, 0, 2], INVALID_RESOURCE),
        (0x103, &[0, 0, 16, 17, 0, 1], INVALID_PARAMETER),
        (0x103, &[1, 0, max, 16, 0, 1], INVALID_PARAMETER),
        (0x103, &[0, 0, 0, 16, 0, 1], INVALID_PARAMETER),
        (0x104, &[0, 0, 16, 16, 2, 0], INVALID_RESOURCE),
        (0x104, &[max, 0, 1, 16, 1, 0], INVALID_PARAMETER),
        (0x104, &[0, 0, 16, 16, 1, 0], OK),
        (0x105, &[0, 0, 16, 16, 0, 0, 2, 0], INVALID_RESOURCE),
        (0x105, &[0, 0, 16, 17, 0, 0, 1, 0], INVALID_PARAMETER),
        (0x105, &[0, 0, 16, 16, 0, 0, 1, 0], UNSPECIFIED),
        (0x106, &[2, 0], INVALID_RESOURCE),
        (0x106, &[1, 1025], OUT_OF_MEMORY),
        (0x106, &[1, 1, PICTURE, 0, 64], INVALID_PARAMETER),
        (0x106, &[1, 1, 0, 1, 64, 0], INVALID_PARAMETER),
        (0x106, &[1, 1, max, max, max, 0], INVALID_PARAMETER),
        (0x107, &[1, 0], UNSPECIFIED),
        (0x106, &[1, 0], OK),
        (0x106, &[1, 0], UNSPECIFIED),
        (0x105, &[0, 0, 1, 1, 0, 0, 1, 0], INVALID_PARAMETER),
        (0x107, &[1, 0], OK),
        (0x102, &[1, 0], OK),
        (0x108, &[0, 0], UNSPECIFIED), // GET_CAPSET_INFO
        (0x10a, &[0, 0], UNSPECIFIED), // GET_EDID
        (0x300, &[0; 8], UNSPECIFIED), // a cursor command on the control queue
        (0, &[], UNSPECIFIED),
    ]);
}

#[test]
fn resources_are_capped_in_number_and_bytes() {
    let mut bench = Bench::new();
    for id in 1..=16 {
        assert_eq!(bench.ask(0x101, &[id, 1, 1, 1]), OK);
    }
    bench.play(&[
        (0x101, &[17, 1, 1, 1], OUT_OF_MEMORY),
        (0x102, &[3, 0], OK),
        (0x101, &[17, 1, 512, 512], OUT_OF_MEMORY),
        (0x101, &[17, 1, 512, 511], OK),
    ]);
}

#[test]
fn cursor_commands_are_answered() {
    let mut bench = Bench::new();
    let answers = [0x300, 0x301, 0x101].map(|kind| {
        let used = bench.ask_raw(1, &request(kind, &[0; 8]), 24);
        word(&used.bytes, 0)
    });
    assert_eq!(answers, [OK, OK, UNSPECIFIED]);
}

#[test]
fn a_fence_is_echoed_and_a_short_answer_is_cut() {
    let mut bench = Bench::new();
    let mut fenced = request(0x10a, &[0, 0]);
    fenced[4] = 1;
    fenced[8..20].copy_from_slice(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    let used = bench.ask_raw(0, &fenced, 24);
    assert_eq!(used.bytes[..4], UNSPECIFIED.to_le_bytes());
    assert_eq!(used.bytes[4..20], fenced[4..20]);
    // Not asked for, not echoed.
    fenced[4] = 0;
    let used = bench.ask_raw(0, &fenced, 24);
    assert_eq!(used.bytes[4..24], [0; 20]);
    assert_eq!(bench.ask_raw(0, &request(0x100, &[]), 10).written, 10);
    let cut = bench.ask_raw(0, &request(0x100, &[])[..23], 24);
    assert_eq!(word(&cut.bytes, 0), UNSPECIFIED);
    assert_eq!(bench.driver.take_events().len(), 3);
}

#[test]
fn a_picture_outlives_a_device_reset_but_not_its_resource_or_power() {
    let lit = || {
        let mut bench = Bench::new();
        bench.store(PICTURE, &[9; 64]);
        bench.play(&[
            (0x101, &[1, 67, 4, 4], OK),
            (0x106, &[1, 1, PICTURE, 0, 64, 0], OK),
            (0x103, &[0, 0, 4, 4, 0, 1], OK),
            (0x105, &[0, 0, 4, 4, 0, 0, 1, 0], OK),
            (0x104, &[0, 0, 4, 4, 1, 0], OK),
        ]);
        assert_eq!(bench.pixel(3, 3), [9, 9, 9, 0xff]);
        bench
    };
    let mut bench = lit();
    let mut core = &mut bench.glass;
    bench.device.reset(&mut core);
    assert_eq!(bench.pixel(3, 3), [9, 9, 9, 0xff]);
    bench.play(&[(0x104, &[0, 0, 4, 4, 1, 0], INVALID_RESOURCE)]);
    bench.glass.power_lost();
    assert_eq!(bench.glass.pixels(), Framebuffer::default().pixels());
    let mut bench = lit();
    bench.play(&[(0x102, &[1, 0], OK)]);
    assert_eq!(bench.pixel(3, 3), [0, 0, 0, 0xff]);
}

#[test]
fn a_stored_panel_goes_on_as_the_original() {
    let mut bench = Bench::new();
    bench.store(PICTURE, &[7; 64]);
    bench.play(&[
        (0x101, &[1, 67, 4, 4], OK),
        (0x106, &[1, 1, PICTURE, 0, 64, 0], OK),
        (0x103, &[0, 0, 4, 4, 0, 1], OK),
    ]);
    let stored = (&bench.glass, &bench.device);
    let bytes = postcard::to_stdvec(&stored).unwrap();
    let loaded: (Framebuffer, PanelVirtio) = postcard::from_bytes(&bytes).unwrap();
    assert_eq!((&loaded.0, &loaded.1), stored);
    let before = bench.glass.clone();
    (bench.glass, bench.device) = loaded;
    bench.play(&[
        (0x105, &[0, 0, 4, 4, 0, 0, 1, 0], OK),
        (0x104, &[0, 0, 4, 4, 1, 0], OK),
    ]);
    assert_eq!(bench.pixel(0, 0), [7, 7, 7, 0xff]);
    assert_ne!(bench.glass, before);
}

proptest! {
    #[test]
    fn a_hostile_driver_gets_nowhere(plan in hostile(2, commands())) {
        let mut bench = Bench::new();
        let mut core = &mut bench.glass;
        check_hostile(&mut bench.device, &mut core, &plan);
    }

    #[test]
    fn no_sequence_of_commands_upsets_it(commands in proptest::collection::vec(any_command(), 1..60)) {
        let mut bench = Bench::new();
        for command in commands {
            bench.ask_raw(0, &command, 24);
            assert_eq!(bench.glass.pixels().len(), 256 * 128 * 4);
        }
    }
}

/// Commands that are nearly right: few resources, sizes and addresses.
fn any_command() -> impl Strategy<Value = Vec<u8>> {
    let kind = prop_oneof![8 => 0x100_u32..0x108, 1 => any::<u32>()];
    let word = prop_oneof![
        4 => 0_u32..4,
        4 => select(vec![1, 16, 64, 67, 128, 256, PICTURE]),
        1 => any::<u32>(),
    ];
    (kind, proptest::collection::vec(word, 10)).prop_map(|(kind, words)| request(kind, &words))
}

fn commands() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(any_command(), 32).prop_map(|commands| commands.concat())
}
