//! The product: scenarios, hosts, sweeps, reports.

/// The reference firmware, built with this program.
pub mod firmware;
/// The host that reads and writes the array.
pub mod host;
