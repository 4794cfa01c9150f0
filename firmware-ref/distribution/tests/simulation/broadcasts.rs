//! A library of 110 nodes: one broadcast a window, whatever gets lost (CD18 to CD48, CD63).

use distribution::Content::{All, Combined, Only};
use distribution::window::Timing;
use distribution::{Content, Edition, Module, Offer, Wait};

use crate::images::{Images, NODE_TYPES};
use crate::rig::{FIRST, MASTERS, MS, Rig, SECOND};
use crate::station::{configuration, runs};

const NODE_IMAGES: [Content; 5] = [
    Only(Module::Drive),
    Only(Module::Communication),
    Only(Module::Work),
    Only(Module::Xy),
    Only(Module::Panel),
];

fn drives(count: usize) -> Vec<(Module, u8)> {
    vec![(Module::Drive, 1); count]
}

/// 102 drives, two of each other kind, in two sets (CD5).
fn library() -> Vec<(Module, u8)> {
    let drives = (0..102).map(|at| (Module::Drive, 1 + at % 2));
    let others = NODE_TYPES.into_iter().skip(1);
    drives
        .chain(others.flat_map(|it| [(it, 1), (it, 2)]))
        .collect()
}

/// A rig with one master that is active already, and nodes that are off.
fn rig(nodes: &[(Module, u8)], offer: Offer, contents: &[Content]) -> Rig {
    let mut master = configuration(0);
    master.offer = offer;
    let mut rig = Rig::new(nodes, &[master], Images::new(3000, contents));
    rig.power(MASTERS[0]);
    rig.run_until(SECOND);
    rig
}

fn power_nodes(rig: &mut Rig) {
    for node in 0..rig.nodes.len() {
        let number = rig.nodes[node].identity.node;
        rig.power(number);
    }
}

#[test]
fn cd19_nodes_powered_together_get_one_broadcast_for_each_kind_of_image() {
    for (nodes, offer, contents, broadcasts) in [
        (drives(110), Offer::Requested, &NODE_IMAGES[..], 1),
        (library(), Offer::Requested, &NODE_IMAGES, 5),
        // CD28, CD35.
        (library(), Offer::Combined, &[Combined], 1),
        (library(), Offer::Requested, &[All], 1),
        (library(), Offer::Requested, &[Combined], 1),
        (library(), Offer::First, &[Combined], 1),
        // CD63: to each of them.
        (library(), Offer::Direct, &NODE_IMAGES, 110),
    ] {
        for flexible in [true, false] {
            let mut rig = rig(&nodes, offer, contents);
            rig.cut(MASTERS[0]);
            rig.masters[0].0.flexible = flexible;
            rig.power(MASTERS[0]);
            rig.run_until(2 * SECOND);
            power_nodes(&mut rig);
            rig.run_until_all_run(Edition::Base, 60 * SECOND);
            rig.run_until(65 * SECOND);
            assert_eq!(
                rig.count("broadcast-started"),
                broadcasts,
                "{offer:?} {flexible}"
            );
            assert_eq!(rig.count("broadcast-dropped"), 0);
            // The rest is heartbeats, a request and a status of each node.
            if offer != Offer::Direct {
                assert_eq!(rig.count("image-requested"), 110, "nobody asked twice");
                assert_eq!(rig.count("window-opened"), 1);
                assert_eq!(rig.count("window-closed requests=110"), 1);
            }
        }
    }
}

#[test]
fn cd38_operational_nodes_are_not_even_woken_by_a_broadcast() {
    let mut rig = rig(&drives(20), Offer::Requested, &NODE_IMAGES);
    let late = FIRST + 19;
    power_nodes(&mut rig);
    rig.cut(late);
    rig.run_until(3 * SECOND);
    let wakes: Vec<u32> = rig.nodes.iter().map(|it| it.wakes).collect();
    rig.power(late);
    rig.run_until(6 * SECOND);
    assert_eq!(rig.count("broadcast-started"), 2);
    for (node, before) in rig.nodes.iter().zip(wakes) {
        assert!(runs(node).is_some());
        assert_eq!(node.wakes == before, node.identity.node != late);
    }
}

#[test]
fn few_wakes_when_frames_are_handed_over_in_batches() {
    let mut rig = rig(&drives(110), Offer::Requested, &NODE_IMAGES);
    rig.late_ns = 5 * MS;
    rig.by_urgency = true;
    power_nodes(&mut rig);
    rig.run_until_all_run(Edition::Base, 10 * SECOND);
    assert_eq!(rig.count("broadcast-started"), 1);
    // 3136 bytes are 51 frames and 21 ms: self-test, start, and five batches.
    assert!(
        rig.nodes.iter().all(|node| node.wakes <= 7),
        "{}",
        rig.nodes[0].wakes
    );
}

#[test]
fn cd27_who_asks_during_a_broadcast_gets_the_next_one() {
    let mut rig = rig(&drives(3), Offer::Requested, &NODE_IMAGES);
    power_nodes(&mut rig);
    rig.cut(FIRST + 2);
    while rig.counted[4] < 10 {
        assert!(rig.step(5 * SECOND));
    }
    rig.power(FIRST + 2);
    rig.run_until_all_run(Edition::Base, 5 * SECOND);
    assert_eq!(
        (rig.count("broadcast-started"), rig.count("window-opened")),
        (2, 2)
    );
}

#[test]
fn cd18_nothing_is_broadcast_before_the_wait_is_over() {
    for (timing, cap_ns, ends_ms) in [
        (Timing::FromFirst, SECOND, 200),
        // Nodes ask every 3 ms, for 45 ms, and one more after 150.
        (Timing::FromLatest, SECOND, 350),
        (Timing::FromLatest, 300 * MS, 300),
        (Timing::Shrinking { by_ns: 10 * MS }, SECOND, 200),
    ] {
        let mut rig = rig(&drives(17), Offer::Requested, &NODE_IMAGES);
        let wait = Wait {
            period_ns: 200 * MS,
            timing,
            cap_ns,
        };
        rig.master(MASTERS[0]).unwrap().set_wait(wait);
        power_nodes(&mut rig);
        rig.cut(FIRST + 6);
        let first_ns = rig.now_ns + 2 * MS;
        rig.run_until(first_ns + 150 * MS - 2 * MS);
        rig.power(FIRST + 6);
        rig.run_until_all_run(Edition::Base, 5 * SECOND);
        let mut lines = rig.trace.iter();
        let (closed_ns, ..) = lines
            .find(|(.., it)| it.starts_with("window-closed"))
            .unwrap();
        let waited_ms = (closed_ns - first_ns) / MS;
        assert!(waited_ms.abs_diff(ends_ms) <= 4, "{timing:?} {waited_ms}");
        assert_eq!(rig.count("broadcast-started"), 1);
    }
}

#[test]
fn cd36_a_master_of_one_image_at_a_time_serves_the_others_when_they_ask_again() {
    let nodes = [
        (Module::Xy, 1),
        (Module::Drive, 1),
        (Module::Xy, 1),
        (Module::Panel, 1),
    ];
    let mut rig = rig(&nodes, Offer::First, &NODE_IMAGES);
    power_nodes(&mut rig);
    rig.run_until_all_run(Edition::Base, 20 * SECOND);
    let starts: Vec<&str> = rig
        .trace
        .iter()
        .filter_map(|(.., line)| line.strip_prefix("broadcast-started "))
        .map(|line| line.split(' ').nth(1).unwrap())
        .collect();
    assert_eq!(starts[0], "content=xy", "node 10 asks first");
    assert_eq!(starts.len(), 3);
    assert!(rig.count("reason=other-type") >= 3, "{}", rig.story());
}

#[test]
fn cd17_generic_requests_are_answered_with_what_suits_all() {
    for contents in [[All], [Combined]] {
        let mut rig = rig(&library(), Offer::Requested, &contents);
        for node in &mut rig.nodes {
            node.tells_type = false;
        }
        power_nodes(&mut rig);
        rig.run_until_all_run(Edition::Base, 20 * SECOND);
        assert_eq!(rig.count("image-requested type=any"), 110);
        assert_eq!(rig.count("broadcast-started"), 1);
    }
}

#[test]
fn cd15_a_node_whose_self_test_fails_asks_for_nothing() {
    let mut rig = rig(&drives(2), Offer::Requested, &NODE_IMAGES);
    rig.node(FIRST).self_test_passes = false;
    rig.power(FIRST);
    rig.run_until(10 * SECOND);
    assert_eq!(
        (rig.count("image-requested"), rig.count("broadcast-started")),
        (0, 0)
    );
    assert_eq!(rig.count("node-failed node=10"), 1);
}

#[test]
fn cd48_without_a_master_nodes_repeat_their_requests_until_one_comes() {
    let mut rig = rig(&drives(10), Offer::Requested, &NODE_IMAGES);
    rig.cut(MASTERS[0]);
    power_nodes(&mut rig);
    rig.run_until(11 * SECOND);
    assert_eq!(rig.count("image-loaded"), 0);
    let asked = rig.count("image-requested");
    assert!((40..=50).contains(&asked), "{asked}");
    rig.power(MASTERS[0]);
    rig.run_until_all_run(Edition::Base, 15 * SECOND);
    assert_eq!(rig.count("broadcast-started"), 1);
}

#[test]
fn what_the_library_lacks_is_told_and_a_damaged_image_never_sent() {
    let mut rig = rig(&drives(2), Offer::Requested, &[Only(Module::Xy)]);
    power_nodes(&mut rig);
    rig.run_until(3 * SECOND);
    assert!(rig.count("image-missing type=drive edition=base") >= 1);
    rig.images.put(Edition::Base, Only(Module::Drive));
    for container in rig.images.containers.values_mut() {
        container[300] ^= 1;
    }
    rig.run_until(8 * SECOND);
    assert!(rig.count("image-refused content=drive cause=content") >= 1);
    assert_eq!(rig.counted[3], 0);
    rig.images.put(Edition::Base, Only(Module::Drive));
    rig.run_until_all_run(Edition::Base, 13 * SECOND);
}

#[test]
fn cd47_loss_and_damage_on_the_way_delay_but_never_deceive() {
    for seed in 0..30 {
        let offer = [
            Offer::Requested,
            Offer::Combined,
            Offer::First,
            Offer::Direct,
        ][seed % 4];
        let contents = if seed % 4 == 1 {
            &[Combined][..]
        } else {
            &NODE_IMAGES
        };
        let mut rig = rig(&library()[80..], offer, contents);
        rig.random = seed as u64;
        rig.lost = 3;
        rig.changed = 3;
        rig.late_ns = (seed as u64 % 3) * 4 * MS;
        power_nodes(&mut rig);
        // What a node runs is compared by the rig.
        rig.run_until_all_run(Edition::Base, 200 * SECOND);
        assert!(
            rig.count("broadcast-dropped") > 0,
            "seed {seed} lost nothing"
        );
    }
}
