//! Failing, replacing, rebuilding, scrubbing, coming back.

use proptest::prelude::*;

use super::*;

fn filled(level: Level, members: usize, spares: usize) -> (Bench, Vec<u8>) {
    let mut bench = Bench::new(level, members, spares, 40);
    let content = pattern(0, bench.shelf.sectors(), 1);
    bench.write(0, &content);
    bench.flush();
    (bench, content)
}

const REDUNDANT: [(Level, usize); 3] = [(Level::One, 2), (Level::Five, 4), (Level::Six, 5)];

#[test]
fn a_spare_takes_the_place_of_a_member() {
    for (level, members) in REDUNDANT {
        let (mut bench, mut content) = filled(level, members, 1);
        bench.shelf.fail_member(1, &mut bench.events);
        let status = bench.shelf.status();
        assert_eq!(status.state, ShelfState::Rebuilding);
        assert_eq!(status.rebuild_percent, Some(0));
        // Writes and rounds go on meanwhile, in rows before and after the rebuild.
        for round in 0..20 {
            let sector = mix(5, round) % (bench.shelf.sectors() - 3);
            let data = pattern(sector, 3, 2 + round);
            bench.write(sector, &data);
            let at = usize::try_from(sector).unwrap() * 512;
            content[at..at + data.len()].copy_from_slice(&data);
            bench.flush();
        }
        assert_eq!(bench.shelf.status().state, ShelfState::Rebuilding);
        bench.settle();
        let status = bench.shelf.status();
        assert_eq!(status.state, ShelfState::Optimal);
        assert_eq!(status.members[1], MemberState::Failed);
        assert_eq!(status.members[members], MemberState::Active);
        assert_eq!(bench.inconsistent_row(), None);
        for also in [0, 2]
            .iter()
            .take(bench.shelf.geometry.tolerates().min(members - 1))
        {
            bench.shelf.fail_member(*also, &mut bench.events);
        }
        assert!(
            bench.content() == Some(content),
            "{level:?}: from the spare"
        );
    }
}

#[test]
fn a_replaced_member_is_rebuilt_and_a_superfluous_one_is_a_spare() {
    let (mut bench, content) = filled(Level::Five, 3, 1);
    bench.shelf.fail_member(0, &mut bench.events);
    bench.settle();
    bench.shelf.replace_member(0, disk(40), &mut bench.events);
    assert_eq!(bench.shelf.status().members[0], MemberState::Spare);
    bench.shelf.replace_member(2, disk(39), &mut bench.events);
    assert_eq!(
        bench.shelf.status().members[2],
        MemberState::Failed,
        "too small"
    );
    bench.settle();
    assert_eq!(bench.shelf.status().members[0], MemberState::Active);
    assert_eq!(bench.shelf.status().state, ShelfState::Optimal);
    assert_eq!(bench.content(), Some(content));
}

#[test]
fn a_rebuild_that_is_cut_goes_on() {
    for shape in Shape::ALL {
        let (mut bench, content) = filled(Level::Five, 4, 1);
        bench.shelf.fail_member(1, &mut bench.events);
        for cut in 0..30 {
            for _ in 0..23 {
                bench.step();
            }
            bench.cut(shape, cut);
            bench.power_on();
            assert_ne!(bench.shelf.status().state, ShelfState::Failed);
        }
        let before = bench.shelf.member_counters(4).writes;
        bench.settle();
        assert_eq!(bench.shelf.status().state, ShelfState::Optimal);
        assert_eq!(bench.inconsistent_row(), None);
        assert_eq!(bench.content().as_ref(), Some(&content));
        assert!(before > 40, "it was interrupted: {before}");
    }
}

#[test]
fn media_are_recognised_in_any_order_and_stale_ones_are_not_used() {
    let (mut bench, content) = filled(Level::Six, 5, 1);
    bench.shelf.fail_member(1, &mut bench.events);
    bench.settle();
    bench.cut(Shape::Lost, 0);
    let assemble = |order: [usize; 6]| {
        let mut media: Vec<Medium> = order
            .iter()
            .map(|n| bench.shelf.drives[*n].medium.clone())
            .collect();
        let spares = media.split_off(5);
        let shelf = Shelf::assemble(settings(Level::Six), media, spares).unwrap();
        let mut bench = Bench::of(shelf);
        bench.power_on();
        bench
    };
    for order in [[0, 1, 2, 3, 4, 5], [5, 4, 3, 2, 1, 0], [2, 5, 0, 1, 3, 4]] {
        let bench = assemble(order);
        let status = bench.shelf.status();
        let stale = order.iter().position(|n| *n == 1).unwrap();
        assert_eq!(status.state, ShelfState::Optimal);
        assert_eq!(status.members[stale], MemberState::Failed);
        assert_eq!(bench.content().as_ref(), Some(&content));
    }
}

#[test]
fn blank_media_are_a_new_array_and_foreign_ones_are_not() {
    let disks = |n| (0..n).map(|_| disk(4)).collect::<Vec<_>>();
    let new = Shelf::assemble(settings(Level::Five), disks(3), disks(1)).unwrap();
    let same = Shelf::create(settings(Level::Five), disks(3), disks(1)).unwrap();
    assert_eq!(new, same);
    let media = same.drives.into_iter().take(3).map(|drive| drive.medium);
    let mut settings = settings(Level::Five);
    settings.array_id += 1;
    let foreign = Shelf::assemble(settings, media.collect(), disks(1)).unwrap();
    let status = foreign.status();
    assert_eq!(status.state, ShelfState::Failed);
    use MemberState::{Failed, Spare};
    assert_eq!(status.members, [Failed, Failed, Failed, Spare]);
}

#[test]
fn rot_is_noticed_when_read_and_repaired_by_a_scrub() {
    for (level, members) in REDUNDANT {
        let (mut bench, content) = filled(level, members, 0);
        let sound = bench.shelf.drives.clone();
        let (member, sector) = bench.shelf.locate(7).unwrap();
        bench.shelf.rot(member, sector);
        // The parity or mirror of another row.
        bench.shelf.rot(members - 1, geometry::DATA_SECTOR + 1);
        assert_eq!(bench.read(7, 1), Ok(pattern(7, 1, 1)), "{level:?}");
        let fault = DeviceEvent::MediumFault("bad-sector-recovered sector=7".into());
        assert!(bench.events.contains(&fault));
        bench.shelf.start_scrub(bench.now, &mut bench.events);
        assert!(bench.shelf.status().scrub.running);
        bench.settle();
        let expected = ScrubStatus {
            running: false,
            rows: 40,
            repaired: 2,
            lost: 0,
        };
        assert_eq!(bench.shelf.status().scrub, expected, "{level:?}");
        for (is, was) in bench.shelf.drives.iter().zip(&sound) {
            assert!(is.medium == was.medium, "{level:?}: every bit is back");
        }
        assert_eq!(bench.content(), Some(content));
    }
}

#[test]
fn a_long_read_over_rot_gives_everything_in_order() {
    for (level, members) in REDUNDANT {
        let (mut bench, content) = filled(level, members, 0);
        let (member, sector) = bench.shelf.locate(75).unwrap();
        bench.shelf.rot(member, sector);
        let sectors = u32::try_from(bench.shelf.sectors()).unwrap();
        assert_eq!(bench.read(0, sectors), Ok(content), "{level:?}");
        let fault = DeviceEvent::MediumFault("bad-sector-recovered sector=75".into());
        assert!(bench.events.contains(&fault), "{level:?}");
    }
}

#[test]
fn parity_that_does_not_fit_is_repaired_by_a_scrub() {
    for (level, members) in REDUNDANT {
        let (mut bench, content) = filled(level, members, 0);
        let sector = geometry::DATA_SECTOR;
        let pieces = vec![sector::Stored::seal(&pattern(0, 1, 99))];
        bench.shelf.drives[members - 1].put(&drive::Run { sector, pieces });
        assert_eq!(bench.inconsistent_row(), Some(0));
        bench.shelf.start_scrub(bench.now, &mut bench.events);
        bench.settle();
        assert_eq!(bench.inconsistent_row(), None);
        assert_eq!(bench.content(), Some(content), "{level:?}");
    }
}

#[test]
fn rot_without_redundancy_is_counted_and_never_invents_data() {
    let (mut bench, _) = filled(Level::Zero, 2, 0);
    let (member, sector) = bench.shelf.locate(7).unwrap();
    bench.shelf.rot(member, sector);
    bench.shelf.start_scrub(bench.now, &mut bench.events);
    bench.settle();
    assert_eq!(bench.shelf.status().scrub.lost, 1);
}

#[test]
fn data_beyond_recovery_is_not_made_up() {
    // Row 0 is sectors 0–1, 2–3, 4–5 and P.
    let (mut bench, _) = filled(Level::Five, 4, 0);
    let (member, sector) = bench.shelf.locate(0).unwrap();
    bench.shelf.rot(member, sector);
    bench.shelf.fail_member(2, &mut bench.events);
    let lost = Err(BlockError::Failed);
    assert_eq!(bench.read(0, 1), lost, "rotten, and another member away");
    // Parity is computed without it, the missing member comes back, parity is used.
    bench.write(2, &pattern(2, 1, 5));
    bench.flush();
    assert_eq!(
        (bench.read(0, 1), bench.read(4, 1)),
        (lost.clone(), lost.clone())
    );
    bench.shelf.replace_member(2, disk(40), &mut bench.events);
    bench.settle();
    bench.write(4, &pattern(4, 1, 5));
    bench.flush();
    assert_eq!(bench.read(0, 1), lost);
    assert_eq!(bench.read(2, 1), Ok(pattern(2, 1, 5)));
    assert_eq!(bench.read(4, 1), Ok(pattern(4, 1, 5)));
    // Writing it anew heals all of it.
    bench.write(0, &pattern(0, 1, 5));
    bench.flush();
    assert_eq!(bench.read(0, 1), Ok(pattern(0, 1, 5)));
    assert_eq!(bench.inconsistent_row(), None);
}

proptest! {
    #[test]
    fn whatever_is_on_the_media_they_are_an_array_or_not(
        numbers in proptest::collection::vec(
            prop_oneof![Just(0), Just(1), Just(u64::MAX), 0..40u64, any::<u64>()], 6..9),
        sequence in prop_oneof![Just(u64::MAX), any::<u64>()],
        addresses in proptest::collection::vec((0usize..70_000, prop_oneof![0..300u64, any::<u64>()]), 0..9),
    ) {
        let (bench, _) = filled(Level::Five, 3, 1);
        let mut drives = bench.shelf.drives;
        // Superblock and journal of one member say something else, with the right checksums.
        let mut superblock = superblock::Superblock::of(&drives[1]).unwrap();
        superblock.generation = numbers[0];
        superblock.journal_floor = numbers[1];
        superblock.rebuilt_rows = numbers[2];
        superblock.joined.clone_from_slice(&numbers[3..6]);
        superblock.slot = u8::try_from(numbers[2] & 3).unwrap();
        let run = superblock.run(&drives[1]);
        drives[1].put(&run);
        let stored = sector::Stored::from_bytes(&[7; STORED_BYTES]);
        let write = |(slot, sector)| journal::Write { slot, sector, stored: stored.clone() };
        let writes = addresses.into_iter().map(write).collect();
        let run = journal::Entry { sequence, writes }.run(superblock.array_id);
        drives[1].put(&run);
        let mut media: Vec<Medium> = drives.into_iter().map(|drive| drive.medium).collect();
        let spares = media.split_off(3);
        let shelf = Shelf::assemble(settings(Level::Five), media, spares).unwrap();
        let mut bench = Bench::of(shelf);
        bench.power_on();
        bench.ask(&Request::Write { sector: 1, data: pattern(1, 9, 1) });
        bench.ask(&Request::Flush);
        bench.settle();
        bench.content();
    }
}
