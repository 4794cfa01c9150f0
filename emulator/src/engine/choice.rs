//! Which engine a board gets.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::kvm::KvmEngine;
use super::qemu::installation::Installation;
use super::qemu::{Accelerator, QemuEngine};
use super::{Engine, EngineError};

/// An engine that can be had on this machine.
#[derive(Clone, Debug)]
pub enum EngineChoice {
    /// The own VMM on /dev/kvm.
    Kvm,
    /// Stock QEMU.
    Qemu {
        /// Which one.
        installation: Arc<Installation>,
        /// What it executes guest code with.
        accelerator: Accelerator,
    },
}

impl EngineChoice {
    /// Whether boards on it can be checkpointed.
    pub fn makes_checkpoints(&self) -> bool {
        matches!(self, EngineChoice::Kvm)
    }

    /// An engine for one board: RAM in MiB, boot ROM, and the CPU time without a device access after which
    /// it counts as hung.
    ///
    /// # Errors
    /// The host cannot run boards with this engine.
    pub fn build(
        &self,
        ram_mib: u32,
        rom: &[u8],
        hang_limit: Duration,
    ) -> Result<Box<dyn Engine>, EngineError> {
        Ok(match self {
            EngineChoice::Kvm => Box::new(KvmEngine::new(ram_mib, rom, hang_limit)?),
            EngineChoice::Qemu {
                installation,
                accelerator,
            } => {
                let installation = Arc::clone(installation);
                let engine = QemuEngine::new(installation, *accelerator, ram_mib, rom, hang_limit)?;
                Box::new(engine)
            }
        })
    }
}

impl fmt::Display for EngineChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            EngineChoice::Kvm => "kvm",
            EngineChoice::Qemu {
                accelerator: Accelerator::Tcg,
                ..
            } => "qemu",
            EngineChoice::Qemu {
                accelerator: Accelerator::Kvm,
                ..
            } => "qemu-kvm",
        })
    }
}
