//! The hostile guests of a chassis at their board controls, which share a midplane.
#![no_main]

use arbitrary::{Arbitrary, Result, Unstructured};
use arraybench_devices_fuzz::{Machine, Poked, Request, Script, drive};
use devices::board_control::{
    BoardControl, BoardControlCore, BoardControlVirtio, BoardIdentity, MAX_TRACE_BYTES, ResetReason,
};
use devices::event::DeviceEvent;
use devices::midplane::{LOCKS, Midplane};
use devices::time::Nanos;
use libfuzzer_sys::fuzz_target;
use serde::{Deserialize, Serialize};

const SLOTS: usize = 3;

const WAIT: u32 = 1;
const TRACE: u32 = 2;
const RESET: u32 = 3;
const WATCHDOG: u32 = 4;
const LOCK: u32 = 5;
const CLOCK: u32 = 6;
const HOLD: u32 = 7;

/// A request of board manual §5.3.
#[derive(Debug)]
struct Asked {
    bytes: Vec<u8>,
    room: u32,
}

impl Request for Asked {
    fn readable(&self) -> Vec<u8> {
        self.bytes.clone()
    }

    fn room(&self) -> u32 {
        self.room
    }
}

fn few(u: &mut Unstructured<'_>, most: usize) -> Result<u32> {
    Ok(u32::try_from(u.int_in_range(0..=most)?).unwrap_or(0))
}

impl<'a> Arbitrary<'a> for Asked {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Asked> {
        let op = *u.choose(&[
            WAIT, WAIT, WAIT, TRACE, WATCHDOG, LOCK, LOCK, HOLD, CLOCK, RESET, 9,
        ])?;
        let mut payload = Vec::new();
        let (arg, value): (u32, u64) = match op {
            WAIT => {
                if u.arbitrary()? {
                    payload = u.arbitrary::<u32>()?.to_le_bytes().to_vec();
                }
                let until = match u.int_in_range(0..=3u8)? {
                    0 => u64::MAX,
                    1 => u.arbitrary()?,
                    _ => u64::from(u.arbitrary::<u32>()?),
                };
                (u.arbitrary()?, until)
            }
            TRACE => {
                payload = b"event key=value".to_vec();
                if u.arbitrary()? {
                    payload = u.arbitrary()?;
                }
                let length = few(u, MAX_TRACE_BYTES + 1)?;
                let whole = u32::try_from(payload.len()).unwrap_or(0);
                (if u.arbitrary()? { whole } else { length }, 0)
            }
            RESET => (few(u, 2)?, 0),
            WATCHDOG => (0, u64::from(u.arbitrary::<u32>()?)),
            LOCK => (few(u, LOCKS)? % 4 * 5, few(u, 4)?.into()),
            HOLD => (few(u, SLOTS)?, few(u, 3)?.into()),
            _ => u.arbitrary()?,
        };
        let mut bytes = [&op.to_le_bytes()[..], &arg.to_le_bytes()].concat();
        bytes.extend(value.to_le_bytes());
        bytes.extend(payload);
        if u.ratio(1, 32)? {
            bytes.truncate(u.int_in_range(0..=24)?);
        }
        let room = *u.choose(&[24, 24, 24, 24, 0, 7, 100])?;
        Ok(Asked { bytes, room })
    }
}

#[derive(Debug, Arbitrary)]
enum Poke {
    /// A device in another slot was looked at.
    Serviced {
        board: u8,
        slot: u8,
        returned: bool,
        unfinished: u8,
    },
    /// What board and midplane asked for is carried out.
    CarryOut,
    Present {
        slot: u8,
        present: bool,
    },
    Powered {
        slot: u8,
        powered: bool,
    },
    SlotReset {
        slot: u8,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Chassis {
    devices: Vec<BoardControlVirtio>,
    boards: Vec<BoardControl>,
    midplane: Midplane,
}

impl Machine for Chassis {
    type Device = BoardControlVirtio;
    type Request = Asked;
    type Poke = Poke;
    const DEVICES: usize = SLOTS;
    const MOST_BYTES: usize = 64 << 10;

    fn device(&mut self, index: usize) -> (&mut BoardControlVirtio, BoardControlCore<'_>) {
        let core = BoardControlCore {
            board: &mut self.boards[index],
            midplane: &mut self.midplane,
        };
        (&mut self.devices[index], core)
    }

    /// A WAIT for a completion that never comes, a RESET, and what is behind it.
    fn may_keep(_queue: usize) -> bool {
        true
    }

    fn poke(&mut self, poke: &Poke, now: Nanos, events: &mut Vec<DeviceEvent>) -> Poked {
        match *poke {
            Poke::Serviced {
                board,
                slot,
                returned,
                unfinished,
            } => {
                let board = &mut self.boards[usize::from(board) % SLOTS];
                board.serviced(slot.into(), now, returned, unfinished.into());
            }
            Poke::CarryOut => {
                for command in self.midplane.take_commands() {
                    events.push(DeviceEvent::Notice(format!("{command:?}")));
                }
                let mut reset = false;
                for (slot, board) in (0..).zip(&mut self.boards) {
                    if let Some(kind) = board.take_reset_request() {
                        events.push(DeviceEvent::Notice(format!("{kind:?}")));
                        self.midplane.slot_reset(slot);
                        let calendar = self.midplane.calendar_seconds(now);
                        board.stopped();
                        board.board_reset(ResetReason::Cold, now, calendar);
                        reset = true;
                    }
                }
                if reset {
                    return Poked::Reset;
                }
            }
            Poke::Present { slot, present } => self.midplane.set_present(slot.into(), present),
            Poke::Powered { slot, powered } => self.midplane.set_powered(slot.into(), powered),
            Poke::SlotReset { slot } => self.midplane.slot_reset(slot.into()),
        }
        Poked::Running
    }
}

fuzz_target!(|script: Script<Asked, Poke>| {
    let slots = u32::try_from(SLOTS).expect("few");
    let board = |slot| {
        BoardControl::new(BoardIdentity {
            slot,
            slots,
            ..BoardIdentity::default()
        })
    };
    let machine = Chassis {
        devices: vec![BoardControlVirtio::default(); SLOTS],
        boards: (0..slots).map(board).collect(),
        midplane: Midplane::new(slots, 1_000_000_000),
    };
    drive(&script, &machine);
});
