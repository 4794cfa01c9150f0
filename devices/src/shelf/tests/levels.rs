//! Every level, whole and with as many members missing as it bears.

use super::*;

/// Writes the whole volume, loses `lost` members at different moments, and reads it.
fn check(level: Level, members: usize, lost: &[usize], expected: ShelfState) {
    let case = format!("{level:?} of {members} without {lost:?}");
    let enough = expected != ShelfState::Failed;
    for moment in 0..3 {
        let mut bench = Bench::new(level, members, 0, 7);
        let sectors = bench.shelf.sectors();
        let lose = |bench: &mut Bench, when| {
            for member in lost.iter().filter(|_| when == moment) {
                bench.shelf.fail_member(*member, &mut bench.events);
            }
        };
        bench.write(0, &pattern(0, sectors, 1));
        bench.flush();
        lose(&mut bench, 0);
        // Parts of rows, over the edge of a chunk and of a row.
        let written = bench.ask(&Request::Write {
            sector: 3,
            data: pattern(3, 10, 2),
        });
        lose(&mut bench, 1);
        let flushed = bench.ask(&Request::Flush);
        lose(&mut bench, 2);
        assert_eq!(bench.shelf.status().state, expected, "{case}");
        let mut whole = pattern(0, sectors, 1);
        whole[3 * 512..13 * 512].copy_from_slice(&pattern(3, 10, 2));
        let read = bench.read(0, u32::try_from(sectors).unwrap());
        if enough {
            assert_eq!((written.result, flushed.result), (Ok(vec![]), Ok(vec![])));
            assert_eq!(bench.content().as_ref(), Some(&whole), "{case}");
            assert_eq!(read, Ok(whole), "{case}");
            bench.settle();
            assert_eq!(bench.inconsistent_row(), None, "{case}");
        } else {
            assert_eq!(read, Err(BlockError::Failed), "{case}");
            let data = pattern(0, 1, 3);
            let refused = bench.ask(&Request::Write { sector: 0, data });
            assert_eq!(refused.result, Err(BlockError::Failed), "{case}");
        }
    }
}

#[test]
fn with_every_member() {
    for (level, members) in ALL {
        check(level, members, &[], ShelfState::Optimal);
    }
}

#[test]
fn without_one_member() {
    for (level, members) in ALL {
        let expected = match level {
            Level::Zero => ShelfState::Failed,
            _ => ShelfState::Degraded,
        };
        for lost in 0..members {
            check(level, members, &[lost], expected);
        }
    }
}

#[test]
fn without_two_members() {
    for one in 0..5 {
        for other in 0..one {
            check(Level::Six, 5, &[one, other], ShelfState::Degraded);
        }
    }
    check(Level::One, 3, &[0, 2], ShelfState::Degraded);
    check(Level::Five, 4, &[1, 2], ShelfState::Failed);
    check(Level::Six, 5, &[1, 2, 4], ShelfState::Failed);
}

#[test]
fn settings_that_make_no_array_are_refused() {
    let make = |settings, members: Vec<Medium>| {
        Shelf::create(settings, members, Vec::new())
            .unwrap_err()
            .to_string()
    };
    let disks = |n| (0..n).map(|_| disk(4)).collect::<Vec<_>>();
    let few = make(settings(Level::Six), disks(3));
    assert_eq!(few, "3 members: RAID 6 takes 4 to 32");
    assert_eq!(
        make(settings(Level::Five), disks(33)),
        "33 members: RAID 5 takes 3 to 32"
    );
    for chunk_bytes in [0, 100, 513] {
        let settings = ShelfSettings {
            chunk_bytes,
            ..settings(Level::One)
        };
        assert!(make(settings, disks(2)).contains("multiple of 512"));
    }
    let tiny = make(settings(Level::One), vec![disk(4), disk(0)]);
    assert!(tiny.contains("no room"), "{tiny}");
}
