//! The back-ends that are compared.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;

/// A back-end at work.
pub(crate) struct Server {
    pub(crate) name: &'static str,
    child: Child,
    pub(crate) socket: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(name: &'static str, socket: PathBuf, mut command: Command) -> Server {
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start: {error}"));
        let patience = Instant::now();
        while !socket.exists() {
            assert!(
                patience.elapsed() < Duration::from_secs(20),
                "{name} does not listen"
            );
            std::thread::yield_now();
        }
        Server {
            name,
            child,
            socket,
        }
    }

    /// `arraybench device raid` of members in memory, with a volume of about `volume` bytes.
    pub(crate) fn shelf(
        name: &'static str,
        folder: &Path,
        (level, members): (u8, u64),
        volume: u64,
        poll_us: u32,
    ) -> Server {
        let socket = socket_in(folder, name);
        // A member has a superblock and a journal besides, and checksums.
        let columns = if level == 5 { members - 1 } else { members };
        let member = volume / MIB / columns * 520 / 512 + 1;
        let mut command = Command::new(env!("CARGO_BIN_EXE_arraybench"));
        command
            .args(["device", "raid", "--level", &level.to_string()])
            .args(["--members", &members.to_string()])
            .args(["--memory", &format!("{member}MiB"), "--cache", "64MiB"])
            .args(["--poll-us", &poll_us.to_string(), "--socket"])
            .arg(&socket);
        Server::start(name, socket, command)
    }

    /// `qemu-storage-daemon` with a file on tmpfs, as it comes or with the options that make it fastest.
    /// Nothing where there is none.
    pub(crate) fn daemon(
        name: &'static str,
        folder: &Path,
        volume: u64,
        best: bool,
    ) -> Option<Server> {
        let found = Command::new("qemu-storage-daemon")
            .arg("--version")
            .output();
        found.ok()?;
        let file = Path::new("/dev/shm").join(format!("arraybench-{}-{best}", std::process::id()));
        let image = std::fs::File::create(&file).ok()?;
        image.set_len(volume).ok()?;
        let socket = socket_in(folder, name);
        let options = if best {
            ",aio=native,cache.direct=on"
        } else {
            ""
        };
        let thread = if best { ",iothread=io" } else { "" };
        let mut command = Command::new("qemu-storage-daemon");
        command
            .args(["--object", "iothread,id=io"])
            .arg("--blockdev")
            .arg(format!(
                "file,node-name=disk,filename={}{options}",
                file.display()
            ))
            .arg("--export")
            .arg(format!(
                "vhost-user-blk,id=export,node-name=disk,writable=on,num-queues=1,\
                 addr.type=unix,addr.path={}{thread}",
                socket.display()
            ));
        let server = Server::start(name, socket, command);
        // Gone when the daemon is.
        let _ = std::fs::remove_file(&file);
        Some(server)
    }

    /// The CPU time all its threads have used.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()));
        let stat = stat.expect("it lives");
        // Behind the name, which ends with the last parenthesis: utime and stime are fields 14 and 15.
        let (_, fields) = stat.rsplit_once(')').expect("a name");
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks.map(|it| it.parse::<u64>().expect("a count")).sum();
        // Of Linux's USER_HZ, which is 100 on every machine that has KVM.
        Duration::from_millis(ticks * 10)
    }
}

fn socket_in(folder: &Path, name: &str) -> PathBuf {
    // The daemon's options end at a comma.
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    folder.join(letters.collect::<String>())
}
