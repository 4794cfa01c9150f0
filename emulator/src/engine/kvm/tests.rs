//! The own VMM against a small ROM: what the reference firmware never does, and no other engine needs to tell.

use super::KvmEngine;
use crate::engine::test_rom::{HANG_LIMIT, rom, slots};
use crate::engine::{Engine, Reset, Stop};
use crate::slot::Slot;
use virtio_queue::QueueT;

fn board(task: u32) -> (KvmEngine, Vec<Slot>) {
    let mut engine =
        KvmEngine::new(16, rom(), HANG_LIMIT).expect("this machine has no usable /dev/kvm");
    let mut slots = slots(task);
    engine.reset(Reset::Cold, &mut slots).unwrap();
    (engine, slots)
}

fn count(engine: &KvmEngine) -> u32 {
    use vm_memory::{Bytes, GuestAddress};
    engine.memory().read_obj(GuestAddress(0x9000)).unwrap()
}

#[test]
fn runs_from_the_reset_vector_to_a_notification() {
    let (mut engine, mut slots) = board(0);
    for expected in 1..=3 {
        assert_eq!(
            engine.run(&mut slots).unwrap(),
            Stop::Notified { slot: 0, queue: 0 }
        );
        assert_eq!(count(&engine), expected);
    }
    assert_eq!(engine.counters().notifications, 3);
    engine.reset(Reset::Warm, &mut slots).unwrap();
    engine.run(&mut slots).unwrap();
    assert_eq!(count(&engine), 4, "a warm reset keeps RAM");
    engine.reset(Reset::Cold, &mut slots).unwrap();
    engine.run(&mut slots).unwrap();
    assert_eq!(count(&engine), 1, "a cold reset clears RAM");
}

#[test]
fn a_restored_cpu_goes_on_where_it_was_saved() {
    let (mut engine, mut slots) = board(0);
    for _ in 0..5 {
        engine.run(&mut slots).unwrap();
    }
    let saved = engine.save(None).unwrap();
    let straight: Vec<u32> = (0..3).map(|_| step(&mut engine, &mut slots)).collect();
    engine.restore(&saved).unwrap();
    let again: Vec<u32> = (0..3).map(|_| step(&mut engine, &mut slots)).collect();
    let (mut other, mut other_slots) = board(0);
    other.restore(&saved).unwrap();
    let elsewhere: Vec<u32> = (0..3).map(|_| step(&mut other, &mut other_slots)).collect();
    assert_eq!(straight, [6, 7, 8]);
    assert_eq!(again, straight);
    assert_eq!(elsewhere, straight);
}

fn step(engine: &mut KvmEngine, slots: &mut [Slot]) -> u32 {
    engine.run(slots).unwrap();
    count(engine)
}

#[test]
fn broken_register_rules_are_noted_and_harm_nobody() {
    let (mut engine, mut slots) = board(5);
    assert_eq!(
        engine.run(&mut slots).unwrap(),
        Stop::Notified { slot: 1, queue: 9 }
    );
    assert!(!slots[1].live, "DRIVER_OK without features");
    assert_eq!(
        slots[1].driver_faults.len(),
        3,
        "{:?}",
        slots[1].driver_faults
    );
    assert_eq!(
        engine.counters().collected_writes,
        3,
        "QueueNum and a queue address cost no exit"
    );
    assert_eq!(slots[1].queues[0].size(), 4, "and were not lost");
}

#[test]
fn the_rom_cannot_be_written_and_who_tries_is_seen() {
    let (mut engine, mut slots) = board(6);
    let before = engine.rom();
    for _ in 0..20 {
        let stop = engine.run(&mut slots).unwrap();
        assert_eq!(stop, Stop::Notified { slot: 0, queue: 0 });
    }
    assert!(engine.rom() == before);
    let told = &slots[0].driver_faults;
    assert_eq!(told[0], "a write to the boot ROM at 0xffff8000");
    assert_eq!(told[1], "a write to the boot ROM at 0xf8000");
    assert_eq!(told.len(), 16, "nobody has read them yet");
}

#[test]
fn one_bit_of_the_rom_reads_wrong_until_it_is_mended() {
    let (mut engine, _) = board(0);
    let whole = engine.rom();
    let wrong = |engine: &KvmEngine| -> Vec<usize> {
        let rom = engine.rom();
        (0..rom.len()).filter(|at| rom[*at] != whole[*at]).collect()
    };
    engine.break_rom(Some(0x8000));
    engine.break_rom(Some(0x8000));
    assert_eq!(wrong(&engine), [0x8000]);
    engine.break_rom(Some(0xffff));
    assert_eq!(wrong(&engine), [0xffff]);
    engine.break_rom(None);
    assert!(wrong(&engine).is_empty());
}

#[test]
fn a_rom_over_64_kib_is_refused() {
    assert!(KvmEngine::new(16, &[0; 65537], HANG_LIMIT).is_err());
}
