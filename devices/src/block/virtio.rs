use std::collections::VecDeque;
use std::marker::PhantomData;

use serde::{Deserialize, Serialize};
use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_F_BLK_SIZE, VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_RO, VIRTIO_BLK_F_SEG_MAX,
    VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, VIRTIO_BLK_S_UNSUPP, VIRTIO_BLK_T_FLUSH,
    VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT,
};

use super::{BlockCore, Destination, Request, SECTOR_BYTES, Source};
use crate::time::Nanos;
use crate::virtio::{
    Chain, ChainReader, ChainWriter, DeviceIo, F_VERSION_1, MAX_CHAIN_BYTES, VirtioDevice,
};

/// Block device (virtio 1.4 §5.2.1).
pub const DEVICE_ID: u32 = 2;

const QUEUE_SIZES: [u16; 1] = [128];
const REQUESTS: usize = 0;
/// type, reserved, sector (§5.2.6).
const HEADER_BYTES: usize = 16;
/// Once the requests in progress have so many bytes, the next one waits on the ring: their buffers may
/// all be the same few in guest memory, what the core holds for them is not.
const MOST_BYTES_IN_PROGRESS: u64 = 2 * MAX_CHAIN_BYTES;
/// Data segments per request: the ring less header and status.
const SEG_MAX: u32 = QUEUE_SIZES[0] as u32 - 2;

/// The virtio side of one port of a block core: the requests the core has not answered yet.
#[derive(Debug, Serialize, Deserialize)]
#[serde(bound = "")]
pub struct BlockVirtio<C> {
    port: usize,
    /// In the order they were asked, so by ticket.
    unanswered: VecDeque<Unanswered>,
    /// Bytes of their buffers.
    bytes_in_progress: u64,
    core: PhantomData<fn() -> C>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Unanswered {
    ticket: u64,
    chain: Chain,
    /// Bytes of the writable part before the status byte.
    room: u64,
    /// A write that is answered only when it is on the medium: its driver knows no flush.
    made_durable: bool,
}

impl<C> BlockVirtio<C> {
    /// Port `port` of the core.
    pub fn new(port: usize) -> Self {
        BlockVirtio {
            port,
            unanswered: VecDeque::new(),
            bytes_in_progress: 0,
            core: PhantomData,
        }
    }
}

// By hand, because deriving would ask the same of the core.
impl<C> Clone for BlockVirtio<C> {
    fn clone(&self) -> Self {
        BlockVirtio {
            port: self.port,
            unanswered: self.unanswered.clone(),
            bytes_in_progress: self.bytes_in_progress,
            core: PhantomData,
        }
    }
}

impl<C> PartialEq for BlockVirtio<C> {
    fn eq(&self, other: &Self) -> bool {
        self.port == other.port && self.unanswered == other.unanswered
    }
}

/// What a request header asks for.
enum Asked {
    Read { sector: u64, sectors: u32 },
    Write { sector: u64, bytes: u64 },
    Flush,
    Identity,
    Refused(u32),
}

impl Destination for ChainWriter<'_> {
    fn append(&mut self, bytes: &[u8]) {
        self.write(bytes);
    }

    fn append_sectors(&mut self, bytes: &[u8], stride: usize) {
        let sectors = bytes.chunks(stride);
        let room = self.whole(sectors.len() * SECTOR_BYTES);
        for (sector, at) in sectors.zip((0..).step_by(SECTOR_BYTES)) {
            let data = sector.get(..SECTOR_BYTES).unwrap_or(sector);
            match room.as_ref().map(|room| room.subslice(at, data.len())) {
                Some(Ok(place)) => place.copy_from(data),
                _ => self.append(data),
            }
        }
    }
}

impl Source for ChainReader<'_> {
    fn take(&mut self, into: &mut [u8]) {
        let there = self.read(into);
        into[there..].fill(0);
    }

    fn take_sectors(&mut self, into: &mut [u8], stride: usize, filled: &mut dyn FnMut(&mut [u8])) {
        let places = into.chunks_mut(stride);
        let there = self.whole(places.len() * SECTOR_BYTES);
        for (place, at) in places.zip((0..).step_by(SECTOR_BYTES)) {
            let length = place.len().min(SECTOR_BYTES);
            let data = &mut place[..length];
            match there.as_ref().map(|there| there.subslice(at, length)) {
                Some(Ok(there)) => drop(there.copy_to(data)),
                _ => self.take(data),
            }
            filled(place);
        }
    }
}

impl<C: BlockCore + 'static> VirtioDevice for BlockVirtio<C> {
    type Core<'a> = &'a mut C;

    fn device_id(&self) -> u32 {
        DEVICE_ID
    }

    fn features(&self, core: &&mut C) -> u64 {
        let mut features = F_VERSION_1 | 1 << VIRTIO_BLK_F_BLK_SIZE | 1 << VIRTIO_BLK_F_SEG_MAX;
        features |= 1
            << if core.read_only() {
                VIRTIO_BLK_F_RO
            } else {
                VIRTIO_BLK_F_FLUSH
            };
        features
    }

    fn queue_sizes(&self) -> &'static [u16] {
        &QUEUE_SIZES
    }

    fn config(&self, core: &&mut C) -> Vec<u8> {
        // struct virtio_blk_config (§5.2.4) up to blk_size; what is not offered stays zero.
        let mut config = vec![0; 60];
        config[..8].copy_from_slice(&core.sectors().to_le_bytes());
        config[12..16].copy_from_slice(&SEG_MAX.to_le_bytes());
        config[20..24].copy_from_slice(&512_u32.to_le_bytes());
        config
    }

    fn reset(&mut self, core: &mut &mut C) {
        self.unanswered.clear();
        self.bytes_in_progress = 0;
        core.forget(self.port);
    }

    fn service(&mut self, core: &mut &mut C, io: &mut DeviceIo<'_>) {
        // Whoever overlays the rings can make the available one grow with every answer: no more
        // requests at once than an honest driver can offer.
        for _ in 0..QUEUE_SIZES[REQUESTS] {
            if self.is_full() {
                self.finish(core, io);
            }
            if self.is_full() {
                break;
            }
            let Some(chain) = io.take(REQUESTS) else {
                break;
            };
            self.start(core, io, chain);
        }
        self.finish(core, io);
    }

    fn deadline(&self, core: &&mut C) -> Option<Nanos> {
        core.deadline(self.port)
    }

    fn in_flight(&self, _queue: usize) -> usize {
        self.unanswered.len()
    }
}

impl<C: BlockCore> BlockVirtio<C> {
    /// Whether the next request has to wait on the ring. There is always one in progress then, whose
    /// end is a deadline.
    fn is_full(&self) -> bool {
        self.bytes_in_progress >= MOST_BYTES_IN_PROGRESS
    }

    /// Gives back what the core is done with.
    fn finish(&mut self, core: &mut C, io: &mut DeviceIo<'_>) {
        // A flush may be done at once. Each write has one at most.
        while self.finish_some(core, io) {}
    }

    /// The same; whether a flush was begun for it.
    fn finish_some(&mut self, core: &mut C, io: &mut DeviceIo<'_>) -> bool {
        let mut flushing = false;
        for done in core.take_completions(io.now, self.port) {
            let place = self
                .unanswered
                .binary_search_by_key(&done.ticket, |it| it.ticket);
            let Some(mut unanswered) = place.ok().and_then(|place| self.unanswered.remove(place))
            else {
                continue;
            };
            if done.result.is_ok() && std::mem::take(&mut unanswered.made_durable) {
                unanswered.ticket = core.submit(io.now, self.port, Request::Flush, io.events);
                self.unanswered.push_back(unanswered);
                flushing = true;
                continue;
            }
            self.bytes_in_progress -= unanswered.bytes();
            let status = match done.result {
                Ok(()) => VIRTIO_BLK_S_OK,
                Err(_) => VIRTIO_BLK_S_IOERR,
            };
            answer(io, &unanswered.chain, unanswered.room, status);
        }
        flushing
    }

    fn start(&mut self, core: &mut C, io: &mut DeviceIo<'_>, chain: Chain) {
        let Some(room) = chain.writable_len().checked_sub(1) else {
            // Nowhere to put a status: the driver cannot be told, only reset (§5.2.6.1).
            io.fault(REQUESTS, "a request without a status byte");
            io.finish(REQUESTS, &chain, 0);
            io.needs_reset = true;
            return;
        };
        let (mut reader, mut writer);
        let request = match asked(core, io, &chain, room) {
            Asked::Read { sector, sectors } => {
                writer = chain.writer(io.memory, 0);
                let into = &mut writer;
                Request::Read {
                    sector,
                    sectors,
                    into,
                }
            }
            Asked::Write { sector, bytes } => {
                reader = chain.reader(io.memory, HEADER_BYTES as u64);
                let from = &mut reader;
                Request::Write {
                    sector,
                    bytes,
                    from,
                }
            }
            Asked::Flush => Request::Flush,
            Asked::Identity => {
                let identity = core.identity();
                let shown = usize::try_from(room).unwrap_or(identity.len());
                chain.write(io.memory, 0, &identity[..shown.min(identity.len())]);
                return answer(io, &chain, room, VIRTIO_BLK_S_OK);
            }
            Asked::Refused(status) => return answer(io, &chain, room, status),
        };
        // A write is stable once it is completed, if a flush was offered and not negotiated (§5.2.6.2).
        let knows_flush = io.features & (1 << VIRTIO_BLK_F_FLUSH) != 0;
        let made_durable = matches!(request, Request::Write { .. }) && !knows_flush;
        let ticket = core.submit(io.now, self.port, request, io.events);
        let unanswered = Unanswered {
            ticket,
            chain,
            room,
            made_durable,
        };
        self.bytes_in_progress += unanswered.bytes();
        self.unanswered.push_back(unanswered);
    }
}

impl Unanswered {
    fn bytes(&self) -> u64 {
        self.chain.readable_len() + self.room
    }
}

/// Reads and checks a request's header and lengths.
fn asked(core: &impl BlockCore, io: &mut DeviceIo<'_>, chain: &Chain, room: u64) -> Asked {
    let mut header = [0; HEADER_BYTES];
    if chain.read(io.memory, 0, &mut header) < HEADER_BYTES {
        io.fault(REQUESTS, "a request header cut short");
        return Asked::Refused(VIRTIO_BLK_S_IOERR);
    }
    let [a, b, c, d, _, _, _, _, sector @ ..] = header;
    let sector = u64::from_le_bytes(sector);
    let bytes = chain.readable_len() - HEADER_BYTES as u64;
    match u32::from_le_bytes([a, b, c, d]) {
        VIRTIO_BLK_T_IN => match sectors_at(core, sector, room) {
            Some(sectors) => Asked::Read { sector, sectors },
            None => Asked::Refused(VIRTIO_BLK_S_IOERR),
        },
        VIRTIO_BLK_T_OUT if core.read_only() => Asked::Refused(VIRTIO_BLK_S_IOERR),
        VIRTIO_BLK_T_OUT => match sectors_at(core, sector, bytes) {
            Some(_) => Asked::Write { sector, bytes },
            None => Asked::Refused(VIRTIO_BLK_S_IOERR),
        },
        VIRTIO_BLK_T_FLUSH if core.read_only() => Asked::Refused(VIRTIO_BLK_S_UNSUPP),
        VIRTIO_BLK_T_FLUSH => Asked::Flush,
        VIRTIO_BLK_T_GET_ID => Asked::Identity,
        _ => Asked::Refused(VIRTIO_BLK_S_UNSUPP),
    }
}

/// `bytes` as whole sectors that lie within the core from `sector` on.
fn sectors_at(core: &impl BlockCore, sector: u64, bytes: u64) -> Option<u32> {
    let unit = SECTOR_BYTES as u64;
    let sectors = bytes / unit;
    let fits = sector
        .checked_add(sectors)
        .is_some_and(|end| end <= core.sectors());
    (bytes.is_multiple_of(unit) && sectors > 0 && fits)
        .then(|| u32::try_from(sectors).ok())
        .flatten()
}

/// Puts the status as the very last writable byte (§5.2.6) and gives the chain back.
fn answer(io: &mut DeviceIo<'_>, chain: &Chain, room: u64, status: u32) {
    let status = u8::try_from(status).unwrap_or(u8::MAX);
    chain.write(io.memory, room, &[status]);
    io.finish(REQUESTS, chain, u32::try_from(room + 1).unwrap_or(u32::MAX));
}
