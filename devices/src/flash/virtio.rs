use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::bus::{Schedule, SpiBus, Transfer};
use super::request::{BITS_PER_WORD, HEAD_BYTES, PARAM_ERR, TRANS_ERR, TRANS_OK, parse};
use crate::event::DeviceEvent;
use crate::medium::MediumError;
use crate::time::Nanos;
use crate::virtio::{Chain, DeviceIo, F_VERSION_1, VirtioDevice};

/// SPI controller (virtio 1.4 §5.21.1).
pub const DEVICE_ID: u32 = 45;

/// Largest size of the request queue.
pub const QUEUE_SIZE: u16 = 256;

const REQUESTS: usize = 0;

/// CPHA = 0 and CPOL = 0 only, chip select active low, most significant bit first.
const MODES_SUPPORTED: u32 = 0b0101;

/// The virtio side of an [`SpiBus`]: requests are transfers, done in ring order, one after another.
///
/// ```text
///   available ──taken──► waiting ──begin──► under way ──execute──► cooling ──► used
///                                  (start)          (chip select rises)  (bus free)
/// ```
///
/// A transfer starts when it was taken or when the bus became free, whichever is later; the chip
/// sees it when its last word is over, and it is given back after the inactive delay.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VirtioSpi {
    waiting: VecDeque<Waiting>,
    under_way: Option<UnderWay>,
    /// When the last transfer left the bus.
    free_at: Nanos,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Waiting {
    chain: Chain,
    taken: Nanos,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct UnderWay {
    chain: Chain,
    transfer: Transfer,
    schedule: Schedule,
    /// The result, once the chip has seen the transfer.
    result: Option<u8>,
}

/// The parts of a request besides its header.
struct Buffers {
    transmit: usize,
    receive: usize,
}

impl Buffers {
    /// A request is head, tx_buf, rx_buf, result; which are there shows in the lengths.
    fn of(chain: &Chain) -> Result<Buffers, &'static str> {
        let bytes = |length| usize::try_from(length).unwrap_or(usize::MAX);
        let readable = bytes(chain.readable_len());
        let Some(transmit) = readable.checked_sub(HEAD_BYTES) else {
            return Err("the transfer head is cut short");
        };
        let receive = bytes(chain.writable_len()).saturating_sub(1);
        if transmit != 0 && receive != 0 && transmit != receive {
            return Err("tx_buf and rx_buf of a full-duplex transfer differ in length");
        }
        Ok(Buffers { transmit, receive })
    }
}

impl VirtioSpi {
    /// A controller without requests.
    pub fn new() -> VirtioSpi {
        VirtioSpi::default()
    }

    /// Moves everything the driver made available into the waiting line.
    fn take(&mut self, io: &mut DeviceIo<'_>) {
        // A driver has no more descriptors than the queue has entries; one that offers some twice
        // has to wait with the rest, so that it cannot make the line grow without end.
        while self.in_flight(REQUESTS) < usize::from(QUEUE_SIZE) {
            let Some(chain) = io.take(REQUESTS) else {
                break;
            };
            self.waiting.push_back(Waiting {
                chain,
                taken: io.now,
            });
        }
    }

    /// Starts the next transfer in line, or answers the request at once if it is not valid.
    fn start(&mut self, bus: &mut SpiBus, io: &mut DeviceIo<'_>, next: Waiting) {
        let Waiting { chain, taken } = next;
        let start = self.free_at.max(taken);
        if chain.writable_len() == 0 {
            io.fault(REQUESTS, "a request has no room for its result");
            io.finish(REQUESTS, &chain, 0);
            return;
        }
        let mut head = [0; HEAD_BYTES];
        chain.read(io.memory, 0, &mut head);
        let checked = Buffers::of(&chain).and_then(|buffers| {
            let transfer = parse(&head, bus.chips().len(), bus.limits())?;
            Ok((transfer, buffers.transmit.max(buffers.receive)))
        });
        let (transfer, words) = match checked {
            Ok(checked) => checked,
            Err(why) => {
                io.fault(REQUESTS, why);
                refuse(io, &chain, PARAM_ERR);
                return;
            }
        };
        match bus.begin(start, &transfer, words, io.events) {
            Ok(schedule) => {
                self.under_way = Some(UnderWay {
                    chain,
                    transfer,
                    schedule,
                    result: None,
                });
            }
            Err(error) => {
                note(io, &error);
                refuse(io, &chain, TRANS_ERR);
            }
        }
    }

    /// Carries the transfer under way on as far as `io.now` lets it; says whether it is over.
    fn carry_on(bus: &mut SpiBus, io: &mut DeviceIo<'_>, it: &mut UnderWay) -> bool {
        if it.result.is_none() && it.schedule.executes <= io.now {
            it.result = Some(exchange(bus, io, it));
        }
        it.schedule.ends <= io.now
    }
}

/// Lets the chip see the transfer, and puts what it said into the request.
fn exchange(bus: &mut SpiBus, io: &mut DeviceIo<'_>, it: &UnderWay) -> u8 {
    let lengths = Buffers::of(&it.chain).unwrap_or(Buffers {
        transmit: 0,
        receive: 0,
    });
    let sent = it
        .chain
        .read_vec(io.memory, HEAD_BYTES as u64, lengths.transmit);
    let mut received = vec![0xff; lengths.receive];
    let done = bus.execute(&it.schedule, &it.transfer, &sent, &mut received, io.events);
    it.chain.write(io.memory, 0, &received);
    match done {
        Ok(()) => TRANS_OK,
        Err(error) => {
            note(io, &error);
            TRANS_ERR
        }
    }
}

/// Gives a request back with its result; rx_buf has been written.
fn answer(io: &mut DeviceIo<'_>, chain: &Chain, result: u8) {
    let room = chain.writable_len().saturating_sub(1);
    chain.write(io.memory, room, &[result]);
    let written = u32::try_from(room + 1).unwrap_or(u32::MAX);
    io.finish(REQUESTS, chain, written);
}

/// Gives a request back that no chip saw. rx_buf is filled, since the used length has to cover
/// every byte up to the result.
fn refuse(io: &mut DeviceIo<'_>, chain: &Chain, result: u8) {
    let room = chain.writable_len().saturating_sub(1);
    let blank = vec![0xff; usize::try_from(room).unwrap_or(0)];
    chain.write(io.memory, 0, &blank);
    answer(io, chain, result);
}

/// The host could not keep up the medium: not the driver's fault.
fn note(io: &mut DeviceIo<'_>, error: &MediumError) {
    let notice = format!("medium-failed cause={error}");
    io.events.push(DeviceEvent::MediumFault(notice));
}

impl VirtioDevice for VirtioSpi {
    type Core<'a> = &'a mut SpiBus;

    fn device_id(&self) -> u32 {
        DEVICE_ID
    }

    fn features(&self, _core: &Self::Core<'_>) -> u64 {
        F_VERSION_1
    }

    fn queue_sizes(&self) -> &'static [u16] {
        &[QUEUE_SIZE]
    }

    /// `struct virtio_spi_config`.
    fn config(&self, core: &Self::Core<'_>) -> Vec<u8> {
        let limits = core.limits();
        let chips = u8::try_from(core.chips().len()).unwrap_or(u8::MAX);
        // Chip select can toggle after each transfer; no dual, quad or octal lines.
        let mut config = vec![chips, 1, 0, 0];
        for word in [
            1 << (BITS_PER_WORD - 1),
            MODES_SUPPORTED,
            limits.frequency_hz,
            limits.word_delay_ns,
            limits.setup_ns,
            limits.hold_ns,
            limits.inactive_ns,
        ] {
            config.extend(u32::to_le_bytes(word));
        }
        config
    }

    /// Requests are forgotten; chip select goes without a command being executed.
    fn reset(&mut self, core: &mut Self::Core<'_>) {
        *self = VirtioSpi::default();
        core.abandon();
    }

    fn service(&mut self, core: &mut Self::Core<'_>, io: &mut DeviceIo<'_>) {
        self.take(io);
        loop {
            if let Some(mut it) = self.under_way.take() {
                if !VirtioSpi::carry_on(core, io, &mut it) {
                    self.under_way = Some(it);
                    return;
                }
                self.free_at = it.schedule.ends;
                let result = it.result.unwrap_or(TRANS_ERR);
                answer(io, &it.chain, result);
            }
            let Some(next) = self.waiting.pop_front() else {
                return;
            };
            self.start(core, io, next);
        }
    }

    fn deadline(&self, _core: &Self::Core<'_>) -> Option<Nanos> {
        self.under_way.as_ref().map(|it| match it.result {
            None => it.schedule.executes,
            Some(_) => it.schedule.ends,
        })
    }

    fn in_flight(&self, queue: usize) -> usize {
        match queue {
            REQUESTS => self.waiting.len() + usize::from(self.under_way.is_some()),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests;
