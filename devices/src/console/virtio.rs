use serde::{Deserialize, Serialize};

use super::{Console, MAX_INPUT_BYTES};
use crate::event::DeviceEvent;
use crate::time::Nanos;
use crate::virtio::{Chain, DeviceIo, F_VERSION_1, VirtioDevice};

/// Console (virtio 1.4 §5.3).
pub const DEVICE_ID: u32 = 3;

const RECEIVE: usize = 0;
const TRANSMIT: usize = 1;
const QUEUE_SIZE: u16 = 64;

/// Most bytes printed by one buffer: one exit must not make the bench write a book.
const MAX_TRANSMIT_BYTES: usize = 64 * 1024;

/// The virtio side.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConsoleVirtio {
    /// Something was typed and the driver posted no buffer: nothing to do until it does.
    starved: bool,
}

impl VirtioDevice for ConsoleVirtio {
    type Core<'a> = &'a mut Console;

    fn device_id(&self) -> u32 {
        DEVICE_ID
    }

    fn features(&self, _core: &&mut Console) -> u64 {
        F_VERSION_1
    }

    fn queue_sizes(&self) -> &'static [u16] {
        &[QUEUE_SIZE, QUEUE_SIZE]
    }

    fn receive_queue(&self) -> Option<usize> {
        Some(RECEIVE)
    }

    /// No field of it is valid without a feature that is not offered (virtio 1.4 §5.3.4).
    fn config(&self, _core: &&mut Console) -> Vec<u8> {
        Vec::new()
    }

    fn reset(&mut self, _core: &mut &mut Console) {
        *self = ConsoleVirtio::default();
    }

    fn service(&mut self, core: &mut &mut Console, io: &mut DeviceIo<'_>) {
        for _ in 0..QUEUE_SIZE {
            let Some(chain) = io.take(TRANSMIT) else {
                break;
            };
            transmit(core, io, &chain);
        }
        self.starved = false;
        for _ in 0..QUEUE_SIZE {
            if core.unread() == 0 {
                return;
            }
            let Some(chain) = io.take(RECEIVE) else { break };
            receive(core, io, &chain);
        }
        self.starved = core.unread() > 0;
    }

    fn deadline(&self, core: &&mut Console) -> Option<Nanos> {
        if self.starved {
            return None;
        }
        core.pending_since()
    }

    /// Everything is answered in the call that takes it.
    fn in_flight(&self, _queue: usize) -> usize {
        0
    }
}

fn transmit(core: &mut Console, io: &mut DeviceIo<'_>, chain: &Chain) {
    if chain.writable_len() > 0 {
        // virtio 1.4 §5.3.6.1: a transmit buffer is not for the device to write.
        io.fault(TRANSMIT, "a transmit buffer with a writable part");
    }
    if chain.readable_len() > MAX_TRANSMIT_BYTES as u64 {
        io.fault(TRANSMIT, "more than 64 KiB of text in one buffer");
    }
    let text = chain.read_vec(io.memory, 0, MAX_TRANSMIT_BYTES);
    for line in core.print(&text) {
        io.events.push(DeviceEvent::ConsoleLine(line));
    }
    io.finish(TRANSMIT, chain, 0);
}

fn receive(core: &mut Console, io: &mut DeviceIo<'_>, chain: &Chain) {
    let room = usize::try_from(chain.writable_len()).unwrap_or(MAX_INPUT_BYTES);
    if room == 0 {
        io.fault(RECEIVE, "a receive buffer without room");
    }
    let written = chain.write(io.memory, 0, &core.read(room));
    io.finish(RECEIVE, chain, u32::try_from(written).unwrap_or(0));
}
