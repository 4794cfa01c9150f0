//! Many nodes.

use distribution::Offer::Combined;
use emulator::rig::NodeType;
use harness::runner::Engine;

use crate::bench::{Bench, Images, RIG, rig};

/// What so many drives cost, each: exits until they run their images, and KiB of memory.
fn cost(count: u16) -> (u64, usize) {
    let mut rig = rig(RIG);
    rig.nodes.truncate(1);
    let group = &mut rig.nodes[0];
    (group.name, group.kind, group.count) = ("drive".to_owned(), NodeType::Drive, count);
    let before = resident_kib();
    let mut bench = Bench::of(rig, Engine::Kvm);
    bench.start_master(Images::combined("1.0"), Combined);
    bench.power_on();
    // Each line is looked at once: there are many.
    let (mut looked, mut up) = (0, 0);
    let all_up = bench.play(5, |bench| {
        let new = &bench.lines[looked..];
        looked = bench.lines.len();
        up += new
            .iter()
            .filter(|it| it.contains(": operational "))
            .count();
        up == usize::from(count)
    });
    assert!(all_up, "{}", bench.told());
    assert_eq!(bench.count("master", "broadcast-started"), 1);
    let memory = resident_kib().saturating_sub(before) / usize::from(count);
    let exits = bench.array.nodes().iter().map(|it| it.counters().exits);
    (exits.sum::<u64>() / u64::from(count), memory)
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
    let (few, _) = cost(10);
    let (many, memory) = cost(100);
    assert!(
        many * 10 <= few * 12,
        "exits: {few} each of 10, {many} of 100"
    );
    // Its RAM of 1 MiB, and at most 2 MiB besides.
    assert!(memory <= 3 << 10, "{memory} KiB each");
}
