//! Every persistent operation of a scenario, and where to start from to reach it.

use std::collections::BTreeSet;

use devices::power::{OperationKind, Shape};
use emulator::array::{CutPoint, PowerDomain, Source};
use emulator::engine::EngineChoice;
use emulator::rig::{Slot, Unit};

use crate::play::{Kept, PlayError, Player};
use crate::report::{Line, Sink, SinkError};
use crate::runner::PlannedCut;
use crate::scenario::{DeviceRef, Scenario};
use crate::stage::{OperationCounts, Waypoint};

/// One cut, and how to get there.
#[derive(Clone, Copy, Debug)]
pub(super) struct Planned {
    /// As people write it.
    pub(super) cut: PlannedCut,
    /// Where to start from.
    pub(super) start: Start,
    /// Where to cut, counted from there.
    pub(super) point: CutPoint,
}

/// Where to start from to reach an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Start {
    /// From this waypoint only time has to pass.
    Waypoint(usize),
    /// Something else than time began it: this step of the scenario has to be played again, or the
    /// recovery in which it was.
    Action(usize),
}

/// What to cut at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Places {
    /// At each persistent operation, in each shape.
    Operations,
    /// At each frame on the CAN bus, the power of each of these boards. A frame keeps nothing: one shape is enough.
    Frames(Vec<Unit>),
}

/// What a scenario does to its media, or on the CAN bus.
pub(super) struct Listed {
    pub(super) operations: u64,
    pub(super) places: Places,
    /// The versions that nodes ran in the story without a cut: none where nobody serves them.
    pub(super) node_versions: BTreeSet<String>,
    pub(super) cases: Vec<Planned>,
    /// The player before each step.
    pub(super) before: Vec<Kept>,
    /// The stage while time passed.
    pub(super) waypoints: Vec<Waypoint>,
}

/// Reports hear nothing of the story's first playing.
pub(super) struct Silence;

impl Sink for Silence {
    fn take(&mut self, _line: &Line) -> Result<(), SinkError> {
        Ok(())
    }
}

/// Plays the scenario once.
pub(super) fn list(
    scenario: &Scenario,
    engine: &EngineChoice,
    frames: bool,
) -> Result<Listed, PlayError> {
    let mut player = Player::new(scenario, engine)?;
    if frames {
        let array = &mut player.stage_mut().array;
        array.with_can(|can, _| can.tell_frames(true));
    }
    let places = match frames {
        true => Places::Frames(boards(&player)),
        false => Places::Operations,
    };
    let mut listed = Listed {
        operations: 0,
        places,
        node_versions: BTreeSet::new(),
        cases: Vec::new(),
        before: Vec::new(),
        waypoints: Vec::new(),
    };
    for step in 0..scenario.steps.len() {
        let kept = player.keep(listed.before.last())?;
        listed.before.push(kept);
        let began = player.stage().operations().clone();
        player.stage_mut().keep_track();
        let good = player.play_step(step, &mut Silence)?;
        let way = player.stage_mut().take_track();
        let first = listed.waypoints.len();
        let ended = player.stage().operations();
        let places = &listed.places;
        let all = cuts((&began, ended), &way, (first, step), places, scenario.seed);
        listed.cases.extend(all);
        listed.waypoints.extend(way);
        let nodes = player.stage().node_views().iter();
        let versions = nodes.filter_map(|node| node.version.clone());
        listed.node_versions.extend(versions);
        if !good {
            break;
        }
    }
    let each = match &listed.places {
        Places::Operations => Shape::ALL.len(),
        Places::Frames(boards) => boards.len().max(1),
    };
    listed.operations = (listed.cases.len() / each) as u64;
    Ok(listed)
}

/// Every board that is there.
fn boards(player: &Player<'_>) -> Vec<Unit> {
    let array = &player.stage().array;
    let there = |unit: &Unit| {
        let board = array.board(Source::of(*unit));
        board.is_some_and(|board| board.controller().is_some())
    };
    let slots = (0..).map_while(|slot| Slot::new(slot).ok());
    let nodes = (0..).zip(array.nodes()).map(|(node, _)| Unit::Node(node));
    let all = slots.map(Unit::Board).chain(nodes);
    all.filter(there).collect()
}

/// The cuts at each of the `places` of action number `action` and its waits: operation counts
/// before and after it, and the waypoints in it, which are numbered from `first`.
pub(super) fn cuts(
    (began, ended): (&OperationCounts, &OperationCounts),
    way: &[Waypoint],
    (first, action): (usize, usize),
    places: &Places,
    seed: u64,
) -> Vec<Planned> {
    let mut all = Vec::new();
    let mut from = began;
    // Counted from where the action is played again.
    let acted = |from: &OperationCounts, to: &OperationCounts, all: &mut Vec<Planned>| {
        let between = Between {
            origin: began,
            from,
            to,
            places,
        };
        between.cuts(Start::Action(action), seed, all);
    };
    for (nth, waypoint) in way.iter().enumerate() {
        acted(from, &waypoint.began, &mut all);
        let here = Between {
            origin: &waypoint.began,
            from: &waypoint.began,
            to: &waypoint.ended,
            places,
        };
        here.cuts(Start::Waypoint(first + nth), seed, &mut all);
        from = &waypoint.ended;
    }
    acted(from, ended, &mut all);
    all
}

/// The operations between two counts; `origin` is the count where the start stands.
struct Between<'a> {
    origin: &'a OperationCounts,
    from: &'a OperationCounts,
    to: &'a OperationCounts,
    places: &'a Places,
}

impl Between<'_> {
    fn cuts(&self, start: Start, seed: u64, all: &mut Vec<Planned>) {
        for (place, count) in self.to {
            let (source, unit, kind) = *place;
            let Some(device) = device(source, unit) else {
                continue;
            };
            let ways = self.ways(source, kind);
            let at = |counts: &OperationCounts| counts.get(place).copied().unwrap_or(0);
            for total in at(self.from) + 1..=*count {
                for (shape, domain, victim) in ways.iter().copied() {
                    let cut = PlannedCut {
                        device,
                        operation: kind,
                        nth: u32::try_from(total).unwrap_or(u32::MAX),
                        shape,
                        victim,
                    };
                    let point = CutPoint {
                        domain,
                        source,
                        unit: Some(unit),
                        kind: Some(kind),
                        address: None,
                        nth: total - at(self.origin),
                        shape,
                        seed: devices::power::mix(seed, total),
                    };
                    all.push(Planned { cut, start, point });
                }
            }
        }
    }
}

impl Between<'_> {
    /// How the power is cut at an operation: the shape it is left in, what loses power, and what is said of that.
    fn ways(&self, source: Source, kind: OperationKind) -> Vec<(Shape, PowerDomain, Option<Unit>)> {
        match (self.places, kind) {
            (Places::Frames(boards), OperationKind::CanFrame) => {
                let way = |board| (Shape::Torn, PowerDomain::of(&[board]), Some(board));
                boards.iter().copied().map(way).collect()
            }
            (Places::Frames(_), _) | (Places::Operations, OperationKind::CanFrame) => Vec::new(),
            (Places::Operations, _) => {
                let ways =
                    domain(source).map(|domain| Shape::ALL.map(|shape| (shape, domain, None)));
                ways.into_iter().flatten().collect()
            }
        }
    }
}

fn device(source: Source, unit: u32) -> Option<DeviceRef> {
    match source {
        Source::Board(slot) => {
            let board = Slot::new(u32::try_from(slot).ok()?).ok()?;
            Some(DeviceRef::Flash {
                board,
                chip: Some(unit),
            })
        }
        Source::Shelf => Some(DeviceRef::Shelf { member: Some(unit) }),
        Source::Can => Some(DeviceRef::Can {
            sender: Some(u16::try_from(unit).ok()?),
        }),
        // A node stores nothing.
        Source::Node(_) | Source::Network | Source::Chassis => None,
    }
}

/// What loses power: a board with its flash, or everything where the shelf is concerned.
fn domain(source: Source) -> Option<PowerDomain> {
    match source {
        Source::Board(slot) => Some(PowerDomain::board(slot)),
        Source::Node(node) => Some(PowerDomain::node(node)),
        Source::Shelf => Some(PowerDomain::CHASSIS),
        Source::Can | Source::Network | Source::Chassis => None,
    }
}
#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn from_every_waypoint_the_story_goes_on_as_it_did() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/live-upgrade.toml");
        let scenario = Scenario::load(&path).unwrap();
        let listed = list(&scenario, &EngineChoice::Kvm, false).unwrap();
        assert!(
            listed.waypoints.len() > scenario.steps.len(),
            "some within waits"
        );
        let mut player = Player::new(&scenario, &EngineChoice::Kvm).unwrap();
        // Backwards, so that nothing of what came before is left by chance.
        for waypoint in listed.waypoints.iter().rev() {
            let stage = player.stage_mut();
            stage.restore(&waypoint.stage).unwrap();
            stage.run_until(waypoint.ends, |_| false).unwrap();
            assert_eq!(*stage.operations(), waypoint.ended);
        }
    }
    #[test]
    fn every_frame_is_there_once_for_each_board() {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios/nodes-without-master.toml");
        let scenario = Scenario::load(&path).unwrap();
        let listed = list(&scenario, &EngineChoice::Kvm, true).unwrap();
        assert_eq!(listed.operations, 11);
        let all: BTreeSet<PlannedCut> = listed.cases.iter().map(|case| case.cut).collect();
        assert_eq!((listed.cases.len(), all.len()), (55, 55));
        assert!(listed.node_versions.is_empty(), "nobody serves them");
    }
}
