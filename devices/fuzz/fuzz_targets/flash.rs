//! A hostile guest against the flash: JEDEC commands, right and wrong, in SPI transfers, right and
//! wrong, with power cuts and broken cells in between.
#![no_main]

use arbitrary::{Arbitrary, Result, Unstructured};
use arraybench_devices_fuzz::{Machine, Poked, Request, Script, drive};
use devices::event::DeviceEvent;
use devices::flash::opcode::*;
use devices::flash::{Fault, FlashChip, FlashPart, Geometry, SpiBus, VirtioSpi};
use devices::power::{PowerLoss, Shape};
use devices::time::Nanos;
use devices::virtio::VirtioDevice;
use libfuzzer_sys::fuzz_target;
use serde::{Deserialize, Serialize};

/// Large enough for four address bytes to matter in only one of two chips.
const CHIP_BYTES: [u64; 2] = [256 << 10, 17 << 20];

/// Commands and how many bytes they have, so that most transfers mean something. WREN is there
/// often: nothing that lasts happens without it.
const COMMANDS: [(u8, usize); 25] = [
    (WREN, 1),
    (WREN, 1),
    (WREN, 1),
    (WREN, 1),
    (WREN, 1),
    (PP, 4),
    (PP_4B, 5),
    (SE, 4),
    (SE_4B, 5),
    (BE, 4),
    (BE_4B, 5),
    (CE, 1),
    (READ, 4),
    (READ_4B, 5),
    (FAST_READ, 5),
    (FAST_READ_4B, 6),
    (RDSR, 1),
    (WRSR, 2),
    (WRDI, 1),
    (SFDP, 5),
    (RDID, 1),
    (EN4B, 1),
    (EX4B, 1),
    (RSTEN, 1),
    (RST, 1),
];

#[derive(Debug)]
struct Transfer {
    head: [u8; 32],
    transmit: Vec<u8>,
    room: u32,
}

impl Request for Transfer {
    fn readable(&self) -> Vec<u8> {
        [&self.head[..], &self.transmit].concat()
    }

    fn room(&self) -> u32 {
        self.room
    }
}

impl<'a> Arbitrary<'a> for Transfer {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Transfer> {
        let mut head = [0; 32];
        let keep_selected = u.ratio(1, 4)?;
        head[..3].copy_from_slice(&[u.int_in_range(0..=1)?, 8, u8::from(!keep_selected)]);
        head[12..16].copy_from_slice(&u.int_in_range(1..=50_000_000u32)?.to_le_bytes());
        let inactive = *u.choose(&[0u32, 700_000, 45_000_000, 2_000_000_000])?;
        head[28..].copy_from_slice(&inactive.to_le_bytes());
        if u.ratio(1, 16)? {
            head[usize::from(u.int_in_range(0..=31u8)?)] = u.arbitrary()?;
        }
        let mut transmit = Vec::new();
        if u.ratio(7, 8)? {
            let (opcode, length) = *u.choose(&COMMANDS)?;
            transmit.push(opcode);
            transmit.resize(length, 0);
            for byte in &mut transmit[1..] {
                // Few places, so that operations meet.
                *byte = u.arbitrary::<u8>()? & 3;
            }
            if matches!(opcode, PP | PP_4B) || u.ratio(1, 16)? {
                let data = u.int_in_range(0..=300usize)?;
                transmit.resize(length + data, u.arbitrary()?);
            }
            if u.ratio(1, 16)? {
                transmit.truncate(u.int_in_range(0..=length)?);
            }
        }
        let room = match u.int_in_range(0..=7u8)? {
            0 => 1 + u32::from(u.arbitrary::<u16>()? % 5_000),
            1..=3 => 1 + u32::try_from(transmit.len()).unwrap_or(0),
            4 => u.int_in_range(0..=40)?,
            _ => 1,
        };
        Ok(Transfer {
            head,
            transmit,
            room,
        })
    }
}

#[derive(Debug, Arbitrary)]
enum Poke {
    CutPower {
        shape: u8,
        seed: u64,
    },
    StickBit {
        chip: bool,
        address: u32,
        bit: u8,
        value: bool,
    },
    Rot {
        chip: bool,
        address: u32,
        bit: u8,
    },
    Kill {
        chip: bool,
    },
    Heal {
        chip: bool,
    },
    ReadBack {
        chip: bool,
        address: u32,
    },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Flash {
    device: VirtioSpi,
    bus: SpiBus,
}

impl Flash {
    fn chip(&mut self, second: bool) -> &mut FlashChip {
        &mut self.bus.chips_mut()[usize::from(second)]
    }

    fn inject(&mut self, second: bool, fault: Fault) {
        self.chip(second).inject(fault).expect("memory works");
    }
}

impl Machine for Flash {
    type Device = VirtioSpi;
    type Request = Transfer;
    type Poke = Poke;
    const DEVICES: usize = 1;
    // Both chips, written in full, and the requests in the queue.
    const MOST_BYTES: usize = 20 << 20;

    fn device(&mut self, _index: usize) -> (&mut VirtioSpi, &mut SpiBus) {
        (&mut self.device, &mut self.bus)
    }

    fn may_keep(_queue: usize) -> bool {
        false
    }

    fn poke(&mut self, poke: &Poke, now: Nanos, _events: &mut Vec<DeviceEvent>) -> Poked {
        match *poke {
            Poke::CutPower { shape, seed } => {
                let shape = Shape::ALL[usize::from(shape) % 3];
                self.device.reset(&mut &mut self.bus);
                let loss = PowerLoss { now, shape, seed };
                self.bus.power_lost(loss).expect("memory works");
                self.bus.power_on();
                return Poked::Reset;
            }
            Poke::StickBit {
                chip,
                address,
                bit,
                value,
            } => {
                let address = address.into();
                let fault = Fault::StuckBit {
                    address,
                    bit,
                    value,
                };
                self.inject(chip, fault);
            }
            Poke::Rot { chip, address, bit } => {
                let address = address.into();
                self.inject(chip, Fault::BitRot { address, bit });
            }
            Poke::Kill { chip } => self.inject(chip, Fault::Dead),
            Poke::Heal { chip } => self.chip(chip).clear_faults(),
            Poke::ReadBack { chip, address } => {
                let mut bytes = [0; 300];
                self.chip(chip)
                    .read_back(now, address.into(), &mut bytes)
                    .expect("memory works");
            }
        }
        Poked::Running
    }
}

fuzz_target!(|script: Script<Transfer, Poke>| {
    let chips = CHIP_BYTES.map(|bytes| {
        FlashChip::blank(FlashPart::new(
            Geometry::of_size(bytes).expect("a good size"),
        ))
    });
    let device = VirtioSpi::new();
    let mut bus = SpiBus::new(chips.into());
    bus.power_on();
    drive(&script, &Flash { device, bus });
});
