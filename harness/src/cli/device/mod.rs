//! `arraybench device`: one device of the bench on a socket.

mod other;
mod raid;

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use devices::time::Nanos;
use emulator::serve::Pace;

use super::exit::{CliError, Exit};
use crate::device::{DeviceError, Serving};

/// Serve one device of the bench on a socket, to QEMU or cloud-hypervisor.
///
/// The device is the same as on the bench's boards, behind vhost-user. It is served until Ctrl-C; virtual machines come and
/// go, and what it keeps stays. With --control its power can be cut and its parts broken while a virtual machine
/// uses it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Device {
    #[command(subcommand)]
    kind: Kind,
}

const EXAMPLES: &str = "\
Examples:
  arraybench device raid --level 5 --disk a --disk b --disk c --size 64MiB --socket ./s
                                       a RAID 5 of three files, made where they are missing
  arraybench device raid --level 1 --memory 64MiB --socket ./s --control ./c
                                       a mirror in memory, and a socket for commands
  arraybench control ./c cut at member-write 10 torn
                                       cuts its power in the tenth write from now on
  arraybench device flash --chip ./rom --size 8MiB --socket ./s
                                       an SPI flash chip
  arraybench device panel --png ./panel.png --socket ./s
                                       a display, as a picture

At its start it prints the options that attach a virtual machine, for instance:
  qemu-system-x86_64 -object memory-backend-memfd,id=m,size=512M,share=on \\
    -machine q35,memory-backend=m -m 512M \\
    -chardev socket,id=c0,path=./s -device vhost-user-blk-pci,chardev=c0,num-queues=1 …
  cloud-hypervisor --memory size=512M,shared=on \\
    --disk vhost_user=true,socket=./s,num_queues=1,queue_size=128 …";

#[derive(Debug, Subcommand)]
enum Kind {
    Raid(raid::Raid),
    Media(other::Media),
    Flash(other::Flash),
    Console(other::Console),
    Panel(other::Panel),
    Network(other::Network),
    Can(other::Can),
    BoardControl(other::BoardControl),
}

impl Device {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let served = match self.kind {
            Kind::Raid(raid) => raid.run(),
            Kind::Media(media) => media.run(),
            Kind::Flash(flash) => flash.run(),
            Kind::Console(console) => console.run(),
            Kind::Panel(panel) => panel.run(),
            Kind::Network(network) => network.run(),
            Kind::Can(can) => can.run(),
            Kind::BoardControl(control) => control.run(),
        };
        served?;
        Ok(Exit::Good)
    }
}

/// How long things take.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Timing {
    /// As fast as the host
    Zero,
    /// As long as the parts of a rig
    Real,
}

impl Timing {
    fn pace(self) -> Pace {
        match self {
            Timing::Zero => Pace::Leap,
            Timing::Real => Pace::Real,
        }
    }
}

/// What all kinds have.
#[derive(Debug, Args)]
struct Common {
    /// Where the front-end connects. A socket whose server was killed is replaced
    #[arg(long, value_name = "PATH")]
    socket: PathBuf,
    /// Where commands are taken, a line each (see `arraybench control`)
    #[arg(long, value_name = "PATH")]
    control: Option<PathBuf>,
    /// How many microseconds to look for requests before sleeping: faster, for a CPU of its own
    #[arg(long, value_name = "N", default_value_t = 0)]
    poll_us: u64,
    /// Decides every detail that a cut leaves open
    #[arg(long, value_name = "S", default_value_t = 1)]
    seed: u64,
}

impl Common {
    fn serving(&self, pace: Pace) -> Serving {
        Serving {
            sockets: vec![self.socket.clone()],
            control: self.control.clone(),
            poll: Nanos::from_micros(self.poll_us),
            pace,
        }
    }
}

impl From<DeviceError> for CliError {
    fn from(error: DeviceError) -> CliError {
        CliError::Device(error)
    }
}
