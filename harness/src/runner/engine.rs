//! Which engine boards run on.

use std::collections::BTreeMap;
use std::sync::Arc;

use emulator::engine::qemu::Accelerator;
use emulator::engine::qemu::installation::Installation;
use emulator::engine::{EngineChoice, kvm};
use emulator::rig::Slot;

use super::bench::BenchError;

/// What a user may ask for: an engine, and others for some boards.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Engines {
    /// Of all boards not named in `boards`.
    pub usual: Engine,
    /// Of single boards.
    pub boards: BTreeMap<Slot, Engine>,
}

impl From<Engine> for Engines {
    fn from(usual: Engine) -> Engines {
        Engines {
            usual,
            boards: BTreeMap::new(),
        }
    }
}

impl Engines {
    /// The engines as they can be had on this machine.
    ///
    /// # Errors
    /// One of them cannot.
    pub fn choose(&self) -> Result<EngineChoice, BenchError> {
        let usual = self.usual.choose()?;
        if self.boards.is_empty() {
            return Ok(usual);
        }
        let slot = |slot: &Slot| usize::try_from(slot.index()).unwrap_or(usize::MAX);
        let boards = self.boards.iter();
        let boards = boards.map(|(board, engine)| Ok((slot(board), engine.choose()?)));
        Ok(EngineChoice::Mixed {
            usual: Box::new(usual),
            boards: boards.collect::<Result<_, BenchError>>()?,
        })
    }
}

/// One engine.
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
