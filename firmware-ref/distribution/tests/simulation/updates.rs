//! Updates of redundant sets (CD49 to CD62, K3, K24).

use distribution::Content::{Combined, Only};
use distribution::{Edition, Module, Offer, Order, RebootBy, Rollout};

use crate::images::{Images, version};
use crate::rig::{FIRST, MASTERS, MS, Rig, SECOND};
use crate::station::{configuration, runs};

const BY_SET: Order = Order {
    rollout: Rollout::BySet,
    reboot_by: RebootBy::Message,
};

/// Two masters, and nodes of these sets that all run the base.
fn rig(sets: &[u8], offer: Offer) -> Rig {
    let kinds = [Module::Drive, Module::Xy];
    let nodes: Vec<(Module, u8)> = sets
        .iter()
        .flat_map(|set| kinds.map(|kind| (kind, *set)))
        .collect();
    let masters = [0, 1].map(|slot| {
        let mut it = configuration(slot);
        it.offer = offer;
        it
    });
    let contents = if offer == Offer::Combined {
        vec![Combined]
    } else {
        kinds.map(Only).to_vec()
    };
    let mut rig = Rig::new(&nodes, &masters, Images::new(500, &contents));
    rig.power_all();
    rig.run_until_all_run(Edition::Base, 5 * SECOND);
    rig.run_until(6 * SECOND);
    rig
}

fn update(rig: &mut Rig, order: Order) {
    let now_ns = rig.now_ns;
    let master = MASTERS
        .into_iter()
        .find(|it| rig.master(*it).is_some_and(|it| it.is_active()));
    let master = master.expect("an active master");
    rig.master(master).unwrap().update(now_ns, order);
    rig.wake(master);
}

fn running(rig: &Rig, set: u8) -> usize {
    let nodes = rig.nodes.iter().filter(|node| node.identity.set == set);
    nodes.filter(|node| runs(node).is_some()).count()
}

#[test]
fn cd50_to_cd57_sets_are_updated_one_after_another_while_the_others_serve() {
    for (sets, offer) in [
        (&[1, 2][..], Offer::Requested),
        (&[1, 2], Offer::Combined),
        (&[0, 7, 9], Offer::Requested),
        (&[3, 1, 2, 5], Offer::First),
        (&[1, 2], Offer::Direct),
    ] {
        let mut rig = rig(sets, offer);
        update(&mut rig, BY_SET);
        while rig.count("update-finished") == 0 {
            assert!(rig.step(60 * SECOND), "{}", rig.story());
            let down = sets.iter().filter(|set| running(&rig, **set) < 2);
            assert!(down.count() <= 1, "two sets are down:\n{}", rig.story());
        }
        assert!(rig.all_run(Edition::Update));
        assert_eq!(rig.count("set-updated"), sets.len());
        assert_eq!(rig.count("reboot-ordered"), 2 * sets.len());
        // CD60: a node that is repaired comes back with it.
        rig.cut(FIRST);
        rig.power(FIRST);
        rig.run_until_all_run(Edition::Update, 70 * SECOND);
    }
}

#[test]
fn cd49_without_redundancy_all_reboot_at_once() {
    let mut rig = rig(&[1], Offer::Requested);
    update(&mut rig, BY_SET);
    rig.run_until(7 * SECOND);
    assert_eq!(rig.count("update-refused cause=not-redundant"), 1);
    let order = Order {
        rollout: Rollout::AtOnce,
        ..BY_SET
    };
    update(&mut rig, order);
    rig.run_until_all_run(Edition::Update, 20 * SECOND);
    rig.run_until(21 * SECOND);
    assert_eq!(rig.count("set-updated set=all"), 1);
    assert_eq!(rig.count("window-opened"), 2);
}

#[test]
fn cd52_an_operator_may_reboot_the_sets() {
    let mut rig = rig(&[1, 2], Offer::Requested);
    let order = Order {
        reboot_by: RebootBy::Operator,
        ..BY_SET
    };
    update(&mut rig, order);
    // No hurry.
    rig.run_until(100 * SECOND);
    assert_eq!(rig.count("set-started set=1 by=operator"), 1);
    assert_eq!(
        (rig.count("reboot-ordered"), rig.count("update-aborted")),
        (0, 0)
    );
    for (first, until) in [(FIRST, 105), (FIRST + 2, 110)] {
        for number in [first, first + 1] {
            rig.cut(number);
            rig.power(number);
        }
        rig.run_until(until * SECOND);
    }
    assert!(rig.all_run(Edition::Update) && rig.count("update-finished") == 1);
}

#[test]
fn k3_a_node_whose_turn_has_not_come_is_served_what_its_set_runs() {
    for offer in [
        Offer::Requested,
        Offer::Combined,
        Offer::First,
        Offer::Direct,
    ] {
        // Every moment between the first reboot and the second.
        for at_ms in (0..800).step_by(40) {
            let mut rig = rig(&[1, 2], offer);
            update(&mut rig, BY_SET);
            while rig.count("set-started") == 0 {
                assert!(rig.step(60 * SECOND));
            }
            rig.run_until(rig.now_ns + at_ms * MS);
            if rig.count("set-started set=2") > 0 {
                continue;
            }
            rig.cut(FIRST + 2);
            rig.power(FIRST + 2);
            let up = |rig: &Rig| runs(&rig.nodes[2]);
            while up(&rig).is_none() && rig.count("set-started set=2") == 0 {
                assert!(rig.step(60 * SECOND));
            }
            if rig.count("set-started set=2") == 0 {
                assert_eq!(up(&rig), Some(version(Edition::Base)), "{}", rig.story());
            }
            rig.run_until_all_run(Edition::Update, 60 * SECOND);
            rig.run_until(rig.now_ns + SECOND);
            assert_eq!(rig.count("update-finished"), 1, "{}", rig.story());
        }
    }
}

#[test]
fn an_update_is_refused_when_a_partner_is_not_there() {
    let mut rig = rig(&[1, 2], Offer::Requested);
    rig.cut(FIRST + 3);
    update(&mut rig, BY_SET);
    rig.run_until(10 * SECOND);
    assert_eq!(rig.count("update-refused cause=degraded node=13"), 1);
    assert_eq!(rig.count("reboot-ordered"), 0);
    rig.master(0).unwrap().forget(FIRST + 3);
    update(&mut rig, BY_SET);
    update(&mut rig, BY_SET);
    assert_eq!(rig.count("update-refused cause=busy"), 1);
    rig.run_until(20 * SECOND);
    assert_eq!(rig.count("update-finished"), 1);
    update(&mut rig, BY_SET);
    assert_eq!(
        rig.count("update-refused cause=busy"),
        2,
        "to be committed first"
    );
    rig.images.containers.retain(|(base, _), _| *base);
    rig.master(0).unwrap().set_turn(0);
    update(&mut rig, BY_SET);
    rig.run_until(21 * SECOND);
    assert_eq!(rig.count("update-refused cause=no-update"), 1);
    let now_ns = rig.now_ns;
    rig.master(1).unwrap().update(now_ns, BY_SET);
    rig.wake(1);
    assert_eq!(rig.count("update-refused cause=not-active"), 1);
}

#[test]
fn an_update_is_aborted_when_a_set_does_not_come_back_and_the_set_gets_its_version_again() {
    let mut rig = rig(&[1, 2, 3], Offer::Requested);
    update(&mut rig, BY_SET);
    while rig.count("set-started set=2") == 0 {
        assert!(rig.step(60 * SECOND));
    }
    rig.node(FIRST + 3).self_test_passes = false;
    rig.run_until(60 * SECOND);
    assert_eq!(
        rig.count("update-aborted cause=time-out set=2 missing=1 node=13"),
        1,
        "{}",
        rig.story()
    );
    let versions: Vec<bool> = rig
        .nodes
        .iter()
        .map(|it| runs(it) == Some(version(Edition::Update)))
        .collect();
    assert_eq!(versions, [true, true, false, false, false, false]);
    assert_eq!(running(&rig, 3), 2, "set 3 was left alone");
    // Repaired.
    rig.node(FIRST + 3).self_test_passes = true;
    rig.cut(FIRST + 3);
    rig.power(FIRST + 3);
    rig.run_until(70 * SECOND);
    assert_eq!(runs(&rig.nodes[3]), Some(version(Edition::Base)));
    update(&mut rig, BY_SET);
    rig.run_until_all_run(Edition::Update, 90 * SECOND);
}

#[test]
fn what_a_node_ran_before_its_reboot_does_not_count() {
    let mut rig = rig(&[1, 2], Offer::Requested);
    // The update brings nothing new for one kind.
    let xy = Module::Xy as u8;
    let same = rig.images.containers[&(true, xy)].clone();
    rig.images.containers.insert((false, xy), same);
    update(&mut rig, BY_SET);
    while rig.count("set-started set=1") == 0 {
        assert!(rig.step(60 * SECOND));
    }
    rig.cut(FIRST + 1);
    rig.run_until(60 * SECOND);
    let aborted = "update-aborted cause=time-out set=1 missing=1 node=11";
    assert_eq!(rig.count(aborted), 1, "{}", rig.story());
    assert_eq!(rig.count("set-started set=2"), 0);
}

#[test]
fn cd56_a_master_that_takes_over_goes_on_with_the_update() {
    for off_ms in 1..30 {
        for by_hand in [false, true] {
            let mut rig = rig(&[1, 2], Offer::Requested);
            update(&mut rig, BY_SET);
            rig.run_until(rig.now_ns + off_ms * 50 * MS);
            let now_ns = rig.now_ns;
            match by_hand {
                true => rig.master(0).unwrap().hand_over(now_ns),
                false => rig.cut(0),
            }
            rig.wake(0);
            while !rig.all_run(Edition::Update) {
                assert!(rig.step(60 * SECOND), "{off_ms}:\n{}", rig.story());
                assert!(
                    running(&rig, 1) == 2 || running(&rig, 2) == 2,
                    "{off_ms}:\n{}",
                    rig.story()
                );
            }
            rig.run_until(rig.now_ns + 2 * SECOND);
            assert_eq!(
                rig.count("update-finished"),
                1,
                "{off_ms}:\n{}",
                rig.story()
            );
        }
    }
}

#[test]
fn k24_no_set_is_stopped_while_a_node_of_another_is_down() {
    for hand_over in [false, true] {
        for back_after in [Some(SECOND), None] {
            let mut rig = rig(&[1, 2, 3], Offer::Requested);
            update(&mut rig, BY_SET);
            while rig.count("set-started set=2") == 0 {
                assert!(rig.step(60 * SECOND));
            }
            rig.run_until(rig.now_ns + 100 * MS);
            let now_ns = rig.now_ns;
            rig.cut(FIRST);
            rig.power_at
                .extend(back_after.map(|after| (now_ns + after, FIRST)));
            if hand_over {
                rig.master(0).unwrap().hand_over(now_ns);
                rig.wake(0);
            }
            while rig.now_ns < 60 * SECOND && rig.step(60 * SECOND) {
                let begins = rig.count("set-started set=3") > 0;
                let set_1 = [0, 1].map(|at| runs(&rig.nodes[at]).is_some());
                assert!(set_1[1], "set 1 is not stopped again:\n{}", rig.story());
                assert!(
                    !begins || set_1[0],
                    "set 3 is stopped too:\n{}",
                    rig.story()
                );
            }
            let finished = usize::from(back_after.is_some());
            assert_eq!(rig.count("update-finished"), finished, "{}", rig.story());
            let aborted = rig.count("update-aborted cause=degraded node=10");
            assert_eq!(aborted, 1 - finished);
        }
    }
}

#[test]
fn cd58_a_power_cut_of_any_station_at_any_frame_of_an_update() {
    let mut undisturbed = rig(&[1, 2], Offer::Requested);
    let before = undisturbed.frames;
    update(&mut undisturbed, BY_SET);
    undisturbed.run_until_all_run(Edition::Update, 60 * SECOND);
    let after = undisturbed.frames;
    for number in MASTERS.into_iter().chain(FIRST..FIRST + 4) {
        for frame in before..=after {
            let mut rig = rig(&[1, 2], Offer::Requested);
            rig.at_frame = Some((frame, number));
            update(&mut rig, BY_SET);
            rig.run_until(20 * SECOND);
            if number == MASTERS[0] && frame <= before + 1 {
                // Up to the heartbeat without which nobody else knows; the other master's goes first.
                assert_eq!(
                    (rig.count("update-started"), rig.all_run(Edition::Base)),
                    (1, true)
                );
                continue;
            }
            let refused = rig.count("update-refused") + rig.count("update-aborted");
            // A node that is off during the census is a reason not to begin.
            let edition = if refused > 0 {
                Edition::Base
            } else {
                Edition::Update
            };
            assert!(
                refused == 0 || number >= FIRST,
                "{number} at {frame}:\n{}",
                rig.story()
            );
            assert!(
                rig.all_run(edition),
                "{number} at {frame} {edition:?}:\n{}",
                rig.story()
            );
        }
    }
}
