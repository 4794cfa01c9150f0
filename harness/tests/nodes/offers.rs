//! Ways to serve nodes, and ways for them to ask.

use distribution::{Content, Edition, Offer};
use harness::firmware::{NODE_MODULES, combined_image, common_image, node_image};
use harness::runner::Engine;

use crate::bench::{Bench, Images, RIG, rig, up};

fn images(content: Content, image: Option<Vec<u8>>) -> Images {
    Images::default().with(Edition::Base, content, image.expect("the product has it"))
}

/// An image for each type.
fn one_by_one() -> Images {
    let with = |all: Images, module| {
        let image = node_image(module, "1.0").expect("the product has it");
        all.with(Edition::Base, Content::Only(module), image)
    };
    NODE_MODULES.into_iter().fold(Images::default(), with)
}

#[test]
fn cd35_one_image_for_all_finds_out_what_it_runs_on() {
    let mut rig = rig(RIG);
    rig.nodes.iter_mut().for_each(|group| group.generic = true);
    let common = images(Content::All, common_image("1.0"));
    let mut bench = Bench::of(rig, Engine::Kvm);
    bench.start_master(common, Offer::Requested);
    bench.power_on();
    assert!(bench.play(5, |it| up(it, "1.0") == 5), "{}", bench.told());
    assert_eq!(bench.count("", "image-loaded content=all version=1.0"), 5);
    assert_eq!(bench.count("master", "broadcast-started"), 1);
    bench.play(6, |_| false);
    let panel = bench.array.nodes()[bench.node("panel")].panel();
    assert!(panel.flushes() > 0, "only one of them has a panel");
    let others = ["communication", "accessor", "xy", "drive"].map(|name| bench.node(name));
    let nodes = bench.array.nodes();
    assert!(others.iter().all(|it| nodes[*it].panel().flushes() == 0));
}

#[test]
fn cd17_generic_requests_are_answered_with_what_suits_all() {
    let mut rig = rig(RIG);
    rig.nodes.iter_mut().for_each(|group| group.generic = true);
    let mut bench = Bench::of(rig, Engine::Kvm);
    let combined = images(Content::Combined, combined_image("2.0"));
    bench.start_master(combined, Offer::Requested);
    bench.power_on();
    assert!(bench.play(5, |it| up(it, "2.0") == 5), "{}", bench.told());
    assert_eq!(bench.count("", "image-requested type=any reason=booted"), 5);
    let only = "broadcast-started number=1 content=combined";
    assert_eq!(bench.count("master", only), 1);
    assert_eq!(bench.count("master", "broadcast-started"), 1);
    // Each took its own part.
    assert_eq!(
        bench.count("panel", "image-loaded content=operator-panel"),
        1
    );
    assert_eq!(bench.count("xy", "image-loaded content=xy"), 1);
}

#[test]
fn cd29_cd43_each_takes_its_own_of_five_broadcasts() {
    let mut bench = Bench::new(RIG, Engine::Kvm);
    bench.start_master(one_by_one(), Offer::Requested);
    bench.power_on();
    assert!(bench.play(9, |it| up(it, "1.0") == 5), "{}", bench.told());
    assert_eq!(bench.count("master", "broadcast-started"), 5);
    assert_eq!(bench.count("", "broadcast-dropped"), 0, "{}", bench.told());
}

#[test]
fn cd63_a_direct_download_serves_one_node_after_the_other() {
    let mut bench = Bench::new(RIG, Engine::Kvm);
    bench.start_master(one_by_one(), Offer::Direct);
    bench.power_on();
    assert!(bench.play(9, |it| up(it, "1.0") == 5), "{}", bench.told());
    assert_eq!(bench.count("master", "broadcast-started"), 5);
    for node in 1..=5 {
        let addressed = |line: &&String| {
            line.ends_with(&format!("node={node}")) && line.contains("broadcast-started")
        };
        assert_eq!(
            bench.lines.iter().filter(addressed).count(),
            1,
            "{}",
            bench.told()
        );
    }
}
