//! A hostile guest that draws (virtio 1.4 §5.7.6).
#![no_main]

use arbitrary::{Arbitrary, Result, Unstructured};
use arraybench_devices_fuzz::{Machine, Poked, Request, Script, drive};
use devices::event::DeviceEvent;
use devices::panel::{Framebuffer, HEIGHT, MAX_RESOURCE_BYTES, PanelVirtio, WIDTH};
use devices::time::Nanos;
use libfuzzer_sys::fuzz_target;
use serde::{Deserialize, Serialize};

const CREATE: u32 = 0x0101;
const UNREF: u32 = 0x0102;
const SET_SCANOUT: u32 = 0x0103;
const FLUSH: u32 = 0x0104;
const TRANSFER: u32 = 0x0105;
const ATTACH: u32 = 0x0106;
const DETACH: u32 = 0x0107;

#[derive(Debug)]
struct Drawing {
    bytes: Vec<u8>,
    room: u32,
}

impl Request for Drawing {
    fn readable(&self) -> Vec<u8> {
        self.bytes.clone()
    }

    fn room(&self) -> u32 {
        self.room
    }
}

/// Few, so that commands meet.
fn resource(u: &mut Unstructured<'_>) -> Result<u32> {
    Ok(u32::from(u.arbitrary::<u8>()? % 20))
}

fn size(u: &mut Unstructured<'_>, glass: u32) -> Result<u32> {
    Ok(match u.int_in_range(0..=7u8)? {
        0 => u.arbitrary()?,
        1..=3 => glass,
        4 => glass + 1,
        _ => u.int_in_range(0..=16)?,
    })
}

fn rect(u: &mut Unstructured<'_>) -> Result<[u32; 4]> {
    let corner = |u: &mut Unstructured<'_>| match u.int_in_range(0..=7u8)? {
        0 => u.arbitrary(),
        1..=2 => u.int_in_range(0..=300),
        _ => Ok(0),
    };
    Ok([corner(u)?, corner(u)?, size(u, WIDTH)?, size(u, HEIGHT)?])
}

impl<'a> Arbitrary<'a> for Drawing {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Drawing> {
        let kinds = [
            0x0100,
            CREATE,
            CREATE,
            UNREF,
            SET_SCANOUT,
            FLUSH,
            FLUSH,
            TRANSFER,
            TRANSFER,
            ATTACH,
            ATTACH,
            DETACH,
            0x0300,
            0x0301,
        ];
        let kind = if u.ratio(1, 32)? {
            u.arbitrary()?
        } else {
            *u.choose(&kinds)?
        };
        let fence = u32::from(u.ratio(1, 4)?);
        let mut words = vec![kind, fence, 1, 2, 3, 0];
        match kind {
            CREATE => {
                let format = *u.choose(&[1, 2, 67, 3])?;
                words.extend([resource(u)?, format, size(u, WIDTH)?, size(u, HEIGHT)?]);
            }
            SET_SCANOUT => {
                words.extend(rect(u)?);
                words.extend([u32::from(u.ratio(1, 16)?), resource(u)?]);
            }
            FLUSH => {
                words.extend(rect(u)?);
                words.extend([resource(u)?, 0]);
            }
            TRANSFER => {
                words.extend(rect(u)?);
                let offset: u64 = if u.ratio(1, 4)? { u.arbitrary()? } else { 0 };
                let (low, high) = (offset & 0xffff_ffff, offset >> 32);
                words.extend([low, high].map(|half| u32::try_from(half).unwrap_or(0)));
                words.extend([resource(u)?, 0]);
            }
            ATTACH => {
                let entries = u32::from(u.arbitrary::<u8>()? % 8);
                let claimed = if u.ratio(1, 16)? {
                    u.arbitrary()?
                } else {
                    entries
                };
                words.extend([resource(u)?, claimed]);
                for _ in 0..entries {
                    let low = u32::from(u.arbitrary::<u16>()?) << 6;
                    let high = u32::from(u.ratio(1, 32)?);
                    let length = *u.choose(&[0, 64, 4096, 0x2_0000, u32::MAX])?;
                    words.extend([low, high, length, 0]);
                }
            }
            _ => words.extend([resource(u)?, 0]),
        }
        let mut bytes: Vec<u8> = words.into_iter().flat_map(u32::to_le_bytes).collect();
        if u.ratio(1, 32)? {
            bytes.truncate(u.int_in_range(0..=bytes.len())?);
        }
        let room = *u.choose(&[24, 24, 24, 408, 0, 7])?;
        Ok(Drawing { bytes, room })
    }
}

#[derive(Debug, Arbitrary)]
enum Poke {
    PowerLost,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Panel {
    device: PanelVirtio,
    glass: Framebuffer,
}

impl Machine for Panel {
    type Device = PanelVirtio;
    type Request = Drawing;
    type Poke = Poke;
    const DEVICES: usize = 1;
    // All resources, their backings, and the glass.
    const MOST_BYTES: usize = MAX_RESOURCE_BYTES as usize + 16 * 1024 * 24 + (256 << 10);

    fn device(&mut self, _index: usize) -> (&mut PanelVirtio, &mut Framebuffer) {
        (&mut self.device, &mut self.glass)
    }

    fn may_keep(_queue: usize) -> bool {
        false
    }

    fn poke(&mut self, poke: &Poke, _now: Nanos, _events: &mut Vec<DeviceEvent>) -> Poked {
        let Poke::PowerLost = poke;
        self.glass.power_lost();
        Poked::Reset
    }
}

fuzz_target!(|script: Script<Drawing, Poke>| {
    let (device, glass) = (PanelVirtio::default(), Framebuffer::default());
    drive(&script, &Panel { device, glass });
});
