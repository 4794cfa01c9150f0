//! Every persistent operation of a scenario, and where to start from to reach it.

use devices::power::Shape;
use emulator::array::{CutPoint, PowerDomain, Source};
use emulator::rig::Slot;

use crate::play::{Kept, PlayError, Player};
use crate::report::{Line, Sink, SinkError};
use crate::runner::PlannedCut;
use crate::scenario::{DeviceRef, Scenario};
use crate::stage::OperationCounts;

/// One cut, and how to get there.
#[derive(Clone, Debug)]
pub(super) struct Planned {
    /// As people write it.
    pub(super) cut: PlannedCut,
    /// The step that the operation falls into.
    pub(super) step: usize,
    /// Where to cut, counted from the beginning of that step.
    pub(super) point: CutPoint,
    ordinal: u64,
}

impl Planned {
    /// A number of its own.
    pub(super) fn ordinal(&self) -> u64 {
        self.ordinal
    }
}

/// What a scenario does to its media.
pub(super) struct Listed {
    pub(super) operations: u64,
    pub(super) cases: Vec<Planned>,
    /// The array before each step.
    pub(super) before: Vec<Kept>,
}

/// Reports hear nothing of the story's first playing.
pub(super) struct Silence;

impl Sink for Silence {
    fn take(&mut self, _line: &Line) -> Result<(), SinkError> {
        Ok(())
    }
}

/// Plays the scenario once.
pub(super) fn list(scenario: &Scenario) -> Result<Listed, PlayError> {
    let mut player = Player::new(scenario)?;
    let mut listed = Listed {
        operations: 0,
        cases: Vec::new(),
        before: Vec::new(),
    };
    for step in 0..scenario.steps.len() {
        let kept = player.keep(listed.before.last())?;
        listed.before.push(kept);
        let before = player.stage().operations().clone();
        let good = player.play_step(step, &mut Silence)?;
        let after = player.stage().operations();
        for planned in cuts(&before, after, step, scenario.seed) {
            let ordinal = listed.cases.len() as u64;
            listed.operations += u64::from(planned.cut.shape == Shape::Lost);
            listed.cases.push(Planned { ordinal, ..planned });
        }
        if !good {
            break;
        }
    }
    Ok(listed)
}

/// A cut in each shape at each operation that came between two counts.
pub(super) fn cuts(
    before: &OperationCounts,
    after: &OperationCounts,
    step: usize,
    seed: u64,
) -> Vec<Planned> {
    let mut all = Vec::new();
    for (place, count) in after {
        let (source, unit, kind) = *place;
        let (Some(device), Some(domain)) = (device(source, unit), domain(source)) else {
            continue;
        };
        let earlier = before.get(place).copied().unwrap_or(0);
        for nth in 1..=count.saturating_sub(earlier) {
            for shape in Shape::ALL {
                let total = u32::try_from(earlier + nth).unwrap_or(u32::MAX);
                let cut = PlannedCut {
                    device,
                    operation: kind,
                    nth: total,
                    shape,
                };
                let point = CutPoint {
                    domain,
                    source,
                    unit: Some(unit),
                    kind: Some(kind),
                    address: None,
                    nth,
                    shape,
                    seed: devices::power::mix(seed, u64::from(total)),
                };
                all.push(Planned {
                    cut,
                    step,
                    point,
                    ordinal: 0,
                });
            }
        }
    }
    all
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
        Source::Network | Source::Chassis => None,
    }
}

/// What loses power: a board with its flash, or everything where the shelf is concerned.
fn domain(source: Source) -> Option<PowerDomain> {
    match source {
        Source::Board(slot) => Some(PowerDomain::board(slot)),
        Source::Shelf => Some(PowerDomain::CHASSIS),
        Source::Network | Source::Chassis => None,
    }
}
