//! Front-ends that break every rule. Whatever they do, the next one is served.

use std::fs::File;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
use vhost::vhost_user::message::VhostUserInflight;
use vhost::vhost_user::{Frontend, VhostUserFrontend};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo};

use crate::client::{BLOCK, Disk, MEMORY, NEXT, Part, USER};
use crate::server::{Server, alone};

const RAID: &str = "raid --level 1 --memory 1MiB";

/// Waits until the server has hung up.
fn hung_up(stream: &mut UnixStream) {
    let patience = Some(Duration::from_secs(20));
    stream.set_read_timeout(patience).unwrap();
    let mut bytes = [0; 4096];
    loop {
        match stream.read(&mut bytes) {
            Ok(0) => return,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => panic!("not hung up: {error}"),
        }
    }
}

/// A front-end that behaves finds everything in order.
fn serves(socket: &Path) {
    let mut disk = Disk::new();
    let _frontend = disk.guest.connect(socket);
    assert_eq!(disk.do_write(1, 0x42), 0);
    assert_eq!(disk.do_read(1), Ok(vec![0x42; BLOCK]));
}

/// A message: request, flags, length as told, body.
fn message(request: u32, flags: u32, length: u32, body: &[u8]) -> Vec<u8> {
    let head = [request, flags, length];
    let mut bytes: Vec<u8> = head.iter().flat_map(|word| word.to_le_bytes()).collect();
    bytes.extend(body);
    bytes
}

#[test]
fn nonsense_ends_the_connection_and_nothing_else() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), RAID);
    for bytes in [
        message(1, 1, 5000, &[]),
        message(1, 1, u32::MAX, &[]),
        message(99, 1, 0, &[]),
        message(0, 0, 0, &[]),
        message(1, 7, 4, &[0; 4]),
        message(2, 1, 3, &[0; 3]),
        message(5, 1, 8, &[0xff; 8]),
        message(8, 1, 8, &[0xff; 8]),
        message(9, 1, 40, &[0xff; 40]),
        message(11, 1, 8, &[0xff; 8]),
        message(12, 1, 8, &[0xff; 8]),
        message(24, 1, 12, &[0xff; 12]),
        message(32, 1, 24, &[0xff; 24]),
        vec![0xff; 64],
    ] {
        let mut stream = UnixStream::connect(server.socket()).unwrap();
        stream.write_all(&bytes).unwrap();
        hung_up(&mut stream);
        serves(&server.socket());
    }
    let told = server.end();
    assert!(told.matches("front-end-gone").count() >= 14, "{told}");
}

#[test]
fn half_a_message_and_silence_hold_up_nobody() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), RAID);
    for bytes in [&[1, 0, 0, 0, 1][..], &message(2, 1, 8, &[0; 3])] {
        let mut stream = UnixStream::connect(server.socket()).unwrap();
        stream.write_all(bytes).unwrap();
        assert!(server.control("status").starts_with("ok"));
        hung_up(&mut stream);
        serves(&server.socket());
    }
    let told = server.end();
    assert_eq!(told.matches("half a message").count(), 2, "{told}");
}

#[test]
fn a_front_end_that_reads_no_answer_holds_up_nobody() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), RAID);
    let mut stream = UnixStream::connect(server.socket()).unwrap();
    stream
        .set_write_timeout(Some(Duration::from_secs(5)))
        .unwrap();
    while stream.write_all(&message(1, 1, 0, &[])).is_ok() {}
    assert!(server.control("status").starts_with("ok"));
    drop(stream);
    serves(&server.socket());
    server.end();
}

#[test]
fn a_second_front_end_is_refused_while_one_is_there() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), RAID);
    let mut disk = Disk::new();
    let frontend = disk.guest.connect(&server.socket());
    hung_up(&mut UnixStream::connect(server.socket()).unwrap());
    assert_eq!(disk.do_write(1, 1), 0);
    drop(frontend);
    serves(&server.socket());
    assert!(server.end().contains("front-end-refused"));
}

#[test]
fn a_front_end_may_leave_at_every_step_of_the_handshake() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), RAID);
    for last in 0..12 {
        let guest = Disk::new().guest;
        let stream = UnixStream::connect(server.socket()).unwrap();
        let mut frontend = Frontend::from_stream(stream, 1);
        let steps: [&mut dyn FnMut(&mut Frontend); 11] = [
            &mut |it| it.set_owner().unwrap(),
            &mut |it| assert_ne!(it.get_features().unwrap(), 0),
            &mut |it| {
                let offered = it.get_protocol_features().unwrap();
                it.set_protocol_features(offered).unwrap();
            },
            &mut |it| it.set_features(1 << 32 | 1 << 30).unwrap(),
            &mut |it| guest.share(it),
            &mut |it| {
                let asked = VhostUserInflight::new(0, 0, 1, 128);
                let (told, file) = it.get_inflight_fd(&asked).unwrap();
                it.set_inflight_fd(&told, file.as_raw_fd()).unwrap();
            },
            &mut |it| it.set_vring_num(0, 128).unwrap(),
            &mut |it| {
                it.set_vring_addr(0, &Disk::new().guest.addresses(0))
                    .unwrap();
            },
            &mut |it| it.set_vring_base(0, 0).unwrap(),
            &mut |it| {
                it.set_vring_kick(0, &Disk::new().guest.queues[0].kick)
                    .unwrap();
            },
            &mut |it| it.set_vring_enable(0, true).unwrap(),
        ];
        for step in steps.into_iter().take(last) {
            step(&mut frontend);
        }
        drop(frontend);
        serves(&server.socket());
    }
    server.end();
}

#[test]
fn memory_that_is_too_little_or_taken_away_is_survived() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), RAID);
    // A file that is shorter than it is said to be.
    let stream = UnixStream::connect(server.socket()).unwrap();
    let mut end = stream.try_clone().unwrap();
    let frontend = Frontend::from_stream(stream, 1);
    let file = File::from(memfd_create("short", MemfdFlags::CLOEXEC).unwrap());
    ftruncate(&file, 4096).unwrap();
    let region = VhostUserMemoryRegionInfo {
        guest_phys_addr: 0,
        memory_size: MEMORY,
        userspace_addr: USER,
        mmap_offset: 0,
        mmap_handle: file.as_raw_fd(),
    };
    frontend.set_mem_table(&[region]).unwrap();
    hung_up(&mut end);
    serves(&server.socket());
    // One that is cut short later, under the rings and under the buffers.
    for left in [0, 4096, 1 << 20] {
        let mut disk = Disk::new();
        let frontend = disk.guest.connect(&server.socket());
        assert_eq!(disk.do_write(1, 1), 0);
        ftruncate(&disk.guest.file, left).unwrap();
        disk.guest.queues[0].kick.write(1).unwrap();
        assert!(server.control("status").starts_with("ok"));
        drop(frontend);
        serves(&server.socket());
    }
    assert!(server.end().contains("memory-taken-away"));
}

#[test]
fn rings_outside_memory_and_chains_that_make_no_sense_are_survived() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), RAID);
    for beyond in [MEMORY, MEMORY - 8, u64::MAX - USER] {
        let disk = Disk::new();
        let stream = UnixStream::connect(server.socket()).unwrap();
        let frontend = Frontend::from_stream(stream, 1);
        frontend.set_owner().unwrap();
        frontend.set_features(1 << 32).unwrap();
        disk.guest.share(&frontend);
        let mut addresses = disk.guest.addresses(0);
        addresses.used_ring_addr = USER + beyond;
        let _ = frontend.set_vring_num(0, 128);
        let _ = frontend.set_vring_addr(0, &addresses);
        let _ = frontend.set_vring_base(0, 0);
        let _ = frontend.set_vring_kick(0, &disk.guest.queues[0].kick);
        let _ = disk.guest.queues[0].kick.write(1);
        assert!(server.control("status").starts_with("ok"));
        drop(frontend);
        serves(&server.socket());
    }
    let part = |at, length| Part {
        at,
        length,
        writable: false,
    };
    for (part, flags, next) in [
        (part(MEMORY, 16), 0, 0),
        (part(u64::MAX, 16), 0, 0),
        (part(0, 16), NEXT, 0),
        (part(0, 16), NEXT, 500),
        (part(0, 0), 4, 0),
    ] {
        let mut disk = Disk::new();
        let frontend = disk.guest.connect(&server.socket());
        disk.guest.describe(0, 0, part, flags, next);
        disk.guest.offer(0, 0);
        assert!(server.control("status").starts_with("ok"));
        drop(frontend);
        serves(&server.socket());
    }
    assert!(server.end().contains("device-needs-reset"));
}

/// Messages of the protocol whose body has a length of its own that does not come with a descriptor's: request, words.
/// Bodies of other lengths are refused unread.
const BODIES: [(u32, usize); 13] = [
    (2, 2),
    (8, 2),
    (9, 10),
    (10, 2),
    (11, 2),
    (12, 2),
    (13, 2),
    (14, 2),
    (16, 2),
    (18, 2),
    (24, 3),
    (31, 5),
    (32, 5),
];

/// A request and its body: mostly one that is looked into, with numbers that pass for indices, flags and aligned addresses.
fn any_message() -> impl Strategy<Value = (u32, Vec<u8>)> {
    let word = prop_oneof![6 => Just(0), 2 => 0..16_u32, 1 => any::<u32>()];
    let known = prop::sample::select(&BODIES[..]).prop_flat_map(move |(request, words)| {
        let body = prop::collection::vec(word.clone(), words);
        let bytes = |words: Vec<u32>| words.into_iter().flat_map(u32::to_le_bytes).collect();
        (Just(request), body.prop_map(bytes))
    });
    let other = (0..45_u32, prop::collection::vec(any::<u8>(), 0..48));
    prop_oneof![4 => known, 1 => other]
}

#[test]
fn any_bytes_at_all_are_survived() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), RAID);
    // Each connection ends with its first message that makes no sense, and most do soon.
    let messages = prop::collection::vec((any_message(), any::<bool>()), 1..6);
    let random = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::with_cases(3000), random);
    let checked = runner.run(&messages, |messages| {
        let mut stream = UnixStream::connect(server.socket()).unwrap();
        for ((request, body), reply) in messages {
            let length = u32::try_from(body.len()).unwrap();
            let flags = 1 | u32::from(reply) << 3;
            // It may have hung up already.
            let _ = stream.write_all(&message(request, flags, length, &body));
        }
        // What a front-end said that has left already is not looked at.
        let _ = stream.shutdown(Shutdown::Write);
        hung_up(&mut stream);
        Ok(())
    });
    checked.unwrap();
    serves(&server.socket());
    server.end();
}
