use std::collections::BTreeMap;
use std::marker::PhantomData;

use serde::{Deserialize, Serialize};
use virtio_bindings::virtio_blk::{
    VIRTIO_BLK_F_BLK_SIZE, VIRTIO_BLK_F_FLUSH, VIRTIO_BLK_F_RO, VIRTIO_BLK_F_SEG_MAX,
    VIRTIO_BLK_S_IOERR, VIRTIO_BLK_S_OK, VIRTIO_BLK_S_UNSUPP, VIRTIO_BLK_T_FLUSH,
    VIRTIO_BLK_T_GET_ID, VIRTIO_BLK_T_IN, VIRTIO_BLK_T_OUT,
};

use super::{BlockCore, Request, SECTOR_BYTES};
use crate::time::Nanos;
use crate::virtio::{Chain, DeviceIo, F_VERSION_1, MAX_CHAIN_BYTES, VirtioDevice};

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
    unanswered: BTreeMap<u64, Unanswered>,
    core: PhantomData<fn() -> C>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Unanswered {
    chain: Chain,
    /// Bytes of the writable part before the status byte.
    room: u64,
}

impl<C> BlockVirtio<C> {
    /// Port `port` of the core.
    pub fn new(port: usize) -> Self {
        BlockVirtio {
            port,
            unanswered: BTreeMap::new(),
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
    Core(Request),
    Identity,
    Refused(u32),
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
        let held = |it: &Unanswered| it.chain.readable_len() + it.room;
        self.unanswered.values().map(held).sum::<u64>() >= MOST_BYTES_IN_PROGRESS
    }

    /// Gives back what the core is done with.
    fn finish(&mut self, core: &mut C, io: &mut DeviceIo<'_>) {
        for done in core.take_completions(io.now, self.port) {
            let Some(unanswered) = self.unanswered.remove(&done.ticket) else {
                continue;
            };
            match done.result {
                Ok(data) => answer(io, &unanswered, &data, VIRTIO_BLK_S_OK),
                Err(_) => answer(io, &unanswered, &[], VIRTIO_BLK_S_IOERR),
            }
        }
    }

    fn start(&mut self, core: &mut C, io: &mut DeviceIo<'_>, chain: Chain) {
        let Some(room) = chain.writable_len().checked_sub(1) else {
            // Nowhere to put a status: the driver cannot be told, only reset (§5.2.6.1).
            io.fault(REQUESTS, "a request without a status byte");
            io.finish(REQUESTS, &chain, 0);
            io.needs_reset = true;
            return;
        };
        let unanswered = Unanswered { chain, room };
        match asked(core, io, &unanswered) {
            Asked::Core(request) => {
                let ticket = core.submit(io.now, self.port, request, io.events);
                self.unanswered.insert(ticket, unanswered);
            }
            Asked::Identity => {
                let identity = core.identity();
                let shown = usize::try_from(room)
                    .unwrap_or(identity.len())
                    .min(identity.len());
                answer(io, &unanswered, &identity[..shown], VIRTIO_BLK_S_OK);
            }
            Asked::Refused(status) => answer(io, &unanswered, &[], status),
        }
    }
}

/// Reads and checks a request's header and lengths.
fn asked(core: &impl BlockCore, io: &mut DeviceIo<'_>, unanswered: &Unanswered) -> Asked {
    let Unanswered { chain, room } = unanswered;
    let mut header = [0; HEADER_BYTES];
    if chain.read(io.memory, 0, &mut header) < HEADER_BYTES {
        io.fault(REQUESTS, "a request header cut short");
        return Asked::Refused(VIRTIO_BLK_S_IOERR);
    }
    let [a, b, c, d, _, _, _, _, sector @ ..] = header;
    let sector = u64::from_le_bytes(sector);
    let length = chain.readable_len() - HEADER_BYTES as u64;
    match u32::from_le_bytes([a, b, c, d]) {
        VIRTIO_BLK_T_IN => match sectors_at(core, sector, *room) {
            Some(sectors) => Asked::Core(Request::Read { sector, sectors }),
            None => Asked::Refused(VIRTIO_BLK_S_IOERR),
        },
        VIRTIO_BLK_T_OUT if core.read_only() => Asked::Refused(VIRTIO_BLK_S_IOERR),
        VIRTIO_BLK_T_OUT => match sectors_at(core, sector, length) {
            Some(_) => {
                let limit = usize::try_from(MAX_CHAIN_BYTES).unwrap_or(usize::MAX);
                let data = chain.read_vec(io.memory, HEADER_BYTES as u64, limit);
                Asked::Core(Request::Write { sector, data })
            }
            None => Asked::Refused(VIRTIO_BLK_S_IOERR),
        },
        VIRTIO_BLK_T_FLUSH if core.read_only() => Asked::Refused(VIRTIO_BLK_S_UNSUPP),
        VIRTIO_BLK_T_FLUSH => Asked::Core(Request::Flush),
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

/// Puts data and, as the very last writable byte, the status (§5.2.6).
fn answer(io: &mut DeviceIo<'_>, unanswered: &Unanswered, data: &[u8], status: u32) {
    let Unanswered { chain, room } = unanswered;
    let status = u8::try_from(status).unwrap_or(u8::MAX);
    chain.write(io.memory, 0, data);
    chain.write(io.memory, *room, &[status]);
    io.finish(
        REQUESTS,
        chain,
        u32::try_from(*room + 1).unwrap_or(u32::MAX),
    );
}
