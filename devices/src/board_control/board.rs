use serde::{Deserialize, Serialize};

use super::wait::{Activity, Wait};
use crate::time::Nanos;

/// Version of the board manual's contract.
const ABI: u32 = 1;

/// Most bank table entries that fit into a configuration space of 256 bytes.
pub const MAX_BANKS: usize = 10;

/// Strap bits (board manual §5.2).
pub mod straps {
    /// Compare and re-flash L2 and L3.
    pub const FOLLOW_L2: u32 = 1 << 0;
    /// The more recent version overwrites the older everywhere.
    pub const NEWEST_WINS: u32 = 1 << 1;
    /// Run and flash only signed images.
    pub const REQUIRE_SIGNATURE: u32 = 1 << 2;
    /// Prior art 1A: load the application from the array at every boot.
    pub const BASELINE_DOWNLOAD: u32 = 1 << 3;
    /// Prior art 1B: never compare with the array.
    pub const BASELINE_NO_COMPARE: u32 = 1 << 4;
    /// Lowest bit of the two-bit preferred-version source.
    pub const SOURCE_SHIFT: u32 = 8;
}

/// One flash bank (board manual §5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BankEntry {
    /// Boot level: 2 or 3.
    pub level: u8,
    /// 0 = A, 1 = B.
    pub bank: u8,
    /// Which flash chip.
    pub chip: u8,
    /// First byte in the chip.
    pub offset: u32,
    /// Length in bytes.
    pub size: u32,
}

/// Why a board was last reset; the number is the one in the configuration space.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResetReason {
    /// Power came.
    #[default]
    PowerOn = 0,
    /// RESET request, cold.
    Cold = 1,
    /// RESET request, warm.
    Warm = 2,
    /// The watchdog was not renewed.
    Watchdog = 3,
    /// The CPU stopped with a triple fault.
    Crash = 4,
    /// Another controller released it from hold.
    Released = 5,
}

/// A reset the board asks of whoever runs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResetKind {
    /// Memory is lost.
    Cold,
    /// Memory is kept.
    Warm,
    /// Cold, because the watchdog was not renewed.
    Watchdog,
}

/// What a board is told about itself. Slot, serial and boots belong to the controller in the
/// slot, the rest to the chassis or the board file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoardIdentity {
    /// Chassis slot: 0 = A.
    pub slot: u32,
    /// Controller slots in the chassis.
    pub slots: u32,
    /// Size of RAM.
    pub ram_mib: u32,
    /// ASCII; at most 16 bytes are shown.
    pub serial: String,
    /// Why the board was last reset.
    pub reset_reason: ResetReason,
    /// Resets since the controller was put into its slot.
    pub boots: u32,
    /// See [`straps`].
    pub straps: u32,
    /// Flash banks; at most [`MAX_BANKS`] are shown.
    pub banks: Vec<BankEntry>,
    /// ed25519 public key; all zero where none is fitted.
    pub signing_key: [u8; 32],
    /// When the board was last reset.
    pub reset_time: Nanos,
    /// Calendar clock then, seconds since 1970-01-01.
    pub reset_calendar: u64,
}

impl BoardIdentity {
    /// The configuration space (board manual §5.1).
    pub(super) fn config(&self) -> Vec<u8> {
        let mut serial = [0; 16];
        for (shown, byte) in serial.iter_mut().zip(self.serial.bytes()) {
            *shown = byte;
        }
        let banks = &self.banks[..self.banks.len().min(MAX_BANKS)];
        let mut config = Vec::with_capacity(0x60 + 16 * banks.len());
        for word in [ABI, self.slot, self.slots, self.ram_mib] {
            config.extend(word.to_le_bytes());
        }
        config.extend(serial);
        let count = u32::try_from(banks.len()).unwrap_or(0);
        for word in [self.reset_reason as u32, self.boots, self.straps, count] {
            config.extend(word.to_le_bytes());
        }
        config.extend(self.reset_time.0.to_le_bytes());
        config.extend(self.reset_calendar.to_le_bytes());
        config.extend(self.signing_key);
        for entry in banks {
            config.extend([entry.level, entry.bank, entry.chip, 0]);
            config.extend(entry.offset.to_le_bytes());
            config.extend(entry.size.to_le_bytes());
            config.extend([0; 4]);
        }
        config
    }
}

/// The core: identity, what wakes the board, watchdog and the reset it asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoardControl {
    /// What the configuration space shows. The harness may change it between boots.
    pub identity: BoardIdentity,
    pub(super) activity: Activity,
    pub(super) wait: Option<Wait>,
    watchdog: Option<Nanos>,
    reset_request: Option<ResetKind>,
}

impl BoardControl {
    /// A board before its first reset.
    pub fn new(identity: BoardIdentity) -> BoardControl {
        BoardControl {
            identity,
            activity: Activity::default(),
            wait: None,
            watchdog: None,
            reset_request: None,
        }
    }

    /// The board is being reset: counts the boot, disarms the watchdog, forgets the WAIT and every
    /// completion.
    pub fn board_reset(&mut self, reason: ResetReason, now: Nanos, calendar_seconds: u64) {
        self.identity.reset_reason = reason;
        self.identity.boots = self.identity.boots.saturating_add(1);
        self.identity.reset_time = now;
        self.identity.reset_calendar = calendar_seconds;
        self.activity = Activity::default();
        self.wait = None;
        self.watchdog = None;
        self.reset_request = None;
    }

    /// The board is held in reset or lost its power: nothing that it armed or asked for counts any more.
    pub fn stopped(&mut self) {
        self.wait = None;
        self.watchdog = None;
        self.reset_request = None;
    }

    /// Whether the board asked for a reset that nobody carried out yet.
    pub fn reset_requested(&self) -> bool {
        self.reset_request.is_some()
    }

    /// The reset the board asked for, once. It is carried out at the end of the instant.
    pub fn take_reset_request(&mut self) -> Option<ResetKind> {
        self.reset_request.take()
    }

    /// When the watchdog bites, if it is armed.
    pub fn watchdog_deadline(&self) -> Option<Nanos> {
        self.watchdog
    }

    /// Lets the watchdog bite if its time has come; says whether it did. The virtio side calls it
    /// whenever it is serviced; a host calls it for a board whose driver is not ready.
    pub fn check_watchdog(&mut self, now: Nanos) -> bool {
        let bites = self.watchdog.is_some_and(|at| at <= now);
        if bites {
            self.watchdog = None;
            self.request_reset(ResetKind::Watchdog);
        }
        bites
    }

    /// When the board control device next has something to do by itself.
    pub fn deadline(&self) -> Option<Nanos> {
        let wake = self.wait_deadline();
        wake.into_iter().chain(self.watchdog).min()
    }

    /// Arms the watchdog; a time-out of zero disarms it.
    pub(super) fn arm_watchdog(&mut self, now: Nanos, time_out: Nanos) {
        self.watchdog = (time_out > Nanos::ZERO).then(|| now + time_out);
    }

    /// The first request stands.
    pub(super) fn request_reset(&mut self, kind: ResetKind) {
        self.reset_request.get_or_insert(kind);
    }
}
