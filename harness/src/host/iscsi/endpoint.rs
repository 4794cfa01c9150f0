//! One TCP connection of the host, with the TCP/IP stack under it.
//!
//! The stack is `smoltcp`, whose state cannot be copied. A checkpoint needs a copy; so the endpoint keeps what
//! went into the stack, and a copy is a new stack that went through the same. That is exact, because a stack
//! sees nothing but its inputs: no clock of its own, no chance but the seed it is given.

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;

use devices::power::mix;
use devices::time::Nanos;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr};

/// Longest frame: jumbo frames, as the controllers' ports have them.
const FRAME_BYTES: usize = devices::network::MAX_FRAME_BYTES;
const PREFIX_BITS: u8 = 24;
/// Buffers of the socket, each way.
const SOCKET_BYTES: usize = 64 << 10;
/// A peer that is silent for so long is asked whether it is there, and given up when it does not answer.
const KEEP_ALIVE: Duration = Duration::from_millis(250);
const PEER_TIMEOUT: Duration = Duration::from_millis(500);
/// The stack's clock counts microseconds.
const TICK_NS: u64 = 1_000;
/// First of the ports that connections are made from (RFC 6335 §6), and how many there are.
const FIRST_PORT: u64 = 49_152;
const PORTS: u64 = 16_384;

/// Who connects to whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) own_mac: [u8; 6],
    pub(super) own_address: [u8; 4],
    pub(super) peer_address: [u8; 4],
    pub(super) peer_port: u16,
    /// Connections made from this address before.
    pub(super) number: u64,
}

/// What the stack is told.
#[derive(Clone, Debug)]
pub(super) enum Input {
    /// Nothing but the time.
    Time,
    /// A frame came.
    Frame(Arc<[u8]>),
    /// Send these bytes.
    Write(Arc<[u8]>),
    /// Give the connection up, and tell the peer.
    Abort,
}

/// What came out of it.
#[derive(Debug, Default)]
pub(super) struct Output {
    /// Frames to send.
    pub(super) frames: Vec<Vec<u8>>,
    /// Bytes from the peer.
    pub(super) bytes: Vec<u8>,
    /// Bytes can be written and will be read.
    pub(super) connected: bool,
    /// The connection is over.
    pub(super) over: bool,
}

/// One TCP connection.
pub(super) struct Endpoint {
    route: Route,
    stack: Stack,
    log: Vec<(Nanos, Input)>,
    log_bytes: usize,
    deadline: Option<Nanos>,
}

impl Endpoint {
    /// Begins to connect.
    pub(super) fn connect(now: Nanos, route: Route) -> (Endpoint, Output) {
        let mut endpoint = Endpoint {
            route,
            stack: Stack::new(now, route),
            log: Vec::new(),
            log_bytes: 0,
            deadline: None,
        };
        let output = endpoint.tell(now, Input::Time);
        (endpoint, output)
    }

    /// Tells the stack something, and lets it do what is due.
    pub(super) fn tell(&mut self, now: Nanos, input: Input) -> Output {
        if let Input::Frame(bytes) | Input::Write(bytes) = &input {
            self.log_bytes += bytes.len();
        }
        let output = self.stack.tell(now, &input);
        self.log.push((now, input));
        self.deadline = self.stack.deadline(now);
        output
    }

    /// When the stack next has something to do by itself.
    pub(super) fn deadline(&self) -> Option<Nanos> {
        self.deadline
    }

    /// Bytes that are kept for copies.
    pub(super) fn log_bytes(&self) -> usize {
        self.log_bytes
    }
}

impl Clone for Endpoint {
    fn clone(&self) -> Endpoint {
        let begun = self.log.first().map_or(Nanos::ZERO, |(at, _)| *at);
        let mut stack = Stack::new(begun, self.route);
        for (at, input) in &self.log {
            stack.tell(*at, input);
            // Asking changes the stack's caches.
            stack.deadline(*at);
        }
        Endpoint {
            route: self.route,
            stack,
            log: self.log.clone(),
            log_bytes: self.log_bytes,
            deadline: self.deadline,
        }
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("route", &self.route)
            .field("deadline", &self.deadline)
            .finish_non_exhaustive()
    }
}

/// The TCP/IP stack with its one socket.
struct Stack {
    interface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    wire: Wire,
    /// What the socket had no room for yet.
    unsent: VecDeque<u8>,
}

impl Stack {
    fn new(now: Nanos, route: Route) -> Stack {
        let mut wire = Wire::default();
        let mut config = Config::new(HardwareAddress::Ethernet(EthernetAddress(route.own_mac)));
        let [.., own] = route.own_address;
        config.random_seed = mix(u64::from(own), route.number);
        let mut interface = Interface::new(config, &mut wire, instant(now));
        let address = |[a, b, c, d]: [u8; 4]| IpAddress::v4(a, b, c, d);
        interface.update_ip_addrs(|list| {
            // The list is empty and has room.
            let _room = list.push(IpCidr::new(address(route.own_address), PREFIX_BITS));
        });
        let buffer = || SocketBuffer::new(vec![0; SOCKET_BYTES]);
        let mut socket = Socket::new(buffer(), buffer());
        socket.set_nagle_enabled(false);
        socket.set_keep_alive(Some(KEEP_ALIVE));
        socket.set_timeout(Some(PEER_TIMEOUT));
        let port = u16::try_from(FIRST_PORT + route.number % PORTS).unwrap_or(u16::MAX);
        // A new socket, and addresses that are none but these: it cannot refuse.
        let _connecting = socket.connect(
            interface.context(),
            (address(route.peer_address), route.peer_port),
            port,
        );
        let mut sockets = SocketSet::new(Vec::new());
        let handle = sockets.add(socket);
        Stack {
            interface,
            sockets,
            handle,
            wire,
            unsent: VecDeque::new(),
        }
    }

    fn tell(&mut self, now: Nanos, input: &Input) -> Output {
        match input {
            Input::Time => {}
            Input::Frame(frame) => self.wire.arrived.push_back(frame.to_vec()),
            Input::Write(bytes) => self.unsent.extend(bytes.iter()),
            Input::Abort => self.sockets.get_mut::<Socket<'_>>(self.handle).abort(),
        }
        let mut output = Output::default();
        loop {
            self.interface
                .poll(instant(now), &mut self.wire, &mut self.sockets);
            let socket = self.sockets.get_mut::<Socket<'_>>(self.handle);
            let mut moved = false;
            while socket.can_recv() {
                let took = socket.recv(|bytes| {
                    output.bytes.extend_from_slice(bytes);
                    (bytes.len(), bytes.len())
                });
                moved |= took.is_ok_and(|bytes| bytes > 0);
            }
            while socket.can_send() && !self.unsent.is_empty() {
                let (front, _) = self.unsent.as_slices();
                let Ok(sent) = socket.send_slice(front) else {
                    break;
                };
                moved |= sent > 0;
                self.unsent.drain(..sent);
            }
            if !moved {
                break;
            }
        }
        let socket = self.sockets.get::<Socket<'_>>(self.handle);
        output.connected = socket.state() == State::Established;
        // A peer that says that it will send nothing more is done with this session.
        let underway = matches!(socket.state(), State::SynSent | State::SynReceived);
        output.over = !socket.may_recv() && !underway;
        output.frames = std::mem::take(&mut self.wire.leaving);
        output
    }

    fn deadline(&mut self, now: Nanos) -> Option<Nanos> {
        let at = self.interface.poll_at(instant(now), &self.sockets)?;
        let at_us = u64::try_from(at.total_micros()).unwrap_or(0);
        // Never again in the same microsecond.
        Some(Nanos(at_us.saturating_mul(TICK_NS)).max(Nanos(now.0.saturating_add(TICK_NS))))
    }
}

fn instant(now: Nanos) -> Instant {
    Instant::from_micros(i64::try_from(now.0 / TICK_NS).unwrap_or(i64::MAX))
}

/// Frames on their way between the stack and the host's port.
#[derive(Debug, Default)]
struct Wire {
    arrived: VecDeque<Vec<u8>>,
    leaving: Vec<Vec<u8>>,
}

struct Arrived(Vec<u8>);

struct Leaving<'a>(&'a mut Vec<Vec<u8>>);

impl Device for Wire {
    type RxToken<'t> = Arrived;
    type TxToken<'t> = Leaving<'t>;

    fn receive(&mut self, _now: Instant) -> Option<(Arrived, Leaving<'_>)> {
        let frame = self.arrived.pop_front()?;
        Some((Arrived(frame), Leaving(&mut self.leaving)))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Leaving<'_>> {
        Some(Leaving(&mut self.leaving))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME_BYTES;
        capabilities
    }
}

impl RxToken for Arrived {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        take(&self.0)
    }
}

impl TxToken for Leaving<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, fill: F) -> R {
        let mut frame = vec![0; length];
        let result = fill(&mut frame);
        self.0.push(frame);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTE: Route = Route {
        own_mac: [2, 0xab, 2, 0, 0, 1],
        own_address: [10, 0, 0, 102],
        peer_address: [10, 0, 0, 2],
        peer_port: 3260,
        number: 3,
    };

    /// The peer's answer to an ARP request (RFC 826).
    fn arp_answer(request: &[u8]) -> Vec<u8> {
        let mut frame = request[6..12].to_vec();
        frame.extend([2, 0xab, 1, 0, 0, 1, 8, 6]);
        frame.extend([0, 1, 8, 0, 6, 4, 0, 2]);
        frame.extend([2, 0xab, 1, 0, 0, 1, 10, 0, 0, 2]);
        frame.extend(&request[22..32]);
        frame
    }

    #[test]
    fn a_copy_goes_on_as_the_original_does() {
        let (mut endpoint, output) = Endpoint::connect(Nanos(5_000), ROUTE);
        assert_eq!(output.frames[0][12..14], [8, 6], "who has 10.0.0.2?");
        let answer = arp_answer(&output.frames[0]);
        let mut copy = endpoint.clone();
        let frame = Input::Frame(answer.into());
        let syn = endpoint.tell(Nanos(45_000), frame.clone()).frames;
        assert_eq!(syn[0][47], 2, "SYN to port 3260");
        assert_eq!(copy.tell(Nanos(45_000), frame).frames, syn);
        let mut later = endpoint.clone();
        // Again and again, then no more.
        let mut sent = 0;
        while let Some(at) = endpoint.deadline() {
            assert_eq!(later.deadline(), Some(at));
            let output = endpoint.tell(at, Input::Time);
            let copied = later.tell(at, Input::Time);
            assert_eq!((&copied.frames, copied.over), (&output.frames, output.over));
            sent += output.frames.len();
            if output.over {
                break;
            }
        }
        assert!(
            sent > 0
                && endpoint
                    .stack
                    .sockets
                    .get::<Socket<'_>>(endpoint.stack.handle)
                    .state()
                    == State::Closed
        );
    }
}
