//! `--engine`, the same for every command that runs firmware.

use clap::{Args, ValueEnum};

use super::exit::CliError;
use crate::runner::Engine;

/// What runs the firmware.
#[derive(Clone, Copy, Debug, Args)]
pub(super) struct EngineArgument {
    /// What runs the firmware
    #[arg(long, value_name = "ENGINE", value_enum, default_value_t)]
    engine: Name,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Name {
    /// The own VMM where it works, else QEMU
    #[default]
    Auto,
    /// The own VMM on /dev/kvm
    Kvm,
    /// Stock QEMU 10.2 or newer, translating guest code
    Qemu,
    /// Stock QEMU on /dev/kvm
    QemuKvm,
}

impl EngineArgument {
    pub(super) fn choice(self) -> Engine {
        match self.engine {
            Name::Auto => Engine::Auto,
            Name::Kvm => Engine::Kvm,
            Name::Qemu => Engine::Qemu,
            Name::QemuKvm => Engine::QemuKvm,
        }
    }

    /// The same for boards that a debugger is to look into.
    ///
    /// # Errors
    /// The own VMM was asked for, which lets no debugger in.
    pub(super) fn with_debugger(self) -> Result<Engine, CliError> {
        match self.engine {
            Name::Auto | Name::Qemu => Ok(Engine::Qemu),
            Name::QemuKvm => Ok(Engine::QemuKvm),
            Name::Kvm => Err(CliError::Usage(
                "the own VMM lets no debugger in; leave out --engine kvm, or --gdb".to_owned(),
            )),
        }
    }
}
