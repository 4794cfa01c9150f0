//! Stock QEMU as a child process.

/// Which QEMU there is, and how it is started.
pub mod installation;
