//! One front-end on one socket.

use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use devices::virtio::GuestMemory;
use thiserror::Error;
use vhost::vhost_user::BackendReqHandler;

use super::memory::MemorySource;
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
        let session = Arc::new(Mutex::new(Session::new(face, source)));
        let handler = BackendReqHandler::from_stream(socket.try_clone()?, Arc::clone(&session));
        Ok(Connection {
            socket,
            handler,
            session,
            notices: None,
            kicks: Vec::new(),
            memory: owned.unwrap_or_default(),
        })
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
        self.session().note_progress(slot);
        let handled = self.handler.handle_request();
        let shared = self.session().memory().cloned();
        if let Some(memory) = shared {
            self.memory = memory;
        }
        let memory = self.memory.clone();
        let mut session = self.session();
        session.apply(slot, &memory);
        let kicks = session.rings.iter().map(|ring| ring.kick.clone()).collect();
        drop(session);
        self.kicks = kicks;
        handled.map_err(|error| Lost {
            what: error.to_string(),
            orderly: matches!(error, vhost::vhost_user::Error::Disconnected),
        })
    }

    /// Where the driver notifies its queues: (queue, descriptor).
    pub fn kicks(&self) -> impl Iterator<Item = (u32, BorrowedFd<'_>)> {
        let queues = (0..).zip(&self.kicks);
        queues.filter_map(|(queue, kick)| kick.as_ref().map(|kick| (queue, kick.as_fd())))
    }

    /// Takes notifications of `queue` off its descriptor.
    pub fn take_kick(&self, queue: u32) {
        let queue = usize::try_from(queue).unwrap_or(usize::MAX);
        if let Some(mut kick) = self.kicks.get(queue).and_then(|kick| kick.as_deref()) {
            let mut count = [0; 8];
            // Nothing to read is nothing lost.
            let _ = kick.read(&mut count);
        }
    }

    /// Tells the driver that queue `queue` has answers.
    pub fn call(&self, queue: usize) {
        let session = self.session();
        if let Some(mut call) = session
            .rings
            .get(queue)
            .and_then(|ring| ring.call.as_deref())
        {
            // A front-end whose eventfd is full has a notification pending already.
            let _ = call.write(&1_u64.to_ne_bytes());
        }
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
        // Nothing here panics while it holds the lock; the crate asks for a mutex.
        self.session.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn not_taken(error: &std::io::Error) -> Lost {
    Lost {
        what: format!("the front-end does not take a change of configuration: {error}"),
        orderly: false,
    }
}
