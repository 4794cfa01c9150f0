//! A small ROM for tests of engines: what the reference firmware never does.

use std::arch::global_asm;
use std::time::Duration;

use crate::slot::{Face, Slot};

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

/// The ROM.
pub(super) fn rom() -> &'static [u8] {
    // SAFETY: the assembly above defines 64 KiB of read-only bytes at this symbol.
    unsafe { &arraybench_test_rom_start }
}

pub(super) const HANG_LIMIT: Duration = Duration::from_millis(200);

/// Slots in which the ROM finds what it is to do.
pub(super) fn slots(task: u32) -> Vec<Slot> {
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
    slots
}
