//! The bus as a node's programs use it.

use distribution::Frame;
use runtime::board_control::BoardControl;
use runtime::can::{self, CanController};
use runtime::{DeviceError, number};

/// While frames come, they are taken this often and not one by one. It is half of what a master waits after a
/// start.
pub const PACE_NS: u64 = 10_000_000;
/// While they come so fast that the 64 that the controller keeps besides its queue could be too few.
const FAST_PACE_NS: u64 = PACE_NS / 2;
/// As many frames at a time are fast ones.
const FAST: u32 = 32;

/// A node's CAN controller.
#[derive(Debug)]
pub struct Bus {
    can: CanController,
    /// Frames since the last wait.
    frames: u32,
}

impl Bus {
    /// Takes part in the bus.
    ///
    /// # Errors
    /// There is no controller, or it does not start.
    pub fn open(control: &BoardControl) -> Result<Bus, DeviceError> {
        Ok(Bus {
            can: CanController::open(control, number::CAN)?,
            frames: 0,
        })
    }

    /// Sends a frame as soon as the bus lets it. One that there is no room for is lost: nobody
    /// acknowledges anything here, so everything is said again.
    ///
    /// # Errors
    /// The controller failed.
    pub fn send(&self, frame: &Frame) -> Result<(), DeviceError> {
        if let Some(frame) = can::Frame::new(frame.identifier(), frame.payload()) {
            let _no_room = !self.can.send(&frame)?;
        }
        Ok(())
    }

    /// Sleeps until `deadline_ns` or until there are frames: at once after silence, else every [`PACE_NS`] or
    /// sooner.
    /// All that were received by then are to be [taken](Bus::receive) next.
    ///
    /// # Errors
    /// The controller or board control failed.
    pub fn wait(&mut self, control: &BoardControl, deadline_ns: u64) -> Result<(), DeviceError> {
        if self.can.is_bus_off() {
            self.can.restart(control)?;
        }
        // An answer to a transmission that nobody took would end every wait.
        self.can.room()?;
        let (any, pace_ns) = match self.frames {
            0 => (self.can.mask(), u64::MAX),
            1..FAST => (0, PACE_NS),
            FAST.. => (0, FAST_PACE_NS),
        };
        let deadline_ns = deadline_ns.min(control.now_ns().saturating_add(pace_ns));
        self.frames = 0;
        let deadline = (deadline_ns != u64::MAX).then_some(deadline_ns);
        control.wait(any, 0, deadline)?;
        Ok(())
    }

    /// The next frame that was received.
    ///
    /// # Errors
    /// The controller failed.
    pub fn receive(&mut self) -> Result<Option<can::Frame>, DeviceError> {
        let frame = self.can.receive()?;
        self.frames += u32::from(frame.is_some());
        Ok(frame)
    }
}
