//! Messages to frames and back. Total: any bytes are read, or say nothing.

use crate::epoch::Epoch;
use crate::frame::{CLASSIC_MAX, Class, FLEXIBLE_MAX, Frame};
use crate::message::{
    Command, DATA_HEADER, Data, End, FRAGMENTS, Heartbeat, MasterState, Message, NUMBERS,
    NodeState, Order, Reason, Request, Start, Status, UpdateState,
};
use crate::module::{Audience, Content, Identity, Module, Scope, VersionTag};

const END: u16 = 0xfff;
const TO_NODE: u8 = 0x80;
const FLAG_RUNNING: u8 = 1;
const FLAG_BY_OPERATOR: u8 = 2;
const FLAG_AT_ONCE: u8 = 4;

// Apart from the others: they are all that a boot ROM ever says, and it has no room for the rest.
impl Request {
    /// The frame that says it.
    pub(crate) fn encode(&self) -> Frame {
        Frame::new(Class::Request, self.node)
            .with(&[self.module.map_or(0, |module| module as u8), self.set])
            .with(&[self.reason as u8, self.boots, self.attempt])
    }
}

impl Status {
    /// The frame that says it.
    pub(crate) fn encode(&self) -> Frame {
        let Identity {
            node,
            module,
            set,
            boots,
        } = self.identity;
        Frame::new(Class::Status, node)
            .with(&[self.state as u8, module as u8, set, boots])
            .with(&self.version.to_bytes())
    }
}

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
                Frame::new(Class::Data, it.node)
                    .with(&data_header(it.number, it.fragment % FRAGMENTS))
                    .with(bytes)
                    .padded()
            }
            Message::End(it) => Frame::new(Class::Data, it.node)
                .with(&data_header(it.number, END))
                .with(&it.epoch.0.to_le_bytes())
                .with(&it.crc.to_le_bytes()),
            Message::Request(it) => it.encode(),
            Message::Status(it) => it.encode(),
        }
    }

    /// What a received frame says; nothing when it says nothing known. Bytes after those of the layout are
    /// for versions to come.
    pub fn decode(identifier: u16, payload: &[u8]) -> Option<Message<'_>> {
        let [class, node] = identifier.to_be_bytes();
        if class == Class::Data as u8 {
            return Broadcast::decode(node, payload).map(|broadcast| match broadcast {
                Broadcast::Data(data) => Message::Data(data),
                Broadcast::End(end) => Message::End(end),
            });
        }
        let (length, [a, b, c, d, e, f, g, h]) = (payload.len(), whole(payload));
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
            2 => Message::Command(Command::decode(node, payload)?),
            3 => Message::Start(Start::decode(node, payload)?),
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

/// What a short message lacks is zero here, and looked at nowhere: lengths are checked as well.
fn whole(payload: &[u8]) -> [u8; CLASSIC_MAX] {
    let mut bytes = [0; CLASSIC_MAX];
    for (place, byte) in bytes.iter_mut().zip(payload) {
        *place = *byte;
    }
    bytes
}

// Apart from the others: they are all that a boot ROM listens to.
impl Command {
    /// What a frame of its class, sent by `node`, says.
    pub(crate) fn decode(node: u8, payload: &[u8]) -> Option<Command> {
        let &[order, scope, which, by, e0, e1, ..] = payload else {
            return None;
        };
        Some(Command {
            node,
            order: match order {
                1 => Order::Reboot,
                2 => Order::Report,
                _ => return None,
            },
            scope: match scope {
                0 => Scope::All,
                1 => Scope::Set(which),
                2 => Scope::Node(which),
                3 => Scope::Only(Module::from_number(which)?),
                _ => return None,
            },
            epoch: match by {
                0 => None,
                1 => Some(Epoch(u16::from_le_bytes([e0, e1]))),
                _ => return None,
            },
        })
    }
}

impl Start {
    /// What a frame of its class, sent by `node`, says.
    pub(crate) fn decode(node: u8, payload: &[u8]) -> Option<Start> {
        let &[content, number, first, last, e0, e1, b0, b1, ..] = payload else {
            return None;
        };
        Some(Start {
            node,
            number: (number < NUMBERS).then_some(number)?,
            content: Content::from_number(content & !TO_NODE)?,
            audience: if content & TO_NODE == 0 {
                Audience::Sets { first, last }
            } else {
                Audience::Node(first)
            },
            epoch: Epoch(u16::from_le_bytes([e0, e1])),
            blocks: u16::from_le_bytes([b0, b1]),
        })
    }
}

/// What is sent with the identifier of data.
pub(crate) enum Broadcast<'a> {
    Data(Data<'a>),
    End(End),
}

impl Broadcast<'_> {
    /// What a frame of its class, sent by `node`, says.
    pub(crate) fn decode(node: u8, payload: &[u8]) -> Option<Broadcast<'_>> {
        let (&[h0, h1], bytes) = payload.split_first_chunk()?;
        let header = u16::from_le_bytes([h0, h1]);
        let (number, fragment) = (h1 >> 4, header & END);
        if fragment != END {
            return (!bytes.is_empty()).then_some(Broadcast::Data(Data {
                node,
                number,
                fragment,
                bytes,
            }));
        }
        let &[e0, e1, c0, c1, c2, c3, ..] = bytes else {
            return None;
        };
        Some(Broadcast::End(End {
            node,
            number,
            epoch: Epoch(u16::from_le_bytes([e0, e1])),
            crc: u32::from_le_bytes([c0, c1, c2, c3]),
        }))
    }
}

fn data_header(number: u8, fragment: u16) -> [u8; DATA_HEADER] {
    (u16::from(number % NUMBERS) << 12 | fragment).to_le_bytes()
}
