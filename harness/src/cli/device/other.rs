//! The kinds that have few arguments.

use std::path::PathBuf;

use clap::Args;
use devices::can::BitRates;
use emulator::rig::Bytes;
use emulator::serve::Pace;

use super::{Common, Timing};
use crate::cli::bridge::CanBridge;
use crate::device::{self, DeviceError, DiskFile, FileKind};

/// Service media: a read-only disk that comes and goes.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  arraybench device media 2.0.abp --socket ./s --control ./c
  arraybench control ./c eject
  arraybench control ./c insert 2.1.abp")]
pub(super) struct Media {
    /// What is in it at first [default: nothing]
    #[arg(value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    common: Common,
}

impl Media {
    pub(super) fn run(self) -> Result<(), DeviceError> {
        let media = device::Media::new(self.file.as_deref())?;
        let serving = self.common.serving(Pace::Leap);
        let about = format!("service media, at {}", self.common.socket.display());
        device::serve(media, &serving, &about, device::Media::HELP)
    }
}

/// Flash: NOR chips on an SPI bus (virtio-spi, device 45).
///
/// Files are those of `arraybench boot --state` (flash-SERIAL-0 …).
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  arraybench device flash --chip ./chip0 --chip ./chip1 --size 2MiB --socket ./s --control ./c
  arraybench control ./c cut at program 40 torn
  arraybench control ./c power on
  arraybench control ./c flash fault stuck-bit 0 0x20010 3 0")]
pub(super) struct Flash {
    /// A chip (once for each), by chip select
    #[arg(long = "chip", value_name = "FILE", required = true)]
    chips: Vec<PathBuf>,
    /// Makes chips that are missing, so large, blank
    #[arg(long, value_name = "SIZE")]
    size: Option<Bytes>,
    /// How long programming and erasing take
    #[arg(long, value_enum, default_value = "zero")]
    timing: Timing,
    #[command(flatten)]
    common: Common,
}

impl Flash {
    pub(super) fn run(self) -> Result<(), DeviceError> {
        let open = |path: &PathBuf| DiskFile::open(path, self.size, FileKind::Chip);
        let files: Result<Vec<DiskFile>, DeviceError> = self.chips.iter().map(open).collect();
        let flash = device::Flash::new(files?, self.common.seed)?;
        let serving = self.common.serving(self.timing.pace());
        let socket = self.common.socket.display();
        let about = format!("flash of {} chips, at {socket}", self.chips.len());
        device::serve(flash, &serving, &about, &device::Flash::help())
    }
}

/// A console: what is printed goes to the output, and lines typed here go in.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  arraybench device console --socket ./s --control ./c
  arraybench control ./c type reboot")]
pub(super) struct Console {
    #[command(flatten)]
    common: Common,
}

impl Console {
    pub(super) fn run(self) -> Result<(), DeviceError> {
        let serving = self.common.serving(Pace::Real);
        let about = format!("console, at {}", self.common.socket.display());
        let console = device::Console::new();
        device::serve(console, &serving, &about, device::Console::HELP)
    }
}

/// A panel of 256 × 128 pixels (virtio-gpu), as a picture file.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  arraybench device panel --png ./panel.png --socket ./s")]
pub(super) struct Panel {
    /// The picture, written anew whenever the driver flushes
    #[arg(long, value_name = "FILE")]
    png: PathBuf,
    #[command(flatten)]
    common: Common,
}

impl Panel {
    pub(super) fn run(self) -> Result<(), DeviceError> {
        let serving = self.common.serving(Pace::Real);
        let about = format!("panel, at {}", self.common.socket.display());
        let panel = device::Panel::new(&self.png);
        device::serve(panel, &serving, &about, device::Panel::HELP)
    }
}

/// Two network ports on one segment: what goes in at one socket comes out at the other.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  arraybench device network --socket ./s0 --peer-socket ./s1 --control ./c
  arraybench control ./c link down 1")]
pub(super) struct Network {
    /// Where the front-end of the other port connects
    #[arg(long, value_name = "PATH")]
    peer_socket: PathBuf,
    #[command(flatten)]
    common: Common,
}

impl Network {
    pub(super) fn run(self) -> Result<(), DeviceError> {
        let mut serving = self.common.serving(Pace::Leap);
        let about = format!(
            "network ports, at {} and {}",
            self.common.socket.display(),
            self.peer_socket.display()
        );
        serving.sockets.push(self.peer_socket);
        let network = device::Network::new();
        device::serve(network, &serving, &about, device::Network::HELP)
    }
}

/// A CAN controller (virtio-can, device 36), and a bus with one more node on it.
///
/// The bus is bit-exact CAN 2.0 and CAN FD, in real time. The other node acknowledges, and sends what `send` says.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  arraybench device can --socket ./s --control ./c
  arraybench control ./c send 123#DEADBEEF
  arraybench control ./c fault crc 3
  arraybench control ./c events        what happens; after `watch on` also every frame
  arraybench device can --socket ./s --can-bridge can0
                                       a bus that real hardware is on")]
pub(super) struct Can {
    /// Bits a second
    #[arg(long, value_name = "N", default_value_t = 500_000,
          value_parser = clap::value_parser!(u32).range(10_000..=1_000_000))]
    bit_rate: u32,
    /// Bits a second in the data phase of CAN FD frames; 0: the controller knows no CAN FD
    #[arg(long, value_name = "N", default_value_t = 2_000_000,
          value_parser = clap::value_parser!(u32).range(0..=8_000_000))]
    data_bit_rate: u32,
    #[command(flatten)]
    bridge: CanBridge,
    #[command(flatten)]
    common: Common,
}

impl Can {
    pub(super) fn run(self) -> Result<(), DeviceError> {
        if (1..self.bit_rate).contains(&self.data_bit_rate) {
            let what = format!(
                "--data-bit-rate {} is below --bit-rate {}: the data phase is the faster one; say 0 for none",
                self.data_bit_rate, self.bit_rate
            );
            return Err(DeviceError::Usage(what));
        }
        let rates = BitRates {
            nominal: self.bit_rate,
            data: self.data_bit_rate,
        };
        let can = device::Can::new(rates, self.bridge.open()?);
        let serving = self.common.serving(Pace::Real);
        let about = format!("CAN controller, at {}", self.common.socket.display());
        device::serve(can, &serving, &about, device::Can::HELP)
    }
}

/// Board control: identity, waiting, watchdog, locks (board manual §5).
///
/// A reset that the firmware asks for is told, and is to be done by whoever has the virtual machine.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  arraybench device board-control --serial MY-1 --socket ./s --control ./c
  arraybench control ./c events        traces of the firmware, among others")]
pub(super) struct BoardControl {
    /// The board's serial number
    #[arg(long, value_name = "TEXT", default_value = "AB1-000A")]
    serial: String,
    #[command(flatten)]
    common: Common,
}

impl BoardControl {
    pub(super) fn run(self) -> Result<(), DeviceError> {
        let serving = self.common.serving(Pace::Real);
        let about = format!("board control, at {}", self.common.socket.display());
        let control = device::BoardControl::new(&self.serial);
        device::serve(control, &serving, &about, device::BoardControl::HELP)
    }
}
