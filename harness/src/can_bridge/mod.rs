//! A CAN interface of the host as one more node of a simulated bus: frames of the bus go out there, and frames from there come in.
//!
//! * `wire.rs` — frames as Linux has them on a CAN socket.
//!
//! The node acknowledges whatever it hears, as any controller does, and what it cannot hand on at once it
//! keeps, until it overruns. Both ends are as fast as they are: whoever has a bridge lets the bus' time follow the clock.

mod wire;

use std::io::{self, ErrorKind, Read, Write};
use std::num::NonZeroU32;
use std::os::fd::{AsFd, BorrowedFd};

use devices::can::{CanBus, Frame, NodeId};
use devices::time::Nanos;
use rustix::io::Errno;
use rustix::net::{AddressFamily, Protocol, SocketType, socket};
use socketcan::{CanFdSocket, Socket};
use thiserror::Error;

/// The protocol of raw frames (linux/can.h).
const CAN_RAW: u32 = 1;
/// Frames from outside that wait on the bus; what is more waits in the kernel.
const WAITING_FRAMES_MAX: usize = 16;
/// Packets that are looked at in a row, of which the bus may carry none.
const LOOKS_MAX: usize = 64;
/// After an interface failed it is looked again so much later.
const LOOK_AGAIN: Nanos = Nanos::from_millis(100);

/// An interface cannot be joined to a bus.
#[derive(Debug, Error)]
#[error("CAN interface {name}: {why}")]
pub struct BridgeError {
    name: String,
    /// What is missing, and the remedy.
    why: String,
    /// What the host said.
    #[source]
    pub source: io::Error,
}

/// A CAN socket on an interface of the host.
#[derive(Debug)]
pub struct Interface {
    name: String,
    socket: CanFdSocket,
}

impl Interface {
    /// Opens the interface `name`, such as `can0` or `vcan0`.
    ///
    /// # Errors
    /// The kernel has no CAN, no such interface, or one that is down.
    pub fn open(name: &str) -> Result<Interface, BridgeError> {
        let refused = |error: io::Error| BridgeError {
            name: name.to_owned(),
            why: remedy(name, &error),
            source: error,
        };
        // Asked first: without CAN there is no interface either, and that would be told.
        let raw = NonZeroU32::new(CAN_RAW).map(Protocol::from_raw);
        socket(AddressFamily::CAN, SocketType::RAW, raw).map_err(|error| refused(error.into()))?;
        let socket = CanFdSocket::open(name).map_err(refused)?;
        let interface = Interface::of(name, socket).map_err(refused)?;
        // One that is down says so at the first look; a frame may be there already, and is nobody's.
        match interface.look() {
            Err(error) if !is_patience(&error) => Err(refused(error)),
            _ => Ok(interface),
        }
    }

    fn of(name: &str, socket: CanFdSocket) -> io::Result<Interface> {
        socket.set_nonblocking(true)?;
        Ok(Interface {
            name: name.to_owned(),
            socket,
        })
    }

    /// The next frame; nothing where there is one that no simulated bus carries, such as an error frame.
    fn look(&self) -> io::Result<Option<Frame>> {
        let mut bytes = [0; wire::FD_BYTES];
        let read = (&mut self.socket.as_raw_socket()).read(&mut bytes)?;
        if read == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(wire::frame(bytes.get(..read).unwrap_or_default()))
    }

    fn send(&self, frame: &Frame) -> io::Result<()> {
        let bytes = wire::bytes(frame);
        (&mut self.socket.as_raw_socket()).write(&bytes).map(|_| ())
    }
}

/// What is to be done where the host says no.
fn remedy(name: &str, error: &io::Error) -> String {
    match Errno::from_io_error(error) {
        Some(Errno::AFNOSUPPORT | Errno::PROTONOSUPPORT) => "this kernel has no CAN sockets; \
             `modprobe can_raw vcan` as root loads them where its modules are there (a container has \
             what its host has)"
            .to_owned(),
        Some(Errno::NODEV | Errno::NXIO) => format!(
            "there is no CAN interface of this name here; `ip link show type can` and `ip link show type vcan` \
             list them, and as root `modprobe vcan; ip link add {name} type vcan; ip link set {name} mtu 72 up` \
             makes a virtual one"
        ),
        Some(Errno::NETDOWN) => format!(
            "it is down; as root `ip link set {name} up`, after `ip link set {name} type can bitrate 500000 \
             dbitrate 2000000 fd on` for hardware"
        ),
        Some(Errno::PERM | Errno::ACCESS) => "this process may open no CAN socket, which needs no \
             privilege by itself: look at what it is confined by"
            .to_owned(),
        _ => "it cannot be opened".to_owned(),
    }
}

/// Nothing to read, or no room: it will pass.
fn is_patience(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
        || Errno::from_io_error(error) == Some(Errno::NOBUFS)
}

/// An interface on a bus.
#[derive(Debug)]
pub struct Bridge {
    interface: Interface,
    node: NodeId,
    carried: Carried,
    /// What was told last of what goes wrong, until it goes well again.
    trouble: Option<String>,
    /// Not before then it is looked for frames again.
    look_at: Nanos,
    /// A frame of the bus waits for room.
    blocked: bool,
}

/// How many frames went through a bridge.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Carried {
    /// From the bus to the interface.
    out: u64,
    /// From the interface to the bus.
    inward: u64,
    /// Heard on either side, and of a kind that the other does not take.
    lost: u64,
}

impl Bridge {
    /// Joins an interface to the first segment of a bus. Nothing if that has no room for another node.
    pub fn join(interface: Interface, bus: &mut CanBus) -> Option<Bridge> {
        let node = bus.add_node(0)?;
        let now = bus.now();
        bus.set_powered(now, node, true);
        bus.start(now, node);
        Some(Bridge {
            interface,
            node,
            carried: Carried::default(),
            trouble: None,
            look_at: Nanos::ZERO,
            blocked: false,
        })
    }

    /// Which node of the bus it is.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// Carries what there is, both ways, and adds to `news` what people want to know. `now` is the time of the bus.
    pub fn exchange(&mut self, now: Nanos, bus: &mut CanBus, news: &mut Vec<String>) {
        bus.advance(now);
        while bus.take_completion(self.node).is_some() {}
        // As an interface with `restart-ms`: bus-off is not for ever.
        if !bus.is_started(self.node) {
            bus.start(now, self.node);
        }
        if now < self.look_at {
            return;
        }
        let troubled = self.go_out(bus).and_then(|()| self.come_in(now, bus)).err();
        let trouble = troubled.map(|error| match Errno::from_io_error(&error) {
            Some(Errno::NETDOWN) => "cause=\"it is down\"".to_owned(),
            _ => format!("cause=\"{error}\""),
        });
        if trouble.is_some() {
            self.look_at = now + LOOK_AGAIN;
        }
        // Reading and writing may fail for different reasons; it is the same trouble.
        if trouble.is_some() != self.trouble.is_some() {
            let told = trouble
                .as_deref()
                .map(|it| format!("can-bridge-failed {it}"));
            news.push(told.unwrap_or_else(|| "can-bridge-works".to_owned()));
            self.trouble = trouble;
        }
    }

    fn go_out(&mut self, bus: &mut CanBus) -> io::Result<()> {
        let (interface, carried) = (&self.interface, &mut self.carried);
        let mut failed = None;
        self.blocked = false;
        bus.receive_while(self.node, |received| {
            match interface.send(&received.frame) {
                Ok(()) => carried.out += 1,
                Err(error) if is_patience(&error) => {
                    self.blocked = true;
                    return false;
                }
                // A classic interface and an FD frame.
                Err(error) if error.kind() == ErrorKind::InvalidInput => carried.lost += 1,
                Err(error) => {
                    carried.lost += 1;
                    failed = Some(error);
                }
            }
            true
        });
        failed.map_or(Ok(()), Err)
    }

    fn come_in(&mut self, now: Nanos, bus: &mut CanBus) -> io::Result<()> {
        for _ in 0..LOOKS_MAX {
            if !self.has_room(bus) {
                break;
            }
            match self.interface.look() {
                Ok(Some(frame)) if bus.has_fd() || !frame.is_fd() => {
                    if bus.send(now, self.node, frame).is_ok() {
                        self.carried.inward += 1;
                    }
                }
                Ok(_) => self.carried.lost += 1,
                Err(error) if is_patience(&error) => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn has_room(&self, bus: &CanBus) -> bool {
        bus.is_started(self.node) && bus.to_send(self.node) < WAITING_FRAMES_MAX
    }

    /// What tells of frames from outside, while there is room for them.
    pub fn outside(&self, bus: &CanBus) -> Option<BorrowedFd<'_>> {
        let listens = self.has_room(bus) && bus.now() >= self.look_at;
        listens.then(|| self.interface.socket.as_fd())
    }

    /// When it is to be looked again without anybody's doing.
    pub fn deadline(&self, bus: &CanBus) -> Option<Nanos> {
        let waits = self.blocked || bus.now() < self.look_at;
        waits.then(|| self.look_at.max(bus.now() + Nanos::from_millis(1)))
    }

    /// How it goes, in a line.
    pub fn status(&self) -> String {
        let Carried { out, inward, lost } = self.carried;
        let works = match &self.trouble {
            None => String::new(),
            Some(trouble) => format!(" failed {trouble}"),
        };
        format!(
            "bridge {} out {out} in {inward} lost {lost}{works}",
            self.interface.name
        )
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::os::fd::OwnedFd;

    use devices::can::{BitRates, Fault, Identifier, Topology};
    use rustix::net::{SocketFlags, socketpair};
    use socketcan::{CanAnyFrame, EmbeddedFrame};

    use super::*;

    /// An interface, and the other end of its cable: packets have the layout of CAN sockets.
    pub(crate) fn interface() -> (Interface, CanFdSocket) {
        let flags = SocketFlags::CLOEXEC;
        let (here, there) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).unwrap();
        let socket = |it: OwnedFd| CanFdSocket::from(it);
        let there = socket(there);
        there.set_nonblocking(true).unwrap();
        (Interface::of("test0", socket(here)).unwrap(), there)
    }

    struct Bench {
        bus: CanBus,
        bridge: Bridge,
        /// Nothing after it was unplugged.
        there: Option<CanFdSocket>,
        news: Vec<String>,
    }

    impl Bench {
        /// Node 0 takes part, and the bridge.
        fn new(data: u32) -> Bench {
            let rates = BitRates {
                data,
                ..BitRates::default()
            };
            let mut bus = CanBus::new(Topology::new(1), rates);
            let node = bus.add_node(0).unwrap();
            bus.set_powered(Nanos::ZERO, node, true);
            bus.start(Nanos::ZERO, node);
            let (interface, there) = interface();
            let bridge = Bridge::join(interface, &mut bus).unwrap();
            let mut bench = Bench {
                bus,
                bridge,
                there: Some(there),
                news: Vec::new(),
            };
            bench.pass(1);
            bench
        }

        fn pass(&mut self, millis: u64) {
            for _ in 0..millis {
                let now = self.bus.now() + Nanos::from_millis(1);
                self.bridge.exchange(now, &mut self.bus, &mut self.news);
            }
        }

        fn say(&mut self, text: &str) {
            let now = self.bus.now();
            self.bus.take_completion(0);
            self.bus.send(now, 0, text.parse().unwrap()).unwrap();
            self.pass(3);
        }

        fn heard(&mut self) -> Vec<String> {
            let received = std::iter::from_fn(|| self.bus.receive(0));
            received.map(|it| it.frame.to_string()).collect()
        }

        fn there(&self) -> &CanFdSocket {
            self.there.as_ref().unwrap()
        }
    }

    #[test]
    fn frames_of_the_bus_go_out() {
        let mut bench = Bench::new(2_000_000);
        for text in ["123#11223344", "00000123#R4", "7FF##1AABBCC", "1FFFFFFF#"] {
            bench.say(text);
            // Read by somebody else's code.
            let frame = bench.there().read_frame().unwrap();
            let id = socketcan::Frame::raw_id(&frame);
            let wanted: Frame = text.parse().unwrap();
            let (number, extended) = match wanted.identifier() {
                Identifier::Standard(id) => (u32::from(id), false),
                Identifier::Extended(id) => (id, true),
            };
            assert_eq!((id, frame.is_extended()), (number, extended), "{text}");
            assert_eq!(
                frame.dlc(),
                usize::from(wanted.data_length_code()),
                "{text}"
            );
            assert_eq!(frame.data(), wanted.payload(), "{text}");
            let kind = matches!(&frame, CanAnyFrame::Fd(it) if it.is_brs());
            assert_eq!(kind, wanted.is_fd(), "{text}");
            assert_eq!(frame.is_remote_frame(), text.contains('R'), "{text}");
        }
        assert_eq!(bench.bridge.status(), "bridge test0 out 4 in 0 lost 0");
        assert_eq!(bench.bus.counters(0).sent, 4, "acknowledged");
    }

    #[test]
    fn frames_from_outside_come_in() {
        let mut bench = Bench::new(2_000_000);
        let standard = socketcan::StandardId::new(0x123).unwrap();
        let extended = socketcan::ExtendedId::new(0x123).unwrap();
        let data = socketcan::CanDataFrame::new(standard, &[1, 2, 3]).unwrap();
        let remote = socketcan::CanRemoteFrame::new_remote(extended, 4).unwrap();
        let fd = socketcan::CanFdFrame::new(standard, &[7; 12]).unwrap();
        bench.there().write_frame(&data).unwrap();
        bench.there().write_frame(&remote).unwrap();
        bench.there().write_frame(&fd).unwrap();
        bench.pass(5);
        let wanted = [
            "123#010203",
            "123##0070707070707070707070707",
            "00000123#R4",
        ];
        let mut heard = bench.heard();
        heard.sort_by_key(|it| wanted.iter().position(|wanted| it == wanted));
        assert_eq!(heard, wanted);
        // They do not come back.
        assert!(bench.there().read_frame().is_err());
        assert_eq!(bench.bridge.status(), "bridge test0 out 0 in 3 lost 0");
    }

    #[test]
    fn what_the_bus_does_not_carry_is_counted() {
        let mut bench = Bench::new(0);
        let id = socketcan::StandardId::new(1).unwrap();
        let fd = socketcan::CanFdFrame::new(id, &[7; 12]).unwrap();
        bench.there().write_frame(&fd).unwrap();
        // An error frame, half a frame, and one with a length that there is not.
        let mut error = [0_u8; 16];
        error[..4].copy_from_slice(&0x2000_0008_u32.to_ne_bytes());
        let mut long = [0_u8; 16];
        long[4] = 200;
        for packet in [&error[..], &error[..7], &long] {
            (&mut bench.there().as_raw_socket())
                .write_all(packet)
                .unwrap();
        }
        bench.pass(2);
        assert_eq!(bench.heard(), [""; 0]);
        assert_eq!(bench.bridge.status(), "bridge test0 out 0 in 0 lost 4");
    }

    #[test]
    fn what_is_more_than_fits_waits_outside() {
        let mut bench = Bench::new(0);
        for n in 0..40 {
            let id = socketcan::StandardId::new(n).unwrap();
            let frame = socketcan::CanDataFrame::new(id, &[]).unwrap();
            bench.there().write_frame(&frame).unwrap();
        }
        let now = bench.bus.now();
        bench.bridge.exchange(now, &mut bench.bus, &mut bench.news);
        assert_eq!(bench.bus.to_send(bench.bridge.node()), WAITING_FRAMES_MAX);
        assert!(bench.bridge.outside(&bench.bus).is_none(), "no room");
        bench.pass(30);
        assert!(bench.bridge.outside(&bench.bus).is_some());
        let wanted = (0..40).map(|n| format!("{n:03X}#"));
        assert_eq!(bench.heard(), wanted.collect::<Vec<_>>(), "in their order");
    }

    #[test]
    fn an_interface_that_takes_nothing_overruns_the_node() {
        let mut bench = Bench::new(0);
        let mut said = 0_u64;
        // As much as a socket of the kernel holds, and then the node's own room.
        while bench.bus.counters(bench.bridge.node()).overrun == 0 {
            bench.say("123#");
            said += 1;
            assert!(said < 10_000);
        }
        assert!(bench.bridge.deadline(&bench.bus).is_some());
        let mut read = 0;
        for _ in 0..10 {
            while bench.there().read_frame().is_ok() {
                read += 1;
            }
            bench.pass(1);
        }
        assert_eq!(read, said - 1, "all but the one that was overrun");
        assert!(bench.bridge.deadline(&bench.bus).is_none());
    }

    #[test]
    fn an_interface_that_goes_is_told_once() {
        let mut bench = Bench::new(0);
        drop(bench.there.take());
        bench.say("123#");
        bench.pass(1000);
        let [news] = bench.news.as_slice() else {
            panic!("{:?}", bench.news);
        };
        assert!(news.starts_with("can-bridge-failed cause="), "{news}");
        assert!(bench.bridge.status().contains("failed"));
        assert!(
            bench.bridge.outside(&bench.bus).is_none(),
            "not all the time"
        );
    }

    #[test]
    fn bus_off_is_not_for_ever() {
        let mut bench = Bench::new(0);
        let node = bench.bridge.node();
        let slow = BitRates {
            nominal: 10_000,
            data: 0,
        };
        let now = bench.bus.now();
        let fault = bench.bus.inject(now, Fault::BitRate(node, slow));
        let id = socketcan::StandardId::new(1).unwrap();
        let frame = socketcan::CanDataFrame::new(id, &[]).unwrap();
        bench.there().write_frame(&frame).unwrap();
        bench.pass(1000);
        let errors = bench.bus.counters(node).transmit_errors;
        assert!(errors >= 32, "it went bus-off: {errors}");
        bench.bus.clear(bench.bus.now(), fault);
        bench.pass(100);
        bench.there().write_frame(&frame).unwrap();
        bench.pass(3);
        assert_eq!(bench.heard(), ["001#"]);
    }

    #[test]
    fn every_refusal_names_the_remedy() {
        for (errno, wanted) in [
            (Errno::AFNOSUPPORT, "modprobe can_raw vcan"),
            (Errno::NODEV, "ip link add can7 type vcan"),
            (Errno::NETDOWN, "ip link set can7 up"),
            (Errno::PERM, "confined"),
            (Errno::IO, "cannot be opened"),
        ] {
            let text = remedy("can7", &errno.into());
            assert!(text.contains(wanted), "{text}");
        }
        // Whatever this kernel has, it has no such interface.
        let error = Interface::open("no-such-can").unwrap_err().to_string();
        assert!(error.starts_with("CAN interface no-such-can: "), "{error}");
        assert!(error.contains("modprobe"), "{error}");
    }
}
