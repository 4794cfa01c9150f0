//! A virtual machine of stock QEMU with a Linux in it: its serial port and its monitor.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use emulator::engine::qemu::installation::Installation;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};

/// After so long nothing comes any more.
const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Machine {
    child: Child,
    serial: BufReader<UnixStream>,
    monitor: BufReader<UnixStream>,
}

/// What `scripts/setup` made.
fn set_up(file: &str) -> PathBuf {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    checkout.join(".setup").join(file)
}

/// QEMU connects to this test: nobody has to look when its sockets are there.
fn accept(listener: &UnixListener) -> BufReader<UnixStream> {
    let mut fds = [PollFd::new(listener, PollFlags::IN)];
    let patience = Timespec::try_from(PATIENCE).unwrap();
    assert_eq!(poll(&mut fds, Some(&patience)), Ok(1), "QEMU does not come");
    let (stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    BufReader::new(stream)
}

impl Machine {
    /// Starts QEMU in `folder` with the options `words`.
    pub(crate) fn start(folder: &Path, words: &str) -> Machine {
        let listen = |name: &str| {
            let path = folder.join(name);
            let _ = fs::remove_file(&path);
            UnixListener::bind(path).unwrap()
        };
        let (serial, monitor) = (listen("serial"), listen("monitor"));
        let mut command: Command = Installation::find().unwrap().command();
        command
            .current_dir(folder)
            .args(words.split_whitespace())
            .args("-nodefaults -display none -no-user-config -no-reboot".split(' '))
            .args("-chardev socket,id=serial,path=serial -serial chardev:serial".split(' '))
            .args(["-qmp", "unix:monitor"]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
        let mut machine = Machine {
            child: child.unwrap(),
            serial: accept(&serial),
            monitor: accept(&monitor),
        };
        assert!(machine.hear().get("QMP").is_some());
        machine.order("qmp_capabilities");
        machine
    }

    /// The same with a Linux, until it takes lines.
    pub(crate) fn linux(folder: &Path, words: &str) -> Machine {
        let mut files = fs::read(set_up("linux/initramfs.cpio")).unwrap();
        files.extend(modules());
        fs::write(folder.join("initramfs"), files).unwrap();
        let kernel = set_up("linux/vmlinuz");
        let kernel = kernel.display();
        let words = format!("{words} -cpu qemu64,+rdrand -kernel {kernel} -initrd initramfs");
        let mut machine =
            Machine::start(folder, &format!("{words} -append console=ttyS0,panic=-1"));
        machine.until("linux is up");
        machine
    }

    fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.monitor.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap()
    }

    /// An order to the monitor; its answer. What happens meanwhile is passed over.
    pub(crate) fn order(&mut self, name: &str) -> Value {
        let order = json!({ "execute": name });
        writeln!(self.monitor.get_mut(), "{order}").unwrap();
        loop {
            let mut heard = self.hear();
            if let Some(answer) = heard.get_mut("return") {
                return answer.take();
            }
            assert!(heard.get("event").is_some(), "{name}: {heard}");
        }
    }

    /// Types a line at the serial port.
    pub(crate) fn type_line(&mut self, line: &str) {
        writeln!(self.serial.get_mut(), "{line}").unwrap();
    }

    /// Reads lines up to one that begins with `start`; the rest of that.
    pub(crate) fn until(&mut self, start: &str) -> String {
        let mut all = String::new();
        loop {
            let mut line = String::new();
            let read = self.serial.read_line(&mut line);
            assert!(matches!(read, Ok(1..)), "no {start:?}: {read:?}: {all}");
            if let Some(rest) = line.trim().strip_prefix(start) {
                return rest.trim().to_owned();
            }
            all += &line;
        }
    }

    /// What a command of the shell prints, in one line.
    pub(crate) fn ask(&mut self, command: &str) -> String {
        self.type_line(&format!("echo found: $({command})"));
        self.until("found:")
    }

    pub(crate) fn quit(mut self) {
        self.order("quit");
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // One that has ended already is none the worse for it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Drivers that the Linux of the rigs does without, as an archive to go behind its own (the kernel's
/// Documentation/driver-api/early-userspace/buffer-format.rst).
fn modules() -> Vec<u8> {
    let modules = set_up("foreign/lib/modules");
    let version = fs::read_dir(modules).unwrap().next().unwrap().unwrap();
    let mut archive = Vec::new();
    for (number, file) in (1..).zip([
        "net/core/failover.ko",
        "drivers/net/net_failover.ko",
        "drivers/net/virtio_net.ko",
        "drivers/char/virtio_console.ko",
    ]) {
        let bytes = fs::read(version.path().join("kernel").join(file)).unwrap();
        let name = file.rsplit_once('/').unwrap().1;
        entry(&mut archive, number, &format!("modules/{name}"), &bytes);
    }
    entry(&mut archive, 0, "TRAILER!!!", b"");
    archive
}

fn entry(archive: &mut Vec<u8>, number: usize, name: &str, bytes: &[u8]) {
    let pad = |archive: &mut Vec<u8>| archive.resize(archive.len().next_multiple_of(4), 0);
    archive.extend(b"070701");
    let (mode, links, size) = (0o100_644, 1, bytes.len());
    for field in [
        number,
        mode,
        0,
        0,
        links,
        0,
        size,
        0,
        0,
        0,
        0,
        name.len() + 1,
        0,
    ] {
        archive.extend(format!("{field:08x}").bytes());
    }
    archive.extend(name.bytes().chain([0]));
    pad(archive);
    archive.extend(bytes);
    pad(archive);
}
