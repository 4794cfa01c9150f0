//! The host port as the TCP/IP stack sees it.

use runtime::network::FRAME_BYTES;
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

use crate::hardware::Hardware;

/// One frame in, one frame out.
pub(crate) type Frames = [[u8; FRAME_BYTES]; 2];

/// The port, for as long as the stack is polled.
#[derive(Debug)]
pub(crate) struct Wire<'a> {
    pub(crate) hardware: &'a Hardware,
    pub(crate) frames: &'a mut Frames,
}

/// A frame that came.
#[derive(Debug)]
pub(crate) struct Arrived<'a>(&'a [u8]);

/// Room for a frame to send.
#[derive(Debug)]
pub(crate) struct Leaving<'a> {
    hardware: &'a Hardware,
    frame: &'a mut [u8],
}

impl Device for Wire<'_> {
    type RxToken<'t>
        = Arrived<'t>
    where
        Self: 't;
    type TxToken<'t>
        = Leaving<'t>
    where
        Self: 't;

    fn receive(&mut self, _now: Instant) -> Option<(Arrived<'_>, Leaving<'_>)> {
        let port = self.hardware.host_port.as_ref()?;
        let [arrived, leaving] = &mut *self.frames;
        let Ok(Some(length)) = port.receive(arrived) else {
            return None;
        };
        let leaving = Leaving {
            hardware: self.hardware,
            frame: leaving,
        };
        Some((Arrived(arrived.get(..length).unwrap_or_default()), leaving))
    }

    fn transmit(&mut self, _now: Instant) -> Option<Leaving<'_>> {
        let [_, leaving] = &mut *self.frames;
        Some(Leaving {
            hardware: self.hardware,
            frame: leaving,
        })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = FRAME_BYTES;
        capabilities
    }
}

impl RxToken for Arrived<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, take: F) -> R {
        take(self.0)
    }
}

impl TxToken for Leaving<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, length: usize, fill: F) -> R {
        // The stack keeps to the size above.
        let length = length.min(self.frame.len());
        let (frame, _) = self.frame.split_at_mut(length);
        let result = fill(frame);
        let port = self.hardware.host_port.as_ref();
        if let Some(port) = port.filter(|port| port.link_is_up()) {
            // TCP sends again what is lost.
            let _lost = port.send(&self.hardware.control, &[frame]);
        }
        result
    }
}
