//! L3: third level of a controller (VC16). Loads the drivers, follows the preferred version (VC36 …
//! VC69), then runs the controller application: cluster, SCSI target, console, panel.
//!
//! ```text
//!   boot ─────────► application          the two halves of a run
//!    │                │           host_link               what carries host commands
//!    │  publish       │  chassis  host_port  console  installation  departure  picture
//!    │  reflash       │     │        │          │          │            │         │
//!    │  download      └─────┴────┬───┴──────────┴──────────┴────────────┴─────────┘
//!    └──── source ───────────────┤        where the preferred version lives
//!                              nodes      the CAN bus, and who boots from it
//!                            hardware     drivers and memory
//! ```
//!
//! The builds differ in [`Build`] alone; each is a program of its own in `src/bin`.
#![cfg_attr(not(test), no_std)]

mod application;
mod boot_sequence;
mod calendar;
mod chassis;
mod console;
mod departure;
mod download;
mod hardware;
mod host_link;
mod host_port;
mod installation;
mod nodes;
mod partner_package;
mod picture;
mod publish;
mod reflash;
mod source;

use image::{ImageHeader, Version};
use runtime::BankName;
use runtime::board_control::BoardControl;
use runtime::handoff::Handoff;

use crate::hardware::{Hardware, Memory};
use crate::host_link::{ByStrap, EthernetScsi, HostLink};
use crate::nodes::{CanMaster, NoNodes, Nodes};
use crate::picture::Layout;

/// What makes one build differ from another.
#[derive(Clone, Copy, Debug)]
pub struct Build {
    /// Its version, the same as in its image's header.
    pub version: &'static str,
    /// The console knows `lun list` (since 1.1).
    pub lists_luns: bool,
    /// Understands heartbeats of format 2, and sends them once every partner does (since 2.0).
    pub heartbeat_2: bool,
    /// What the panel looks like.
    pub(crate) panel: Layout,
    /// What is wrong with it.
    pub flaw: Option<Flaw>,
}

/// What a known-bad build does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Executes an undefined instruction when the application starts.
    Crash,
    /// Spins when the application starts.
    Hang,
    /// Never becomes operational, and answers nobody.
    Mute,
    /// Erases the bank that booted before it programs the other one.
    Brick,
}

/// Build 1.0.
pub const BUILD_1_0: Build = Build {
    version: "1.0",
    lists_luns: false,
    heartbeat_2: false,
    panel: Layout::Lines,
    flaw: None,
};

/// Build 1.1: one more console command.
pub const BUILD_1_1: Build = Build {
    version: "1.1",
    lists_luns: true,
    ..BUILD_1_0
};

/// Build 2.0: heartbeats of format 2, another panel.
pub const BUILD_2_0: Build = Build {
    version: "2.0",
    heartbeat_2: true,
    panel: Layout::Banner,
    ..BUILD_1_1
};

/// Known bad.
pub const BUILD_2_0_CRASH: Build = Build {
    version: "2.0-crash",
    flaw: Some(Flaw::Crash),
    ..BUILD_2_0
};

/// Known bad.
pub const BUILD_2_0_HANG: Build = Build {
    version: "2.0-hang",
    flaw: Some(Flaw::Hang),
    ..BUILD_2_0
};

/// Known bad.
pub const BUILD_2_0_MUTE: Build = Build {
    version: "2.0-mute",
    flaw: Some(Flaw::Mute),
    ..BUILD_2_0
};

/// Known bad.
pub const BUILD_2_0_BRICK: Build = Build {
    version: "2.0-brick",
    flaw: Some(Flaw::Brick),
    ..BUILD_2_0
};

/// What this controller runs, and where that came from.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Running {
    /// Header of the image in the bank that L1 chose.
    pub(crate) l2: ImageHeader,
    /// That bank.
    pub(crate) l2_bank: BankName,
    /// Header of the image in the bank that L2 chose.
    pub(crate) l3: ImageHeader,
    /// That bank.
    pub(crate) l3_bank: BankName,
    /// The version of the code that runs: that of `l3`, unless it was downloaded.
    pub(crate) version: Version,
    /// The code came from the array, not from the bank (VC90).
    pub(crate) downloaded: bool,
}

/// Build 1.0 that knows iSCSI, and uses it where the board's straps say so.
pub const BUILD_1_0_ISCSI: Build = Build {
    version: "1.0-iscsi",
    ..BUILD_1_0
};

/// Build 2.0 that knows iSCSI.
pub const BUILD_2_0_ISCSI: Build = Build {
    version: "2.0-iscsi",
    ..BUILD_2_0
};

/// Build 1.0 that serves the nodes of a CAN bus.
pub const BUILD_1_0_NODES: Build = Build {
    version: "1.0-nodes",
    ..BUILD_1_0
};

/// Build 2.0 that serves the nodes of a CAN bus.
pub const BUILD_2_0_NODES: Build = Build {
    version: "2.0-nodes",
    ..BUILD_2_0
};

/// Runs the level, with SCSI in Ethernet for hosts.
pub fn run(build: &Build) -> ! {
    run_with::<EthernetScsi, NoNodes>(build)
}

/// Runs the level, as a master of the CAN bus besides.
pub fn run_with_nodes(build: &Build) -> ! {
    run_with::<EthernetScsi, CanMaster>(build)
}

/// Runs the level, with the host link that the straps ask for. Programs that do not ask for it are spared
/// the size of a TCP/IP stack, and every boot the time to read one from flash.
pub fn run_by_strap(build: &Build) -> ! {
    run_with::<ByStrap, NoNodes>(build)
}

fn run_with<L: HostLink, N: Nodes>(build: &Build) -> ! {
    let handoff = Handoff::load();
    let opened = match &handoff {
        Some(handoff) => BoardControl::take_over(handoff),
        None => BoardControl::open(0),
    };
    let control = match opened {
        Ok(control) => control,
        // Nobody to tell but the last-words port.
        Err(error) => panic!("board control: {error}"),
    };
    let Some(running) = handoff.and_then(|handoff| running(build, &handoff)) else {
        // Not started by an L2 that this build knows.
        control.trace(format_args!("boot-error level=3 cause=no-handoff"));
        control.park();
    };
    trace_start(&control, &running);
    let hardware = Hardware::open(control, build.panel);
    let mut memory = Memory::take();
    let ready = boot_sequence::run(build, &hardware, &running, &mut memory);
    application::run::<L, N>(build, &hardware, &running, ready, memory)
}

fn running(build: &Build, handoff: &Handoff) -> Option<Running> {
    let l3 = handoff.l3?;
    Some(Running {
        l2: ImageHeader::parse(&handoff.l2.header).ok()?,
        l2_bank: handoff.l2.bank,
        l3: ImageHeader::parse(&l3.header).ok()?,
        l3_bank: l3.bank,
        version: build.version.parse().ok()?,
        downloaded: download::was_downloaded(),
    })
}

/// The version traced is that of the code that runs. A header that says otherwise was made by a
/// mistake of whoever packed it.
fn trace_start(control: &BoardControl, running: &Running) {
    let (version, bank) = (running.version, running.l3_bank);
    if running.downloaded {
        control.trace(format_args!("l3-started version={version} source=array"));
        return;
    }
    control.trace(format_args!("l3-started version={version} bank={bank}"));
    if running.l3.version != version {
        control.trace(format_args!("version-mismatch level=3 built={version}"));
    }
}
