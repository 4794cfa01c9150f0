//! What a device must be, in numbers, and the simplest thing to ask of it.

/// One device.
pub(super) struct Contract {
    pub(super) unit: usize,
    /// Virtio device id.
    pub(super) id: u32,
    /// All it offers.
    pub(super) features: u64,
    /// Largest size of each queue.
    pub(super) queues: &'static [u16],
    /// Its configuration space, all fields of it.
    pub(super) config: Vec<u8>,
    /// Something it answers at once.
    pub(super) request: Request,
}

/// One request and the answer to it.
pub(super) struct Request {
    pub(super) queue: u16,
    pub(super) readable: Vec<u8>,
    /// Bytes of the writable part.
    pub(super) writable: u32,
    /// What the used ring says was written.
    pub(super) written: u32,
    /// How the writable part begins then.
    pub(super) answer: Vec<u8>,
}
