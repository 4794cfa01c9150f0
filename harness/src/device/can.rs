//! A CAN controller on a bus with one more node, and a bridge to a bus of the host's.

use std::os::fd::BorrowedFd;

use devices::can::{
    BitRates, CanBus, CanVirtio, Effect, Ending, EventKind, Fault, FaultId, Frame, NodeId, Place,
    SendError, Topology,
};
use devices::event::DeviceEvent;
use devices::time::Nanos;
use emulator::serve::Hardware;
use emulator::service::Visit;

use super::{line, unknown};
use crate::can_bridge::{Bridge, Interface};

const CONTROLLER: NodeId = 0;
/// The node that commands send with.
const OTHER: NodeId = 1;

/// Frames that are told at a time; more are counted.
const TOLD_FRAMES: usize = 4096;
/// What `wrong-rate` sets.
const UNHEARD_RATE: BitRates = BitRates {
    nominal: 10_001,
    data: 10_001,
};

fn name(node: NodeId) -> &'static str {
    match node {
        CONTROLLER => "controller",
        OTHER => "other",
        _ => "bridge",
    }
}

/// The controller, its bus and what else is on it.
#[derive(Debug)]
pub struct Can {
    controller: CanVirtio,
    bus: CanBus,
    bridge: Option<Bridge>,
    faults: Vec<FaultId>,
    short: Option<FaultId>,
}

impl Can {
    /// What the commands are.
    pub const HELP: &str = "\
send FRAME               the other node sends it: 123#11.22, 00000123#R4, CAN FD 123##1.11.22
watch on|off             tells every frame on the bus, good or not [off]
other on|off             the other node takes part, or is gone: nobody acknowledges then [on]
cable out|in             the controller is cut off the bus, a frame in the middle; it is back on it
short on|off             the bus is dominant; it is free again
fault KIND N             the Nth frame from now on has an error: bit, stuff, crc, form, acknowledgement;
                         or goes unread: lost, overrun
babble                   the other node sends without pause, before all others
wrong-rate               the controller has a bit rate that nobody understands
mend                     takes back all faults; cable in, short off";

    /// A bus of these bit rates, with a controller and a node, and an interface of the host if there is one.
    pub fn new(rates: BitRates, interface: Option<Interface>) -> Can {
        let mut bus = CanBus::new(Topology::new(1), rates);
        for _ in [CONTROLLER, OTHER] {
            bus.add_node(0);
        }
        bus.set_powered(Nanos::ZERO, CONTROLLER, true);
        bus.set_powered(Nanos::ZERO, OTHER, true);
        bus.start(Nanos::ZERO, OTHER);
        let bridge = interface.and_then(|it| Bridge::join(it, &mut bus));
        Can {
            controller: CanVirtio::new(CONTROLLER),
            bus,
            bridge,
            faults: Vec::new(),
            short: None,
        }
    }

    fn send(&mut self, now: Nanos, text: &str) -> Result<(), String> {
        let frame: Frame = text.parse().map_err(|error| format!("{text:?}: {error}"))?;
        if frame.is_fd() && !self.bus.has_fd() {
            return Err("this bus has no CAN FD: --data-bit-rate is 0".to_owned());
        }
        while self.bus.take_completion(OTHER).is_some() {}
        match self.bus.send(now, OTHER, frame) {
            Ok(_) => Ok(()),
            Err(SendError::Full) => {
                Err("64 frames wait already: the bus is busy, or nobody acknowledges".to_owned())
            }
            Err(SendError::Stopped | SendError::NoSuchNode) => {
                Err("the other node is off, or went bus-off; say `other on`".to_owned())
            }
        }
    }

    fn inject(&mut self, now: Nanos, fault: Fault) {
        self.faults.push(self.bus.inject(now, fault));
    }

    fn set_short(&mut self, now: Nanos, on: bool) {
        match self.short.take() {
            Some(fault) if !on => self.bus.clear(now, fault),
            None if on => self.short = Some(self.bus.inject(now, Fault::Short(0))),
            unchanged => self.short = unchanged,
        }
    }

    fn mend(&mut self, now: Nanos) {
        self.set_short(now, false);
        self.bus.set_connected(now, CONTROLLER, true);
        for fault in self.faults.drain(..) {
            self.bus.clear(now, fault);
        }
    }

    fn fault(&mut self, now: Nanos, kind: &str, nth: &str) -> Result<(), String> {
        let effect = Effect::WORDS.iter().find(|(name, _)| *name == kind);
        let (_, effect) = effect.ok_or_else(|| {
            let names = Effect::WORDS.map(|(name, _)| name).join(", ");
            format!("there is no fault {kind:?}; they are {names}")
        })?;
        let nth = nth.parse().ok().filter(|nth| *nth > 0);
        let fault = Fault::Frame {
            from: None,
            nth: nth.ok_or("N is a whole number from 1 on")?,
            effect: *effect,
            place: Place::Everywhere,
        };
        self.inject(now, fault);
        Ok(())
    }

    fn set_other(&mut self, now: Nanos, on: bool) {
        if on {
            // After bus-off it begins anew.
            self.bus.reset(now, OTHER);
            self.bus.start(now, OTHER);
        } else {
            self.bus.stop(now, OTHER);
        }
    }

    fn status(&self) -> String {
        let nodes = [CONTROLLER, OTHER].map(|node| {
            let (errors, counters) = (self.bus.errors(node), self.bus.counters(node));
            format!(
                "{} {} {} tec={} rec={} sent {} received {} overrun {}",
                name(node),
                match self.bus.is_started(node) {
                    true => "started",
                    false => "stopped",
                },
                errors.confinement().as_str(),
                errors.transmit_errors(),
                errors.receive_errors(),
                counters.sent,
                counters.received,
                counters.overrun,
            )
        });
        let bridge = self.bridge.as_ref();
        let bridge = bridge.map_or(String::new(), |it| format!("; {}", it.status()));
        format!(
            "can; frames {}; {}{bridge}",
            self.bus.frames_begun(),
            nodes.join("; ")
        )
    }
}

impl Hardware for Can {
    fn with<V: Visit>(&mut self, _port: usize, visit: V) -> V::Answer {
        visit.visit(&mut self.controller, &mut &mut self.bus)
    }

    fn advance(&mut self, now: Nanos, _events: &mut Vec<DeviceEvent>) {
        self.bus.advance(now);
    }

    fn deadline(&self) -> Option<Nanos> {
        let bridge = self.bridge.as_ref();
        let bridge = bridge.and_then(|it| it.deadline(&self.bus));
        bridge.into_iter().chain(self.bus.deadline()).min()
    }

    fn heard(&mut self, now: Nanos, events: &mut Vec<DeviceEvent>, news: &mut Vec<String>) {
        news.extend(events.drain(..).filter_map(line));
        if let Some(bridge) = &mut self.bridge {
            bridge.exchange(now, &mut self.bus, news);
        }
        self.bus.receive_while(OTHER, |_| true);
        let (frames, lost) = self.bus.take_log();
        for seen in frames {
            let ending = match seen.ending {
                Ending::Good => String::new(),
                Ending::Error(error) => format!(" error={error:?}").to_lowercase(),
            };
            let from = name(seen.node);
            news.push(format!("can-frame {} from={from}{ending}", seen.frame));
        }
        if lost > 0 {
            news.push(format!("can-frames-untold frames={lost}"));
        }
        for event in self.bus.take_events() {
            let node = event.kind.node().map(|it| format!(" node={}", name(it)));
            if !matches!(event.kind, EventKind::FrameBegan { .. }) {
                news.push(format!("{}{}", event.kind, node.unwrap_or_default()));
            }
        }
    }

    fn command(
        &mut self,
        now: Nanos,
        command: &str,
        _news: &mut Vec<String>,
    ) -> Result<String, String> {
        let words: Vec<&str> = command.split_whitespace().collect();
        match words.as_slice() {
            ["status"] => return Ok(self.status()),
            ["send", frame] => self.send(now, frame)?,
            ["watch", word @ ("on" | "off")] => {
                self.bus
                    .record_frames(if *word == "on" { TOLD_FRAMES } else { 0 });
            }
            ["other", word @ ("on" | "off")] => self.set_other(now, *word == "on"),
            ["cable", word @ ("in" | "out")] => {
                self.bus.set_connected(now, CONTROLLER, *word == "in");
            }
            ["short", word @ ("on" | "off")] => self.set_short(now, *word == "on"),
            ["fault", kind, nth] => self.fault(now, kind, nth)?,
            ["babble"] => self.inject(now, Fault::Babbling(OTHER)),
            ["wrong-rate"] => self.inject(now, Fault::BitRate(CONTROLLER, UNHEARD_RATE)),
            ["mend"] => self.mend(now),
            _ => return unknown(command),
        }
        Ok(String::new())
    }

    fn outside(&self) -> Option<BorrowedFd<'_>> {
        self.bridge.as_ref()?.outside(&self.bus)
    }

    /// It is read when its ports were served, which follows.
    fn hear_outside(&mut self, _now: Nanos, _news: &mut Vec<String>) {}

    fn put_away(&mut self, _now: Nanos) {}
}
