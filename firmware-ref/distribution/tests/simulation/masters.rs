//! Two masters (CD33, CD34, CD48, K8).

use distribution::Content::Only;
use distribution::mastership::Authority;
use distribution::{Edition, Module};

use crate::images::Images;
use crate::rig::{FIRST, MASTERS, MS, Rig, SECOND};
use crate::station::configuration;

fn rig(authority: Authority, nodes: usize) -> Rig {
    let masters = [0, 1].map(|slot| {
        let mut it = configuration(slot);
        it.authority = authority;
        it
    });
    let nodes = vec![(Module::Drive, 1); nodes];
    Rig::new(&nodes, &masters, Images::new(3000, &[Only(Module::Drive)]))
}

fn active(rig: &mut Rig) -> Vec<u8> {
    let is = |rig: &mut Rig, number| rig.master(number).is_some_and(|it| it.is_active());
    MASTERS
        .into_iter()
        .filter(|number| is(rig, *number))
        .collect()
}

fn lock(rig: &mut Rig, owner: u8, epoch: u64) {
    let now_ns = rig.now_ns;
    for number in MASTERS {
        if let Some(master) = rig.master(number) {
            master.lock(now_ns, Some(owner), epoch);
        }
        rig.wake(number);
    }
}

#[test]
fn the_lower_slot_is_active_and_the_other_takes_over_when_it_is_silent() {
    let mut rig = rig(Authority::Bus, 1);
    rig.power_all();
    rig.run_until(SECOND);
    assert_eq!(active(&mut rig), [0]);
    rig.cut(0);
    rig.run_until(2 * SECOND);
    assert_eq!(active(&mut rig), [1]);
    // Who comes back does not take it back.
    rig.power(0);
    rig.run_until(4 * SECOND);
    assert_eq!(active(&mut rig), [1]);
    assert_eq!(rig.count("distribution-active"), 2);
    assert_eq!(
        rig.count("distribution-active epoch=2 cause=partner-lost"),
        1
    );
}

#[test]
fn k8_a_window_that_is_open_begins_anew_under_the_new_master() {
    for by in ["power", "hand-over", "lock"] {
        let authority = if by == "lock" {
            Authority::Lock
        } else {
            Authority::Bus
        };
        let mut rig = rig(authority, 5);
        MASTERS.into_iter().for_each(|number| rig.power(number));
        lock(&mut rig, 0, 1);
        rig.run_until(SECOND);
        (0..5).for_each(|node| rig.power(FIRST + node));
        rig.run_until(SECOND + 100 * MS);
        assert_eq!(rig.count("window-opened"), 1);
        let now_ns = rig.now_ns;
        match by {
            "power" => rig.cut(0),
            "hand-over" => rig.master(0).unwrap().hand_over(now_ns),
            _ => lock(&mut rig, 1, 2),
        }
        rig.wake(0);
        rig.run_until_all_run(Edition::Base, 4 * SECOND);
        rig.run_until(6 * SECOND);
        assert_eq!(active(&mut rig), [1], "{by}");
        assert_eq!(rig.count("window-opened"), 2, "{by}:\n{}", rig.story());
        assert_eq!(rig.count("broadcast-started"), 1, "{by}");
        assert_eq!(rig.count("image-requested"), 5, "nobody had to ask again");
    }
}

#[test]
fn k8_a_deposed_master_stops_in_the_middle_and_the_new_one_begins_at_once() {
    let mut rig = rig(Authority::Lock, 5);
    rig.power_all();
    lock(&mut rig, 0, 1);
    while rig.counted[4] < 20 {
        assert!(rig.step(5 * SECOND));
    }
    lock(&mut rig, 1, 2);
    let before = rig.counted[4];
    while rig.counted[3] < 2 {
        assert!(rig.step(5 * SECOND));
    }
    assert!(
        rig.counted[4] - before <= 16,
        "no more than the controller held already"
    );
    assert_eq!(rig.count("broadcast-stopped number=1 cause=deposed"), 1);
    rig.run_until_all_run(Edition::Base, 5 * SECOND);
    rig.run_until(8 * SECOND);
    assert_eq!(rig.count("broadcast-started"), 2);
}

#[test]
fn k8_of_two_that_broadcast_the_newer_epoch_counts() {
    // Both believe to own the lock: the first has not heard yet.
    let mut rig = rig(Authority::Lock, 5);
    rig.power_all();
    let now_ns = rig.now_ns;
    rig.master(0).unwrap().lock(now_ns, Some(0), 1);
    rig.run_until(100 * MS);
    rig.lost = 0;
    let now_ns = rig.now_ns;
    rig.master(1).unwrap().lock(now_ns, Some(1), 2);
    rig.run_until_all_run(Edition::Base, 5 * SECOND);
    assert_eq!(rig.count("distribution-standby cause=deposed"), 1);
    assert_eq!(rig.count("broadcast-finished"), 1);
}

#[test]
fn masters_that_lost_power_together_are_believed_again() {
    let mut rig = rig(Authority::Bus, 3);
    rig.power_all();
    rig.run_until(3 * SECOND);
    for at in 4..8u64 {
        // Epochs 2 to 5.
        let one = active(&mut rig)[0];
        rig.cut(one);
        rig.run_until(at * SECOND);
        MASTERS.into_iter().for_each(|number| {
            if rig.master(number).is_none() {
                rig.power(number);
            }
        });
        rig.run_until(at * SECOND + 500 * MS);
    }
    rig.power(FIRST);
    rig.run_until(9 * SECOND);
    MASTERS.into_iter().for_each(|number| rig.cut(number));
    rig.run_until(10 * SECOND);
    rig.node(FIRST).memory.fill(0);
    rig.power(FIRST);
    MASTERS.into_iter().for_each(|number| rig.power(number));
    rig.run_until_all_run(Edition::Base, 14 * SECOND);
}

#[test]
fn cd33_a_second_master_may_boot_from_the_first() {
    let mut rig = Rig::new(
        &[(Module::Drive, 1), (Module::Master, 255)],
        &[configuration(0)],
        Images::new(3000, &[Only(Module::Drive), Only(Module::Master)]),
    );
    rig.power_all();
    rig.run_until_all_run(Edition::Base, 5 * SECOND);
    assert_eq!(
        rig.count("content=master"),
        2,
        "a broadcast of its own, taken by one"
    );
    rig.master(0)
        .unwrap()
        .reboot(distribution::module::Scope::All);
    rig.wake(0);
    rig.run_until(8 * SECOND);
    assert_eq!(rig.count("content=master"), 2, "CD56: masters stay");
    assert_eq!(rig.count("image-loaded content=drive"), 2);
}
