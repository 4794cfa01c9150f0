//! How many frames a second the CAN bus does, with all nodes reading what they hear and without.
//!
//! `cargo bench -p arraybench-devices --bench can [-- PART-OF-A-NAME]`. Each line: what is sent on a bus of
//! how many nodes, frames a second, deliveries a second, bytes a node when stored.

use std::time::{Duration, Instant};

use devices::can::{BitRates, CanBus, Frame, Identifier, NodeId, Topology};
use devices::time::Nanos;

const LEAST_TIME: Duration = Duration::from_millis(700);
const BATCH: u32 = 4096;

/// Frames of one kind.
struct Load {
    name: &'static str,
    /// Data bytes, and whether of an FD frame.
    bytes: usize,
    fd: bool,
    /// Nodes that send, all at once; the others only hear.
    senders: u16,
    /// All read what they hear; otherwise all overrun.
    read: bool,
}

const LOADS: [Load; 4] = [
    Load {
        name: "8 bytes, one sender",
        bytes: 8,
        fd: false,
        senders: 1,
        read: true,
    },
    Load {
        name: "64 bytes FD, one sender",
        bytes: 64,
        fd: true,
        senders: 1,
        read: true,
    },
    Load {
        name: "8 bytes, all send",
        bytes: 8,
        fd: false,
        senders: u16::MAX,
        read: true,
    },
    Load {
        name: "8 bytes, nobody reads",
        bytes: 8,
        fd: false,
        senders: 1,
        read: false,
    },
];

fn bus(nodes: u16) -> CanBus {
    let mut bus = CanBus::new(Topology::new(1), BitRates::default());
    for _ in 0..nodes {
        let node = bus.add_node(0).expect("a segment");
        bus.set_powered(Nanos::ZERO, node, true);
        bus.start(Nanos::ZERO, node);
    }
    bus.advance(Nanos::from_millis(1));
    bus
}

fn frame(load: &Load, node: NodeId, n: u32) -> Frame {
    let mut data = [0x5a; 64];
    data[..4].copy_from_slice(&n.to_le_bytes());
    let (identifier, data) = (Identifier::Standard(node), &data[..load.bytes]);
    let frame = if load.fd {
        Frame::fd(identifier, true, data)
    } else {
        Frame::data(identifier, data)
    };
    frame.expect("a lawful frame")
}

/// Every sender always has one frame to send; each hears and reads all others.
fn play(load: &Load, bus: &mut CanBus) -> (u64, u64, Duration) {
    let nodes = u16::try_from(bus.nodes()).expect("few nodes");
    let senders = load.senders.min(nodes);
    let (begin, first) = (Instant::now(), bus.frames_begun());
    let (mut heard, mut sum) = (0, 0);
    while begin.elapsed() < LEAST_TIME {
        for n in 0..BATCH {
            let now = bus.now();
            for node in 0..senders {
                if bus.to_send(node) == 0 {
                    bus.take_completion(node);
                    bus.send(now, node, frame(load, node, n)).expect("room");
                }
            }
            // Arbitration, then the end of the frame.
            for _ in 0..2 {
                let at = bus.deadline().expect("a frame to send");
                bus.advance(at);
            }
            // Each reads at its own pace, as boards do that poll.
            if load.read && n % 32 == 31 {
                for node in 0..nodes {
                    bus.receive_while(node, |received| {
                        sum += u64::from(received.frame.payload()[0]);
                        heard += 1;
                        true
                    });
                }
            }
        }
    }
    let took = begin.elapsed();
    std::hint::black_box(sum);
    let overrun = bus.counters(nodes - 1).overrun > 0;
    assert_ne!(overrun, load.read, "everything is read, or nothing");
    (bus.frames_begun() - first, heard, took)
}

fn main() {
    let wanted = std::env::args()
        .skip(1)
        .find(|word| !word.starts_with('-'))
        .unwrap_or_default();
    for nodes in [3, 128] {
        for load in &LOADS {
            let name = format!("{nodes} nodes: {}", load.name);
            if !name.contains(&wanted) {
                continue;
            }
            let mut bus = bus(nodes);
            let (frames, heard, took) = play(load, &mut bus);
            let a_second = |count: u64| count as f64 / took.as_secs_f64();
            let stored = postcard::to_stdvec(&bus).expect("plain data").len();
            let bytes = stored / usize::from(nodes);
            let (frames, heard) = (a_second(frames), a_second(heard));
            #[expect(clippy::print_stdout, reason = "this is what the program is for")]
            {
                println!(
                    "{name:<36} {frames:>11.0} frames/s {heard:>12.0} heard/s {bytes:>6} B/node"
                );
            }
        }
    }
}
