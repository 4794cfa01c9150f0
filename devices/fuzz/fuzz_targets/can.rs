//! Two hostile guests and a node of the harness on a CAN bus of two segments, where everything goes wrong.
#![no_main]

use arbitrary::{Arbitrary, Result, Unstructured};
use arraybench_devices_fuzz::{Machine, Poked, Request, Script, drive};
use devices::can::{
    BitRates, CanBus, CanVirtio, Effect, Fault, FaultId, Frame, Identifier, NodeId, Place, Topology,
};
use devices::event::DeviceEvent;
use devices::time::Nanos;
use devices::virtio::F_VERSION_1;
use libfuzzer_sys::fuzz_target;
use serde::{Deserialize, Serialize};

/// The node that has no guest.
const HARNESS: NodeId = 2;

/// A frame to send, room for one, or a control message: which it is the queue decides.
#[derive(Debug)]
struct Message {
    bytes: Vec<u8>,
    room: u32,
}

impl Request for Message {
    fn readable(&self) -> Vec<u8> {
        self.bytes.clone()
    }

    fn room(&self) -> u32 {
        self.room
    }
}

impl<'a> Arbitrary<'a> for Message {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Message> {
        // START and STOP are control messages, and no transmit message.
        let kind: u16 = *u.choose(&[1, 1, 1, 0x201, 0x201, 0x202, 7])?;
        let length = *u.choose(&[0_u16, 1, 8, 9, 12, 64, 65])?;
        let flags: u32 = *u.choose(&[0, 0, 0x2000, 0x4000, 0x8000, 0xc000, 0x6000, 1])?;
        let id: u32 = *u.choose(&[0, 1, 0x7ff, 0x800, 0x1fff_ffff, 1 << 29])?;
        let mut bytes = kind.to_le_bytes().to_vec();
        bytes.extend(length.to_le_bytes());
        bytes.extend([0; 4]);
        bytes.extend(flags.to_le_bytes());
        bytes.extend(id.to_le_bytes());
        bytes.resize(bytes.len() + usize::from(length), u.arbitrary()?);
        if u.ratio(1, 16)? {
            let at = u.choose_index(bytes.len())?;
            bytes[at] = u.arbitrary()?;
        }
        if u.ratio(1, 16)? {
            bytes.truncate(u.int_in_range(0..=20)?);
        }
        let room = *u.choose(&[1, 1, 80, 80, 24, 16, 0])?;
        Ok(Message { bytes, room })
    }
}

#[derive(Debug, Arbitrary)]
enum Poke {
    Send { id: u16, length: u8, fd: bool },
    Receive,
    Start { node: u8 },
    Stop { node: u8 },
    Power { node: u8, powered: bool },
    Connect { node: u8, connected: bool },
    Cable { plugged: bool },
    Frame { nth: u8, effect: u8, at: Option<u8> },
    Lasting { kind: u8, at: u8 },
    Clear { fault: u8 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Bus {
    controllers: [CanVirtio; 2],
    bus: CanBus,
}

impl Machine for Bus {
    type Device = CanVirtio;
    type Request = Message;
    type Poke = Poke;
    const DEVICES: usize = 2;
    const FEATURES: u64 = F_VERSION_1 | 0b1111;
    // Three full queues in each direction, two logs, requests in flight, and events that nobody takes.
    const MOST_BYTES: usize = 4 << 20;

    fn device(&mut self, index: usize) -> (&mut CanVirtio, &mut CanBus) {
        (&mut self.controllers[index], &mut self.bus)
    }

    fn advance(&mut self, now: Nanos, events: &mut Vec<DeviceEvent>) {
        self.bus.advance(now);
        events.extend(self.bus.take_events().into_iter().map(DeviceEvent::from));
    }

    /// Frames on a bus that is stuck or not there, and buffers that wait for a frame.
    fn may_keep(queue: usize) -> bool {
        queue < 2
    }

    fn poke(&mut self, poke: &Poke, now: Nanos, _events: &mut Vec<DeviceEvent>) -> Poked {
        let bus = &mut self.bus;
        let node = |it: u8| NodeId::from(it % 4);
        match *poke {
            Poke::Send { id, length, fd } => {
                let (id, data) = (Identifier::Standard(id % 0x800), [id as u8; 64]);
                let frame = if fd {
                    Frame::fd_padded(id, length & 1 != 0, &data[..usize::from(length % 65)])
                } else {
                    Frame::data(id, &data[..usize::from(length % 9)])
                };
                if let Ok(frame) = frame {
                    while bus.take_completion(HARNESS).is_some() {}
                    let _full = bus.send(now, HARNESS, frame);
                }
            }
            Poke::Receive => while bus.receive(HARNESS).is_some() {},
            Poke::Start { node: it } => {
                bus.start(now, node(it));
            }
            Poke::Stop { node: it } => bus.stop(now, node(it)),
            Poke::Power { node: it, powered } => bus.set_powered(now, node(it), powered),
            Poke::Connect {
                node: it,
                connected,
            } => bus.set_connected(now, node(it), connected),
            Poke::Cable { plugged } => bus.set_cable(now, 0, plugged),
            Poke::Frame { nth, effect, at } => {
                let (_, effect) = Effect::WORDS[usize::from(effect) % Effect::WORDS.len()];
                let place = at.map_or(Place::Everywhere, |it| Place::At(vec![node(it)]));
                let (from, nth) = (None, u64::from(nth % 4));
                bus.inject(
                    now,
                    Fault::Frame {
                        from,
                        nth,
                        effect,
                        place,
                    },
                );
            }
            Poke::Lasting { kind, at } => {
                let slow = BitRates {
                    nominal: 250_000,
                    data: 250_000,
                };
                let fault = match kind % 4 {
                    0 => Fault::Disconnected(node(at)),
                    1 => Fault::Babbling(node(at)),
                    2 => Fault::Short(u16::from(at % 3)),
                    _ => Fault::BitRate(node(at), slow),
                };
                bus.inject(now, fault);
            }
            Poke::Clear { fault } => bus.clear(now, FaultId(u32::from(fault % 16))),
        }
        Poked::Running
    }
}

fuzz_target!(|script: Script<Message, Poke>| {
    let topology = Topology::new(2).with_cable(0, 1);
    let mut bus = CanBus::new(topology, BitRates::default());
    for segment in [0, 1, 0] {
        let node = bus.add_node(segment).expect("a segment");
        bus.set_powered(Nanos::ZERO, node, true);
    }
    bus.start(Nanos::ZERO, HARNESS);
    let controllers = [0, 1].map(CanVirtio::new);
    drive(&script, &Bus { controllers, bus });
});
