//! A bus with nodes and masters, in memory: frames one after another by arbitration, lost or damaged on
//! the way to this or that station by seed, power cut at a chosen frame.
//!
//! Whatever happens, a node that runs an image which is not, byte for byte, one for its kind of
//! module ends the test.

use std::collections::BTreeMap;

use distribution::{
    Configuration, Edition, Frame, Identity, Master, MasterAction, Module, Receiver,
};

use crate::images::{Images, version};
use crate::station::{Node, Port, Program, change, draw, runs, wake_node};

pub(crate) const MS: u64 = 1_000_000;
pub(crate) const SECOND: u64 = 1000 * MS;

/// Where masters stand among the stations' numbers.
pub(crate) const MASTERS: [u8; 2] = [0, 1];
/// The first node.
pub(crate) const FIRST: u8 = 10;

pub(crate) struct Rig {
    pub(crate) now_ns: u64,
    pub(crate) nodes: Vec<Node>,
    pub(crate) masters: Vec<(Configuration, Option<Master>)>,
    pub(crate) images: Images,
    pub(crate) ports: BTreeMap<u8, Port>,
    /// Frames are handed to programs so late, 64 at most at a time.
    pub(crate) late_ns: u64,
    /// Controllers send the more urgent of their frames first, not the older.
    pub(crate) by_urgency: bool,
    /// Of a thousand frames, how many a station does not get, or gets changed.
    pub(crate) lost: u64,
    pub(crate) changed: u64,
    pub(crate) random: u64,
    on_bus: Option<(u8, Frame, u64)>,
    pub(crate) frames: u64,
    /// At the end of that frame, which does not arrive there: what happens.
    pub(crate) at_frame: Option<(u64, u8)>,
    pub(crate) off_for_ns: u64,
    /// Stations that get power again, and when.
    pub(crate) power_at: Vec<(u64, u8)>,
    /// Classes of the frames sent, counted.
    pub(crate) counted: [u64; 8],
    pub(crate) trace: Vec<(u64, u8, String)>,
}

impl Rig {
    /// Nodes of these modules and sets, powered off, and masters so configured.
    pub(crate) fn new(nodes: &[(Module, u8)], masters: &[Configuration], images: Images) -> Rig {
        let length = images.length;
        let node = |(node, (module, set)): (u8, &(Module, u8))| Node {
            identity: Identity {
                node,
                module: *module,
                set: *set,
                boots: 0,
            },
            program: Program::Off,
            memory: vec![0xee; length],
            self_test_passes: true,
            tells_type: true,
            wakes: 0,
        };
        let nodes: Vec<Node> = (FIRST..).zip(nodes).map(node).collect();
        let numbers = nodes.iter().map(|node| node.identity.node);
        let numbers = numbers.chain(masters.iter().map(|it| it.node));
        Rig {
            now_ns: 0,
            ports: numbers.map(|number| (number, Port::default())).collect(),
            nodes,
            masters: masters.iter().map(|it| (*it, None)).collect(),
            images,
            late_ns: 0,
            by_urgency: false,
            lost: 0,
            changed: 0,
            random: 1,
            on_bus: None,
            frames: 0,
            at_frame: None,
            off_for_ns: 700 * MS,
            power_at: Vec::new(),
            counted: [0; 8],
            trace: Vec::new(),
        }
    }

    /// Everything powered at once.
    pub(crate) fn power_all(&mut self) {
        for number in self.ports.keys().copied().collect::<Vec<u8>>() {
            self.power(number);
        }
    }

    pub(crate) fn master(&mut self, number: u8) -> Option<&mut Master> {
        let mut masters = self.masters.iter_mut();
        masters.find(|(it, _)| it.node == number)?.1.as_mut()
    }

    pub(crate) fn node(&mut self, number: u8) -> &mut Node {
        let mut nodes = self.nodes.iter_mut();
        nodes.find(|it| it.identity.node == number).expect("a node")
    }

    pub(crate) fn power(&mut self, number: u8) {
        *self.ports.get_mut(&number).expect("a port") = Port::default();
        let now_ns = self.now_ns;
        for (configuration, master) in &mut self.masters {
            if configuration.node == number {
                *master = Some(Master::new(*configuration, now_ns));
                return;
            }
        }
        self.boot(number);
    }

    pub(crate) fn boot(&mut self, number: u8) {
        let now_ns = self.now_ns;
        let node = self.node(number);
        node.identity.boots = node.identity.boots.wrapping_add(1);
        // Self-tests take their time, not all the same.
        let until_ns = now_ns + 2 * MS + u64::from(number % 16) * 3 * MS;
        let receiver = Receiver::new(node.identity, node.tells_type);
        node.program = Program::Testing(Box::new(receiver), until_ns);
    }

    pub(crate) fn cut(&mut self, number: u8) {
        *self.ports.get_mut(&number).expect("a port") = Port::default();
        if self
            .on_bus
            .as_ref()
            .is_some_and(|(sender, ..)| *sender == number)
        {
            self.on_bus = None;
        }
        for (configuration, master) in &mut self.masters {
            if configuration.node == number {
                *master = None;
                return;
            }
        }
        let node = self.node(number);
        node.program = Program::Off;
        // RAM is lost (CD2).
        node.memory.fill(0xee);
    }

    fn chance(&mut self, of_thousand: u64) -> bool {
        draw(&mut self.random) % 1000 < of_thousand
    }

    fn is_powered(&self, number: u8) -> bool {
        let master = self
            .masters
            .iter()
            .any(|(it, on)| it.node == number && on.is_some());
        let mut nodes = self.nodes.iter();
        master || nodes.any(|it| it.identity.node == number && !matches!(it.program, Program::Off))
    }

    fn wants(&self, number: u8, identifier: u16) -> bool {
        for (configuration, master) in &self.masters {
            if configuration.node == number {
                return master
                    .as_ref()
                    .is_some_and(|it| it.wants().contains(identifier));
            }
        }
        let mut nodes = self.nodes.iter();
        let node = nodes.find(|it| it.identity.node == number).expect("a node");
        match &node.program {
            Program::Off => false,
            Program::Testing(it, _) | Program::Boot(it) => it.wants().contains(identifier),
            Program::Image(it, _) => it.wants().contains(identifier),
        }
    }

    /// The next frame that wins the bus.
    fn arbitrate(&mut self) {
        if self.on_bus.is_some() {
            return;
        }
        let by_urgency = self.by_urgency;
        let place = |port: &Port| {
            let ids = port.transmit.iter().map(Frame::identifier).enumerate();
            let choice = if by_urgency {
                ids.min_by_key(|(at, id)| (*id, *at))
            } else {
                ids.take(1).next()
            };
            choice.map(|(at, id)| (id, at))
        };
        let ports = self.ports.iter();
        let winner = ports
            .filter_map(|(number, port)| Some((place(port)?, *number)))
            .min();
        let Some(((_, at), number)) = winner else {
            return;
        };
        let port = self.ports.get_mut(&number).expect("a port");
        let frame = port.transmit.remove(at).expect("a frame");
        // 500 kbit/s, 2 Mbit/s in the data phase of the longer frames.
        let data = frame.payload().len() as u64;
        let takes_ns = if frame.is_flexible() {
            120_000 + data * 4500
        } else {
            110_000 + data * 19_000
        };
        self.on_bus = Some((number, frame, self.now_ns + takes_ns));
    }

    fn arrive(&mut self) {
        let Some((sender, frame, _)) = self.on_bus.take() else {
            return;
        };
        let index = self.frames;
        self.frames += 1;
        let cut = self
            .at_frame
            .filter(|(at, _)| *at == index)
            .map(|(_, number)| number);
        if let Some(number) = cut {
            self.cut(number);
            self.power_at.push((self.now_ns + self.off_for_ns, number));
            if number == sender {
                return;
            }
        }
        self.counted[usize::from(frame.identifier() >> 8)] += 1;
        if let Some(master) = self.master(sender) {
            master.sent(1);
        }
        for number in self.ports.keys().copied().collect::<Vec<u8>>() {
            if number == sender || !self.is_powered(number) {
                continue;
            }
            if !self.wants(number, frame.identifier()) || self.chance(self.lost) {
                continue;
            }
            let changed = self.chance(self.changed);
            let (now_ns, late_ns) = (self.now_ns, self.late_ns);
            let port = self.ports.get_mut(&number).expect("a port");
            if port.received.is_empty() {
                port.hand_ns = now_ns + late_ns;
            }
            port.received.push(if changed {
                change(&frame, index)
            } else {
                frame
            });
            if port.received.len() >= 64 {
                port.hand_ns = now_ns;
            }
        }
    }

    fn deadline_ns(&self, number: u8) -> u64 {
        let port = &self.ports[&number];
        let hand_ns = if port.received.is_empty() {
            u64::MAX
        } else {
            port.hand_ns
        };
        let own_ns = self.masters.iter().find(|(it, _)| it.node == number);
        let own_ns = match own_ns {
            Some((_, master)) => master.as_ref().map_or(u64::MAX, Master::deadline_ns),
            None => {
                let mut nodes = self.nodes.iter();
                match &nodes
                    .find(|it| it.identity.node == number)
                    .expect("a node")
                    .program
                {
                    Program::Testing(_, until_ns) => *until_ns,
                    Program::Boot(receiver) => receiver.deadline_ns(),
                    Program::Off | Program::Image(..) => u64::MAX,
                }
            }
        };
        hand_ns.min(own_ns)
    }

    /// Wakes a station whose time has come.
    pub(crate) fn wake(&mut self, number: u8) {
        let now_ns = self.now_ns;
        let port = self.ports.get_mut(&number).expect("a port");
        let frames = std::mem::take(&mut port.received);
        let mut said = Vec::new();
        let mut lines = Vec::new();
        if let Some((_, master)) = self.masters.iter_mut().find(|(it, _)| it.node == number) {
            let Some(master) = master else { return };
            for frame in &frames {
                master.frame(now_ns, frame.identifier(), frame.payload());
            }
            master.tick(now_ns, &self.images);
            while let Some(action) = master.next_action() {
                match action {
                    MasterAction::Send(frame) => said.push(frame),
                    MasterAction::Trace(event) => lines.push(event.to_string()),
                }
            }
        } else {
            let images = &self.images;
            let mut nodes = self.nodes.iter_mut();
            let node = nodes.find(|it| it.identity.node == number).expect("a node");
            node.wakes += 1;
            let reboots = wake_node(now_ns, node, &frames, images, &mut said, &mut lines);
            if reboots {
                self.boot(number);
            }
        }
        self.trace
            .extend(lines.into_iter().map(|line| (now_ns, number, line)));
        self.ports
            .get_mut(&number)
            .expect("a port")
            .transmit
            .extend(said);
    }

    /// One instant in which something happens, unless that is later than `end_ns`.
    pub(crate) fn step(&mut self, end_ns: u64) -> bool {
        self.arbitrate();
        let numbers: Vec<u8> = self.ports.keys().copied().collect();
        let bus_ns = self
            .on_bus
            .as_ref()
            .map_or(u64::MAX, |(_, _, until_ns)| *until_ns);
        let later_ns = self.power_at.iter().map(|(at_ns, _)| *at_ns).min();
        let stations_ns = numbers.iter().map(|number| self.deadline_ns(*number)).min();
        let times = [
            bus_ns,
            later_ns.unwrap_or(u64::MAX),
            stations_ns.unwrap_or(u64::MAX),
        ];
        let next_ns = times.into_iter().fold(u64::MAX, u64::min).max(self.now_ns);
        if next_ns > end_ns {
            self.now_ns = end_ns;
            return false;
        }
        self.now_ns = next_ns;
        let due = |(at_ns, _): &(u64, u8)| *at_ns <= next_ns;
        let powered: Vec<(u64, u8)> = self.power_at.iter().copied().filter(due).collect();
        self.power_at.retain(|it| !due(it));
        for (_, number) in powered {
            self.power(number);
        }
        if bus_ns <= next_ns {
            self.arrive();
        }
        for number in numbers {
            if self.deadline_ns(number) <= next_ns {
                self.wake(number);
            }
        }
        true
    }

    pub(crate) fn run_until(&mut self, end_ns: u64) {
        while self.step(end_ns) {}
    }

    /// Runs until all nodes run this edition; panics when that takes too long.
    pub(crate) fn run_until_all_run(&mut self, edition: Edition, end_ns: u64) {
        while !self.all_run(edition) {
            assert!(
                self.step(end_ns),
                "not all nodes run {edition:?}:\n{}",
                self.story()
            );
        }
    }

    pub(crate) fn all_run(&self, edition: Edition) -> bool {
        self.nodes
            .iter()
            .all(|node| runs(node) == Some(version(edition)))
    }

    /// How many lines contain the text.
    pub(crate) fn count(&self, text: &str) -> usize {
        self.trace
            .iter()
            .filter(|(.., line)| line.contains(text))
            .count()
    }

    pub(crate) fn story(&self) -> String {
        let line = |(at_ns, who, line): &(u64, u8, String)| {
            format!("{:9.3} {who:3} {line}\n", *at_ns as f64 / 1e6)
        };
        self.trace.iter().map(line).collect()
    }
}
