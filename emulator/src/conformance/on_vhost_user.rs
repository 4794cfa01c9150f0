//! The `vhost` crate's front-end before our server: sockets, shared memory, eventfds and a thread that serves. What the
//! protocol has no word for a VMM keeps itself, and so does this: the status byte, accepted features, queue addresses.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use devices::event::DeviceEvent;
use devices::time::Nanos;
use devices::virtio::GuestMemory;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tempfile::TempDir;
use vhost::vhost_user::message::{
    VhostUserConfigFlags, VhostUserHeaderFlag, VhostUserProtocolFeatures, VhostUserVirtioFeatures,
};
use vhost::vhost_user::{
    Frontend, FrontendReqHandler, HandlerResult, VhostUserFrontend, VhostUserFrontendReqHandler,
};
use vhost::{VhostBackend, VhostUserMemoryRegionInfo, VringConfigData};
use virtio_bindings::virtio_config::{VIRTIO_CONFIG_S_DRIVER_OK, VIRTIO_CONFIG_S_FEATURES_OK};
use virtio_bindings::virtio_ring::VIRTIO_RING_F_EVENT_IDX;
use vm_memory::{GuestAddress, GuestMemoryBackend, GuestMemoryRegion};
use vmm_sys_util::eventfd::{EFD_NONBLOCK, EventFd};

use super::arena::{BYTES, START};
use super::hardware::Hardware;
use super::host::{Host, Pace};
use super::ring;
use crate::serve::{self, Control, Place, Server, Settings};
use crate::service::{Show, Visit};

/// After so long nobody answers any more.
const PATIENCE: Timespec = Timespec {
    tv_sec: 20,
    tv_nsec: 0,
};
const PROTOCOL_FEATURES: u64 = VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();

/// Something to do to the hardware, in the thread that has it.
type Order = Box<dyn FnOnce(&mut Hardware) + Send>;

pub(super) struct VhostUser {
    folder: TempDir,
    memory: GuestMemory,
    orders: Sender<Order>,
    control: RefCell<BufReader<UnixStream>>,
    fronts: RefCell<BTreeMap<usize, Front>>,
    news: Arc<Mutex<Vec<String>>>,
    /// Time that passed where it is held, in nanoseconds.
    passed_ns: Arc<AtomicU64>,
    /// Closed when it is to stop.
    stop: Option<UnixStream>,
    thread: Option<JoinHandle<()>>,
}

/// What is served: the hardware, and orders for it.
struct Served {
    hardware: Hardware,
    orders: Receiver<Order>,
}

impl serve::Hardware for Served {
    fn with<V: Visit>(&mut self, port: usize, visit: V) -> V::Answer {
        self.hardware.with(port, visit)
    }

    fn advance(&mut self, now: Nanos, events: &mut Vec<DeviceEvent>) {
        self.hardware.advance(now, events);
    }

    fn deadline(&self) -> Option<Nanos> {
        self.hardware.deadline()
    }

    fn heard(&mut self, _now: Nanos, events: &mut Vec<DeviceEvent>, _news: &mut Vec<String>) {
        self.hardware.events.append(events);
    }

    fn command(
        &mut self,
        _now: Nanos,
        _command: &str,
        _news: &mut Vec<String>,
    ) -> Result<String, String> {
        let order = self.orders.try_recv().map_err(|error| error.to_string())?;
        order(&mut self.hardware);
        Ok(String::new())
    }

    fn put_away(&mut self, _now: Nanos) {}
}

/// A VMM's side of one device.
struct Front {
    frontend: Frontend,
    notices: FrontendReqHandler<Notices>,
    changes: Arc<Notices>,
    /// Whether the device has a configuration space to tell of.
    has_config: bool,
    offered: u64,
    accepted: u64,
    status: u32,
    queues: BTreeMap<u16, Queue>,
    /// News of the server when the device was last reset.
    heard: usize,
    /// The back-end refused something, and ended the connection with that.
    refused: bool,
}

struct Queue {
    size: u32,
    addresses: [u64; 3],
    kick: EventFd,
    call: EventFd,
    calls: u64,
    /// Where the device is to begin.
    base: u16,
}

#[derive(Default)]
struct Notices {
    count: AtomicU32,
}

impl VhostUserFrontendReqHandler for Notices {
    fn handle_config_change(&self) -> HandlerResult<u64> {
        self.count.fetch_add(1, Ordering::SeqCst);
        Ok(0)
    }
}

fn poll_in(fd: RawFd, patience: &Timespec) -> bool {
    // SAFETY: the descriptor is one of an object that its caller borrows.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    poll(&mut fds, Some(patience)).unwrap() > 0
}

impl VhostUser {
    fn connect(&self, unit: usize) -> Front {
        let socket = UnixStream::connect(self.folder.path().join(unit.to_string())).unwrap();
        socket
            .set_read_timeout(Some(std::time::Duration::from_secs(20)))
            .unwrap();
        let mut frontend = Frontend::from_stream(socket, 16);
        frontend.set_owner().unwrap();
        let offered = frontend.get_features().unwrap();
        assert_ne!(offered & PROTOCOL_FEATURES, 0);
        let theirs = frontend.get_protocol_features().unwrap();
        let ours = VhostUserProtocolFeatures::CONFIG
            | VhostUserProtocolFeatures::BACKEND_REQ
            | VhostUserProtocolFeatures::REPLY_ACK
            | VhostUserProtocolFeatures::RESET_DEVICE
            | VhostUserProtocolFeatures::MQ;
        let ours = theirs & ours;
        frontend.set_protocol_features(ours).unwrap();
        // From here on every message is answered: a refusal shows where it belongs.
        frontend.set_hdr_flags(VhostUserHeaderFlag::NEED_REPLY);
        let changes = Arc::new(Notices::default());
        let notices = FrontendReqHandler::new(Arc::clone(&changes)).unwrap();
        let channel = notices.get_tx_raw_fd();
        frontend.set_backend_request_fd(&channel).unwrap();
        Front {
            frontend,
            notices,
            changes,
            has_config: ours.contains(VhostUserProtocolFeatures::CONFIG),
            offered: offered & !PROTOCOL_FEATURES,
            accepted: 0,
            status: 0,
            queues: BTreeMap::new(),
            heard: self.news.lock().unwrap().len(),
            refused: false,
        }
    }

    fn front<T>(&self, unit: usize, what: impl FnOnce(&mut Front) -> T) -> T {
        what(
            self.fronts
                .borrow_mut()
                .get_mut(&unit)
                .expect("it is served"),
        )
    }

    fn host_address(&self, guest: u64) -> u64 {
        // An address outside memory is outside it on the host as well.
        let start = self.memory.get_host_address(GuestAddress(START)).unwrap() as u64;
        start.wrapping_add(guest.wrapping_sub(START))
    }

    fn start_device(&self, front: &mut Front) -> vhost::Result<()> {
        let region = self.memory.find_region(GuestAddress(START)).unwrap();
        let file = region.file_offset().unwrap().file();
        let table = VhostUserMemoryRegionInfo {
            guest_phys_addr: START,
            memory_size: BYTES as u64,
            userspace_addr: self.host_address(START),
            mmap_offset: 0,
            mmap_handle: file.as_raw_fd(),
        };
        front.frontend.set_mem_table(&[table])?;
        for index in front.queues.keys().copied().collect::<Vec<_>>() {
            self.start_queue(front, index)?;
        }
        Ok(())
    }

    fn start_queue(&self, front: &mut Front, index: u16) -> vhost::Result<()> {
        let queue = &front.queues[&index];
        let index = usize::from(index);
        let size = u16::try_from(queue.size).unwrap_or(u16::MAX);
        let [desc, avail, used] = queue.addresses.map(|at| self.host_address(at));
        let frontend = &mut front.frontend;
        frontend.set_vring_num(index, size)?;
        frontend.set_vring_base(index, queue.base)?;
        let addresses = VringConfigData {
            queue_max_size: size,
            queue_size: size,
            flags: 0,
            desc_table_addr: desc,
            used_ring_addr: used,
            avail_ring_addr: avail,
            log_addr: None,
        };
        frontend.set_vring_addr(index, &addresses)?;
        frontend.set_vring_call(index, &queue.call)?;
        frontend.set_vring_kick(index, &queue.kick)?;
        frontend.set_vring_enable(index, true)
    }

    /// As QEMU does it: rings are stopped one by one, and then the device is reset.
    fn reset(&self, unit: usize) {
        let refused = self.front(unit, |front| {
            let queues = std::mem::take(&mut front.queues);
            let mut done = Ok(());
            if front.status & VIRTIO_CONFIG_S_DRIVER_OK != 0 {
                for index in queues.keys() {
                    let stopped = front.frontend.get_vring_base(usize::from(*index));
                    done = done.and(stopped.map(drop));
                }
            }
            done = done.and_then(|()| front.frontend.reset_device());
            (front.status, front.accepted) = (0, 0);
            front.refused || done.is_err()
        });
        if refused {
            // The connection ended with the refusal; a VMM starts anew.
            self.fronts.borrow_mut().remove(&unit);
            let fresh = self.connect(unit);
            self.fronts.borrow_mut().insert(unit, fresh);
        }
        let heard = self.news.lock().unwrap().len();
        self.front(unit, |front| front.heard = heard);
    }
}

impl Host for VhostUser {
    const TRANSPORT_FEATURES: u64 = 1 << VIRTIO_RING_F_EVENT_IDX;

    fn start(hardware: Hardware, units: &[usize], pace: Pace, memory: GuestMemory) -> VhostUser {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| Place::take(&folder.path().join(name)).unwrap();
        let ports: Vec<_> = units
            .iter()
            .map(|unit| serve::Port::new(place(&unit.to_string()), *unit))
            .collect();
        let control = Control::new(place("control"));
        let news = Arc::new(Mutex::new(Vec::new()));
        let (orders, receiver) = channel();
        let (stop, stopped) = UnixStream::pair().unwrap();
        let heard = Arc::clone(&news);
        let passed_ns = Arc::new(AtomicU64::new(0));
        let clock_ns = Arc::clone(&passed_ns);
        let thread = std::thread::spawn(move || {
            // Nobody looks at a clock of the real world. One that is held still ends what is waited for with a limit.
            let clock = || match pace {
                Pace::Leap => Nanos::ZERO,
                Pace::Held => Nanos(clock_ns.fetch_add(1000, Ordering::SeqCst)),
            };
            let mut tell = |line: &str| heard.lock().unwrap().push(line.to_owned());
            let settings = Settings {
                pace: match pace {
                    Pace::Leap => serve::Pace::Leap,
                    Pace::Held => serve::Pace::Real,
                },
                poll: Nanos::ZERO,
            };
            let served = Served {
                hardware,
                orders: receiver,
            };
            let control = Some(control);
            let mut server = Server::new(served, "", ports, control, settings, &clock, &mut tell);
            server.run(stopped.as_fd()).unwrap();
        });
        let control = UnixStream::connect(folder.path().join("control")).unwrap();
        let host = VhostUser {
            folder,
            memory,
            orders,
            control: RefCell::new(BufReader::new(control)),
            fronts: RefCell::default(),
            news,
            passed_ns,
            stop: Some(stop),
            thread: Some(thread),
        };
        for unit in units {
            let front = host.connect(*unit);
            host.fronts.borrow_mut().insert(*unit, front);
        }
        host
    }

    /// The protocol has no word for it: whoever starts a VMM says what is behind a socket.
    fn device_id(&self, _unit: usize) -> Option<u32> {
        None
    }

    fn features(&self, unit: usize) -> u64 {
        self.front(unit, |front| front.offered)
    }

    fn accept(&self, unit: usize, features: u64) {
        self.front(unit, |front| front.accepted = features);
    }

    fn status(&self, unit: usize) -> u32 {
        self.front(unit, |front| front.status)
    }

    fn set_status(&self, unit: usize, status: u32) {
        if status == 0 {
            return self.reset(unit);
        }
        self.front(unit, |front| {
            let new = status & !front.status;
            front.status = status;
            if new & VIRTIO_CONFIG_S_FEATURES_OK != 0 {
                let features = front.accepted | PROTOCOL_FEATURES;
                if front.frontend.set_features(features).is_err() {
                    front.refused = true;
                    front.status &= !VIRTIO_CONFIG_S_FEATURES_OK;
                }
            }
            let features_ok = front.status & VIRTIO_CONFIG_S_FEATURES_OK != 0;
            if new & VIRTIO_CONFIG_S_DRIVER_OK != 0 {
                if !features_ok {
                    front.status &= !VIRTIO_CONFIG_S_DRIVER_OK;
                } else if self.start_device(front).is_err() {
                    front.refused = true;
                }
            }
        });
    }

    /// The protocol has no word for it either.
    fn queue_max(&self, unit: usize, queue: u16) -> u32 {
        let sizes = self
            .operate(move |hardware| hardware.with(unit, Show { wants_notify: true }).queue_sizes);
        sizes.get(usize::from(queue)).copied().unwrap_or(0).into()
    }

    fn queue_ready(&self, unit: usize, queue: u16) -> bool {
        self.front(unit, |front| front.queues.contains_key(&queue))
    }

    fn set_queue(&self, unit: usize, queue: u16, size: u32, addresses: [u64; 3]) {
        let event = || EventFd::new(EFD_NONBLOCK).unwrap();
        let answered = START..START + BYTES as u64;
        let base = match answered.contains(&addresses[2]) {
            true => ring::used_index(&self.memory, addresses),
            false => 0,
        };
        self.front(unit, |front| {
            let set_up = Queue {
                size,
                addresses,
                kick: event(),
                call: event(),
                calls: 0,
                base,
            };
            front.queues.insert(queue, set_up);
            if front.status & VIRTIO_CONFIG_S_DRIVER_OK != 0 {
                front.refused |= self.start_queue(front, queue).is_err();
            }
        });
    }

    fn unset_queue(&self, unit: usize, queue: u16) {
        self.front(unit, |front| {
            front.queues.remove(&queue);
            if front.status & VIRTIO_CONFIG_S_DRIVER_OK != 0 && !front.refused {
                let stopped = front.frontend.get_vring_base(usize::from(queue));
                front.refused |= stopped.is_err();
            }
        });
    }

    fn notify(&self, unit: usize, queue: u16) {
        self.front(unit, |front| {
            if let Some(queue) = front.queues.get(&queue) {
                queue.kick.write(1).unwrap();
            }
        });
    }

    fn config(&self, unit: usize, offset: usize, bytes: usize) -> Vec<u8> {
        self.front(unit, |front| {
            let blank = vec![0; bytes];
            if !front.has_config {
                return blank;
            }
            let (offset, bytes) = (u32::try_from(offset), u32::try_from(bytes));
            let flags = VhostUserConfigFlags::empty();
            let frontend = &mut front.frontend;
            let read = frontend.get_config(offset.unwrap(), bytes.unwrap(), flags, &blank);
            read.unwrap().1
        })
    }

    fn write_config(&self, unit: usize, offset: usize, bytes: &[u8]) {
        self.front(unit, |front| {
            if front.has_config {
                let flags = VhostUserConfigFlags::WRITABLE;
                let offset = u32::try_from(offset).unwrap();
                front.frontend.set_config(offset, flags, bytes).unwrap();
            }
        });
    }

    fn generation(&self, unit: usize) -> u32 {
        self.front(unit, |front| {
            while poll_in(front.notices.as_raw_fd(), &Timespec::default()) {
                front.notices.handle_request().unwrap();
            }
            front.changes.count.load(Ordering::SeqCst)
        })
    }

    fn interrupts(&self, unit: usize, queue: u16) -> u64 {
        self.front(unit, |front| {
            let queue = front.queues.get_mut(&queue).expect("it is set up");
            queue.calls += queue.call.read().unwrap_or(0);
            queue.calls
        })
    }

    /// There is no word for it; a server tells people. A ring it cannot use at all it refuses.
    fn has_stopped(&self, unit: usize) -> bool {
        self.settle();
        let news = self.news.lock().unwrap();
        self.front(unit, |front| {
            let mut told = news.iter().skip(front.heard);
            front.refused || told.any(|line| line.starts_with("device-needs-reset"))
        })
    }

    fn operate<T: Send + 'static>(
        &self,
        what: impl FnOnce(&mut Hardware) -> T + Send + 'static,
    ) -> T {
        let (sender, answer) = channel();
        let order: Order = Box::new(move |hardware| drop(sender.send(what(hardware))));
        self.orders.send(order).unwrap();
        let mut control = self.control.borrow_mut();
        control.get_mut().write_all(b"do\n").unwrap();
        let mut line = String::new();
        control.read_line(&mut line).unwrap();
        assert_eq!(line, "ok\n");
        answer.recv().unwrap()
    }

    /// The loop hears everything that waits, and serves, before it listens again: the second time round, all that
    /// was there the first time is done.
    fn settle(&self) {
        for _ in 0..3 {
            self.operate(|_| ());
        }
    }

    fn pass(&self, span: Nanos) {
        self.passed_ns.fetch_add(span.0, Ordering::SeqCst);
        self.settle();
    }

    fn wait(&self, unit: usize, queue: u16, done: &dyn Fn() -> bool) {
        while !done() {
            let call = self.front(unit, |front| {
                let queue = front.queues.get(&queue).expect("it is set up");
                queue.call.as_raw_fd()
            });
            let told = poll_in(call, &PATIENCE);
            assert!(told, "unit {unit} tells of no answer on queue {queue}");
            self.interrupts(unit, queue);
        }
    }
}

impl Drop for VhostUser {
    fn drop(&mut self) {
        self.fronts.borrow_mut().clear();
        drop(self.stop.take());
        let ended = self.thread.take().map(JoinHandle::join);
        if !std::thread::panicking() {
            ended
                .expect("it was started")
                .expect("the server ends well");
        }
    }
}
