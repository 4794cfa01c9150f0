//! Boards and arrays.
//!
//! A [`board::Board`] is a CPU engine plus the virtio sides of its devices; an [`array::Array`] owns
//! every board, every core that boards share, and the one virtual clock. One array runs on one
//! thread; parallelism is over arrays. [`rig`] is what a rig file says of them.
//!
//! What is deliberately absent: knowledge of scenarios, goldens or hosts; wall-clock time in
//! anything an array shows (only the hang detector looks at CPU time); device logic.

pub mod array;
pub mod board;
#[cfg(test)]
mod conformance;
pub mod engine;
pub mod rig;
pub mod serve;
pub mod service;
pub mod shared;
pub mod slot;
pub mod vhost_user;
