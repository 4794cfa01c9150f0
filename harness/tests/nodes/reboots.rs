//! What makes a node boot, what it loses by that, and what does not disturb it.

use devices::board_control::ResetReason;
use devices::time::Nanos;
use distribution::Offer::Combined;
use distribution::message::{Command, Order};
use distribution::module::Scope;
use distribution::{Message, Module};
use emulator::array::Source;
use harness::runner::Engine;

use crate::bench::{Bench, Images, RIG, up};

fn all_up(engine: Engine) -> Bench {
    let mut bench = Bench::new(RIG, engine);
    bench.start_master(Images::combined("1.0"), Combined);
    bench.power_on();
    assert!(bench.play(5, |it| up(it, "1.0") == 5), "{}", bench.told());
    bench
}

/// Reboots the drive by `trigger`: what it says until it runs again.
fn rebooted(engine: Engine, trigger: impl FnOnce(&mut Bench)) -> Vec<String> {
    let mut bench = all_up(engine);
    bench.lines.clear();
    trigger(&mut bench);
    assert!(bench.play(5, |it| up(it, "1.0") == 1), "{}", bench.told());
    bench.said_by("drive")
}

const BOOTS: [&str; 5] = [
    "node-rom-started",
    "minimally-operational type=drive set=2",
    "image-requested type=drive reason=booted attempt=1",
    "image-loaded content=drive version=1.0",
    "operational type=drive version=1.0 set=2",
];

fn power_cycle(bench: &mut Bench) {
    bench.cut("drive");
    bench.power("drive");
}

fn reset(bench: &mut Bench) {
    let place = Source::Node(bench.node("drive"));
    let reset = bench.array.reset(place, ResetReason::Cold);
    reset.expect("it has power");
}

/// A command of the master (steps 362, 380).
fn order(bench: &mut Bench) {
    let node = bench.number("drive");
    bench.master().reboot(Scope::Node(node));
}

/// A command that names no epoch: an operator's, here to all drives.
fn operator(bench: &mut Bench) {
    let message = Message::Command(Command {
        node: 200,
        order: Order::Reboot,
        scope: Scope::Only(Module::Drive),
        epoch: None,
    });
    bench.say(message.encode());
}

#[test]
fn cd7_a_reboot_is_a_reboot_whatever_causes_it() {
    let begins = |line: &String, with: &str| line.starts_with(with);
    for (name, trigger, first) in [
        ("power", power_cycle as fn(&mut Bench), "power-cut"),
        ("reset", reset, "reset cause=cold"),
        ("order", order, "reboot-ordered by=6"),
        ("operator", operator, "reboot-ordered by=200"),
    ] {
        let said = rebooted(Engine::Kvm, trigger);
        assert!(begins(&said[0], first), "{name}: {said:#?}");
        let boots = &said[said.len() - BOOTS.len()..];
        let same = boots.iter().zip(BOOTS).all(|(line, it)| begins(line, it));
        assert!(same, "{name}: {said:#?}");
    }
    assert_eq!(
        rebooted(Engine::Kvm, order),
        rebooted(Engine::Qemu, order),
        "the same on QEMU"
    );
}

#[test]
fn cd2_the_image_is_lost_with_the_power() {
    let mut bench = all_up(Engine::Kvm);
    bench.stop_master();
    bench.cut("drive");
    bench.power("drive");
    bench.lines.clear();
    bench.play(10, |_| false);
    assert_eq!(bench.count("drive", "minimally-operational"), 1);
    assert!(bench.count("drive", "image-requested") > 3);
    assert_eq!(bench.count("drive", "operational"), 0, "{}", bench.told());
}

/// A frame of a node that runs: its number, what it reports, and when it is on the bus.
type Report = (u16, Vec<u8>, Nanos);

/// What the nodes but the drive report in twelve seconds, and how often they say anything else. With `disturbed`, the
/// drive boots meanwhile and is served; when that is done.
fn reports(disturbed: bool) -> (Vec<Report>, usize, Nanos) {
    let mut bench = Bench::new(RIG, Engine::Kvm);
    bench.start_master(Images::combined("2.0"), Combined);
    bench.power_on();
    assert!(bench.play(5, |it| up(it, "2.0") == 5), "{}", bench.told());
    bench.bus().record_frames(20_000);
    bench.lines.clear();
    let begun = bench.array.now();
    let later = |seconds: u64, millis: u64| begun + Nanos::from_millis(1000 * seconds + millis);
    bench.play(12, |it| it.array.now() >= later(4, 500));
    if disturbed {
        // Such that a report falls into the broadcast.
        reset(&mut bench);
    }
    bench.play(5, |it| up(it, "2.0") == 1);
    let done = bench.array.now();
    bench.play(12, |it| it.array.now() >= later(12, 0));
    assert_eq!(
        up(&bench, "2.0"),
        usize::from(disturbed),
        "{}",
        bench.told()
    );
    let drive = bench.number("drive");
    let (records, lost) = bench.bus().take_log();
    assert_eq!(lost, 0);
    let reports = records.iter().filter(|it| Bench::class(it) == 7);
    let reports = reports.map(|it| (it.node, it.frame.payload().to_vec(), it.begins));
    let reports = reports
        .filter(|(node, ..)| *node != u16::from(drive))
        .collect();
    let others = ["communication", "accessor", "xy", "panel"];
    let said = others.iter().map(|name| bench.said_by(name).len());
    (reports, said.sum(), done)
}

#[test]
fn cd38_a_running_node_is_not_disturbed_by_a_broadcast() {
    let (quiet, said, _) = reports(false);
    assert_eq!(
        (quiet.len(), said),
        (8, 0),
        "two reports of four nodes, no more"
    );
    let (busy, said, served) = reports(true);
    assert_eq!((busy.len(), said), (8, 0));
    for (quiet, busy) in quiet.iter().zip(&busy) {
        // Made at the same time, with the same count; but a broadcast is more urgent on the bus.
        assert_eq!((quiet.0, &quiet.1), (busy.0, &busy.1));
        let latest = quiet.2.max(served) + Nanos::from_millis(2);
        assert!(
            (quiet.2..latest).contains(&busy.2),
            "{} {}",
            quiet.2,
            busy.2
        );
    }
    let waited = quiet
        .iter()
        .zip(&busy)
        .filter(|(quiet, busy)| quiet.2 != busy.2);
    assert!(waited.count() >= 4, "the broadcast did not come in between");
}
