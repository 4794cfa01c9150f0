//! The accepted outcome of a scenario, as text that a person can read in a review.
//!
//! * [`Outcome`] — what is compared: timeline, final state of boards and array, host figures.
//! * [`render`] — its one stable text.
//! * [`Golden`] — the file `golden/<scenario>.snap` (insta's format, so `cargo insta review` works)
//!   and the panel pictures beside it; comparing, and blessing by the operator.
//!
//! No redactions: needing one means that nondeterminism leaked. Boards that run freely in real time have a text of
//! their own, which tells facts (`freely.rs`).

mod compare;
mod freely;
mod outcome;
mod panel;
mod render;

pub use compare::{Comparison, Golden, GoldenError, golden_folder};
pub use outcome::{
    ArrayOutcome, BoardOutcome, CanOutcome, Entry, HostOutcome, NodesOutcome, Outcome,
};
pub use panel::Panel;
pub(crate) use render::nodes_line;
pub use render::render;
