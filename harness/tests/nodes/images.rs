//! Images run, and do what their version does.

use distribution::Offer::Combined;
use harness::runner::Engine;

use crate::bench::{Bench, Images, RIG, up};

/// What a node reports: its type, and how long it runs where its version tells.
type Report = (u8, Option<u16>);

/// Five nodes that are served the combined image of `version`: their story, what they reported, and what the panel
/// shows in the end.
fn served(engine: Engine, version: &str) -> (Vec<String>, Vec<Report>, Vec<u8>) {
    let mut bench = Bench::new(RIG, engine);
    bench.start_master(Images::combined(version), Combined);
    bench.power_on();
    assert!(bench.play(5, |it| up(it, version) == 5), "{}", bench.told());
    bench.bus().record_frames(1000);
    bench.play(6, |_| false);
    let (records, lost) = bench.bus().take_log();
    assert_eq!(lost, 0);
    let payloads = records.iter().filter(|it| Bench::class(it) == 7);
    let reports = payloads.map(|it| match *it.frame.payload() {
        [module, _, 1, 0] => (module, None),
        [module, _, 1, 0, u0, u1] => (module, Some(u16::from_le_bytes([u0, u1]))),
        ref other => panic!("{other:?} is no first report"),
    });
    let reports = reports.collect();
    let panel = bench.array.nodes()[bench.node("panel")].panel();
    let picture = panel.pixels().to_vec();
    (bench.lines, reports, picture)
}

#[test]
fn cd44_every_node_runs_its_image_on_both_engines() {
    let kvm = served(Engine::Kvm, "1.0");
    let operational: Vec<&str> = kvm
        .0
        .iter()
        .filter_map(|line| line.split_once(": operational "))
        .map(|(_, what)| what)
        .collect();
    let wanted = [
        "type=communication version=1.0 set=1",
        "type=work-processor version=1.0 set=1",
        "type=xy version=1.0 set=2",
        "type=operator-panel version=1.0 set=2",
        "type=drive version=1.0 set=2",
    ];
    assert_eq!(operational, wanted);
    assert_eq!(kvm.1, [1, 2, 3, 4, 5].map(|module| (module, None)));
    assert!(
        kvm == served(Engine::Qemu, "1.0"),
        "QEMU tells another story"
    );
}

#[test]
fn images_of_version_2_0_tell_how_long_they_run() {
    let (_, reports, picture) = served(Engine::Kvm, "2.0");
    assert_eq!(reports, [1, 2, 3, 4, 5].map(|module| (module, Some(5))));
    assert!(picture != served(Engine::Kvm, "1.0").2, "its panel as well");
}

/// Pixels of `color` on the panel of five nodes after `act` and another 20 s.
fn pixels(color: [u8; 3], act: impl FnOnce(&mut Bench)) -> usize {
    let mut bench = Bench::new(RIG, Engine::Kvm);
    bench.start_master(Images::combined("2.0"), Combined);
    bench.power_on();
    assert!(bench.play(5, |it| up(it, "2.0") == 5), "{}", bench.told());
    // Who was never heard is not missed.
    bench.play(1, |_| false);
    act(&mut bench);
    bench.play(20, |_| false);
    let panel = bench.array.nodes()[bench.node("panel")].panel();
    let pixels = panel.pixels().chunks_exact(4);
    pixels.filter(|it| it[..3] == color).count()
}

#[test]
fn the_panel_shows_the_state_of_the_library() {
    let (green, red) = ([0x20, 0xc0, 0x40], [0xe0, 0x30, 0x20]);
    assert!(pixels(green, |_| ()) > 5000, "all is well");
    let lost = |bench: &mut Bench| bench.cut("drive");
    assert!(pixels(red, lost) > 5000, "a node fell silent");
}
