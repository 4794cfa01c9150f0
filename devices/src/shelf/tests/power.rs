//! Cutting the power at every operation, in every shape.

use super::*;

/// A few writes with flushes between them; notes which data each flush made durable.
#[derive(Clone)]
struct Story {
    bench: Bench,
    /// Per sector, the newest version that was flushed, and all that were written.
    sectors: Vec<(u64, Vec<u64>)>,
}

const STEPS: [(u64, u64); 6] = [(0, 3), (2, 1), (5, 7), (1, 2), (4, 6), (11, 1)];

impl Story {
    fn new(level: Level, members: usize, journalled: bool, missing: Option<usize>) -> Story {
        let mut bench = Bench::new(level, members, 0, 6);
        bench.shelf.journalled = journalled;
        if let Some(member) = missing {
            bench.shelf.fail_member(member, &mut bench.events);
            bench.settle();
        }
        let sectors = usize::try_from(bench.shelf.sectors()).unwrap();
        Story {
            bench,
            sectors: vec![(0, vec![0]); sectors],
        }
    }

    /// Tells the story until `cut` operations have begun (or to the end).
    fn tell(&mut self, cut: usize) -> bool {
        for (version, (sector, count)) in (1u64..).zip(STEPS) {
            let range = usize::try_from(sector).unwrap()..usize::try_from(sector + count).unwrap();
            for (_, versions) in &mut self.sectors[range] {
                versions.push(version);
            }
            let data = pattern(sector, count, version);
            self.bench.submit(&Request::Write { sector, data });
            let flush = (version % 2 == 0).then(|| self.bench.submit(&Request::Flush));
            if self.bench.operations().len() >= cut {
                return true;
            }
            while self.bench.step() {
                if self.bench.operations().len() >= cut {
                    return true;
                }
            }
            let done = self.bench.answers(0);
            if flush.is_some_and(|flush| done.iter().any(|done| done.ticket == flush)) {
                for (flushed, versions) in &mut self.sectors {
                    *flushed = *versions.last().unwrap();
                }
            }
        }
        false
    }

    /// What is wrong after power came back, if anything is.
    fn verdict(&self) -> Result<(), String> {
        if let Some(row) = self.bench.inconsistent_row() {
            return Err(format!("row {row} does not fit together"));
        }
        let content = self.bench.content().ok_or("unreadable")?;
        for (sector, (flushed, versions)) in (0..).zip(&self.sectors) {
            let at = usize::try_from(sector).unwrap() * 512;
            let is = &content[at..at + 512];
            let may = versions.iter().filter(|version| *version >= flushed);
            let expected = |version: &u64| match version {
                0 => vec![0; 512],
                version => pattern(sector, 1, *version),
            };
            if !may.clone().any(|version| expected(version) == is) {
                return Err(format!("sector {sector} is none of {flushed} and later"));
            }
        }
        Ok(())
    }
}

/// What makes a cut worse.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Trouble {
    None,
    /// Power goes again during recovery.
    Again,
    /// There is more in the cache, for the rows that are being written and for others.
    FullCache,
    /// A member that has the journal does not come back.
    MemberLost,
}

impl Trouble {
    const ALL: [Trouble; 4] = [
        Trouble::None,
        Trouble::Again,
        Trouble::FullCache,
        Trouble::MemberLost,
    ];
}

impl Story {
    /// Cuts the power and brings it back.
    fn cut(&mut self, shape: Shape, seed: u64, trouble: Trouble) {
        if trouble == Trouble::FullCache {
            for (_, versions) in &mut self.sectors[..6] {
                versions.push(100);
            }
            let data = pattern(0, 6, 100);
            self.bench.submit(&Request::Write { sector: 0, data });
        }
        self.bench.cut(shape, seed);
        if trouble == Trouble::MemberLost {
            let slots = &self.bench.shelf.slots;
            let member = slots.iter().find_map(|slot| slot.drive).unwrap();
            self.bench.shelf.fail_member(member, &mut self.bench.events);
        }
        self.bench.power_on();
        if trouble == Trouble::Again {
            self.bench.cut(Shape::Torn, seed + 7);
            self.bench.power_on();
        }
    }
}

/// Cuts at every operation in every shape with every trouble; how many cuts there were and what
/// went wrong.
fn sweep(
    level: Level,
    members: usize,
    journalled: bool,
    missing: Option<usize>,
) -> (usize, Vec<String>) {
    let (mut cuts, mut wrong) = (0, Vec::new());
    for cut in 1.. {
        let mut story = Story::new(level, members, journalled, missing);
        let before = story.bench.operations().len();
        if !story.tell(before + cut) {
            break;
        }
        let bears_another = missing.is_none() || level == Level::Six;
        let troubles = Trouble::ALL
            .into_iter()
            .filter(|trouble| bears_another || *trouble != Trouble::MemberLost);
        for trouble in troubles {
            for (shape, seed) in Shape::ALL
                .into_iter()
                .flat_map(|s| [(s, 1), (s, 2), (s, 3)])
            {
                let mut after = story.clone();
                after.cut(shape, seed, trouble);
                let at_once = after.verdict();
                after.bench.settle();
                let later = after.verdict();
                cuts += 1;
                for what in [at_once, later].into_iter().filter_map(Result::err) {
                    let case = format!("{level:?} cut {cut} {shape:?} {seed} {trouble:?}");
                    wrong.push(format!("{case}: {what}"));
                }
            }
        }
    }
    (cuts, wrong)
}

#[test]
fn no_cut_loses_flushed_data_or_breaks_a_row() {
    for (level, members) in ALL.into_iter().skip(1) {
        let (cuts, wrong) = sweep(level, members, true, None);
        assert!(cuts > 200, "{level:?}: {cuts}");
        assert_eq!(wrong, [""; 0]);
    }
}

#[test]
fn no_cut_while_degraded_does_either() {
    for (level, members) in [(Level::Five, 3), (Level::Five, 4), (Level::Six, 5)] {
        for missing in 0..members {
            assert_eq!(sweep(level, members, true, Some(missing)).1, [""; 0]);
        }
    }
}

#[test]
fn without_the_journal_there_is_a_write_hole() {
    for (level, members) in [(Level::One, 2), (Level::Five, 3), (Level::Six, 5)] {
        let (cuts, wrong) = sweep(level, members, false, None);
        assert!(
            wrong.len() > 10 && wrong.len() < cuts,
            "{level:?}: {wrong:?}"
        );
    }
}

/// What a cut with all of it in the cache leaves of ten sectors.
fn kept(level: Level, members: usize, shape: Shape, seed: u64) -> usize {
    let mut bench = Bench::new(level, members, 0, 10);
    bench.write(0, &pattern(0, 10, 1));
    bench.flush();
    bench.write(0, &pattern(0, 10, 2));
    bench.cut(shape, seed);
    bench.power_on();
    bench.settle();
    assert_eq!(bench.inconsistent_row(), None);
    let content = bench.content().unwrap();
    let (old, new) = (pattern(0, 10, 1), pattern(0, 10, 2));
    let chunks = content
        .chunks(512)
        .zip(old.chunks(512))
        .zip(new.chunks(512));
    let new = |((is, old), new): ((&[u8], &[u8]), &[u8])| {
        assert!(
            is == old || is == new,
            "a sector of the cache is whole or not there"
        );
        is == new
    };
    chunks.take(10).map(new).filter(|new| *new).count()
}

#[test]
fn the_cache_is_lost_partly_kept_or_kept() {
    for (level, members) in ALL {
        assert_eq!(kept(level, members, Shape::Lost, 1), 0);
        assert_eq!(kept(level, members, Shape::Done, 1), 10);
        let some: std::collections::BTreeSet<usize> = (0..20)
            .map(|seed| kept(level, members, Shape::Torn, seed))
            .collect();
        assert!(some.len() > 3, "{level:?}: {some:?}");
    }
}

#[test]
fn a_checkpoint_in_the_middle_of_anything_goes_on_the_same() {
    let mut story = Story::new(Level::Six, 5, true, None);
    assert!(!story.tell(usize::MAX));
    let operations = story.bench.operations();
    for cut in 1..=operations.len() {
        let mut story = Story::new(Level::Six, 5, true, None);
        assert!(story.tell(cut));
        let bytes = postcard::to_stdvec(&story.bench.shelf).unwrap();
        let mut loaded = Bench {
            shelf: postcard::from_bytes(&bytes).unwrap(),
            ..story.bench.clone()
        };
        assert_eq!(loaded.shelf, story.bench.shelf);
        loaded.settle();
        story.bench.settle();
        assert_eq!(loaded.events, story.bench.events);
        assert_eq!(loaded.shelf, story.bench.shelf);
    }
}

#[test]
fn how_often_it_is_advanced_makes_no_difference() {
    let mut story = Story::new(Level::Five, 3, true, None);
    story.tell(usize::MAX);
    let mut bench = Bench::new(Level::Five, 3, 0, 4);
    let mut at_once = bench.clone();
    let request = Request::Write {
        sector: 1,
        data: pattern(1, 9, 1),
    };
    for bench in [&mut bench, &mut at_once] {
        bench.submit(&request);
        bench.submit(&Request::Flush);
    }
    bench.settle();
    at_once.now = bench.now;
    at_once.shelf.advance(at_once.now, &mut at_once.events);
    assert_eq!(bench.events, at_once.events);
    assert_eq!(bench.shelf, at_once.shelf);
}

#[test]
fn a_journal_entry_from_the_past_is_not_replayed() {
    let mut bench = Bench::new(Level::Five, 4, 0, 6);
    // Members 0 and 1 keep the journal; while 0 is away, 1 and 2 do.
    bench.shelf.fail_member(0, &mut bench.events);
    bench.write(0, &pattern(0, 4, 1));
    bench.flush();
    bench.shelf.replace_member(0, disk(6), &mut bench.events);
    bench.settle();
    bench.write(0, &pattern(0, 4, 2));
    bench.flush();
    for member in [0, 1] {
        bench.shelf.rot(member, geometry::JOURNAL_SECTOR);
    }
    bench.cut(Shape::Lost, 0);
    bench.power_on();
    assert_eq!(bench.read(0, 4), Ok(pattern(0, 4, 2)));
}
