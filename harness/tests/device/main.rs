//! `arraybench device` as virtual machines see it: a front-end of the `vhost` crate, rings in a memory file.

mod client;
mod hostile;
mod kinds;
mod raid;
mod server;
mod stops;
