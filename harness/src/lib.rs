//! The product: scenarios, hosts, reports, goldens, coverage and the `arraybench` command.
//!
//! Data flows one way: files → scenario → runner → [`report::Record`]s → every report. Reporters
//! never see the machine; nothing below this crate knows what a scenario is.

pub mod can_bridge;
pub mod cli;
pub mod coverage;
pub mod desk;
pub mod device;
pub mod files;
pub mod firmware;
pub mod golden;
pub mod host;
pub mod inspect;
pub mod play;
pub mod provision;
pub mod report;
pub mod runner;
pub mod scenario;
pub mod stage;
pub mod sweep;
