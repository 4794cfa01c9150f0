//! A frame as the wire has it: how many bits, with which stuff bits, and how long they take.
//!
//! [`WireLength::of`] is what every frame of a bus costs and therefore counts by tables; [`encode`] spells
//! out each bit and is for errors, whose place matters. The tests hold the two against each other.

use serde::{Deserialize, Serialize};

use super::frame::{Frame, Identifier, Kind};
use crate::time::Nanos;

/// Bits between frames (ISO 11898-1:2015 §10.4.6.2).
pub const INTERMISSION_BITS: u32 = 3;
/// CRC delimiter, ACK slot, ACK delimiter, end of frame (§10.4.2.6 to §10.4.2.8): never stuffed.
const TAIL_BITS: u32 = 1 + 1 + 1 + 7;
/// Bits from the ACK delimiter to the end of the frame: recessive, whoever sends what.
pub(super) const RECESSIVE_TAIL_BITS: u32 = 1 + 7;
/// After five equal bits comes one of the other level (§10.5).
const STUFF_RUN: u8 = 5;
/// In the CRC field of an FD frame a stuff bit comes first and after every four bits (§10.5).
const FIXED_STUFF_BITS: usize = 4;
/// Most data bytes of an FD frame that CRC-17 protects.
const CRC_17_DATA_BYTES: usize = 16;

/// Generator polynomials (§10.4.2.6) without their highest coefficient.
pub(super) const CRC_15: Crc = Crc {
    width: 15,
    polynomial: 0x4599,
};
pub(super) const CRC_17: Crc = Crc {
    width: 17,
    polynomial: 0x1_685b,
};
pub(super) const CRC_21: Crc = Crc {
    width: 21,
    polynomial: 0x10_2899,
};

/// A cyclic code, fed bit by bit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Crc {
    width: u32,
    polynomial: u32,
}

impl Crc {
    pub(super) const fn step(self, register: u32, bit: bool) -> u32 {
        let top = register >> (self.width - 1) & 1 != 0;
        let shifted = register << 1 & ((1 << self.width) - 1);
        if top != bit {
            shifted ^ self.polynomial
        } else {
            shifted
        }
    }
}

/// The two speeds of a controller, in bits per second.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BitRates {
    /// Arbitration phase, and everything of a frame without BRS; zero counts as one.
    pub nominal: u32,
    /// Data phase of a frame with BRS; zero where controllers know no CAN FD.
    pub data: u32,
}

impl Default for BitRates {
    /// 500 kbit/s and 2 Mbit/s.
    fn default() -> Self {
        BitRates {
            nominal: 500_000,
            data: 2_000_000,
        }
    }
}

impl BitRates {
    /// How long so many bits take at the nominal bit rate, rounded up to whole nanoseconds.
    pub fn nominal_bits(self, bits: u32) -> Nanos {
        span(bits, self.nominal)
    }

    /// How long so many bits take at the data bit rate, rounded up to whole nanoseconds.
    pub fn data_bits(self, bits: u32) -> Nanos {
        span(bits, self.data)
    }

    /// How many whole nominal bits fit into a span.
    pub(super) fn whole_bits(self, span: Nanos) -> u64 {
        let product = u128::from(span.0) * u128::from(self.nominal.max(1));
        u64::try_from(product / 1_000_000_000).unwrap_or(u64::MAX)
    }
}

fn span(bits: u32, rate: u32) -> Nanos {
    Nanos((u64::from(bits) * 1_000_000_000).div_ceil(u64::from(rate.max(1))))
}

/// How long a frame is on the wire, from start of frame to end of frame, without intermission.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireLength {
    /// Bits at the nominal bit rate. The BRS bit counts among them, and so does the CRC delimiter: the
    /// rates change at their sample points (§10.4.2.3, §10.4.2.6).
    pub nominal: u32,
    /// Bits at the data bit rate.
    pub data: u32,
    /// Stuff bits among them, fixed ones included.
    pub stuff: u32,
}

impl WireLength {
    /// Of this frame.
    pub fn of(frame: &Frame) -> WireLength {
        match frame.kind() {
            Kind::Data | Kind::Remote => classic_length(frame),
            Kind::Fd {
                bit_rate_switch, ..
            } => fd_length(frame, bit_rate_switch),
        }
    }

    /// All its bits.
    pub fn bits(self) -> u32 {
        self.nominal + self.data
    }

    /// How long it takes.
    pub fn duration(self, rates: BitRates) -> Nanos {
        rates.nominal_bits(self.nominal) + rates.data_bits(self.data)
    }
}

fn classic_length(frame: &Frame) -> WireLength {
    let (mut bits, mut count) = header(frame);
    for byte in frame.payload() {
        bits = bits << 8 | u128::from(*byte);
        count += 8;
    }
    let crc = crc_15(bits);
    bits = bits << CRC_15.width | u128::from(crc);
    count += CRC_15.width;
    let (stuff, _) = stuff_bits(START, bits, count);
    WireLength {
        nominal: count + stuff + TAIL_BITS,
        data: 0,
        stuff,
    }
}

/// ESI and DLC.
const AFTER_SWITCH_BITS: u32 = 5;

fn fd_length(frame: &Frame, bit_rate_switch: bool) -> WireLength {
    let (bits, count) = header(frame);
    let before = count - AFTER_SWITCH_BITS;
    let (slow_stuff, state) = stuff_bits(START, bits >> AFTER_SWITCH_BITS, before);
    let (control_stuff, mut state) = stuff_bits(state, bits, AFTER_SWITCH_BITS);
    let mut stuff = slow_stuff + control_stuff;
    for byte in frame.payload() {
        let (more, next) = STUFFING[usize::from(state)][usize::from(*byte)];
        stuff += u32::from(more);
        state = next;
    }
    // Where the last bit before the CRC field would be followed by a stuff bit, the fixed one is it (§10.5).
    // A stuff bit was just put in if the level turned against the last bit sent.
    let last = frame
        .payload()
        .last()
        .copied()
        .unwrap_or(frame.data_length_code())
        & 1;
    if state == state_of(last ^ 1, 1) {
        stuff -= 1;
    }
    let crc = if frame.length() > CRC_17_DATA_BYTES {
        CRC_21
    } else {
        CRC_17
    };
    let count_and_crc = 4 + crc.width;
    let fixed = count_and_crc.div_ceil(4);
    let data = AFTER_SWITCH_BITS
        + 8 * u32::from(u8::try_from(frame.length()).unwrap_or(0))
        + (stuff - slow_stuff)
        + count_and_crc
        + fixed;
    let slow = before + slow_stuff + TAIL_BITS;
    WireLength {
        nominal: if bit_rate_switch { slow } else { slow + data },
        data: if bit_rate_switch { data } else { 0 },
        stuff: stuff + fixed,
    }
}

/// Start of frame, arbitration and control field without stuff bits: the bits, and how many.
fn header(frame: &Frame) -> (u128, u32) {
    let remote = u128::from(frame.kind() == Kind::Remote);
    let code = u128::from(frame.data_length_code());
    let (control, control_bits) = match frame.kind() {
        // r0 (FDF), DLC; in the extended format r1 (FDF) and r0.
        Kind::Data | Kind::Remote => match frame.identifier() {
            Identifier::Standard(_) => (code, 5),
            Identifier::Extended(_) => (code, 6),
        },
        // FDF, res, BRS, ESI, DLC.
        Kind::Fd {
            bit_rate_switch,
            error_state_indicator,
        } => {
            let flags = 8 | u128::from(bit_rate_switch) << 1 | u128::from(error_state_indicator);
            (flags << 4 | code, 8)
        }
    };
    let (arbitration, arbitration_bits) = match frame.identifier() {
        // Start of frame, identifier, RTR, IDE.
        Identifier::Standard(id) => (u128::from(id) << 2 | remote << 1, 14),
        // Start of frame, base identifier, SRR, IDE, extension, RTR.
        Identifier::Extended(id) => {
            let (base, extension) = (u128::from(id >> 18), u128::from(id & 0x3_ffff));
            (base << 21 | 0b11 << 19 | extension << 1 | remote, 33)
        }
    };
    (
        arbitration << control_bits | control,
        arbitration_bits + control_bits,
    )
}

/// CRC-15 begins at zero, so that zeros in front change nothing.
fn crc_15(bits: u128) -> u32 {
    bits.to_be_bytes().iter().fold(0, |register: u32, byte| {
        let top = low_byte(u128::from(register >> 7)) ^ byte;
        (register << 8 & 0x7fff) ^ CRC_15_BYTES[usize::from(top)]
    })
}

const CRC_15_BYTES: [u32; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut register = 0;
        let mut bit = 0;
        while bit < 8 {
            register = CRC_15.step(register, byte >> (7 - bit) & 1 != 0);
            bit += 1;
        }
        table[byte] = register;
        byte += 1;
    }
    table
};

const fn low_byte(bits: u128) -> u8 {
    bits.to_le_bytes()[0]
}

/// A run of `run` bits (1 to 4) of a level, as an index.
const fn state_of(level: u8, run: u8) -> u8 {
    level * 4 + run - 1
}

/// Before the start of frame: recessive, so that its dominant bit begins a run.
const START: u8 = state_of(1, 1);

/// One more bit: stuff bits put in after it (0 or 1), and the run it leaves.
const fn stuff_step(state: u8, bit: u8) -> (u8, u8) {
    let (level, run) = (state / 4, state % 4 + 1);
    if bit != level {
        (0, state_of(bit, 1))
    } else if run + 1 == STUFF_RUN {
        (1, state_of(bit ^ 1, 1))
    } else {
        (0, state_of(bit, run + 1))
    }
}

const STUFFING: [[(u8, u8); 256]; 8] = {
    let mut table = [[(0, 0); 256]; 8];
    let mut state = 0;
    while state < 8 {
        let mut byte = 0;
        while byte < 256 {
            let (mut stuff, mut at) = (0, low_byte(state as u128));
            let mut bit = 0;
            while bit < 8 {
                let (more, next) = stuff_step(at, low_byte(byte as u128 >> (7 - bit)) & 1);
                stuff += more;
                at = next;
                bit += 1;
            }
            table[state][byte] = (stuff, at);
            byte += 1;
        }
        state += 1;
    }
    table
};

/// Stuff bits among the lowest `count` bits of `bits`, and the run they leave.
fn stuff_bits(mut state: u8, bits: u128, mut count: u32) -> (u32, u8) {
    let mut stuff = 0;
    while count >= 8 {
        count -= 8;
        let (more, next) = STUFFING[usize::from(state)][usize::from(low_byte(bits >> count))];
        stuff += u32::from(more);
        state = next;
    }
    while count > 0 {
        count -= 1;
        let (more, next) = stuff_step(state, low_byte(bits >> count) & 1);
        stuff += u32::from(more);
        state = next;
    }
    (stuff, state)
}

/// What part of a frame a bit belongs to (§10.4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Field {
    /// Start of frame, identifier, RTR or SRR, IDE.
    Arbitration,
    /// From FDF or r0 to the DLC.
    Control,
    /// Data bytes.
    Data,
    /// Stuff count (FD) and CRC sequence.
    Crc,
    /// One recessive bit.
    CrcDelimiter,
    /// Recessive as the transmitter sends it, dominant by any receiver.
    AckSlot,
    /// One recessive bit.
    AckDelimiter,
    /// Seven recessive bits.
    EndOfFrame,
}

/// One bit as its transmitter sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WireBit {
    /// Recessive (1) or dominant (0).
    pub recessive: bool,
    /// Put in by bit stuffing.
    pub stuff: bool,
    /// At the data bit rate.
    pub fast: bool,
    /// Where it belongs; a stuff bit belongs to the bit before it.
    pub field: Field,
}

/// Every bit of a frame, from start of frame to end of frame.
pub fn encode(frame: &Frame) -> Vec<WireBit> {
    let mut wire = Encoder::new(frame);
    let (bits, count) = header(frame);
    let arbitration = match frame.identifier() {
        Identifier::Standard(_) => 14,
        Identifier::Extended(_) => 33,
    };
    // FDF, res and BRS go at the nominal bit rate.
    let switch = count - AFTER_SWITCH_BITS;
    for n in 0..count {
        wire.field = if n < arbitration {
            Field::Arbitration
        } else {
            Field::Control
        };
        wire.fast = wire.switches && n >= switch;
        wire.dynamic(bits >> (count - 1 - n) & 1 != 0, n + 1 == count);
    }
    wire.field = Field::Data;
    for (n, byte) in (1..).zip(frame.payload()) {
        for shift in (0..8).rev() {
            wire.dynamic(byte >> shift & 1 != 0, n == frame.length() && shift == 0);
        }
    }
    wire.check_sequence(frame);
    wire.fast = false;
    let tail = [
        (Field::CrcDelimiter, 1),
        (Field::AckSlot, 1),
        (Field::AckDelimiter, 1),
        (Field::EndOfFrame, 7),
    ];
    for (field, bits) in tail {
        wire.field = field;
        (0..bits).for_each(|_| wire.put(true, false));
    }
    wire.bits
}

struct Encoder {
    bits: Vec<WireBit>,
    field: Field,
    fast: bool,
    /// The frame has BRS.
    switches: bool,
    /// It is an FD frame.
    fd: bool,
    /// It ends its dynamically stuffed part with its control field.
    empty: bool,
    run: u8,
    stuffed: u32,
    crc: Crc,
    register: u32,
}

impl Encoder {
    fn new(frame: &Frame) -> Encoder {
        let switches = matches!(
            frame.kind(),
            Kind::Fd {
                bit_rate_switch: true,
                ..
            }
        );
        let fd = frame.is_fd();
        let crc = match frame.length() {
            _ if !fd => CRC_15,
            ..=CRC_17_DATA_BYTES => CRC_17,
            _ => CRC_21,
        };
        Encoder {
            bits: Vec::with_capacity(if fd { 720 } else { 160 }),
            field: Field::Arbitration,
            fast: false,
            switches,
            fd,
            empty: frame.payload().is_empty(),
            run: 0,
            stuffed: 0,
            crc,
            // The FD codes begin with their highest bit set (§10.4.2.6).
            register: if fd { 1 << (crc.width - 1) } else { 0 },
        }
    }

    fn put(&mut self, recessive: bool, stuff: bool) {
        let same = self.bits.last().is_some_and(|it| it.recessive == recessive);
        self.run = if same { self.run + 1 } else { 1 };
        self.bits.push(WireBit {
            recessive,
            stuff,
            fast: self.fast,
            field: self.field,
        });
    }

    /// A bit of the dynamically stuffed part that the CRC protects; FD codes protect its stuff bits too.
    fn dynamic(&mut self, recessive: bool, ends_field: bool) {
        self.put(recessive, false);
        self.register = self.crc.step(self.register, recessive);
        let ends_part = ends_field && (self.field == Field::Data || self.empty);
        if self.run == STUFF_RUN && !(self.fd && ends_part) {
            self.put(!recessive, true);
            self.stuffed += 1;
            if self.fd {
                self.register = self.crc.step(self.register, !recessive);
            }
        }
    }

    fn check_sequence(&mut self, frame: &Frame) {
        self.field = Field::Crc;
        let width = self.crc.width;
        if !frame.is_fd() {
            for shift in (0..width).rev() {
                let recessive = self.register >> shift & 1 != 0;
                self.put(recessive, false);
                if self.run == STUFF_RUN {
                    self.put(!recessive, true);
                }
            }
            return;
        }
        // Stuff count: modulo 8, Gray-coded, with even parity (§10.4.2.6).
        let count = self.stuffed % 8;
        let gray = count ^ count >> 1;
        let with_parity = gray << 1 | gray.count_ones() & 1;
        for shift in (0..4).rev() {
            self.register = self.crc.step(self.register, with_parity >> shift & 1 != 0);
        }
        let field = u64::from(with_parity) << width | u64::from(self.register);
        for (n, shift) in (0..4 + width).rev().enumerate() {
            if n % FIXED_STUFF_BITS == 0 {
                let before = self.bits.last().is_some_and(|it| it.recessive);
                self.put(!before, true);
            }
            self.put(field >> shift & 1 != 0, false);
        }
    }
}

/// How long the bits take.
pub fn duration(bits: &[WireBit], rates: BitRates) -> Nanos {
    let fast = bits.iter().filter(|it| it.fast).count();
    let count = |bits: usize| u32::try_from(bits).unwrap_or(u32::MAX);
    rates.nominal_bits(count(bits.len() - fast)) + rates.data_bits(count(fast))
}
