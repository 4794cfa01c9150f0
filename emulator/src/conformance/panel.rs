//! The panel (board manual §9, virtio 1.4 §5.7).

use devices::panel::{HEIGHT, WIDTH};
use devices::virtio::F_VERSION_1;
use virtio_drivers::device::gpu::VirtIOGpu;

use super::arena::Memory;
use super::contract::{Contract, Request};
use super::hardware::PANEL;
use super::host::{Host, Port};

const GET_DISPLAY_INFO: u32 = 0x0100;
const OK_DISPLAY_INFO: u32 = 0x1101;
const OK_NODATA: u32 = 0x1100;
const CREATE_2D: u32 = 0x0101;
const UNREF: u32 = 0x0102;
const ERR_UNSPEC: u32 = 0x1200;
const ERR_INVALID_RESOURCE_ID: u32 = 0x1203;

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

/// A command: `struct virtio_gpu_ctrl_hdr`, and what follows.
fn command(kind: u32, rest: &[u32]) -> Vec<u8> {
    [words(&[kind, 0, 0, 0, 0, 0]), words(rest)].concat()
}

pub(super) fn contract() -> Contract {
    let mut answer = words(&[OK_DISPLAY_INFO, 0, 0, 0, 0, 0]);
    answer.extend(words(&[0, 0, WIDTH, HEIGHT, 1, 0]));
    // The other fifteen scanouts are not there.
    answer.resize(24 + 16 * 24, 0);
    Contract {
        unit: PANEL,
        id: 16,
        features: F_VERSION_1,
        queues: &[64, 64],
        config: words(&[0, 0, 1, 0]),
        request: Request {
            queue: 0,
            readable: command(GET_DISPLAY_INFO, &[]),
            writable: 408,
            written: 408,
            answer,
        },
    }
}

/// Blue, green, red, and what the glass makes of it.
fn colour(pixel: usize) -> [u8; 4] {
    let byte = |value: usize| u8::try_from(value % 256).unwrap();
    [byte(pixel), byte(pixel / 256), byte(pixel * 7), 0x33]
}

fn picture(pixels: usize) -> Vec<u8> {
    let shown = |pixel| {
        let [blue, green, red, _] = colour(pixel);
        [red, green, blue, 0xff]
    };
    (0..pixels).flat_map(shown).collect()
}

pub(super) fn shows_a_picture<H: Host>() {
    let port = Port::<H>::of(PANEL);
    let mut gpu = VirtIOGpu::<Memory, _>::new(port.clone()).unwrap();
    assert_eq!(gpu.resolution(), Ok((WIDTH, HEIGHT)));
    let frame = gpu.setup_framebuffer().unwrap();
    let pixels = (WIDTH * HEIGHT) as usize;
    for (pixel, bytes) in frame.chunks_exact_mut(4).take(pixels).enumerate() {
        bytes.copy_from_slice(&colour(pixel));
    }
    let glass = |port: &Port<H>| port.host.operate(|it| it.glass.pixels().to_vec());
    let black = [0, 0, 0, 0xff].repeat(pixels);
    assert_eq!(glass(&port), black, "not flushed yet");
    gpu.flush().unwrap();
    let shown = glass(&port);
    assert!(shown == picture(pixels), "pixel for pixel");
    // A reset takes the resources, not the picture.
    port.host.set_status(PANEL, 0);
    port.assert_works(&contract());
    assert!(glass(&port) == shown);
}

pub(super) fn accepts_cursors<H: Host>() {
    let port = Port::<H>::of(PANEL);
    let mut gpu = VirtIOGpu::<Memory, _>::new(port.clone()).unwrap();
    gpu.setup_cursor(&[9; 64 * 64 * 4], 3, 4, 0, 0).unwrap();
    gpu.move_cursor(10, 10).unwrap();
    let flushes = port.host.operate(|it| it.glass.flushes());
    assert_eq!(flushes, 0);
}

pub(super) fn answers_every_kind_of_command<H: Host>() {
    let port = Port::<H>::of(PANEL);
    let mut ring = port.drive(&contract()).remove(0);
    let table = [
        (command(CREATE_2D, &[1, 1, 8, 8]), OK_NODATA),
        (command(CREATE_2D, &[1, 1, 8, 8]), ERR_INVALID_RESOURCE_ID),
        (command(CREATE_2D, &[0, 1, 8, 8]), ERR_INVALID_RESOURCE_ID),
        (command(UNREF, &[1, 0]), OK_NODATA),
        (command(UNREF, &[1, 0]), ERR_INVALID_RESOURCE_ID),
        // 3D, EDID, blobs; nonsense; a header cut short.
        (command(0x0200, &[0; 20]), ERR_UNSPEC),
        (command(0x010a, &[0; 4]), ERR_UNSPEC),
        (command(0x010c, &[0; 20]), ERR_UNSPEC),
        (command(u32::MAX, &[]), ERR_UNSPEC),
        (vec![0, 1], ERR_UNSPEC),
    ];
    for (index, (command, wanted)) in table.into_iter().enumerate() {
        let head = ring.put(0, &command, 24);
        ring.offer(head);
        port.finish(0, &ring);
        assert_eq!(ring.used(), [(0, 24)], "command {index}");
        assert_eq!(ring.answer(0, 4), wanted.to_le_bytes(), "command {index}");
    }
}

pub(super) fn forgets_resources_when_reset<H: Host>() {
    let port = Port::<H>::of(PANEL);
    for _ in 0..2 {
        let mut ring = port.drive(&contract()).remove(0);
        let head = ring.put(0, &command(CREATE_2D, &[5, 1, 8, 8]), 24);
        ring.offer(head);
        port.finish(0, &ring);
        assert_eq!(ring.answer(0, 4), OK_NODATA.to_le_bytes());
    }
}
