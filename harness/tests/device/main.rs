//! `arraybench device` as virtual machines see it: a front-end of the `vhost` crate, rings in a memory file; and QEMU.

mod client;
mod hostile;
mod kinds;
mod machine;
mod qemu;
mod raid;
mod server;
mod stops;
