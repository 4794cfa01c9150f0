use std::path::{Path, PathBuf};

use clap::Args;

use super::exit::{CliError, Exit};
use crate::files::{FileError, Problem, load_rig};
use crate::runner::{BootRequest, Engine, bench};
use crate::scenario::contents::{self, Build, PackageContents};

/// Boot an array and sit at its consoles.
///
/// All boards of the rig are powered on; their consoles share this terminal, one at a time. The
/// operator has the buttons of the chassis too: cut, reset, pull, insert, media. Flash, disks and
/// serial numbers are kept in the state directory, so the next run finds them as this one left them,
/// even if this one was killed.
///
/// harness/rigs/every-key.toml shows every key of a rig file with its default.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Boot {
    /// A rig of the bench (single, partner-pair, same-chip-pair, triple) or the path of a rig file
    #[arg(value_name = "RIG")]
    rig: String,
    /// Where media are kept between runs [default: in memory, gone at the end]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// What is in all banks and on the array where nothing is kept yet: a build, or a path
    #[arg(long, value_name = "BUILD", default_value = "1.0")]
    firmware: String,
    /// Decides every detail left open
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
}

const EXAMPLES: &str = "\
Examples:
  arraybench boot partner-pair                     a pair, forgotten when you leave
  arraybench boot partner-pair --state ./my-array  a pair that remembers
  arraybench boot ./my-rig.toml --firmware ./my-firmware.abp
                                                   your board, your firmware";

impl Boot {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let rig = load_rig(&self.rig, Path::new(""))?;
        let firmware = Build::parse(&self.firmware, Path::new("")).map_err(|(what, remedy)| {
            FileError::of(&self.firmware, "", Problem::new(what, remedy))
        })?;
        let flash = contents::in_all_banks(&firmware);
        let mut problems = contents::misfits(&flash, &rig);
        problems.extend(contents::package_misfit(
            &PackageContents::of(&firmware),
            &rig,
        ));
        if !problems.is_empty() {
            return Err(FileError::new(&self.firmware, "", problems).into());
        }
        bench(Engine::default())?.boot(&BootRequest {
            rig,
            firmware,
            state: self.state,
            seed: self.seed,
        })?;
        Ok(Exit::Good)
    }
}
