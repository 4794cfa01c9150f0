use std::fmt;
use std::str::FromStr;

use devices::can::{CableId, Fault, NodeId, SegmentId};
use devices::power::{OperationKind, Shape};
use emulator::rig::{BankLetter, Slot, Span, Strap, Unit};

use super::check::Check;
use super::contents::{FlashContents, PackageContents};
use super::pattern::EventPattern;
use super::socket::Socket;

/// What a step does.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Switches units on, or off: whatever is in progress in a device ends well, firmware is not asked.
    Power {
        /// On or off.
        on: bool,
        /// What is switched.
        units: Vec<Unit>,
    },
    /// Takes the power away, now or at an operation.
    Cut(Cut),
    /// Presses the reset button.
    Reset {
        /// Keeps RAM.
        warm: bool,
        /// Which boards.
        boards: Vec<Socket>,
    },
    /// Pulls the board out of its place.
    Pull(Socket),
    /// Puts a board into an empty place; it powers up if the place has power.
    Insert(Socket, BoardSource),
    /// Pulls a board and inserts another.
    Swap(Socket, BoardSource),
    /// Puts a package into the service slot of boards, or takes it out.
    Media {
        /// What to insert; nothing ejects.
        package: Option<PackageContents>,
        /// Whose service slot.
        boards: Vec<Slot>,
    },
    /// Types a line on a console.
    Console(ConsoleStep),
    /// Waits until boards are in a state.
    Await {
        /// The state.
        state: BoardState,
        /// Which boards, all of them.
        boards: Vec<Socket>,
        /// Application version they must run then.
        version: Option<String>,
        /// Virtual time after which it has failed.
        within: Span,
    },
    /// Waits for an event that comes after the step began.
    AwaitEvent {
        /// The event.
        pattern: EventPattern,
        /// Which one of them, from 1.
        nth: u32,
        /// Virtual time after which it has failed.
        within: Span,
    },
    /// Waits for text on a console, behind what was last waited for or typed there.
    AwaitText {
        /// The text, within one line; the line need not be complete.
        text: String,
        /// Whose console.
        board: Slot,
        /// Virtual time after which it has failed.
        within: Span,
    },
    /// Waits until every cut that was armed in the background has fired.
    AwaitCuts {
        /// Virtual time after which it has failed.
        within: Span,
    },
    /// Lets virtual time pass.
    Wait(Span),
    /// The host starts or stops work, or reads everything back.
    Host(HostAction),
    /// Asks questions of what happened and what is.
    Expect {
        /// Name of the note from which counts count; nothing: the beginning.
        since: Option<String>,
        /// The questions.
        checks: Vec<Check>,
    },
    /// Something happens to a member disk.
    Disk(DiskAction),
    /// Something breaks in a flash chip.
    FlashFault {
        /// Whose chip.
        board: Slot,
        /// Which chip.
        chip: u32,
        /// What breaks.
        fault: FlashFault,
    },
    /// Something else breaks on a board; it shows at the board's next reset.
    BoardFault {
        /// Which board.
        board: Socket,
        /// What breaks.
        fault: BoardFault,
    },
    /// Something breaks on the CAN bus; one that has no effect by the end fails the run.
    CanFault(Fault),
    /// What broke on the CAN bus is mended.
    CanMend(CanPart),
    /// Plugs a cable or pulls it.
    Link {
        /// Which kind.
        link: LinkName,
        /// Whose end; nothing for a cable of the CAN bus.
        boards: Vec<Slot>,
        /// Plugged.
        up: bool,
    },
    /// Keeps the whole array under a name.
    Checkpoint(String),
    /// Brings a kept array back, media and clock included; the timeline keeps what is undone.
    Restore(String),
    /// Writes a line into the timeline; counts can start from it.
    Note(String),
}

/// A power cut.
#[derive(Clone, Debug, PartialEq)]
pub struct Cut {
    /// Power domain, as the scenario names it.
    pub domain: String,
    /// The units that lose power.
    pub units: Vec<Unit>,
    /// What becomes of operations in progress.
    pub shape: Shape,
    /// The operation to wait for; nothing: at once. One that never comes fails the run.
    pub at: Option<Trigger>,
    /// Virtual time after which it has failed to fire.
    pub within: Span,
    /// Stays armed while later steps run, instead of waiting for it here.
    pub background: bool,
}

/// The operation that an armed cut waits for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trigger {
    /// Where.
    pub device: DeviceRef,
    /// What kind; nothing: any.
    pub operation: Option<OperationKind>,
    /// Where in the chip or member disk it begins; nothing: anywhere.
    pub address: Option<u64>,
    /// Which one, from 1, counted from arming.
    pub nth: u32,
}

/// A device whose operations are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum DeviceRef {
    /// `A.flash`, `A.flash0`: the chips of a board, or one of them.
    Flash {
        /// Whose.
        board: Slot,
        /// Which; nothing: all of them together.
        chip: Option<u32>,
    },
    /// `shelf`, `shelf.disk2`: the member disks and the cache, or one member disk.
    Shelf {
        /// Which; nothing: all of them together.
        member: Option<u32>,
    },
    /// `can`, `can.7`: the CAN bus with all frames on it, or those that one of its nodes sends.
    Can {
        /// Which, counted as on the bus: the controllers first. Nothing: all of them together.
        sender: Option<NodeId>,
    },
}

impl fmt::Display for DeviceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeviceRef::Flash { board, chip: None } => write!(f, "{board}.flash"),
            DeviceRef::Flash {
                board,
                chip: Some(chip),
            } => write!(f, "{board}.flash{chip}"),
            DeviceRef::Shelf { member: None } => f.write_str("shelf"),
            DeviceRef::Shelf {
                member: Some(member),
            } => write!(f, "shelf.disk{member}"),
            DeviceRef::Can { sender: None } => f.write_str("can"),
            DeviceRef::Can {
                sender: Some(sender),
            } => write!(f, "can.{sender}"),
        }
    }
}

impl FromStr for DeviceRef {
    type Err = ();

    /// Whether the rig has such a device is another question.
    fn from_str(text: &str) -> Result<DeviceRef, ()> {
        if text == "shelf" {
            return Ok(DeviceRef::Shelf { member: None });
        }
        if text == "can" {
            return Ok(DeviceRef::Can { sender: None });
        }
        let (place, device) = text.split_once('.').ok_or(())?;
        let number = |digits: &str| digits.parse().map_err(|_| ());
        if place == "shelf" {
            let member = Some(number(device.strip_prefix("disk").ok_or(())?)?);
            return Ok(DeviceRef::Shelf { member });
        }
        if place == "can" {
            let sender = Some(device.parse().map_err(|_| ())?);
            return Ok(DeviceRef::Can { sender });
        }
        let board: Slot = place.parse().map_err(|_| ())?;
        let chip = match device.strip_prefix("flash").ok_or(())? {
            "" => None,
            digits => Some(number(digits)?),
        };
        Ok(DeviceRef::Flash { board, chip })
    }
}

/// A board to put into a slot.
#[derive(Clone, Debug, PartialEq)]
pub struct BoardSource {
    /// Its serial number.
    pub serial: String,
    /// What is in its flash; nothing: what was in it when the board of that serial was pulled.
    pub flash: Option<FlashContents>,
    /// Its straps; nothing: those of the rig, or what the board had when it was pulled.
    pub straps: Option<Vec<Strap>>,
}

/// A line typed on a console, and what should come back.
#[derive(Clone, Debug, PartialEq)]
pub struct ConsoleStep {
    /// Whose console.
    pub board: Slot,
    /// What is typed.
    pub line: String,
    /// What should come back.
    pub answer: Answer,
    /// Virtual time after which it has failed.
    pub within: Span,
}

/// What a console should answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Nothing is asked; the next step follows when the board has answered something and is quiet, or
    /// has read the line and answered nothing in time.
    Unasked,
    /// Nothing is asked, and the next step follows at once.
    Later,
    /// A line that contains this.
    Contains(String),
    /// Exactly these lines, in order and without others between.
    Lines(Vec<String>),
}

/// The state of a board, seen from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BoardState {
    /// It runs firmware that has not said more yet.
    Booting,
    /// A node that runs its boot ROM, has tested itself and has no image.
    Minimal,
    /// Its application serves.
    Operational,
    /// It stopped in an error state.
    Error,
    /// Its CPU died and the reset policy left it down.
    Crashed,
    /// It touches no device any more.
    Hung,
    /// Its partner holds it in reset.
    Held,
    /// It has no power.
    Off,
    /// The place is empty.
    Absent,
}

impl BoardState {
    /// Every state of a node with its word.
    pub const OF_NODES: [(&'static str, BoardState); 8] = [
        ("booting", BoardState::Booting),
        ("minimal", BoardState::Minimal),
        ("operational", BoardState::Operational),
        ("error", BoardState::Error),
        ("crashed", BoardState::Crashed),
        ("hung", BoardState::Hung),
        ("off", BoardState::Off),
        ("absent", BoardState::Absent),
    ];

    /// Every state of a controller with its word.
    pub const ALL: [(&'static str, BoardState); 8] = [
        ("booting", BoardState::Booting),
        ("operational", BoardState::Operational),
        ("error", BoardState::Error),
        ("crashed", BoardState::Crashed),
        ("hung", BoardState::Hung),
        ("held", BoardState::Held),
        ("off", BoardState::Off),
        ("absent", BoardState::Absent),
    ];
}

/// The part a controller plays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// It leads.
    Master,
    /// It stands by to lead.
    Alternate,
}

impl Role {
    /// Every role with its word.
    pub const ALL: [(&'static str, Role); 2] =
        [("master", Role::Master), ("alternate", Role::Alternate)];
}

/// What the host does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HostAction {
    /// Starts reading and writing.
    Start(Workload),
    /// Stops, and waits for what is under way.
    Stop,
    /// Reads back everything that was ever acknowledged; anything missing fails the run.
    Verify,
}

/// How a host works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Workload {
    /// Commands per virtual second.
    pub rate: u32,
    /// Of a hundred commands, how many write.
    pub write_percent: u32,
    /// Bytes per command.
    pub block_bytes: u32,
    /// Bytes at the beginning of the LUN that it works on.
    pub area_bytes: u64,
    /// Which LUN.
    pub lun: u32,
    /// Virtual time after which a path that does not answer is given up.
    pub path_timeout: Span,
    /// Decides the order of addresses.
    pub seed: u64,
}

/// What happens to a member disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskAction {
    /// It stops answering.
    Fail(u32),
    /// It is replaced by a blank one.
    Replace(u32),
    /// All parity is checked and mended.
    Scrub,
}

/// What breaks in a flash chip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FlashFault {
    /// It answers nothing any more.
    Dead,
    /// Another part answers when it is asked who it is.
    WrongIdentity,
    /// One bit reads as `value` for ever.
    StuckBit {
        /// Byte in the chip.
        address: u64,
        /// Bit of the byte.
        bit: u32,
        /// What it reads as.
        value: bool,
    },
    /// Bits of a bank flip once.
    Rot {
        /// Level of the bank.
        level: u8,
        /// Which of its banks.
        bank: BankLetter,
        /// How many bits.
        bits: u32,
    },
}

/// What breaks on a board besides its flash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BoardFault {
    /// The device slot of this number looks empty.
    DeviceMissing(usize),
    /// The lowest bit of a byte of the boot ROM reads wrong.
    RomByte(u16),
    /// All of that is mended.
    Mended,
}

/// A kind of cable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LinkName {
    /// From a controller to the other controllers.
    Backplane,
    /// From a controller to the host.
    Host,
    /// Between two segments of the CAN bus.
    Can(CableId),
}

/// Part of the CAN bus whose faults are mended together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CanPart {
    /// All of it.
    Bus,
    /// What one node suffers, or makes others suffer.
    Node(NodeId),
    /// The wire of a segment.
    Segment(SegmentId),
}

/// The state of the shelf.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ShelfState {
    /// All members are there.
    Optimal,
    /// A member is missing, the data is there.
    Degraded,
    /// A member is being rebuilt.
    Rebuilding,
    /// Data is lost.
    Failed,
}

impl ShelfState {
    /// Every state with its word.
    pub const ALL: [(&'static str, ShelfState); 4] = [
        ("optimal", ShelfState::Optimal),
        ("degraded", ShelfState::Degraded),
        ("rebuilding", ShelfState::Rebuilding),
        ("failed", ShelfState::Failed),
    ];
}
