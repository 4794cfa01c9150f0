//! iSCSI (RFC 7143) over TCP/IP: the initiator's half, one session a path.
//!
//! A path asks its controller for the target's name once (a discovery session), then logs in and stays. A
//! session that ends, by the peer or because a command was not answered in time, loses its commands; the
//! initiator above sends them again where it likes. The next command of the path opens it anew.

mod endpoint;
mod session;

use std::sync::Arc;

use devices::time::Nanos;

use self::session::Session;
use super::transport::{Answer, Command, Transport};

/// Sessions with all controllers.
#[derive(Clone, Debug)]
pub struct Iscsi {
    sessions: Vec<Session>,
    outbox: Vec<Vec<u8>>,
    answers: Vec<Answer>,
}

impl Iscsi {
    /// One path to each of `paths` controllers, none of them used yet.
    pub fn new(paths: usize) -> Iscsi {
        Iscsi {
            sessions: (0..paths.max(1)).map(Session::new).collect(),
            outbox: Vec::new(),
            answers: Vec::new(),
        }
    }

    /// Lets a session act, and takes what it has to say.
    fn with(&mut self, path: usize, act: impl FnOnce(&mut Session)) {
        let Some(session) = self.sessions.get_mut(path) else {
            return;
        };
        act(session);
        self.outbox.append(&mut session.frames);
        self.answers.append(&mut session.answers);
    }
}

impl Transport for Iscsi {
    fn send(&mut self, now: Nanos, path: usize, tag: u32, command: &Command) {
        // The first command brings all paths up, as a host does before it works.
        for path in 0..self.sessions.len() {
            self.with(path, |session| session.begin(now));
        }
        self.with(path, |session| session.send(now, tag, command));
    }

    fn give_up(&mut self, now: Nanos, path: usize) {
        self.with(path, |session| session.give_up(now));
    }

    fn receive(&mut self, now: Nanos, frame: &[u8]) {
        let frame: Arc<[u8]> = frame.into();
        for path in 0..self.sessions.len() {
            self.with(path, |session| session.receive(now, &frame));
        }
    }

    fn advance(&mut self, now: Nanos) {
        for path in 0..self.sessions.len() {
            self.with(path, |session| session.advance(now));
        }
    }

    fn deadline(&self) -> Option<Nanos> {
        self.sessions.iter().filter_map(Session::deadline).min()
    }

    fn take_frames(&mut self) -> Vec<Vec<u8>> {
        std::mem::take(&mut self.outbox)
    }

    fn take_answers(&mut self) -> Vec<Answer> {
        std::mem::take(&mut self.answers)
    }

    fn copy(&self) -> Box<dyn Transport> {
        Box::new(self.clone())
    }
}
