//! The product: scenarios, reports, goldens, coverage and the `arraybench` command.
//!
//! Data flows one way: files → scenario → runner → [`report::Record`]s → every report. Reporters
//! never see the machine; nothing below this crate knows what a scenario is.

/// The acceptance table: every row, and which passed expectation proves it.
pub mod coverage;
/// Files that people write: read within bounds, complained about so that they can be mended.
pub mod files;
/// One stream of records feeds every report.
pub mod report;
/// Scenario files: one story each, in a closed set of verbs.
pub mod scenario;
