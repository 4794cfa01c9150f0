//! Boards and arrays. [`rig`] is what a rig file says of them.

pub mod rig;
