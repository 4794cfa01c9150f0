//! The engine against small ROMs written for it: what the reference firmware never does.

use std::arch::global_asm;
use std::time::Duration;

use super::{KvmEngine, WINDOW_BASE};
use crate::engine::{Engine, Reset, Stop};
use crate::slot::{Face, Slot};
use virtio_queue::QueueT;

// A ROM that does one thing, chosen by the configuration space of slot 1, in 32-bit mode:
// 0: count in memory and notify slot 0 for ever; 1: undefined instruction; 2: spin; 3: halt;
// 4: one byte to the UART; 5: break every rule of the registers, then notify; 6: write to the ROM in
// both its places, then notify.
global_asm!(
    ".pushsection .rodata.test_rom, \"a\"",
    ".global arraybench_test_rom_start",
    ".global arraybench_test_rom_end",
    ".code16",
    "arraybench_test_rom_start:",
    "2: cli",
    "lgdtl %cs:(5f - 2b)",
    "mov %cr0, %eax",
    "or $1, %eax",
    "mov %eax, %cr0",
    "ljmpl $8, $(0xffff0000 + (3f - 2b))",
    ".balign 8",
    "4: .quad 0",
    ".quad 0x00cf9b000000ffff",
    ".quad 0x00cf93000000ffff",
    "5: .word 23",
    ".long 0xffff0000 + (4b - 2b)",
    ".code32",
    "3: mov $16, %ax",
    "mov %ax, %ds",
    "mov %ax, %ss",
    "mov $0x8000, %esp",
    "mov $0xfeb00000, %ebx",
    "mov 0x300(%ebx), %ecx",
    "cmp $1, %ecx",
    "je 11f",
    "cmp $2, %ecx",
    "je 12f",
    "cmp $3, %ecx",
    "je 13f",
    "cmp $4, %ecx",
    "je 14f",
    "cmp $5, %ecx",
    "je 15f",
    "cmp $6, %ecx",
    "je 16f",
    "6: incl 0x9000",
    "movl $0, 0x50(%ebx)",
    "jmp 6b",
    "11: ud2",
    "12: jmp 12b",
    "13: hlt",
    "14: mov $0x3f8, %dx",
    "mov $0x41, %al",
    "out %al, %dx",
    "jmp 14b",
    "15: movl $0x0f, 0x270(%ebx)",
    "movb $1, 0x270(%ebx)",
    "movl $99, 0x230(%ebx)",
    "movl $1, 0x244(%ebx)",
    "movl $0xffffffff, 0x280(%ebx)",
    "movl $0, 0x230(%ebx)",
    "movl $4, 0x238(%ebx)",
    "movl $3, 0x238(%ebx)",
    "movl $1, 0x244(%ebx)",
    "movl $7, 0x3fc(%ebx)",
    "movl $7, 0x2e00(%ebx)",
    "movl $9, 0x250(%ebx)",
    "jmp 15b",
    "16: movl $7, 0xffff8000",
    "movl $7, 0xf8000",
    "movl $0, 0x50(%ebx)",
    "jmp 16b",
    ".org arraybench_test_rom_start + 0xfff0",
    ".code16",
    "ljmpw $0xf000, $0",
    ".org arraybench_test_rom_start + 0x10000",
    "arraybench_test_rom_end:",
    ".code64",
    ".popsection",
    options(att_syntax)
);

unsafe extern "C" {
    static arraybench_test_rom_start: [u8; 0x10000];
}

const HANG_LIMIT: Duration = Duration::from_millis(200);

fn board(task: u32) -> (KvmEngine, Vec<Slot>) {
    // SAFETY: the assembly above defines 64 KiB of read-only bytes at this symbol.
    let rom = unsafe { &arraybench_test_rom_start };
    let mut engine =
        KvmEngine::new(16, rom, HANG_LIMIT).expect("this machine has no usable /dev/kvm");
    let mut slots: Vec<Slot> = (0..24).map(|_| Slot::default()).collect();
    let face = |config: Vec<u8>| Face {
        device_id: 38,
        features: devices::virtio::F_VERSION_1,
        queue_sizes: vec![16],
        config,
        generation: 0,
        wants_notify: true,
    };
    slots[0].fit(face(Vec::new()));
    slots[1].fit(face(task.to_le_bytes().to_vec()));
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
fn an_undefined_instruction_is_a_crash_with_registers() {
    let (mut engine, mut slots) = board(1);
    let Stop::Crashed(report) = engine.run(&mut slots).unwrap() else {
        panic!("no crash")
    };
    assert_eq!(report.general[1], WINDOW_BASE, "ebx");
    engine.reset(Reset::Cold, &mut slots).unwrap();
    assert!(
        matches!(engine.run(&mut slots).unwrap(), Stop::Crashed(_)),
        "and again after a reset"
    );
}

#[test]
fn a_spinning_cpu_is_hung_and_can_be_reset() {
    let (mut engine, mut slots) = board(2);
    assert!(matches!(engine.run(&mut slots).unwrap(), Stop::Hung(_)));
    engine.reset(Reset::Cold, &mut slots).unwrap();
    assert!(matches!(engine.run(&mut slots).unwrap(), Stop::Hung(_)));
}

#[test]
fn halt_and_last_words_are_stops() {
    let (mut engine, mut slots) = board(3);
    assert_eq!(engine.run(&mut slots).unwrap(), Stop::Halted);
    let (mut engine, mut slots) = board(4);
    assert_eq!(engine.run(&mut slots).unwrap(), Stop::LastWord(b'A'));
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
