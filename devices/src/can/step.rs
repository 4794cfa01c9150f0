//! How an island goes from one instant to the next.

use super::bits::{INTERMISSION_BITS, RECESSIVE_TAIL_BITS, encode};
use super::bus::CanBus;
use super::error_state::{Confinement, ErrorState, SEQUENCE_BITS, SUSPEND_BITS};
use super::event::{BusError, Ending, EventKind, Events, FrameRecord};
use super::fault::{Fault, Place};
use super::island::{Pending, Plan, Stuck, Transmission};
use super::node::{Node, NodeId, Outcome, Received};
use super::plan::{after_cut, first_difference, plan};
use super::receive::{Delivery, count_overrun};
use crate::time::Nanos;

/// Between two steps of the counters while the bus is stuck dominant (ISO 11898-1:2015 §12.1.4.2 f).
const STUCK_STEP_BITS: u32 = 8;
/// The first: an error is seen after six bits, a flag is sent, seven more are tolerated.
const FIRST_STUCK_STEP_BITS: u32 = 6 + 6 + 8;

impl CanBus {
    /// One step of an island at its `next`.
    pub(super) fn step(&mut self, at: usize) {
        let island = &mut self.islands[at];
        let now = island.next;
        if island.stuck.is_some() {
            self.stuck_step(at, now);
        } else if let Some(sent) = island.transmission.take() {
            self.complete(at, &sent, now);
        } else if !self.join(at, now) {
            self.begin(at, now);
        }
        self.islands[at].reschedule(&self.nodes, self.rates);
    }

    /// Nodes that saw enough recessive bits take part; whether there are any.
    fn join(&mut self, at: usize, now: Nanos) -> bool {
        let island = &self.islands[at];
        let due = island.joining.iter().copied();
        let due: Vec<NodeId> = due
            .filter(|id| island.joins_at(&self.nodes[usize::from(*id)]) <= now)
            .collect();
        for id in &due {
            let node = &mut self.nodes[usize::from(*id)];
            node.sequences_left = 0;
            if node.errors.is_bus_off() {
                node.errors.clear();
                self.events.push(now, EventKind::Recovered { node: *id });
            }
        }
        if !due.is_empty() {
            self.refresh(at, now);
        }
        !due.is_empty()
    }

    /// Arbitration: `now` is the end of the start of frame.
    fn begin(&mut self, at: usize, now: Nanos) {
        let island = &self.islands[at];
        let Some(begins) = island.start_of_frame() else {
            return;
        };
        let contends = |it: &&Pending| it.may_send_at <= now;
        let contenders = || island.pending.iter().filter(contends);
        let Some(key) = contenders().map(|it| it.key).min() else {
            return;
        };
        let mut winners = contenders().filter(|it| it.key == key).map(|it| it.node);
        let Some(sender) = winners.next() else {
            return;
        };
        let others: Vec<NodeId> = winners.collect();
        let on_wire = |id: NodeId| {
            let node = &self.nodes[usize::from(id)];
            let frame = node.head();
            frame.map(|it| it.with_error_state_indicator(node.errors.is_passive()))
        };
        let Some(frame) = on_wire(sender) else {
            return;
        };
        let mut collision = None;
        if !others.is_empty() {
            let own = encode(&frame);
            let others = others.iter().filter_map(|id| on_wire(*id));
            let differ = others.filter_map(|it| first_difference(&own, &encode(&it)));
            collision = differ.min().map(|bit| bit + 1);
        }
        self.frames_begun += 1;
        let participants = &island.participants;
        let has_place = |place: &Place| match place {
            Place::Everywhere => true,
            Place::At(those) => those
                .iter()
                .any(|it| *it != sender && participants.contains(it)),
        };
        let effects = self
            .faults
            .frame_begins(begins, sender, &mut self.events, has_place);
        let mut sent = Transmission {
            number: self.frames_begun,
            frame,
            sender,
            others,
            collision,
            cut: false,
            effects,
            begins,
            ends: Nanos::NEVER,
            rates: self.nodes[usize::from(sender)].rates(),
            plan: Plan::Destroyed {
                error: BusError::Bit,
                first: Vec::new(),
                alone: false,
            },
        };
        (sent.plan, sent.ends) = plan(island, &self.nodes, &sent);
        // A transmission is not over before its arbitration was.
        sent.ends = sent.ends.max(now);
        for id in &island.joining {
            let node = &mut self.nodes[usize::from(*id)];
            let quiet = begins - island.recessive_since.max(node.listens_from);
            let seen = node.rates().whole_bits(quiet) / u64::from(SEQUENCE_BITS);
            let seen = u16::try_from(seen).unwrap_or(u16::MAX);
            node.sequences_left = node.sequences_left.saturating_sub(seen).max(1);
        }
        self.tell_frame(&sent);
        self.islands[at].transmission = Some(sent);
    }

    fn tell_frame(&mut self, sent: &Transmission) {
        if self.tells_frames {
            let kind = EventKind::FrameBegan {
                number: sent.number,
                node: sent.sender,
                length: sent.frame.payload().len() as u64,
                begins: sent.begins,
                ends: sent.ends,
            };
            self.events.push(sent.begins, kind);
        }
        let faults = &mut self.faults;
        for id in sent.senders() {
            if self.nodes[usize::from(id)].babbling {
                let babbles = |it: &Fault| *it == Fault::Babbling(id);
                faults.fire(sent.begins, &mut self.events, babbles);
            }
        }
    }

    /// The frame on the wire is over, well or not.
    fn complete(&mut self, at: usize, sent: &Transmission, now: Nanos) {
        let nominal = |bits| sent.rates.nominal_bits(bits);
        let island = &mut self.islands[at];
        island.free_at = now + nominal(INTERMISSION_BITS);
        // The error delimiter is as long as what ends a good frame.
        island.recessive_since = now - nominal(RECESSIVE_TAIL_BITS);
        let ending = match &sent.plan {
            Plan::Good { .. } => Ending::Good,
            Plan::Destroyed { error, .. } => Ending::Error(*error),
        };
        if let Some(trace) = &mut self.trace {
            trace.push(FrameRecord {
                number: sent.number,
                begins: sent.begins,
                ends: now,
                node: sent.sender,
                island: u16::try_from(at).unwrap_or(u16::MAX),
                frame: sent.frame,
                ending,
            });
        }
        let left = if ending == Ending::Good {
            self.deliver(at, sent, now);
            false
        } else {
            self.destroy(at, sent, now)
        };
        let suspended = now + nominal(INTERMISSION_BITS + SUSPEND_BITS);
        for id in sent.senders() {
            let node = &mut self.nodes[usize::from(id)];
            if node.errors.is_passive() {
                node.may_send_at = suspended;
            }
            self.islands[at].set_pending(id, node);
        }
        if left {
            self.refresh(at, now);
        }
    }

    fn deliver(&mut self, at: usize, sent: &Transmission, now: Nanos) {
        for id in sent.senders() {
            let change = |it: &mut ErrorState| it.sent();
            count(&mut self.nodes, &mut self.events, now, id, change);
            let node = &mut self.nodes[usize::from(id)];
            node.counters.sent += 1;
            if !node.babbling {
                node.complete_head(now, Outcome::Sent);
            }
        }
        let Plan::Good {
            missed,
            overrun,
            erred,
            lost,
        } = &sent.plan
        else {
            return;
        };
        let island = &mut self.islands[at];
        if island.has_receive_errors {
            island.has_receive_errors = false;
            for id in island.participants.iter().copied() {
                if !sent.is_sender(id) && !erred.contains(&id) {
                    let change = |it: &mut ErrorState| it.received();
                    count(&mut self.nodes, &mut self.events, now, id, change);
                }
                let errors = self.nodes[usize::from(id)].errors.receive_errors();
                island.has_receive_errors |= errors > 0;
            }
        }
        for id in erred.iter().copied() {
            let wrong = self.nodes[usize::from(id)].wrong_rates.is_some();
            let change = |it: &mut ErrorState| it.receive_error();
            count(&mut self.nodes, &mut self.events, now, id, change);
            self.nodes[usize::from(id)].counters.receive_errors += 1;
            island.has_receive_errors = true;
            if wrong {
                let which = |it: &Fault| matches!(it, Fault::BitRate(node, _) if *node == id);
                self.faults.fire(now, &mut self.events, which);
            }
        }
        for id in overrun.iter().copied() {
            let node = &mut self.nodes[usize::from(id)];
            count_overrun(id, node, now, &mut self.events);
            node.overrunning = false;
        }
        if *lost {
            return;
        }
        let delivery = Delivery {
            received: Received {
                at: now,
                frame: sent.frame,
            },
            sender: sent.sender,
            exceptions: sent.others.iter().chain(missed).copied().collect(),
        };
        let (followers, nodes) = (&island.participants, &mut self.nodes);
        island
            .log
            .append(delivery, followers, nodes, &mut self.events);
    }

    /// All count the error; whether some went bus-off.
    fn destroy(&mut self, at: usize, sent: &Transmission, now: Nanos) -> bool {
        let Plan::Destroyed { first, alone, .. } = &sent.plan else {
            return false;
        };
        let mut bus_off = false;
        let island = &mut self.islands[at];
        for id in sent.senders() {
            let change = |it: &mut ErrorState| match alone {
                true => it.acknowledgement_error(),
                false => it.transmit_error(),
            };
            count(&mut self.nodes, &mut self.events, now, id, change);
            let node = &mut self.nodes[usize::from(id)];
            node.counters.transmit_errors += 1;
            if node.errors.is_bus_off() {
                node.give_up(now, Outcome::BusOff);
                bus_off = true;
            } else if node.queue.front().is_some_and(|it| it.withdrawn) && !node.babbling {
                node.complete_head(now, Outcome::Cancelled);
            }
        }
        for id in island.participants.iter().copied() {
            if sent.is_sender(id) {
                continue;
            }
            let change = |it: &mut ErrorState| {
                it.receive_error();
                if first.contains(&id) {
                    it.dominant_after_flag();
                }
            };
            count(&mut self.nodes, &mut self.events, now, id, change);
            self.nodes[usize::from(id)].counters.receive_errors += 1;
            island.has_receive_errors = true;
        }
        if !island.uniform {
            // Whoever has wrong bit rates had a part in it, as sender or as the first to see an error.
            let had_part = |id: &NodeId| first.contains(id) || sent.is_sender(*id);
            let which = |it: &Fault| matches!(it, Fault::BitRate(node, _) if had_part(node));
            self.faults.fire(now, &mut self.events, which);
        }
        bus_off
    }

    /// What is on the wire is destroyed at once: by a cable, or by a short.
    pub(super) fn disturb(&mut self, at: usize, now: Nanos) -> Vec<NodeId> {
        let Some(mut sent) = self.islands[at].transmission.take() else {
            return Vec::new();
        };
        let senders = sent.senders().collect();
        sent.plan = Plan::Destroyed {
            error: BusError::Bit,
            first: Vec::new(),
            alone: false,
        };
        let (ends, rates) = (after_cut(&sent, now), sent.rates);
        self.complete(at, &sent, now);
        let island = &mut self.islands[at];
        island.free_at = ends + rates.nominal_bits(INTERMISSION_BITS);
        island.recessive_since = ends - rates.nominal_bits(RECESSIVE_TAIL_BITS);
        senders
    }

    /// A node fell silent: what it sent or was to acknowledge ends otherwise.
    pub(super) fn fall_silent(&mut self, at: usize, id: NodeId, now: Nanos) {
        let Some(mut sent) = self.islands[at].transmission.take() else {
            return;
        };
        if sent.is_sender(id) {
            if id == sent.sender && !sent.others.is_empty() {
                sent.sender = sent.others.remove(0);
            } else if id == sent.sender {
                sent.cut = true;
                sent.plan = Plan::Destroyed {
                    error: BusError::Stuff,
                    first: Vec::new(),
                    alone: false,
                };
                sent.ends = sent.ends.min(after_cut(&sent, now));
            } else {
                sent.others.retain(|it| *it != id);
            }
        } else if matches!(sent.plan, Plan::Good { .. }) {
            // From the ACK slot on it is too late to make a difference.
            let slot = sent.rates.nominal_bits(RECESSIVE_TAIL_BITS + 1);
            if now < sent.ends - slot {
                let (otherwise, ends) = plan(&self.islands[at], &self.nodes, &sent);
                // Bit rates that changed since it began concern the next frame.
                let error = BusError::Acknowledgement;
                if matches!(&otherwise, Plan::Destroyed { error: it, .. } if *it == error) {
                    (sent.plan, sent.ends) = (otherwise, ends);
                }
            }
        }
        self.islands[at].transmission = Some(sent);
    }

    /// The bus of an island became dominant for good.
    pub(super) fn begin_short(&mut self, at: usize, now: Nanos) {
        let senders = self.disturb(at, now);
        self.islands[at].stuck = Some(Stuck {
            senders,
            next: now + self.rates.nominal_bits(FIRST_STUCK_STEP_BITS),
        });
    }

    /// It is free again: all send their error delimiter.
    pub(super) fn end_short(&mut self, at: usize, now: Nanos) {
        let island = &mut self.islands[at];
        island.stuck = None;
        island.recessive_since = now;
        island.free_at = now + self.rates.nominal_bits(SEQUENCE_BITS);
    }

    fn stuck_step(&mut self, at: usize, now: Nanos) {
        let island = &mut self.islands[at];
        let Some(stuck) = &mut island.stuck else {
            return;
        };
        let (mut changed, mut bus_off) = (false, false);
        for id in island.participants.iter().copied() {
            let before = self.nodes[usize::from(id)].errors;
            let sender = stuck.senders.contains(&id);
            let change = |it: &mut ErrorState| match sender {
                true => it.transmit_error(),
                false => it.dominant_after_flag(),
            };
            count(&mut self.nodes, &mut self.events, now, id, change);
            let node = &mut self.nodes[usize::from(id)];
            changed |= node.errors != before;
            if node.errors.is_bus_off() {
                node.give_up(now, Outcome::BusOff);
                bus_off = true;
            }
        }
        island.has_receive_errors = true;
        let step = self.rates.nominal_bits(STUCK_STEP_BITS);
        stuck.next = if changed { now + step } else { Nanos::NEVER };
        if bus_off {
            self.refresh(at, now);
        }
    }
}

/// Changes the counters of a node, and tells if that changes what it may do.
fn count(
    nodes: &mut [Node],
    events: &mut Events,
    now: Nanos,
    id: NodeId,
    change: impl Fn(&mut ErrorState),
) {
    let errors = &mut nodes[usize::from(id)].errors;
    let before = errors.confinement();
    change(errors);
    let after: Confinement = errors.confinement();
    if after != before {
        let kind = EventKind::Confinement {
            node: id,
            now: after,
            transmit_errors: errors.transmit_errors(),
            receive_errors: errors.receive_errors(),
        };
        events.push(now, kind);
    }
}
