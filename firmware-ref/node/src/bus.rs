//! The bus as a node's programs use it.

use distribution::Frame;
use runtime::DeviceError;
use runtime::board_control::BoardControl;
use runtime::can::{self, CanController};

/// While frames come, they are taken this often and not one by one. The controller keeps 128 of them, which
/// take at least 12 ms; and it is half of what a master waits after a start.
pub const PACE_NS: u64 = 10_000_000;

/// A node's CAN controller.
#[derive(Debug)]
pub struct Bus<'a> {
    can: &'a CanController,
    busy: bool,
}

impl Bus<'_> {
    /// The bus that `can` takes part in.
    pub fn of(can: &CanController) -> Bus<'_> {
        Bus { can, busy: false }
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

    /// Sleeps until `deadline_ns` or until there are frames: at once after silence, else every [`PACE_NS`].
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
        let (any, deadline_ns) = if self.busy {
            (0, deadline_ns.min(control.now_ns().saturating_add(PACE_NS)))
        } else {
            (self.can.mask(), deadline_ns)
        };
        self.busy = false;
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
        self.busy |= received;
        Ok(received)
    }
}
