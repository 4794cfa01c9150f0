use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use super::place::Place;

/// Longest command.
pub const LINE_BYTES_MAX: usize = 4096;
/// Most that is kept for somebody who does not read.
const UNREAD_BYTES_MAX: usize = 64 << 10;
/// Most people at a time.
const CLIENTS_MAX: usize = 16;

/// The control socket: a command a line, an answer a line.
#[derive(Debug)]
pub struct Control {
    place: Place,
    clients: Vec<Client>,
    next: u64,
}

#[derive(Debug)]
struct Client {
    number: u64,
    stream: UnixStream,
    received: Vec<u8>,
    unsent: Vec<u8>,
    wants_events: bool,
    leaving: bool,
}

/// What the control socket may have to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ear {
    Listener,
    Client(u64),
}

impl Control {
    /// A control socket at `place`.
    pub fn new(place: Place) -> Control {
        Control {
            place,
            clients: Vec::new(),
            next: 0,
        }
    }

    /// What to wait for; with `true`, for room to send as well.
    pub(super) fn ears<'a>(&'a self, each: &mut impl FnMut(Ear, BorrowedFd<'a>, bool)) {
        each(Ear::Listener, self.place.listener.as_fd(), false);
        for client in &self.clients {
            each(
                Ear::Client(client.number),
                client.stream.as_fd(),
                !client.unsent.is_empty(),
            );
        }
    }

    /// Somebody comes.
    pub(super) fn accept(&mut self) {
        let Ok((stream, _)) = self.place.listener.accept() else {
            return;
        };
        if self.clients.len() >= CLIENTS_MAX || stream.set_nonblocking(true).is_err() {
            return;
        }
        self.clients.push(Client {
            number: self.next,
            stream,
            received: Vec::new(),
            unsent: Vec::new(),
            wants_events: false,
            leaving: false,
        });
        self.next += 1;
    }

    /// Reads what came from a client, and returns whole lines.
    pub(super) fn read(&mut self, number: u64) -> Vec<String> {
        let Some(client) = self.client(number) else {
            return Vec::new();
        };
        client.send();
        let mut bytes = [0; LINE_BYTES_MAX];
        match client.stream.read(&mut bytes) {
            Ok(0) => client.leaving = true,
            Ok(read) => client.received.extend(bytes.iter().take(read)),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(_) => client.leaving = true,
        }
        let mut lines = Vec::new();
        while let Some(end) = client.received.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = client.received.drain(..=end).collect();
            lines.push(String::from_utf8_lossy(&line).trim().to_owned());
        }
        if client.received.len() > LINE_BYTES_MAX {
            client.say("error a command has at most 4096 bytes");
            client.leaving = true;
        }
        self.bury();
        lines
    }

    /// Answers a client.
    pub(super) fn answer(&mut self, number: u64, answer: &Result<String, String>) {
        // One line each, whatever is in it.
        let line = match answer {
            Ok(text) if text.is_empty() => "ok".to_owned(),
            Ok(text) => format!("ok {}", text.replace('\n', " ")),
            Err(text) => format!("error {}", text.replace('\n', " ")),
        };
        if let Some(client) = self.client(number) {
            client.say(&line);
        }
        self.bury();
    }

    /// Says several lines to a client.
    pub(super) fn tell(&mut self, number: u64, lines: &str) {
        if let Some(client) = self.client(number) {
            client.say(lines);
        }
        self.bury();
    }

    /// A client wants to hear of everything that happens.
    pub(super) fn subscribe(&mut self, number: u64) {
        if let Some(client) = self.client(number) {
            client.wants_events = true;
        }
    }

    /// Tells those who want to know.
    pub(super) fn announce(&mut self, line: &str) {
        for client in self.clients.iter_mut().filter(|it| it.wants_events) {
            client.say(line);
        }
        self.bury();
    }

    fn client(&mut self, number: u64) -> Option<&mut Client> {
        self.clients.iter_mut().find(|it| it.number == number)
    }

    fn bury(&mut self) {
        self.clients.retain(|client| !client.leaving);
    }
}

impl Client {
    fn say(&mut self, line: &str) {
        self.unsent.extend(line.as_bytes());
        self.unsent.push(b'\n');
        self.send();
        if self.unsent.len() > UNREAD_BYTES_MAX {
            self.leaving = true;
        }
    }

    fn send(&mut self) {
        while !self.unsent.is_empty() {
            match self.stream.write(&self.unsent) {
                Ok(sent) => drop(self.unsent.drain(..sent)),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                Err(_) => {
                    self.leaving = true;
                    return;
                }
            }
        }
    }
}
