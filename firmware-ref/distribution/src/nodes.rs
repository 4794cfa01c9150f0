//! What a master knows of the nodes. A standby hears all the same, so it knows the open requests
//! when it takes over (K8).

use crate::message::{NodeState, Request, Status};
use crate::module::{Identity, Module, VersionTag};

/// Node numbers there are.
const NODES: usize = 256;

/// How far a request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// None, or it was broadcast for.
    Nothing,
    /// Collected in the window.
    Waiting,
    /// Its window is over.
    Queued,
    /// It is broadcast for, now or before; the node has not said that it runs.
    Served,
}

/// A node that was heard of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    /// Nothing since it was told to reboot or to report.
    pub(crate) state: Option<NodeState>,
    /// What it is; a generic request does not tell.
    pub(crate) module: Option<Module>,
    pub(crate) set: u8,
    pub(crate) version: Option<VersionTag>,
    pub(crate) asked: Asked,
    /// Whether its request said what it is.
    pub(crate) specific: bool,
    /// Place in the order of requests.
    order: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct Nodes {
    table: [Option<Node>; NODES],
    next_order: u32,
}

impl Nodes {
    pub(crate) fn new() -> Nodes {
        Nodes {
            table: [None; NODES],
            next_order: 0,
        }
    }

    fn entry(&mut self, node: u8, set: u8) -> Option<&mut Node> {
        let place = self.table.get_mut(usize::from(node))?;
        Some(place.get_or_insert(Node {
            state: None,
            module: None,
            set,
            version: None,
            asked: Asked::Nothing,
            specific: false,
            order: 0,
        }))
    }

    pub(crate) fn get(&self, node: u8) -> Option<&Node> {
        self.table.get(usize::from(node))?.as_ref()
    }

    /// Forgets a node that was taken away for good.
    pub(crate) fn forget(&mut self, node: u8) {
        if let Some(place) = self.table.get_mut(usize::from(node)) {
            *place = None;
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u8, &Node)> {
        let numbered = (0..=u8::MAX).zip(&self.table);
        numbered.filter_map(|(number, node)| Some((number, node.as_ref()?)))
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = (u8, &mut Node)> {
        let numbered = (0..=u8::MAX).zip(&mut self.table);
        numbered.filter_map(|(number, node)| Some((number, node.as_mut()?)))
    }

    /// A node asked. Whether that is new: one that is waiting for its turn already only repeats itself.
    pub(crate) fn requested(&mut self, request: &Request) -> bool {
        let order = self.next_order;
        let Some(node) = self.entry(request.node, request.set) else {
            return false;
        };
        node.state = Some(NodeState::Minimal);
        node.set = request.set;
        node.version = None;
        node.specific = request.module.is_some();
        node.module = request.module.or(node.module);
        if matches!(node.asked, Asked::Waiting | Asked::Queued) {
            return false;
        }
        node.asked = Asked::Waiting;
        node.order = order;
        self.next_order = order.wrapping_add(1);
        true
    }

    /// A node said what it is.
    pub(crate) fn reported(&mut self, status: &Status) {
        let Identity {
            node, set, module, ..
        } = status.identity;
        let Some(node) = self.entry(node, set) else {
            return;
        };
        node.set = set;
        node.module = Some(module);
        node.state = Some(status.state);
        let operational = status.state == NodeState::Operational;
        node.version = operational.then_some(status.version);
        if status.state != NodeState::Minimal {
            node.asked = Asked::Nothing;
        }
    }

    /// The node whose request is the oldest of those that have come so far.
    pub(crate) fn oldest(&self, asked: Asked) -> Option<(u8, Node)> {
        let nodes = self.iter().filter(|(_, node)| node.asked == asked);
        nodes
            .min_by_key(|(_, node)| node.order)
            .map(|(number, node)| (number, *node))
    }

    /// What the oldest of them wants that says what it wants.
    pub(crate) fn first_specific(&self, asked: Asked) -> Option<Module> {
        let nodes = self.iter().map(|(_, node)| node);
        let nodes = nodes.filter(|node| node.asked == asked && node.specific);
        nodes.min_by_key(|node| node.order)?.module
    }

    pub(crate) fn set_asked(&mut self, node: u8, asked: Asked) {
        if let Some(Some(node)) = self.table.get_mut(usize::from(node)) {
            node.asked = asked;
        }
    }

    /// Requests that have come so far.
    pub(crate) fn count(&self, asked: Asked) -> u16 {
        let nodes = self.iter().filter(|(_, node)| node.asked == asked);
        u16::try_from(nodes.count()).unwrap_or(u16::MAX)
    }
}
