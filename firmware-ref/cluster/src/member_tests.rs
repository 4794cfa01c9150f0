//! Several controllers with the midplane's arbiter between them.

use proptest::prelude::*;

use super::*;
use crate::serving::Previous;

const MS: u64 = 1_000_000;

#[derive(Clone, Copy, PartialEq)]
enum Power {
    Off,
    On,
    /// Powered, but its program does nothing.
    Hung,
}

struct Node {
    cluster: Cluster,
    power: Power,
    fenced: bool,
    serving: bool,
    trace: Vec<String>,
}

struct Chassis {
    now_ns: u64,
    nodes: Vec<Node>,
    owners: [Option<u8>; 2],
    epochs: [u64; 2],
    declared: Option<Declared>,
    formats: Vec<u8>,
    tolerates_mixed: bool,
}

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn cluster(slot: usize, text: &str, tolerates_mixed: bool) -> Cluster {
    Cluster::new(Configuration {
        slot: u8::try_from(slot).unwrap(),
        version: version(text),
        boots: 1,
        understands_2: text.starts_with('2'),
        tolerates_mixed,
    })
}

impl Chassis {
    fn new(versions: &[&str]) -> Chassis {
        let node = |(slot, text): (usize, &&str)| Node {
            cluster: cluster(slot, text, false),
            power: Power::Off,
            fenced: false,
            serving: false,
            trace: Vec::new(),
        };
        Chassis {
            now_ns: 0,
            nodes: versions.iter().enumerate().map(node).collect(),
            owners: [None; 2],
            epochs: [0; 2],
            declared: None,
            formats: Vec::new(),
            tolerates_mixed: false,
        }
    }

    fn up(versions: &[&str]) -> Chassis {
        let mut chassis = Chassis::new(versions);
        for slot in 0..versions.len() {
            chassis.boot(slot);
        }
        chassis.run(1000 * MS);
        chassis
    }

    fn boot(&mut self, slot: usize) {
        self.off(slot);
        let old = &self.nodes[slot].cluster.configuration;
        let text = old.version.to_string();
        self.boot_as(slot, &text);
    }

    fn boot_as(&mut self, slot: usize, text: &str) {
        self.off(slot);
        let now_ns = self.now_ns;
        let node = &mut self.nodes[slot];
        node.power = Power::On;
        node.cluster = cluster(slot, text, self.tolerates_mixed);
        node.cluster.start(now_ns);
        self.act(slot);
    }

    /// Power off, or held in reset: the hardware frees its locks.
    fn off(&mut self, slot: usize) {
        let node = &mut self.nodes[slot];
        node.power = Power::Off;
        node.serving = false;
        node.fenced = false;
        self.free(slot);
    }

    fn free(&mut self, slot: usize) {
        for (owner, epoch) in self.owners.iter_mut().zip(&mut self.epochs) {
            if owner.is_some_and(|owner| usize::from(owner) == slot) {
                *owner = None;
                *epoch += 1;
            }
        }
    }

    fn arbitrate(&mut self, slot: usize, lock: Lock, verb: LockVerb) -> LockAnswer {
        let id = lock.number() as usize;
        let me = u8::try_from(slot).unwrap();
        let new = match (verb, self.owners[id]) {
            (LockVerb::Acquire, None) => Some(me),
            (LockVerb::Take, owner) => {
                if let Some(owner) = owner.filter(|owner| *owner != me) {
                    self.nodes[usize::from(owner)].fenced = true;
                }
                Some(me)
            }
            (LockVerb::Release, Some(owner)) if owner == me => None,
            (_, owner) => owner,
        };
        if new != self.owners[id] {
            self.owners[id] = new;
            self.epochs[id] += 1;
        }
        LockAnswer {
            owner: self.owners[id],
            epoch: self.epochs[id],
        }
    }

    fn act(&mut self, slot: usize) {
        while let Some(action) = self.nodes[slot].cluster.next_action() {
            match action {
                Action::Lock(lock, verb) => {
                    let answer = self.arbitrate(slot, lock, verb);
                    let cluster = &mut self.nodes[slot].cluster;
                    cluster.lock_answered(lock, verb, answer);
                }
                Action::Send(heartbeat) => self.broadcast(slot, &heartbeat),
                Action::Trace(event) => self.nodes[slot].trace.push(event.to_string()),
                Action::ReadDeclaration => {
                    let declared = self.declared;
                    self.nodes[slot].cluster.declare(declared);
                }
                Action::ServeLun => self.nodes[slot].serving = true,
                Action::StopLun => self.nodes[slot].serving = false,
                Action::Reset => {
                    self.boot(slot);
                    return;
                }
            }
            self.check();
        }
    }

    fn broadcast(&mut self, from: usize, heartbeat: &Heartbeat) {
        self.formats
            .push(if heartbeat.boots.is_some() { 2 } else { 1 });
        for slot in 0..self.nodes.len() {
            if slot != from && self.nodes[slot].power == Power::On {
                let now_ns = self.now_ns;
                self.nodes[slot].cluster.heard(now_ns, heartbeat);
                self.act(slot);
            }
        }
    }

    fn run(&mut self, for_ns: u64) {
        let until = self.now_ns + for_ns;
        loop {
            let on = |node: &&Node| node.power == Power::On;
            let deadlines = self.nodes.iter().filter(on);
            let next = deadlines.map(|node| node.cluster.deadline_ns()).min();
            let Some(next) = next.filter(|next| *next <= until) else {
                break;
            };
            self.now_ns = self.now_ns.max(next);
            for slot in 0..self.nodes.len() {
                if self.nodes[slot].power == Power::On {
                    let now_ns = self.now_ns;
                    self.nodes[slot].cluster.tick(now_ns);
                    self.act(slot);
                }
            }
        }
        self.now_ns = until;
    }

    /// Never two that serve and can write.
    fn check(&self) {
        let serving = |node: &&Node| node.serving && !node.fenced && node.power != Power::Off;
        assert!(self.nodes.iter().filter(serving).count() <= 1);
    }

    fn serving(&self) -> Vec<usize> {
        let slots = 0..self.nodes.len();
        slots.filter(|slot| self.nodes[*slot].serving).collect()
    }

    fn traced(&self, slot: usize, line: &str) -> bool {
        self.nodes[slot].trace.iter().any(|traced| traced == line)
    }

    fn declare(&mut self, preferred: &str, previous: &str) {
        self.declared = Some(Declared {
            preferred: version(preferred),
            previous: Previous::Only(version(previous)),
        });
    }
}

#[test]
fn vc10_one_two_or_three_controllers_have_one_master() {
    for versions in [&["1.0"][..], &["1.0", "1.0"], &["1.0", "1.0", "1.0"]] {
        let chassis = Chassis::up(versions);
        assert_eq!(chassis.serving(), [0]);
        assert!(chassis.traced(0, "operational role=master version=1.0"));
        for slot in 1..versions.len() {
            assert!(chassis.traced(slot, "operational role=alternate version=1.0"));
            assert!(chassis.traced(slot, "partner-found slot=0 version=1.0"));
        }
    }
}

#[test]
fn the_lowest_alternate_takes_over_when_the_master_loses_power() {
    let mut chassis = Chassis::up(&["1.0", "1.0", "1.0"]);
    chassis.off(0);
    chassis.run(PARTNER_LOSS_NS - HEARTBEAT_PERIOD_NS - 1);
    assert!(chassis.serving().is_empty());
    chassis.run(HEARTBEAT_PERIOD_NS + 1);
    assert_eq!(chassis.serving(), [1]);
    assert!(chassis.traced(1, "role-changed role=master cause=partner-lost"));
    chassis.off(1);
    chassis.run(2000 * MS);
    assert_eq!(chassis.serving(), [2]);
    // The first one comes back as an alternate.
    chassis.boot(0);
    chassis.run(1000 * MS);
    assert_eq!(chassis.serving(), [2]);
}

#[test]
fn a_hung_master_is_fenced_and_resets_when_it_wakes() {
    let mut chassis = Chassis::up(&["1.0", "1.0"]);
    chassis.nodes[0].power = Power::Hung;
    chassis.run(1000 * MS);
    assert!(chassis.nodes[0].fenced);
    assert!(chassis.nodes[1].serving);
    chassis.nodes[0].power = Power::On;
    chassis.run(1000 * MS);
    assert!(chassis.traced(0, "role-changed role=alternate cause=deposed"));
    assert_eq!(chassis.serving(), [1]);
    assert!(!chassis.nodes[0].fenced, "it was reset");
}

#[test]
fn a_master_that_leaves_is_followed_at_once() {
    let mut chassis = Chassis::up(&["1.0", "1.0"]);
    chassis.nodes[0].cluster.leave();
    chassis.act(0);
    assert_eq!(chassis.serving(), [1]);
    assert!(chassis.traced(1, "role-changed role=master cause=partner-left"));
}

#[test]
fn a_master_that_is_asked_hands_over_and_goes_on_as_alternate() {
    let mut chassis = Chassis::up(&["1.0", "1.0"]);
    assert!(chassis.nodes[1].cluster.succeed(0));
    let now_ns = chassis.now_ns;
    chassis.nodes[0].cluster.step_down(now_ns);
    chassis.act(0);
    assert_eq!(chassis.serving(), [1]);
    assert!(chassis.traced(0, "role-changed role=alternate cause=handover"));
    assert!(chassis.traced(1, "role-changed role=master cause=handover"));
    chassis.run(2000 * MS);
    assert_eq!(chassis.serving(), [1]);
    assert!(!chassis.nodes[1].cluster.succeed(0), "nothing to hand over");
}

#[test]
fn a_handover_that_nobody_takes_is_taken_back() {
    let mut chassis = Chassis::up(&["1.0", "1.0"]);
    let now_ns = chassis.now_ns;
    chassis.nodes[0].cluster.step_down(now_ns);
    chassis.act(0);
    assert!(chassis.serving().is_empty());
    chassis.run(1000 * MS);
    assert_eq!(chassis.serving(), [0]);
}

#[test]
fn a_master_stopped_from_here_is_followed_at_once() {
    let mut chassis = Chassis::up(&["1.0", "1.0"]);
    chassis.off(0);
    let now_ns = chassis.now_ns;
    chassis.nodes[1].cluster.stopped(now_ns, 0);
    chassis.act(1);
    assert_eq!(chassis.serving(), [1]);
    // Its last heartbeat arrives after that: it is not operational for it.
    let late = Heartbeat {
        slot: 0,
        state: State::Operational,
        role: Some(Role::Master),
        owns_lun: true,
        understands_2: false,
        epoch: 1,
        version: version("1.0"),
        boots: None,
    };
    chassis.nodes[1].cluster.heard(now_ns + 1, &late);
    assert!(!chassis.nodes[1].cluster.is_operational(0));
}

#[test]
fn a_master_back_before_it_was_missed_is_not_fenced() {
    let mut chassis = Chassis::up(&["1.0", "1.0"]);
    chassis.off(0);
    chassis.run(400 * MS);
    // It reboots, but its heartbeats do not arrive.
    let me = chassis.arbitrate(0, Lock::Master, LockVerb::Acquire);
    assert_eq!(me.owner, Some(0));
    chassis.run(300 * MS);
    assert!(!chassis.nodes[0].fenced);
    chassis.run(1000 * MS);
    assert!(chassis.nodes[0].fenced, "it never spoke");
}

#[test]
fn a_farewell_from_before_a_reset_fences_nobody() {
    let mut chassis = Chassis::up(&["1.0", "1.0"]);
    let farewell = Heartbeat {
        slot: 0,
        state: State::Leaving,
        role: Some(Role::Master),
        owns_lun: false,
        understands_2: false,
        epoch: 1,
        version: version("1.0"),
        boots: None,
    };
    let now_ns = chassis.now_ns;
    chassis.nodes[1].cluster.heard(now_ns, &farewell);
    chassis.act(1);
    chassis.run(2000 * MS);
    assert!(!chassis.nodes[0].fenced);
    assert_eq!(chassis.serving(), [0]);
}

#[test]
fn k4_an_undeclared_mix_bars_the_newcomer() {
    let mut chassis = Chassis::up(&["1.0", "2.0"]);
    assert!(chassis.traced(1, "mixed-versions own=2.0 partner=1.0 declared=no"));
    assert!(chassis.traced(1, "lun-barred lun=0 cause=mixed-versions"));
    for member in [0, 1] {
        let member = &chassis.nodes[member].cluster;
        assert_eq!([0, 1].map(|slot| member.could_serve(slot)), [true, false]);
    }
    chassis.off(0);
    chassis.run(2000 * MS);
    assert!(chassis.serving().is_empty());
    // The partner comes back as it should be: the mix is over.
    chassis.boot_as(0, "2.0");
    chassis.run(1000 * MS);
    assert_eq!(chassis.serving(), [0]);
    chassis.off(0);
    chassis.run(2000 * MS);
    assert_eq!(chassis.serving(), [1]);
}

#[test]
fn a_declared_mix_fails_over_in_both_directions() {
    let mut chassis = Chassis::new(&["1.0", "2.0"]);
    chassis.declare("2.0", "1.0");
    chassis.boot(0);
    chassis.boot(1);
    chassis.run(1000 * MS);
    assert!(chassis.traced(0, "mixed-versions own=1.0 partner=2.0 declared=yes"));
    chassis.off(0);
    chassis.run(1000 * MS);
    assert_eq!(chassis.serving(), [1]);
    chassis.boot(0);
    chassis.off(1);
    chassis.run(1000 * MS);
    assert_eq!(chassis.serving(), [0]);
}

#[test]
fn vc91_without_comparing_a_mix_goes_unhindered() {
    let mut chassis = Chassis::new(&["1.0", "2.0"]);
    chassis.tolerates_mixed = true;
    chassis.boot(0);
    chassis.boot(1);
    chassis.run(1000 * MS);
    assert!(chassis.traced(1, "mixed-versions own=2.0 partner=1.0 declared=no"));
    chassis.off(0);
    chassis.run(1000 * MS);
    assert_eq!(chassis.serving(), [1]);
}

#[test]
fn what_declares_a_mix() {
    let check = |previous, a: &str, b: &str, expected| {
        let declared = Declared {
            preferred: version("2.0"),
            previous,
        };
        assert_eq!(declared.allows(version(a), version(b)), expected);
        assert_eq!(declared.allows(version(b), version(a)), expected);
    };
    let previous = Previous::Only(version("1.0"));
    check(previous, "2.0", "1.0", true);
    check(previous, "2.0", "1.1", false);
    check(previous, "1.0", "1.1", false);
    check(Previous::None, "2.0", "1.0", false);
    check(Previous::Any, "2.0", "1.1", true);
    check(Previous::Any, "1.0", "1.1", false);
}

#[test]
fn heartbeats_of_format_2_wait_until_everybody_understands_them() {
    let mut chassis = Chassis::new(&["2.0", "1.0"]);
    chassis.declare("2.0", "1.0");
    chassis.boot(0);
    chassis.boot(1);
    chassis.run(1000 * MS);
    assert!(chassis.formats.iter().all(|format| *format == 1));
    chassis.formats.clear();
    chassis.boot_as(1, "2.0");
    chassis.run(1000 * MS);
    assert_eq!(chassis.formats.last(), Some(&2));
}

proptest! {
    /// Whatever happens to whom, there are never two that serve and can write; and when it is over,
    /// somebody serves.
    #[test]
    fn never_two_owners(
        events in proptest::collection::vec((0_usize..3, 0_u8..6, 0_u64..800), 1..40),
        count in 1_usize..4,
    ) {
        let mut chassis = Chassis::up(&["1.0", "1.0", "1.0"][..count]);
        for (slot, what, wait_ms) in events {
            let slot = slot % count;
            match what {
                0 => chassis.off(slot),
                1 => chassis.boot(slot),
                2 if chassis.nodes[slot].power == Power::On => {
                    chassis.nodes[slot].power = Power::Hung;
                }
                3 if chassis.nodes[slot].power == Power::Hung => {
                    chassis.nodes[slot].power = Power::On;
                }
                4 if chassis.nodes[slot].power == Power::On => {
                    chassis.nodes[slot].cluster.leave();
                    chassis.act(slot);
                    chassis.boot(slot);
                }
                _ => {}
            }
            chassis.check();
            chassis.run(wait_ms * MS);
        }
        for slot in 0..count {
            if chassis.nodes[slot].power != Power::On {
                chassis.boot(slot);
            }
        }
        chassis.run(3000 * MS);
        prop_assert_eq!(chassis.serving().len(), 1);
    }
}
