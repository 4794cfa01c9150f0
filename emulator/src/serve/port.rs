use std::os::fd::BorrowedFd;
use std::sync::atomic::{Ordering, fence};

use devices::event::DeviceEvent;
use devices::network;
use devices::time::Nanos;
use devices::virtio::GuestMemory;
use virtio_bindings::virtio_ring::{VIRTIO_RING_F_EVENT_IDX, VRING_AVAIL_F_NO_INTERRUPT};
use virtio_queue::{Queue, QueueT};
use vm_memory::{Bytes, GuestAddress};

use super::hardware::Hardware;
use super::place::Place;
use crate::service::{InFlight, NextDeadline, Serve, Served, Show};
use crate::slot::Slot;
use crate::vhost_user::{Connection, Lost, Waiting};

/// How long a front-end may take from the first byte of a message to the last, or to take an answer.
const PATIENCE: Nanos = Nanos::from_secs(1);

/// QEMU's network cards have rings no smaller, and the protocol has no word for how large they may be.
const NETWORK_QUEUE_SIZE: u16 = 256;

/// One socket, and the front-end that is connected there.
#[derive(Debug)]
pub struct Port {
    place: Place,
    number: usize,
    connection: Option<Connection>,
    slot: Slot,
    /// Since when a message has been incomplete.
    incomplete: Option<Nanos>,
    /// By queue: the index of the available ring when the device last looked.
    seen: Vec<u16>,
    /// The driver need not notify now: its rings are looked at anyway.
    quiet: bool,
    /// The driver's fault that stopped the device was told.
    told_broken: bool,
}

/// What a port may have to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ear {
    /// A front-end wants to connect.
    Listener,
    /// It sent a message.
    Messages,
    /// It answers a notice.
    Notices,
    /// It notifies a queue.
    Kick(u32),
}

impl Port {
    /// Serves port `number` of the hardware at `place`.
    pub fn new(place: Place, number: usize) -> Port {
        Port {
            place,
            number,
            connection: None,
            slot: Slot::default(),
            incomplete: None,
            seen: Vec::new(),
            quiet: false,
            told_broken: false,
        }
    }

    /// What to wait for.
    pub(super) fn ears<'a>(&'a self, each: &mut impl FnMut(Ear, BorrowedFd<'a>)) {
        use std::os::fd::AsFd;
        each(Ear::Listener, self.place.listener.as_fd());
        let Some(connection) = &self.connection else {
            return;
        };
        if self.incomplete.is_none() {
            each(Ear::Messages, connection.socket());
        }
        if let Some(notices) = connection.notices() {
            each(Ear::Notices, notices);
        }
        for (queue, kick) in connection.kicks() {
            each(Ear::Kick(queue), kick);
        }
    }

    /// Whether a message is awaited the rest of.
    pub(super) fn is_halfway(&self) -> bool {
        self.incomplete.is_some()
    }

    /// Whether a driver is at work.
    pub(super) fn is_live(&self) -> bool {
        self.connection.is_some() && self.slot.live && !self.slot.needs_reset
    }

    /// Whether the front-end has gone, whatever it sent before.
    pub(super) fn has_been_left(&self) -> bool {
        self.connection.as_ref().is_some_and(Connection::has_left)
    }

    /// For people.
    pub(super) fn status(&self) -> &'static str {
        match &self.connection {
            None => "waits for a front-end",
            Some(_) if self.slot.needs_reset => "stopped by a fault of the driver",
            Some(_) if self.slot.live => "in use",
            Some(_) => "front-end connected, no driver",
        }
    }

    /// A front-end comes. One at a time.
    pub(super) fn accept(&mut self, hardware: &mut impl Hardware, news: &mut Vec<String>) {
        let socket = match self.place.listener.accept() {
            Ok((socket, _)) => socket,
            // It thought better of it.
            Err(_) => return,
        };
        if self.connection.is_some() {
            news.push("front-end-refused cause=another-is-connected".to_owned());
            return;
        }
        let mut face = hardware.with(self.number, Show { wants_notify: true });
        face.features |= 1 << VIRTIO_RING_F_EVENT_IDX;
        if face.device_id == network::DEVICE_ID {
            for size in &mut face.queue_sizes {
                *size = NETWORK_QUEUE_SIZE.max(*size);
            }
        }
        self.slot.fit(face.clone());
        match Connection::new(socket, face, None) {
            Ok(mut connection) => {
                connection.expect_pauses();
                self.connection = Some(connection);
                self.told_broken = false;
                news.push("front-end-connected".to_owned());
            }
            Err(error) => news.push(format!("front-end-refused cause={error:?}")),
        }
    }

    /// Looks what the front-end sent.
    pub(super) fn messages(&mut self, now: Nanos) -> Heard {
        let Some(connection) = &mut self.connection else {
            return Heard::Nothing;
        };
        let waiting = match connection.waiting() {
            Ok(waiting) => waiting,
            Err(error) => return Heard::Lost(error.to_string()),
        };
        match waiting {
            Waiting::Nothing => {
                self.incomplete = None;
                Heard::Nothing
            }
            Waiting::Incomplete => {
                let since = *self.incomplete.get_or_insert(now);
                match now > since + PATIENCE {
                    true => Heard::Lost("half a message, and then silence".to_owned()),
                    false => Heard::Nothing,
                }
            }
            Waiting::Stop { queue } => {
                self.incomplete = None;
                Heard::Stop(usize::try_from(queue).unwrap_or(usize::MAX))
            }
            Waiting::Message => {
                self.incomplete = None;
                Heard::Message
            }
        }
    }

    /// Handles one message that is all there.
    pub(super) fn handle(&mut self) -> Result<(), Lost> {
        let Some(connection) = &mut self.connection else {
            return Ok(());
        };
        let handled = connection.handle(&mut self.slot);
        self.seen.clear();
        // Whatever a ring that was just started says of notifications, it is to be told.
        self.quiet = true;
        handled
    }

    /// The front-end answers a notice, or leaves.
    pub(super) fn hear_notices(&mut self) -> Result<(), Lost> {
        let connection = self.connection.as_mut();
        connection.map_or(Ok(()), Connection::hear_notices)
    }

    /// Takes a notification off its descriptor.
    pub(super) fn take_kick(&mut self, queue: u32, news: &mut Vec<String>) {
        if let Some(connection) = &mut self.connection
            && !connection.take_kick(queue)
        {
            connection.forget_kick(queue);
            news.push(format!("notifications-ended queue={queue}"));
        }
    }

    /// The front-end is gone. The device forgets what it was asked; what it has, it keeps.
    pub(super) fn disconnect(&mut self, hardware: &mut impl Hardware, now: Nanos) {
        self.connection = None;
        self.incomplete = None;
        self.slot.reset();
        self.slot.driver_faults.clear();
        let (memory, mut events) = (GuestMemory::default(), Vec::new());
        let forget = Serve {
            slot: &mut self.slot,
            memory: &memory,
            now,
            events: &mut events,
            ledger: None,
        };
        hardware.with(self.number, forget);
    }

    /// When the device has something to do by itself for this port's driver.
    pub(super) fn deadline(&self, hardware: &mut impl Hardware) -> Option<Nanos> {
        self.is_live()
            .then(|| hardware.with(self.number, NextDeadline))?
    }

    /// Has the device take what there is and answer what it can. True where it is to be asked again at
    /// once.
    pub(super) fn serve(
        &mut self,
        hardware: &mut impl Hardware,
        now: Nanos,
        events: &mut Vec<DeviceEvent>,
        news: &mut Vec<String>,
    ) -> bool {
        let Some(connection) = &mut self.connection else {
            return false;
        };
        let (memory, ledger) = connection.lend();
        self.seen.clear();
        for queue in &self.slot.queues {
            self.seen.push(available(queue, memory));
        }
        let before: u16 = taken(&self.slot);
        let call = Serve {
            slot: &mut self.slot,
            memory,
            now,
            events,
            ledger,
        };
        let Served { used, changed } = hardware.with(self.number, call);
        let (memory, progressed) = (connection.memory(), taken(&self.slot) != before);
        for (number, queue) in self.slot.queues.iter_mut().enumerate() {
            if used & (1 << number) != 0 && wants_call(queue, self.slot.features, memory) {
                connection.call(number);
            }
        }
        if changed {
            self.show(news);
        }
        self.told_broken &= self.slot.needs_reset;
        if self.slot.needs_reset && !self.told_broken {
            self.told_broken = true;
            news.push("device-needs-reset cause=driver-fault".to_owned());
        }
        self.is_live() && self.look_again(progressed)
    }

    /// Shows the driver the configuration space as it is.
    fn show(&mut self, news: &mut Vec<String>) {
        let Some(connection) = &mut self.connection else {
            return;
        };
        if connection.show(&self.slot.face)
            && self.slot.live
            && connection.tell_config_changed(false).is_err()
        {
            news.push("config-change-not-told".to_owned());
        }
    }

    /// The hardware may look different now.
    pub(super) fn refresh(&mut self, hardware: &mut impl Hardware, news: &mut Vec<String>) {
        let face = hardware.with(self.number, Show { wants_notify: true });
        if face.config != self.slot.face.config {
            self.slot.face.config = face.config;
            self.slot.face.generation = self.slot.face.generation.wrapping_add(1);
            self.show(news);
        }
    }

    /// Whether the driver made something available since the device last looked.
    pub(super) fn has_news(&self) -> bool {
        let Some(connection) = &self.connection else {
            return false;
        };
        let queues = self.slot.queues.iter().zip(&self.seen);
        queues
            .into_iter()
            .any(|(queue, seen)| queue.ready() && available(queue, connection.memory()) != *seen)
    }

    /// Whether there is something on a ring that the device did not take, and might take now: it made
    /// progress, or had not seen it.
    fn look_again(&mut self, progressed: bool) -> bool {
        let Some(connection) = &self.connection else {
            return false;
        };
        let mut again = false;
        for (queue, seen) in self.slot.queues.iter().zip(&mut self.seen) {
            let index = available(queue, connection.memory());
            let left = queue.ready() && index != queue.next_avail();
            again |= left && (progressed || index != *seen);
            *seen = index;
        }
        again
    }

    /// Says whether the driver has to notify. True where it made something available that it may not have
    /// notified (virtio 1.4 §2.7.10: look again after asking for notifications).
    pub(super) fn want_kicks(&mut self, wanted: bool) -> bool {
        let Some(connection) = &self.connection else {
            return false;
        };
        if self.quiet != wanted {
            return false;
        }
        self.quiet = !wanted;
        for queue in &mut self.slot.queues {
            if queue.ready() {
                // A ring outside memory is found when the device looks at it.
                let _ = match wanted {
                    true => queue.enable_notification(connection.memory()).map(drop),
                    false => queue.disable_notification(connection.memory()),
                };
            }
        }
        fence(Ordering::SeqCst);
        wanted && self.has_news()
    }

    /// Takes nothing new from a queue. False: it does not run.
    pub(super) fn hold_back(&mut self, queue: usize) -> bool {
        let queue = self.slot.queues.get_mut(queue);
        let Some(queue) = queue.filter(|it| it.ready()) else {
            return false;
        };
        queue.set_ready(false);
        true
    }

    /// Requests of a queue without an answer.
    pub(super) fn in_flight(&self, hardware: &mut impl Hardware, queue: usize) -> usize {
        if !self.slot.live {
            return 0;
        }
        hardware.with(self.number, InFlight(queue))
    }

    /// Whether the front-end took memory away.
    pub(super) fn lost_memory(&self) -> bool {
        self.connection
            .as_ref()
            .is_some_and(Connection::lost_memory)
    }
}

/// What there is to hear on a front-end's socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    Nothing,
    /// A message.
    Message,
    /// One that stops this queue.
    Stop(usize),
    /// The connection is over.
    Lost(String),
}

/// How much was taken from all queues, as far as a change of it shows.
fn taken(slot: &Slot) -> u16 {
    let queues = slot.queues.iter();
    queues.fold(0, |sum, queue| sum.wrapping_add(queue.next_avail()))
}

fn available(queue: &Queue, memory: &GuestMemory) -> u16 {
    let index = queue.avail_idx(memory, Ordering::Acquire);
    // Outside memory nothing ever changes.
    index.map_or(0, |index| index.0)
}

/// Whether the driver wants to be told of answers (virtio 1.4 §2.7.7).
fn wants_call(queue: &mut Queue, features: u64, memory: &GuestMemory) -> bool {
    if features & 1 << VIRTIO_RING_F_EVENT_IDX != 0 {
        return queue.needs_notification(memory).unwrap_or(true);
    }
    fence(Ordering::SeqCst);
    let flags = memory.read_obj::<u16>(GuestAddress(queue.avail_ring()));
    flags.is_ok_and(|flags| u32::from(u16::from_le(flags)) & VRING_AVAIL_F_NO_INTERRUPT == 0)
}
