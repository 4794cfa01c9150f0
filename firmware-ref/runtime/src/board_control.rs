//! Board control (board manual §5): time, waiting, identity, traces, locks, reset.

use core::cell::{Cell, RefCell};
use core::fmt::{self, Write};

use words::{LINE_BYTES, Line, Words};

use crate::dma::{Buffer, SharedPage};
use crate::error::DeviceError;
use crate::handoff::Handoff;
use crate::identity::Identity;
use crate::pending;
use crate::ring::{Ring, Shape};
use crate::slot::{Slot, kind, number};

pub use crate::pending::SlotMask;

/// Two descriptors a request: sixteen fit, one kept for the WAIT that makes the board stop.
const REQUESTS: Shape = Shape::new(32, 2);

/// Longest payload of a TRACE (board manual §5.3).
pub const TRACE_BYTES: usize = LINE_BYTES;

const HEADER_BYTES: usize = 16;
const RESPONSE_BYTES: usize = 24;
/// A request's memory: header and payload, then the response.
const RESPONSE_AT: usize = 224;
const REQUEST_BYTES: usize = 256;

const OP_WAIT: u32 = 1;
const OP_TRACE: u32 = 2;
const OP_RESET: u32 = 3;
const OP_WATCHDOG: u32 = 4;
const OP_LOCK: u32 = 5;
const OP_CLOCK: u32 = 6;
const OP_HOLD: u32 = 7;

const STATUS_DONE: u32 = 0;
const STATUS_REFUSED: u32 = 2;

/// WAIT's answer: bit 31 says that the deadline passed.
const DEADLINE_PASSED: u32 = 1 << 31;
/// No deadline.
const NEVER: u64 = u64::MAX;
/// Slots a WAIT can name.
const ALL_SLOTS: SlotMask = 0x00ff_ffff;

/// Why a wait ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Woken {
    /// Slots that have answers, of those asked for.
    pub slots: SlotMask,
    /// The deadline came.
    pub deadline_passed: bool,
}

/// What to do with a midplane lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockAction {
    /// Become the owner if nobody else is.
    Acquire,
    /// Give it up.
    Release,
    /// Only look.
    Query,
    /// Become the owner; whoever was it is fenced.
    Take,
}

/// State of a midplane lock after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lock {
    /// Slot of the owner.
    pub owner: Option<u8>,
    /// Fencing token: counts changes of owner.
    pub epoch: u64,
    /// Another slot owns it, so an acquire or release did nothing.
    pub refused: bool,
}

/// What to do with another controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HoldAction {
    /// Let it boot.
    Release,
    /// Keep it in reset.
    Hold,
    /// Only look.
    Query,
}

/// State of another controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    /// A controller is in the slot.
    pub present: bool,
    /// It has power.
    pub powered: bool,
    /// It is kept in reset.
    pub held: bool,
}

/// How to reset this board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetKind {
    /// Memory is lost.
    Cold,
    /// Memory stays.
    Warm,
}

/// The board-control device: the one clock, the one place to wait.
///
/// All methods take `&self`, so that every driver can share it; the program is one thread and no
/// method calls back.
#[derive(Debug)]
pub struct BoardControl {
    inner: RefCell<Inner>,
    identity: Identity,
    now_ns: Cell<u64>,
    waits: Cell<u32>,
}

#[derive(Debug)]
struct Inner {
    slot: Slot,
    ring: Ring,
    memory: Buffer,
}

/// A response, checked for length by being copied out of zeroed memory.
#[derive(Clone, Copy, Debug)]
struct Response {
    status: u32,
    arg: u32,
    value: u64,
}

impl BoardControl {
    /// Opens board control. Every level does it first; without it there is neither time nor trace.
    /// `now_ns` is virtual time as far as it is known, 0 where nobody handed it over.
    ///
    /// # Errors
    /// The device is not there or does not work as the manual says.
    pub fn open(now_ns: u64) -> Result<BoardControl, DeviceError> {
        let (slot, ring) = BoardControl::start()?;
        Ok(BoardControl::of(slot, ring, now_ns, Identity::read))
    }

    /// The same on a board without flash, such as a node: its [`Identity`] tells neither banks nor serial number.
    ///
    /// # Errors
    /// As [`BoardControl::open`].
    pub fn open_without_flash(now_ns: u64) -> Result<BoardControl, DeviceError> {
        let (slot, ring) = BoardControl::start()?;
        let read = Identity::read_without_flash;
        Ok(BoardControl::of(slot, ring, now_ns, read))
    }

    fn start() -> Result<(Slot, Ring), DeviceError> {
        let (mut slot, _) = Slot::open(number::BOARD_CONTROL, kind::BOARD_CONTROL, 0)?;
        SharedPage::BoardControlRing.clear();
        let ring = Ring::set_up(&mut slot, 0, REQUESTS, SharedPage::BoardControlRing.start())?;
        ring.make_quiet();
        slot.start();
        Ok((slot, ring))
    }

    /// Takes board control over from the level before, live; opens it where that is not possible.
    ///
    /// # Errors
    /// As [`BoardControl::open`].
    pub fn take_over(handoff: &Handoff) -> Result<BoardControl, DeviceError> {
        let live = handoff
            .take_over(number::BOARD_CONTROL, kind::BOARD_CONTROL)
            .and_then(|slot| {
                let ring = Ring::resume(&slot, 0, REQUESTS, SharedPage::BoardControlRing.start())?;
                Some((slot, ring))
            });
        match live {
            Some((slot, ring)) => {
                ring.make_quiet();
                Ok(BoardControl::of(slot, ring, handoff.now_ns, Identity::read))
            }
            None => BoardControl::open(handoff.now_ns),
        }
    }

    fn of(slot: Slot, ring: Ring, now_ns: u64, read: fn(&Slot) -> Identity) -> BoardControl {
        let identity = read(&slot);
        let now_ns = now_ns.max(identity.reset_time_ns);
        BoardControl {
            inner: RefCell::new(Inner {
                slot,
                ring,
                memory: SharedPage::BoardControlRequests.as_buffer(),
            }),
            identity,
            now_ns: Cell::new(now_ns),
            waits: Cell::new(0),
        }
    }

    /// Who this board is, and how it came to run.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Virtual time, in nanoseconds: that of the last answer of board control. The CPU takes no
    /// time, so it is exact until the next wait.
    pub fn now_ns(&self) -> u64 {
        self.now_ns.get()
    }

    /// WAITs issued by this level, for reports.
    pub fn waits(&self) -> u32 {
        self.waits.get()
    }

    /// Adds one line to the board's trace, `event-name key=value …`. It travels with the next wait.
    /// What cannot be traced is lost, not fatal: a line longer than [`TRACE_BYTES`] is cut,
    /// characters outside printable ASCII become `?`.
    pub fn trace(&self, line: fmt::Arguments<'_>) {
        let mut text = Line::default();
        let _cut_short = text.write_fmt(line);
        self.trace_line(&text);
    }

    /// The same for a program that has no room for `core::fmt`: `name`, and what comes behind it.
    pub fn trace_words(&self, name: &str, words: &dyn Words) {
        let mut text = Line::default();
        text.put(name);
        words.say(&mut text);
        self.trace_line(&text);
    }

    fn trace_line(&self, text: &Line) {
        let payload = text.as_bytes();
        let arg = u32::try_from(payload.len()).unwrap_or(0);
        if !self.inner.borrow().has_room_beside_a_wait() {
            // The ring is full of traces: let the device take them, then go on.
            let _lost = self.wait(0, 0, Some(0));
        }
        let _lost = self.inner.borrow_mut().queue(OP_TRACE, arg, 0, payload);
    }

    /// Stops the board until one of the slots `any` has an answer for it, every request of one of
    /// the slots `all` is answered, or `deadline_ns` has come. The only exit of an instant; all requests
    /// queued anywhere start with it.
    ///
    /// Returns at once, and without an exit, when a queue of `any` holds answers already.
    ///
    /// # Errors
    /// Board control itself does not work. There is no remedy short of a reset.
    pub fn wait(
        &self,
        any: SlotMask,
        all: SlotMask,
        deadline_ns: Option<u64>,
    ) -> Result<Woken, DeviceError> {
        let there = pending::among(any & ALL_SLOTS);
        if there != 0 {
            return Ok(Woken {
                slots: there,
                deadline_passed: false,
            });
        }
        let answer = self.roundtrip(
            OP_WAIT,
            any & ALL_SLOTS,
            deadline_ns.unwrap_or(NEVER),
            &(all & ALL_SLOTS).to_le_bytes(),
        )?;
        Ok(Woken {
            slots: answer.arg & ALL_SLOTS,
            deadline_passed: answer.arg & DEADLINE_PASSED != 0,
        })
    }

    /// Stops the board for good: nothing wakes it but a reset.
    pub fn park(&self) -> ! {
        loop {
            let _no_answer = self.wait(0, 0, None);
            core::hint::spin_loop();
        }
    }

    /// Resets this board. What is queued elsewhere is dropped with it.
    pub fn reset(&self, reset: ResetKind) -> ! {
        let arg = match reset {
            ResetKind::Cold => 0,
            ResetKind::Warm => 1,
        };
        let _no_answer = self.inner.borrow_mut().queue(OP_RESET, arg, 0, &[]);
        self.park()
    }

    /// Arms the watchdog to reset the board `timeout_ns` from now, or disarms it with 0. Travels
    /// with the next wait.
    ///
    /// # Errors
    /// The ring has no room.
    pub fn watchdog(&self, timeout_ns: u64) -> Result<(), DeviceError> {
        if !self.inner.borrow().has_room_beside_a_wait() {
            self.wait(0, 0, Some(0))?;
        }
        self.inner
            .borrow_mut()
            .queue(OP_WATCHDOG, 0, timeout_ns, &[])
            .map(|_| ())
    }

    /// Asks the midplane arbiter about lock `id`.
    ///
    /// # Errors
    /// The device does not know locks, or not this one.
    pub fn lock(&self, id: u32, action: LockAction) -> Result<Lock, DeviceError> {
        let value = match action {
            LockAction::Acquire => 0,
            LockAction::Release => 1,
            LockAction::Query => 2,
            LockAction::Take => 3,
        };
        let answer = self.ask(OP_LOCK, id, value)?;
        if !matches!(answer.status, STATUS_DONE | STATUS_REFUSED) {
            return Err(DeviceError::Refused {
                status: answer.status,
            });
        }
        Ok(Lock {
            owner: u8::try_from(answer.arg).ok(),
            epoch: answer.value,
            refused: answer.status == STATUS_REFUSED,
        })
    }

    /// The calendar clock, seconds since 1970-01-01: as the device has it, for an operator may have set
    /// it since the reset; where the device has none, from the time at reset and the virtual time
    /// since.
    pub fn calendar_s(&self) -> u64 {
        match self.ask(OP_CLOCK, 0, 0) {
            Ok(answer) if answer.status == STATUS_DONE => answer.value,
            // The time at reset was cut to whole seconds: this may be late by one.
            _ => {
                let since_reset = self.now_ns().saturating_sub(self.identity.reset_time_ns);
                self.identity
                    .reset_calendar_s
                    .saturating_add(since_reset / 1_000_000_000)
            }
        }
    }

    /// Asks about, or changes, the reset line of the controller in `slot`.
    ///
    /// # Errors
    /// There is no such slot, or it is this controller's own.
    pub fn hold(&self, slot: u8, action: HoldAction) -> Result<Neighbour, DeviceError> {
        let value = match action {
            HoldAction::Release => 0,
            HoldAction::Hold => 1,
            HoldAction::Query => 2,
        };
        let answer = self.ask(OP_HOLD, slot.into(), value)?;
        match answer.status {
            STATUS_DONE => Ok(Neighbour {
                present: answer.arg & 1 != 0,
                powered: answer.arg & 2 != 0,
                held: answer.arg & 4 != 0,
            }),
            status => Err(DeviceError::Refused { status }),
        }
    }

    /// A request that is answered at once, and a wait that is over at once: one exit.
    fn ask(&self, op: u32, arg: u32, value: u64) -> Result<Response, DeviceError> {
        if !self.inner.borrow().has_room_beside_a_wait() {
            self.wait(0, 0, Some(0))?;
        }
        let place = self.inner.borrow_mut().queue(op, arg, value, &[])?;
        self.inner.borrow_mut().clear_response(place);
        self.wait(0, 0, Some(0))?;
        self.inner.borrow().response(place)
    }

    /// Queues a WAIT, notifies, and takes all answers.
    fn roundtrip(
        &self,
        op: u32,
        arg: u32,
        value: u64,
        payload: &[u8],
    ) -> Result<Response, DeviceError> {
        let mut inner = self.inner.borrow_mut();
        let place = inner.queue(op, arg, value, payload)?;
        self.waits.set(self.waits.get().wrapping_add(1));
        inner.kick_and_collect(place)?;
        let now_ns = inner.memory.u64(place * REQUEST_BYTES + RESPONSE_AT + 16);
        self.now_ns.set(now_ns.max(self.now_ns.get()));
        inner.response(place)
    }
}

impl Inner {
    /// Whether one more request leaves room for a WAIT.
    fn has_room_beside_a_wait(&self) -> bool {
        self.ring.free_places() > 1
    }

    /// Makes a request available without telling the device; returns its place.
    fn queue(
        &mut self,
        op: u32,
        arg: u32,
        value: u64,
        payload: &[u8],
    ) -> Result<usize, DeviceError> {
        let place = self.ring.free_place().ok_or(DeviceError::QueueFull)?;
        let at = place * REQUEST_BYTES;
        self.memory.write(at, &op.to_le_bytes());
        self.memory.write(at + 4, &arg.to_le_bytes());
        self.memory.write(at + 8, &value.to_le_bytes());
        let payload = payload.get(..TRACE_BYTES).unwrap_or(payload);
        let length = HEADER_BYTES + self.memory.write(at + HEADER_BYTES, payload);
        self.clear_response(place);
        let request = self.memory.piece(at, length);
        let response = self.memory.piece(at + RESPONSE_AT, RESPONSE_BYTES);
        // SAFETY: both lie in `memory`, which is never borrowed and never freed, and no other
        // request uses this place until it came back.
        unsafe { self.ring.add_silently(place, &[request], &[response]) }?;
        Ok(place)
    }

    fn clear_response(&mut self, place: usize) {
        self.memory
            .write(place * REQUEST_BYTES + RESPONSE_AT, &[0xff; RESPONSE_BYTES]);
    }

    /// Tells the device, and takes answers until that of `place` has come. It is there when the
    /// notification returns, or, where another CPU plays the device, soon after.
    fn kick_and_collect(&mut self, place: usize) -> Result<(), DeviceError> {
        self.ring.notify(&self.slot);
        loop {
            while self.ring.take()?.is_some() {}
            if !self.ring.is_busy(place) {
                return Ok(());
            }
            if self.slot.needs_reset() {
                return Err(DeviceError::Broken);
            }
            core::hint::spin_loop();
        }
    }

    fn response(&self, place: usize) -> Result<Response, DeviceError> {
        let at = place * REQUEST_BYTES + RESPONSE_AT;
        let status = self.memory.u32(at);
        if status == u32::MAX {
            return Err(DeviceError::Broken);
        }
        Ok(Response {
            status,
            arg: self.memory.u32(at + 4),
            value: self.memory.u64(at + 8),
        })
    }
}
