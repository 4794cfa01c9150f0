//! What driver and device see of each other in one device slot.
//!
//! An engine fills the driver's half from whatever transport it has (virtio-mmio registers,
//! vhost-user messages); the board fills the device's half. Neither sees the other's machinery.

use serde::{Deserialize, Serialize};
use virtio_queue::{Queue, QueueState, QueueT};

/// The device's half of a slot: what the driver may read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Face {
    /// Virtio device id; 0 is an empty slot.
    pub device_id: u32,
    /// Feature bits offered.
    pub features: u64,
    /// Largest size of each queue.
    pub queue_sizes: Vec<u16>,
    /// Configuration space, at most [`Face::CONFIG_BYTES`].
    pub config: Vec<u8>,
    /// Raised whenever `config` changes (virtio 1.4 §2.5.1).
    pub generation: u32,
    /// Whether the driver must notify this device; all others are looked at whenever the board
    /// stops.
    pub wants_notify: bool,
}

impl Face {
    /// Room for a configuration space in a 512-byte slot.
    pub const CONFIG_BYTES: usize = 256;
}

/// One device slot.
#[derive(Debug, Default)]
pub struct Slot {
    /// The device's half.
    pub face: Face,
    /// The driver set DRIVER_OK and has not reset the device since.
    pub live: bool,
    /// Feature bits the driver accepted.
    pub features: u64,
    /// The queues as the driver set them up.
    pub queues: Vec<Queue>,
    /// The device asks for a reset (virtio 1.4 §2.1.2).
    pub needs_reset: bool,
    /// The driver reset the device since the board last looked.
    pub was_reset: bool,
    /// Writes to the configuration space since the board last looked: (offset, bytes).
    pub config_writes: Vec<(u64, Vec<u8>)>,
    /// Rules the driver broke since the board last looked.
    pub driver_faults: Vec<String>,
}

impl Slot {
    /// Puts a device into the slot, or (with the default face) takes it out.
    pub fn fit(&mut self, face: Face) {
        *self = Slot {
            face,
            ..Slot::default()
        };
        self.reset();
    }

    /// The state after a device reset.
    pub fn reset(&mut self) {
        self.live = false;
        self.features = 0;
        self.needs_reset = false;
        self.was_reset = true;
        self.config_writes.clear();
        // Sizes come from a device's constants; one that is not a power of two becomes absent.
        self.queues = self
            .face
            .queue_sizes
            .iter()
            .filter_map(|size| Queue::new(*size).ok())
            .collect();
    }

    /// Plain data for a checkpoint.
    pub fn save(&self) -> SavedSlot {
        SavedSlot {
            face: self.face.clone(),
            live: self.live,
            features: self.features,
            queues: self
                .queues
                .iter()
                .map(|queue| SavedQueue::from(queue.state()))
                .collect(),
            needs_reset: self.needs_reset,
            was_reset: self.was_reset,
            config_writes: self.config_writes.clone(),
            driver_faults: self.driver_faults.clone(),
        }
    }

    /// Back to what [`Slot::save`] saw. A queue that a forged checkpoint describes impossibly
    /// is restored as not ready.
    pub fn restore(&mut self, saved: &SavedSlot) {
        self.fit(saved.face.clone());
        self.live = saved.live;
        self.features = saved.features;
        for (queue, state) in self.queues.iter_mut().zip(&saved.queues) {
            if let Ok(restored) = Queue::try_from(QueueState::from(*state)) {
                *queue = restored;
            }
        }
        self.needs_reset = saved.needs_reset;
        self.was_reset = saved.was_reset;
        self.config_writes.clone_from(&saved.config_writes);
        self.driver_faults.clone_from(&saved.driver_faults);
    }
}

/// [`Slot`] as plain data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SavedSlot {
    face: Face,
    live: bool,
    features: u64,
    queues: Vec<SavedQueue>,
    needs_reset: bool,
    was_reset: bool,
    config_writes: Vec<(u64, Vec<u8>)>,
    driver_faults: Vec<String>,
}

/// `virtio_queue::QueueState`, which has no serde of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct SavedQueue {
    max_size: u16,
    size: u16,
    next_avail: u16,
    next_used: u16,
    ready: bool,
    desc_table: u64,
    avail_ring: u64,
    used_ring: u64,
}

impl From<QueueState> for SavedQueue {
    fn from(state: QueueState) -> Self {
        SavedQueue {
            max_size: state.max_size,
            size: state.size,
            next_avail: state.next_avail,
            next_used: state.next_used,
            ready: state.ready,
            desc_table: state.desc_table,
            avail_ring: state.avail_ring,
            used_ring: state.used_ring,
        }
    }
}

impl From<SavedQueue> for QueueState {
    fn from(saved: SavedQueue) -> Self {
        QueueState {
            max_size: saved.max_size,
            next_avail: saved.next_avail,
            next_used: saved.next_used,
            event_idx_enabled: false,
            size: saved.size,
            ready: saved.ready,
            desc_table: saved.desc_table,
            avail_ring: saved.avail_ring,
            used_ring: saved.used_ring,
        }
    }
}
