//! Two hostile guests and a host on one segment, whose cables, lights and frames come and go.
#![no_main]

use arbitrary::{Arbitrary, Result, Unstructured};
use arraybench_devices_fuzz::{Machine, Poked, Request, Script, drive};
use devices::event::DeviceEvent;
use devices::network::{MAX_FRAME_BYTES, Mac, PortSettings, PortVirtio, Segment};
use devices::time::Nanos;
use libfuzzer_sys::fuzz_target;
use serde::{Deserialize, Serialize};

/// The two guests, the host, and an address nobody has.
const ADDRESSES: [Mac; 5] = [
    [2, 0, 0, 0, 0, 0],
    [2, 0, 0, 0, 0, 1],
    [2, 0, 0, 0, 0, 2],
    [2, 0, 0, 0, 0, 3],
    [0xff; 6],
];
const HOST: usize = 2;

/// A packet to send, or room for one to receive: which it is the queue decides.
#[derive(Debug)]
struct Packet {
    bytes: Vec<u8>,
    room: u32,
}

impl Request for Packet {
    fn readable(&self) -> Vec<u8> {
        self.bytes.clone()
    }

    fn room(&self) -> u32 {
        self.room
    }
}

impl<'a> Arbitrary<'a> for Packet {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Packet> {
        let mut bytes = vec![0; 12];
        bytes.extend(frame(u)?);
        if u.ratio(1, 16)? {
            let at = u.choose_index(bytes.len())?;
            bytes[at] = u.arbitrary()?;
        }
        if u.ratio(1, 16)? {
            bytes.truncate(u.int_in_range(0..=30)?);
        }
        let room = *u.choose(&[0, 26, 72, 1526, 9026, 9026, 9100])?;
        Ok(Packet { bytes, room })
    }
}

fn frame(u: &mut Unstructured<'_>) -> Result<Vec<u8>> {
    let (to, from) = (u.choose(&ADDRESSES)?, u.choose(&ADDRESSES)?);
    let payload = *u.choose(&[2, 46, 60, 1502, MAX_FRAME_BYTES - 12, MAX_FRAME_BYTES - 11])?;
    let mut frame = [*to, *from].concat();
    frame.resize(12 + payload, u.arbitrary()?);
    if u.ratio(1, 16)? {
        // Made-up senders.
        frame[6..12].copy_from_slice(&u.arbitrary::<Mac>()?);
    }
    Ok(frame)
}

#[derive(Debug)]
struct HostFrame(Vec<u8>);

impl<'a> Arbitrary<'a> for HostFrame {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<HostFrame> {
        frame(u).map(HostFrame)
    }
}

#[derive(Debug, Arbitrary)]
enum Poke {
    Send(HostFrame),
    Flood(HostFrame),
    Receive,
    Cable { port: u8, plugged: bool },
    Power { port: u8, powered: bool },
    Partition { a: u8, b: u8, cut: bool },
    Drop { port: u8, nth: u8 },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Net {
    ports: [PortVirtio; 2],
    segment: Segment,
}

impl Machine for Net {
    type Device = PortVirtio;
    type Request = Packet;
    type Poke = Poke;
    const DEVICES: usize = 2;
    // Three full queues of the longest frames.
    const MOST_BYTES: usize = 3 * 256 * (MAX_FRAME_BYTES + 16) + (64 << 10);

    fn device(&mut self, index: usize) -> (&mut PortVirtio, &mut Segment) {
        (&mut self.ports[index], &mut self.segment)
    }

    /// Buffers that wait for a frame.
    fn may_keep(queue: usize) -> bool {
        queue == 0
    }

    fn poke(&mut self, poke: &Poke, now: Nanos, _events: &mut Vec<DeviceEvent>) -> Poked {
        let segment = &mut self.segment;
        match poke {
            Poke::Send(HostFrame(frame)) => {
                segment.send(now, HOST, frame);
            }
            Poke::Flood(HostFrame(frame)) => {
                for _ in 0..300 {
                    segment.send(now, HOST, frame);
                }
            }
            Poke::Receive => while segment.receive(now, HOST).is_some() {},
            Poke::Cable { port, plugged } => segment.set_cable(usize::from(port % 4), *plugged),
            Poke::Power { port, powered } => segment.set_powered(usize::from(port % 4), *powered),
            Poke::Partition { a, b, cut } => {
                segment.set_partition(usize::from(a % 3), usize::from(b % 3), *cut);
            }
            Poke::Drop { port, nth } => {
                segment.drop_frame(usize::from(port % 4), u64::from(*nth % 4));
            }
        }
        Poked::Running
    }
}

fuzz_target!(|script: Script<Packet, Poke>| {
    let mut segment = Segment::new(3, PortSettings::default());
    for port in 0..3 {
        segment.set_powered(port, true);
    }
    let ports = [0, 1].map(|port| PortVirtio::new(port, ADDRESSES[port]));
    drive(&script, &Net { ports, segment });
});
