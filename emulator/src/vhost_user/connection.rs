//! One front-end on one socket.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use devices::virtio::{GuestMemory, Ledger};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use thiserror::Error;
use vhost::vhost_user::{BackendReqHandler, VhostUserBackendReqHandlerMut};

use super::hole;
use super::inflight::Inflight;
use super::memory::{Mapped, MemorySource};
use super::message::{self, Waiting};
use super::notice::{Notices, handed_over};
use super::session::Session;
use crate::slot::{Face, Slot};

/// The front-end went away, or said something that makes no sense. A new connection may follow.
#[derive(Debug, Error)]
#[error("{what}")]
pub struct Lost {
    /// What happened: `disconnected`, or what was wrong.
    pub what: String,
    /// It closed the socket in good order.
    pub orderly: bool,
}

/// One front-end. See the module.
pub struct Connection {
    socket: UnixStream,
    handler: BackendReqHandler<Mutex<Session>>,
    session: Arc<Mutex<Session>>,
    notices: Option<Notices>,
    /// By queue.
    kicks: Vec<Option<Arc<File>>>,
    memory: GuestMemory,
    /// Where the memory is the front-end's: what keeps it mapped.
    mapped: Option<Arc<Mapped>>,
    inflight: Option<Inflight>,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("socket", &self.socket)
            .finish_non_exhaustive()
    }
}

impl Connection {
    /// Serves the device with this face to the front-end on `socket`. `owned` is the guest's memory where
    /// the caller has it; otherwise the front-end hands it over.
    ///
    /// # Errors
    /// The host has no more descriptors.
    pub fn new(
        socket: UnixStream,
        face: Face,
        owned: Option<GuestMemory>,
    ) -> std::io::Result<Connection> {
        let source = match owned {
            Some(_) => MemorySource::Owned,
            None => MemorySource::Shared,
        };
        // A board's QEMU lives no longer than its devices, and has them keep what they took.
        let inflight = match source {
            MemorySource::Owned => None,
            MemorySource::Shared => Inflight::private(&face.queue_sizes).map(Some)?,
        };
        let session = Arc::new(Mutex::new(Session::new(face, source)));
        let handler = BackendReqHandler::from_stream(socket.try_clone()?, Arc::clone(&session));
        Ok(Connection {
            socket,
            handler,
            session,
            notices: None,
            kicks: Vec::new(),
            memory: owned.unwrap_or_default(),
            mapped: None,
            inflight,
        })
    }

    /// Expects that the front-end stops all rings now and then and goes on where it was, as QEMU does while its machine
    /// is stopped. Otherwise stopping all of them is a reset.
    pub fn expect_pauses(&mut self) {
        self.session().pauses = true;
    }

    /// The socket, to wait for messages on.
    pub fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The memory its rings are in. Empty until the front-end said what there is.
    pub fn memory(&self) -> &GuestMemory {
        &self.memory
    }

    /// Handles the one message that waits, and brings the driver's half of `slot` up to date.
    ///
    /// # Errors
    /// The connection is over.
    pub fn handle(&mut self, slot: &mut Slot) -> Result<(), Lost> {
        if self.notices.is_none() {
            self.notices = handed_over(&self.socket);
        }
        self.session().note_progress(slot, self.inflight.as_ref());
        let handled = match self.enabled_early() {
            true => Ok(()),
            false => self.handler.handle_request(),
        };
        // Nothing here panics while it holds the lock; the crate asks for a mutex.
        let mut session = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mapped) = session.memory() {
            self.memory = mapped.memory.clone();
            self.mapped = Some(Arc::clone(mapped));
        }
        if let Some(inflight) = session.inflight.take() {
            self.inflight = Some(inflight);
        }
        session.apply(slot, &self.memory, self.inflight.as_mut());
        self.kicks = session.rings.iter().map(|ring| ring.kick.clone()).collect();
        drop(session);
        handled.map_err(|error| Lost {
            what: error.to_string(),
            orderly: matches!(error, vhost::vhost_user::Error::Disconnected),
        })
    }

    /// Whether the next message enabled a ring before features were set, and was handled.
    fn enabled_early(&self) -> bool {
        let mut session = self.session();
        if session.has_features() {
            return false;
        }
        // What cannot be taken is the crate's to tell.
        let taken = message::take_enable(&self.socket, session.acknowledges());
        let Ok(Some((queue, enable))) = taken else {
            return false;
        };
        // A queue that there is not has nothing to enable.
        let _ = session.set_vring_enable(queue, enable);
        true
    }

    /// Where the driver notifies its queues: (queue, descriptor).
    pub fn kicks(&self) -> impl Iterator<Item = (u32, BorrowedFd<'_>)> {
        let queues = (0..).zip(&self.kicks);
        queues.filter_map(|(queue, kick)| kick.as_ref().map(|kick| (queue, kick.as_fd())))
    }

    /// Takes notifications of `queue` off its descriptor. False: none will ever come.
    pub fn take_kick(&self, queue: u32) -> bool {
        let queue = usize::try_from(queue).unwrap_or(usize::MAX);
        let Some(mut kick) = self.kicks.get(queue).and_then(|kick| kick.as_deref()) else {
            return true;
        };
        let mut count = [0; 8];
        match kick.read(&mut count) {
            Ok(read) => read > 0,
            // Nothing to read is nothing lost.
            Err(error) => error.kind() == std::io::ErrorKind::WouldBlock,
        }
    }

    /// Looks no more for notifications of `queue`.
    pub fn forget_kick(&mut self, queue: u32) {
        let queue = usize::try_from(queue).unwrap_or(usize::MAX);
        if let Some(kick) = self.kicks.get_mut(queue) {
            *kick = None;
        }
    }

    /// Tells the driver that queue `queue` has answers.
    pub fn call(&self, queue: usize) {
        if let Some(ring) = self.session().rings.get(queue) {
            ring.tell();
        }
    }

    /// What waits to be handled, if it can be handled at once.
    ///
    /// # Errors
    /// The host cannot tell.
    pub fn waiting(&self) -> std::io::Result<Waiting> {
        message::waiting(&self.socket)
    }

    /// Whether the front-end has gone, whatever it sent before.
    pub fn has_left(&self) -> bool {
        let mut fds = [PollFd::new(&self.socket, PollFlags::empty())];
        let looked = poll(&mut fds, Some(&Timespec::default()));
        let [socket] = fds;
        looked.is_ok() && socket.revents().intersects(PollFlags::HUP | PollFlags::ERR)
    }

    /// What one service call of the device needs.
    pub fn lend(&mut self) -> (&GuestMemory, Option<&mut dyn Ledger>) {
        let ledger = self.inflight.as_mut().map(|it| it as &mut dyn Ledger);
        (&self.memory, ledger)
    }

    /// Whether the front-end took away memory that it had shared, since this was last asked.
    pub fn lost_memory(&self) -> bool {
        hole::was_filled()
    }

    /// Shows the driver what the device changed. True where the front-end is yet to be told.
    pub fn show(&mut self, face: &Face) -> bool {
        let mut session = self.session();
        let changed = session.face.config != face.config;
        session.face = face.clone();
        changed
    }

    /// Tells the front-end that the configuration space changed. With `answered`, [`Connection::notices`]
    /// says when its guest can no longer read the old one.
    ///
    /// # Errors
    /// The connection is over.
    pub fn tell_config_changed(&mut self, answered: bool) -> Result<(), Lost> {
        let answers = self.session().acknowledges();
        let Some(notices) = &mut self.notices else {
            return Ok(());
        };
        let told = notices.config_changed(answered && answers);
        told.map_err(|error| not_taken(&error))
    }

    /// Where the front-end answers a notice, while one is without an answer.
    pub fn notices(&self) -> Option<BorrowedFd<'_>> {
        let notices = self.notices.as_ref().filter(|notices| notices.waits());
        notices.map(Notices::channel)
    }

    /// Takes the answer that came.
    ///
    /// # Errors
    /// The connection is over.
    pub fn hear_notices(&mut self) -> Result<(), Lost> {
        let heard = self.notices.as_mut().map(Notices::hear);
        heard.transpose().map_err(|error| not_taken(&error))?;
        Ok(())
    }

    fn session(&self) -> MutexGuard<'_, Session> {
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn not_taken(error: &std::io::Error) -> Lost {
    Lost {
        what: format!("the front-end does not take a change of configuration: {error}"),
        orderly: false,
    }
}
