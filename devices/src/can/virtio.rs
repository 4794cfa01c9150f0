use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::bus::CanBus;
use super::frame::{FD_DATA_BYTES, Frame, Identifier, Kind};
use super::node::{NodeId, Outcome, TRANSMIT_QUEUE_FRAMES, Ticket};
use crate::time::Nanos;
use crate::virtio::{Chain, DeviceIo, F_VERSION_1, VirtioDevice};

/// CAN device (virtio 1.4, CAN Device).
pub const DEVICE_ID: u32 = 36;

/// Feature bits (virtio 1.4, CAN Device, Feature bits).
const F_CAN_CLASSIC: u64 = 1 << 0;
const F_CAN_FD: u64 = 1 << 1;
const F_RTR_FRAMES: u64 = 1 << 2;
const F_LATE_TX_ACK: u64 = 1 << 3;

/// Bit of the `status` field: the controller stopped itself, bus-off.
const S_CTRL_BUSOFF: u16 = 1 << 0;

/// Message types.
const TX: u16 = 0x0001;
const RX: u16 = 0x0101;
const SET_CTRL_MODE_START: u16 = 0x0201;
const SET_CTRL_MODE_STOP: u16 = 0x0202;

/// Bits of `flags`.
const FLAGS_RTR: u32 = 0x2000;
const FLAGS_FD: u32 = 0x4000;
const FLAGS_EXTENDED: u32 = 0x8000;

/// Results.
const OK: u8 = 0;
const NOT_OK: u8 = 1;

/// `msg_type`, `length`, `reserved_classic_dlc`, `padding`, `reserved_xl_priority`, `flags`, `can_id`.
const HEADER_BYTES: usize = 16;

const TRANSMIT: usize = 0;
const RECEIVE: usize = 1;
const CONTROL: usize = 2;
/// All of one size: QEMU's general front-end knows one for a device.
const QUEUE_SIZES: [u16; 3] = [64; 3];

/// A frame on the bus' transmit queue whose request is not answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Unanswered {
    ticket: Ticket,
    chain: Chain,
}

/// The virtio side of one node of a bus: a CAN controller.
///
/// A request whose frame finds the node's transmit queue full stays on the ring until there is room.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanVirtio {
    node: NodeId,
    /// With VIRTIO_CAN_F_LATE_TX_ACK: in the order of their tickets.
    unanswered: VecDeque<Unanswered>,
    /// A receive buffer that was too small for a frame: it waits for one that fits.
    spare: Option<Chain>,
    /// A frame waits and the driver posted no buffer: nothing to do until it does.
    starved: bool,
    /// The driver started the controller, and neither stopped it nor was told of bus-off.
    started: bool,
    /// `status` has VIRTIO_CAN_S_CTRL_BUSOFF.
    bus_off: bool,
}

impl CanVirtio {
    /// The controller of node `node` of a bus.
    pub fn new(node: NodeId) -> CanVirtio {
        CanVirtio {
            node,
            unanswered: VecDeque::new(),
            spare: None,
            starved: false,
            started: false,
            bus_off: false,
        }
    }

    /// Which node of the bus it is.
    pub fn node(&self) -> NodeId {
        self.node
    }
}

impl VirtioDevice for CanVirtio {
    type Core<'a> = &'a mut CanBus;

    fn device_id(&self) -> u32 {
        DEVICE_ID
    }

    fn features(&self, core: &&mut CanBus) -> u64 {
        let fd = if core.has_fd() { F_CAN_FD } else { 0 };
        F_VERSION_1 | F_CAN_CLASSIC | fd | F_RTR_FRAMES | F_LATE_TX_ACK
    }

    fn queue_sizes(&self) -> &'static [u16] {
        &QUEUE_SIZES
    }

    fn receive_queue(&self) -> Option<usize> {
        Some(RECEIVE)
    }

    /// `status`.
    fn config(&self, _core: &&mut CanBus) -> Vec<u8> {
        let status = if self.bus_off { S_CTRL_BUSOFF } else { 0 };
        status.to_le_bytes().to_vec()
    }

    /// The controller is as after power-on. A frame it was sending is cut off in the middle. The time is
    /// that of the bus: nothing can be due on it that was not done.
    fn reset(&mut self, core: &mut &mut CanBus) {
        core.reset(core.now(), self.node);
        *self = CanVirtio::new(self.node);
    }

    fn service(&mut self, core: &mut &mut CanBus, io: &mut DeviceIo<'_>) {
        core.advance(io.now);
        self.notice_bus_off(core, io);
        self.answer_completed(core, io);
        self.control(core, io);
        self.transmit(core, io);
        // Requests may have been refused by a controller that was stopped just now.
        self.answer_completed(core, io);
        self.receive(core, io);
    }

    /// While there are requests: whatever the bus does next. Otherwise the end of the frame on the wire.
    fn deadline(&self, core: &&mut CanBus) -> Option<Nanos> {
        if self.started && !core.is_started(self.node) || core.completion(self.node).is_some() {
            return Some(core.now());
        }
        if !self.started {
            return None;
        }
        // Whoever advances the bus first moves its next event on: what was received by then is due all the same.
        let received = core.received(self.node).map(|it| it.at);
        if let Some(at) = received.filter(|_| !self.starved) {
            return Some(at);
        }
        if core.to_send(self.node) > 0 || !core.takes_part(self.node) {
            return core.island_deadline(self.node);
        }
        if self.starved {
            return None;
        }
        core.frame_ends(self.node)
    }

    fn in_flight(&self, queue: usize) -> usize {
        match queue {
            TRANSMIT => self.unanswered.len(),
            RECEIVE => usize::from(self.spare.is_some()),
            _ => 0,
        }
    }
}

impl CanVirtio {
    /// The controller stopped itself, or somebody else did (virtio 1.4, BusOff Indication).
    fn notice_bus_off(&mut self, core: &mut CanBus, io: &mut DeviceIo<'_>) {
        if self.started && !core.is_started(self.node) {
            self.started = false;
            self.bus_off = core.errors(self.node).is_bus_off();
            io.config_changed |= self.bus_off;
        }
    }

    /// Gives back the requests of frames that are done with. Those that came to nothing without the bus
    /// telling so (its node lost its power) are too.
    fn answer_completed(&mut self, core: &mut CanBus, io: &mut DeviceIo<'_>) {
        while let Some(done) = core.take_completion(self.node) {
            let asked = self.unanswered.front();
            if asked.is_some_and(|it| it.ticket == done.ticket) {
                let result = if done.outcome == Outcome::Sent {
                    OK
                } else {
                    NOT_OK
                };
                self.answer_oldest(io, result);
            }
        }
        if core.to_send(self.node) == 0 {
            while !self.unanswered.is_empty() {
                self.answer_oldest(io, NOT_OK);
            }
        }
    }

    fn answer_oldest(&mut self, io: &mut DeviceIo<'_>, result: u8) {
        if let Some(Unanswered { chain, .. }) = self.unanswered.pop_front() {
            answer(io, TRANSMIT, &chain, result);
        }
    }

    /// Control requests, in order (virtio 1.4, Controller Mode).
    fn control(&mut self, core: &mut CanBus, io: &mut DeviceIo<'_>) {
        for _ in 0..QUEUE_SIZES[CONTROL] {
            let Some(chain) = io.take(CONTROL) else {
                break;
            };
            let mut message = [0; 2];
            let length = chain.read(io.memory, 0, &mut message);
            let result = match u16::from_le_bytes(message) {
                _ if length < message.len() => {
                    io.fault(CONTROL, "a control request without its message type");
                    NOT_OK
                }
                SET_CTRL_MODE_START => self.start(core, io),
                SET_CTRL_MODE_STOP => {
                    core.stop(io.now, self.node);
                    self.answer_completed(core, io);
                    self.set_mode(io, false);
                    OK
                }
                _ => NOT_OK,
            };
            answer(io, CONTROL, &chain, result);
        }
    }

    fn start(&mut self, core: &mut CanBus, io: &mut DeviceIo<'_>) -> u8 {
        if !core.start(io.now, self.node) {
            return NOT_OK;
        }
        self.set_mode(io, true);
        OK
    }

    fn set_mode(&mut self, io: &mut DeviceIo<'_>, started: bool) {
        self.started = started;
        io.config_changed |= self.bus_off;
        self.bus_off = false;
    }

    fn transmit(&mut self, core: &mut CanBus, io: &mut DeviceIo<'_>) {
        for _ in 0..QUEUE_SIZES[TRANSMIT] {
            if core.to_send(self.node) >= TRANSMIT_QUEUE_FRAMES {
                break;
            }
            let Some(chain) = io.take(TRANSMIT) else {
                break;
            };
            // A controller that is stopped takes none.
            let frame = requested(io, &chain);
            match frame.and_then(|it| core.send(io.now, self.node, it).ok()) {
                None => answer(io, TRANSMIT, &chain, NOT_OK),
                Some(ticket) if io.features & F_LATE_TX_ACK != 0 => {
                    self.unanswered.push_back(Unanswered { ticket, chain });
                }
                // It is scheduled, which is all that this driver asks for.
                Some(_) => answer(io, TRANSMIT, &chain, OK),
            }
        }
    }

    fn receive(&mut self, core: &mut CanBus, io: &mut DeviceIo<'_>) {
        self.starved = false;
        core.receive_while(self.node, |received| {
            if !negotiated(io.features, &received.frame) {
                return true;
            }
            let Some(chain) = self.spare.take().or_else(|| io.take(RECEIVE)) else {
                self.starved = true;
                return false;
            };
            self.spare = deliver(io, chain, &received.frame);
            true
        });
    }
}

/// Gives a frame to the driver. A buffer too small for it stays.
fn deliver(io: &mut DeviceIo<'_>, chain: Chain, frame: &Frame) -> Option<Chain> {
    let message = message_of(frame);
    if chain.writable_len() < message.len() as u64 {
        io.fault(RECEIVE, "a buffer too small for a frame, which is lost");
        return Some(chain);
    }
    let written = chain.write(io.memory, 0, &message);
    io.finish(RECEIVE, &chain, u32::try_from(written).unwrap_or(0));
    None
}

/// Gives a request back with its result.
fn answer(io: &mut DeviceIo<'_>, queue: usize, chain: &Chain, result: u8) {
    let written = chain.write(io.memory, 0, &[result]);
    if written == 0 {
        io.fault(queue, "a request without room for its result");
    }
    io.finish(queue, chain, u32::from(written > 0));
}

/// Whether the driver knows what to do with such a frame.
fn negotiated(features: u64, frame: &Frame) -> bool {
    let needed = match frame.kind() {
        Kind::Data => F_CAN_CLASSIC,
        Kind::Remote => F_CAN_CLASSIC | F_RTR_FRAMES,
        Kind::Fd { .. } => F_CAN_FD,
    };
    features & needed == needed
}

/// The frame a transmit request asks for, if there is such a frame and the driver may send it (virtio 1.4,
/// CAN Message Transmission). An FD frame goes with BRS: the message has no
/// bit for it.
fn requested(io: &DeviceIo<'_>, chain: &Chain) -> Option<Frame> {
    let mut message = [0; HEADER_BYTES + FD_DATA_BYTES];
    let there = chain.read(io.memory, 0, &mut message);
    let (header, data) = message.get(..there)?.split_first_chunk::<HEADER_BYTES>()?;
    let [t0, t1, l0, l1, _, _, _, _, f0, f1, f2, f3, i0, i1, i2, i3] = *header;
    let flags = u32::from_le_bytes([f0, f1, f2, f3]);
    let known = FLAGS_EXTENDED | FLAGS_FD | FLAGS_RTR;
    if u16::from_le_bytes([t0, t1]) != TX || flags & !known != 0 {
        return None;
    }
    let id = u32::from_le_bytes([i0, i1, i2, i3]);
    let identifier = if flags & FLAGS_EXTENDED != 0 {
        Identifier::Extended(id)
    } else {
        Identifier::Standard(u16::try_from(id).ok()?)
    };
    let length = usize::from(u16::from_le_bytes([l0, l1]));
    let frame = match (flags & FLAGS_FD != 0, flags & FLAGS_RTR != 0) {
        (true, true) => return None,
        (false, true) => Frame::remote(identifier, length),
        (false, false) => Frame::data(identifier, data.get(..length)?),
        (true, false) => Frame::fd_padded(identifier, true, data.get(..length)?),
    };
    frame.ok().filter(|it| negotiated(io.features, it))
}

/// A received frame as its message (virtio 1.4, CAN Message Reception). The length of a remote frame is
/// how much it asks for; it has no data.
fn message_of(frame: &Frame) -> Vec<u8> {
    let (extended, id) = match frame.identifier() {
        Identifier::Standard(id) => (0, u32::from(id)),
        Identifier::Extended(id) => (FLAGS_EXTENDED, id),
    };
    let kind = match frame.kind() {
        Kind::Data => 0,
        Kind::Remote => FLAGS_RTR,
        Kind::Fd { .. } => FLAGS_FD,
    };
    let length = u16::try_from(frame.length()).unwrap_or(0);
    let mut message = Vec::with_capacity(HEADER_BYTES + frame.length());
    message.extend(RX.to_le_bytes());
    message.extend(length.to_le_bytes());
    message.extend([0; 4]);
    message.extend((extended | kind).to_le_bytes());
    message.extend(id.to_le_bytes());
    message.extend(frame.payload());
    // The driver of Linux wants as many bytes there as the length says, also of a remote frame.
    message.resize(HEADER_BYTES + frame.length(), 0);
    message
}
