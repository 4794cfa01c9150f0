//! What a back-end tells its front-end by itself, over a channel of its own.
//!
//! The `vhost` crate takes the channel (SET_BACKEND_REQ_FD) and keeps it to itself, but cannot send
//! CONFIG_CHANGE_MSG on it. So the descriptor is picked up here, by looking at a message before the crate reads
//! it.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use super::message::{HEADER_BYTES, Look};

/// VHOST_USER_SET_BACKEND_REQ_FD.
const SET_BACKEND_REQ_FD: u32 = 21;
/// VHOST_USER_BACKEND_CONFIG_CHANGE_MSG.
const CONFIG_CHANGE: u32 = 2;
/// Version 1 of the protocol, and bit 3: an answer is wanted.
const FLAGS_NEED_REPLY: u32 = 1 | 1 << 3;
const FLAGS: u32 = 1;
/// Header and one 64-bit number.
const ANSWER_BYTES: usize = HEADER_BYTES + 8;

/// The channel on which a back-end speaks.
#[derive(Debug)]
pub(super) struct Notices {
    channel: UnixStream,
    /// Notices without an answer so far.
    unanswered: usize,
    /// Bytes of the next answer that came already.
    received: usize,
}

/// Looks whether the next message on `socket` hands over a channel, without taking it off.
pub(super) fn handed_over(socket: &UnixStream) -> Option<Notices> {
    // Descriptors that came with anything else are dropped again here: only copies, as it was a look.
    let look = Look::at(socket).ok()?;
    if look.word(0) != Some(SET_BACKEND_REQ_FD) {
        return None;
    }
    let channel = UnixStream::from(look.files.into_iter().next()?);
    channel.set_nonblocking(true).ok()?;
    Some(Notices {
        channel,
        unanswered: 0,
        received: 0,
    })
}

impl Notices {
    /// Where answers come.
    pub(super) fn channel(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }

    /// Says that the configuration space changed. With `answered`, wants to hear when the front-end has taken
    /// notice: its guest cannot read the old one then.
    pub(super) fn config_changed(&mut self, answered: bool) -> io::Result<()> {
        let flags = if answered { FLAGS_NEED_REPLY } else { FLAGS };
        let mut message = Vec::with_capacity(HEADER_BYTES);
        for word in [CONFIG_CHANGE, flags, 0] {
            message.extend(word.to_le_bytes());
        }
        self.channel.write_all(&message)?;
        self.unanswered += usize::from(answered);
        Ok(())
    }

    /// Takes what came. What an answer says is of no interest.
    pub(super) fn hear(&mut self) -> io::Result<()> {
        let mut bytes = [0; ANSWER_BYTES];
        match self.channel.read(&mut bytes) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => self.received += n,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        while self.received >= ANSWER_BYTES && self.unanswered > 0 {
            self.received -= ANSWER_BYTES;
            self.unanswered -= 1;
        }
        Ok(())
    }

    /// Whether an answer is awaited.
    pub(super) fn waits(&self) -> bool {
        self.unanswered > 0
    }
}
