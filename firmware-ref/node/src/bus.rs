//! The bus as a node's programs use it.

use distribution::Frame;
use runtime::board_control::BoardControl;
use runtime::can::{self, CanController};
use runtime::{DeviceError, number};

/// While frames come, they are taken this often and not one by one. The controller keeps 128 of them, which
/// take at least 12 ms; and it is half of what a master waits after a start.
pub const PACE_NS: u64 = 10_000_000;

/// A node's CAN controller.
#[derive(Debug)]
pub struct Bus {
    can: CanController,
    busy: bool,
}

impl Bus {
    /// Takes part in the bus.
    ///
    /// # Errors
    /// There is no controller, or it does not start.
    pub fn open(control: &BoardControl) -> Result<Bus, DeviceError> {
        Ok(Bus {
            can: CanController::open(control, number::CAN)?,
            busy: false,
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

    /// The next frame that was received.
    ///
    /// # Errors
    /// The controller failed.
    pub fn receive(&mut self) -> Result<Option<can::Frame>, DeviceError> {
        let frame = self.can.receive()?;
        self.busy |= frame.is_some();
        Ok(frame)
    }
}
