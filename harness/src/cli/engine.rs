//! `--engine`, the same for every command that runs firmware.

use clap::{Args, ValueEnum};

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
}
