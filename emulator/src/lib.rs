//! Boards and arrays.
//!
//! A [`board::Board`] is a CPU engine plus the virtio sides of its devices; an [`array::Array`] owns
//! every board, every core that boards share, and the one virtual clock. One array runs on one
//! thread; parallelism is over arrays.
//!
//! What is deliberately absent: knowledge of scenarios, goldens or hosts; wall-clock time in
//! anything an array shows (only the hang detector looks at CPU time); device logic.

/// Arrays: boards, shared cores, virtual time, power domains, checkpoints.
pub mod array;
/// One controller board: identity, slots, life cycle.
pub mod board;
/// What runs a board's CPU.
pub mod engine;
/// Rig and board files.
pub mod rig;
/// The cores that several boards share.
pub mod shared;
/// What driver and device see of each other in one device slot.
pub mod slot;
