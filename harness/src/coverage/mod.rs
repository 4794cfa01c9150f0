//! tmp
mod rows;
pub use rows::{Kind, Row, RowId, Rows};
