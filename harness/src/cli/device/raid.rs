use std::path::PathBuf;

use clap::Args;
use emulator::rig::{Bytes, RaidLevel};

use super::{Common, Timing};
use crate::device::{self, DeviceError, Disk, RaidPlan};

/// A RAID shelf: one disk for the virtual machine, on files or in memory.
///
/// What was acknowledged is in the files at once, and survives a kill of this program; with --cache only what was
/// flushed is. Files are those of `arraybench boot --state` (disk-0 …, with its level and chunk).
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Raid {
    /// RAID level: 0, 1, 5 or 6
    #[arg(long, value_name = "LEVEL", value_parser = level)]
    level: RaidLevel,
    /// A member disk (once for each), always in the same order
    #[arg(long = "disk", value_name = "FILE", required_unless_present = "memory")]
    disks: Vec<PathBuf>,
    /// Member disks in memory instead, of this size, gone at the end
    #[arg(long, value_name = "SIZE", conflicts_with_all = ["disks", "size"])]
    memory: Option<Bytes>,
    /// How many disks in memory [default: the fewest of the level]
    #[arg(long, value_name = "N", requires = "memory")]
    members: Option<u32>,
    /// A disk that waits for a member to fail (once for each); `memory` is one in memory
    #[arg(long = "spare", value_name = "FILE")]
    spares: Vec<PathBuf>,
    /// Makes disks that are missing, so large
    #[arg(long, value_name = "SIZE")]
    size: Option<Bytes>,
    /// Bytes on one member before the next takes over
    #[arg(long, value_name = "SIZE", default_value = "16KiB")]
    chunk: Bytes,
    /// Volatile cache: writes are answered from it, and are safe once flushed
    #[arg(long, value_name = "SIZE", default_value = "0")]
    cache: Bytes,
    /// How long disks take
    #[arg(long, value_enum, default_value = "zero")]
    timing: Timing,
    #[command(flatten)]
    common: Common,
}

const EXAMPLES: &str = "\
Examples:
  arraybench device raid --level 5 --disk a --disk b --disk c --size 64MiB --socket ./s
  arraybench device raid --level 6 --memory 64MiB --members 6 --spare memory --socket ./s --control ./c
  arraybench control ./c fail disk 2   the spare steps in
  arraybench control ./c cut torn      power goes, in the middle of whatever it does
  arraybench control ./c power on";

fn level(text: &str) -> Result<RaidLevel, String> {
    let number: u8 = text.parse().map_err(|_| "it is 0, 1, 5 or 6".to_owned())?;
    RaidLevel::try_from(number)
}

impl Raid {
    pub(super) fn run(self) -> Result<(), DeviceError> {
        let members = match self.memory {
            None => self.disks.into_iter().map(Disk::File).collect(),
            Some(_) => {
                let members = self.members.unwrap_or(self.level.fewest_members());
                // More than any array has is refused with the rest.
                let members = usize::try_from(members.min(1000)).unwrap_or(0);
                vec![Disk::Memory; members]
            }
        };
        let spare = |path: PathBuf| match path.as_os_str() == "memory" {
            true => Disk::Memory,
            false => Disk::File(path),
        };
        let pace = self.timing.pace();
        let plan = RaidPlan {
            level: self.level,
            members,
            spares: self.spares.into_iter().map(spare).collect(),
            size: self.memory.or(self.size),
            chunk: self.chunk,
            cache: self.cache,
            pace,
            cuttable: self.common.control.is_some(),
            seed: self.common.seed,
        };
        let raid = device::Raid::new(&plan)?;
        let about = format!(
            "raid {} of {} disks, a volume of {}, at {}",
            u8::from(plan.level),
            plan.members.len(),
            raid.volume(),
            self.common.socket.display(),
        );
        let serving = self.common.serving(pace);
        let help = device::Raid::help();
        device::serve(raid, &serving, &about, &help)
    }
}
