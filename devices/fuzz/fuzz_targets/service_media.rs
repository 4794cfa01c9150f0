//! Two hostile guests at one service media slot, while an operator changes what is in it.
#![no_main]

use arbitrary::Arbitrary;
use arraybench_devices_fuzz::block::BlockRequest;
use arraybench_devices_fuzz::{Machine, Poked, Script, drive};
use devices::block::BlockVirtio;
use devices::event::DeviceEvent;
use devices::service_media::ServiceMedia;
use devices::time::Nanos;
use libfuzzer_sys::fuzz_target;
use serde::{Deserialize, Serialize};

#[derive(Debug, Arbitrary)]
enum Poke {
    Insert { label: String, bytes: u16 },
    Eject,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Slot {
    ports: [BlockVirtio<ServiceMedia>; 2],
    media: ServiceMedia,
}

impl Machine for Slot {
    type Device = BlockVirtio<ServiceMedia>;
    type Request = BlockRequest;
    type Poke = Poke;
    const DEVICES: usize = 2;
    // The medium, and what 2 × 128 requests can hold of it.
    const MOST_BYTES: usize = 64 << 20;

    fn device(&mut self, index: usize) -> (&mut BlockVirtio<ServiceMedia>, &mut ServiceMedia) {
        (&mut self.ports[index], &mut self.media)
    }

    fn may_keep(_queue: usize) -> bool {
        false
    }

    fn poke(&mut self, poke: &Poke, _now: Nanos, _events: &mut Vec<DeviceEvent>) -> Poked {
        match poke {
            Poke::Insert { label, bytes } => {
                self.media
                    .insert(label, vec![7; usize::from(*bytes)].into());
            }
            Poke::Eject => self.media.eject(),
        }
        Poked::Running
    }
}

fuzz_target!(|script: Script<BlockRequest, Poke>| {
    let mut media = ServiceMedia::default();
    media.insert("package", vec![1; 20_000].into());
    let ports = [BlockVirtio::new(0), BlockVirtio::new(1)];
    drive(&script, &Slot { ports, media });
});
