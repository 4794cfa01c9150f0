//! How fast the RAID shelf is over vhost-user, beside qemu-storage-daemon, from the same client in the same run.
//!
//! `scripts/bench` runs it. Both serve 512 MiB: the shelf from memory, the daemon a file on tmpfs, in its
//! usual and in its best setting. Rounds take turns, so that what else the machine does hits all.

mod client;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use client::{Client, Load};

const VOLUME_MIB: u64 = 512;
const ROUNDS: usize = 7;
/// How long one load runs in one round, about.
const SPAN: Duration = Duration::from_millis(300);

const LOADS: [Load; 6] = [
    load("read 4 KiB, anywhere, 1 at a time", false, false, 4096, 1),
    load("read 4 KiB, anywhere, 32 at a time", false, false, 4096, 32),
    load("write 4 KiB, anywhere, 1 at a time", true, false, 4096, 1),
    load("write 4 KiB, anywhere, 32 at a time", true, false, 4096, 32),
    load(
        "read 1 MiB, one after the other, 4 at a time",
        false,
        true,
        1 << 20,
        4,
    ),
    load(
        "write 1 MiB, one after the other, 4 at a time",
        true,
        true,
        1 << 20,
        4,
    ),
];

const fn load(name: &'static str, writes: bool, sequential: bool, bytes: u32, depth: u16) -> Load {
    Load {
        name,
        writes,
        sequential,
        bytes,
        depth,
    }
}

/// A back-end at work.
struct Server {
    name: &'static str,
    child: Child,
    socket: PathBuf,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

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

fn socket_in(folder: &Path, name: &str) -> PathBuf {
    // The daemon's options end at a comma.
    let letters = name.chars().filter(char::is_ascii_alphanumeric);
    folder.join(letters.collect::<String>())
}

fn shelf(name: &'static str, folder: &Path, level: &str, members: u64, poll_us: u32) -> Server {
    let socket = socket_in(folder, name);
    let mut command = Command::new(env!("CARGO_BIN_EXE_arraybench"));
    // A member has a superblock and a journal besides.
    let member = VOLUME_MIB / if level == "5" { members - 1 } else { members } + 16;
    command
        .args([
            "device",
            "raid",
            "--level",
            level,
            "--members",
            &members.to_string(),
        ])
        .args(["--memory", &format!("{member}MiB"), "--cache", "64MiB"])
        .args(["--poll-us", &poll_us.to_string(), "--socket"])
        .arg(&socket);
    start(name, socket, command)
}

fn daemon(name: &'static str, folder: &Path, best: bool) -> Option<Server> {
    let found = Command::new("qemu-storage-daemon")
        .arg("--version")
        .output();
    found.ok()?;
    let file = Path::new("/dev/shm").join(format!("arraybench-{}-{best}", std::process::id()));
    let image = std::fs::File::create(&file).ok()?;
    // Blocks that exist, as those of the shelf do after its first pass.
    for _ in 0..VOLUME_MIB {
        std::io::Write::write_all(&mut &image, &vec![0x5a; 1 << 20]).ok()?;
    }
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
    let server = start(name, socket, command);
    // Gone when the daemon is.
    let _ = std::fs::remove_file(&file);
    Some(server)
}

/// Requests a second.
fn rate(client: &mut Client, load: Load) -> f64 {
    let trial = Instant::now();
    let few = u64::from(load.depth) * 8;
    client.run(load, few);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "how many requests about fill the span"
    )]
    let count = (few as f64 * SPAN.as_secs_f64() / trial.elapsed().as_secs_f64()) as u64;
    let count = count.clamp(few, 2_000_000);
    let begin = Instant::now();
    client.run(load, count);
    #[expect(clippy::cast_precision_loss, reason = "a count of requests")]
    let done = count as f64;
    done / begin.elapsed().as_secs_f64()
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

#[expect(clippy::print_stdout, reason = "this is what the program is for")]
fn main() {
    let folder = std::env::temp_dir().join(format!("arraybench-throughput-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for sockets");
    let mut servers = vec![
        shelf("shelf, RAID 0", &folder, "0", 1, 0),
        shelf("shelf, RAID 0, polling", &folder, "0", 1, 100),
    ];
    servers.extend(daemon("daemon, as it comes", &folder, false));
    servers.extend(daemon("daemon, at its best", &folder, true));
    servers.push(shelf("shelf, RAID 5 of three", &folder, "5", 3, 100));
    if servers.len() < 5 {
        println!("qemu-storage-daemon is not here: nothing to compare with (Debian: qemu-utils)");
    }
    for load in LOADS {
        println!("{}", load.name);
        let mut rates = vec![Vec::new(); servers.len()];
        for _ in 0..ROUNDS {
            for (server, rates) in servers.iter().zip(&mut rates) {
                let mut client = Client::connect(&server.socket);
                rates.push(rate(&mut client, load));
                client.leave();
            }
        }
        for (server, rates) in servers.iter().zip(rates) {
            let rate = median(rates);
            let gigabytes = rate * f64::from(load.bytes) / 1e9;
            println!(
                "  {:<24} {rate:>12.0} requests/s {gigabytes:>8.2} GB/s",
                server.name
            );
        }
    }
    drop(servers);
    let _ = std::fs::remove_dir_all(&folder);
}
