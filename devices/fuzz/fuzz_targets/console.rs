//! A hostile guest at the console, while somebody types.
#![no_main]

use arbitrary::{Arbitrary, Result, Unstructured};
use arraybench_devices_fuzz::{Machine, Poked, Request, Script, drive};
use devices::console::{Console, ConsoleVirtio, MAX_LINE_BYTES};
use devices::event::DeviceEvent;
use devices::time::Nanos;
use libfuzzer_sys::fuzz_target;
use serde::{Deserialize, Serialize};

#[derive(Debug)]
struct Buffer {
    text: Vec<u8>,
    room: u32,
}

impl Request for Buffer {
    fn readable(&self) -> Vec<u8> {
        self.text.clone()
    }

    fn room(&self) -> u32 {
        self.room
    }
}

impl<'a> Arbitrary<'a> for Buffer {
    fn arbitrary(u: &mut Unstructured<'a>) -> Result<Buffer> {
        let mut text = u.arbitrary::<Vec<u8>>()?;
        if u.ratio(1, 8)? {
            // Longer than a line may be, and than a buffer may be.
            text.resize(usize::from(u.arbitrary::<u16>()?) + MAX_LINE_BYTES, b'x');
        }
        let room = u32::from(u.arbitrary::<u8>()?);
        Ok(Buffer { text, room })
    }
}

#[derive(Debug, Arbitrary)]
enum Poke {
    Type(Vec<u8>),
    TypeMuch,
    PowerLost,
    Attach(u64),
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Terminal {
    device: ConsoleVirtio,
    console: Console,
}

impl Machine for Terminal {
    type Device = ConsoleVirtio;
    type Request = Buffer;
    type Poke = Poke;
    const DEVICES: usize = 1;
    // 128 lines of at most 512 bytes, each of which may be shown with 6 (`\u{7f}`), the end of the
    // output and what was typed.
    const MOST_BYTES: usize = 128 * 512 * 6 + (64 << 10);

    fn device(&mut self, _index: usize) -> (&mut ConsoleVirtio, &mut Console) {
        (&mut self.device, &mut self.console)
    }

    /// Buffers that wait for input.
    fn may_keep(queue: usize) -> bool {
        queue == 0
    }

    fn poke(&mut self, poke: &Poke, now: Nanos, events: &mut Vec<DeviceEvent>) -> Poked {
        match poke {
            Poke::Type(bytes) => {
                self.console.type_bytes(now, bytes);
            }
            Poke::TypeMuch => {
                self.console.type_bytes(now, &[b'y'; 3000]);
            }
            Poke::PowerLost => {
                events.extend(self.console.power_lost().map(DeviceEvent::ConsoleLine));
                return Poked::Reset;
            }
            Poke::Attach(from) => {
                let shown = self.console.output_since(*from);
                events.push(DeviceEvent::Notice(format!("{} bytes", shown.len())));
            }
        }
        Poked::Running
    }
}

fuzz_target!(|script: Script<Buffer, Poke>| {
    let (device, console) = (ConsoleVirtio::default(), Console::default());
    drive(&script, &Terminal { device, console });
});
