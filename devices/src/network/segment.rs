use std::collections::{BTreeMap, BTreeSet, VecDeque};

use serde::{Deserialize, Serialize};

use super::{ETHERNET_HEADER_BYTES, MAX_FRAME_BYTES, Mac, PORT_QUEUE_FRAMES};
use crate::time::Nanos;

/// Addresses a segment remembers; a flood of made-up ones cannot make it grow.
const MAX_KNOWN_ADDRESSES: usize = 64;

/// Shortest frame on the wire without its check sequence (IEEE 802.3 §3.2.7: shorter ones are
/// padded).
const MIN_WIRE_BYTES: u64 = 60;

/// Preamble, start delimiter, check sequence and gap around every frame (IEEE 802.3 §3.1.1, §4.4.2).
const WIRE_OVERHEAD_BYTES: u64 = 8 + 4 + 12;

/// How fast a port is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortSettings {
    /// From the last bit sent to the frame at the other end.
    pub latency: Nanos,
    /// How fast bits leave the port; zero counts as one.
    pub bits_per_second: u64,
}

impl Default for PortSettings {
    fn default() -> Self {
        PortSettings {
            latency: Nanos::from_micros(10),
            bits_per_second: 1_000_000_000,
        }
    }
}

/// What became of frames at one port.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Handed in by the port, lost ones included.
    pub sent: u64,
    /// Handed out to the port.
    pub received: u64,
    /// Sent into the dark: no light at the port.
    pub lost_to_link: u64,
    /// Sent by the port and lost to a fault the harness asked for.
    pub lost_to_fault: u64,
    /// Meant for the port, whose queue was full.
    pub overrun: u64,
}

/// What became of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// It is on its way to so many ports (none: nobody has that address).
    Carried(usize),
    /// Nobody will get it.
    Lost(Loss),
}

/// Why a frame was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// Too short or too long to be a frame, or from a port that does not exist.
    Malformed,
    /// The port has no light.
    NoLink,
    /// The harness asked for this frame to be dropped.
    Dropped,
    /// Every port it was meant for is behind a partition.
    Partition,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Port {
    settings: PortSettings,
    cable: bool,
    powered: bool,
    /// Until when the transmitter is busy.
    busy_until: Nanos,
    /// In order of arrival.
    arriving: VecDeque<(Nanos, Vec<u8>)>,
    counters: Counters,
    /// Numbers (in the count of `sent`) of frames to drop.
    drops: BTreeSet<u64>,
}

/// One broadcast domain: every port hears every other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    ports: Vec<Port>,
    known: BTreeMap<Mac, usize>,
    /// Pairs of ports, smaller first, that do not hear each other though their lights are on.
    partitions: BTreeSet<(usize, usize)>,
}

impl Segment {
    /// A segment with `ports` ports, cabled, without power.
    pub fn new(ports: usize, settings: PortSettings) -> Segment {
        let port = Port {
            settings,
            cable: true,
            powered: false,
            busy_until: Nanos::ZERO,
            arriving: VecDeque::new(),
            counters: Counters::default(),
            drops: BTreeSet::new(),
        };
        Segment {
            ports: vec![port; ports],
            known: BTreeMap::new(),
            partitions: BTreeSet::new(),
        }
    }

    /// Number of ports.
    pub fn ports(&self) -> usize {
        self.ports.len()
    }

    /// Tells the segment where an address is, as if it had heard it.
    pub fn know(&mut self, port: usize, address: Mac) {
        if port < self.ports.len()
            && (self.known.len() < MAX_KNOWN_ADDRESSES || self.known.contains_key(&address))
        {
            self.known.insert(address, port);
        }
    }

    /// What is at the end of this cable got or lost power. What was waiting for it is gone.
    pub fn set_powered(&mut self, port: usize, powered: bool) {
        if let Some(port) = self.ports.get_mut(port) {
            port.powered = powered;
            port.arriving.clear();
        }
    }

    /// Plugs or pulls the cable of a port. What was on it is gone.
    pub fn set_cable(&mut self, port: usize, plugged: bool) {
        if let Some(port) = self.ports.get_mut(port) {
            port.cable = plugged;
            port.arriving.clear();
        }
    }

    /// Cuts two ports off from each other, or mends that; their lights stay as they are.
    pub fn set_partition(&mut self, a: usize, b: usize, cut: bool) {
        let pair = (a.min(b), a.max(b));
        if cut {
            self.partitions.insert(pair);
        } else {
            self.partitions.remove(&pair);
        }
    }

    /// Drops the `nth` frame that the port sends from now on (1 = the next one). Whether it came
    /// to that shows in [`Counters::lost_to_fault`].
    pub fn drop_frame(&mut self, port: usize, nth: u64) {
        if let Some(port) = self.ports.get_mut(port) {
            port.drops.insert(port.counters.sent.saturating_add(nth));
        }
    }

    /// The light: the port is cabled and powered, and so is at least one other.
    pub fn link_up(&self, port: usize) -> bool {
        let lit = |port: &Port| port.cable && port.powered;
        let others = self.ports.iter().enumerate().filter(|(n, _)| *n != port);
        self.ports.get(port).is_some_and(lit) && others.map(|(_, other)| other).any(lit)
    }

    /// What became of frames at a port.
    pub fn counters(&self, port: usize) -> Counters {
        self.ports
            .get(port)
            .map_or(Counters::default(), |port| port.counters)
    }

    /// Sends a frame (without check sequence) from a port. It leaves when the port has sent what
    /// it had before.
    pub fn send(&mut self, now: Nanos, port: usize, frame: &[u8]) -> Sent {
        let link_up = self.link_up(port);
        let Some((destination, source)) = addresses(frame) else {
            return Sent::Lost(Loss::Malformed);
        };
        let Some(sender) = self.ports.get_mut(port) else {
            return Sent::Lost(Loss::Malformed);
        };
        sender.counters.sent += 1;
        if !link_up {
            sender.counters.lost_to_link += 1;
            return Sent::Lost(Loss::NoLink);
        }
        let gone = sender.busy_until.max(now) + wire_time(sender.settings, frame.len());
        let arrives = gone + sender.settings.latency;
        sender.busy_until = gone;
        if sender.drops.remove(&sender.counters.sent) {
            sender.counters.lost_to_fault += 1;
            return Sent::Lost(Loss::Dropped);
        }
        self.know(port, source);
        let known = self.known.get(&destination).copied();
        let mut carried = 0;
        let mut cut_off = 0;
        for n in (0..self.ports.len()).filter(|n| *n != port && known.is_none_or(|k| k == *n)) {
            if self.partitions.contains(&(n.min(port), n.max(port))) {
                cut_off += 1;
                continue;
            }
            let receiver = &mut self.ports[n];
            if !receiver.cable || !receiver.powered {
                continue;
            }
            if receiver.arriving.len() >= PORT_QUEUE_FRAMES {
                receiver.counters.overrun += 1;
                continue;
            }
            let after = receiver.arriving.partition_point(|(at, _)| *at <= arrives);
            receiver.arriving.insert(after, (arrives, frame.to_vec()));
            carried += 1;
        }
        if carried == 0 && cut_off > 0 {
            self.ports[port].counters.lost_to_fault += 1;
            return Sent::Lost(Loss::Partition);
        }
        Sent::Carried(carried)
    }

    /// The next frame that has arrived at a port.
    pub fn arrived(&self, now: Nanos, port: usize) -> Option<&[u8]> {
        let (at, frame) = self.ports.get(port)?.arriving.front()?;
        (*at <= now).then_some(frame)
    }

    /// Takes the next frame that has arrived at a port.
    pub fn receive(&mut self, now: Nanos, port: usize) -> Option<Vec<u8>> {
        self.arrived(now, port)?;
        let port = self.ports.get_mut(port)?;
        port.counters.received += 1;
        port.arriving.pop_front().map(|(_, frame)| frame)
    }

    /// When the next frame arrives (or arrived) at a port.
    pub fn next_arrival(&self, port: usize) -> Option<Nanos> {
        Some(self.ports.get(port)?.arriving.front()?.0)
    }

    /// When the next frame arrives anywhere.
    pub fn deadline(&self) -> Option<Nanos> {
        (0..self.ports.len())
            .filter_map(|port| self.next_arrival(port))
            .min()
    }
}

/// Destination and source of a frame of lawful length; a group address as source names nobody.
fn addresses(frame: &[u8]) -> Option<(Mac, Mac)> {
    if !(ETHERNET_HEADER_BYTES..=MAX_FRAME_BYTES).contains(&frame.len()) {
        return None;
    }
    let destination = frame.first_chunk()?;
    let source = frame.get(6..)?.first_chunk()?;
    Some((*destination, *source))
}

fn wire_time(settings: PortSettings, frame_bytes: usize) -> Nanos {
    let bytes = u64::try_from(frame_bytes).unwrap_or(u64::MAX);
    let bits = (bytes.max(MIN_WIRE_BYTES) + WIRE_OVERHEAD_BYTES) * 8;
    Nanos((bits * 1_000_000_000).div_ceil(settings.bits_per_second.max(1)))
}
