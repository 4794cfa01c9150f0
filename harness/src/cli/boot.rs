use std::path::{Path, PathBuf};

use clap::Args;

use super::bridge::CanBridge;
use super::engine::EngineArgument;
use super::exit::{CliError, Exit};
use super::output::print;
use crate::files::{FileError, Problem, built_in_rig_names, load_rig};
use crate::runner::{BootRequest, bench, debugged_bench};
use crate::scenario::contents::{self, Build, PackageContents};

/// Boot an array and sit at its consoles.
///
/// All boards of the rig are powered on; their consoles share this terminal, one at a time. The
/// operator has the buttons of the chassis too: cut, reset, pull, insert, media. Flash, disks and
/// serial numbers are kept in the state directory, so the next run finds them as this one left them,
/// even if this one was killed.
///
/// Boards that run freely (machine q35, pc or microvm in their rig) have their first serial port as
/// console; they bring their own software, and --firmware says nothing to them.
///
/// With --can-bridge real CAN nodes and can-utils are on the array's bus; virtual time then follows the clock, from a
/// pipe too.
///
/// harness/rigs/every-key.toml shows every key of a rig file with its default.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Boot {
    /// The name of a rig of the bench (see --list), or the path of a rig file
    #[arg(value_name = "RIG", required_unless_present = "list")]
    rig: Option<String>,
    /// Print the rigs of the bench
    #[arg(long)]
    list: bool,
    /// Where media are kept between runs [default: in memory, gone at the end]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// What is in all banks and on the array where nothing is kept yet: a build, or a path [default: 1.0, or
    /// 1.0-nodes where the rig has nodes]
    #[arg(long, value_name = "BUILD")]
    firmware: Option<String>,
    #[command(flatten)]
    engine: EngineArgument,
    /// Let debuggers in: board A at this TCP port of this machine, B at the next. Runs on QEMU
    #[arg(long, value_name = "PORT", num_args = 0..=1, default_missing_value = "1234",
          value_parser = clap::value_parser!(u16).range(1024..=65_000))]
    gdb: Option<u16>,
    #[command(flatten)]
    bridge: CanBridge,
    /// Decides every detail left open
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
}

const EXAMPLES: &str = "\
Examples:
  arraybench boot partner-pair                     a pair, forgotten when you leave
  arraybench boot partner-pair --state ./my-array  a pair that remembers
  arraybench boot single --gdb                     a board that gdb can halt and look into
  arraybench boot library                          three frames, a hundred drives, two masters
  arraybench boot nodes-alone --can-bridge can0    its CAN nodes, and those of your hardware
  arraybench boot ./my-rig.toml --firmware ./my-firmware.abp
                                                   your board, your firmware
  arraybench boot linux-on-shelf --state ./my-linux
                                                   a Linux on the shelf, in real time";

/// Names and descriptions, in two columns.
fn list() -> Result<String, FileError> {
    let width = built_in_rig_names().map(str::len).max().unwrap_or(0);
    built_in_rig_names()
        .map(|name| {
            let rig = load_rig(name, Path::new(""))?;
            Ok(format!("{name:width$}  {}\n", rig.about))
        })
        .collect()
}

impl Boot {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        if self.list {
            print(&list()?)?;
            return Ok(Exit::Good);
        }
        let rig = load_rig(&self.rig.unwrap_or_default(), Path::new(""))?;
        if let Some(name) = self.bridge.name().filter(|_| rig.can.segments.is_empty()) {
            return Err(CliError::Usage(format!(
                "--can-bridge {name}: rig {} has no CAN bus to join it to; give it segments under [can], or take one \
                 that has them, such as nodes-alone",
                rig.name
            )));
        }
        let usual = if rig.nodes.is_empty() {
            "1.0"
        } else {
            "1.0-nodes"
        };
        let name = self.firmware.as_deref().unwrap_or(usual);
        let firmware = Build::parse(name, Path::new(""))
            .map_err(|(what, remedy)| FileError::of(name, "", Problem::new(what, remedy)))?;
        let flash = contents::in_all_banks(&firmware);
        let mut problems = contents::misfits(&flash, &rig);
        problems.extend(contents::package_misfit(
            &PackageContents::of(&firmware),
            &rig,
        ));
        if !problems.is_empty() {
            return Err(FileError::new(name, "", problems).into());
        }
        let bench = match self.gdb {
            None => bench(&self.engine.choice()?)?,
            Some(port) => debugged_bench(&self.engine.with_debugger()?, port)?,
        };
        bench.boot(&BootRequest {
            debugger: self.gdb,
            can_bridge: self.bridge.name().map(str::to_owned),
            rig,
            firmware,
            state: self.state,
            seed: self.seed,
        })?;
        Ok(Exit::Good)
    }
}
