//! One case: a cut, the return of power, and what must come of it.
//!
//! Whatever the cut left behind, every board that has power must be operational again, every node with an image of
//! its type and of a version that nodes ran without the cut (where nobody serves them: with its boot ROM), within
//! [`PATIENCE`], no acknowledged write may be lost, and no invariant may be broken on the way. Deeper
//! cases cut again while the array recovers.

use std::collections::BTreeSet;

use devices::power::mix;
use devices::time::Nanos;
use emulator::array::PowerDomain;

use super::failure;
use super::keep::keep_media;
use super::list::{Listed, Planned, Silence, Start, cuts};
use crate::play::{PlayError, Player};
use crate::runner::{PlannedCut, SweepFailure, SweepPlan};
use crate::stage::{NodeState, NodeView, SavedStage, Stage, State, Waited, Waypoint};

/// Virtual time an array may take to come back.
const PATIENCE: Nanos = Nanos::from_secs(120);

/// What came of some cases.
#[derive(Debug, Default)]
pub(super) struct Judged {
    /// Cases found within recoveries.
    pub(super) deeper: u64,
    /// Cases played, these included.
    pub(super) played: u64,
    pub(super) silent: Vec<Vec<PlannedCut>>,
    pub(super) failures: Vec<SweepFailure>,
}

/// Which of the cuts within a recovery to play: those whose number leaves `nth` divided by `of`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    pub(super) nth: u64,
    pub(super) of: u64,
}

impl Share {
    /// All of them.
    pub(super) const ALL: Share = Share { nth: 0, of: 1 };

    fn holds(self, seed: u64, number: usize) -> bool {
        mix(seed, number as u64) % self.of == self.nth
    }
}

/// Plays cases and their deeper ones, until time is up.
pub(super) struct Judge<'a> {
    pub(super) player: Player<'a>,
    pub(super) plan: &'a SweepPlan,
    pub(super) listed: &'a Listed,
    /// Cuts within recoveries that are played.
    pub(super) share: Share,
    /// Whether deeper cases are left out from now on.
    pub(super) over: &'a dyn Fn() -> bool,
    pub(super) judged: Judged,
}

/// A recovery, to be interrupted again: where it began, whose power was lost, and its waypoints.
struct Recovery<'a> {
    after_cut: &'a SavedStage,
    lost: PowerDomain,
    waypoints: &'a [Waypoint],
}

impl Judge<'_> {
    /// Plays a case and those within its recovery, whatever was played before.
    pub(super) fn play(&mut self, case: &Planned) -> Result<(), PlayError> {
        // In the first share it is a case of its own, in the others only the way to deeper ones.
        let counts = self.share.nth == 0;
        if !self.reach(case, None)? {
            self.judged.played += u64::from(counts);
            self.judged.silent.push(vec![case.cut]);
            return Ok(());
        }
        self.player.stage_mut().host.stop();
        self.judge(&mut vec![*case], counts)
    }

    /// From the start of `case` to its cut; whether it fired.
    fn reach(&mut self, case: &Planned, within: Option<&Recovery<'_>>) -> Result<bool, PlayError> {
        let waypoints = within.map_or(self.listed.waypoints.as_slice(), |r| r.waypoints);
        match (case.start, within) {
            (Start::Waypoint(nth), _) => {
                let Some(from) = waypoints.get(nth) else {
                    return Ok(false);
                };
                let stage = self.player.stage_mut();
                stage.restore(&from.stage)?;
                let cut = stage.array.arm(case.point);
                stage.stop_at_cut(Some(cut));
                stage.run_until(from.ends, |_| false)?;
                Ok(self.fired(cut))
            }
            (Start::Action(_), Some(recovery)) => {
                let stage = self.player.stage_mut();
                stage.restore(recovery.after_cut)?;
                let cut = stage.array.arm(case.point);
                stage.stop_at_cut(Some(cut));
                recover(&mut self.player, recovery.lost, &self.listed.node_versions)?;
                Ok(self.fired(cut))
            }
            (Start::Action(step), None) => {
                let Some(before) = self.listed.before.get(step) else {
                    return Ok(false);
                };
                self.player.bring_back(before)?;
                let stage = self.player.stage_mut();
                let cut = stage.array.arm(case.point);
                stage.stop_at_cut(Some(cut));
                self.player.play_step(step, &mut Silence)?;
                Ok(self.fired(cut))
            }
        }
    }

    fn fired(&mut self, cut: u32) -> bool {
        let stage = self.player.stage_mut();
        stage.stop_at_cut(None);
        stage.cuts_fired().contains(&cut)
    }

    /// Lets the array recover from the last cut of `path` and judges it, then the cases within that
    /// recovery.
    fn judge(&mut self, path: &mut Vec<Planned>, counts: bool) -> Result<(), PlayError> {
        let only = self.plan.only.get(path.len());
        let deeper = only.is_some() || path.len() < self.plan.depth as usize;
        let began = self.player.stage().operations().clone();
        let after_cut = if deeper {
            self.player.stage_mut().keep_track();
            Some(self.player.stage_mut().save(None)?)
        } else {
            None
        };
        let lost = path.last().map_or(PowerDomain::CHASSIS, |l| l.point.domain);
        let problems = recover(&mut self.player, lost, &self.listed.node_versions)?;
        let waypoints = self.player.stage_mut().take_track();
        if only.is_none() && counts {
            self.judged.played += 1;
            if !problems.is_empty() {
                let failed = failure(path, problems.join("; "));
                keep_media(&self.player, &self.plan.keep, &failed.cuts);
                self.judged.failures.push(failed);
            }
        }
        let Some(after_cut) = after_cut else {
            return Ok(());
        };
        let recovery = Recovery {
            after_cut: &after_cut,
            lost,
            waypoints: &waypoints,
        };
        let ended = self.player.stage().operations().clone();
        let seed = self.plan.scenario.seed;
        let places = &self.listed.places;
        let inner = cuts((&began, &ended), &waypoints, (0, 0), places, seed);
        for (number, case) in inner.iter().enumerate() {
            let wanted = match only {
                Some(only) => case.cut == *only,
                None => self.share.holds(seed, number),
            };
            if !wanted {
                continue;
            }
            self.judged.deeper += 1;
            if (self.over)() {
                continue;
            }
            if self.reach(case, Some(&recovery))? {
                path.push(*case);
                self.judge(path, true)?;
                path.pop();
            } else {
                self.judged.played += 1;
                let cuts = path.iter().chain([case]).map(|planned| planned.cut);
                self.judged.silent.push(cuts.collect());
            }
        }
        Ok(())
    }
}

/// Gives power back and waits until everything stands; what is wrong then.
fn recover(
    player: &mut Player<'_>,
    lost: PowerDomain,
    node_versions: &BTreeSet<String>,
) -> Result<Vec<String>, PlayError> {
    let stage = player.stage_mut();
    stage.array.power_on(lost);
    let deadline = stage.array.now() + PATIENCE;
    let waited = stage.run_until(deadline, |stage| {
        let boards = stage.array.boards().iter().zip(stage.views());
        let stand = boards.enumerate().all(|(slot, (board, view))| {
            let slot = u32::try_from(slot).unwrap_or(u32::MAX);
            let held = stage.array.shared().midplane.lines(slot).held;
            !board.powered() || held || view.state == State::Operational
        });
        stand && failed_nodes(stage, node_versions).next().is_none()
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
    let stage = player.stage();
    problems.extend(failed_nodes(stage, node_versions).map(|node| describe_node(stage, node)));
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

/// Whether a node stands as it should: with an image of its own where anybody serves nodes.
fn stands(view: &NodeView, versions: &BTreeSet<String>) -> bool {
    match view.state {
        NodeState::Operational => {
            let version = view.version.as_ref();
            view.is_own_image && version.is_some_and(|version| versions.contains(version))
        }
        NodeState::Minimal => versions.is_empty(),
        NodeState::Down | NodeState::Error | NodeState::Booting => false,
    }
}

/// The nodes with power that do not stand, by number.
fn failed_nodes<'s>(
    stage: &'s Stage,
    versions: &'s BTreeSet<String>,
) -> impl Iterator<Item = usize> + 's {
    let nodes = stage.array.nodes().iter().zip(stage.node_views());
    let failed = nodes
        .enumerate()
        .filter(|(_, (node, view))| node.powered() && !stands(view, versions));
    failed.map(|(index, _)| index)
}

/// What a node that does not stand is.
fn describe_node(stage: &Stage, index: usize) -> String {
    let view = stage.node_views().get(index).cloned().unwrap_or_default();
    let version = view.version.as_deref().unwrap_or("none");
    let other = match view.state {
        NodeState::Operational if !view.is_own_image => " of another type",
        _ => "",
    };
    let (name, state) = (stage.node_name(index), view.state.as_str());
    format!("{name} is {state}, image {version}{other}")
}
