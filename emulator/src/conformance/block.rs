//! What both block devices have in common.

use devices::virtio::F_VERSION_1;

use super::host::{Host, Port};
use super::ring::Ring;

pub(super) const IN: u32 = 0;
pub(super) const OUT: u32 = 1;
pub(super) const FLUSH: u32 = 4;
pub(super) const GET_ID: u32 = 8;
pub(super) const S_OK: u8 = 0;
pub(super) const S_IOERR: u8 = 1;
pub(super) const S_UNSUPP: u8 = 2;

const SEG_MAX: u64 = 1 << 2;
const RO: u64 = 1 << 5;
const BLK_SIZE: u64 = 1 << 6;
const FLUSHES: u64 = 1 << 9;

pub(super) fn features(read_only: bool) -> u64 {
    let kind = if read_only { RO } else { FLUSHES };
    F_VERSION_1 | SEG_MAX | BLK_SIZE | kind
}

/// `struct virtio_blk_config`.
pub(super) fn config(sectors: u64) -> Vec<u8> {
    let mut config = vec![0; 60];
    config[..8].copy_from_slice(&sectors.to_le_bytes());
    config[12..16].copy_from_slice(&126_u32.to_le_bytes());
    config[20..24].copy_from_slice(&512_u32.to_le_bytes());
    config
}

pub(super) fn header(kind: u32, sector: u64) -> Vec<u8> {
    let mut header = kind.to_le_bytes().to_vec();
    header.extend([0; 4]);
    header.extend(sector.to_le_bytes());
    header
}

/// The status of a request with so many bytes to write from, and to read into.
pub(super) fn status<H: Host>(
    port: &Port<H>,
    ring: &mut Ring,
    (kind, sector): (u32, u64),
    (out, into): (usize, u32),
) -> u8 {
    let mut readable = header(kind, sector);
    readable.extend(vec![7; out]);
    let head = ring.put(0, &readable, into + 1);
    ring.offer(head);
    port.finish(0, ring);
    assert_eq!(ring.used(), [(0, into + 1)]);
    ring.answer(0, into as usize + 1).pop().unwrap()
}
