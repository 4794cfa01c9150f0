//! What every engine must make of a guest, whatever it is made of itself.

use std::sync::Arc;

use super::kvm::WINDOW_BASE;
use super::qemu::Accelerator;
use super::qemu::installation::Installation;
use super::test_rom::{HANG_LIMIT, rom, slots};
use super::{Engine, EngineChoice, Hardware, Reset, Stop};
use crate::rig::{Boot, Machine};
use crate::slot::Slot;

fn each_engine(check: impl Fn(&str, &mut dyn FnMut(u32) -> (Box<dyn Engine>, Vec<Slot>))) {
    let installation = Installation::find().unwrap_or_else(|missing| panic!("{missing}"));
    let qemu = EngineChoice::Qemu {
        installation: Arc::new(installation),
        accelerator: Accelerator::Tcg,
        debugging: None,
    };
    for choice in [EngineChoice::Kvm, qemu] {
        let name = choice.to_string();
        check(&name, &mut |task| {
            let hardware = Hardware {
                machine: Machine::Ab1,
                boot: Boot::default(),
                ram_mib: 16,
                rom: Arc::from(rom()),
                hang_limit: HANG_LIMIT,
                slot: 0,
            };
            let mut engine = choice.build(&hardware).unwrap();
            let mut slots = slots(task);
            engine.reset(Reset::Cold, &mut slots).unwrap();
            (engine, slots)
        });
    }
}

#[test]
fn an_undefined_instruction_is_a_crash_with_registers() {
    each_engine(|name, board| {
        let (mut engine, mut slots) = board(1);
        for boot in 1..=2 {
            let Stop::Crashed(report) = engine.run(&mut slots).unwrap() else {
                panic!("{name}: no crash in boot {boot}")
            };
            assert_eq!(report.cause, "triple fault", "{name}");
            assert_eq!(report.general[1], WINDOW_BASE, "{name}: ebx");
            assert_eq!(report.cs, 8, "{name}");
            engine.reset(Reset::Cold, &mut slots).unwrap();
        }
    });
}

#[test]
fn a_spinning_cpu_is_hung_and_can_be_reset() {
    each_engine(|name, board| {
        let (mut engine, mut slots) = board(2);
        for _ in 1..=2 {
            let stop = engine.run(&mut slots).unwrap();
            assert!(matches!(stop, Stop::Hung(_)), "{name}: {stop:?}");
            engine.reset(Reset::Cold, &mut slots).unwrap();
        }
    });
}

#[test]
fn halt_and_last_words_are_stops() {
    each_engine(|name, board| {
        let (mut engine, mut slots) = board(3);
        assert_eq!(engine.run(&mut slots).unwrap(), Stop::Halted, "{name}");
        let (mut engine, mut slots) = board(4);
        let Stop::Printed(words) = engine.run(&mut slots).unwrap() else {
            panic!("{name}: no words")
        };
        assert_eq!(words.first(), Some(&b'A'), "{name}");
    });
}

#[test]
fn a_cpu_that_was_switched_off_boots_again() {
    each_engine(|name, board| {
        let (mut engine, mut slots) = board(3);
        engine.power_off();
        engine.rest();
        engine.power_off();
        assert_eq!(engine.counters().exits, 0, "{name}");
        engine.reset(Reset::Warm, &mut slots).unwrap();
        engine.rest();
        assert_eq!(engine.run(&mut slots).unwrap(), Stop::Halted, "{name}");
    });
}
