//! Which engine a board gets.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::kvm::KvmEngine;
use super::qemu::installation::{Installation, Missing};
use super::qemu::{Accelerator, QemuEngine};
use super::{Engine, EngineError};
use crate::array::slot_letter;
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
    /// One engine, and others for some boards.
    Mixed {
        /// Of all other boards.
        usual: Box<EngineChoice>,
        /// By controller slot.
        boards: BTreeMap<usize, EngineChoice>,
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
    /// What the board in a slot runs on.
    pub fn of_board(&self, slot: usize) -> &EngineChoice {
        match self {
            EngineChoice::Kvm | EngineChoice::Qemu { .. } => self,
            EngineChoice::Mixed { usual, boards } => {
                boards.get(&slot).unwrap_or(usual).of_board(slot)
            }
        }
    }

    /// What boards run on that are in no controller slot.
    pub fn of_nodes(&self) -> &EngineChoice {
        match self {
            EngineChoice::Kvm | EngineChoice::Qemu { .. } => self,
            EngineChoice::Mixed { usual, .. } => usual.of_nodes(),
        }
    }

    /// Whether all boards on it can be checkpointed.
    pub fn makes_checkpoints(&self) -> bool {
        match self {
            EngineChoice::Kvm => true,
            EngineChoice::Qemu { .. } => false,
            EngineChoice::Mixed { usual, boards } => {
                usual.makes_checkpoints() && boards.values().all(EngineChoice::makes_checkpoints)
            }
        }
    }

    /// Lets debuggers look into boards, as far as they are on QEMU.
    pub fn let_in(&mut self, debuggers: &Debugging) {
        match self {
            EngineChoice::Kvm => {}
            EngineChoice::Qemu { debugging, .. } => *debugging = Some(debuggers.clone()),
            EngineChoice::Mixed { usual, boards } => {
                let boards = boards.values_mut();
                let all = std::iter::once(usual.as_mut()).chain(boards);
                all.for_each(|engine| engine.let_in(debuggers));
            }
        }
    }

    /// Whether debuggers may look into boards.
    pub fn debugging(&self) -> Option<&Debugging> {
        match self {
            EngineChoice::Kvm => None,
            EngineChoice::Qemu { debugging, .. } => debugging.as_ref(),
            EngineChoice::Mixed { usual, boards } => {
                let mut boards = boards.values();
                let usual = usual.debugging();
                usual.or_else(|| boards.find_map(EngineChoice::debugging))
            }
        }
    }

    /// The engine for a board in such a machine: the own VMM is no PC, so QEMU takes its place there.
    ///
    /// # Errors
    /// There is no QEMU.
    pub fn for_machine(&self, machine: Machine) -> Result<EngineChoice, Missing> {
        if !machine.runs_freely() {
            return Ok(self.clone());
        }
        Ok(match self {
            EngineChoice::Kvm => EngineChoice::Qemu {
                installation: Arc::new(Installation::find()?),
                accelerator: Accelerator::Tcg,
                debugging: None,
            },
            EngineChoice::Qemu { .. } => self.clone(),
            EngineChoice::Mixed { usual, boards } => {
                let each = boards.iter();
                let each = each.map(|(slot, choice)| Ok((*slot, choice.for_machine(machine)?)));
                EngineChoice::Mixed {
                    usual: Box::new(usual.for_machine(machine)?),
                    boards: each.collect::<Result<_, Missing>>()?,
                }
            }
        })
    }

    /// An engine for one board.
    ///
    /// # Errors
    /// The host cannot run boards with this engine.
    pub fn build(&self, hardware: &Hardware) -> Result<Box<dyn Engine>, EngineError> {
        Ok(match self {
            EngineChoice::Mixed { .. } => return self.of_board(hardware.slot).build(hardware),
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
        match self {
            EngineChoice::Kvm => f.write_str("kvm"),
            EngineChoice::Qemu {
                accelerator: Accelerator::Tcg,
                ..
            } => f.write_str("qemu"),
            EngineChoice::Qemu {
                accelerator: Accelerator::Kvm,
                ..
            } => f.write_str("qemu-kvm"),
            EngineChoice::Mixed { usual, boards } => {
                write!(f, "{usual}")?;
                let mut each = boards.iter();
                each.try_for_each(|(slot, choice)| write!(f, ",{}={choice}", slot_letter(*slot)))
            }
        }
    }
}
