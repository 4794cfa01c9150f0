//! Many nodes.

use distribution::{Content, Edition, Module, Offer};
use emulator::rig::NodeType;
use harness::firmware::node_image;
use harness::runner::Engine;

use crate::bench::{Bench, Images, RIG, rig};

/// What it takes until all of so many drives run their images.
struct Cost {
    /// Exits of each.
    exits: u64,
    /// KiB of memory of each.
    memory: usize,
    broadcasts: usize,
    /// Since the master closed its first window.
    seconds: f64,
}

fn cost(count: u16, offer: Offer) -> Cost {
    let mut rig = rig(RIG);
    rig.nodes.truncate(1);
    let group = &mut rig.nodes[0];
    (group.name, group.kind, group.count) = ("drive".to_owned(), NodeType::Drive, count);
    let before = resident_kib();
    let mut bench = Bench::of(rig, Engine::Kvm);
    let image = node_image(Module::Drive, "1.0").expect("the product has it");
    let only = Content::Only(Module::Drive);
    bench.start_master(Images::default().with(Edition::Base, only, image), offer);
    bench.power_on();
    let closed = |bench: &Bench| bench.count("master", "window-closed") > 0;
    assert!(bench.play(5, closed), "{}", bench.told());
    let begun = bench.array.now();
    // Each line is looked at once: there are many.
    let (mut looked, mut up) = (0, 0);
    let all_up = bench.play(100, |bench| {
        let new = &bench.lines[looked..];
        looked = bench.lines.len();
        up += new
            .iter()
            .filter(|it| it.contains(": operational "))
            .count();
        up == usize::from(count)
    });
    assert!(all_up, "{}", bench.told());
    let memory = resident_kib().saturating_sub(before) / usize::from(count);
    let exits = bench.array.nodes().iter().map(|it| it.counters().exits);
    Cost {
        exits: exits.sum::<u64>() / u64::from(count),
        memory,
        broadcasts: bench.count("master", "broadcast-started"),
        seconds: (bench.array.now().0 - begun.0) as f64 / 1e9,
    }
}

fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let mut lines = status.lines();
    let line = lines.find(|it| it.starts_with("VmRSS:")).expect("a line");
    let number = line.split_whitespace().nth(1).expect("a number");
    number.parse().expect("KiB")
}

#[test]
fn cd5_a_hundred_drives_get_one_broadcast_and_cost_no_more_each_than_ten() {
    let (few, many) = (cost(10, Offer::Requested), cost(100, Offer::Requested));
    assert_eq!((few.broadcasts, many.broadcasts), (1, 1));
    let (few, each) = (few.exits, many.exits);
    assert!(
        each * 10 <= few * 12,
        "exits: {few} each of 10, {each} of 100"
    );
    // Its RAM of 1 MiB, and at most 2 MiB besides.
    assert!(many.memory <= 3 << 10, "{} KiB each", many.memory);
}

#[test]
fn cd63_direct_downloads_take_as_many_times_as_long_as_there_are_nodes() {
    let (once, each) = (cost(20, Offer::Requested), cost(20, Offer::Direct));
    assert_eq!((once.broadcasts, each.broadcasts), (1, 20));
    let times = each.seconds / once.seconds;
    assert!(
        (15.0..25.0).contains(&times),
        "{} s, {} s",
        once.seconds,
        each.seconds
    );
}
