//! Every kind but the shelf.

use std::fs;
use std::io::BufRead;

use crate::client::{BLOCK, BUFFERS, Disk, Guest, Part};
use crate::server::{Server, alone, arraybench};

pub(crate) fn out(at: u64, length: usize) -> Part {
    Part {
        at,
        length,
        writable: false,
    }
}

pub(crate) fn room(at: u64, length: usize) -> Part {
    Part {
        at,
        length,
        writable: true,
    }
}

#[test]
fn media_come_and_go() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("p"), [7; 3 * BLOCK]).unwrap();
    let server = Server::start(folder.path(), "media p");
    assert!(
        server.said.contains("vhost-user-blk-pci"),
        "{}",
        server.said
    );
    let mut disk = Disk::new();
    let mut frontend = disk.guest.connect(&server.socket());
    let sectors = |bytes: Vec<u8>| u64::from_le_bytes(bytes[..8].try_into().unwrap());
    assert_eq!(sectors(Guest::config(&mut frontend, 60)), 24);
    assert_eq!(disk.do_read(2), Ok(vec![7; BLOCK]));
    assert_eq!(disk.do_write(0, 1), 1, "read-only");
    assert_eq!(server.control("eject"), "ok");
    assert_eq!(sectors(Guest::config(&mut frontend, 60)), 0);
    assert_eq!(disk.do_read(0), Err(1));
    assert!(server.control("insert nothing").contains("cannot be read"));
    assert_eq!(
        server.control(&format!("insert {}", folder.path().join("p").display())),
        "ok"
    );
    assert_eq!(disk.do_read(0), Ok(vec![7; BLOCK]));
    assert!(server.control("status").contains("media p"));
    server.end();
}

/// A transfer of virtio-spi (virtio 1.4 §5.21.6): sends, and receives as many bytes.
fn spi(guest: &mut Guest, chip: u8, send: &[u8]) -> Vec<u8> {
    let (head, tx, rx, result) = (BUFFERS, BUFFERS + 0x100, BUFFERS + 0x1000, BUFFERS + 0x2000);
    let mut bytes = [0; 32];
    bytes[..3].copy_from_slice(&[chip, 8, 1]);
    bytes[12..16].copy_from_slice(&50_000_000_u32.to_le_bytes());
    guest.write(head, &bytes);
    guest.write(tx, send);
    let parts = [
        out(head, 32),
        out(tx, send.len()),
        room(rx, send.len()),
        room(result, 1),
    ];
    guest.submit(0, 0, &parts);
    assert_eq!(guest.wait(0, 1).len(), 1);
    assert_eq!(guest.get::<u8>(result), 0, "done");
    guest.read(rx, send.len())
}

fn program(guest: &mut Guest, byte: u8) {
    spi(guest, 0, &[0x06]);
    spi(guest, 0, &[0x02, 0, 0, 16, byte]);
    while spi(guest, 0, &[0x05, 0])[1] & 1 == 1 {}
}

#[test]
fn flash_keeps_what_was_programmed_and_breaks_as_told() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let words = "flash --chip chip --size 1MiB";
    let server = Server::start(folder.path(), words);
    assert!(
        server.said.contains("virtio-id=45,num_vqs=1"),
        "{}",
        server.said
    );
    let mut guest = Guest::new(1, 64);
    let frontend = guest.connect(&server.socket());
    let identity = spi(&mut guest, 0, &[0x9f, 0, 0, 0]);
    program(&mut guest, 0x5a);
    let read = |guest: &mut Guest| spi(guest, 0, &[0x03, 0, 0, 16, 0])[4];
    assert_eq!(read(&mut guest), 0x5a);
    drop(frontend);
    server.kill();
    let server = Server::start(folder.path(), words);
    let mut guest = Guest::new(1, 64);
    let _frontend = guest.connect(&server.socket());
    assert_eq!(read(&mut guest), 0x5a);
    assert_eq!(server.control("flash fault wrong-id 0"), "ok");
    assert_ne!(spi(&mut guest, 0, &[0x9f, 0, 0, 0]), identity);
    assert_eq!(server.control("flash mend 0"), "ok");
    assert_eq!(server.control("flash fault stuck-bit 0 16 7 1"), "ok");
    assert_eq!(read(&mut guest), 0xda);
    assert_eq!(server.control("flash mend 0"), "ok");
    assert!(
        server
            .control("flash fault rot 0 0x10 9")
            .contains("0 to 7")
    );
    assert!(server.control("flash fault dead 1").contains("0 to 0"));
    assert_eq!(server.control("cut at program 1 lost"), "ok");
    spi(&mut guest, 0, &[0x06]);
    spi(&mut guest, 0, &[0x02, 0, 0, 16, 0]);
    assert!(server.control("status").contains("power off"));
    assert_eq!(server.control("power on"), "ok");
    assert_eq!(read(&mut guest), 0x5a, "lost");
    let told = server.end();
    assert!(
        told.contains("power-cut during=program left=lost"),
        "{told}"
    );
}

#[test]
fn a_console_is_this_terminal() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let mut server = Server::start(folder.path(), "console");
    let mut guest = Guest::new(2, 64);
    let _frontend = guest.connect(&server.socket());
    let mut events = server.events();
    guest.write(BUFFERS, b"hello\n> ");
    guest.submit(1, 0, &[out(BUFFERS, 8)]);
    assert_eq!(guest.wait(1, 1), [(0, 0)]);
    let mut line = String::new();
    events.read_line(&mut line).unwrap();
    assert_eq!(line, "| hello\n");
    guest.submit(0, 0, &[room(BUFFERS + 0x100, 64)]);
    assert_eq!(server.control("type reboot now"), "ok");
    assert_eq!(guest.wait(0, 1), [(0, 11)]);
    assert_eq!(guest.read(BUFFERS + 0x100, 11), b"reboot now\n");
    guest.submit(0, 0, &[room(BUFFERS + 0x100, 64)]);
    server.type_line("by hand");
    assert_eq!(guest.wait(0, 1), [(0, 8)]);
    assert_eq!(server.heard(8), "hello\n> ");
    let told = server.end();
    assert!(!told.contains("hello"), "it is on the output: {told}");
}

#[test]
fn a_panel_is_a_picture() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "panel --png p.png");
    let mut guest = Guest::new(2, 64);
    let mut frontend = guest.connect(&server.socket());
    assert_eq!(Guest::config(&mut frontend, 16)[8], 1, "one scanout");
    let (request, answer) = (BUFFERS, BUFFERS + 0x1000);
    let mut ask = |words: &[u32]| {
        // struct virtio_gpu_ctrl_hdr has 24 bytes (virtio 1.4 §5.7.6.7).
        let mut bytes = words[0].to_le_bytes().to_vec();
        bytes.resize(24, 0);
        bytes.extend(words[1..].iter().flat_map(|word| word.to_le_bytes()));
        guest.write(request, &bytes);
        guest.submit(0, 0, &[out(request, bytes.len()), room(answer, 24)]);
        guest.wait(0, 1);
        assert_eq!(guest.get::<u32>(answer), 0x1100, "{words:?}");
    };
    let (width, height) = (256, 128);
    let pixels = BUFFERS + 0x10_000;
    ask(&[0x101, 1, 2, width, height]);
    ask(&[
        0x106,
        1,
        1,
        u32::try_from(pixels).unwrap(),
        0,
        width * height * 4,
        0,
    ]);
    ask(&[0x103, 0, 0, width, height, 0, 1]);
    ask(&[0x105, 0, 0, width, height, 0, 0, 1, 0]);
    ask(&[0x104, 0, 0, width, height, 1, 0]);
    // The answer comes before the picture; a command is obeyed after both.
    assert_eq!(
        server.control("status"),
        "ok panel; flushed 1 times; in use"
    );
    let picture = fs::read(folder.path().join("p.png")).unwrap();
    assert!(picture.starts_with(b"\x89PNG"));
    assert!(server.end().contains("panel-drawn flushes=1"));
}

#[test]
fn what_goes_in_at_one_port_comes_out_at_the_other() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "network --peer-socket t");
    let (mut here, mut there) = (Guest::new(2, 64), Guest::new(2, 64));
    let _first = here.connect(&server.socket());
    let _second = there.connect(&folder.path().join("t"));
    let mut frame = vec![0; 12];
    frame.extend([0xff; 6]);
    frame.extend([2, 0, 0, 0, 0, 1]);
    frame.extend(b"\x88\xb5 hello");
    let send = |here: &mut Guest, there: &mut Guest| {
        there.submit(0, 0, &[room(BUFFERS, 2048)]);
        here.write(BUFFERS, &frame);
        here.submit(1, 0, &[out(BUFFERS, frame.len())]);
        assert_eq!(here.wait(1, 1).len(), 1);
    };
    send(&mut here, &mut there);
    let answers = there.wait(0, 1);
    assert_eq!(answers, [(0, u32::try_from(frame.len()).unwrap())]);
    assert_eq!(there.read(BUFFERS + 12, frame.len() - 12), frame[12..]);
    assert_eq!(server.control("link down 1"), "ok");
    send(&mut here, &mut there);
    assert!(
        server
            .control("status")
            .contains("port 0 sent 2 received 0 lost 1")
    );
    assert_eq!(there.answers(0), []);
    server.end();
}

/// A request of virtio-can (virtio 1.4 §5.22), and its result.
fn can(guest: &mut Guest, queue: usize, request: &[u8]) -> u8 {
    let (at, result) = (BUFFERS, BUFFERS + 0x1000);
    guest.write(at, request);
    guest.put(result, 0xee_u8);
    guest.submit(queue, 0, &[out(at, request.len()), room(result, 1)]);
    assert_eq!(guest.wait(queue, 1), [(0, 1)]);
    guest.get(result)
}

#[test]
fn a_can_controller_is_on_a_bus() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "can");
    assert!(
        server
            .said
            .contains("virtio-id=36,num_vqs=3,vq_size=64,config_size=2"),
        "{}",
        server.said
    );
    let mut guest = Guest::new(3, 64);
    let mut frontend = guest.connect(&server.socket());
    let mut events = server.events();
    let mut told = |wanted: &str| {
        let mut line = String::new();
        while !line.contains(wanted) {
            line.clear();
            assert_ne!(events.read_line(&mut line).unwrap(), 0, "{wanted}");
        }
    };
    let frame = [
        1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x23, 1, 0, 0, 0xbe, 0xef,
    ];
    assert_eq!(can(&mut guest, 0, &frame), 1, "stopped");
    assert_eq!(can(&mut guest, 2, &[1, 2]), 0);
    assert_eq!(server.control("watch on"), "ok");
    assert_eq!(can(&mut guest, 0, &frame), 0, "acknowledged");
    told("can-frame 123#BEEF from=controller");
    let receive = BUFFERS + 0x2000;
    guest.submit(1, 0, &[room(receive, 80)]);
    assert_eq!(server.control("send 00000077##1.0A.0B"), "ok");
    assert_eq!(guest.wait(1, 1), [(0, 18)]);
    let heard = guest.read(receive, 18);
    assert_eq!(heard[..4], [1, 1, 2, 0]);
    assert_eq!(heard[8..], [0, 0xc0, 0, 0, 0x77, 0, 0, 0, 0x0a, 0x0b]);
    assert_eq!(server.control("fault crc 1"), "ok");
    assert_eq!(can(&mut guest, 0, &frame), 0, "at the second try");
    told("can-frame 123#BEEF from=controller error=crc");
    assert!(server.control("status").contains("tec=7"));
    // A rate that nobody understands leads to bus-off.
    assert_eq!(server.control("wrong-rate"), "ok");
    assert_eq!(can(&mut guest, 0, &frame), 1);
    told("can-bus-off");
    assert_eq!(Guest::config(&mut frontend, 2), [1, 0]);
    assert_eq!(server.control("mend"), "ok");
    assert_eq!(can(&mut guest, 2, &[1, 2]), 0);
    assert_eq!(can(&mut guest, 0, &frame), 0, "after 128 pauses");
    assert_eq!(Guest::config(&mut frontend, 2), [0, 0]);
    // Nobody acknowledges, until somebody does.
    assert_eq!(server.control("other off"), "ok");
    guest.write(BUFFERS, &frame);
    guest.submit(0, 0, &[out(BUFFERS, 18), room(BUFFERS + 0x1000, 1)]);
    told("can-error-passive");
    assert_eq!(server.control("other on"), "ok");
    assert_eq!(guest.wait(0, 1), [(0, 1)]);
    assert_eq!(guest.get::<u8>(BUFFERS + 0x1000), 0);
    for (command, hint) in [
        ("send 123", "123#11.22"),
        ("send 800#", "more bits"),
        ("fault cosmic 1", "acknowledgement"),
        ("fault bit 0", "from 1 on"),
        ("watch", "no command"),
    ] {
        let answer = server.control(command);
        assert!(answer.contains(hint), "{command}: {answer}");
    }
    server.end();
}

#[test]
fn every_trouble_of_a_bus_comes_and_goes() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "can --data-bit-rate 0");
    let mut guest = Guest::new(3, 64);
    let _frontend = guest.connect(&server.socket());
    assert_eq!(can(&mut guest, 2, &[1, 2]), 0);
    let frame = [1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x23, 1, 0, 0];
    for (trouble, remedy) in [
        ("cable out", "cable in"),
        ("short on", "short off"),
        ("babble", "mend"),
        ("cable out", "mend"),
        ("short on", "mend"),
    ] {
        assert_eq!(can(&mut guest, 0, &frame), 0, "before {trouble}");
        assert_eq!(server.control(trouble), "ok");
        guest.write(BUFFERS, &frame);
        guest.submit(0, 0, &[out(BUFFERS, 16), room(BUFFERS + 0x1000, 1)]);
        assert!(server.control("status").contains("controller started"));
        assert_eq!(guest.answers(0), [], "{trouble}");
        assert_eq!(server.control(remedy), "ok");
        assert_eq!(guest.wait(0, 1), [(0, 1)], "{remedy}");
    }
    let refused = server.control("send 1##0");
    assert!(refused.contains("123##1.11.22"), "{refused}");
    let refused = server.control("send 001##0");
    assert!(refused.contains("--data-bit-rate is 0"), "{refused}");
    server.end();
}

#[test]
fn board_control_tells_time_and_traces() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let server = Server::start(folder.path(), "board-control --serial MY-1");
    let mut guest = Guest::new(1, 64);
    let mut frontend = guest.connect(&server.socket());
    assert_eq!(&Guest::config(&mut frontend, 32)[16..20], b"MY-1");
    // TRACE (board manual §5.3): op, length, value, then the text.
    guest.put(BUFFERS, 2_u32);
    guest.put(BUFFERS + 4, 5_u32);
    guest.put(BUFFERS + 8, 0_u64);
    guest.write(BUFFERS + 16, b"alive");
    guest.submit(0, 0, &[out(BUFFERS, 21), room(BUFFERS + 0x100, 24)]);
    assert_eq!(guest.wait(0, 1).len(), 1);
    assert_eq!(guest.get::<u32>(BUFFERS + 0x100), 0);
    assert!(server.control("status").contains("serial MY-1; boots 1"));
    assert!(server.end().contains("alive"));
}

#[test]
fn every_kind_teaches() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    for kind in [
        "raid",
        "media",
        "flash",
        "console",
        "panel",
        "network",
        "can",
        "board-control",
    ] {
        let output = arraybench(folder.path())
            .args(["device", kind, "--help"])
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            text.contains("Examples:") && text.contains("--control"),
            "{text}"
        );
        assert!(
            text.contains(&format!("arraybench device {kind}")),
            "{text}"
        );
    }
}
