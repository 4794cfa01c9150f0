//! Which engine a board gets.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::kvm::KvmEngine;
use super::qemu::installation::{Installation, Missing};
use super::qemu::{Accelerator, QemuEngine};
use super::{Engine, EngineError};
use crate::rig::{Boot, Machine};

/// What an engine must know of a board.
#[derive(Clone, Debug)]
pub struct Hardware {
    /// What the CPU sits in.
    pub machine: Machine,
    /// What it boots, where that is not the ROM.
    pub boot: Boot,
    /// RAM.
    pub ram_mib: u32,
    /// The boot ROM of an AB-1.
    pub rom: Arc<[u8]>,
    /// CPU time without a device access after which a board that should wait counts as hung.
    pub hang_limit: Duration,
    /// Controller slot.
    pub slot: usize,
}

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
        /// Whether debuggers may look into boards.
        debugging: Option<Debugging>,
    },
}

/// Debuggers are let in.
#[derive(Clone, Debug)]
pub struct Debugging {
    /// Where a debugger finds the board in slot 0, and next to it the others: a TCP port of this machine.
    pub port: u16,
    /// Nobody waits any more for a board that a debugger has: it halts for good.
    pub leave: Arc<AtomicBool>,
}

impl EngineChoice {
    /// Whether boards on it can be checkpointed.
    pub fn makes_checkpoints(&self) -> bool {
        matches!(self, EngineChoice::Kvm)
    }

    /// The engine for a board in such a machine: the own VMM is no PC, so QEMU takes its place there.
    ///
    /// # Errors
    /// There is no QEMU.
    pub fn for_machine(&self, machine: Machine) -> Result<EngineChoice, Missing> {
        if machine.runs_freely() && matches!(self, EngineChoice::Kvm) {
            return Ok(EngineChoice::Qemu {
                installation: Arc::new(Installation::find()?),
                accelerator: Accelerator::Tcg,
                debugging: None,
            });
        }
        Ok(self.clone())
    }

    /// An engine for one board.
    ///
    /// # Errors
    /// The host cannot run boards with this engine.
    pub fn build(&self, hardware: &Hardware) -> Result<Box<dyn Engine>, EngineError> {
        Ok(match self {
            EngineChoice::Kvm if hardware.machine.runs_freely() => {
                let machine = hardware.machine.as_str();
                return Err(EngineError::NoMachine { machine });
            }
            EngineChoice::Kvm => Box::new(KvmEngine::new(
                hardware.ram_mib,
                &hardware.rom,
                hardware.hang_limit,
            )?),
            EngineChoice::Qemu {
                installation,
                accelerator,
                debugging,
            } => {
                let slot = u16::try_from(hardware.slot).unwrap_or(u16::MAX);
                let debugging = debugging.as_ref().and_then(|it| {
                    let port = it.port.checked_add(slot)?;
                    let leave = Arc::clone(&it.leave);
                    Some(Debugging { port, leave })
                });
                Box::new(QemuEngine::new(
                    Arc::clone(installation),
                    *accelerator,
                    debugging,
                    hardware.clone(),
                )?)
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
