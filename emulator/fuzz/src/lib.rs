//! What a hostile front-end does, and the devices before which it does it.
//!
//! A front-end is mostly what decent ones are: it says what starts a ring, and puts requests on it. Between that it
//! says anything at all, with any descriptors, rewrites its memory, cuts it short, leaves and comes back.
//!
//! Everything happens in one thread: the server asks its hardware for a keyboard, and what is typed there is
//! the next step of the script. So a script has one outcome.

mod front;
mod served;

pub use front::{Front, Step};
pub use served::{Device, Served};
