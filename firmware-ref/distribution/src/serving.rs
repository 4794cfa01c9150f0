//! What a master serves to whom: which edition and which container (steps 330, 331), and how an update
//! changes that.

use crate::MASTER_SET;
use crate::configuration::{Edition, Library, Offer};
use crate::container::Contents;
use crate::event::{MasterEvent, Refusal};
use crate::master::Master;
use crate::message::{Order as Asks, UpdateState};
use crate::module::{Audience, Content, Module, Scope, VersionTag};
use crate::nodes::{Asked, Node};
use crate::sender::Job;
use crate::update::{Order, RebootBy, Rollout, Step, Update};

impl Master {
    /// The first set that is not served the update: 0 when none is, [`MASTER_SET`] when all are. To be kept
    /// where it outlives a loss of power.
    pub fn turn(&self) -> u8 {
        self.mastership.update.turn
    }

    /// Serves the update to the sets below `turn`: as before a loss of power; or 0 once the update has become
    /// the base in the library, or is given up.
    pub fn set_turn(&mut self, turn: u8) {
        self.mastership.update.turn = turn;
        self.mastership.hurry();
    }

    /// Whether an update is on its way.
    pub fn is_updating(&self) -> bool {
        self.update.is_some()
    }

    /// Begins an update: the library has the new images (step 360). Goes on by itself; events tell how far.
    pub fn update(&mut self, now_ns: u64, order: Order) {
        if !self.is_active() {
            self.refuse(Refusal::NotActive);
        } else if self.update.is_some() || self.turn() == MASTER_SET {
            self.refuse(Refusal::Busy);
        } else {
            self.begin_update(now_ns, order, None);
        }
    }

    /// A master that takes over goes on with an update on its way (CD56).
    pub(crate) fn resume(&mut self, now_ns: u64) {
        let state = self.mastership.update;
        if !state.running {
            return;
        }
        let order = Order {
            rollout: if state.at_once {
                Rollout::AtOnce
            } else {
                Rollout::BySet
            },
            reboot_by: if state.by_operator {
                RebootBy::Operator
            } else {
                RebootBy::Message
            },
        };
        self.begin_update(now_ns, order, Some(state));
    }

    fn begin_update(&mut self, now_ns: u64, order: Order, resumed: Option<UpdateState>) {
        let set_timeout_ns = self.configuration.set_timeout_ns;
        let update = Update::new(now_ns, order, resumed, set_timeout_ns, &mut self.nodes);
        self.update = Some(update);
        self.mastership.update = UpdateState {
            running: true,
            by_operator: order.reboot_by == RebootBy::Operator,
            at_once: order.rollout == Rollout::AtOnce,
            turn: self.turn(),
        };
        self.trace(MasterEvent::UpdateStarted);
        // From here on it outlives this master.
        self.mastership.hurry();
        self.beat(now_ns);
        self.command(Asks::Report, Scope::All);
    }

    fn end_update(&mut self) {
        self.update = None;
        self.mastership.update.running = false;
        self.mastership.hurry();
    }

    pub(crate) fn update_step(&mut self, now_ns: u64, library: &impl Library) {
        let Some(mut update) = self.update.take() else {
            return;
        };
        if !self.news && now_ns < update.deadline_ns() {
            self.update = Some(update);
            return;
        }
        self.news = false;
        let mut versions = [None; Module::ALL.len()];
        for (version, module) in versions.iter_mut().zip(Module::ALL) {
            *version = self.update_version(library, module);
        }
        let expected = |module: Module| {
            versions
                .get(usize::from(module as u8 - 1))
                .copied()
                .flatten()
        };
        let mut step = update.step(now_ns, &mut self.nodes, &expected);
        loop {
            match step {
                Step::Wait => {
                    self.update = Some(update);
                    return;
                }
                Step::Begin(set) => {
                    let order = update.order();
                    let turn = set.map_or(MASTER_SET, |set| set.saturating_add(1));
                    // The standby hears of it before any node does.
                    self.set_turn(self.turn().max(turn));
                    self.beat(now_ns);
                    if update.begin_set(now_ns, set, &mut self.nodes, &expected) {
                        let by_operator = order.reboot_by == RebootBy::Operator;
                        self.trace(MasterEvent::SetStarted { set, by_operator });
                        if !by_operator {
                            self.reboot(set.map_or(Scope::All, Scope::Set));
                        }
                        step = Step::Wait;
                    } else {
                        step = update.step(now_ns, &mut self.nodes, &expected);
                    }
                }
                Step::Updated(set) => {
                    self.trace(MasterEvent::SetUpdated { set });
                    step = update.after(set, &self.nodes);
                }
                Step::Refused(refusal) => {
                    self.end_update();
                    return self.refuse(refusal);
                }
                Step::Report => {
                    self.command(Asks::Report, Scope::All);
                    step = update.step(now_ns, &mut self.nodes, &expected);
                }
                Step::Stopped(refusal) => {
                    self.end_update();
                    return self.trace(MasterEvent::UpdateAborted(refusal));
                }
                Step::Aborted(set, refusal) => {
                    self.set_turn(set.unwrap_or(0));
                    self.end_update();
                    self.beat(now_ns);
                    self.trace(MasterEvent::UpdateAborted(refusal));
                    if update.order().reboot_by == RebootBy::Message {
                        self.reboot(set.map_or(Scope::All, Scope::Set));
                    }
                    return;
                }
                Step::Finished => {
                    self.set_turn(MASTER_SET);
                    self.end_update();
                    return self.trace(MasterEvent::UpdateFinished);
                }
            }
        }
    }

    /// The version that the update brings for `module`.
    fn update_version(&self, library: &impl Library, module: Module) -> Option<VersionTag> {
        let content = self.content_for(library, Edition::Update, Some(module))?;
        let contents = Contents::parse(library.image(Edition::Update, content)?).ok()?;
        Some(contents.select(module)?.version)
    }

    pub(crate) fn is_served_update(&self, set: u8) -> bool {
        set < self.turn()
    }

    fn edition_for(&self, node: &Node) -> Edition {
        if self.is_served_update(node.set) {
            Edition::Update
        } else {
            Edition::Base
        }
    }

    /// Which container is broadcast for a request (steps 330, 331). A generic one names no module.
    fn content_for(
        &self,
        library: &impl Library,
        edition: Edition,
        module: Option<Module>,
    ) -> Option<Content> {
        let own = module.map(Content::Only);
        let (combined, all) = (Some(Content::Combined), Some(Content::All));
        let choices = match self.configuration.offer {
            Offer::Combined => [combined, own, all],
            Offer::Requested | Offer::First | Offer::Direct => [own, all, combined],
        };
        let suits = |content: &Content| {
            let image = library.image(edition, *content);
            let contents = image.and_then(|image| Contents::parse(image).ok());
            contents.is_some_and(|it| module.is_none_or(|module| it.select(module).is_some()))
        };
        choices.into_iter().flatten().find(suits)
    }

    /// Begins the broadcast for the oldest request that was not broadcast for; false when there is none.
    pub(crate) fn next_job(&mut self, now_ns: u64, library: &impl Library) -> bool {
        let Some((number, node)) = self.nodes.oldest(Asked::Queued) else {
            return false;
        };
        let edition = self.edition_for(&node);
        let module = node.module.filter(|_| node.specific);
        let content = self.content_for(library, edition, module);
        let direct = self.configuration.offer == Offer::Direct;
        for other in 0..=u8::MAX {
            let Some(it) = self.nodes.get(other).copied() else {
                continue;
            };
            let wants = it.module.filter(|_| it.specific);
            let same = self.edition_for(&it) == edition
                && (wants == module || self.content_for(library, edition, wants) == content);
            let served = if direct { other == number } else { same };
            if it.asked == Asked::Queued && served {
                // Without an image they are not served at all, and ask again.
                let asked = if content.is_some() {
                    Asked::Served
                } else {
                    Asked::Nothing
                };
                self.nodes.set_asked(other, asked);
            }
        }
        let checked = content.and_then(|content| {
            let image = library.image(edition, content)?;
            Some((content, image, Contents::check(image)))
        });
        let (content, image) = match checked {
            None => {
                self.trace(MasterEvent::ImageMissing { module, edition });
                return true;
            }
            Some((content, _, Err(cause))) => {
                self.trace(MasterEvent::ImageRefused { content, cause });
                return true;
            }
            Some((content, image, Ok(_))) => (content, image),
        };
        let turn = self.turn();
        let audience = match edition {
            _ if direct => Audience::Node(number),
            Edition::Update => Audience::Sets {
                first: 0,
                last: turn.saturating_sub(1),
            },
            Edition::Base => Audience::Sets {
                first: turn,
                last: MASTER_SET,
            },
        };
        let job = Job {
            edition,
            content,
            audience,
        };
        self.start(now_ns, job, image, direct.then_some(number));
        true
    }
}
