//! Nodes of a rig, and a master on their bus.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use devices::can::{CanBus, Frame, FrameRecord, Identifier, NodeId};
use devices::power::Shape;
use devices::time::Nanos;
use distribution::{
    Authority, Configuration, Content, Edition, Library, Master, MasterAction, Offer, Wait,
};
use emulator::array::{Array, PowerDomain, Step, Storage};
use emulator::rig::Rig;
use harness::files::load_rig;
use harness::provision::roms;
use harness::runner::Engine;
use harness::stage::describe;

/// The rig of most tests: a node of each type.
pub(crate) const RIG: &str = "nodes-alone";

/// What a master has in its memory.
#[derive(Default)]
pub(crate) struct Images(BTreeMap<(bool, u8), Vec<u8>>);

impl Images {
    pub(crate) fn with(mut self, edition: Edition, content: Content, image: Vec<u8>) -> Images {
        let key = (edition == Edition::Base, content.number());
        self.0.insert(key, image);
        self
    }

    /// The combined image of `version`, as what runs.
    pub(crate) fn combined(version: &str) -> Images {
        let image = harness::firmware::combined_image(version).expect("the product has it");
        Images::default().with(Edition::Base, Content::Combined, image)
    }
}

impl Library for Images {
    fn image(&self, edition: Edition, content: Content) -> Option<&[u8]> {
        let key = (edition == Edition::Base, content.number());
        self.0.get(&key).map(Vec::as_slice)
    }
}

/// A rig of the product.
pub(crate) fn rig(name: &str) -> Rig {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("rigs");
    load_rig(name, &folder).unwrap_or_else(|error| panic!("{}", error.render(false)))
}

/// How often a node became operational with `version`.
pub(crate) fn up(bench: &Bench, version: &str) -> usize {
    let version = format!(" version={version} ");
    let said = bench
        .lines
        .iter()
        .filter(|line| line.contains(": operational "));
    said.filter(|line| line.contains(&version)).count()
}

/// An array of nodes, and a master.
pub(crate) struct Bench {
    pub(crate) array: Array,
    rig: Rig,
    /// The master's place on the bus.
    pub(crate) place: NodeId,
    master: Option<Master>,
    pub(crate) images: Images,
    to_send: VecDeque<distribution::Frame>,
    /// Frames that the master gave to the bus.
    pub(crate) sent: u64,
    /// Which of them changes on the way such that the bus does not see it.
    pub(crate) alter_frame: Option<u64>,
    /// `time who: what`, all that happened.
    pub(crate) lines: Vec<String>,
}

impl Bench {
    /// The array of a rig, everything off, with a place on its bus for a master.
    pub(crate) fn new(name: &str, engine: Engine) -> Bench {
        Bench::of(rig(name), engine)
    }

    pub(crate) fn of(rig: Rig, engine: Engine) -> Bench {
        let engine = engine.choose().expect("the engine is here");
        let roms = roms(&rig).expect("the ROMs are built in");
        let array = Array::of_rig(&rig, &engine, &roms, &Storage::Memory, 1);
        let mut array = array.expect("the array can be built");
        let can = array.shared_mut().can.as_mut().expect("a bus");
        let place = can.add_node(0).expect("room on the bus");
        Bench {
            array,
            rig,
            place,
            master: None,
            images: Images::default(),
            to_send: VecDeque::new(),
            sent: 0,
            alter_frame: None,
            lines: Vec::new(),
        }
    }

    /// Starts a master that offers `images` in the way of `offer`.
    pub(crate) fn start_master(&mut self, images: Images, offer: Offer) {
        let (now, place) = (self.array.now(), self.place);
        let can = self.bus();
        can.set_powered(now, place, true);
        can.start(now, place);
        let configuration = Configuration {
            node: u8::try_from(place).expect("a number on the bus"),
            slot: 0,
            authority: Authority::Bus,
            wait: Wait::fixed(200_000_000),
            offer,
            flexible: can.has_fd(),
            transmit_queue: 16,
            frame_gap_ns: 0,
            set_timeout_ns: 20_000_000_000,
        };
        self.images = images;
        self.master = Some(Master::new(configuration, now.0));
    }

    /// Takes the master off the bus.
    pub(crate) fn stop_master(&mut self) {
        let (now, place) = (self.array.now(), self.place);
        self.bus().set_powered(now, place, false);
        self.master = None;
        self.to_send.clear();
    }

    /// Sends a frame from the master's place.
    pub(crate) fn say(&mut self, frame: distribution::Frame) {
        self.to_send.push_back(frame);
        self.send();
    }

    /// The bus, to break something on it.
    pub(crate) fn bus(&mut self) -> &mut CanBus {
        self.array.shared_mut().can.as_mut().expect("a bus")
    }

    pub(crate) fn master(&mut self) -> &mut Master {
        self.master.as_mut().expect("a master was started")
    }

    /// The index of a node by its name.
    pub(crate) fn node(&self, name: &str) -> usize {
        self.rig.node(name).expect("a node of the rig").into()
    }

    /// Its number on the bus.
    pub(crate) fn number(&self, name: &str) -> u8 {
        let number = self.array.boards().len() + self.node(name);
        u8::try_from(number).expect("a number on the bus")
    }

    fn domain(&self, name: &str) -> PowerDomain {
        PowerDomain::of(&self.rig.domain(name).expect("a domain of the rig"))
    }

    pub(crate) fn power_on(&mut self) {
        self.power("chassis");
    }

    pub(crate) fn power(&mut self, domain: &str) {
        self.array.power_on(self.domain(domain));
    }

    pub(crate) fn cut(&mut self, domain: &str) {
        self.array.power_cut(self.domain(domain), Shape::Lost);
    }

    /// Plays until `done`, at most for `seconds`; whether it was done.
    pub(crate) fn play(&mut self, seconds: u64, mut done: impl FnMut(&Bench) -> bool) -> bool {
        let end = self.array.now() + Nanos::from_secs(seconds);
        loop {
            self.observe();
            if done(self) {
                return true;
            }
            self.serve();
            let deadline = self.master.as_ref().map_or(u64::MAX, Master::deadline_ns);
            let until = end.min(Nanos(deadline));
            let step = self.array.step(until).expect("the array goes on");
            if step == Step::Idle && self.array.now() >= end {
                self.observe();
                return done(self);
            }
        }
    }

    /// Gives the master what the bus has for it, and the bus what the master says.
    fn serve(&mut self) {
        let Some(master) = &mut self.master else {
            return;
        };
        let (now, place) = (self.array.now(), self.place);
        let bus = self.array.shared().can.as_ref().expect("a bus");
        let quiet = bus.received(place).is_none() && bus.completion(place).is_none();
        if quiet && now.0 < master.deadline_ns() {
            return;
        }
        // Only now: whoever takes the bus to change something wakes everybody.
        let bus = self.array.shared_mut().can.as_mut().expect("a bus");
        while let Some(received) = bus.receive(place) {
            if let Identifier::Standard(identifier) = received.frame.identifier() {
                master.frame(now.0, identifier, received.frame.payload());
            }
        }
        while bus.take_completion(place).is_some() {
            master.sent(1);
        }
        master.tick(now.0, &self.images);
        while let Some(action) = master.next_action() {
            match action {
                MasterAction::Send(frame) => self.to_send.push_back(frame),
                MasterAction::Trace(event) => self.lines.push(format!("{now} master: {event}")),
            }
        }
        self.send();
    }

    fn send(&mut self) {
        let (now, place) = (self.array.now(), self.place);
        let bus = self.array.shared_mut().can.as_mut().expect("a bus");
        while let Some(frame) = self.to_send.front() {
            let identifier = Identifier::Standard(frame.identifier());
            let mut payload = frame.payload().to_vec();
            if self.alter_frame == Some(self.sent)
                && let Some(byte) = payload.last_mut()
            {
                *byte ^= 0x10;
            }
            let lawful = if frame.is_flexible() {
                Frame::fd(identifier, true, &payload)
            } else {
                Frame::data(identifier, &payload)
            };
            if bus.send(now, place, lawful.expect("lawful")).is_err() {
                break;
            }
            self.to_send.pop_front();
            self.sent += 1;
        }
    }

    fn observe(&mut self) {
        for event in self.array.take_events() {
            if let Some(what) = describe(&event.kind) {
                let who = match event.source {
                    emulator::array::Source::Node(node) => self
                        .rig
                        .nodes()
                        .nth(node)
                        .map_or("master".to_owned(), |it| it.name),
                    other => other.to_string(),
                };
                self.lines.push(format!("{} {who}: {what}", event.at));
            }
        }
    }

    /// How many lines there are of `who` that begin with `what`; of anybody where `who` is empty.
    pub(crate) fn count(&self, who: &str, what: &str) -> usize {
        let said = self.lines.iter().filter_map(|line| line.split_once(' '));
        let said = said.filter_map(|(_, line)| line.split_once(": "));
        said.filter(|(by, line)| (who.is_empty() || *by == who) && line.starts_with(what))
            .count()
    }

    /// What a node said, without the times.
    pub(crate) fn said_by(&self, who: &str) -> Vec<String> {
        let said = self.lines.iter().filter_map(|line| line.split_once(' '));
        let said = said.filter_map(|(_, line)| line.split_once(": "));
        said.filter(|(by, _)| *by == who)
            .map(|(_, line)| line.to_owned())
            .collect()
    }

    /// The class of a frame on the bus (firmware manual §9.1).
    pub(crate) fn class(record: &FrameRecord) -> u16 {
        match record.frame.identifier() {
            Identifier::Standard(identifier) => identifier >> 8,
            Identifier::Extended(_) => u16::MAX,
        }
    }

    /// All of it, for whoever wonders what went wrong.
    pub(crate) fn told(&self) -> String {
        self.lines.join("\n")
    }
}
