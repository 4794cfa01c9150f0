//! Power of any station is cut at every frame from power-on to a fully operational rig, one run for each; the
//! frame in question arrives nowhere if it was the station's own, and not at the station otherwise.

use distribution::Content::{Combined, Only};
use distribution::{Edition, Module, Offer};

use crate::images::Images;
use crate::rig::{FIRST, MASTERS, MS, Rig, SECOND, configuration};

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
