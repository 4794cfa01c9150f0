//! A master: it hears requests, waits for more of them, broadcasts (Fig. 5, steps 320 to 335), and updates
//! redundant sets (Fig. 6). Active and standby masters run the same code; a standby only listens (K8).
//!
//! [`Master::frame`] for every frame received, [`Master::sent`] for frames that left, then one
//! [`Master::tick`], then the actions. Frames go to the bus in the order of the actions.

use heapless::Deque;

use crate::FRAME_GAP_MAX_NS;
use crate::configuration::{Configuration, Library, MasterAction, Offer, TRANSMIT_QUEUE_MAX};
use crate::epoch::Epoch;
use crate::event::{MasterEvent, Refusal, Stop};
use crate::mastership::{Change, Mastership};
use crate::message::{
    Class, Classes, Command, Frame, Message, NodeState, Order as Asks, Request, Status,
};
use crate::module::{Module, Scope, VersionTag};
use crate::nodes::{Asked, Nodes};
use crate::sender::{Job, Next, Sender};
use crate::update::Update;
use crate::window::{Wait, Window};

/// Most actions that one input can cause: a full transmit queue and what is said about it.
const ACTIONS_MAX: usize = 64;

/// What is known of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// Its number.
    pub node: u8,
    /// What it is; a generic request does not tell.
    pub module: Option<Module>,
    /// The redundant set it belongs to.
    pub set: u8,
    /// How far it is; nothing since it asked, or was told to reboot or to report.
    pub state: Option<NodeState>,
    /// What it runs.
    pub version: Option<VersionTag>,
}

/// The state machine.
#[derive(Clone, Debug)]
pub struct Master {
    pub(crate) configuration: Configuration,
    pub(crate) mastership: Mastership,
    pub(crate) nodes: Nodes,
    window: Option<Window>,
    sender: Sender,
    pub(crate) update: Option<Update>,
    /// Something an update may wait for has happened.
    pub(crate) news: bool,
    actions: Deque<MasterAction, ACTIONS_MAX>,
}

impl Master {
    /// A standby that has heard nothing yet.
    pub fn new(configuration: Configuration, now_ns: u64) -> Master {
        let Configuration {
            node,
            slot,
            authority,
            flexible,
            ..
        } = configuration;
        let queue = configuration.transmit_queue.min(TRANSMIT_QUEUE_MAX);
        let gap_ns = configuration.frame_gap_ns.min(FRAME_GAP_MAX_NS);
        Master {
            configuration,
            mastership: Mastership::new(node, slot, authority, now_ns),
            nodes: Nodes::new(),
            window: None,
            sender: Sender::new(node, flexible, queue, gap_ns),
            update: None,
            news: false,
            actions: Deque::new(),
        }
    }

    /// The frames it needs.
    pub fn wants(&self) -> Classes {
        Classes::of(&[Class::Mastership, Class::Request, Class::Status])
    }

    /// What to do next.
    pub fn next_action(&mut self) -> Option<MasterAction> {
        self.actions.pop_front()
    }

    /// When [`Master::tick`] has something to do.
    pub fn deadline_ns(&self) -> u64 {
        let window_ns = self.window.map_or(u64::MAX, |window| window.expires_ns());
        let update = self.update.as_ref();
        let update_ns = update.map_or(u64::MAX, Update::deadline_ns);
        let mastership_ns = self.mastership.deadline_ns();
        let times = [window_ns, update_ns, self.sender.deadline_ns()];
        times.into_iter().fold(mastership_ns, u64::min)
    }

    /// Whether it is the active master.
    pub fn is_active(&self) -> bool {
        self.mastership.is_active()
    }

    /// The newest epoch it knows; its own while it is active.
    pub fn epoch(&self) -> Epoch {
        self.mastership.epoch()
    }

    /// Whether it broadcasts just now.
    pub fn is_broadcasting(&self) -> bool {
        self.sender.job().is_some()
    }

    /// Whether the node runs its image, and which version, as far as is known.
    pub fn version_of(&self, node: u8) -> Option<VersionTag> {
        self.nodes.get(node)?.version
    }

    /// A node was taken away for good: updates do not wait for it.
    pub fn forget(&mut self, node: u8) {
        self.nodes.forget(node);
    }

    /// The wait from the next first request on (CD20).
    pub fn set_wait(&mut self, wait: Wait) {
        self.configuration.wait = wait;
    }

    /// What is broadcast, from the next broadcast on.
    pub fn set_offer(&mut self, offer: Offer) {
        self.configuration.offer = offer;
    }

    /// Every node that was heard, as far as is known.
    pub fn nodes(&self) -> impl Iterator<Item = Known> + '_ {
        self.nodes.iter().map(|(node, known)| Known {
            node,
            module: known.module,
            set: known.set,
            state: known.state,
            version: known.version,
        })
    }

    /// The midplane lock has this owner and epoch ([`crate::Authority::Lock`]).
    pub fn lock(&mut self, now_ns: u64, owner: Option<u8>, epoch: u64) {
        let change = self.mastership.lock(now_ns, owner, Epoch::from(epoch));
        self.changed(now_ns, change);
    }

    /// Gives the bus to another master, before this one is stopped (K8). With a midplane lock that is
    /// released instead.
    pub fn hand_over(&mut self, now_ns: u64) {
        let change = self.mastership.hand_over(now_ns);
        self.changed(now_ns, change);
    }

    /// Tells nodes to reboot (CD52).
    pub fn reboot(&mut self, scope: Scope) {
        self.command(Asks::Reboot, scope);
    }

    /// The bus took so many frames.
    pub fn sent(&mut self, frames: u8) {
        self.sender.sent(frames);
    }

    /// The bus did not take so many frames, and will not: it is off, or unplugged.
    pub fn send_failed(&mut self, frames: u8) {
        self.sender.sent(frames);
        self.stop(Stop::Bus);
    }

    /// A frame was received.
    pub fn frame(&mut self, now_ns: u64, identifier: u16, payload: &[u8]) {
        match Message::decode(identifier, payload) {
            Some(Message::Heartbeat(heartbeat)) if heartbeat.node != self.configuration.node => {
                let change = self.mastership.heard(now_ns, &heartbeat);
                self.changed(now_ns, change);
            }
            Some(Message::Request(request)) => self.requested(now_ns, &request),
            Some(Message::Status(status)) => self.reported(&status),
            _ => {}
        }
    }

    /// Time has passed, and every frame received by now was handed over.
    pub fn tick(&mut self, now_ns: u64, library: &impl Library) {
        let change = self.mastership.tick(now_ns);
        self.changed(now_ns, change);
        if self.is_active() {
            let expired = |window: &Window| now_ns >= window.expires_ns();
            if let Some(window) = self.window.take_if(|window| expired(window)) {
                self.close(now_ns, &window);
            }
            self.update_step(now_ns, library);
        }
        self.beat(now_ns);
        if self.is_active() {
            self.broadcast(now_ns, library);
        }
    }

    /// Sends a heartbeat if it is time for one.
    pub(crate) fn beat(&mut self, now_ns: u64) {
        if let Some(heartbeat) = self.mastership.heartbeat(now_ns) {
            self.send(Message::Heartbeat(heartbeat).encode());
        }
    }

    fn changed(&mut self, now_ns: u64, change: Option<Change>) {
        let Some(Change { active, cause }) = change else {
            return;
        };
        if !active {
            self.stop(Stop::Deposed);
            self.window = None;
            self.update = None;
            return self.trace(MasterEvent::Standby { cause });
        }
        let epoch = self.epoch();
        self.trace(MasterEvent::Active { epoch, cause });
        self.resume(now_ns);
        // Open windows begin anew, for every node that asked and has not said since that it runs.
        let mut open = false;
        for (_, node) in self.nodes.iter_mut() {
            if node.asked != Asked::Nothing {
                node.asked = Asked::Waiting;
                open = true;
            }
        }
        if open && let Some((node, _)) = self.nodes.oldest(Asked::Waiting) {
            self.open(now_ns, node);
        }
    }

    fn open(&mut self, now_ns: u64, node: u8) {
        let mut wait = self.configuration.wait;
        if self.configuration.offer == Offer::Direct {
            wait = Wait::fixed(0);
        }
        let window = Window::open(now_ns, node, &wait);
        let wait_ms = window.expires_ns().saturating_sub(now_ns) / 1_000_000;
        self.window = Some(window);
        self.trace(MasterEvent::WindowOpened { node, wait_ms });
    }

    /// Steps 320 to 324.
    fn requested(&mut self, now_ns: u64, request: &Request) {
        self.news = true;
        if !self.nodes.requested(request) || !self.is_active() {
            return;
        }
        let Some(node) = self.nodes.get(request.node) else {
            return;
        };
        let module = request.module;
        let update = self.is_served_update(node.set);
        let shared = self.configuration.offer != Offer::Direct;
        let joins = shared
            && self.nodes.iter().any(|(_, other)| {
                let generic = module.is_none() && !other.specific;
                let same = generic || (other.specific && other.module == module);
                other.asked == Asked::Queued && same && self.is_served_update(other.set) == update
            });
        if joins {
            // It is about to be broadcast anyway.
            self.nodes.set_asked(request.node, Asked::Queued);
        } else if let Some(window) = &mut self.window {
            window.request(now_ns, &self.configuration.wait);
        } else {
            self.open(now_ns, request.node);
        }
    }

    /// Step 323: the wait is over.
    fn close(&mut self, now_ns: u64, window: &Window) {
        let requests = self.nodes.count(Asked::Waiting);
        let waited_ms = window.waited_ns(now_ns) / 1_000_000;
        self.trace(MasterEvent::WindowClosed {
            requests,
            waited_ms,
        });
        // CD36: only what the first specific request wants; all others will ask again.
        let first = match self.configuration.offer {
            Offer::First => self.nodes.first_specific(Asked::Waiting),
            Offer::Combined | Offer::Requested | Offer::Direct => None,
        };
        for (_, node) in self.nodes.iter_mut() {
            if node.asked == Asked::Waiting {
                let wanted = first.is_none_or(|first| node.specific && node.module == Some(first));
                node.asked = if wanted {
                    Asked::Queued
                } else {
                    Asked::Nothing
                };
            }
        }
    }

    fn reported(&mut self, status: &Status) {
        let node = status.identity.node;
        let before = self.version_of(node);
        self.nodes.reported(status);
        self.news = true;
        if !self.is_active() {
            return;
        }
        let version = status.version;
        match status.state {
            NodeState::Operational if before != Some(version) => {
                self.trace(MasterEvent::NodeOperational { node, version });
            }
            NodeState::Failed => self.trace(MasterEvent::NodeFailed { node }),
            NodeState::Operational | NodeState::Minimal => {}
        }
    }

    /// Step 335, one broadcast after another.
    fn broadcast(&mut self, now_ns: u64, library: &impl Library) {
        loop {
            let Some(job) = self.sender.job() else {
                if !self.next_job(now_ns, library) {
                    return;
                }
                continue;
            };
            let image = library.image(job.edition, job.content);
            match self.sender.next(now_ns, self.mastership.epoch(), image) {
                // Counted as on its way already.
                Next::Frame(frame) => self.act(MasterAction::Send(frame)),
                Next::Later => return,
                Next::Finished => {
                    let number = self.sender.number();
                    self.trace(MasterEvent::BroadcastFinished { number });
                }
                Next::Changed => self.stop(Stop::Image),
            }
        }
    }

    pub(crate) fn start(&mut self, now_ns: u64, job: Job, image: &[u8], node: Option<u8>) {
        self.sender.begin(now_ns, job, image);
        self.trace(MasterEvent::BroadcastStarted {
            number: self.sender.number(),
            content: job.content,
            edition: job.edition,
            length: u32::try_from(image.len()).unwrap_or(u32::MAX),
            node,
        });
    }

    fn stop(&mut self, cause: Stop) {
        if !self.sender.stop() {
            return;
        }
        // What was not handed to the bus yet is not sent any more.
        for _ in 0..self.actions.len() {
            let Some(action) = self.actions.pop_front() else {
                break;
            };
            if matches!(action, MasterAction::Send(frame) if is_broadcast(&frame)) {
                self.sender.sent(1);
            } else {
                self.act(action);
            }
        }
        let number = self.sender.number();
        self.trace(MasterEvent::BroadcastStopped { number, cause });
    }

    pub(crate) fn refuse(&mut self, refusal: Refusal) {
        self.trace(MasterEvent::UpdateRefused(refusal));
    }

    pub(crate) fn command(&mut self, order: Asks, scope: Scope) {
        let command = Command {
            node: self.configuration.node,
            order,
            scope,
            epoch: self.is_active().then(|| self.epoch()),
        };
        self.send(Message::Command(command).encode());
    }

    fn send(&mut self, frame: Frame) {
        self.sender.handed();
        self.act(MasterAction::Send(frame));
    }

    pub(crate) fn trace(&mut self, event: MasterEvent) {
        self.act(MasterAction::Trace(event));
    }

    fn act(&mut self, action: MasterAction) {
        // Full only if nobody drains it, and then nothing matters any more.
        let _full = self.actions.push_back(action);
    }
}

fn is_broadcast(frame: &Frame) -> bool {
    Classes::of(&[Class::Start, Class::Data]).contains(frame.identifier())
}

#[cfg(test)]
#[path = "master_tests.rs"]
mod tests;
