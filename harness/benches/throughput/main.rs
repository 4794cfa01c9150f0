//! How fast the RAID shelf is over vhost-user, beside qemu-storage-daemon, from the same client in the same run.
//!
//! `scripts/bench` runs it; `cargo bench --bench throughput -- PART-OF-A-NAME` only some loads, `guest` those of a
//! Linux inside. Both serve
//! 512 MiB that were written before: the shelf from memory, the daemon a file on tmpfs, in its usual and in its best
//! setting. Rounds take turns, so that what else the machine does hits all. What a server takes of a CPU for what it
//! moves depends less on that than how long it takes.

mod client;
mod guest;
#[path = "../measure/mod.rs"]
mod measure;
mod server;

use std::time::{Duration, Instant};

use client::{Client, Load};
use measure::{median, millis, report};
use server::Server;

const VOLUME: u64 = 512 << 20;
const ROUNDS: usize = 7;
/// How long one load runs in one round, about.
const SPAN: Duration = Duration::from_millis(300);

/// Fills the volume before anything is measured: what was never written is read and written otherwise.
const FILL: Load = load("fill", true, true, 1 << 20, 4);

const LOADS: [Load; 6] = [
    load("read 4 KiB, anywhere, 1 at a time", false, false, 4096, 1),
    load("read 4 KiB, anywhere, 32 at a time", false, false, 4096, 32),
    load("write 4 KiB, anywhere, 1 at a time", true, false, 4096, 1),
    load("write 4 KiB, anywhere, 32 at a time", true, false, 4096, 32),
    load("read 1 MiB in order, 4 at a time", false, true, 1 << 20, 4),
    load("write 1 MiB in order, 4 at a time", true, true, 1 << 20, 4),
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

/// What one server did of one load.
#[derive(Default)]
struct Done {
    /// Requests a second, of each round.
    rates: Vec<f64>,
    requests: u64,
    cpu: Duration,
}

impl Done {
    fn round(&mut self, server: &Server, load: Load) {
        let mut client = Client::connect(&server.socket);
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
        let (cpu, begin) = (server.cpu(), Instant::now());
        client.run(load, count);
        self.rates.push(of(count) / begin.elapsed().as_secs_f64());
        self.cpu += server.cpu().saturating_sub(cpu);
        self.requests += count;
        client.leave();
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count of requests")]
fn of(count: u64) -> f64 {
    count as f64
}

#[expect(clippy::print_stdout, reason = "this is what the program is for")]
fn main() {
    let wanted = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    let wanted = wanted.unwrap_or_default();
    let folder = std::env::temp_dir().join(format!("arraybench-throughput-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for sockets");
    let shelf = |name, shape, poll_us| Server::shelf(name, &folder, shape, VOLUME, poll_us);
    let mut servers = vec![
        shelf("shelf, RAID 0", (0, 1), 0),
        shelf("shelf, RAID 0, polling", (0, 1), 100),
    ];
    servers.extend(Server::daemon(
        "daemon, as it comes",
        &folder,
        VOLUME,
        false,
    ));
    servers.extend(Server::daemon("daemon, at its best", &folder, VOLUME, true));
    let compared = servers.len();
    servers.push(shelf("shelf, RAID 5 of three", (5, 3), 100));
    if compared < 4 {
        println!("qemu-storage-daemon is not here: nothing to compare with (Debian: qemu-utils)");
    }
    for server in &servers {
        let mut client = Client::connect(&server.socket);
        client.run(FILL, VOLUME / u64::from(FILL.bytes) + 1);
        client.leave();
    }
    for load in LOADS.iter().filter(|load| load.name.contains(&wanted)) {
        println!("{}", load.name);
        let mut all: Vec<Done> = servers.iter().map(|_| Done::default()).collect();
        for _ in 0..ROUNDS {
            for (server, done) in servers.iter().zip(&mut all) {
                done.round(server, *load);
            }
        }
        let mut medians = Vec::new();
        for (
            server,
            Done {
                rates,
                requests,
                cpu,
            },
        ) in servers.iter().zip(all)
        {
            let best = rates.iter().copied().fold(0.0, f64::max);
            let rate = median(rates);
            let gigabytes = |requests: f64| requests * f64::from(load.bytes) / 1e9;
            println!(
                "  {:<24} {rate:>9.0} requests/s (best {best:>9.0}) {:>6.2} GB/s {:>5.0} ms of CPU a GB",
                server.name,
                gigabytes(rate),
                millis(cpu) / gigabytes(of(requests)),
            );
            medians.push(rate);
        }
        if compared == 4 {
            let best = |rates: &[f64]| rates.iter().copied().fold(0.0, f64::max);
            let ratio = best(&medians[..2]) / best(&medians[2..4]);
            report(
                "  shelf, RAID 0, of the daemon",
                ratio * 100.0,
                "%",
                ">= 100",
            );
        }
    }
    if compared == 4 && (wanted.is_empty() || "guest".contains(&wanted)) {
        let all: Vec<&Server> = servers.iter().collect();
        guest::compare(&all[..2], &all[2..4]);
    }
    drop(servers);
    let _ = std::fs::remove_dir_all(&folder);
}
