//! iSCSI over TCP/IPv4: the target of `iscsi` on the sockets of `smoltcp`, in static memory.

use core::fmt::Write;

use ::iscsi::TCP_PORT;
use ::iscsi::connection::{Answer as IscsiAnswer, Cause, Event, Memory};
use ::iscsi::login::{Identity, SessionType};
use ::iscsi::portal::{CONNECTIONS, Portal, PortalMemory};
use ::iscsi::text::{Name, TextWriter};
use scsi::target::{Answer, Command};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet, SocketStorage};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr};
use static_cell::{ConstStaticCell, StaticCell};

use super::wire::{Frames, Wire};
use super::{HostLink, Received};
use crate::hardware::{COMMANDS, Hardware};

/// The controller in slot 0 is 10.0.0.1, the one in slot 1 is 10.0.0.2 …
const NETWORK: [u8; 3] = [10, 0, 0];
const PREFIX_BITS: u8 = 24;
/// Slots a chassis can have.
const SLOTS_MAX: usize = 3;
/// A window of two of the longest PDUs.
const SOCKET_BYTES: usize = 16 << 10;
/// A peer that is silent for so long is asked whether it is there, and forgotten when it does not answer.
const KEEP_ALIVE: Duration = Duration::from_secs(5);
const PEER_TIMEOUT: Duration = Duration::from_secs(15);
/// The stack's clock counts microseconds; it is never asked twice in the same one.
const TICK_NS: u64 = 1_000;

static PORTAL: ConstStaticCell<PortalMemory> =
    ConstStaticCell::new([const { Memory::ZERO }; CONNECTIONS]);
static SOCKETS: StaticCell<[SocketStorage<'static>; CONNECTIONS]> = StaticCell::new();
static STREAMS: ConstStaticCell<[[[u8; SOCKET_BYTES]; 2]; CONNECTIONS]> =
    ConstStaticCell::new([[[0; SOCKET_BYTES]; 2]; CONNECTIONS]);
static FRAMES: ConstStaticCell<Frames> =
    ConstStaticCell::new([[0; runtime::network::FRAME_BYTES]; 2]);

/// The link.
pub(crate) struct Iscsi {
    interface: Interface,
    sockets: SocketSet<'static>,
    handles: [SocketHandle; CONNECTIONS],
    frames: &'static mut Frames,
    portal: Portal<'static>,
    /// The target's name, which is that of the array.
    name: Option<Name>,
    /// Addresses of the controllers of the chassis, this one's among them.
    addresses: [[u8; 4]; SLOTS_MAX],
    slots: usize,
    slot: u8,
    /// The command in each place.
    origins: [Option<Origin>; COMMANDS],
}

/// Where a command came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
    connection: usize,
    task: usize,
    tag: u32,
}

impl core::fmt::Debug for Iscsi {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Iscsi")
            .field("portal", &self.portal)
            .finish_non_exhaustive()
    }
}

impl HostLink for Iscsi {
    type Exchange = Origin;

    fn new(hardware: &Hardware, _frames: &'static mut [u8]) -> Iscsi {
        let identity = hardware.control.identity();
        let frames = FRAMES.take();
        let mac = hardware.host_port.as_ref().map(|port| port.mac());
        let mac = EthernetAddress(mac.filter(|mac| mac[0] & 1 == 0).unwrap_or([2; 6]));
        let mut config = Config::new(HardwareAddress::Ethernet(mac));
        // Sequence numbers begin elsewhere after every boot (RFC 9293 §3.4.1).
        config.random_seed = identity.reset_time_ns ^ u64::from(identity.slot) << 56;
        let now = instant(hardware);
        let mut wire = Wire { hardware, frames };
        let mut interface = Interface::new(config, &mut wire, now);
        let addresses: [[u8; 4]; SLOTS_MAX] = core::array::from_fn(|slot| {
            let [a, b, c] = NETWORK;
            [a, b, c, u8::try_from(slot).map_or(0, |slot| slot + 1)]
        });
        let own = addresses.get(usize::from(identity.slot)).copied();
        interface.update_ip_addrs(|list| {
            let [a, b, c, d] = own.unwrap_or_default();
            // The list is empty and has room for two.
            let _room = list.push(IpCidr::new(IpAddress::v4(a, b, c, d), PREFIX_BITS));
        });
        let storage = SOCKETS.init([const { SocketStorage::EMPTY }; CONNECTIONS]);
        let mut sockets = SocketSet::new(&mut storage[..]);
        let handles = STREAMS.take().each_mut().map(|[receive, transmit]| {
            let receive = SocketBuffer::new(&mut receive[..]);
            let transmit = SocketBuffer::new(&mut transmit[..]);
            let mut socket = Socket::new(receive, transmit);
            socket.set_nagle_enabled(false);
            socket.set_keep_alive(Some(KEEP_ALIVE));
            socket.set_timeout(Some(PEER_TIMEOUT));
            sockets.add(socket)
        });
        Iscsi {
            interface,
            sockets,
            handles,
            frames,
            portal: Portal::new(PORTAL.take()),
            name: None,
            addresses,
            slots: usize::from(identity.slots),
            slot: identity.slot,
            origins: [None; COMMANDS],
        }
    }

    fn open(&mut self, array_identity: u64) {
        let mut bytes = [0; Name::MAX];
        let mut writer = TextWriter::new(&mut bytes);
        let _fits = write!(
            writer,
            "iqn.2001-08.example.arraybench:{array_identity:016x}"
        );
        let length = writer.length().unwrap_or(0);
        let name = core::str::from_utf8(bytes.get(..length).unwrap_or_default());
        self.name = name.ok().and_then(Name::new);
    }

    fn receive(&mut self, hardware: &Hardware, place: usize) -> Received<'_, Origin> {
        let Some(name) = self.name else {
            // Nobody is heard: the controller is not operational.
            let Some(port) = &hardware.host_port else {
                return Received::Nothing;
            };
            let [frame, _] = &mut *self.frames;
            return match port.receive(frame) {
                Ok(Some(_)) => Received::Noise,
                _ => Received::Nothing,
            };
        };
        self.poll(hardware);
        let identity = Identity {
            name: name.as_str(),
            portal_group: u16::from(self.slot) + 1,
            portals: self.addresses.get(..self.slots).unwrap_or_default(),
        };
        for (connection, handle) in self.handles.iter().enumerate() {
            let socket = self.sockets.get_mut::<Socket<'_>>(*handle);
            while socket.can_recv() {
                let portal = &mut self.portal;
                let received = socket.recv(|bytes| {
                    let (taken, event) = portal.receive(connection, bytes, &identity);
                    (taken, (taken, event))
                });
                match received {
                    Ok((_, Some(Event::Command(task)))) => {
                        let Some(command) = self.portal.command(connection, task) else {
                            return Received::Noise;
                        };
                        let origin = Origin {
                            connection,
                            task,
                            tag: command.tag,
                        };
                        if let Some(place) = self.origins.get_mut(place) {
                            *place = Some(origin);
                        }
                        let command = Command {
                            initiator: command.nexus,
                            lun: command.lun,
                            cdb: command.cdb,
                            data_out: command.data_out,
                        };
                        return Received::Command(origin, command);
                    }
                    Ok((_, Some(Event::Reset))) => return Received::Reset,
                    Ok((_, Some(Event::Opened))) => {
                        trace_opened(hardware, &self.portal, connection);
                    }
                    Ok((0, None)) | Err(_) => break,
                    Ok((_, None)) => {}
                }
            }
        }
        Received::Nothing
    }

    fn data_out(&self, place: usize) -> &[u8] {
        let origin = self.origins.get(place).copied().flatten();
        origin
            .and_then(|origin| self.portal.command(origin.connection, origin.task))
            .map_or(&[], |command| command.data_out)
    }

    fn answer(&mut self, _hardware: &Hardware, origin: &Origin, answer: &Answer, data_in: &[u8]) {
        let sense = answer.sense.map(|sense| sense.encode());
        let answer = IscsiAnswer {
            status: answer.status as u8,
            sense: sense.as_ref().map_or(&[], |sense| &sense[..]),
            data_in,
        };
        self.portal
            .answer(origin.connection, origin.task, origin.tag, &answer);
    }

    fn settle(&mut self, hardware: &Hardware) {
        if self.name.is_none() {
            return;
        }
        for connection in 0..CONNECTIONS {
            self.tend(hardware, connection);
        }
        self.poll(hardware);
    }

    fn deadline_ns(&mut self, hardware: &Hardware) -> u64 {
        let link_is_up = hardware.host_port.as_ref().is_some_and(|p| p.link_is_up());
        if self.name.is_none() || !link_is_up {
            return u64::MAX;
        }
        let at = self.interface.poll_at(instant(hardware), &self.sockets);
        let soonest_ns = hardware.control.now_ns().saturating_add(TICK_NS);
        at.map_or(u64::MAX, |at| {
            let at_us = u64::try_from(at.total_micros()).unwrap_or(0);
            at_us.saturating_mul(TICK_NS).max(soonest_ns)
        })
    }
}

impl Iscsi {
    /// Lets the stack take what came and send what is due.
    fn poll(&mut self, hardware: &Hardware) {
        let mut wire = Wire {
            hardware,
            frames: self.frames,
        };
        self.interface
            .poll(instant(hardware), &mut wire, &mut self.sockets);
    }

    /// Hands output to a connection's socket; ends the connection, and waits for the next one.
    fn tend(&mut self, hardware: &Hardware, number: usize) {
        let Some(handle) = self.handles.get(number) else {
            return;
        };
        let socket = self.sockets.get_mut::<Socket<'_>>(*handle);
        let Some(connection) = self.portal.connection(number) else {
            return;
        };
        if socket.can_send()
            && let Ok(sent) = socket.send_slice(connection.output())
        {
            connection.sent(sent);
        }
        let mut over = None;
        if let Some(cause) = connection.ending() {
            // What is left to say goes out first, but who breaks the rules need not take it.
            let heard_out = connection.output().is_empty() && socket.send_queue() == 0;
            match cause {
                Cause::Logout | Cause::LoginRefused(_) if heard_out => socket.close(),
                Cause::Logout | Cause::LoginRefused(_) => {}
                Cause::ProtocolError | Cause::TooLong | Cause::Reinstated => socket.abort(),
            }
            over = Some(cause);
        }
        if socket.state() == State::CloseWait {
            socket.close();
        }
        // A socket in TIME-WAIT may listen again: the peer's port is part of who it is.
        if !socket.is_open() {
            let was_open = connection.session().is_some() || over.is_some();
            connection.restart();
            // Port 3260 is no zero.
            let _listens = socket.listen(TCP_PORT);
            if was_open {
                match over {
                    Some(cause) => trace_closed(hardware, format_args!("{cause}")),
                    None => trace_closed(hardware, format_args!("connection-lost")),
                }
            }
        }
    }
}

fn trace_opened(hardware: &Hardware, portal: &Portal<'_>, number: usize) {
    let Some(session) = portal.session(number) else {
        return;
    };
    let kind = match session.session_type {
        SessionType::Discovery => "discovery",
        SessionType::Normal => "normal",
    };
    let initiator = session.initiator.as_str();
    hardware.control.trace(format_args!(
        "iscsi-session-opened type={kind} initiator={initiator}"
    ));
}

fn trace_closed(hardware: &Hardware, cause: core::fmt::Arguments<'_>) {
    hardware
        .control
        .trace(format_args!("iscsi-session-closed cause={cause}"));
}

/// Virtual time as the stack counts it.
fn instant(hardware: &Hardware) -> Instant {
    let now_us = hardware.control.now_ns() / TICK_NS;
    Instant::from_micros(i64::try_from(now_us).unwrap_or(i64::MAX))
}
