use proptest::prelude::*;

use super::bits::*;
use super::frame::tests::any_frame;
use super::frame::{Frame, Identifier, Kind};
use crate::time::Nanos;

/// What a receiver makes of the levels on the wire (ISO 11898-1:2015 §10.4, §10.5), written apart from the
/// transmitter: it takes out stuff bits, checks each fixed bit, stuff count and CRC.
struct Receiver<'a> {
    levels: &'a [bool],
    at: usize,
    run: u8,
    last: bool,
    destuffed: Vec<bool>,
    with_stuff: Vec<bool>,
    stuffed: u32,
}

impl Receiver<'_> {
    fn bit(&mut self) -> u32 {
        let stuff_due = self.run == 5;
        if stuff_due {
            let stuff = self.raw();
            self.stuffed += 1;
            self.with_stuff.push(stuff);
        }
        let bit = self.raw();
        self.destuffed.push(bit);
        self.with_stuff.push(bit);
        u32::from(bit)
    }

    fn raw(&mut self) -> bool {
        let bit = self.levels[self.at];
        self.at += 1;
        let first = self.at == 1;
        assert!(self.run < 5 || bit != self.last, "stuff error");
        self.run = if first || bit != self.last {
            1
        } else {
            self.run + 1
        };
        self.last = bit;
        bit
    }

    fn number(&mut self, bits: u32) -> u32 {
        (0..bits).fold(0, |value, _| value << 1 | self.bit())
    }

    fn frame(&mut self) -> Frame {
        assert_eq!(self.bit(), 0, "start of frame");
        let base = self.number(11);
        let remote_or_substitute = self.bit();
        let extended = self.bit() == 1;
        let (identifier, remote, fd) = if extended {
            assert_eq!(remote_or_substitute, 1, "SRR");
            let id = base << 18 | self.number(18);
            let remote = self.bit();
            (Identifier::Extended(id), remote, self.bit())
        } else {
            let id = Identifier::Standard(u16::try_from(base).unwrap());
            (id, remote_or_substitute, self.bit())
        };
        if fd == 0 {
            if extended {
                self.bit();
            }
            let length = usize::try_from(self.number(4)).unwrap();
            let data = if remote == 1 {
                vec![]
            } else {
                self.bytes(length)
            };
            let crc = crc(CRC_15, 0, &self.destuffed);
            assert_eq!(self.number(15), crc, "CRC-15");
            if self.run == 5 {
                self.raw();
            }
            self.tail();
            return if remote == 1 {
                Frame::remote(identifier, length).unwrap()
            } else {
                Frame::data(identifier, &data).unwrap()
            };
        }
        assert_eq!((remote, self.bit()), (0, 0), "RRS and res");
        let brs = self.bit() == 1;
        assert_eq!(self.bit(), 0, "ESI");
        let code = usize::try_from(self.number(4)).unwrap();
        let length = [0, 1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 20, 24, 32, 48, 64][code];
        let data = self.bytes(length);
        self.run = 0;
        let field = self.fixed(if length > 16 { 25 } else { 21 });
        let gray = field[..3]
            .iter()
            .fold(0, |it, bit| it << 1 | u32::from(*bit));
        let count = gray ^ gray >> 1 ^ gray >> 2;
        assert_eq!(count, self.stuffed % 8, "stuff count");
        assert_eq!(field[..4].iter().filter(|it| **it).count() % 2, 0, "parity");
        self.with_stuff.extend(&field[..4]);
        let code = if length > 16 { CRC_21 } else { CRC_17 };
        let start = if length > 16 { 1 << 20 } else { 1 << 16 };
        let told = field[4..]
            .iter()
            .fold(0, |it, bit| it << 1 | u32::from(*bit));
        assert_eq!(
            told,
            crc(code, start, &self.with_stuff),
            "CRC of an FD frame"
        );
        self.tail();
        Frame::fd(identifier, brs, &data).unwrap()
    }

    fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count)
            .map(|_| u8::try_from(self.number(8)).unwrap())
            .collect()
    }

    /// So many bits with a fixed stuff bit in front of every four.
    fn fixed(&mut self, bits: usize) -> Vec<bool> {
        let mut found = Vec::new();
        for n in 0..bits {
            if n % 4 == 0 {
                let fixed = self.levels[self.at];
                assert_ne!(fixed, self.levels[self.at - 1], "fixed stuff bit");
                self.at += 1;
            }
            found.push(self.levels[self.at]);
            self.at += 1;
        }
        found
    }

    fn tail(&mut self) {
        assert_eq!(self.levels[self.at..], [true; 10]);
    }
}

fn crc(code: Crc, start: u32, bits: &[bool]) -> u32 {
    bits.iter()
        .fold(start, |register, bit| code.step(register, *bit))
}

fn receive(bits: &[WireBit]) -> Frame {
    let levels: Vec<bool> = bits.iter().map(|it| it.recessive).collect();
    let mut receiver = Receiver {
        levels: &levels,
        at: 0,
        run: 0,
        last: true,
        destuffed: Vec::new(),
        with_stuff: Vec::new(),
        stuffed: 0,
    };
    receiver.frame()
}

/// The check values that the catalogue of parametrised CRC algorithms has for these codes, from zero.
#[test]
fn the_codes_are_those_published() {
    let bits: Vec<bool> = b"123456789"
        .iter()
        .flat_map(|byte| (0..8).rev().map(move |shift| byte >> shift & 1 != 0))
        .collect();
    assert_eq!(crc(CRC_15, 0, &bits), 0x059e);
    assert_eq!(crc(CRC_17, 0, &bits), 0x0_4f03);
    assert_eq!(crc(CRC_21, 0, &bits), 0x0e_d841);
}

fn levels(frame: &Frame) -> String {
    let mark = |bit: &WireBit| match (bit.stuff, bit.recessive) {
        (false, false) => '0',
        (false, true) => '1',
        (true, false) => 'o',
        (true, true) => 'i',
    };
    encode(frame).iter().map(mark).collect()
}

/// Identifier 0x14 with one byte 1, the frame that texts on CAN draw; and what stuffing does to runs of
/// dominant bits, where stuff bits (`i`, `o`) begin runs themselves.
#[test]
fn frames_are_as_drawn_by_hand() {
    let frame = Frame::data(Identifier::Standard(0x14), &[1]).unwrap();
    let drawn = levels(&frame);
    let crc = "111011101010011";
    let tail = "1".repeat(10);
    assert_eq!(drawn, format!("00000i0010100000i000100000i001{crc}{tail}"));
    let zeros = Frame::data(Identifier::Standard(0), &[]).unwrap();
    // Nineteen zeros, and a CRC of zero.
    assert_eq!(
        levels(&zeros),
        format!("{}0000{}", "00000i".repeat(6), "1".repeat(10))
    );
    let ones = Frame::fd(Identifier::Standard(0x7ff), true, &[]).unwrap();
    // FDF, res, BRS, ESI, DLC; a fixed stuff bit stands where a dynamic one would be due.
    assert!(
        levels(&ones).starts_with("011111o11111o10010100000i"),
        "{}",
        levels(&ones)
    );
}

/// Bounds as published for Classical frames: 44 or 64 bits and eight a byte, with intermission 47 or 67;
/// at most one stuff bit every four of the 34 or 54 bits and the data.
#[test]
fn lengths_without_stuffing_are_those_published() {
    for (identifier, fixed, stuffed) in [
        (Identifier::Standard(0x555), 44, 34),
        (Identifier::Extended(0x1555_5555), 64, 54),
    ] {
        for bytes in 0..=8 {
            let frame = Frame::data(identifier, &vec![0x55; bytes]).unwrap();
            let length = WireLength::of(&frame);
            let data = 8 * u32::try_from(bytes).unwrap();
            assert_eq!(length.bits() - length.stuff, fixed + data);
            assert!(length.stuff <= (stuffed + data - 1) / 4);
        }
    }
    let eight = Frame::data(Identifier::Standard(0x555), &[0x55; 8]).unwrap();
    let length = WireLength::of(&eight);
    assert_eq!(length.bits() - length.stuff + INTERMISSION_BITS, 111);
}

#[test]
fn a_bit_takes_its_time() {
    let rates = BitRates::default();
    assert_eq!(rates.nominal_bits(1), Nanos(2_000));
    assert_eq!(rates.data_bits(3), Nanos(1_500));
    let odd = BitRates {
        nominal: 83_333,
        data: 0,
    };
    assert_eq!(odd.nominal_bits(1), Nanos(12_001));
    assert_eq!(odd.data_bits(1), Nanos::from_secs(1));
    assert_eq!(odd.whole_bits(odd.nominal_bits(11)), 11);
}

/// SOF to BRS is 17 bits, from CRC delimiter to end of frame ten; between them the data phase.
#[test]
fn the_bit_rate_switches_at_brs_and_at_the_crc_delimiter() {
    let frame = Frame::fd(Identifier::Standard(0x555), true, &[0x55; 64]).unwrap();
    let length = WireLength::of(&frame);
    assert_eq!(length.nominal, 17 + 10);
    // ESI, DLC with its run of ones broken, data, stuff count, CRC-21, seven fixed stuff bits.
    assert_eq!(length.data, 5 + 512 + 4 + 21 + 7);
    let slow = Frame::fd(Identifier::Standard(0x555), false, &[0x55; 64]).unwrap();
    assert_eq!(WireLength::of(&slow).data, 0);
    let rates = BitRates::default();
    assert_eq!(length.duration(rates), Nanos(27 * 2_000 + 549 * 500));
}

proptest! {
    #[test]
    fn what_is_sent_is_what_is_received(frame in any_frame()) {
        prop_assert_eq!(receive(&encode(&frame)), frame);
    }

    #[test]
    fn counting_bits_is_spelling_them(frame in any_frame()) {
        let bits = encode(&frame);
        let length = WireLength::of(&frame);
        let count = |it: &dyn Fn(&WireBit) -> bool| bits.iter().filter(|bit| it(bit)).count();
        prop_assert_eq!(length.data as usize, count(&|it| it.fast));
        prop_assert_eq!(length.nominal as usize, count(&|it| !it.fast));
        prop_assert_eq!(length.stuff as usize, count(&|it| it.stuff));
        let rates = BitRates::default();
        prop_assert_eq!(length.duration(rates), duration(&bits, rates));
        let switches = matches!(frame.kind(), Kind::Fd { bit_rate_switch: true, .. });
        prop_assert_eq!(length.data > 0, switches);
    }

    #[test]
    fn stuffing_stays_in_its_bounds(frame in any_frame()) {
        let length = WireLength::of(&frame);
        if !frame.is_fd() {
            let data = 8 * u32::try_from(frame.payload().len()).unwrap();
            let stuffed = data + if matches!(frame.identifier(), Identifier::Standard(_)) { 34 } else { 54 };
            prop_assert!(length.stuff <= (stuffed - 1) / 4);
        }
    }
}
