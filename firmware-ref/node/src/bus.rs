//! The bus as a node's programs use it.

use distribution::Frame;
use runtime::DeviceError;
use runtime::board_control::BoardControl;
use runtime::can::{self, CanController};

/// While frames come, they are taken this often and not one by one. It is half of what a master waits after a
/// start.
pub const PACE_NS: u64 = 10_000_000;
/// While they come so fast that the 64 that the controller keeps besides its queue could be too few.
const FAST_PACE_NS: u64 = PACE_NS / 2;
/// As many frames at a time are fast ones.
const FAST: u32 = 32;

/// A node's CAN controller.
#[derive(Debug)]
pub struct Bus<'a> {
    can: &'a CanController,
    /// Frames since the last wait.
    frames: u32,
}

impl Bus<'_> {
    /// The bus that `can` takes part in.
    pub fn of(can: &CanController) -> Bus<'_> {
        Bus { can, frames: 0 }
    }

    /// Sends a frame as soon as the bus lets it. One that there is no room for is lost: nobody
    /// acknowledges anything here, so everything is said again.
    ///
    /// # Errors
    /// The controller failed.
    pub fn send(&self, frame: &Frame) -> Result<(), DeviceError> {
        let _no_room = !self.can.send_data(frame.identifier(), frame.payload())?;
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

    /// Puts the next frame that was received into `frame`; whether there was one.
    ///
    /// # Errors
    /// The controller failed.
    pub fn receive(&mut self, frame: &mut can::Frame) -> Result<bool, DeviceError> {
        let received = self.can.receive_into(frame)?;
        self.frames += u32::from(received);
        Ok(received)
    }
}
