//! SPI controller (virtio 1.4 §5.21): batches of transfers, many of them under one wait.

use core::cell::RefCell;
use core::ptr::NonNull;

use crate::board_control::BoardControl;
use crate::dma::{Buffer, SharedPage};
use crate::error::DeviceError;
use crate::handoff::Handoff;
use crate::ring::{Ring, Shape};
use crate::slot::{Slot, kind};

/// Header and command, data, result.
const REQUESTS: Shape = Shape::new(128, 3);
/// Most requests one [`Transfer`] is made of.
const REQUESTS_AT_MOST: usize = 2;

/// struct virtio_spi_transfer_head (§5.21.6.1).
const HEAD_BYTES: usize = 32;
/// Longest command: opcode, address, dummy byte.
const COMMAND_BYTES: usize = 8;
const RESULT_AT: usize = 48;
const PLACE_BYTES: usize = 64;

const TRANS_OK: u8 = 0;

/// The bus is wired for this clock (board manual §6).
const BOARD_HZ: u32 = 50_000_000;
/// What a batch may take longer than its bits and delays before the controller counts as broken.
const PATIENCE_NS: u64 = 1_000_000_000;

/// What a transfer moves after its command.
#[derive(Debug)]
pub(crate) enum Data<'a> {
    None,
    Out(&'a [u8]),
    In(&'a mut [u8]),
}

/// One transfer: the command goes out, then data goes out or comes in.
#[derive(Debug)]
pub(crate) struct Transfer<'a> {
    pub(crate) chip: u8,
    pub(crate) command: Command,
    pub(crate) data: Data<'a>,
    /// How long the chip is left alone after it was deselected.
    pub(crate) busy_ns: u32,
}

/// Opcode, address and dummy bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Command {
    bytes: [u8; COMMAND_BYTES],
    length: usize,
}

impl Command {
    pub(crate) fn opcode(opcode: u8) -> Command {
        let mut bytes = [0; COMMAND_BYTES];
        bytes[0] = opcode;
        Command { bytes, length: 1 }
    }

    /// With an address of three bytes, most significant first.
    pub(crate) fn at(opcode: u8, address: u32) -> Command {
        let [_, high, middle, low] = address.to_be_bytes();
        Command {
            bytes: [opcode, high, middle, low, 0, 0, 0, 0],
            length: 4,
        }
    }

    /// The same and a dummy byte.
    pub(crate) fn at_with_dummy(opcode: u8, address: u32) -> Command {
        Command {
            length: 5,
            ..Command::at(opcode, address)
        }
    }

    fn as_slice(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or(&[])
    }
}

/// The SPI controller of the board.
#[derive(Debug)]
pub struct SpiController {
    inner: RefCell<Inner>,
    chips: u8,
    longest_busy_ns: u32,
}

#[derive(Debug)]
struct Inner {
    slot: Slot,
    ring: Ring,
    memory: Buffer,
    clock_hz: u32,
    /// How long what is queued takes.
    queued_ns: u64,
    broken: bool,
}

impl SpiController {
    /// Opens the controller in `slot`.
    ///
    /// # Errors
    /// It is not there or does not work as the standard says.
    pub fn open(slot: u8) -> Result<SpiController, DeviceError> {
        let (mut slot, _) = Slot::open(slot, kind::SPI, 0)?;
        SharedPage::SpiRing.clear();
        let ring = Ring::set_up(&mut slot, 0, REQUESTS, SharedPage::SpiRing.start())?;
        slot.start();
        Ok(SpiController::of(slot, ring))
    }

    /// Takes the controller in `slot` over from the level before, live; opens it where that is not
    /// possible.
    ///
    /// # Errors
    /// As [`SpiController::open`].
    pub fn take_over(slot: u8, handoff: &Handoff) -> Result<SpiController, DeviceError> {
        let live = handoff.take_over(slot, kind::SPI).and_then(|slot| {
            let ring = Ring::resume(&slot, 0, REQUESTS, SharedPage::SpiRing.start())?;
            Some((slot, ring))
        });
        match live {
            Some((slot, ring)) => Ok(SpiController::of(slot, ring)),
            None => SpiController::open(slot),
        }
    }

    fn of(slot: Slot, ring: Ring) -> SpiController {
        let [chips, ..] = slot.config_u32(0).to_le_bytes();
        // max_freq_hz; 0 is "no limit" (§5.21.4).
        let clock_hz = match slot.config_u32(12) {
            0 => BOARD_HZ,
            limit => limit.min(BOARD_HZ),
        };
        // max_cs_inactive_ns; 0 is "cannot delay".
        let longest_busy_ns = slot.config_u32(28);
        SpiController {
            inner: RefCell::new(Inner {
                slot,
                ring,
                memory: SharedPage::SpiRequests.as_buffer(),
                clock_hz,
                queued_ns: 0,
                broken: false,
            }),
            chips,
            longest_busy_ns,
        }
    }

    /// Whether the next level can take it over.
    pub fn is_idle(&self) -> bool {
        let inner = self.inner.borrow();
        !inner.broken && inner.ring.outstanding() == 0
    }

    /// Chip selects it has.
    pub fn chips(&self) -> u8 {
        self.chips
    }

    /// Longest time it can leave a chip alone by itself.
    pub(crate) fn longest_busy_ns(&self) -> u32 {
        self.longest_busy_ns
    }

    /// Runs transfers one after another, with as few waits as the ring allows.
    pub(crate) fn run<'a>(
        &self,
        control: &BoardControl,
        transfers: impl IntoIterator<Item = Transfer<'a>>,
    ) -> Result<(), DeviceError> {
        let mut inner = self.inner.borrow_mut();
        if inner.broken {
            return Err(DeviceError::Broken);
        }
        let mut queued = Ok(());
        for transfer in transfers {
            if inner.ring.free_places() < REQUESTS_AT_MOST {
                inner.finish(control)?;
            }
            queued = inner.queue(transfer);
            if queued.is_err() {
                break;
            }
        }
        // What was queued names the caller's buffers: it has to be over before they are.
        inner.finish(control)?;
        queued
    }
}

impl Inner {
    fn queue(&mut self, transfer: Transfer<'_>) -> Result<(), DeviceError> {
        let Transfer {
            chip,
            command,
            data,
            busy_ns,
        } = transfer;
        let bytes = match &data {
            Data::None => 0,
            Data::Out(bytes) => bytes.len(),
            Data::In(bytes) => bytes.len(),
        };
        let bits = 8 * (bytes as u64 + command.length as u64);
        self.queued_ns +=
            bits * 1_000_000_000 / u64::from(self.clock_hz.max(1)) + u64::from(busy_ns);
        let head = |deselect, busy_ns| head(chip, deselect, self.clock_hz, busy_ns);
        match data {
            Data::None => self.submit(&head(true, busy_ns), command, None, None),
            Data::Out(bytes) => {
                let bytes = NonNull::from(bytes);
                self.submit(&head(true, busy_ns), command, Some(bytes), None)
            }
            Data::In(bytes) => {
                // Half duplex: the chip stays selected between the command and its answer.
                let (ask, answer) = (head(false, 0), head(true, busy_ns));
                self.submit(&ask, command, None, None)?;
                let none = Command {
                    bytes: [0; COMMAND_BYTES],
                    length: 0,
                };
                self.submit(&answer, none, None, Some(NonNull::from(bytes)))
            }
        }
    }

    fn submit(
        &mut self,
        head: &[u8; HEAD_BYTES],
        command: Command,
        out: Option<NonNull<[u8]>>,
        into: Option<NonNull<[u8]>>,
    ) -> Result<(), DeviceError> {
        let place = self.ring.free_place().ok_or(DeviceError::QueueFull)?;
        let at = place * PLACE_BYTES;
        self.memory.write(at, head);
        let sent = HEAD_BYTES + self.memory.write(at + HEAD_BYTES, command.as_slice());
        self.memory.write(at + RESULT_AT, &[0xff]);
        let nothing = self.memory.piece(at, 0);
        let readable = [self.memory.piece(at, sent), out.unwrap_or(nothing)];
        let writable = [
            into.unwrap_or(nothing),
            self.memory.piece(at + RESULT_AT, 1),
        ];
        // SAFETY: `memory` is never borrowed or freed. The caller's buffers live until `run` returns,
        // and `run` returns only when `finish` has seen every answer or has reset the device.
        unsafe { self.ring.add(&self.slot, place, &readable, &writable) }
    }

    /// Waits until everything queued is answered, then says whether all of it was done.
    fn finish(&mut self, control: &BoardControl) -> Result<(), DeviceError> {
        let deadline_ns = control
            .now_ns()
            .saturating_add(2 * self.queued_ns)
            .saturating_add(PATIENCE_NS);
        self.queued_ns = 0;
        let mut worst = TRANS_OK;
        while self.ring.outstanding() > 0 {
            while let Some((place, _)) = self.take()? {
                worst = worst.max(self.memory.byte(place * PLACE_BYTES + RESULT_AT));
            }
            if self.ring.outstanding() == 0 {
                break;
            }
            let mask = 1 << self.slot.number();
            match control.wait(0, mask, Some(deadline_ns)) {
                Ok(woken) if woken.deadline_passed && !self.ring.has_answer() => {
                    return Err(self.give_up());
                }
                Ok(_) => {}
                Err(error) => {
                    self.give_up();
                    return Err(error);
                }
            }
        }
        match worst {
            TRANS_OK => Ok(()),
            status => Err(DeviceError::Refused {
                status: status.into(),
            }),
        }
    }

    fn take(&mut self) -> Result<Option<(usize, usize)>, DeviceError> {
        self.ring.take().map_err(|_| self.give_up())
    }

    /// Takes every buffer back from a device that cannot be trusted any more.
    fn give_up(&mut self) -> DeviceError {
        self.slot.reset();
        self.broken = true;
        DeviceError::Broken
    }
}

fn head(chip: u8, deselect: bool, clock_hz: u32, busy_ns: u32) -> [u8; HEAD_BYTES] {
    let mut head = [0; HEAD_BYTES];
    // chip_select_id, bits_per_word, cs_change; tx_nbits and rx_nbits 0: one line.
    head[0] = chip;
    head[1] = 8;
    head[2] = u8::from(deselect);
    head[12..16].copy_from_slice(&clock_hz.to_le_bytes());
    head[28..32].copy_from_slice(&busy_ns.to_le_bytes());
    head
}
