//! The RAID shelf as a disk (board manual §7, virtio 1.4 §5.2).

use devices::block::BlockCore;
use virtio_drivers::Error;
use virtio_drivers::device::blk::{BlkReq, BlkResp, VirtIOBlk};

use super::arena::Memory;
use super::block::{self, FLUSH, GET_ID, IN, OUT, S_IOERR, S_OK, S_UNSUPP};
use super::contract::{Contract, Request};
use super::hardware::{Hardware, SHELF};
use super::host::{Host, Pace, Port};

/// The volume of the hardware under test: from a fresh one, as its driver reads nothing of it.
fn fresh() -> (u64, [u8; 20]) {
    let hardware = Hardware::new(Pace::Leap);
    let volume = &hardware.volume;
    (BlockCore::sectors(volume), volume.identity())
}

pub(super) fn contract() -> Contract {
    let (sectors, identity) = fresh();
    Contract {
        unit: SHELF,
        id: 2,
        features: block::features(false),
        queues: &[128],
        config: block::config(sectors),
        request: Request {
            queue: 0,
            readable: block::header(GET_ID, 0),
            writable: 21,
            written: 21,
            answer: [&identity[..], &[S_OK]].concat(),
        },
    }
}

fn disk<H: Host>() -> VirtIOBlk<Memory, Port<H>> {
    VirtIOBlk::new(Port::of(SHELF)).unwrap()
}

fn pattern(bytes: usize, seed: usize) -> Vec<u8> {
    let byte = |at| u8::try_from((at * 31 + at / 512 + seed) % 251).unwrap();
    (0..bytes).map(byte).collect()
}

pub(super) fn reads_what_was_written<H: Host>() {
    let mut disk = disk::<H>();
    let sectors = usize::try_from(fresh().0).unwrap();
    assert_eq!((disk.capacity(), disk.readonly()), (fresh().0, false));
    // (sector, sectors): one, across chunks, at the end, and much at once.
    let table = [(0, 1), (5, 20), (sectors - 1, 1), (100, 1024)];
    for (seed, (sector, length)) in table.into_iter().enumerate() {
        let written = pattern(length * 512, seed);
        disk.write_blocks(sector, &written).unwrap();
        disk.flush().unwrap();
        let mut read = vec![0; written.len()];
        disk.read_blocks(sector, &mut read).unwrap();
        assert_eq!(read, written, "{length} sectors at {sector}");
    }
    let mut untouched = [1; 512];
    disk.read_blocks(2000, &mut untouched).unwrap();
    assert_eq!(untouched, [0; 512]);
}

pub(super) fn tells_its_identity<H: Host>() {
    let mut disk = disk::<H>();
    let mut identity = [0; 20];
    let length = disk.device_id(&mut identity).unwrap();
    assert!(length > 0);
    assert_eq!(identity, fresh().1);
}

pub(super) fn fails_what_is_out_of_range<H: Host>() {
    let mut disk = disk::<H>();
    let sectors = usize::try_from(fresh().0).unwrap();
    let mut two = [0; 1024];
    for sector in [sectors - 1, sectors, usize::MAX, usize::MAX / 512] {
        let read = disk.read_blocks(sector, &mut two);
        assert_eq!(read, Err(Error::IoError), "{sector}");
        let written = disk.write_blocks(sector, &two);
        assert_eq!(written, Err(Error::IoError), "{sector}");
    }
    disk.read_blocks(sectors - 2, &mut two).unwrap();
}

pub(super) fn answers_every_kind_of_request<H: Host>() {
    let port = Port::<H>::of(SHELF);
    let mut ring = port.drive(&contract()).remove(0);
    // (type, bytes to write, bytes to read, status).
    let table = [
        (IN, 0, 512, S_OK),
        (IN, 0, 511, S_IOERR),
        (IN, 0, 0, S_IOERR),
        (OUT, 512, 0, S_OK),
        (OUT, 100, 0, S_IOERR),
        (OUT, 0, 0, S_IOERR),
        (FLUSH, 0, 0, S_OK),
        (GET_ID, 0, 20, S_OK),
        (2, 0, 0, S_UNSUPP),
        (11, 16, 0, S_UNSUPP),
        (13, 16, 0, S_UNSUPP),
        (u32::MAX, 0, 0, S_UNSUPP),
    ];
    for (kind, out, into, wanted) in table {
        let status = block::status(&port, &mut ring, (kind, 0), (out, into));
        assert_eq!(status, wanted, "type {kind} with {out}, {into}");
    }
}

pub(super) fn stops_without_room_for_a_status<H: Host>() {
    let port = Port::<H>::of(SHELF);
    let contract = contract();
    let mut ring = port.drive(&contract).remove(0);
    let head = ring.put(0, &block::header(FLUSH, 0), 0);
    ring.offer(head);
    port.notify_only(0);
    port.host.settle();
    assert!(port.host.has_stopped(port.unit));
    assert_eq!(ring.used(), [(0, 0)]);
    port.assert_works(&contract);
}

/// Disks that take an hour: nothing comes back before the reset or after it, and the device works.
pub(super) fn drops_requests_when_reset<H: Host>() {
    let port = Port::<H>::all(&[SHELF], Pace::Held).remove(0);
    let mut disk = VirtIOBlk::<Memory, _>::new(port.clone()).unwrap();
    let (mut request, mut response) = (BlkReq::default(), BlkResp::default());
    let mut data = [0; 512];
    // SAFETY: all three stay where they are and are not looked at until the device forgot them.
    unsafe { disk.read_blocks_nb(3, &mut request, &mut data, &mut response) }.unwrap();
    port.host.settle();
    assert_eq!(disk.peek_used(), None, "under way");
    port.host.set_status(port.unit, 0);
    let contract = contract();
    port.assert_works(&contract);
    assert_eq!(disk.peek_used(), None, "forgotten");
    let mut ring = port.drive(&contract).remove(0);
    for n in 0..4 {
        let head = ring.put(n, &block::header(IN, 8), 513);
        ring.offer(head);
    }
    port.notify_only(0);
    port.host.settle();
    port.host.set_status(port.unit, 0);
    port.assert_works(&contract);
    assert_eq!(ring.used(), []);
}
