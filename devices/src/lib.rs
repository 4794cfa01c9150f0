//! Hardware without a CPU.
//!
//! Every device is one *core* that knows no virtio (media, buses, counters, power-loss behaviour)
//! and one thin *virtio side* that moves requests between guest memory and the core. Cores are
//! plain data: cloning every core and every virtio side of an array is a checkpoint of it.
//!
//! What is deliberately absent: threads, wall clocks, random sources other than a seed handed in,
//! files except behind [`medium::Medium`], and any `Err` or panic caused by what a guest does —
//! guest trouble becomes a device status and an [`event::DeviceEvent`].

/// virtio-blk over any block core.
pub mod block;
/// Board control: waiting, identity, traces, resets and the way to the midplane.
pub mod board_control;
/// The console: human text, line by line.
pub mod console;
/// Structured notices a device makes of what happened to it.
pub mod event;
/// Dual flash: SPI NOR chips behind a virtio SPI controller.
pub mod flash;
/// Byte stores behind flash chips and member disks: memory or file.
pub mod medium;
/// What the controllers of a chassis share: locks, hold lines and the calendar clock.
pub mod midplane;
/// Ethernet segments and the network ports on them.
pub mod network;
/// The front panel: a small picture that firmware draws.
pub mod panel;
/// What a loss of power does to an operation in progress.
pub mod power;
/// The slot an operator puts an upgrade package in.
pub mod service_media;
/// RAID shelf.
pub mod shelf;
/// Virtual time.
pub mod time;
/// What every virtio device has in common.
pub mod virtio;

#[cfg(test)]
mod test_driver;
