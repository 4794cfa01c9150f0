//! The options that `arraybench device` prints, given to stock QEMU.

use std::path::Path;

use crate::machine::Machine;
use crate::server::{Server, alone};

/// What the server says of how to attach QEMU, in lines that begin with `start`: a line a socket.
fn attachments(server: &Server, start: &str) -> Vec<String> {
    let lines = server.said.lines();
    let lines = lines.filter_map(|line| line.strip_prefix(start));
    lines.map(|line| line.trim().to_owned()).collect()
}

const ANY: &str = "qemu:";
const OWN_CARD: &str = "qemu, its card:";

/// The words of a line from `-chardev` on, on PCI, with names that no other device has.
fn device(line: &str, folder: &str, name: &str) -> String {
    let (_, words) = line.split_once("-chardev ").unwrap();
    format!(" -chardev {words}")
        .replace("vhost-user-test-device,", "vhost-user-test-device-pci,")
        .replace("path=", &format!("path={folder}/"))
        .replace("c0", name)
}

#[test]
fn a_linux_goes_on_after_a_stop_and_after_a_kill_of_its_disk() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    // Disks that take their time, so that something is under way whenever it comes.
    let words = "raid --level 5 --disk a --disk b --disk d --size 4MiB --timing real";
    let server = Server::start(folder.path(), words);
    let [line] = attachments(&server, ANY).try_into().unwrap();
    let mut machine = Machine::linux(
        folder.path(),
        &line.replace("path=s", "path=s,reconnect-ms=50"),
    );
    assert_eq!(machine.ask("cat /sys/class/block/vda/size"), "15808");
    machine.type_line("dd if=/dev/urandom of=/tmp/data bs=4k count=256 2>/tmp/said");
    let wanted = machine.ask("md5sum < /tmp/data");
    let write = |machine: &mut Machine| {
        let dd = "dd if=/tmp/data of=/dev/vda bs=4k oflag=direct 2>/tmp/said";
        machine.type_line("writes() { set -- $(cat /sys/block/vda/stat); echo $5; }");
        machine.type_line(&format!(
            "before=$(writes); ({dd}; echo written: $?) & until [ $(writes) -gt $((before + 5)) ]; \
             do :; done; echo begun"
        ));
        machine.until("begun");
    };
    let read = |machine: &mut Machine| {
        machine.ask("dd if=/dev/vda bs=4k count=256 iflag=direct 2>/tmp/said | md5sum")
    };
    write(&mut machine);
    for _ in 0..3 {
        machine.order("stop");
        let status = machine.order("query-status");
        assert_eq!(status["status"], "paused", "{status}");
        assert!(server.control("status").contains("no driver"));
        machine.order("cont");
    }
    assert_eq!(machine.until("written:"), "0");
    assert_eq!(read(&mut machine), wanted);

    machine.type_line("dd if=/dev/urandom of=/tmp/data bs=4k count=256 2>/tmp/said");
    let wanted = machine.ask("md5sum < /tmp/data");
    write(&mut machine);
    server.kill();
    let server = Server::start(folder.path(), words);
    assert_eq!(machine.until("written:"), "0");
    assert_eq!(read(&mut machine), wanted);
    machine.quit();
    server.end();
}

const KINDS: [(&str, &str); 8] = [
    ("raid", "raid --level 1 --memory 1MiB"),
    ("media", "media"),
    ("flash", "flash --chip chip --size 1MiB"),
    ("console", "console"),
    ("panel", "panel --png p.png"),
    ("network", "network --peer-socket t"),
    ("board", "board-control"),
    ("can", "can"),
];

fn serve(folder: &Path, (name, words): (&str, &str)) -> Server {
    let folder = folder.join(name);
    std::fs::create_dir(&folder).unwrap();
    Server::start(&folder, words)
}

#[test]
fn qemu_takes_every_line_as_it_is_printed() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    for kind in KINDS {
        let server = serve(folder.path(), kind);
        let mut lines = attachments(&server, ANY);
        lines.extend(attachments(&server, OWN_CARD));
        for line in lines {
            let mut machine = Machine::start(&folder.path().join(kind.0), &format!("{line} -S"));
            let devices = machine.order("x-query-virtio");
            assert_eq!(devices.as_array().unwrap().len(), 1, "{line}: {devices}");
            machine.quit();
        }
        server.end();
    }
}

#[test]
fn a_linux_finds_every_device() {
    let _alone = alone();
    let folder = tempfile::tempdir().unwrap();
    let mut servers = Vec::new();
    let mut words = String::new();
    for kind in KINDS {
        let server = serve(folder.path(), kind);
        words += &device(&attachments(&server, ANY)[0], kind.0, kind.0);
        // The other port of the network as QEMU's own card.
        if let Some(line) = attachments(&server, OWN_CARD).get(1) {
            words += &device(line, kind.0, "own");
        }
        servers.push(server);
    }
    let memory = "-object memory-backend-memfd,id=m,size=512M,share=on -machine q35,memory-backend=m -m 512M";
    let mut machine = Machine::linux(folder.path(), &format!("{memory} {words}"));
    for module in ["failover", "net_failover", "virtio_net", "virtio_console"] {
        machine.type_line(&format!("insmod /modules/{module}.ko"));
    }
    // By virtio id: those that the kernel has a driver for, and those that it only sees.
    let found = machine.ask("cat /sys/bus/virtio/devices/*/device");
    assert_eq!(
        found,
        "0x0002 0x0002 0x002d 0x0003 0x0010 0x0001 0x0001 0x0026 0x0024"
    );
    let driven = machine.ask("cd /sys/bus/virtio/drivers && echo */virtio*");
    assert_eq!(
        driven,
        "virtio_blk/virtio0 virtio_blk/virtio1 virtio_console/virtio3 virtio_net/virtio5 virtio_net/virtio6"
    );
    machine.type_line("echo hello > /dev/hvc0");
    assert_eq!(servers[3].heard(7), "hello\r\n");
    // A terminal that nobody has open forgets what is typed.
    machine.type_line("exec 3</dev/hvc0; echo open");
    machine.until("open");
    assert_eq!(servers[3].control("type good day"), "ok");
    machine.type_line("read line <&3; echo typed: $line");
    assert_eq!(machine.until("typed:"), "good day");
    // Through one port, over the segment, in at the other, to its address.
    machine.type_line("ifconfig eth1 up; ifconfig eth0 10.0.0.1 up");
    machine.type_line("arp -s 10.0.0.2 $(cat /sys/class/net/eth1/address)");
    // So many bytes are no chatter of the kernel's own.
    machine.type_line("ping -c 1 -w 1 -s 1400 10.0.0.2 > /tmp/said");
    let bytes = "$(cat /sys/class/net/eth1/statistics/rx_bytes)";
    machine.type_line(&format!(
        "until [ {bytes} -ge 1400 ]; do :; done; echo came"
    ));
    machine.until("came");
    let status = servers[5].control("status");
    assert!(status.contains("port 0 sent"), "{status}");
    machine.quit();
    for server in servers {
        server.end();
    }
}
