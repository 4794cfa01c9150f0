//! What power cuts and checkpoints do to a chip.

use proptest::prelude::*;

use super::*;

#[test]
fn power_loss_leaves_one_of_three_shapes() {
    let erase_then = |shape| {
        let mut rig = Rig::new();
        rig.program(0x1000, &[0x5a; 256]);
        rig.write(SE, 0x1000, &[], SECTOR_ERASE / 2);
        rig.cut(shape, 3);
        let status = rig.send(&[RDSR], 1);
        assert_eq!(status, [0], "neither busy nor write-enabled");
        let wear: Vec<_> = rig.chip().wear().collect();
        (rig.all()[0x1000..0x1100].to_vec(), wear)
    };
    assert_eq!(erase_then(Shape::Lost), (vec![0x5a; 256], vec![]));
    assert_eq!(erase_then(Shape::Done), (vec![0xff; 256], vec![(1, 1)]));
    let (torn, wear) = erase_then(Shape::Torn);
    assert!(torn != [0x5a; 256] && torn != [0xff; 256] && wear == [(1, 1)]);

    let program_then = |shape| {
        let mut rig = Rig::new();
        rig.write(PP, 0x1000, &[0; 256], PROGRAM - 1);
        rig.cut(shape, 3);
        rig.all()[0x1000..0x1100].to_vec()
    };
    assert_eq!(program_then(Shape::Lost), [0xff; 256]);
    assert_eq!(program_then(Shape::Done), [0; 256]);
    let torn = program_then(Shape::Torn);
    assert!(torn != [0xff; 256] && torn != [0; 256]);
}

#[test]
fn what_had_ended_before_the_cut_is_done_whatever_the_shape() {
    let mut rig = Rig::new();
    rig.program(0, &[0x12]);
    rig.cut(Shape::Lost, 0);
    assert_eq!(rig.read(0, 1), [0x12]);
}

#[test]
fn unstable_bits_read_differently_until_erased() {
    let mut rig = Rig::new();
    rig.write(SE, 0, &[], 1);
    rig.cut(Shape::Torn, 11);
    rig.events();
    let reads: Vec<Vec<u8>> = (0..4).map(|_| rig.read(0, 4096)).collect();
    assert!(reads.windows(2).all(|pair| pair[0] != pair[1]));
    assert_eq!(rig.events().len(), 4);
    let again = |mut rig: Rig| (rig.read(0, 4096), rig.read(0, 4096));
    assert_eq!(
        again(rig.clone()),
        again(rig.clone()),
        "a function of seed and reads"
    );
    rig.erase(0);
    rig.events();
    assert_eq!(rig.read(0, 4096), [0xff; 4096]);
    assert_eq!((rig.events(), rig.chip().unstable_bytes()), (vec![], 0));
}

#[test]
fn programming_over_unstable_bits_settles_them() {
    let mut rig = Rig::new();
    rig.write(SE, 0, &[], 1);
    rig.cut(Shape::Torn, 11);
    for page in (0..4096).step_by(256) {
        rig.program(page, &[0; 256]);
    }
    assert_eq!(rig.read(0, 4096), [0; 4096]);
    assert_eq!(rig.chip().unstable_bytes(), 0);
}

#[derive(Clone, Debug)]
enum Deed {
    Program { address: u64, data: Vec<u8> },
    Erase { address: u64 },
    Block { address: u64 },
}

fn deed() -> impl Strategy<Value = Deed> {
    let address = 0..0x40000u64;
    prop_oneof![
        4 => (address.clone(), proptest::collection::vec(any::<u8>(), 1..256))
            .prop_map(|(address, data)| Deed::Program { address, data }),
        2 => address.clone().prop_map(|address| Deed::Erase { address }),
        1 => address.prop_map(|address| Deed::Block { address }),
    ]
}

fn perform(rig: &mut Rig, deed: &Deed, busy: bool) {
    let long = |time| if busy { time } else { 0 };
    match deed {
        Deed::Program { address, data } => rig.write(PP, *address, data, long(PROGRAM)),
        Deed::Erase { address } => rig.write(SE, *address, &[], long(SECTOR_ERASE)),
        Deed::Block { address } => rig.write(BE, *address, &[], long(150_000_000)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_cut_touches_nothing_but_its_operation(
        deeds in proptest::collection::vec(deed(), 0..4),
        last in deed(),
        seed: u64,
    ) {
        let mut rig = Rig::of_size(0x40000);
        for deed in &deeds {
            perform(&mut rig, deed, true);
        }
        let before = rig.all();
        rig.events();
        perform(&mut rig, &last, false);
        let began = rig.events().into_iter().find_map(|event| match event {
            DeviceEvent::OperationBegan(operation) => Some(operation),
            _ => None,
        });
        let began = began.expect("an operation was announced");
        let within = began.address..began.address + began.length;
        prop_assert_eq!(rig.now, began.begins);
        prop_assert!(began.ends > began.begins);
        for shape in Shape::ALL {
            let mut cut = rig.clone();
            cut.cut(shape, seed);
            let (after, again) = (cut.all(), cut.all());
            prop_assert_eq!(&after, &again);
            for (at, (old, new)) in (0u64..).zip(before.iter().zip(&after)) {
                prop_assert!(old == new || (shape != Shape::Lost && within.contains(&at)));
            }
            // A fresh erase of everything the cut could have hurt leaves a clean chip.
            let sectors = within.start & !0xfff..within.end;
            for sector in sectors.clone().step_by(0x1000) {
                cut.erase(sector);
            }
            let length = usize::try_from(sectors.end - sectors.start).unwrap();
            prop_assert!(cut.read(sectors.start, length).iter().all(|byte| *byte == 0xff));
            prop_assert_eq!(cut.chip().unstable_bytes(), 0);
        }
    }

    #[test]
    fn a_stored_chip_goes_on_like_the_original(
        first in deed(),
        then in proptest::collection::vec(deed(), 1..3),
        seed: u64,
    ) {
        let mut original = Rig::of_size(0x40000);
        perform(&mut original, &first, false);
        let bytes = postcard::to_stdvec(&original).unwrap();
        let mut restored: Rig = postcard::from_bytes(&bytes).unwrap();
        let mut copy = original.clone();
        prop_assert_eq!(&restored, &original);
        for rig in [&mut original, &mut restored, &mut copy] {
            rig.wait(PROGRAM / 2);
            for deed in &then {
                perform(rig, deed, true);
            }
            rig.cut(Shape::Torn, seed);
            rig.read(0, 0x40000);
        }
        prop_assert_eq!(&restored, &original);
        prop_assert_eq!(&copy, &original);
    }
}
