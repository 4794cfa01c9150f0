//! Update of redundant sets, one after another (Fig. 6, steps 360 to 390; CD49 to CD58, K3).
//!
//! 1. All nodes report. A node that is known and not operational refuses the update (K24).
//! 2. For each set, in ascending order: it is served the update from now on, and rebooted by message or by
//!    an operator (362, 380). Requests, window and broadcasts go their usual way (366 to 374).
//! 3. All of it must run the update in time, or it is served what it ran before, rebooted, and the update
//!    is aborted. Sets before it keep the update. A node elsewhere that is down stops the update too.
//!
//! Sets whose turn has not come are served what they run, whenever they ask (K3, CD61). How far it has
//! come is in every heartbeat, so that a master that takes over goes on with it (CD56).

use crate::MASTER_SET;
use crate::REPORT_NS;
use crate::event::Refusal;
use crate::message::{NodeState, UpdateState};
use crate::module::{Module, VersionTag};
use crate::nodes::{Node, Nodes};

/// In which order sets are rebooted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rollout {
    /// One after another, while the others serve (CD51).
    BySet,
    /// All at once: an outage (CD49).
    AtOnce,
}

/// Who reboots them (CD52).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RebootBy {
    /// The master, by message.
    Message,
    /// An operator, at the nodes.
    Operator,
}

/// An update to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    /// In which order.
    pub rollout: Rollout,
    /// Who reboots.
    pub reboot_by: RebootBy,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Census,
    Set(Option<u8>),
}

/// What is to be done next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Wait,
    /// Serve and reboot this set, or all of them.
    Begin(Option<u8>),
    Updated(Option<u8>),
    Refused(Refusal),
    /// Ask all nodes what they are.
    Report,
    /// Go no further.
    Stopped(Refusal),
    /// Serve this set, or all of them, what it ran before.
    Aborted(Option<u8>, Refusal),
    Finished,
}

/// What the update holds for a kind of module.
pub(crate) type Expected<'a> = &'a dyn Fn(Module) -> Option<VersionTag>;

#[derive(Clone, Debug)]
pub(crate) struct Update {
    order: Order,
    /// Another master began it; sets before this one are done.
    resumed_at: Option<u8>,
    phase: Phase,
    /// The set runs the update, and all others were asked whether they are up.
    asked_others: bool,
    until_ns: u64,
    set_timeout_ns: u64,
}

fn is_member(node: &Node, set: Option<u8>) -> bool {
    let is_master = node.set == MASTER_SET || node.module == Some(Module::Master);
    !is_master && set.is_none_or(|set| node.set == set)
}

fn next_set(nodes: &Nodes, from: u8) -> Option<u8> {
    let members = nodes.iter().filter(|(_, node)| is_member(node, None));
    members
        .map(|(_, node)| node.set)
        .filter(|set| *set >= from)
        .min()
}

impl Update {
    /// Begins; all nodes are to report next. `resumed` is what another master came to.
    pub(crate) fn new(
        now_ns: u64,
        order: Order,
        resumed: Option<UpdateState>,
        set_timeout_ns: u64,
        nodes: &mut Nodes,
    ) -> Update {
        for (_, node) in nodes.iter_mut() {
            node.state = None;
        }
        Update {
            order,
            // Before the first turn nothing has been done that a new beginning would not do.
            resumed_at: resumed.and_then(|state| state.turn.checked_sub(1)),
            phase: Phase::Census,
            asked_others: false,
            until_ns: now_ns.saturating_add(REPORT_NS),
            set_timeout_ns,
        }
    }

    pub(crate) fn order(&self) -> Order {
        self.order
    }

    pub(crate) fn deadline_ns(&self) -> u64 {
        self.until_ns
    }

    /// Looks how far it is.
    pub(crate) fn step(&mut self, now_ns: u64, nodes: &mut Nodes, expected: Expected<'_>) -> Step {
        match self.phase {
            Phase::Census if now_ns < self.until_ns => Step::Wait,
            Phase::Census => self.after_census(nodes, expected),
            Phase::Set(set) => self.look_at(now_ns, set, nodes, expected),
        }
    }

    fn after_census(&mut self, nodes: &Nodes, expected: Expected<'_>) -> Step {
        let Some(first) = next_set(nodes, 0) else {
            return Step::Refused(Refusal::NoNodes);
        };
        let mut members = nodes.iter().filter(|(_, node)| is_member(node, None));
        let lacks = |node: &Node| node.module.is_none_or(|module| expected(module).is_none());
        if self.resumed_at.is_none() {
            for (number, node) in members {
                if node.state != Some(NodeState::Operational) {
                    return Step::Refused(Refusal::Degraded { node: number });
                }
                if lacks(node) {
                    return Step::Refused(Refusal::NoUpdate);
                }
            }
            let second = next_set(nodes, first.saturating_add(1));
            if self.order.rollout == Rollout::BySet && second.is_none() {
                return Step::Refused(Refusal::NotRedundant);
            }
        } else if members.all(|(_, node)| lacks(node)) {
            return Step::Refused(Refusal::NoUpdate);
        }
        match self.order.rollout {
            Rollout::AtOnce => Step::Begin(None),
            Rollout::BySet => {
                let set = self.resumed_at.unwrap_or(first);
                // A set that nobody is known of cannot be seen to be up.
                if next_set(nodes, set) == Some(set) {
                    Step::Begin(Some(set))
                } else {
                    Step::Refused(Refusal::NoNodes)
                }
            }
        }
    }

    /// The set is served the update now. Answers whether it must be rebooted: not when all of it runs the
    /// update already.
    pub(crate) fn begin_set(
        &mut self,
        now_ns: u64,
        set: Option<u8>,
        nodes: &mut Nodes,
        expected: Expected<'_>,
    ) -> bool {
        self.phase = Phase::Set(set);
        self.asked_others = false;
        self.until_ns = match self.order.reboot_by {
            RebootBy::Message => now_ns.saturating_add(self.set_timeout_ns),
            // Whenever the operator likes; time runs from the first node that boots.
            RebootBy::Operator => u64::MAX,
        };
        let (missing, _) = missing(set, nodes, expected);
        if missing == 0 {
            return false;
        }
        for (_, node) in nodes.iter_mut().filter(|(_, node)| is_member(node, set)) {
            node.state = None;
            node.version = None;
        }
        true
    }

    fn look_at(
        &mut self,
        now_ns: u64,
        set: Option<u8>,
        nodes: &mut Nodes,
        expected: Expected<'_>,
    ) -> Step {
        let (missing, node) = missing(set, nodes, expected);
        if missing == 0 {
            return self.look_at_others(now_ns, set, nodes);
        }
        let mut members = nodes.iter().filter(|(_, node)| is_member(node, set));
        if self.until_ns == u64::MAX && members.any(|(_, node)| node.state.is_some()) {
            self.until_ns = now_ns.saturating_add(self.set_timeout_ns);
        }
        if now_ns < self.until_ns {
            return Step::Wait;
        }
        let refusal = Refusal::TimeOut {
            set: set.unwrap_or(0),
            missing,
            node,
        };
        Step::Aborted(set, refusal)
    }

    /// The set runs the update. The next is not stopped while a node elsewhere is down (K24), even if that
    /// died without a word: all are asked.
    fn look_at_others(&mut self, now_ns: u64, set: Option<u8>, nodes: &mut Nodes) -> Step {
        if !self.asked_others {
            self.asked_others = true;
            let others = nodes.iter_mut().map(|(_, node)| node);
            for node in others.filter(|node| !is_member(node, set)) {
                node.state = None;
            }
            self.until_ns = now_ns.saturating_add(self.set_timeout_ns);
            return Step::Report;
        }
        let mut members = nodes.iter().filter(|(_, node)| is_member(node, None));
        let down = members.find(|(_, node)| node.state != Some(NodeState::Operational));
        match down {
            None => Step::Updated(set),
            Some(_) if now_ns < self.until_ns => Step::Wait,
            Some((node, _)) => Step::Stopped(Refusal::Degraded { node }),
        }
    }

    /// What follows a set that runs the update.
    pub(crate) fn after(&self, done: Option<u8>, nodes: &Nodes) -> Step {
        let next = done.and_then(|set| next_set(nodes, set.saturating_add(1)));
        next.map_or(Step::Finished, |set| Step::Begin(Some(set)))
    }
}

/// How many of the set do not run the update, and the first of them.
fn missing(set: Option<u8>, nodes: &Nodes, expected: Expected<'_>) -> (u8, u8) {
    let runs = |node: &Node| {
        let wanted = node.module.and_then(expected);
        node.state == Some(NodeState::Operational) && wanted.is_some() && node.version == wanted
    };
    let members = nodes.iter().filter(|(_, node)| is_member(node, set));
    let mut missing = members
        .filter(|(_, node)| !runs(node))
        .map(|(number, _)| number);
    let first = missing.next();
    let others = u8::try_from(missing.count()).unwrap_or(u8::MAX);
    first.map_or((0, 0), |first| (others.saturating_add(1), first))
}
