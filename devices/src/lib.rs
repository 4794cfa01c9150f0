//! Hardware without a CPU.
//!
//! Every device is one *core* that knows no virtio (media, buses, counters, power-loss behaviour)
//! and one thin *virtio side* that moves requests between guest memory and the core. Cores are
//! plain data: cloning every core and every virtio side of an array is a checkpoint of it.
//!
//! What is deliberately absent: threads, wall clocks, random sources other than a seed handed in,
//! files except behind [`medium::Medium`], and any `Err` or panic caused by what a guest does —
//! guest trouble becomes a device status and an [`event::DeviceEvent`].

pub mod block;
pub mod board_control;
pub mod can;

pub mod console;
pub mod event;
pub mod flash;
pub mod medium;
pub mod midplane;
pub mod network;
pub mod panel;
pub mod power;
pub mod service_media;
pub mod shelf;
pub mod time;
pub mod virtio;

mod sparse;
#[cfg(test)]
mod test_driver;
