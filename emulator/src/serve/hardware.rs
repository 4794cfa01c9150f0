use std::os::fd::BorrowedFd;

use devices::event::DeviceEvent;
use devices::time::Nanos;

use crate::service::Visit;

/// What is served: a device with one or more ports, its core, and what people can do to it.
pub trait Hardware {
    /// Does something with the virtio side behind `port`.
    fn with<V: Visit>(&mut self, port: usize, visit: V) -> V::Answer;

    /// Does what the core has to do by itself until `now`. Its ports are served next.
    fn advance(&mut self, _now: Nanos, _events: &mut Vec<DeviceEvent>) {}

    /// When the core has something to do by itself, whether a driver is there or not.
    fn deadline(&self) -> Option<Nanos> {
        None
    }

    /// Its ports were served: takes what happened, and adds to `news` what of it people want to know, a line each.
    fn heard(&mut self, now: Nanos, events: &mut Vec<DeviceEvent>, news: &mut Vec<String>);

    /// A command of the control socket that the server itself does not know. An answer has one line.
    ///
    /// # Errors
    /// It cannot be done; says why, and what to do instead.
    fn command(
        &mut self,
        now: Nanos,
        command: &str,
        news: &mut Vec<String>,
    ) -> Result<String, String>;

    /// What else there is to listen to, such as where somebody types.
    fn outside(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Something is to be read there.
    fn hear_outside(&mut self, _now: Nanos, _news: &mut Vec<String>) {}

    /// The server ends in good order: what is only in a volatile cache is to be kept.
    fn put_away(&mut self, now: Nanos);
}
