use core::fmt;

use words::{Line, Words};

use crate::slot::Slot;

/// Most banks a bank table may have here.
pub const MAX_BANKS: usize = 8;

/// Why the board was last reset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResetReason {
    /// Power came.
    PowerOn,
    /// Cold reset.
    Cold,
    /// Warm reset: memory was kept.
    Warm,
    /// The watchdog.
    Watchdog,
    /// The firmware crashed.
    Crash,
    /// Another controller had held it in reset.
    Released,
    /// A reason this firmware does not know.
    Other(u32),
}

impl ResetReason {
    /// From its number (board manual §5.1).
    pub fn from_number(number: u32) -> ResetReason {
        match number {
            0 => ResetReason::PowerOn,
            1 => ResetReason::Cold,
            2 => ResetReason::Warm,
            3 => ResetReason::Watchdog,
            4 => ResetReason::Crash,
            5 => ResetReason::Released,
            other => ResetReason::Other(other),
        }
    }
}

impl Words for ResetReason {
    fn say(&self, line: &mut Line) {
        match self {
            ResetReason::PowerOn => line.put("power-on"),
            ResetReason::Cold => line.put("cold-reset"),
            ResetReason::Warm => line.put("warm-reset"),
            ResetReason::Watchdog => line.put("watchdog"),
            ResetReason::Crash => line.put("crash"),
            ResetReason::Released => line.put("released"),
            ResetReason::Other(number) => {
                line.put("unknown-");
                line.put_number(*number);
            }
        }
    }
}

impl fmt::Display for ResetReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        words::display(self, f)
    }
}

/// Where the preferred version lives (straps 8–9).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The array's system area.
    Array,
    /// The service media.
    ServiceMedia,
    /// The partner controller.
    Partner,
    /// The reserved value.
    Reserved,
}

/// What carries commands between hosts and this controller (straps 10–11).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostTransport {
    /// SCSI in Ethernet frames.
    EthernetScsi,
    /// iSCSI.
    Iscsi,
    /// A reserved value.
    Reserved,
}

/// Board straps (board manual §5.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Straps(pub u32);

impl Straps {
    /// Compare and re-flash L2 and L3, not L3 only.
    pub fn follow_l2(self) -> bool {
        self.0 & 1 << 0 != 0
    }

    /// The more recent version, wherever it is, overwrites the older everywhere.
    pub fn newest_wins(self) -> bool {
        self.0 & 1 << 1 != 0
    }

    /// Run and flash only signed images.
    pub fn require_signature(self) -> bool {
        self.0 & 1 << 2 != 0
    }

    /// Prior art: load the application from the array at every boot.
    pub fn baseline_download(self) -> bool {
        self.0 & 1 << 3 != 0
    }

    /// Prior art: never compare with the array.
    pub fn baseline_no_compare(self) -> bool {
        self.0 & 1 << 4 != 0
    }

    /// Where the preferred version lives.
    pub fn source(self) -> Source {
        match self.0 >> 8 & 3 {
            0 => Source::Array,
            1 => Source::ServiceMedia,
            2 => Source::Partner,
            _ => Source::Reserved,
        }
    }

    /// What carries commands between hosts and this controller.
    pub fn host_transport(self) -> HostTransport {
        match self.0 >> 10 & 3 {
            0 => HostTransport::EthernetScsi,
            1 => HostTransport::Iscsi,
            _ => HostTransport::Reserved,
        }
    }
}

/// A or B.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum BankName {
    /// Bank A.
    A,
    /// Bank B.
    B,
}

impl BankName {
    /// From its number: 0 is A, 1 is B.
    pub fn from_number(number: u8) -> Option<BankName> {
        match number {
            0 => Some(BankName::A),
            1 => Some(BankName::B),
            _ => None,
        }
    }

    /// Its number.
    pub fn number(self) -> u8 {
        match self {
            BankName::A => 0,
            BankName::B => 1,
        }
    }

    /// The other one.
    pub fn other(self) -> BankName {
        match self {
            BankName::A => BankName::B,
            BankName::B => BankName::A,
        }
    }
}

impl fmt::Display for BankName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BankName::A => "A",
            BankName::B => "B",
        })
    }
}

/// One entry of the bank table: where in which chip a level's image lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BankPlace {
    /// 2 or 3.
    pub level: u8,
    /// A or B.
    pub bank: BankName,
    /// Chip select.
    pub chip: u8,
    /// First byte in the chip.
    pub offset: u32,
    /// Bytes it has.
    pub size: u32,
}

/// Board control's configuration space (board manual §5.1), read once.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Version of the board ABI; this firmware knows 1.
    pub abi: u32,
    /// Chassis slot, 0 = A.
    pub slot: u8,
    /// Controller slots in the chassis.
    pub slots: u8,
    /// Memory in MiB.
    pub ram_mib: u32,
    /// Serial number, NUL-padded ASCII.
    pub serial: [u8; 16],
    /// Why the board was reset.
    pub reset_reason: ResetReason,
    /// Resets since it was put into its slot.
    pub boots: u32,
    /// Straps.
    pub straps: Straps,
    /// Virtual time of the reset.
    pub reset_time_ns: u64,
    /// Calendar time of the reset, seconds since 1970-01-01.
    pub reset_calendar_s: u64,
    /// The public key images are signed for; `None` where none is fitted.
    pub signing_key: Option<[u8; 32]>,
    banks: [Option<BankPlace>; MAX_BANKS],
}

impl Identity {
    pub(crate) fn read(slot: &Slot) -> Identity {
        let mut identity = Identity::read_without_flash(slot);
        slot.config_bytes(0x10, &mut identity.serial);
        let mut key = [0; 32];
        slot.config_bytes(0x40, &mut key);
        identity.signing_key = (key != [0; 32]).then_some(key);
        let count = usize::try_from(slot.config_u32(0x2c)).unwrap_or(MAX_BANKS);
        for (n, place) in identity.banks.iter_mut().take(count).enumerate() {
            let mut entry = [0; 16];
            slot.config_bytes(0x60 + 16 * n, &mut entry);
            *place = BankPlace::decode(&entry);
        }
        identity
    }

    /// The same for a board without flash, of which nobody asks the serial number either: no banks, no key.
    pub(crate) fn read_without_flash(slot: &Slot) -> Identity {
        let small = |offset| u8::try_from(slot.config_u32(offset)).unwrap_or(u8::MAX);
        Identity {
            abi: slot.config_u32(0x00),
            slot: small(0x04),
            slots: small(0x08),
            ram_mib: slot.config_u32(0x0c),
            serial: [0; 16],
            reset_reason: ResetReason::from_number(slot.config_u32(0x20)),
            boots: slot.config_u32(0x24),
            straps: Straps(slot.config_u32(0x28)),
            reset_time_ns: slot.config_u64(0x30),
            reset_calendar_s: slot.config_u64(0x38),
            signing_key: None,
            banks: [None; MAX_BANKS],
        }
    }

    /// The serial number as text.
    pub fn serial_text(&self) -> &str {
        let length = self
            .serial
            .iter()
            .position(|byte| *byte == 0)
            .unwrap_or(self.serial.len());
        core::str::from_utf8(self.serial.get(..length).unwrap_or(&[])).unwrap_or("?")
    }

    /// Where bank `bank` of level `level` is.
    pub fn bank(&self, level: u8, bank: BankName) -> Option<BankPlace> {
        self.banks
            .iter()
            .flatten()
            .find(|place| place.level == level && place.bank == bank)
            .copied()
    }
}

impl BankPlace {
    fn decode(entry: &[u8; 16]) -> Option<BankPlace> {
        let [level, bank, chip, _, rest @ ..] = *entry;
        let [o0, o1, o2, o3, s0, s1, s2, s3, ..] = rest;
        Some(BankPlace {
            level,
            bank: BankName::from_number(bank)?,
            chip,
            offset: u32::from_le_bytes([o0, o1, o2, o3]),
            size: u32::from_le_bytes([s0, s1, s2, s3]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bank_table_entries_decode_little_endian() {
        let entry = [3, 1, 1, 0, 0, 0, 2, 0, 0, 0, 8, 0, 0xff, 0xff, 0xff, 0xff];
        let place = BankPlace::decode(&entry).expect("a known bank");
        assert_eq!(
            place,
            BankPlace {
                level: 3,
                bank: BankName::B,
                chip: 1,
                offset: 0x20000,
                size: 0x80000,
            }
        );
        assert_eq!(BankPlace::decode(&[2; 16]), None);
    }

    #[test]
    fn straps_decode() {
        let straps = Straps(0x0205);
        assert!(straps.follow_l2() && straps.require_signature());
        assert!(!straps.newest_wins() && !straps.baseline_download());
        assert_eq!(straps.source(), Source::Partner);
        assert_eq!(straps.host_transport(), HostTransport::EthernetScsi);
        assert_eq!(Straps(0x0400).host_transport(), HostTransport::Iscsi);
    }
}
