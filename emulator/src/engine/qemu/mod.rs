//! Stock QEMU as a child process.
//!
//! One QEMU a board and a boot: `-M microvm` with the board's ROM as firmware, and each of the board's
//! devices attached over vhost-user to the very slot objects that the own VMM uses.
//!
//! * `machine.rs` — [`QemuEngine`](crate::engine::qemu::QemuEngine): a board's QEMU, one after the other.
//! * `running.rs` — one of them: waits for what it has to say, and hands it to the board.
//! * `process.rs` — the command line, and the child's life. Killing it is the power cut.
//! * `monitor.rs` — QMP: why the CPU stopped, and its registers.
//! * `rom.rs` — the boot ROM, as the file that QEMU maps.
//! * `answers.rs` — keeps back what the board waits for until all its devices were served.
//! * `installation.rs` — which QEMU there is, and how it is started.
//!
//! A run is deterministic because a compliant board touches nothing between its notification and the answer, and
//! because that answer is shown to it last. While the board waits the child is stopped (SIGSTOP), so that its
//! spinning costs no CPU.

mod answers;
/// Which QEMU there is, and how it is started.
pub mod installation;
mod machine;
mod monitor;
mod process;
mod rom;
mod running;

pub use machine::QemuEngine;
pub use process::Accelerator;

/// The error of a step of starting or talking to QEMU.
fn cannot(what: &'static str) -> impl FnOnce(std::io::Error) -> super::EngineError {
    move |why| super::EngineError::Qemu {
        what,
        why: why.to_string(),
    }
}
