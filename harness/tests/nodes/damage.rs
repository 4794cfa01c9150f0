//! Broadcasts that do not arrive whole.

use devices::can::{Effect, Fault, Place};
use distribution::Offer::Combined;
use harness::runner::Engine;

use crate::bench::{Bench, Images, RIG, up};

/// Five nodes of which the drive does not get the `nth` frame of the master's broadcast; by how it says so.
fn lose(engine: Engine, nth: u64, effect: Effect) -> Vec<String> {
    let mut bench = Bench::new(RIG, engine);
    bench.start_master(Images::combined("1.0"), Combined);
    bench.power_on();
    let begun = bench.play(5, |it| it.count("master", "broadcast-started") == 1);
    assert!(begun, "{}", bench.told());
    let (now, place) = (bench.array.now(), bench.place);
    let drive = bench.number("drive");
    let fault = bench.bus().inject(
        now,
        Fault::Frame {
            from: Some(place),
            nth,
            effect,
            place: Place::At(vec![drive.into()]),
        },
    );
    assert!(bench.play(9, |it| up(it, "1.0") == 5), "{}", bench.told());
    assert!(bench.bus().fired(fault), "frame {nth}");
    for node in ["communication", "accessor", "xy", "panel"] {
        assert_eq!(bench.count(node, "image-requested"), 1, "{node}");
    }
    bench.said_by("drive")
}

const DROPPED: &str = "broadcast-dropped cause=missing";
const AGAIN: &str = "image-requested type=drive reason=damaged attempt=2";

#[test]
fn cd47_a_node_that_misses_a_fragment_runs_nothing_and_asks_again() {
    // The start is 1, the fragments follow.
    for nth in [3, 40, 500, 1500] {
        let said = lose(Engine::Kvm, nth, Effect::Lost);
        let place = |what: &str| said.iter().position(|it| it.starts_with(what));
        let story = [DROPPED, AGAIN, "image-loaded", "operational"].map(place);
        assert!(story.is_sorted() && story[0].is_some(), "{nth}: {said:#?}");
    }
    let qemu = lose(Engine::Qemu, 500, Effect::Lost);
    assert_eq!(qemu, lose(Engine::Kvm, 500, Effect::Lost));
}

#[test]
fn a_frame_that_the_bus_sees_damaged_comes_again() {
    for effect in [Effect::Bit, Effect::Stuff, Effect::Crc, Effect::Form] {
        let said = lose(Engine::Kvm, 500, effect);
        assert!(
            !said.iter().any(|it| it == DROPPED),
            "{effect:?}: {said:#?}"
        );
    }
}

#[test]
fn cd47_a_fragment_that_arrives_altered_is_found_out() {
    let mut bench = Bench::new(RIG, Engine::Kvm);
    bench.start_master(Images::combined("1.0"), Combined);
    bench.alter_frame = Some(700);
    bench.power_on();
    assert!(bench.play(9, |it| up(it, "1.0") == 5), "{}", bench.told());
    assert_eq!(bench.count("", "broadcast-dropped cause=damaged"), 5);
    assert_eq!(bench.count("", "image-requested"), 10, "{}", bench.told());
}

#[test]
fn cd47_a_broadcast_that_ends_early_is_dropped() {
    let mut bench = Bench::new(RIG, Engine::Kvm);
    bench.start_master(Images::combined("1.0"), Combined);
    bench.power_on();
    let begun = bench.play(5, |it| it.count("master", "broadcast-started") == 1);
    assert!(begun, "{}", bench.told());
    bench.play(1, |it| {
        it.count("master", "broadcast-finished") == 1 || it.sent > 300
    });
    bench.stop_master();
    bench.play(1, |_| false);
    assert_eq!(bench.count("", "broadcast-dropped cause=silence"), 5);
    bench.start_master(Images::combined("1.0"), Combined);
    assert!(bench.play(9, |it| up(it, "1.0") == 5), "{}", bench.told());
}
