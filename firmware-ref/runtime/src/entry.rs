//! How a level begins and how it dies.

use core::fmt::Write;
use core::panic::PanicInfo;

use words::{Line, Words};

/// Transmit register of the 16550 (board manual §2).
const LAST_WORDS_PORT: u16 = 0x3f8;
/// Every byte is an exit, so last words are few.
const LAST_WORDS_BYTES: usize = 160;

/// Makes `main`, a `fn() -> !`, the program of a level: gives it a stack, the initial values of its
/// data, zeroed bss, and a panic handler that ends in a crash.
///
/// The level before jumps to the image's first byte at CPL 3 with paging as the ROM set it up; no
/// register means anything.
///
/// Another handler of panics may be named behind it: [`die_in_few_words`].
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        $crate::entry!($main, $crate::entry::die);
    };
    ($main:path, $die:path) => {
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
            $die(info)
        }
    };
}

/// Says why on the last-words port, then crashes: an undefined instruction without an IDT is a
/// triple fault, which the board reports with registers.
pub fn die(info: &PanicInfo<'_>) -> ! {
    let mut line = Line::default();
    // What does not fit is left out.
    let _cut_short = match info.location() {
        Some(at) => write!(line, "panic {}:{} ", at.file(), at.line()),
        None => write!(line, "panic "),
    };
    let _cut_short = write!(line, "{}", info.message());
    crash(&line)
}

/// The same for a program that has no room for `core::fmt`: where, and not what.
pub fn die_in_few_words(info: &PanicInfo<'_>) -> ! {
    let mut line = Line::default();
    line.put("panic ");
    if let Some(at) = info.location() {
        line.put(at.file());
        line.put(":");
        line.put_number(at.line());
    }
    crash(&line)
}

/// Says `what`, and why, on the last-words port, then crashes.
pub fn last_words(what: &str, why: &dyn Words) -> ! {
    let mut line = Line::default();
    line.put(what);
    why.say(&mut line);
    crash(&line)
}

fn crash(line: &Line) -> ! {
    let words = line.as_bytes().iter().take(LAST_WORDS_BYTES);
    for byte in words.chain(b"\n") {
        // SAFETY: the port belongs to nothing else, and IOPL is 3 (reset path).
        unsafe {
            core::arch::asm!("out dx, al", in("dx") LAST_WORDS_PORT, in("al") *byte,
                options(nomem, nostack, preserves_flags));
        }
    }
    // SAFETY: does not return; that is its purpose.
    unsafe { core::arch::asm!("ud2", options(noreturn, nomem, nostack)) }
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
