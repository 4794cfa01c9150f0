//! How a level begins and how it dies.

use core::fmt::{self, Write};
use core::panic::PanicInfo;

/// Transmit register of the 16550 (board manual §2).
const LAST_WORDS_PORT: u16 = 0x3f8;
/// Every byte is an exit, so last words are few.
const LAST_WORDS_BYTES: usize = 160;

/// Makes `main`, a `fn() -> !`, the program of a level: gives it a stack, the initial values of its
/// data, zeroed bss, and a panic handler that ends in a crash.
///
/// The level before jumps to the image's first byte at CPL 3 with paging as the ROM set it up; no
/// register means anything.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        // The linker scripts place .entry first and define the symbols; all lie below 4 GiB. In an
        // image that runs where it was loaded there is no data to copy.
        core::arch::global_asm!(
            ".section .entry, \"ax\"",
            ".global level_entry",
            "level_entry:",
            "cld",
            "movl $__stack_top, %esp",
            "xorl %ebp, %ebp",
            "movl $__data_load, %esi",
            "movl $__data_start, %edi",
            "movl $__data_copied, %ecx",
            "rep movsb",
            "movl $__bss_start, %edi",
            "movl $__bss_bytes, %ecx",
            "xorl %eax, %eax",
            "rep stosb",
            "call level_main",
            "ud2",
            ".text",
            options(att_syntax)
        );

        // SAFETY: `level_entry` above is its one caller, once, and the name is of this program.
        #[unsafe(no_mangle)]
        extern "C" fn level_main() -> ! {
            let main: fn() -> ! = $main;
            main()
        }

        #[cfg(panic = "abort")]
        #[panic_handler]
        fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
            $crate::entry::die(info)
        }
    };
}

/// Says why on the last-words port, then crashes: an undefined instruction without an IDT is a
/// triple fault, which the board reports with registers.
pub fn die(info: &PanicInfo<'_>) -> ! {
    let mut words = LastWords {
        left: LAST_WORDS_BYTES,
    };
    let _cut_short = match info.location() {
        Some(at) => write!(words, "panic {}:{} ", at.file(), at.line()),
        None => write!(words, "panic "),
    };
    let _cut_short = write!(words, "{}", info.message());
    words.put(b'\n');
    // SAFETY: does not return; that is its purpose.
    unsafe { core::arch::asm!("ud2", options(noreturn, nomem, nostack)) }
}

struct LastWords {
    left: usize,
}

impl LastWords {
    fn put(&mut self, byte: u8) {
        // SAFETY: the port belongs to nothing else, and IOPL is 3 (reset path).
        unsafe {
            core::arch::asm!("out dx, al", in("dx") LAST_WORDS_PORT, in("al") byte,
                options(nomem, nostack, preserves_flags));
        }
    }
}

impl Write for LastWords {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            self.left = self.left.checked_sub(1).ok_or(fmt::Error)?;
            self.put(byte);
        }
        Ok(())
    }
}

/// Jumps to the image at `entry`, for good.
///
/// # Safety
/// A whole, verified image must have been copied to its load address, with `entry` in it, outside
/// everything this level still needs; what it needs to know is in the hand-over page.
pub unsafe fn jump(entry: u32) -> ! {
    // SAFETY: by the contract above; the image sets up its own stack.
    unsafe {
        core::arch::asm!("jmp {entry}", entry = in(reg) u64::from(entry), options(noreturn));
    }
}
