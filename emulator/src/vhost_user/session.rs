//! What a front-end said so far.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

use devices::virtio::{F_VERSION_1, GuestMemory};
use rustix::fs::OFlags;
use vhost::VhostUserMemoryRegionBase;
use vhost::vhost_user::message::{
    VhostTransferStateDirection, VhostTransferStatePhase, VhostUserConfigFlags, VhostUserInflight,
    VhostUserLog, VhostUserMemoryRegion, VhostUserProtocolFeatures, VhostUserShMemConfig,
    VhostUserSharedMsg, VhostUserSingleMemoryRegion, VhostUserVirtioFeatures,
    VhostUserVringAddrFlags, VhostUserVringState,
};
use vhost::vhost_user::{Error, GpuBackend, Result, VhostUserBackendReqHandlerMut};
use virtio_bindings::virtio_ring::VIRTIO_RING_F_EVENT_IDX;
use virtio_queue::{Queue, QueueState, QueueT};

use super::inflight::{self, Held, Inflight};
use super::memory::{Mapped, MemorySource, Table};
use crate::slot::{Face, Slot};

/// Bit 30 of the feature word: the protocol has features of its own. No business of the driver's.
const PROTOCOL_FEATURES: u64 = VhostUserVirtioFeatures::PROTOCOL_FEATURES.bits();

/// One ring as the front-end describes it.
#[derive(Debug, Default)]
pub(super) struct Ring {
    size: u16,
    /// Index of the next available entry: where to begin, and while it runs where the next start is to begin.
    base: u16,
    /// Descriptor table, available ring, used ring: guest-physical.
    addresses: Option<[u64; 3]>,
    pub(super) kick: Option<Arc<File>>,
    pub(super) call: Option<Arc<File>>,
    enabled: bool,
    /// It was handed to the device.
    running: bool,
    stopped: Option<Stopped>,
}

/// A ring as it was when it last stopped.
#[derive(Debug)]
struct Stopped {
    addresses: [u64; 3],
    /// The base that was handed back.
    base: u16,
    state: QueueState,
    /// What the device has of it.
    held: Held,
}

impl Ring {
    fn wanted(&self) -> bool {
        self.enabled && self.kick.is_some() && self.addresses.is_some()
    }

    /// Whether it is to go on where it stopped.
    fn goes_on(&self) -> bool {
        let stopped = self.stopped.as_ref();
        stopped.is_some_and(|it| self.addresses == Some(it.addresses) && self.base == it.base)
    }

    /// The queue as it was, and what the device has of it, if it is to go on there.
    fn as_it_was(&mut self) -> Option<(Queue, Held)> {
        let goes_on = self.goes_on();
        let stopped = self.stopped.take().filter(|_| goes_on)?;
        let mut queue = Queue::try_from(stopped.state).ok()?;
        queue.set_ready(true);
        Some((queue, stopped.held))
    }

    /// Tells the driver that there may be answers.
    pub(super) fn tell(&self) {
        if let Some(mut call) = self.call.as_deref() {
            // A front-end whose eventfd is full has a notification pending already.
            let _ = call.write(&1_u64.to_ne_bytes());
        }
    }
}

/// One device as its front-end set it up.
#[derive(Debug)]
pub(super) struct Session {
    source: MemorySource,
    /// What the driver may read.
    pub(super) face: Face,
    pub(super) rings: Vec<Ring>,
    table: Table,
    features: u64,
    protocol_features: u64,
    config_writes: Vec<(u64, Vec<u8>)>,
    /// A reset of the device that left its rings alone so far.
    reset: bool,
    /// The front-end stops all rings now and then and goes on where it was, as QEMU does when its machine stops.
    pub(super) pauses: bool,
    /// All rings are stopped, and it is not known whether for a pause.
    paused: bool,
    /// What is in flight, as the front-end handed it over just now.
    pub(super) inflight: Option<Inflight>,
}

fn unsupported<T>() -> Result<T> {
    Err(Error::InvalidOperation("not offered by this device"))
}

impl Session {
    pub(super) fn new(face: Face, source: MemorySource) -> Session {
        let rings = face.queue_sizes.iter().map(|_| Ring::default()).collect();
        Session {
            source,
            face,
            rings,
            table: Table::default(),
            features: 0,
            protocol_features: 0,
            config_writes: Vec::new(),
            reset: false,
            pauses: false,
            paused: false,
            inflight: None,
        }
    }

    /// The front-end's memory, where it hands it over.
    pub(super) fn memory(&self) -> Option<&Arc<Mapped>> {
        self.table.mapped.as_ref()
    }

    /// Whether the driver's features are known.
    pub(super) fn has_features(&self) -> bool {
        self.features != 0
    }

    /// Whether the front-end answers notices.
    pub(super) fn acknowledges(&self) -> bool {
        self.protocol_features & VhostUserProtocolFeatures::REPLY_ACK.bits() != 0
    }

    /// Notes how far the device is with its rings: the front-end may ask. A ring that starts there takes what has no
    /// answer again.
    pub(super) fn note_progress(&mut self, slot: &Slot, inflight: Option<&Inflight>) {
        for (index, (ring, queue)) in self.rings.iter_mut().zip(&slot.queues).enumerate() {
            if ring.running {
                let unanswered = inflight.map_or(0, |it| it.unanswered(index));
                ring.base = queue.next_avail().wrapping_sub(unanswered);
            }
        }
    }

    /// Brings the driver's half of the slot up to date. `memory` holds the rings, `inflight` what a back-end before
    /// this one left over.
    pub(super) fn apply(
        &mut self,
        slot: &mut Slot,
        memory: &GuestMemory,
        mut inflight: Option<&mut Inflight>,
    ) {
        if std::mem::take(&mut self.reset) {
            slot.reset();
        }
        let ran = self.rings.iter().any(|ring| ring.running);
        let mut starts = self
            .rings
            .iter()
            .filter(|ring| ring.wanted() && !ring.running);
        if let (true, Some(first)) = (self.paused, starts.next()) {
            self.paused = false;
            // A driver that begins anew begins at 0.
            if first.base == 0 || !first.goes_on() {
                slot.reset();
                self.rings.iter_mut().for_each(|ring| ring.stopped = None);
            }
        }
        let event_index = self.features & 1 << VIRTIO_RING_F_EVENT_IDX != 0;
        for (index, (ring, queue)) in self.rings.iter_mut().zip(&mut slot.queues).enumerate() {
            if ring.wanted() && !ring.running {
                ring.running = true;
                if let Some((as_it_was, held)) = ring.as_it_was() {
                    *queue = as_it_was;
                    if let Some(inflight) = &mut inflight {
                        inflight.go_on(index, queue.next_used(), &held);
                    }
                    continue;
                }
                start(ring, queue, memory, !slot.face.wants_notify);
                queue.set_event_idx(event_index);
                let used = queue.next_used();
                let left_over = inflight.as_mut().and_then(|it| it.start(index, used));
                if let Some(left_over) = left_over {
                    // What was taken is answered or in flight. (The front-end knows nothing better than what is
                    // answered when a back-end was lost.)
                    queue.set_next_avail(used.wrapping_add(left_over));
                }
                // An answer may have come from a back-end that was lost before it could tell.
                ring.tell();
            } else if !ring.wanted() && ring.running {
                ring.running = false;
                let held = inflight.as_mut().map(|it| it.stop(index));
                if let (true, Some(addresses)) = (self.pauses, ring.addresses) {
                    ring.stopped = Some(Stopped {
                        addresses,
                        base: ring.base,
                        state: queue.state(),
                        held: held.unwrap_or_default(),
                    });
                }
                queue.set_ready(false);
            }
        }
        let runs = self.rings.iter().any(|ring| ring.running);
        if ran && !runs {
            // Whether the driver reset the device or the machine stopped: nobody can tell now.
            match self.pauses {
                true => self.paused = true,
                false => slot.reset(),
            }
        }
        slot.live = runs;
        slot.features = self.features & !PROTOCOL_FEATURES;
        for write in self.config_writes.drain(..) {
            slot.config_writes.push(write);
        }
    }

    fn ring(&mut self, index: u32) -> Result<&mut Ring> {
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        self.rings.get_mut(index).ok_or(Error::InvalidParam)
    }
}

/// A descriptor of the front-end's on which nothing it does makes us wait.
fn never_blocking(file: File) -> Result<Arc<File>> {
    let flags = rustix::fs::fcntl_getfl(&file).map_err(io::Error::from);
    flags
        .and_then(|flags| Ok(rustix::fs::fcntl_setfl(&file, flags | OFlags::NONBLOCK)?))
        .map_err(Error::ReqHandlerError)?;
    Ok(Arc::new(file))
}

/// Hands a ring to the device.
fn start(ring: &Ring, queue: &mut Queue, memory: &GuestMemory, silent: bool) {
    let Some([descriptors, available, used]) = ring.addresses else {
        return;
    };
    queue.reset();
    queue.set_size(ring.size);
    let halves = |address: u64| {
        let word = |half: u64| Some(u32::try_from(half & 0xffff_ffff).unwrap_or(0));
        (word(address), word(address >> 32))
    };
    let (low, high) = halves(descriptors);
    queue.set_desc_table_address(low, high);
    let (low, high) = halves(available);
    queue.set_avail_ring_address(low, high);
    let (low, high) = halves(used);
    queue.set_used_ring_address(low, high);
    queue.set_next_avail(ring.base);
    // A ring outside memory is found and reported when it is used.
    let answered = queue.used_idx(memory, std::sync::atomic::Ordering::Acquire);
    queue.set_next_used(answered.map_or(0, |index| index.0));
    queue.set_ready(true);
    if silent {
        let _ = queue.disable_notification(memory);
    }
}

impl VhostUserBackendReqHandlerMut for Session {
    fn set_owner(&mut self) -> Result<()> {
        Ok(())
    }

    fn reset_owner(&mut self) -> Result<()> {
        self.reset_device()
    }

    fn reset_device(&mut self) -> Result<()> {
        for ring in &mut self.rings {
            (ring.enabled, ring.running) = (false, false);
            ring.stopped = None;
        }
        self.features = 0;
        (self.reset, self.paused) = (true, false);
        Ok(())
    }

    fn get_features(&mut self) -> Result<u64> {
        Ok(self.face.features | PROTOCOL_FEATURES)
    }

    fn set_features(&mut self, features: u64) -> Result<()> {
        // VHOST_F_LOG_ALL is not offered either. No device works without VERSION_1 (board manual §3).
        let unknown = features & !(self.face.features | PROTOCOL_FEATURES);
        if unknown != 0 || features & F_VERSION_1 == 0 {
            return Err(Error::InvalidParam);
        }
        self.features = features;
        if features & PROTOCOL_FEATURES == 0 {
            // Then rings are enabled from the start (vhost-user, "Ring states").
            for ring in &mut self.rings {
                ring.enabled = true;
            }
        }
        Ok(())
    }

    fn set_mem_table(
        &mut self,
        told: &[VhostUserMemoryRegion],
        files: Vec<File>,
        _postcopy_listening: Option<bool>,
    ) -> Result<Option<Vec<VhostUserMemoryRegionBase>>> {
        self.table = Table::new(self.source, told, files)?;
        Ok(None)
    }

    fn set_vring_num(&mut self, index: u32, num: u32) -> Result<()> {
        let most = self
            .face
            .queue_sizes
            .get(usize::try_from(index).unwrap_or(usize::MAX))
            .copied()
            .unwrap_or(0);
        let size = u16::try_from(num).map_err(|_| Error::InvalidParam)?;
        if !size.is_power_of_two() || size > most {
            return Err(Error::InvalidParam);
        }
        self.ring(index)?.size = size;
        Ok(())
    }

    fn set_vring_addr(
        &mut self,
        index: u32,
        _flags: VhostUserVringAddrFlags,
        descriptor: u64,
        used: u64,
        available: u64,
        _log: u64,
    ) -> Result<()> {
        let outside = || {
            let what = "a ring outside the memory that was shared";
            Error::ReqHandlerError(io::Error::other(what))
        };
        let mut addresses = [descriptor, available, used];
        for address in &mut addresses {
            *address = self.table.guest_address(*address).ok_or_else(outside)?;
        }
        self.ring(index)?.addresses = Some(addresses);
        Ok(())
    }

    fn set_vring_base(&mut self, index: u32, base: u32) -> Result<()> {
        // The low half; packed rings, which are not offered, would use the rest.
        self.ring(index)?.base = u16::try_from(base & 0xffff).unwrap_or(0);
        Ok(())
    }

    fn get_vring_base(&mut self, index: u32) -> Result<VhostUserVringState> {
        let ring = self.ring(index)?;
        (ring.kick, ring.call) = (None, None);
        let base = ring.base;
        Ok(VhostUserVringState::new(index, base.into()))
    }

    fn set_vring_kick(&mut self, index: u8, file: Option<File>) -> Result<()> {
        // Without a descriptor the front-end asks for polling, which no device here does.
        let kick = never_blocking(file.ok_or(Error::IncorrectFds)?)?;
        self.ring(index.into())?.kick = Some(kick);
        Ok(())
    }

    fn set_vring_call(&mut self, index: u8, file: Option<File>) -> Result<()> {
        self.ring(index.into())?.call = file.map(never_blocking).transpose()?;
        Ok(())
    }

    fn set_vring_err(&mut self, index: u8, _file: Option<File>) -> Result<()> {
        self.ring(index.into()).map(drop)
    }

    fn get_protocol_features(&mut self) -> Result<VhostUserProtocolFeatures> {
        let mut always = VhostUserProtocolFeatures::MQ
            | VhostUserProtocolFeatures::BACKEND_REQ
            | VhostUserProtocolFeatures::RESET_DEVICE;
        if self.source == MemorySource::Shared {
            // A board's QEMU lives no longer than its devices.
            always |= VhostUserProtocolFeatures::INFLIGHT_SHMFD;
        }
        // QEMU warns of a configuration space that it was not told the size of.
        let with_config = always | VhostUserProtocolFeatures::CONFIG;
        Ok(if self.face.config.is_empty() {
            always
        } else {
            with_config
        })
    }

    fn set_protocol_features(&mut self, features: u64) -> Result<()> {
        self.protocol_features = features;
        Ok(())
    }

    fn get_queue_num(&mut self) -> Result<u64> {
        Ok(self.rings.len() as u64)
    }

    fn set_vring_enable(&mut self, index: u32, enable: bool) -> Result<()> {
        self.ring(index)?.enabled = enable;
        Ok(())
    }

    fn get_config(
        &mut self,
        offset: u32,
        size: u32,
        _flags: VhostUserConfigFlags,
    ) -> Result<Vec<u8>> {
        // What lies beyond the device's own fields reads as zeros, as through virtio-mmio.
        let mut bytes = self.face.config.clone();
        bytes.resize(Face::CONFIG_BYTES.max(bytes.len()), 0);
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(usize::try_from(size).unwrap_or(usize::MAX));
        let part = bytes.get(start..end).ok_or(Error::InvalidParam)?;
        Ok(part.to_vec())
    }

    fn set_config(&mut self, offset: u32, buf: &[u8], _flags: VhostUserConfigFlags) -> Result<()> {
        /// Kept for the device to apply at the next stop.
        const WRITES: usize = 64;
        if self.config_writes.len() < WRITES {
            self.config_writes.push((offset.into(), buf.to_vec()));
        }
        Ok(())
    }

    fn set_gpu_socket(&mut self, _gpu_backend: GpuBackend) -> Result<()> {
        unsupported()
    }

    fn get_shared_object(&mut self, _uuid: VhostUserSharedMsg) -> Result<File> {
        unsupported()
    }

    fn get_inflight_fd(
        &mut self,
        inflight: &VhostUserInflight,
    ) -> Result<(VhostUserInflight, File)> {
        inflight::make(inflight)
    }

    fn set_inflight_fd(&mut self, inflight: &VhostUserInflight, file: File) -> Result<()> {
        self.inflight = Some(Inflight::map(inflight, file)?);
        Ok(())
    }

    fn get_max_mem_slots(&mut self) -> Result<u64> {
        unsupported()
    }

    fn add_mem_region(
        &mut self,
        _region: &VhostUserSingleMemoryRegion,
        _fd: File,
        _postcopy_listening: Option<bool>,
    ) -> Result<Option<VhostUserMemoryRegionBase>> {
        unsupported()
    }

    fn remove_mem_region(&mut self, _region: &VhostUserSingleMemoryRegion) -> Result<()> {
        unsupported()
    }

    fn set_device_state_fd(
        &mut self,
        _direction: VhostTransferStateDirection,
        _phase: VhostTransferStatePhase,
        _fd: File,
    ) -> Result<Option<File>> {
        unsupported()
    }

    fn check_device_state(&mut self) -> Result<()> {
        unsupported()
    }

    fn get_shmem_config(&mut self) -> Result<VhostUserShMemConfig> {
        unsupported()
    }

    fn set_log_base(&mut self, _log: &VhostUserLog, _file: File) -> Result<()> {
        unsupported()
    }
}
