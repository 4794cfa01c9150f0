//! What travels on the bus.
//!
//! Standard identifiers: the class in bits 10 to 8, the sender's node number in bits 7 to 0. So no two
//! nodes ever send one identifier (ISO 11898-1: they would both go on after arbitration and
//! destroy each other's data), and the lower class wins the bus:
//!
//! | class | what | layout, little-endian |
//! |---|---|---|
//! | 0 | mastership | state u8 (1 standby, 2 active, 3 leaving), slot u8, epoch u16, flags u8, first set not served the update u8 |
//! | 2 | command | kind u8 (1 reboot, 2 report), scope u8 (0 all, 1 set, 2 node, 3 type), which u8, by u8 (0 operator, 1 master), epoch u16 |
//! | 3 | start | audience u8 (bit 7: node) and content, number u8, first set or node u8, last set u8, epoch u16, length u16 in blocks of 64 bytes |
//! | 4 | data | fragment modulo 4095 and number u16, up to 62 bytes |
//! | 4 | end | 0xfff and number u16, epoch u16, CRC-32 of the whole u32 |
//! | 5 | request | type u8 (0: generic), set u8, reason u8, boots u8, attempt u8 |
//! | 6 | status | state u8 (1 minimal, 2 operational, 3 failed), type u8, set u8, boots u8, version (4 bytes) |
//!
//! Everything but data fits a classic frame. Data and end share one identifier, so that no controller
//! that sends the more urgent of two waiting frames first can change their order. A start
//! has a more urgent one: nodes need to wake up only for classes 2 and 3 while they wait, for 2 once
//! their image runs (CD38), and the gap that follows a start lets them open the door for 4.

use crate::epoch::Epoch;
use crate::module::{Audience, Content, Identity, Module, Scope, VersionTag};

/// Bytes of a frame of the longer format.
pub const FLEXIBLE_MAX: usize = 64;
/// Bytes of a classic frame.
pub const CLASSIC_MAX: usize = 8;
/// Bytes before those of a fragment.
pub const DATA_HEADER: usize = 2;
/// Broadcasts have a length in such blocks.
pub const BLOCK: u32 = 64;
/// Fragments are counted modulo this.
pub const FRAGMENTS: u16 = 4095;
/// Broadcasts are counted modulo this.
pub const NUMBERS: u8 = 16;

const END: u16 = 0xfff;
const TO_NODE: u8 = 0x80;

/// Bits 10 to 8 of an identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Class {
    /// Heartbeats of masters.
    Mastership = 0,
    /// Orders to nodes.
    Command = 2,
    /// Starts of broadcasts.
    Start = 3,
    /// Fragments and ends of broadcasts.
    Data = 4,
    /// Requests of nodes for an image.
    Request = 5,
    /// What nodes say of themselves.
    Status = 6,
}

impl Class {
    /// The identifier of this class that `node` sends with.
    pub fn identifier(self, node: u8) -> u16 {
        u16::from_be_bytes([self as u8, node])
    }
}

/// Classes that a program wants to be woken for. The others need not be handed to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Classes(u8);

impl Classes {
    pub(crate) const fn of(classes: &[Class]) -> Classes {
        let mut bits = 0;
        let mut rest = classes;
        while let [class, others @ ..] = rest {
            bits |= 1 << (*class as u8);
            rest = others;
        }
        Classes(bits)
    }

    /// Whether frames with this identifier are among them.
    pub fn contains(self, identifier: u16) -> bool {
        let [class, _] = identifier.to_be_bytes();
        class < 8 && self.0 & (1 << class) != 0
    }

    /// A bit for each class.
    pub fn bits(self) -> u8 {
        self.0
    }
}

/// A data frame with a standard identifier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    identifier: u16,
    length: u8,
    bytes: [u8; FLEXIBLE_MAX],
}

impl Frame {
    fn new(class: Class, node: u8) -> Frame {
        Frame {
            identifier: class.identifier(node),
            length: 0,
            bytes: [0; FLEXIBLE_MAX],
        }
    }

    fn with(mut self, bytes: &[u8]) -> Frame {
        let begin = usize::from(self.length);
        // More than fits is never asked for: fragments are cut to size before.
        if let Some(place) = self.bytes.get_mut(begin..begin + bytes.len()) {
            place.copy_from_slice(bytes);
            self.length = self
                .length
                .saturating_add(u8::try_from(bytes.len()).unwrap_or(0));
        }
        self
    }

    /// Its 11 bits.
    pub fn identifier(&self) -> u16 {
        self.identifier
    }

    /// Its data.
    pub fn payload(&self) -> &[u8] {
        self.bytes
            .get(..usize::from(self.length))
            .unwrap_or_default()
    }

    /// Whether it must be sent in the longer format (CAN FD).
    pub fn is_flexible(&self) -> bool {
        usize::from(self.length) > CLASSIC_MAX
    }
}

/// What a master is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum MasterState {
    /// Ready to take over.
    Standby = 1,
    /// Broadcasts.
    Active = 2,
    /// Gives it up now.
    Leaving = 3,
}

/// How far an update has come: a master that takes over goes on with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UpdateState {
    /// On its way.
    pub running: bool,
    /// Sets are rebooted by an operator.
    pub by_operator: bool,
    /// All sets at once (CD49).
    pub at_once: bool,
    /// The first set that is not served the update (K3).
    pub turn: u8,
}

/// A sign of life of a master.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// The sender.
    pub node: u8,
    /// Its slot at the midplane.
    pub slot: u8,
    /// What it is.
    pub state: MasterState,
    /// The newest it knows.
    pub epoch: Epoch,
    /// The update, as the active master has it.
    pub update: UpdateState,
}

/// What a command asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Order {
    /// Run the boot program (CD7 (c), CD52).
    Reboot = 1,
    /// Say what you are.
    Report = 2,
}

/// A command to nodes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command {
    /// The sender.
    pub node: u8,
    /// What is asked for.
    pub order: Order,
    /// Of whom.
    pub scope: Scope,
    /// The epoch of the master that commands; nothing for an operator's command (CD52).
    pub epoch: Option<Epoch>,
}

/// A broadcast begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Start {
    /// The sender.
    pub node: u8,
    /// Of the broadcast, modulo [`NUMBERS`].
    pub number: u8,
    /// What it holds.
    pub content: Content,
    /// Who may take it.
    pub audience: Audience,
    /// Of the sender's mastership.
    pub epoch: Epoch,
    /// Its length in blocks of [`BLOCK`] bytes.
    pub blocks: u16,
}

/// A fragment of a broadcast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data<'a> {
    /// The sender.
    pub node: u8,
    /// Of the broadcast.
    pub number: u8,
    /// Which, modulo [`FRAGMENTS`].
    pub fragment: u16,
    /// The bytes; the last fragment may be padded to a length that frames can have.
    pub bytes: &'a [u8],
}

/// A broadcast is complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The sender.
    pub node: u8,
    /// Of the broadcast.
    pub number: u8,
    /// As in its start.
    pub epoch: Epoch,
    /// CRC-32 of all of it.
    pub crc: u32,
}

/// Why a node asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Reason {
    /// It booted (step 311).
    Booted = 1,
    /// It asked and nothing came (CD48).
    Unanswered = 2,
    /// What came was not for it (step 346, K18).
    OtherType = 3,
    /// What came was damaged or ended early (CD47).
    Damaged = 4,
}

impl Reason {
    /// The word used in traces: `reason=…`.
    pub fn as_str(self) -> &'static str {
        match self {
            Reason::Booted => "booted",
            Reason::Unanswered => "unanswered",
            Reason::OtherType => "other-type",
            Reason::Damaged => "damaged",
        }
    }
}

/// A node asks for its image (steps 311, 320, 322).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Request {
    /// The sender.
    pub node: u8,
    /// The encoded number for its type (CD17); nothing in a generic request.
    pub module: Option<Module>,
    /// Its set.
    pub set: u8,
    /// Why.
    pub reason: Reason,
    /// Boots since it was powered, modulo 256.
    pub boots: u8,
    /// Counts its requests since it booted, up to 255.
    pub attempt: u8,
}

/// How far a node has come (CD12).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum NodeState {
    /// Its boot program runs.
    Minimal = 1,
    /// Its image runs.
    Operational = 2,
    /// Its self-test failed.
    Failed = 3,
}

/// What a node says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Who it is; its node number is the sender's.
    pub identity: Identity,
    /// How far it has come.
    pub state: NodeState,
    /// What it runs: all zero unless operational.
    pub version: VersionTag,
}

/// Anything that travels on the bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A sign of life of a master.
    Heartbeat(Heartbeat),
    /// A command to nodes.
    Command(Command),
    /// A broadcast begins.
    Start(Start),
    /// A fragment of it.
    Data(Data<'a>),
    /// It is complete.
    End(End),
    /// A node asks for its image.
    Request(Request),
    /// What a node says of itself.
    Status(Status),
}

const FLAG_RUNNING: u8 = 1;
const FLAG_BY_OPERATOR: u8 = 2;
const FLAG_AT_ONCE: u8 = 4;

impl Message<'_> {
    /// The frame that says it.
    pub fn encode(&self) -> Frame {
        match self {
            Message::Heartbeat(it) => {
                let flag = |is, flag| if is { flag } else { 0 };
                let flags = flag(it.update.running, FLAG_RUNNING)
                    | flag(it.update.by_operator, FLAG_BY_OPERATOR)
                    | flag(it.update.at_once, FLAG_AT_ONCE);
                Frame::new(Class::Mastership, it.node)
                    .with(&[it.state as u8, it.slot])
                    .with(&it.epoch.0.to_le_bytes())
                    .with(&[flags, it.update.turn])
            }
            Message::Command(it) => {
                let (scope, which) = match it.scope {
                    Scope::All => (0, 0),
                    Scope::Set(set) => (1, set),
                    Scope::Node(node) => (2, node),
                    Scope::Only(module) => (3, module as u8),
                };
                Frame::new(Class::Command, it.node)
                    .with(&[it.order as u8, scope, which, u8::from(it.epoch.is_some())])
                    .with(&it.epoch.unwrap_or_default().0.to_le_bytes())
            }
            Message::Start(it) => {
                let (to, first, last) = match it.audience {
                    Audience::Sets { first, last } => (0, first, last),
                    Audience::Node(node) => (TO_NODE, node, 0),
                };
                Frame::new(Class::Start, it.node)
                    .with(&[to | it.content.number(), it.number % NUMBERS, first, last])
                    .with(&it.epoch.0.to_le_bytes())
                    .with(&it.blocks.to_le_bytes())
            }
            Message::Data(it) => {
                let room = FLEXIBLE_MAX - DATA_HEADER;
                let bytes = it.bytes.get(..room.min(it.bytes.len())).unwrap_or_default();
                let frame = Frame::new(Class::Data, it.node)
                    .with(&data_header(it.number, it.fragment % FRAGMENTS))
                    .with(bytes);
                let padding = padded(usize::from(frame.length)) - usize::from(frame.length);
                frame.with([0; FLEXIBLE_MAX].get(..padding).unwrap_or_default())
            }
            Message::End(it) => Frame::new(Class::Data, it.node)
                .with(&data_header(it.number, END))
                .with(&it.epoch.0.to_le_bytes())
                .with(&it.crc.to_le_bytes()),
            Message::Request(it) => Frame::new(Class::Request, it.node)
                .with(&[it.module.map_or(0, |module| module as u8), it.set])
                .with(&[it.reason as u8, it.boots, it.attempt]),
            Message::Status(it) => Frame::new(Class::Status, it.identity.node)
                .with(&[it.state as u8, it.identity.module as u8])
                .with(&[it.identity.set, it.identity.boots])
                .with(&it.version.to_bytes()),
        }
    }

    /// What a received frame says; nothing when it says nothing known. Bytes after those of the layout are
    /// for versions to come.
    pub fn decode(identifier: u16, payload: &[u8]) -> Option<Message<'_>> {
        let [class, node] = identifier.to_be_bytes();
        if class == Class::Data as u8 {
            return decode_data(node, payload);
        }
        // Short messages end in what is as good as zeros nowhere: lengths are checked before.
        let (length, mut bytes) = (payload.len(), [0; CLASSIC_MAX]);
        for (place, byte) in bytes.iter_mut().zip(payload) {
            *place = *byte;
        }
        let [a, b, c, d, e, f, g, h] = bytes;
        let message = match class {
            0 if length >= 6 => Message::Heartbeat(Heartbeat {
                node,
                slot: b,
                state: match a {
                    1 => MasterState::Standby,
                    2 => MasterState::Active,
                    3 => MasterState::Leaving,
                    _ => return None,
                },
                epoch: Epoch(u16::from_le_bytes([c, d])),
                update: UpdateState {
                    running: e & FLAG_RUNNING != 0,
                    by_operator: e & FLAG_BY_OPERATOR != 0,
                    at_once: e & FLAG_AT_ONCE != 0,
                    turn: f,
                },
            }),
            2 if length >= 6 => Message::Command(Command {
                node,
                order: match a {
                    1 => Order::Reboot,
                    2 => Order::Report,
                    _ => return None,
                },
                scope: match b {
                    0 => Scope::All,
                    1 => Scope::Set(c),
                    2 => Scope::Node(c),
                    3 => Scope::Only(Module::from_number(c)?),
                    _ => return None,
                },
                epoch: match d {
                    0 => None,
                    1 => Some(Epoch(u16::from_le_bytes([e, f]))),
                    _ => return None,
                },
            }),
            3 if length >= 8 => Message::Start(Start {
                node,
                number: (b < NUMBERS).then_some(b)?,
                content: Content::from_number(a & !TO_NODE)?,
                audience: if a & TO_NODE == 0 {
                    Audience::Sets { first: c, last: d }
                } else {
                    Audience::Node(c)
                },
                epoch: Epoch(u16::from_le_bytes([e, f])),
                blocks: u16::from_le_bytes([g, h]),
            }),
            5 if length >= 5 => Message::Request(Request {
                node,
                module: match a {
                    0 => None,
                    number => Some(Module::from_number(number)?),
                },
                set: b,
                reason: match c {
                    1 => Reason::Booted,
                    2 => Reason::Unanswered,
                    3 => Reason::OtherType,
                    4 => Reason::Damaged,
                    _ => return None,
                },
                boots: d,
                attempt: e,
            }),
            6 if length >= 8 => Message::Status(Status {
                identity: Identity {
                    node,
                    module: Module::from_number(b)?,
                    set: c,
                    boots: d,
                },
                state: match a {
                    1 => NodeState::Minimal,
                    2 => NodeState::Operational,
                    3 => NodeState::Failed,
                    _ => return None,
                },
                version: VersionTag::from_bytes([e, f, g, h]),
            }),
            _ => return None,
        };
        Some(message)
    }
}

fn decode_data(node: u8, payload: &[u8]) -> Option<Message<'_>> {
    let (header, bytes) = payload.split_first_chunk()?;
    let header = u16::from_le_bytes(*header);
    let [number, _] = (header >> 12).to_le_bytes();
    if header & END != END {
        let fragment = header & END;
        return (!bytes.is_empty()).then_some(Message::Data(Data {
            node,
            number,
            fragment,
            bytes,
        }));
    }
    let (epoch, bytes) = bytes.split_first_chunk()?;
    Some(Message::End(End {
        node,
        number,
        epoch: Epoch(u16::from_le_bytes(*epoch)),
        crc: u32::from_le_bytes(*bytes.first_chunk()?),
    }))
}

fn data_header(number: u8, fragment: u16) -> [u8; DATA_HEADER] {
    (u16::from(number % NUMBERS) << 12 | fragment).to_le_bytes()
}

/// The next length that a frame can have (ISO 11898-1, table of DLC).
fn padded(length: usize) -> usize {
    let longer = [12, 16, 20, 24, 32, 48].into_iter();
    match length {
        0..=CLASSIC_MAX => length,
        _ => longer.fold(FLEXIBLE_MAX, |least, it| {
            if it >= length { least.min(it) } else { least }
        }),
    }
}

#[cfg(test)]
#[path = "message_tests.rs"]
mod tests;
