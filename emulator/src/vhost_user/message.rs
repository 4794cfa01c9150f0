//! The next message, looked at before the `vhost` crate reads it.
//!
//! The crate waits for what a header promises, for ever, and for room for its answer. So a message is only
//! handed to it when all of it has come and the answer can go.
//!
//! One message it refuses that QEMU's network cards send: a ring that is enabled before features are set. The protocol's
//! features are offered by then, and QEMU takes that for negotiated. So that one is answered here.

use std::io::{self, IoSliceMut};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

/// Header of every message: request, flags, bytes that follow.
pub(super) const HEADER_BYTES: usize = 12;
/// Longest body that the crate takes; with more it gives up at once.
const BODY_BYTES_MAX: u64 = 4096;
/// VHOST_USER_GET_VRING_BASE, and VHOST_USER_SET_VRING_ENABLE: QEMU disables a ring before it stops it.
const GET_VRING_BASE: u32 = 11;
const SET_VRING_ENABLE: u32 = 18;

/// What waits on a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waiting {
    /// Nothing.
    Nothing,
    /// The beginning of a message, or no room for its answer.
    Incomplete,
    /// A message that stops a queue, which is to have answered by then what it can.
    Stop {
        /// The queue.
        queue: u32,
    },
    /// Any other message, or the end.
    Message,
}

/// A look at the next message: its first bytes, and descriptors that come with it (copies).
pub(super) struct Look {
    pub(super) bytes: [u8; HEADER_BYTES + 8],
    pub(super) length: usize,
    pub(super) files: Vec<OwnedFd>,
}

impl Look {
    /// Takes a look at `socket` without taking anything off it.
    pub(super) fn at(socket: &UnixStream) -> rustix::io::Result<Look> {
        let mut bytes = [0; HEADER_BYTES + 8];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::PEEK | RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let received = recvmsg(socket, &mut parts, &mut control, flags)?;
        let files = control.drain().filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(files) => Some(files),
            _ => None,
        });
        let files = files.flatten().collect();
        Ok(Look {
            bytes,
            length: received.bytes,
            files,
        })
    }

    /// A 32-bit word of the message.
    pub(super) fn word(&self, index: usize) -> Option<u32> {
        let (words, _) = self.bytes.get(..self.length)?.as_chunks::<4>();
        words.get(index).copied().map(u32::from_le_bytes)
    }
}

/// What waits on `socket`.
pub(super) fn waiting(socket: &UnixStream) -> io::Result<Waiting> {
    let look = match Look::at(socket) {
        Ok(look) => look,
        Err(rustix::io::Errno::AGAIN) => return Ok(Waiting::Nothing),
        // The crate sees it too, and says it better.
        Err(_) => return Ok(Waiting::Message),
    };
    if look.length == 0 {
        return Ok(Waiting::Message);
    }
    let (Some(request), Some(length)) = (look.word(0), look.word(2)) else {
        return Ok(Waiting::Incomplete);
    };
    let length = u64::from(length);
    let there = rustix::io::ioctl_fionread(socket)?;
    let whole = length > BODY_BYTES_MAX || there >= HEADER_BYTES as u64 + length;
    if !whole || !has_room(socket)? {
        return Ok(Waiting::Incomplete);
    }
    Ok(match look.word(3) {
        Some(queue) if request == GET_VRING_BASE => Waiting::Stop { queue },
        Some(queue) if request == SET_VRING_ENABLE && look.word(4) == Some(0) => {
            Waiting::Stop { queue }
        }
        _ => Waiting::Message,
    })
}

/// Takes a whole message off `socket` that enables or disables a queue, if that is the next one: the queue, and which.
/// `acknowledges`: whether the front-end may ask for an answer.
pub(super) fn take_enable(
    socket: &UnixStream,
    acknowledges: bool,
) -> rustix::io::Result<Option<(u32, bool)>> {
    const NEED_REPLY: u32 = 1 << 3;
    /// Version 1, and a reply.
    const REPLY: u32 = 1 | 1 << 2;
    let look = Look::at(socket)?;
    let words = [0, 1, 2, 3, 4].map(|index| look.word(index));
    let [
        Some(SET_VRING_ENABLE),
        Some(flags),
        Some(8),
        Some(queue),
        Some(enable @ 0..=1),
    ] = words
    else {
        return Ok(None);
    };
    rustix::io::retry_on_intr(|| rustix::io::read(socket, &mut [0; HEADER_BYTES + 8]))?;
    if flags & NEED_REPLY != 0 && acknowledges {
        let reply = [SET_VRING_ENABLE, REPLY, 8, 0, 0].map(u32::to_ne_bytes);
        rustix::io::retry_on_intr(|| rustix::io::write(socket, reply.as_flattened()))?;
    }
    Ok(Some((queue, enable == 1)))
}

/// Whether an answer can be sent without waiting.
fn has_room(socket: &UnixStream) -> io::Result<bool> {
    let mut fds = [PollFd::new(socket, PollFlags::OUT)];
    poll(&mut fds, Some(&Timespec::default()))?;
    let [socket] = fds;
    Ok(!socket.revents().is_empty())
}
