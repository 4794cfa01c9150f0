# From reset to the first Rust function: real mode, protected mode, long mode, ring 3.
#
# Ring 3 with IOPL 3, because a software KVM runs only that natively (board manual, section 1). There are no
# interrupts, so neither a TSS nor an IDT is needed: nothing ever comes back to ring 0.
#
# Linked at 0xffe00, the last 512 bytes of the ROM's alias. 16-bit code reaches the descriptor table
# through CS, whose base is 0xffff0000 after reset: offset 0xfe00 from there is the same byte.

.section .reset, "ax"
reset_start:
    .set SEGMENT_OFFSET, 0xfe00

.code16
start16:
    cli
    cld
    lgdtl %cs:(gdt_pointer - reset_start + SEGMENT_OFFSET)
    movl %cr0, %eax
    orl $1, %eax
    movl %eax, %cr0
    ljmpl $8, $start32

.balign 8
gdt:
    .quad 0
    .quad 0x00cf9b000000ffff    # 0x08: code, 32 bits, ring 0
    .quad 0x00cf93000000ffff    # 0x10: data, ring 0
    .quad 0x00af9b000000ffff    # 0x18: code, 64 bits, ring 0
    .quad 0x00cff3000000ffff    # 0x20: data, ring 3
    .quad 0x00affb000000ffff    # 0x28: code, 64 bits, ring 3
gdt_end:
gdt_pointer:
    .word gdt_end - gdt - 1
    .long gdt

# Identity mapping in pages of 2 MiB, for ring 3: RAM_PAGES of RAM, which the ROM that includes this
# sets, and 0xfea00000 up to 4 GiB (device
# slots and ROM). Entries that no access here needs are left as they are: clearing four pages in ring
# 0 would take longer than the rest of the reset path where ring 0 is emulated.
    .set PML4, 0x1000
    .set PDPT, 0x2000
    .set PD_LOW, 0x3000
    .set PD_HIGH, 0x4000
    .set TABLE, 0x27            # present, writable, user, accessed
    .set PAGE, 0xe7             # the same, dirty, 2 MiB
    .set DEVICES, 0xfea00000
    .set DEVICE_PAGES, 11

.code32
start32:
    movw $0x10, %ax
    movw %ax, %ds
    movw %ax, %es
    movw %ax, %ss
    xorl %edx, %edx
    movl $(PDPT + TABLE), PML4
    movl %edx, PML4 + 4
    movl $(PD_LOW + TABLE), PDPT
    movl %edx, PDPT + 4
    movl $(PD_HIGH + TABLE), PDPT + 3 * 8
    movl %edx, PDPT + 3 * 8 + 4

    movl $PD_LOW, %edi
    movl $PAGE, %eax
    movl $RAM_PAGES, %ecx
1:  movl %eax, (%edi)
    movl %edx, 4(%edi)
    addl $0x200000, %eax
    addl $8, %edi
    loop 1b

    # Of the fourth GiB; every entry is 2 MiB.
    movl $(PD_HIGH + (DEVICES - 0xc0000000) / 0x200000 * 8), %edi
    movl $(DEVICES + PAGE), %eax
    movl $DEVICE_PAGES, %ecx
1:  movl %eax, (%edi)
    movl %edx, 4(%edi)
    addl $0x200000, %eax
    addl $8, %edi
    loop 1b

    movl $0x620, %eax           # PAE, OSFXSR, OSXMMEXCPT
    movl %eax, %cr4
    movl $PML4, %eax
    movl %eax, %cr3
    movl $0xc0000080, %ecx      # EFER.LME
    rdmsr
    orl $0x100, %eax
    wrmsr
    movl $0x80000033, %eax      # PG, NE, ET, MP, PE
    movl %eax, %cr0
    ljmpl $0x18, $start64

.code64
start64:
    movl $__stack_top, %esp
    pushq $0x23                 # SS
    pushq $__stack_top
    pushq $0x3002               # RFLAGS: IOPL 3
    pushq $0x2b                 # CS
    pushq $level_entry
    iretq

.code16
    .org 0x1f0
.global reset_vector
reset_vector:
    jmp start16
    .org 0x200
.code64
