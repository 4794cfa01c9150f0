//! The product: scenarios, hosts, sweeps, reports.

/// The host that reads and writes the array.
pub mod host;
