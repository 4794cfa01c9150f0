//! The product: scenarios, reports, goldens, coverage and the `arraybench` command.
//!
//! Data flows one way: files → scenario → runner → [`report::Record`]s → every report. Reporters
//! never see the machine; nothing below this crate knows what a scenario is.

/// The `arraybench` command: arguments, one file per command, exit codes.
pub mod cli;
/// The acceptance table: every row, and which passed expectation proves it.
pub mod coverage;
/// Files that people write: read within bounds, complained about so that they can be mended.
pub mod files;
/// The accepted outcome of a scenario, as text that a person can read in a review.
pub mod golden;
/// One stream of records feeds every report.
pub mod report;
/// What the commands need of the machine, and everything around it that needs no machine.
pub mod runner;
/// Scenario files: one story each, in a closed set of verbs.
pub mod scenario;
