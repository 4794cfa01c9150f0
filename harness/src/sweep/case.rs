//! One case: a cut, the return of power, and what must come of it.
//!
//! Whatever the cut left behind, every board that has power must be operational again within
//! [`PATIENCE`], no acknowledged write may be lost, and no invariant may be broken on the way.

use devices::time::Nanos;
use emulator::array::PowerDomain;

use super::keep::keep_media;
use super::list::{Listed, Planned, Silence, cuts};
use super::{SweepFailure, failure};
use crate::play::{Kept, PlayError, Player};
use crate::runner::{PlannedCut, SweepPlan};
use crate::stage::{State, Waited};

/// Virtual time an array may take to come back.
const PATIENCE: Nanos = Nanos::from_secs(120);

/// What came of a case and, with depth 2, of the cases within its recovery.
#[derive(Debug, Default)]
pub(super) struct Judged {
    pub(super) played: u64,
    pub(super) silent: Vec<Vec<PlannedCut>>,
    pub(super) failures: Vec<SweepFailure>,
}

/// Plays one case on `player`, whatever it did before.
pub(super) fn play_case(
    player: &mut Player<'_>,
    listed: &Listed,
    case: &Planned,
    plan: &SweepPlan,
) -> Result<Judged, PlayError> {
    let mut judged = Judged::default();
    let Some(before) = listed.before.get(case.step) else {
        return Ok(judged);
    };
    player.bring_back(before)?;
    let cut = player.stage_mut().array.arm(case.point);
    player.stage_mut().stop_at_cut(Some(cut));
    player.play_step(case.step, &mut Silence)?;
    player.stage_mut().stop_at_cut(None);
    judged.played += 1;
    if !player.stage().cuts_fired().contains(&cut) {
        judged.silent.push(vec![case.cut]);
        return Ok(judged);
    }
    player.stage_mut().host.stop();
    let operations = player.stage().operations().clone();
    let after_cut = if plan.depth > 1 || plan.only.len() > 1 {
        Some(player.keep(None)?)
    } else {
        None
    };
    if plan.only.len() < 2 {
        let problems = recover(player, case.point.domain)?;
        if !problems.is_empty() {
            judged.failures.push(failure(&[case], problems.join("; ")));
            keep_media(player, &plan.keep, &[case.cut]);
        }
    }
    if let Some(after_cut) = after_cut {
        // The recovery was just played: its operations are the second cuts.
        if plan.only.len() > 1 {
            recover(player, case.point.domain)?;
        }
        let seconds = cuts(
            &operations,
            player.stage().operations(),
            case.step,
            plan.scenario.seed,
        );
        for second in seconds {
            if plan.only.len() > 1 && plan.only.get(1) != Some(&second.cut) {
                continue;
            }
            again(player, &after_cut, case, &second, plan, &mut judged)?;
        }
    }
    Ok(judged)
}

/// A second cut, in the recovery from the first.
fn again(
    player: &mut Player<'_>,
    after_cut: &Kept,
    first: &Planned,
    second: &Planned,
    plan: &SweepPlan,
    judged: &mut Judged,
) -> Result<(), PlayError> {
    player.bring_back(after_cut)?;
    let stage = player.stage_mut();
    let cut = stage.array.arm(second.point);
    stage.stop_at_cut(Some(cut));
    recover(player, first.point.domain)?;
    player.stage_mut().stop_at_cut(None);
    judged.played += 1;
    if !player.stage().cuts_fired().contains(&cut) {
        judged.silent.push(vec![first.cut, second.cut]);
        return Ok(());
    }
    let problems = recover(player, second.point.domain)?;
    if !problems.is_empty() {
        judged
            .failures
            .push(failure(&[first, second], problems.join("; ")));
        keep_media(player, &plan.keep, &[first.cut, second.cut]);
    }
    Ok(())
}

/// Gives power back and waits until everything stands; what is wrong then.
fn recover(player: &mut Player<'_>, lost: PowerDomain) -> Result<Vec<String>, PlayError> {
    let stage = player.stage_mut();
    stage.array.power_on(lost);
    let deadline = stage.array.now() + PATIENCE;
    let waited = stage.run_until(deadline, |stage| {
        let boards = stage.array.boards().iter().zip(stage.views());
        boards.enumerate().all(|(slot, (board, view))| {
            let slot = u32::try_from(slot).unwrap_or(u32::MAX);
            let held = stage.array.shared().midplane.lines(slot).held;
            !board.powered() || held || view.state == State::Operational
        })
    })?;
    if waited == Waited::Cut {
        return Ok(Vec::new());
    }
    let now = stage.array.now();
    stage.host.verify(now);
    let waited = stage.run_until(now + PATIENCE, |stage| !stage.host.busy())?;
    if waited == Waited::Cut {
        return Ok(Vec::new());
    }
    let unread = !matches!(waited, Waited::Met(_)) && stage.host.busy();
    let unread = unread.then(|| "the host gets no answer".to_owned());
    let rules = player
        .broken_rules()
        .into_iter()
        .map(|broken| format!("invariant {} broken: {}", broken.rule.as_str(), broken.what));
    let mut problems: Vec<String> = rules.collect();
    problems.extend(unread);
    problems.extend(
        player
            .stage()
            .host
            .problems()
            .iter()
            .map(|problem| problem.what.clone()),
    );
    problems.dedup();
    Ok(problems)
}
