//! The shelf as a disk.

use std::collections::BTreeMap;

use crate::client::{BLOCK, Disk, Guest};
use crate::server::{Server, alone, arraybench};

const FILES: &str = "raid --level 5 --disk a --disk b --disk d --size 1MiB";

#[test]
fn every_level_stores_what_is_written() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    for words in [
        "raid --level 0 --memory 1MiB",
        "raid --level 1 --memory 1MiB",
        "raid --level 5 --memory 1MiB --members 4 --spare memory",
        "raid --level 6 --memory 1MiB --cache 64KiB --poll-us 50",
        "raid --level 5 --memory 1MiB --timing real",
    ] {
        let server = Server::start(folder.path(), words);
        let mut disk = Disk::new();
        let mut frontend = disk.guest.connect(&server.socket());
        let config = Guest::config(&mut frontend, 60);
        assert!(u64::from_le_bytes(config[..8].try_into().unwrap()) > 1000);
        for number in 0..32_u16 {
            let byte = u8::try_from(number).unwrap();
            disk.ask(number, 1, u64::from(number), &[byte; BLOCK]);
        }
        let answers = disk.take(1);
        let rest = disk.take(32 - answers.len());
        assert!(answers.iter().chain(&rest).all(|answer| answer.2 == 0));
        assert_eq!(disk.do_flush(), 0, "{words}");
        for block in 0..32 {
            let byte = u8::try_from(block).unwrap();
            assert_eq!(disk.do_read(block), Ok(vec![byte; BLOCK]), "{words}");
        }
        drop(frontend);
        server.end();
    }
}

#[test]
fn nothing_acknowledged_is_lost_and_every_request_answered_once_when_the_server_is_killed() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let mut disk = Disk::new();
    let mut content: BTreeMap<u64, u8> = BTreeMap::new();
    let mut found_in_flight = 0;
    for round in 0..8_u8 {
        // Disks that take their time have requests under way when the kill comes.
        let words = format!("{FILES} --timing real");
        let server = Server::start(folder.path(), &words);
        let frontend = disk.guest.connect(&server.socket());
        let mut write = |disk: &mut Disk, number: u16| {
            let block = u64::from(number) * 3;
            let byte = round * 31 + u8::try_from(number).unwrap();
            if !disk.asked.contains_key(&(3 * number)) {
                content.insert(block, byte);
                disk.ask(number, 1, block, &[byte; BLOCK]);
            }
        };
        for number in 0..12 {
            write(&mut disk, number);
        }
        let acknowledged = disk.take(1 + usize::from(round));
        assert!(acknowledged.iter().all(|answer| answer.2 == 0));
        for number in 12..32 {
            write(&mut disk, number);
        }
        while disk.guest.in_flight() == 0
            && disk.guest.used_index(0) != disk.guest.queues[0].available
        {
            std::hint::spin_loop();
        }
        server.kill();
        found_in_flight += disk.guest.in_flight();
        drop(frontend);
    }
    assert!(found_in_flight > 0, "nothing was in flight");
    let server = Server::start(folder.path(), FILES);
    let frontend = disk.guest.connect(&server.socket());
    let left = disk.asked.len();
    let late = disk.take(left);
    assert_eq!(late.len(), left);
    assert!(late.iter().all(|answer| answer.2 == 0));
    for (block, byte) in &content {
        assert_eq!(disk.do_read(*block), Ok(vec![*byte; BLOCK]), "{block}");
    }
    drop(frontend);
    server.end();
}

#[test]
fn a_stopped_queue_has_answered_everything_it_took() {
    let _alone = alone();
    use vhost::VhostBackend;
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "raid --level 1 --memory 1MiB --timing real");
    let mut disk = Disk::new();
    let mut frontend = disk.guest.connect(&server.socket());
    for round in 0..5_u8 {
        for number in 0..16_u16 {
            disk.ask(number, 1, u64::from(number), &[round; BLOCK]);
        }
        let base = frontend.get_vring_base(0).unwrap();
        // What was taken is answered; the rest waits on the ring.
        assert_eq!(u32::from(disk.guest.used_index(0)), base);
        assert_eq!(disk.guest.in_flight(), 0);
        disk.guest.start(&mut frontend, 0);
        let answers = disk.take(16);
        assert_eq!(answers.len(), 16);
    }
    assert_eq!(disk.do_read(3), Ok(vec![4; BLOCK]));
    drop(frontend);
    server.end();
}

#[test]
fn a_front_end_that_leaves_takes_nothing_with_it() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "raid --level 5 --memory 1MiB --timing real");
    let mut disk = Disk::new();
    let frontend = disk.guest.connect(&server.socket());
    assert_eq!(disk.do_write(5, 0x55), 0);
    for number in 1..20 {
        disk.ask(number, 1, 20 + u64::from(number), &[1; BLOCK]);
    }
    drop(frontend);
    let mut other = Disk::new();
    let frontend = other.guest.connect(&server.socket());
    assert_eq!(other.do_read(5), Ok(vec![0x55; BLOCK]));
    drop(frontend);
    let told = server.end();
    assert!(
        told.contains("front-end-gone cause=\"disconnected\""),
        "{told}"
    );
}

#[test]
fn power_and_disks_obey_the_control_socket() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), &format!("{FILES} --spare memory"));
    let mut disk = Disk::new();
    let frontend = disk.guest.connect(&server.socket());
    assert_eq!(disk.do_write(1, 0x11), 0);
    assert_eq!(server.control("power off"), "ok");
    assert_eq!(disk.do_read(1), Err(1), "no power");
    assert_eq!(server.control("power on"), "ok");
    assert_eq!(disk.do_read(1), Ok(vec![0x11; BLOCK]));
    assert_eq!(server.control("fail disk 0"), "ok");
    assert_eq!(disk.do_read(1), Ok(vec![0x11; BLOCK]));
    assert!(server.control("fail disk 9").contains("0 to 3"));
    assert!(server.control("dance").contains("try `help`"));
    assert!(server.control("help").starts_with("ok"));
    assert_eq!(server.control("cut at member-write 2 torn"), "ok");
    assert!(server.control("status").contains("cuts armed 1"));
    let status = disk.do_write(1, 0x22);
    if status != 1 {
        panic!("the cut comes before the answer: {}", server.end());
    }
    let status = server.control("status");
    assert!(
        status.contains("power off") && status.contains("cuts armed 0"),
        "{status}"
    );
    assert_eq!(server.control("power on"), "ok");
    let found = disk.do_read(1).unwrap();
    for byte in found {
        assert!([0x11, 0x22].contains(&byte), "{byte:#x}");
    }
    drop(frontend);
    let told = server.end();
    for line in [
        "member-failed member=0",
        "powered-on",
        "power-cut during=member-write left=torn",
    ] {
        assert!(told.contains(line), "{line} in {told}");
    }
}

#[test]
fn a_cache_is_kept_by_an_orderly_end() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let cached = format!("{FILES} --cache 256KiB");
    let server = Server::start(folder.path(), &cached);
    let mut disk = Disk::new();
    let frontend = disk.guest.connect(&server.socket());
    assert_eq!(disk.do_write(9, 0x99), 0);
    server.end();
    drop(frontend);
    let server = Server::start(folder.path(), &cached);
    let mut disk = Disk::new();
    let _frontend = disk.guest.connect(&server.socket());
    assert_eq!(disk.do_read(9), Ok(vec![0x99; BLOCK]));
    // Sockets and files have one server.
    let second = |words: &str| {
        let output = arraybench(folder.path())
            .args(words.split_whitespace())
            .output()
            .unwrap();
        (
            output.status.code(),
            String::from_utf8(output.stderr).unwrap(),
        )
    };
    let (code, text) = second("device raid --level 1 --memory 1MiB --socket s");
    assert!(
        code == Some(4) && text.contains("another process serves"),
        "{text}"
    );
    let (code, text) = second("device raid --level 5 --disk a --disk b --disk d --socket t");
    assert!(
        code == Some(4) && text.contains("another process uses"),
        "{text}"
    );
    server.end();
    let (code, text) = second("device raid --level 6 --disk a --disk b --disk d --socket t");
    assert!(code == Some(2) && text.contains("RAID 6 takes 4"), "{text}");
    let (code, text) =
        second("device raid --level 5 --chunk 4KiB --disk a --disk b --disk d --socket t");
    assert!(
        code == Some(3) && text.contains("as when it was made"),
        "{text}"
    );
}
