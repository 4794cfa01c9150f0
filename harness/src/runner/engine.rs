//! Which engine boards run on.

use std::sync::Arc;

use emulator::engine::qemu::Accelerator;
use emulator::engine::qemu::installation::Installation;
use emulator::engine::{EngineChoice, kvm};

use super::bench::BenchError;

/// What a user may ask for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Engine {
    /// The own VMM where it works, else QEMU.
    #[default]
    Auto,
    /// The own VMM on `/dev/kvm`.
    Kvm,
    /// Stock QEMU, translating guest code.
    Qemu,
    /// Stock QEMU on `/dev/kvm`.
    QemuKvm,
}

impl Engine {
    /// The engine as it can be had on this machine.
    ///
    /// # Errors
    /// It cannot, or none can.
    pub fn choose(self) -> Result<EngineChoice, BenchError> {
        match self {
            Engine::Auto => kvm_here().or_else(|no_kvm| {
                let both = |no_qemu| format!("neither works: KVM: {no_kvm}; QEMU: {no_qemu}");
                qemu(Accelerator::Tcg).map_err(both)
            }),
            Engine::Kvm => kvm_here(),
            Engine::Qemu => qemu(Accelerator::Tcg),
            Engine::QemuKvm => kvm_here().and_then(|_| qemu(Accelerator::Kvm)),
        }
        .map_err(|what| BenchError::NoEngine { what })
    }
}

fn kvm_here() -> Result<EngineChoice, String> {
    let remedy = "`arraybench doctor` tells how to mend it, `--engine qemu` does without";
    match kvm::probe() {
        Ok(()) => Ok(EngineChoice::Kvm),
        Err(error) => Err(format!("{}; {remedy}", crate::play::chain(&error))),
    }
}

fn qemu(accelerator: Accelerator) -> Result<EngineChoice, String> {
    let installation = Installation::find().map_err(|missing| missing.to_string())?;
    let fit = installation.fit_for_boards();
    fit.map_err(|missing| missing.to_string())?;
    Ok(EngineChoice::Qemu {
        installation: Arc::new(installation),
        accelerator,
        debugging: None,
    })
}
