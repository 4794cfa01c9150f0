//! The service media slot: a read-only disk that comes and goes (board manual §7, virtio 1.4 §5.2).

use devices::time::Nanos;
use virtio_drivers::Error;
use virtio_drivers::device::blk::VirtIOBlk;

use super::arena::Memory;
use super::block::{self, FLUSH, GET_ID, IN, OUT, S_IOERR, S_OK, S_UNSUPP};
use super::contract::{Contract, Request};
use super::hardware::MEDIA;
use super::host::{Host, Pace, Port};

/// How long the slot takes for a read, and no less.
const A_READ: Nanos = Nanos::from_millis(1);

pub(super) fn contract() -> Contract {
    let mut answer = vec![0; 20];
    answer.push(S_OK);
    Contract {
        unit: MEDIA,
        id: 2,
        features: block::features(true),
        queues: &[128],
        config: block::config(0),
        request: Request {
            queue: 0,
            readable: block::header(GET_ID, 0),
            writable: 21,
            written: 21,
            answer,
        },
    }
}

pub(super) fn reads_what_was_inserted<H: Host>() {
    let port = Port::<H>::of(MEDIA);
    port.host.operate(|it| it.insert("package", &[0x42; 1000]));
    let mut disk = VirtIOBlk::<Memory, _>::new(port).unwrap();
    assert_eq!((disk.capacity(), disk.readonly()), (2, true));
    let mut read = [1; 1024];
    disk.read_blocks(0, &mut read).unwrap();
    assert_eq!(read[..1000], [0x42; 1000]);
    assert_eq!(read[1000..], [0; 24], "the rest of its last sector");
    let mut identity = [0; 20];
    assert_eq!(disk.device_id(&mut identity), Ok(7));
    assert!(identity.starts_with(b"package\0"));
    let mut beyond = [0; 512];
    assert_eq!(disk.read_blocks(2, &mut beyond), Err(Error::IoError));
    assert_eq!(disk.write_blocks(0, &beyond), Err(Error::IoError));
}

/// The driver is told of a medium that comes and of one that goes, while it is at work.
pub(super) fn tells_of_a_change_of_medium<H: Host>() {
    let port = Port::<H>::of(MEDIA);
    let contract = contract();
    let mut ring = port.drive(&contract).remove(0);
    let host = &port.host;
    let capacity = || u64::from_le_bytes(host.config(MEDIA, 0, 8).try_into().unwrap());
    let mut generation = host.generation(MEDIA);
    assert_eq!(capacity(), 0);
    for sectors in [4_u64, 9, 0, 2] {
        host.operate(move |it| match sectors {
            0 => it.media.eject(),
            _ => it.insert("new", &vec![7; usize::try_from(sectors).unwrap() * 512]),
        });
        host.settle();
        assert_eq!(capacity(), sectors);
        let now = host.generation(MEDIA);
        assert_ne!(now, generation, "{sectors}");
        generation = now;
        let wanted = if sectors == 0 { S_IOERR } else { S_OK };
        let status = block::status(&port, &mut ring, (IN, 0), (0, 512));
        assert_eq!(status, wanted);
    }
    // The same again is no change.
    host.operate(|it| it.insert("other", &[8; 1024]));
    assert_eq!(host.generation(MEDIA), generation);
}

/// A medium goes or makes place for another while it is read: the driver is told at once, and the answer is of the
/// medium that was there when the request came.
pub(super) fn loses_its_medium_in_the_middle_of_a_request<H: Host>() {
    let port = Port::<H>::all(&[MEDIA], Pace::Held).remove(0);
    let mut ring = port.drive(&contract()).remove(0);
    let host = &port.host;
    let capacity = || u64::from_le_bytes(host.config(MEDIA, 0, 8).try_into().unwrap());
    let insert = |sectors: u8| {
        host.operate(move |it| match sectors {
            0 => it.media.eject(),
            _ => it.insert("other", &vec![sectors; usize::from(sectors) * 512]),
        });
        host.settle();
    };
    for (before, after) in [(4, 0), (4, 9), (9, 2), (2, 0)] {
        insert(before);
        let generation = host.generation(MEDIA);
        let head = ring.put(0, &block::header(IN, 0), 513);
        ring.offer(head);
        port.notify_only(0);
        host.settle();
        insert(after);
        assert_eq!(capacity(), u64::from(after));
        assert_ne!(host.generation(MEDIA), generation, "{after}");
        assert_eq!(ring.used(), [], "under way");
        host.pass(A_READ);
        assert_eq!(ring.used(), [(0, 513)]);
        let answer = [&[before; 512][..], &[S_OK]].concat();
        assert_eq!(ring.answer(0, 513), answer);
        let now = block::status(&port, &mut ring, (IN, u64::MAX), (0, 512));
        assert_eq!(now, S_IOERR, "it goes on");
    }
}

/// What is under way is over with the reset (a ring that vhost-user stops first is waited for), and the device works.
pub(super) fn drops_requests_when_reset<H: Host>() {
    let port = Port::<H>::all(&[MEDIA], Pace::Held).remove(0);
    port.host.operate(|it| it.insert("package", &[0x42; 1024]));
    let mut contract = contract();
    contract.request.answer[..7].copy_from_slice(b"package");
    let mut old = port.drive(&contract).remove(0);
    for n in 0..4 {
        let head = old.put(n, &block::header(IN, 0), 513);
        old.offer(head);
    }
    port.notify_only(0);
    port.host.settle();
    assert_eq!(old.used(), [], "under way");
    port.host.set_status(port.unit, 0);
    let left = old.bytes();
    port.host.pass(A_READ);
    port.assert_works(&contract);
    port.host.pass(A_READ);
    assert!(old.bytes() == left);
}

pub(super) fn answers_every_kind_of_request<H: Host>() {
    let port = Port::<H>::of(MEDIA);
    port.host.operate(|it| it.insert("package", &[0x42; 1024]));
    let mut ring = port.drive(&contract()).remove(0);
    let table = [
        (IN, 0, 1024, S_OK),
        (IN, 0, 1536, S_IOERR),
        (OUT, 512, 0, S_IOERR),
        (FLUSH, 0, 0, S_UNSUPP),
        (GET_ID, 0, 20, S_OK),
        (11, 16, 0, S_UNSUPP),
    ];
    for (kind, out, into, wanted) in table {
        let status = block::status(&port, &mut ring, (kind, 0), (out, into));
        assert_eq!(status, wanted, "type {kind} with {out}, {into}");
    }
}
