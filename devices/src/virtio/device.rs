use virtio_queue::{Queue, QueueT};

use super::GuestMemory;
use super::chain::{Chain, ChainError};
use crate::event::DeviceEvent;
use crate::time::Nanos;

/// One virtio device type: identity, features, configuration space and queues.
///
/// ```text
///   reset ──► (driver negotiates, sets up queues) ──► live ──► service()* ──► reset
///                                                      │
///                       broken ring or unusable chain ─┴─► needs_reset: serviced no more
/// ```
///
/// State is plain data (`Clone`, `Serialize`), so that host and device together can be
/// checkpointed. The core is handed in on every call: a dual-ported core serves several devices.
pub trait VirtioDevice {
    /// What the device works on: its core, borrowed from whoever owns the hardware.
    type Core<'a>;

    /// Virtio device id (virtio 1.4 §5).
    fn device_id(&self) -> u32;

    /// Feature bits offered, [`super::F_VERSION_1`] included.
    fn features(&self, core: &Self::Core<'_>) -> u64;

    /// The largest size of each queue; its length is the number of queues.
    fn queue_sizes(&self) -> &'static [u16];

    /// The queue on which the driver posts buffers for what comes by itself, if there is one. What is on it
    /// is no request.
    fn receive_queue(&self) -> Option<usize> {
        None
    }

    /// The whole configuration space (at most 256 bytes), little-endian.
    fn config(&self, core: &Self::Core<'_>) -> Vec<u8>;

    /// The driver wrote to the configuration space. Most devices ignore it.
    fn write_config(&mut self, _core: &mut Self::Core<'_>, _offset: u64, _data: &[u8]) {}

    /// The driver (or a power cycle) reset the device: forget every request in progress. The
    /// core keeps what it has.
    fn reset(&mut self, core: &mut Self::Core<'_>);

    /// Takes what the driver made available, finishes what is due at `io.now`.
    fn service(&mut self, core: &mut Self::Core<'_>, io: &mut DeviceIo<'_>);

    /// When the device next wants to be serviced without the driver's doing.
    fn deadline(&self, core: &Self::Core<'_>) -> Option<Nanos>;

    /// Requests taken from queue `queue` and not yet answered.
    fn in_flight(&self, queue: usize) -> usize;
}

/// Who keeps account of the requests a device has taken and not given back, so that they can be put to
/// another device if this one is lost. What does not keep account costs nothing.
pub trait Ledger: std::fmt::Debug {
    /// The head of a request of `queue` that was lost with another device, and is to be taken before any
    /// that is on the ring.
    fn left_over(&mut self, queue: usize) -> Option<u16>;
    /// A request was taken off the ring.
    fn taken(&mut self, queue: usize, head: u16);
    /// It is about to be put on the used ring.
    fn returning(&mut self, queue: usize, head: u16);
    /// It was: this is the index of the used ring now.
    fn returned(&mut self, queue: usize, head: u16, used_index: u16);
}

/// What a host lends a live device for one service call.
#[derive(Debug)]
pub struct DeviceIo<'a> {
    /// Virtual time.
    pub now: Nanos,
    /// Feature bits the driver accepted.
    pub features: u64,
    /// The board's memory.
    pub memory: &'a GuestMemory,
    /// The device's queues, in the order of the standard. A queue the driver did not enable is
    /// not `ready()`.
    pub queues: &'a mut [Queue],
    /// Where notices go.
    pub events: &'a mut Vec<DeviceEvent>,
    /// Who keeps account of requests.
    ledger: Option<&'a mut dyn Ledger>,
    /// Buffers returned during this call, per queue (bit n = queue n).
    pub used: u32,
    /// Set by the device: DEVICE_NEEDS_RESET (virtio 1.4 §2.1.2).
    pub needs_reset: bool,
    /// Set by the device: the configuration space changed.
    pub config_changed: bool,
}

impl<'a> DeviceIo<'a> {
    /// A fresh loan.
    pub fn new(
        now: Nanos,
        features: u64,
        memory: &'a GuestMemory,
        queues: &'a mut [Queue],
        events: &'a mut Vec<DeviceEvent>,
    ) -> Self {
        DeviceIo {
            now,
            features,
            memory,
            queues,
            events,
            ledger: None,
            used: 0,
            needs_reset: false,
            config_changed: false,
        }
    }

    /// The same, with somebody who keeps account of requests.
    #[must_use]
    pub fn with_ledger(mut self, ledger: Option<&'a mut dyn Ledger>) -> Self {
        self.ledger = ledger;
        self
    }

    /// Takes the next request of queue `queue`, fully validated. `None` when there is none, or
    /// when the ring itself is broken (then the device needs a reset).
    ///
    /// An unusable chain (loop, bad index, address outside memory, over the caps) goes back to the
    /// driver with length 0, is noted as an event and makes the device need a reset: no buffer is
    /// lost, nothing is half done (virtio 1.4 §2.1.2).
    pub fn take(&mut self, queue: usize) -> Option<Chain> {
        if self.needs_reset {
            return None;
        }
        let ring = self.queues.get_mut(queue).filter(|it| it.ready())?;
        let left_over = self.ledger.as_mut().and_then(|it| it.left_over(queue));
        let taken = match left_over {
            Some(head) => Chain::again(ring, self.memory, head).map(Some),
            None => Chain::take(ring, self.memory),
        };
        match taken {
            Ok(Some(chain)) => {
                if let (Some(ledger), None) = (&mut self.ledger, left_over) {
                    ledger.taken(queue, chain.head);
                }
                Some(chain)
            }
            Ok(None) => None,
            Err(error) => {
                if let ChainError::Unusable { head, .. } = error {
                    self.give_back(queue, head, 0);
                }
                self.fault(queue, &error.to_string());
                self.needs_reset = true;
                None
            }
        }
    }

    /// Whether the driver runs queue `queue`. While it does not, nothing may be taken from it or given back.
    pub fn runs(&self, queue: usize) -> bool {
        self.queues.get(queue).is_some_and(Queue::ready)
    }

    /// Returns a request to the driver: `written` bytes were put into its writable part.
    pub fn finish(&mut self, queue: usize, chain: &Chain, written: u32) {
        self.give_back(queue, chain.head, written);
    }

    /// Notes that the driver broke the rules.
    pub fn fault(&mut self, queue: usize, what: &str) {
        self.events.push(DeviceEvent::DriverFault {
            queue: u16::try_from(queue).unwrap_or(u16::MAX),
            what: what.to_owned(),
        });
    }

    fn give_back(&mut self, queue: usize, head: u16, written: u32) {
        let Some(ring) = self.queues.get_mut(queue) else {
            return;
        };
        if let Some(ledger) = &mut self.ledger {
            ledger.returning(queue, head);
        }
        match ring.add_used(self.memory, head, written) {
            Ok(()) => {
                self.used |= 1 << queue;
                if let Some(ledger) = &mut self.ledger {
                    ledger.returned(queue, head, ring.next_used());
                }
            }
            Err(error) => {
                self.fault(queue, &format!("used ring unusable: {error}"));
                self.needs_reset = true;
            }
        }
    }
}
