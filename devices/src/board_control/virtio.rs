use serde::{Deserialize, Serialize};

use super::board::{BoardControl, ResetKind};
use super::wait::Wait;
use super::wire::{self, Header, Response, Status};
use crate::event::DeviceEvent;
use crate::midplane::{HoldAction, LockAction, Midplane, Refusal};
use crate::time::Nanos;
use crate::virtio::{Chain, DeviceIo, F_VERSION_1, VirtioDevice};

/// A virtio id reserved by the standard for a device type that nobody specified, which stock QEMU
/// can create.
pub const DEVICE_ID: u32 = 38;

const QUEUE: usize = 0;
const QUEUE_SIZE: u16 = 64;

mod op {
    pub(super) const WAIT: u32 = 1;
    pub(super) const TRACE: u32 = 2;
    pub(super) const RESET: u32 = 3;
    pub(super) const WATCHDOG: u32 = 4;
    pub(super) const LOCK: u32 = 5;
    pub(super) const CLOCK: u32 = 6;
    pub(super) const HOLD: u32 = 7;
}

/// What board control works on: its own board, and the midplane that all boards share.
#[derive(Debug)]
pub struct BoardControlCore<'a> {
    /// This board.
    pub board: &'a mut BoardControl,
    /// The chassis it sits in.
    pub midplane: &'a mut Midplane,
}

/// The virtio side: the requests not yet answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoardControlVirtio {
    waiting: Option<Chain>,
    /// A RESET is never answered, and nothing is taken after it.
    resetting: Option<Chain>,
}

impl VirtioDevice for BoardControlVirtio {
    type Core<'a> = BoardControlCore<'a>;

    fn device_id(&self) -> u32 {
        DEVICE_ID
    }

    fn features(&self, _core: &BoardControlCore<'_>) -> u64 {
        F_VERSION_1
    }

    fn queue_sizes(&self) -> &'static [u16] {
        &[QUEUE_SIZE]
    }

    fn config(&self, core: &BoardControlCore<'_>) -> Vec<u8> {
        core.board.identity.config()
    }

    /// The watchdog stays armed: one boot level may set it for the next.
    fn reset(&mut self, core: &mut BoardControlCore<'_>) {
        *self = BoardControlVirtio::default();
        core.board.forget_wait();
    }

    fn service(&mut self, core: &mut BoardControlCore<'_>, io: &mut DeviceIo<'_>) {
        if core.board.check_watchdog(io.now) {
            let notice = DeviceEvent::Notice("watchdog-fired".to_owned());
            io.events.push(notice);
        }
        self.answer_wait(core, io);
        for _ in 0..QUEUE_SIZE {
            if self.resetting.is_some() {
                break;
            }
            let Some(chain) = io.take(QUEUE) else { break };
            match wire::header(io.memory, &chain) {
                Some(header) => self.request(core, io, chain, header),
                None => bad_argument(io, &chain, "a request header cut short"),
            }
        }
    }

    fn deadline(&self, core: &BoardControlCore<'_>) -> Option<Nanos> {
        core.board.deadline()
    }

    fn in_flight(&self, _queue: usize) -> usize {
        usize::from(self.waiting.is_some()) + usize::from(self.resetting.is_some())
    }
}

impl BoardControlVirtio {
    fn answer_wait(&mut self, core: &mut BoardControlCore<'_>, io: &mut DeviceIo<'_>) {
        if let Some(completed) = core.board.take_wake(io.now)
            && let Some(chain) = self.waiting.take()
        {
            answer(io, &chain, Response::done(completed, 0));
        }
    }

    fn request(
        &mut self,
        core: &mut BoardControlCore<'_>,
        io: &mut DeviceIo<'_>,
        chain: Chain,
        header: Header,
    ) {
        let Header { op, arg, value } = header;
        let response = match op {
            op::WAIT => return self.wait(core, io, chain, header),
            op::RESET => return self.reset_board(core, io, chain, arg),
            op::TRACE => match wire::trace(io.memory, &chain, arg) {
                Ok(text) => {
                    io.events.push(DeviceEvent::Trace(text));
                    Response::done(0, 0)
                }
                Err(what) => return bad_argument(io, &chain, what),
            },
            op::WATCHDOG => {
                core.board.arm_watchdog(io.now, Nanos(value));
                Response::done(0, 0)
            }
            op::LOCK => lock(core, arg, value),
            op::CLOCK => Response::done(0, core.midplane.calendar_seconds(io.now)),
            op::HOLD => hold(core, arg, value),
            _ => Response::new(Status::Unsupported),
        };
        answer(io, &chain, response);
    }

    fn wait(
        &mut self,
        core: &mut BoardControlCore<'_>,
        io: &mut DeviceIo<'_>,
        chain: Chain,
        header: Header,
    ) {
        if self.waiting.is_some() {
            return bad_argument(io, &chain, "a WAIT while another is pending");
        }
        let Some(idle) = wire::idle_mask(io.memory, &chain) else {
            return bad_argument(io, &chain, "a WAIT with half a mask");
        };
        core.board.wait = Some(Wait {
            any: header.arg,
            idle,
            deadline: Nanos(header.value),
            taken: io.now,
        });
        self.waiting = Some(chain);
    }

    fn reset_board(
        &mut self,
        core: &mut BoardControlCore<'_>,
        io: &mut DeviceIo<'_>,
        chain: Chain,
        arg: u32,
    ) {
        let kind = match arg {
            0 => ResetKind::Cold,
            1 => ResetKind::Warm,
            _ => return answer(io, &chain, Response::new(Status::BadArgument)),
        };
        core.board.request_reset(kind);
        self.resetting = Some(chain);
    }
}

fn lock(core: &mut BoardControlCore<'_>, id: u32, action: u64) -> Response {
    let action = match action {
        0 => LockAction::Acquire,
        1 => LockAction::Release,
        2 => LockAction::Query,
        3 => LockAction::Take,
        _ => return Response::new(Status::BadArgument),
    };
    let slot = core.board.identity.slot;
    let answer = core.midplane.lock(slot, id, action);
    Response {
        status: status(answer.outcome),
        arg: answer.owner.unwrap_or(u32::MAX),
        value: answer.epoch,
    }
}

fn hold(core: &mut BoardControlCore<'_>, slot: u32, action: u64) -> Response {
    let action = match action {
        0 => HoldAction::Release,
        1 => HoldAction::Hold,
        2 => HoldAction::Query,
        _ => return Response::new(Status::BadArgument),
    };
    let by = core.board.identity.slot;
    match core.midplane.hold(by, slot, action) {
        Ok(lines) => {
            let bits = u32::from(lines.present)
                | u32::from(lines.powered) << 1
                | u32::from(lines.held) << 2;
            Response::done(bits, 0)
        }
        Err(refusal) => Response::new(status(Err(refusal))),
    }
}

fn status(outcome: Result<(), Refusal>) -> Status {
    match outcome {
        Ok(()) => Status::Done,
        Err(Refusal::Refused) => Status::Refused,
        Err(Refusal::NoSuch) => Status::BadArgument,
    }
}

fn answer(io: &mut DeviceIo<'_>, chain: &Chain, response: Response) {
    let written = response.write(io.memory, chain, io.now);
    io.finish(QUEUE, chain, written);
}

fn bad_argument(io: &mut DeviceIo<'_>, chain: &Chain, what: &str) {
    io.fault(QUEUE, what);
    answer(io, chain, Response::new(Status::BadArgument));
}
