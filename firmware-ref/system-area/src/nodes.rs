//! What the store keeps for the nodes of a bus that boot from it: which package's images they run, and how
//! far an update of them has come (rows CD13, CD50 to CD55). Bytes 12 … 15 and 32 … 47 of the catalogue.

use image::Kind;

use crate::catalogue::{Catalogue, Entry};

/// Bytes that whoever serves the nodes keeps here.
pub const NODE_SETTINGS_SIZE: usize = 16;

/// How the nodes are served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Nodes {
    /// The package whose images they run; the preferred one where there is none.
    pub(crate) base: Option<u8>,
    /// The first redundant set that is not served the preferred package's images yet.
    pub(crate) turn: u8,
    /// Not this crate's business.
    pub(crate) settings: [u8; NODE_SETTINGS_SIZE],
}

impl Catalogue {
    /// The package whose images nodes are served, but for those that an update has reached.
    pub fn node_base(&self) -> Option<&Entry> {
        self.entry(self.nodes.base).or(self.preferred())
    }

    /// The package whose images an update brings; nothing where nodes run them already.
    pub fn node_update(&self) -> Option<&Entry> {
        let base = self.nodes.base.filter(|base| Some(*base) != self.preferred);
        base.and(self.preferred())
    }

    /// The first redundant set that is not served the update; 0 where none is.
    pub fn node_turn(&self) -> u8 {
        self.nodes.turn
    }

    /// An update has come so far.
    pub fn set_node_turn(&mut self, turn: u8) {
        self.nodes.turn = turn;
    }

    /// Every node runs the update: it is the base from now on.
    pub fn finish_node_update(&mut self) {
        self.nodes.base = self.preferred;
        self.nodes.turn = 0;
    }

    /// What whoever serves the nodes keeps here; zeros at first.
    pub fn node_settings(&self) -> [u8; NODE_SETTINGS_SIZE] {
        self.nodes.settings
    }

    /// Keeps it.
    pub fn set_node_settings(&mut self, settings: [u8; NODE_SETTINGS_SIZE]) {
        self.nodes.settings = settings;
    }

    /// Another package is preferred from now on: nodes go on with what they run until they are updated, if
    /// that is anything.
    pub(crate) fn keep_node_base(&mut self) {
        let has_images = |entry: &&Entry| entry.package.part(Kind::Node).is_some();
        if self.nodes.base.is_none() && self.preferred().filter(has_images).is_some() {
            self.nodes.base = self.preferred;
        }
        // An update that was under way is none of the new images.
        self.nodes.turn = 0;
    }
}
