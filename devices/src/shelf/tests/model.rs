//! Whatever is asked in whatever order, the volume is what a plain array of sectors would be.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Write { sector: u64, sectors: u64 },
    Read { sector: u64, sectors: u32 },
    Flush,
    Settle,
    Wait { steps: usize },
    Fail { member: usize },
    Replace { member: usize },
    Rot { sector: u64 },
    Scrub,
    Cut { shape: Shape, seed: u64 },
}

const ROWS: u64 = 5;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let shape = prop_oneof![Just(Shape::Lost), Just(Shape::Torn), Just(Shape::Done)];
    let step = prop_oneof![
        6 => (0u64..24, 1u64..9).prop_map(|(sector, sectors)| Step::Write { sector, sectors }),
        3 => (0u64..24, 1u32..9).prop_map(|(sector, sectors)| Step::Read { sector, sectors }),
        3 => Just(Step::Flush),
        1 => Just(Step::Settle),
        3 => (1usize..9).prop_map(|steps| Step::Wait { steps }),
        1 => (0usize..6).prop_map(|member| Step::Fail { member }),
        1 => (0usize..6).prop_map(|member| Step::Replace { member }),
        1 => (0u64..24).prop_map(|sector| Step::Rot { sector }),
        1 => Just(Step::Scrub),
        2 => (shape, any::<u64>()).prop_map(|(shape, seed)| Step::Cut { shape, seed }),
    ];
    proptest::collection::vec(step, 1..60)
}

/// Per sector, what it may hold: the flushed content and everything newer.
struct Model {
    may: Vec<Vec<Vec<u8>>>,
}

impl Model {
    fn newest(&self, first: u64, sectors: u32) -> Vec<u8> {
        let first = usize::try_from(first).unwrap();
        let sectors = &self.may[first..first + sectors as usize];
        sectors
            .iter()
            .flat_map(|may| may.last().unwrap().clone())
            .collect()
    }

    /// What is in the volume now is all that is left.
    fn settle_on(&mut self, content: &[u8]) {
        for (sector, (may, is)) in self.may.iter_mut().zip(content.chunks(512)).enumerate() {
            assert!(
                may.iter().any(|may| may == is),
                "sector {sector} is nothing written"
            );
            *may = vec![is.to_vec()];
        }
    }
}

/// Whether the array bears the loss of one more member, given that one more sector rots.
fn bears_a_loss(bench: &Bench, rotten: bool) -> bool {
    let shelf = &bench.shelf;
    let missing = shelf
        .slots
        .iter()
        .filter(|slot| !shelf.is_complete(slot))
        .count();
    shelf.superblocks_are_true() && missing + usize::from(rotten) < shelf.geometry.tolerates()
}

fn play(level: Level, members: usize, steps: Vec<Step>) {
    let mut bench = Bench::new(level, members, 1, ROWS);
    let sectors = bench.shelf.sectors();
    let mut model = Model {
        may: vec![vec![vec![0; 512]]; usize::try_from(sectors).unwrap()],
    };
    let mut rotten = false;
    for (version, step) in (1u64..).zip(steps) {
        match step {
            Step::Write {
                sector,
                sectors: count,
            } => {
                let count = count.min(sectors.saturating_sub(sector));
                if count == 0 {
                    continue;
                }
                let data = pattern(sector, count, version);
                for (n, block) in (sector..).zip(data.chunks(512)) {
                    model.may[usize::try_from(n).unwrap()].push(block.to_vec());
                }
                bench.submit(&Request::Write { sector, data });
            }
            Step::Read {
                sector,
                sectors: count,
            } => {
                if sector + u64::from(count) <= sectors {
                    assert_eq!(bench.read(sector, count), Ok(model.newest(sector, count)));
                }
            }
            Step::Flush => {
                bench.flush();
                for may in &mut model.may {
                    may.drain(..may.len() - 1);
                }
            }
            Step::Settle => bench.settle(),
            Step::Wait { steps } => {
                for _ in 0..steps {
                    bench.step();
                }
            }
            Step::Fail { member } => {
                if bears_a_loss(&bench, rotten) {
                    bench.shelf.fail_member(member, &mut bench.events);
                }
            }
            Step::Replace { member } => {
                if bears_a_loss(&bench, rotten) {
                    bench
                        .shelf
                        .replace_member(member, disk(ROWS), &mut bench.events);
                }
            }
            Step::Rot { sector } => {
                let there = bench.shelf.locate(sector);
                if let Some((member, sector)) =
                    there.filter(|_| !rotten && bears_a_loss(&bench, true))
                {
                    bench.shelf.rot(member, sector);
                    rotten = true;
                }
            }
            Step::Scrub => {
                bench.shelf.start_scrub(bench.now, &mut bench.events);
                if bench.shelf.status().scrub.running {
                    bench.settle();
                    rotten &= bench.shelf.status().scrub.running;
                }
            }
            Step::Cut { shape, seed } => {
                bench.cut(shape, seed);
                bench.power_on();
                model.settle_on(&bench.content().unwrap());
            }
        }
        assert!(bench.content().unwrap() == model.newest(0, u32::try_from(sectors).unwrap()));
    }
    bench.settle();
    if !rotten {
        assert_eq!(bench.inconsistent_row(), None);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn level_0(steps in steps()) {
        play(Level::Zero, 2, steps);
    }

    #[test]
    fn level_1(steps in steps()) {
        play(Level::One, 3, steps);
    }

    #[test]
    fn level_5(steps in steps()) {
        play(Level::Five, 4, steps);
    }

    #[test]
    fn level_6(steps in steps()) {
        play(Level::Six, 5, steps);
    }
}
