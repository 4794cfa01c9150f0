use serde::{Deserialize, Serialize};

use super::{ETHERNET_HEADER_BYTES, Loss, MAX_FRAME_BYTES, MTU, Mac, Segment, Sent};
use crate::event::DeviceEvent;
use crate::time::Nanos;
use crate::virtio::{Chain, DeviceIo, F_VERSION_1, VirtioDevice};

/// Network card (virtio 1.4 §5.1).
pub const DEVICE_ID: u32 = 1;

/// Feature bits (virtio 1.4 §5.1.3).
const F_MTU: u64 = 1 << 3;
const F_MAC: u64 = 1 << 5;
const F_STATUS: u64 = 1 << 16;

/// Bit of the `status` field (virtio 1.4 §5.1.4).
const STATUS_LINK_UP: u16 = 1;

/// Packet header with `num_buffers` (virtio 1.4 §5.1.6).
const HEADER_BYTES: usize = 12;

const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;
const QUEUE_SIZE: u16 = 64;

/// The virtio side of one port of a segment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortVirtio {
    port: usize,
    address: Mac,
    /// A receive buffer that was too small for a frame: it waits for one that fits.
    spare: Option<Chain>,
    /// A frame waits and the driver posted no buffer: nothing to do until it does.
    starved: bool,
    /// The light, and the overruns, as last told.
    light: bool,
    overrun: u64,
}

impl PortVirtio {
    /// The card at port `port` of a segment, with the address `address`.
    pub fn new(port: usize, address: Mac) -> PortVirtio {
        PortVirtio {
            port,
            address,
            spare: None,
            starved: false,
            light: false,
            overrun: 0,
        }
    }

    /// Which port of the segment it is.
    pub fn port(&self) -> usize {
        self.port
    }
}

impl VirtioDevice for PortVirtio {
    type Core<'a> = &'a mut Segment;

    fn device_id(&self) -> u32 {
        DEVICE_ID
    }

    fn features(&self, _core: &&mut Segment) -> u64 {
        F_VERSION_1 | F_MAC | F_STATUS | F_MTU
    }

    fn queue_sizes(&self) -> &'static [u16] {
        &[QUEUE_SIZE, QUEUE_SIZE]
    }

    fn receive_queue(&self) -> Option<usize> {
        Some(RECEIVE)
    }

    /// `mac`, `status`, `max_virtqueue_pairs` (of no meaning here), `mtu` (virtio 1.4 §5.1.4).
    fn config(&self, core: &&mut Segment) -> Vec<u8> {
        let status = if core.link_up(self.port) {
            STATUS_LINK_UP
        } else {
            0
        };
        let mut config = self.address.to_vec();
        for field in [status, 1, MTU] {
            config.extend(field.to_le_bytes());
        }
        config
    }

    fn reset(&mut self, core: &mut &mut Segment) {
        self.spare = None;
        self.starved = false;
        self.light = core.link_up(self.port);
    }

    fn service(&mut self, core: &mut &mut Segment, io: &mut DeviceIo<'_>) {
        let light = core.link_up(self.port);
        if light != self.light {
            self.light = light;
            io.config_changed = true;
        }
        for _ in 0..QUEUE_SIZE {
            let Some(chain) = io.take(TRANSMIT) else {
                break;
            };
            self.transmit(core, io, &chain);
        }
        self.receive(core, io);
        let overrun = core.counters(self.port).overrun;
        if overrun > self.overrun {
            let lost = overrun - self.overrun;
            notice(
                io,
                format!("frames-overran port={} count={lost}", self.port),
            );
            self.overrun = overrun;
        }
    }

    fn deadline(&self, core: &&mut Segment) -> Option<Nanos> {
        if self.starved {
            return None;
        }
        core.next_arrival(self.port)
    }

    fn in_flight(&self, queue: usize) -> usize {
        usize::from(queue == RECEIVE && self.spare.is_some())
    }
}

impl PortVirtio {
    fn transmit(&self, core: &mut Segment, io: &mut DeviceIo<'_>, chain: &Chain) {
        match packet(io, chain) {
            Ok(frame) => {
                if let Sent::Lost(loss) = core.send(io.now, self.port, &frame) {
                    let cause = match loss {
                        Loss::Malformed => "malformed",
                        Loss::NoLink => "no-link",
                        Loss::Dropped => "dropped",
                        Loss::Partition => "partition",
                    };
                    notice(io, format!("frame-lost port={} cause={cause}", self.port));
                }
            }
            Err(what) => io.fault(TRANSMIT, what),
        }
        io.finish(TRANSMIT, chain, 0);
    }

    fn receive(&mut self, core: &mut Segment, io: &mut DeviceIo<'_>) {
        self.starved = false;
        while let Some(frame) = core.arrived(io.now, self.port) {
            if self.hears(frame) {
                let spare = self.spare.take_if(|_| io.runs(RECEIVE));
                let Some(chain) = spare.or_else(|| io.take(RECEIVE)) else {
                    self.starved = true;
                    return;
                };
                self.deliver(io, chain, frame);
            }
            core.receive(io.now, self.port);
        }
    }

    /// A card hears its own address and group addresses.
    fn hears(&self, frame: &[u8]) -> bool {
        let group = frame.first().is_some_and(|first| first & 1 != 0);
        group || frame.starts_with(&self.address)
    }

    fn deliver(&mut self, io: &mut DeviceIo<'_>, chain: Chain, frame: &[u8]) {
        let length = HEADER_BYTES + frame.len();
        if chain.writable_len() < length as u64 {
            let (port, bytes) = (self.port, frame.len());
            notice(
                io,
                format!("frame-lost port={port} cause=buffer-too-small bytes={bytes}"),
            );
            self.spare = Some(chain);
            return;
        }
        // No offload; without VIRTIO_NET_F_MRG_RXBUF `num_buffers` is 1 (virtio 1.4 §5.1.6.4.1).
        let mut packet = vec![0; HEADER_BYTES];
        packet[HEADER_BYTES - 2] = 1;
        packet.extend(frame);
        let written = chain.write(io.memory, 0, &packet);
        io.finish(RECEIVE, &chain, u32::try_from(written).unwrap_or(0));
    }
}

/// The frame in a transmit buffer, if it is one.
fn packet(io: &DeviceIo<'_>, chain: &Chain) -> Result<Vec<u8>, &'static str> {
    let mut header = [0; HEADER_BYTES];
    if chain.read(io.memory, 0, &mut header) < HEADER_BYTES {
        return Err("a packet without its header of 12 bytes");
    }
    let [flags, segmentation, ..] = header;
    if flags != 0 || segmentation != 0 {
        return Err("a packet that asks for an offload that was not offered");
    }
    let frame = chain.read_vec(io.memory, HEADER_BYTES as u64, MAX_FRAME_BYTES + 1);
    if frame.len() > MAX_FRAME_BYTES {
        return Err("a frame longer than the MTU allows");
    }
    if frame.len() < ETHERNET_HEADER_BYTES {
        return Err("a frame shorter than its header of 14 bytes");
    }
    Ok(frame)
}

fn notice(io: &mut DeviceIo<'_>, text: String) {
    io.events.push(DeviceEvent::Notice(text));
}
