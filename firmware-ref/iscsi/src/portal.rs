//! All connections of a target portal.

use crate::connection::{Answer, Cause, Command, Connection, Event, Memory};
use crate::login::{Identity, Session};

/// Connections at a time: a session, the one that replaces it, and a discovery.
pub const CONNECTIONS: usize = 3;

/// What all of them work in.
pub type PortalMemory = [Memory; CONNECTIONS];

/// All connections.
#[derive(Debug)]
pub struct Portal<'m> {
    connections: [Connection<'m>; CONNECTIONS],
}

impl<'m> Portal<'m> {
    /// Without any connection yet.
    pub fn new(memory: &'m mut PortalMemory) -> Portal<'m> {
        Portal {
            connections: memory.each_mut().map(Connection::new),
        }
    }

    /// Connection `number`.
    pub fn connection(&mut self, number: usize) -> Option<&mut Connection<'m>> {
        self.connections.get_mut(number)
    }

    /// The session of connection `number`, once there is one.
    pub fn session(&self, number: usize) -> Option<&Session> {
        self.connections.get(number)?.session()
    }

    /// As [`Connection::receive`], for connection `number`. An opened session ends an older one of the same
    /// initiator port (§6.3.5).
    pub fn receive(
        &mut self,
        number: usize,
        bytes: &[u8],
        identity: &Identity<'_>,
    ) -> (usize, Option<Event>) {
        let Some(connection) = self.connections.get_mut(number) else {
            return (bytes.len(), None);
        };
        let (taken, event) = connection.receive(bytes, identity);
        match event {
            Some(Event::Opened) => self.end_older(number),
            Some(Event::Reset) => {
                for connection in &mut self.connections {
                    connection.drop_waiting();
                }
            }
            Some(Event::Command(_)) | None => {}
        }
        (taken, event)
    }

    /// The command in `place` of connection `number`.
    pub fn command(&self, number: usize, place: usize) -> Option<Command<'_>> {
        self.connections.get(number)?.command(place)
    }

    /// Answers it.
    pub fn answer(&mut self, number: usize, place: usize, tag: u32, answer: &Answer<'_>) {
        if let Some(connection) = self.connections.get_mut(number) {
            connection.answer(place, tag, answer);
        }
    }

    fn end_older(&mut self, number: usize) {
        let key = |connection: &Connection<'_>| {
            let session = connection.session()?;
            Some((session.initiator, session.isid, session.session_type))
        };
        let opened = self.connections.get(number).and_then(key);
        for (other, connection) in self.connections.iter_mut().enumerate() {
            if other != number && opened.is_some() && key(connection) == opened {
                connection.end(Cause::Reinstated);
            }
        }
    }
}
