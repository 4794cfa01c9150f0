//! Boards and arrays.
