//! Checkpoints as files: a good one, changed anywhere, is refused or is an array that goes on. Without an
//! engine only the reading is tried.
#![no_main]

use std::sync::LazyLock;

use arbitrary::Arbitrary;
use devices::power::Shape;
use devices::time::Nanos;
use emulator::array::{Array, PowerDomain, SavedArray, Storage};
use emulator::engine::EngineChoice;
use emulator::rig::{Bytes, Rig};
use harness::provision;
use libfuzzer_sys::fuzz_target;

/// Instants that a restored array lives.
const INSTANTS: usize = 20;

#[derive(Debug, Arbitrary)]
struct Change {
    at: u32,
    to: Vec<u8>,
}

/// A small array on an engine, if this machine has one.
fn array() -> Option<Array> {
    let mut rig = Rig {
        name: "small".to_owned(),
        slots: 2,
        ..Rig::default()
    };
    rig.board.ram_mib = 2;
    rig.shelf.member_size = Bytes::mib(1);
    let roms = provision::roms(&rig).ok()?;
    Array::of_rig(&rig, &EngineChoice::Kvm, &roms, &Storage::Memory, 1).ok()
}

/// It, in the middle of something.
static GOOD: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let saved = array().and_then(|mut array| {
        array.power_on(PowerDomain::CHASSIS);
        for _ in 0..40 {
            array.step(Nanos::from_millis(20)).ok()?;
        }
        array.save(None).ok()?.to_bytes().ok()
    });
    saved.unwrap_or_else(|| b"ABCKPT\0\x01".to_vec())
});

fuzz_target!(|changes: Vec<Change>| {
    let mut bytes = GOOD.clone();
    for Change { at, to } in &changes {
        let at = usize::try_from(*at).unwrap_or(0) % bytes.len();
        for (place, byte) in bytes[at..].iter_mut().zip(to) {
            *place = *byte;
        }
    }
    let Ok(saved) = SavedArray::from_bytes(&bytes) else {
        return;
    };
    let again = saved.to_bytes().expect("it was read");
    assert_eq!(SavedArray::from_bytes(&again).ok(), Some(saved.clone()));
    let Some(mut array) = array() else { return };
    if array.restore(&saved).is_ok() {
        for _ in 0..INSTANTS {
            if array.step(Nanos::NEVER).is_err() {
                return;
            }
        }
        array.power_cut(PowerDomain::CHASSIS, Shape::Torn);
        array.power_on(PowerDomain::CHASSIS);
        for _ in 0..INSTANTS {
            if array.step(Nanos::NEVER).is_err() {
                return;
            }
        }
    }
});
