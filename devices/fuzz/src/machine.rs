use std::fmt::Debug;

use arbitrary::Arbitrary;
use devices::event::DeviceEvent;
use devices::time::Nanos;
use devices::virtio::{F_VERSION_1, VirtioDevice};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Virtio devices of one type with all they work on: what a script is played against.
pub trait Machine: Clone + PartialEq + Debug + Serialize + DeserializeOwned {
    /// The type of its devices.
    type Device: VirtioDevice;
    /// A request as these devices know it.
    type Request: Request + Debug + for<'a> Arbitrary<'a>;
    /// What else can happen to them: power, faults, frames on a wire.
    type Poke: Debug + for<'a> Arbitrary<'a>;

    /// How many devices there are, each with a driver of its own.
    const DEVICES: usize;
    /// Feature bits that the drivers accept.
    const FEATURES: u64 = F_VERSION_1;
    /// Most bytes a snapshot of it may have: whatever its drivers do, it holds no more.
    const MOST_BYTES: usize;

    /// A device, and its core.
    fn device(
        &mut self,
        index: usize,
    ) -> (&mut Self::Device, <Self::Device as VirtioDevice>::Core<'_>);

    /// What goes on without any driver goes on to `now`.
    fn advance(&mut self, _now: Nanos, _events: &mut Vec<DeviceEvent>) {}

    /// Whether requests of a queue may stay with the device when nothing is left to happen.
    fn may_keep(queue: usize) -> bool;

    /// Something happens that is not the drivers' doing.
    fn poke(&mut self, poke: &Self::Poke, now: Nanos, events: &mut Vec<DeviceEvent>) -> Poked;
}

/// A request as the device under test knows it.
pub trait Request {
    /// What the device reads.
    fn readable(&self) -> Vec<u8>;
    /// How many bytes it may write.
    fn room(&self) -> u32;
}

/// What a poke did to the devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Poked {
    /// They go on.
    Running,
    /// The boards were reset: the drivers start from nothing.
    Reset,
}
