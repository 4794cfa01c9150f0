//! Every persistent operation of a scenario, and where to start from to reach it.

use devices::power::Shape;
use emulator::array::{CutPoint, PowerDomain, Source};
use emulator::engine::EngineChoice;
use emulator::rig::Slot;

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

/// What a scenario does to its media.
pub(super) struct Listed {
    pub(super) operations: u64,
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
pub(super) fn list(scenario: &Scenario, engine: &EngineChoice) -> Result<Listed, PlayError> {
    let mut player = Player::new(scenario, engine)?;
    let mut listed = Listed {
        operations: 0,
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
        let all = cuts((&began, ended), &way, first, step, scenario.seed);
        listed.cases.extend(all);
        listed.waypoints.extend(way);
        if !good {
            break;
        }
    }
    let shapes = Shape::ALL.len() as u64;
    listed.operations = listed.cases.len() as u64 / shapes;
    Ok(listed)
}

/// A cut in each shape at each operation of action number `action` and its waits: operation counts
/// before and after it, and the waypoints in it, which are numbered from `first`.
pub(super) fn cuts(
    (began, ended): (&OperationCounts, &OperationCounts),
    way: &[Waypoint],
    first: usize,
    action: usize,
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
        };
        between.cuts(Start::Action(action), seed, all);
    };
    for (nth, waypoint) in way.iter().enumerate() {
        acted(from, &waypoint.began, &mut all);
        let here = Between {
            origin: &waypoint.began,
            from: &waypoint.began,
            to: &waypoint.ended,
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
}

impl Between<'_> {
    fn cuts(&self, start: Start, seed: u64, all: &mut Vec<Planned>) {
        for (place, count) in self.to {
            let (source, unit, kind) = *place;
            let (Some(device), Some(domain)) = (device(source, unit), domain(source)) else {
                continue;
            };
            let at = |counts: &OperationCounts| counts.get(place).copied().unwrap_or(0);
            for total in at(self.from) + 1..=*count {
                for shape in Shape::ALL {
                    let cut = PlannedCut {
                        device,
                        operation: kind,
                        nth: u32::try_from(total).unwrap_or(u32::MAX),
                        shape,
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
        // A node stores nothing.
        Source::Node(_) | Source::Can | Source::Network | Source::Chassis => None,
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
        let listed = list(&scenario, &EngineChoice::Kvm).unwrap();
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
}
