//! Power of any station is cut at every frame from power-on to a fully operational rig, one run for each; the
//! frame in question arrives nowhere if it was the station's own, and not at the station otherwise.

use distribution::Content::{Combined, Only};
use distribution::{Edition, Module, Offer};

use crate::images::Images;
use crate::rig::{FIRST, MASTERS, MS, Rig, SECOND};
use crate::station::configuration;

const NODES: [(Module, u8); 5] = [
    (Module::Drive, 1),
    (Module::Drive, 2),
    (Module::Xy, 1),
    (Module::Work, 2),
    (Module::Drive, 1),
];

fn rig(offer: Offer, flexible: bool, late_ns: u64) -> Rig {
    let contents = if offer == Offer::Combined {
        vec![Combined]
    } else {
        Module::ALL.map(Only).to_vec()
    };
    let masters = [0, 1].map(|slot| {
        let mut it = configuration(slot);
        (it.offer, it.flexible) = (offer, flexible);
        it
    });
    let mut rig = Rig::new(&NODES, &masters, Images::new(300, &contents));
    rig.late_ns = late_ns;
    rig.power_all();
    rig
}

#[test]
fn power_cut_of_any_station_at_any_frame() {
    let mut runs = 0;
    for (offer, flexible, late_ns) in [
        (Offer::Requested, true, 0),
        (Offer::Requested, false, 0),
        (Offer::Requested, true, 3 * MS),
        (Offer::Combined, true, 0),
        (Offer::Direct, true, 0),
    ] {
        let mut undisturbed = rig(offer, flexible, late_ns);
        undisturbed.run_until_all_run(Edition::Base, 5 * SECOND);
        let frames = undisturbed.frames;
        assert!(frames > 30);
        for number in MASTERS.into_iter().chain(FIRST..FIRST + 5) {
            for frame in 0..=frames {
                let mut rig = rig(offer, flexible, late_ns);
                rig.at_frame = Some((frame, number));
                // Long enough for the other master to take over, or not, in turn.
                rig.off_for_ns = if frame % 2 == 0 { 1500 * MS } else { 80 * MS };
                rig.run_until_all_run(Edition::Base, 15 * SECOND);
                rig.run_until(rig.now_ns + 2 * SECOND);
                assert!(
                    rig.all_run(Edition::Base),
                    "{number} at {frame}:\n{}",
                    rig.story()
                );
                runs += 1;
            }
        }
    }
    assert!(runs > 1500, "{runs}");
}

#[test]
fn a_storm_of_losses_and_power_cuts_ends_in_an_operational_rig_with_one_active_master() {
    let stations: Vec<u8> = MASTERS.into_iter().chain(FIRST..FIRST + 5).collect();
    for seed in 1..=100u64 {
        let offers = [
            Offer::Requested,
            Offer::Combined,
            Offer::First,
            Offer::Direct,
        ];
        let offer = offers[usize::try_from(seed % 4).expect("below 4")];
        let mut rig = rig(offer, seed % 3 != 0, seed % 5 * 2 * MS);
        rig.by_urgency = seed % 2 == 0;
        rig.random = seed;
        rig.lost = 20;
        rig.changed = 20;
        let mut draw = seed;
        for _ in 0..40 {
            // Knuth's generator, and the bits of it that are any good.
            draw = draw
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let high = draw >> 33;
            let station = stations[usize::try_from(high % 7).expect("below 7")];
            rig.run_until(rig.now_ns + (high >> 3) % 400 * MS);
            rig.cut(station);
            if high % 3 != 0 {
                rig.power(station);
            } else {
                rig.power_at
                    .push((rig.now_ns + (high >> 5) % 1500 * MS, station));
            }
        }
        rig.run_until(rig.now_ns + 2 * SECOND);
        rig.lost = 0;
        rig.changed = 0;
        rig.run_until_all_run(Edition::Base, rig.now_ns + 15 * SECOND);
        rig.run_until(rig.now_ns + 2 * SECOND);
        assert!(rig.all_run(Edition::Base));
        let is_active = |rig: &mut Rig, number| rig.master(number).is_some_and(|it| it.is_active());
        let active = MASTERS
            .into_iter()
            .filter(|number| is_active(&mut rig, *number));
        assert_eq!(active.count(), 1, "seed {seed}:\n{}", rig.story());
    }
}
