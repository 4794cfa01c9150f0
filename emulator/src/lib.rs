//! Boards and arrays.

/// What a rig file says: chassis, boards, shelf, links and power domains as plain data.
pub mod rig;
