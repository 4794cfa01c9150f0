//! One device served alone, on a socket, to whatever vhost-user front-end comes.
//!
//! * `hardware.rs` — [`Hardware`]: the device and its core, and what people can do to it.
//! * `server.rs` — [`Server`]: the loop. One thread waits for the front-end's messages and notifications, for the device's
//!   next deadline, for the control socket and for the order to stop.
//! * `port.rs` — one front-end's side: a listener, at most one connection, the rings.
//! * `place.rs` — taking a socket's path.
//! * `control.rs` — the control socket: a command a line, an answer a line.
//!
//! Time is handed in; devices know no other. Where a device is to be as fast as the host ([`Pace::Leap`]), its time leaps to
//! whatever it waits for.

mod control;
mod hardware;
mod place;
mod port;
mod server;

pub use control::{Control, LINE_BYTES_MAX};
pub use hardware::Hardware;
pub use place::{Place, PlaceError};
pub use port::Port;
pub use server::{Pace, Server, Settings};
