//! What is traced.

use core::fmt;

use words::{Line, Words};

use crate::configuration::Edition;
use crate::container::Defect;
use crate::epoch::Epoch;
use crate::message::Reason;
use crate::module::{Content, Module, VersionTag};

/// Why a node took nothing from a broadcast that began for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dropped {
    /// A fragment, or the last ones, did not come.
    Missing,
    /// What came is not what was sent.
    Damaged,
    /// Nothing came for a while.
    Silence,
    /// Another broadcast began.
    Interrupted,
    /// Nothing in it is for this node (step 346).
    OtherType,
    /// The image is larger than the node's RAM.
    TooLarge,
    /// RAM does not hold what was stored.
    Memory,
}

impl Dropped {
    /// The word used in traces: `cause=…`.
    pub fn as_str(self) -> &'static str {
        match self {
            Dropped::Missing => "missing",
            Dropped::Damaged => "damaged",
            Dropped::Silence => "silence",
            Dropped::Interrupted => "interrupted",
            Dropped::OtherType => "other-type",
            Dropped::TooLarge => "too-large",
            Dropped::Memory => "memory",
        }
    }
}

/// Something that happened on a node; displays as a trace line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeEvent {
    /// The self-test failed; the node asks for nothing (CD15).
    SelfTestFailed,
    /// The boot program is ready (step 310).
    MinimallyOperational {
        /// What it is.
        module: Module,
        /// Of which set.
        set: u8,
    },
    /// It asked (step 311).
    ImageRequested {
        /// As what; nothing in a generic request.
        module: Option<Module>,
        /// Why.
        reason: Reason,
        /// For the how-manieth time.
        attempt: u8,
    },
    /// It took nothing from a broadcast.
    BroadcastDropped {
        /// Why.
        cause: Dropped,
    },
    /// Its image is in RAM, checked.
    ImageLoaded {
        /// Which part it took.
        content: Content,
        /// Its version.
        version: VersionTag,
        /// Its bytes.
        length: u32,
    },
    /// Its image runs (CD12).
    Operational {
        /// What it is.
        module: Module,
        /// Running what.
        version: VersionTag,
        /// Of which set.
        set: u8,
    },
    /// It was told to reboot (CD7).
    RebootOrdered {
        /// By which node.
        by: u8,
    },
}

impl Words for NodeEvent {
    fn say(&self, line: &mut Line) {
        match self {
            NodeEvent::SelfTestFailed => line.put("self-test-failed"),
            NodeEvent::MinimallyOperational { module, set } => {
                line.put_field("minimally-operational type=", module.as_str());
                line.put_count(" set=", (*set).into());
            }
            NodeEvent::ImageRequested {
                module,
                reason,
                attempt,
            } => {
                line.put_field(
                    "image-requested type=",
                    module.map_or("any", Module::as_str),
                );
                line.put_field(" reason=", reason.as_str());
                line.put_count(" attempt=", (*attempt).into());
            }
            NodeEvent::BroadcastDropped { cause } => {
                line.put_field("broadcast-dropped cause=", cause.as_str());
            }
            NodeEvent::ImageLoaded {
                content,
                version,
                length,
            } => {
                line.put_field("image-loaded content=", content.as_str());
                line.put(" version=");
                version.say(line);
                line.put_count(" bytes=", *length);
            }
            NodeEvent::Operational {
                module,
                version,
                set,
            } => {
                line.put_field("operational type=", module.as_str());
                line.put(" version=");
                version.say(line);
                line.put_count(" set=", (*set).into());
            }
            NodeEvent::RebootOrdered { by } => {
                line.put_count("reboot-ordered by=", (*by).into());
            }
        }
    }
}

impl fmt::Display for NodeEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        words::display(self, f)
    }
}

/// Why a master became active or stopped being it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cause {
    /// No other one is active.
    Alone,
    /// The active one fell silent.
    PartnerLost,
    /// The active one gave it up.
    Handover,
    /// The midplane lock says so.
    Lock,
    /// Another one is active, in a newer epoch.
    Deposed,
}

impl Cause {
    /// The word used in traces: `cause=…`.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::Alone => "alone",
            Cause::PartnerLost => "partner-lost",
            Cause::Handover => "handover",
            Cause::Lock => "lock",
            Cause::Deposed => "deposed",
        }
    }
}

/// Why a broadcast ended early.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// This master is no longer active.
    Deposed,
    /// The bus did not take a frame.
    Bus,
    /// The image is no longer what it was.
    Image,
}

impl Stop {
    /// The word used in traces: `cause=…`.
    pub fn as_str(self) -> &'static str {
        match self {
            Stop::Deposed => "deposed",
            Stop::Bus => "bus",
            Stop::Image => "image",
        }
    }
}

/// Why an update does not begin or does not go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// This master is not active.
    NotActive,
    /// An update is on its way, or waits to be committed.
    Busy,
    /// There is no update in the library.
    NoUpdate,
    /// A node is not operational, so its partner must not be stopped (K24).
    Degraded {
        /// Which.
        node: u8,
    },
    /// There is one set only: nothing would serve while it reboots (CD51).
    NotRedundant,
    /// There is nothing to update.
    NoNodes,
    /// Not all of a set came back with the update in time.
    TimeOut {
        /// The set.
        set: u8,
        /// How many did not.
        missing: u8,
        /// The first of them.
        node: u8,
    },
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::NotActive => f.write_str("cause=not-active"),
            Refusal::Busy => f.write_str("cause=busy"),
            Refusal::NoUpdate => f.write_str("cause=no-update"),
            Refusal::Degraded { node } => write!(f, "cause=degraded node={node}"),
            Refusal::NotRedundant => f.write_str("cause=not-redundant"),
            Refusal::NoNodes => f.write_str("cause=no-nodes"),
            Refusal::TimeOut { set, missing, node } => {
                write!(f, "cause=time-out set={set} missing={missing} node={node}")
            }
        }
    }
}

/// Something that happened on a master; displays as a trace line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MasterEvent {
    /// It broadcasts from now on.
    Active {
        /// Of its mastership.
        epoch: Epoch,
        /// Why.
        cause: Cause,
    },
    /// It does not any more.
    Standby {
        /// Why.
        cause: Cause,
    },
    /// A first request: it waits (steps 320, 321).
    WindowOpened {
        /// Who asked.
        node: u8,
        /// How long.
        wait_ms: u64,
    },
    /// The wait is over (step 323).
    WindowClosed {
        /// Nodes that asked.
        requests: u16,
        /// How long it was.
        waited_ms: u64,
    },
    /// A broadcast begins (step 335).
    BroadcastStarted {
        /// Of the broadcast.
        number: u8,
        /// What it holds.
        content: Content,
        /// Whether it is the update.
        edition: Edition,
        /// Its bytes.
        length: u32,
        /// Whom it is addressed to, in prior art.
        node: Option<u8>,
    },
    /// All of it is sent.
    BroadcastFinished {
        /// Of the broadcast.
        number: u8,
    },
    /// Not all of it is sent.
    BroadcastStopped {
        /// Of the broadcast.
        number: u8,
        /// Why.
        cause: Stop,
    },
    /// Somebody asked for what the library does not have.
    ImageMissing {
        /// For whom.
        module: Option<Module>,
        /// In which edition.
        edition: Edition,
    },
    /// What the library has is damaged.
    ImageRefused {
        /// What.
        content: Content,
        /// Why.
        cause: Defect,
    },
    /// A node runs its image.
    NodeOperational {
        /// Which.
        node: u8,
        /// Which version.
        version: VersionTag,
    },
    /// A node failed its self-test.
    NodeFailed {
        /// Which.
        node: u8,
    },
    /// An update begins, or goes on under a new master (step 360).
    UpdateStarted,
    /// It does not begin.
    UpdateRefused(Refusal),
    /// A set is to reboot (steps 362, 380).
    SetStarted {
        /// The set; nothing for all at once (CD49).
        set: Option<u8>,
        /// Whether by an operator.
        by_operator: bool,
    },
    /// All of it runs the update (steps 374, 390).
    SetUpdated {
        /// The set; nothing for all at once.
        set: Option<u8>,
    },
    /// It ended early; the last set is served what it ran before.
    UpdateAborted(Refusal),
    /// All sets run the update.
    UpdateFinished,
}

impl fmt::Display for MasterEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = |by_operator| if by_operator { "operator" } else { "message" };
        match self {
            MasterEvent::Active { epoch, cause } => {
                write!(
                    f,
                    "distribution-active epoch={epoch} cause={}",
                    cause.as_str()
                )
            }
            MasterEvent::Standby { cause } => {
                write!(f, "distribution-standby cause={}", cause.as_str())
            }
            MasterEvent::WindowOpened { node, wait_ms } => {
                write!(f, "window-opened node={node} wait={wait_ms}ms")
            }
            MasterEvent::WindowClosed {
                requests,
                waited_ms,
            } => write!(f, "window-closed requests={requests} waited={waited_ms}ms"),
            MasterEvent::BroadcastStarted {
                number,
                content,
                edition,
                length,
                node,
            } => {
                let (content, edition) = (content.as_str(), edition.as_str());
                write!(f, "broadcast-started number={number} content={content}")?;
                write!(f, " edition={edition} bytes={length}")?;
                node.map_or(Ok(()), |node| write!(f, " node={node}"))
            }
            MasterEvent::BroadcastFinished { number } => {
                write!(f, "broadcast-finished number={number}")
            }
            MasterEvent::BroadcastStopped { number, cause } => {
                write!(
                    f,
                    "broadcast-stopped number={number} cause={}",
                    cause.as_str()
                )
            }
            MasterEvent::ImageMissing { module, edition } => {
                let module = module.map_or("any", Module::as_str);
                write!(
                    f,
                    "image-missing type={module} edition={}",
                    edition.as_str()
                )
            }
            MasterEvent::ImageRefused { content, cause } => {
                let (content, cause) = (content.as_str(), cause.as_str());
                write!(f, "image-refused content={content} cause={cause}")
            }
            MasterEvent::NodeOperational { node, version } => {
                write!(f, "node-operational node={node} version={version}")
            }
            MasterEvent::NodeFailed { node } => write!(f, "node-failed node={node}"),
            MasterEvent::UpdateStarted => f.write_str("update-started"),
            MasterEvent::UpdateRefused(refusal) => write!(f, "update-refused {refusal}"),
            MasterEvent::SetStarted { set, by_operator } => match set {
                Some(set) => write!(f, "set-started set={set} by={}", by(*by_operator)),
                None => write!(f, "set-started set=all by={}", by(*by_operator)),
            },
            MasterEvent::SetUpdated { set } => match set {
                Some(set) => write!(f, "set-updated set={set}"),
                None => f.write_str("set-updated set=all"),
            },
            MasterEvent::UpdateAborted(refusal) => write!(f, "update-aborted {refusal}"),
            MasterEvent::UpdateFinished => f.write_str("update-finished"),
        }
    }
}
