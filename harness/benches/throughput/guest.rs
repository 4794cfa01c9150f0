//! The same from inside: a Linux of Debian with the disk as /dev/vda, and its `dd`. QEMU translates its code,
//! which takes most of the time and hides most of the difference.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Stdio};

use emulator::engine::qemu::installation::Installation;

use crate::measure::{median, report};
use crate::server::Server;

const ROUNDS: usize = 3;

/// What `dd` is told, and how many bytes that moves.
const LOADS: [(&str, &str, u64); 4] = [
    (
        "guest reads 4 KiB in order, 1 at a time",
        "if=/dev/vda of=/dev/null iflag=direct bs=4k count=2048",
        8 << 20,
    ),
    (
        "guest writes 4 KiB in order, 1 at a time",
        "if=/dev/zero of=/dev/vda oflag=direct bs=4k count=2048",
        8 << 20,
    ),
    (
        "guest reads 1 MiB in order, 1 at a time",
        "if=/dev/vda of=/dev/null iflag=direct bs=1M count=128",
        128 << 20,
    ),
    (
        "guest writes 1 MiB in order, 1 at a time",
        "if=/dev/zero of=/dev/vda oflag=direct bs=1M count=128",
        128 << 20,
    ),
];

/// A Linux that takes lines from its serial port.
struct Guest {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Guest {
    fn boot(installation: &Installation, folder: &Path, server: &Server) -> Guest {
        let mut child = installation
            .command()
            .args(["-nodefaults", "-no-user-config", "-display", "none"])
            .args(["-accel", "tcg", "-cpu", "qemu64,+rdrand", "-m", "256M"])
            .args([
                "-object",
                "memory-backend-memfd,id=m,size=256M,share=on",
                "-machine",
                "q35,memory-backend=m",
                "-device",
                "vhost-user-blk-pci,chardev=disk,num-queues=1",
                "-append",
                "console=ttyS0 panic=-1",
                "-serial",
                "stdio",
                "-chardev",
            ])
            .arg(format!("socket,id=disk,path={}", server.socket.display()))
            .arg("-kernel")
            .arg(folder.join("vmlinuz"))
            .arg("-initrd")
            .arg(folder.join("initramfs.cpio"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("QEMU starts");
        let mut guest = Guest {
            input: child.stdin.take().expect("a pipe"),
            output: BufReader::new(child.stdout.take().expect("a pipe")),
            child,
        };
        guest.wait_for("linux is up");
        guest
    }

    /// The first line with `word`.
    fn wait_for(&mut self, word: &str) -> String {
        loop {
            let mut line = Vec::new();
            let read = self.output.read_until(b'\n', &mut line);
            assert!(read.is_ok_and(|bytes| bytes > 0), "the guest is gone");
            let line = String::from_utf8_lossy(&line);
            if line.contains(word) {
                return line.into_owned();
            }
        }
    }

    /// The seconds `dd` took, by the guest's clock.
    fn dd(&mut self, told: &str) -> f64 {
        writeln!(self.input, "time dd {told}").expect("the guest listens");
        // As in `real 0m 1.25s`.
        let line = self.wait_for("real");
        let mut words = line.split_whitespace().skip(1);
        let mut number = |unit| -> f64 {
            let word = words.next().expect("two numbers");
            let number = word.trim_end_matches(unit).parse();
            number.unwrap_or_else(|_| panic!("no time: {line}"))
        };
        number('m') * 60.0 + number('s')
    }
}

/// The best of ours against the best of theirs, which take turns.
#[expect(clippy::print_stdout, reason = "this is what the program is for")]
pub(crate) fn compare(ours: &[&Server], theirs: &[&Server]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.setup/linux");
    let Ok(installation) = Installation::find() else {
        println!("QEMU is not here: nothing measured from a guest (scripts/setup --qemu)");
        return;
    };
    if !folder.join("vmlinuz").exists() {
        println!("no Linux is here: nothing measured from a guest (scripts/setup --foreign)");
        return;
    }
    let servers: Vec<&Server> = ours.iter().chain(theirs).copied().collect();
    let boot = |server: &&Server| Guest::boot(&installation, &folder, server);
    let mut guests: Vec<Guest> = servers.iter().map(boot).collect();
    for (name, told, bytes) in LOADS {
        println!("{name}");
        let mut seconds = vec![Vec::new(); guests.len()];
        for _ in 0..ROUNDS {
            for (guest, seconds) in guests.iter_mut().zip(&mut seconds) {
                seconds.push(guest.dd(told));
            }
        }
        let medians: Vec<f64> = seconds.into_iter().map(median).collect();
        for (server, seconds) in servers.iter().zip(&medians) {
            #[expect(clippy::cast_precision_loss, reason = "a count of bytes")]
            let megabytes = bytes as f64 / seconds / 1e6;
            println!("  {:<24} {megabytes:>9.1} MB/s", server.name);
        }
        let least = |seconds: &[f64]| seconds.iter().copied().fold(f64::INFINITY, f64::min);
        let (ours, theirs) = medians.split_at(ours.len());
        let ratio = least(theirs) / least(ours);
        report(
            "  shelf, RAID 0, of the daemon",
            ratio * 100.0,
            "%",
            ">= 100",
        );
    }
}
