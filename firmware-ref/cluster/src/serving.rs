//! Who may serve the logical unit: one controller at a time, and while versions are mixed only
//! where the array declares that they may be.

use image::Version;

use crate::action::{Action, Lock, LockVerb};
use crate::event::Event;
use crate::member::Cluster;
use crate::message::{Role, State};

/// Versions that may run side by side: those of an upgrade that the array records (K4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Declared {
    /// The preferred version.
    pub preferred: Version,
    /// What may still run besides it.
    pub previous: Previous,
}

/// What may run besides the preferred version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Previous {
    /// Nothing.
    None,
    /// The version that was preferred before.
    Only(Version),
    /// Anything: the place of the preferred version keeps no history.
    Any,
}

impl Declared {
    pub(crate) fn allows(&self, a: Version, b: Version) -> bool {
        let other = if a == self.preferred {
            b
        } else if b == self.preferred {
            a
        } else {
            return false;
        };
        match self.previous {
            Previous::None => false,
            Previous::Only(previous) => other == previous,
            Previous::Any => true,
        }
    }
}

impl Cluster {
    /// Whether the controller in `slot` serves the logical unit or could take it over, as far as is
    /// known: in an undeclared mix only the version that owns it can.
    pub fn could_serve(&self, slot: u8) -> bool {
        if slot == self.configuration.slot {
            return self.is_operational(slot) && !self.barred;
        }
        let own = self.configuration.version;
        let tolerated = !self.undeclared_mix || self.configuration.tolerates_mixed;
        let heartbeat = self.partner(slot).and_then(|p| p.heartbeat);
        heartbeat.is_some_and(|h| tolerated || h.owns_lun || h.version == own)
    }

    /// What the array declares about versions, as asked for by [`Action::ReadDeclaration`] or because
    /// it was changed from here. `None` when it says nothing.
    pub fn declare(&mut self, declared: Option<Declared>) {
        self.declared = declared;
        if self.state != State::Operational {
            return;
        }
        let own = self.configuration.version;
        let mut undeclared = false;
        for partner in self.partners.into_iter().flatten() {
            let Some(heartbeat) = partner.heartbeat else {
                continue;
            };
            let version = heartbeat.version;
            if version == own {
                continue;
            }
            let declared = declared.is_some_and(|d| d.allows(own, version));
            undeclared |= !declared;
            self.trace(Event::MixedVersions {
                own,
                partner: version,
                declared,
            });
        }
        self.set_barred(undeclared);
    }

    /// Whether versions are mixed among the operational controllers.
    pub fn is_mixed(&self) -> bool {
        let own = self.configuration.version;
        let mut heartbeats = self.partners.iter().flatten().filter_map(|p| p.heartbeat);
        heartbeats.any(|heartbeat| heartbeat.version != own)
    }

    pub(crate) fn versions_changed(&mut self) {
        if self.is_mixed() {
            self.act(Action::ReadDeclaration);
        } else {
            self.set_barred(false);
        }
    }

    /// Who owns the unit when an undeclared mix begins goes on; anybody else may not take it over until
    /// the mix ends: not even when the owner is gone, because what it left behind may be of
    /// a form that the other version misreads.
    fn set_barred(&mut self, undeclared: bool) {
        self.undeclared_mix = undeclared;
        let barred = undeclared && !self.owns_lun && !self.configuration.tolerates_mixed;
        if barred && !self.barred {
            self.trace(Event::LunBarred);
        }
        self.barred = barred;
    }

    pub(crate) fn want_lun(&mut self) {
        if self.role == Some(Role::Master) && !self.owns_lun && !self.barred {
            self.act(Action::Lock(Lock::Lun0, LockVerb::Acquire));
        }
    }

    pub(crate) fn stop_serving(&mut self) {
        if self.owns_lun {
            self.owns_lun = false;
            self.act(Action::StopLun);
            self.trace(Event::LunReleased);
        }
    }
}
