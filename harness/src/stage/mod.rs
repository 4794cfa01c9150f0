//! The stage: an array, a host and everything that was seen to happen.
//!
//! A stage advances array and host together in virtual time and keeps what an audience sees: the
//! timeline, a view of every board, operation counts, and broken invariants. It presses no
//! buttons itself and knows no scenario; the script (or a person) does.

/// Rules that hold in every run, whatever a scenario asserts.
mod invariants;
/// What is known of each node from what it said.
mod node;
/// Events as past-tense text.
mod text;
/// Checkpoints taken while time passes.
mod track;
/// What boards said on their consoles.
mod transcript;
/// What is known of each board from what it said.
mod view;

use std::collections::BTreeMap;

use devices::event::DeviceEvent;
use devices::power::OperationKind;
use devices::time::Nanos;
use emulator::array::{Array, ArrayError, ArrayEvent, EventKind, SavedArray, Source, Step};
use emulator::board::Cpu;
use emulator::rig::Rig;

use self::invariants::Invariants;
pub use self::invariants::{Declared, Violation};
pub use self::node::{NodeState, NodeView};
pub use self::text::describe;
use self::track::Track;
pub use self::track::Waypoint;
pub use self::transcript::Place;
use self::transcript::Transcript;
pub use self::view::{BoardView, State, word, words};
use crate::host::Host;

/// One line of the timeline.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Virtual time.
    pub at: Nanos,
    /// `A`, `B`, `shelf`, `host`, `chassis`.
    pub who: String,
    /// What happened, past tense, `name key=value …`.
    pub what: String,
    /// The story went back to before it.
    pub undone: bool,
}

/// How often something persistent was begun: by place, unit and kind.
pub type OperationCounts = BTreeMap<(Source, u32, OperationKind), u64>;

/// An array, a host and what was seen.
#[derive(Debug)]
pub struct Stage {
    /// The array.
    pub array: Array,
    /// The host on its network.
    pub host: Host,
    seen: Seen,
    stop_at_cut: Option<u32>,
    track: Option<Track>,
}

/// Everything observed; plain data.
#[derive(Clone, Debug)]
struct Seen {
    timeline: Vec<Entry>,
    views: Vec<BoardView>,
    node_views: Vec<NodeView>,
    operations: OperationCounts,
    cuts_fired: Vec<u32>,
    invariants: Invariants,
    /// By board.
    consoles: Vec<Transcript>,
    /// What the rig calls the nodes on the CAN bus.
    nodes: Vec<String>,
}

/// A stage as a value.
#[derive(Clone, Debug)]
pub struct SavedStage {
    array: SavedArray,
    host: Host,
    seen: Seen,
}

/// How a wait ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// The condition held, at this time.
    Met(Nanos),
    /// It did not hold by the deadline.
    TimedOut,
    /// Nothing will ever happen again by itself, and it does not hold.
    Dead,
    /// The cut that [`Stage::stop_at_cut`] names fired first.
    Cut,
}

impl Stage {
    /// A stage around an array.
    pub fn new(array: Array, rig: Rig, host: Host, declared: Declared) -> Stage {
        let (boards, nodes) = (array.boards().len(), array.nodes().len());
        Stage {
            array,
            host,
            seen: Seen {
                timeline: Vec::new(),
                views: vec![BoardView::default(); boards],
                node_views: vec![NodeView::default(); nodes],
                operations: OperationCounts::new(),
                cuts_fired: Vec::new(),
                consoles: vec![Transcript::default(); boards],
                nodes: rig.nodes().map(|node| node.name).collect(),
                invariants: Invariants::new(rig, declared),
            },
            stop_at_cut: None,
            track: None,
        }
    }

    /// What happened so far.
    pub fn timeline(&self) -> &[Entry] {
        &self.seen.timeline
    }

    /// What is known of each board.
    pub fn views(&self) -> &[BoardView] {
        &self.seen.views
    }

    /// What is known of each node of the CAN bus.
    pub fn node_views(&self) -> &[NodeView] {
        &self.seen.node_views
    }

    /// What the rig calls a node.
    pub fn node_name(&self, node: usize) -> String {
        self.seen.name(Source::Node(node))
    }

    /// Persistent operations so far.
    pub fn operations(&self) -> &OperationCounts {
        &self.seen.operations
    }

    /// Armed cuts that fired.
    pub fn cuts_fired(&self) -> &[u32] {
        &self.seen.cuts_fired
    }

    /// Broken invariants.
    pub fn violations(&self) -> &[Violation] {
        self.seen.invariants.violations()
    }

    /// Boards that have power, should serve and do not.
    pub fn bricked(&self) -> Vec<Violation> {
        self.seen.invariants.bricked(&self.seen.views, &self.array)
    }

    /// Every line board `slot` printed.
    pub fn console(&self, slot: usize) -> &[String] {
        let console = self.seen.consoles.get(slot);
        console.map(Transcript::lines).unwrap_or_default()
    }

    /// Every line that board `slot` printed to its end, with its number.
    pub fn whole_lines(&self, slot: usize) -> impl Iterator<Item = (usize, &str)> {
        let console = self.seen.consoles.get(slot).into_iter();
        console.flat_map(Transcript::whole_lines)
    }

    /// The place on the console of board `slot` behind all that it printed.
    pub fn console_end(&self, slot: usize) -> Place {
        let console = self.seen.consoles.get(slot);
        console.map_or(Place::default(), |console| {
            console.end(&self.unfinished_line(slot))
        })
    }

    /// Looks on the console of board `slot` for `text` within a line, from `from` on: the place behind it, or
    /// else how far there is nothing left to look at.
    ///
    /// # Errors
    /// It is not there.
    pub fn find_on_console(&self, slot: usize, from: Place, text: &str) -> Result<Place, Place> {
        let console = self.seen.consoles.get(slot).ok_or(from)?;
        console.find(from, text, &self.unfinished_line(slot))
    }

    /// The last that board `slot` printed.
    pub fn last_words(&self, slot: usize) -> String {
        let unfinished = self.unfinished_line(slot);
        let last = || self.console(slot).last().cloned().unwrap_or_default();
        if unfinished.is_empty() {
            last()
        } else {
            unfinished
        }
    }

    /// What board `slot` printed since the end of its last line.
    pub fn unfinished_line(&self, slot: usize) -> String {
        let board = self.array.boards().get(slot);
        board.map_or(String::new(), |board| board.console().unfinished_line())
    }

    /// Adds a line of the harness's own to the timeline (a button pressed, a package inserted), after
    /// what the array has done by now.
    pub fn note(&mut self, who: &str, what: impl Into<String>) {
        self.observe();
        let entry = Entry {
            at: self.array.now(),
            who: who.to_owned(),
            what: what.into(),
            undone: false,
        };
        self.seen.timeline.push(entry);
    }

    /// Makes every wait end when armed cut `cut` fires.
    pub fn stop_at_cut(&mut self, cut: Option<u32>) {
        self.stop_at_cut = cut;
    }

    /// Advances until `condition` holds, at most to `deadline`.
    ///
    /// # Errors
    /// The bench itself failed.
    pub fn run_until(
        &mut self,
        deadline: Nanos,
        condition: impl FnMut(&Stage) -> bool,
    ) -> Result<Waited, ArrayError> {
        self.track_wait()?;
        let waited = self.wait(deadline, condition);
        self.track_end();
        waited
    }

    fn wait(
        &mut self,
        deadline: Nanos,
        mut condition: impl FnMut(&Stage) -> bool,
    ) -> Result<Waited, ArrayError> {
        loop {
            self.observe();
            self.track_progress()?;
            if self
                .stop_at_cut
                .is_some_and(|cut| self.seen.cuts_fired.contains(&cut))
            {
                return Ok(Waited::Cut);
            }
            if condition(self) {
                return Ok(Waited::Met(self.array.now()));
            }
            match self.step(deadline)? {
                Step::Advanced => {}
                Step::Idle if self.host.deadline().is_some_and(|at| at <= deadline) => {}
                Step::Idle if deadline == Nanos::NEVER => return Ok(Waited::Dead),
                Step::Idle => {
                    self.observe();
                    let met = condition(self);
                    let now = self.array.now();
                    return Ok(if met {
                        Waited::Met(now)
                    } else {
                        Waited::TimedOut
                    });
                }
            }
        }
    }

    /// One step of the array, with the host's frames carried both ways.
    fn step(&mut self, deadline: Nanos) -> Result<Step, ArrayError> {
        let now = self.array.now();
        let port = self.array.host_port();
        while let Some(frame) = self.array.host_network().receive(now, port) {
            self.host.receive(now, &frame);
        }
        if self.host.deadline().is_some_and(|at| at <= now) {
            self.host.advance(now);
        }
        for frame in self.host.take_frames() {
            // A frame that finds no light or no room is lost; the initiator's time-out sees to it.
            let _ = self.array.host_network().send(now, port, &frame);
        }
        let limit = self.host.deadline().map_or(deadline, |at| at.min(deadline));
        self.array.step(limit)
    }

    /// Takes note of what the array says happened. A wait does so by itself; whoever did something
    /// to the array does it before anybody asks what is.
    pub fn observe(&mut self) {
        for event in self.array.take_events() {
            self.seen.take(&event, &self.array);
        }
        // A reset makes no event before the board leaves it, but what it said before counts no more.
        for (board, view) in self.array.boards().iter().zip(&mut self.seen.views) {
            if *board.cpu() == Cpu::InReset {
                view.stop(State::Down);
            }
        }
        for (node, view) in self.array.nodes().iter().zip(&mut self.seen.node_views) {
            if *node.cpu() == Cpu::InReset {
                view.stop(NodeState::Down);
            }
        }
    }

    /// The stage as a value.
    ///
    /// # Errors
    /// An engine cannot be checkpointed.
    pub fn save(&mut self, base: Option<&SavedStage>) -> Result<SavedStage, ArrayError> {
        self.observe();
        Ok(SavedStage {
            array: self.array.save(base.map(|base| &base.array))?,
            host: self.host.clone(),
            seen: self.seen.clone(),
        })
    }

    /// Back to what [`Stage::save`] saw.
    ///
    /// # Errors
    /// The checkpoint is of another rig.
    pub fn restore(&mut self, saved: &SavedStage) -> Result<(), ArrayError> {
        self.array.restore(&saved.array)?;
        self.host.clone_from(&saved.host);
        self.seen.clone_from(&saved.seen);
        Ok(())
    }

    /// Back to what [`Stage::save`] saw earlier in this story under `name`. The timeline goes on, with
    /// what is undone in it, and rules that were broken stay broken.
    ///
    /// # Errors
    /// The checkpoint is of another rig.
    pub fn go_back(&mut self, name: &str, saved: &SavedStage) -> Result<(), ArrayError> {
        self.observe();
        let earlier = self.seen.clone();
        self.restore(saved)?;
        self.remember(name, earlier);
        Ok(())
    }

    /// The same where `earlier` is a stage on which the story was played up to that point again.
    pub fn become_earlier(&mut self, name: &str, earlier: Stage) {
        self.observe();
        let undone = std::mem::replace(self, earlier);
        self.observe();
        self.remember(name, undone.seen);
    }

    fn remember(&mut self, name: &str, undone: Seen) {
        self.seen.remember(undone);
        self.note("bench", format!("restored {name:?}"));
    }
}

impl Seen {
    /// Keeps of `earlier`, from which the story went back to here, what is no part of the array.
    fn remember(&mut self, earlier: Seen) {
        // A timeline only grows: what is here is the beginning of what was there.
        let undone = earlier.timeline.into_iter().skip(self.timeline.len());
        let undone = undone.map(|entry| Entry {
            undone: true,
            ..entry
        });
        self.timeline.extend(undone);
        self.invariants.remember(earlier.invariants);
    }

    fn name(&self, source: Source) -> String {
        let node = match source {
            Source::Node(node) => self.nodes.get(node).cloned(),
            _ => None,
        };
        node.unwrap_or_else(|| source.to_string())
    }

    fn take(&mut self, event: &ArrayEvent, array: &Array) {
        if let EventKind::Device(DeviceEvent::OperationBegan(operation)) = &event.kind {
            let place = (event.source, operation.unit, operation.kind);
            *self.operations.entry(place).or_default() += 1;
            return;
        }
        if let EventKind::CutFired { cut } = event.kind {
            self.cuts_fired.push(cut);
        }
        if let Source::Node(node) = event.source
            && let Some(view) = self.node_views.get_mut(node)
        {
            view.take(event);
        }
        if let Source::Board(slot) = event.source {
            if let EventKind::Device(DeviceEvent::ConsoleLine(line)) = &event.kind
                && let Some(console) = self.consoles.get_mut(slot)
            {
                // What a board was saying when its power went comes behind the loss.
                let down = |view: &BoardView| view.state == State::Down;
                console.take(line, !self.views.get(slot).is_some_and(down));
            }
            if let Some(view) = self.views.get_mut(slot) {
                view.take(event);
            }
        }
        self.invariants.take(event, &self.views, array);
        if let Some(what) = describe(&event.kind) {
            self.timeline.push(Entry {
                at: event.at,
                who: self.name(event.source),
                what,
                undone: false,
            });
        }
    }
}
