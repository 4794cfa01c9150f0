//! The acceptance table: every row, and which passed expectation proves it.
//!
//! * [`Rows`] — the rows, from `rows.toml`.
//! * [`Coverage`] — computed from what scenarios declare and what their runs recorded; a row counts
//!   only through an expectation that ran and could have failed.
//! * [`table`] — the table people read.

mod compute;
mod rows;
mod table;

pub use compute::{Coverage, Gap, Outcome, RowResult, outcomes};
pub use rows::{Family, Kind, Row, RowId, Rows};
pub use table::table;
