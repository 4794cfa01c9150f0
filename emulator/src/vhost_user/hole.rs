//! Memory that a peer shares and then takes away: it cut the file short that is mapped here.
//!
//! Touching such a page is a SIGBUS, which would end the process and with it the service to everybody else. So the
//! ranges that are mapped from a peer's files are noted, and a handler puts a page of zeros where one of them
//! has a hole. What the device reads there is nonsense then, as from any hostile driver.

use std::ops::Range;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use libc::{c_int, c_void, siginfo_t};

/// Most ranges at a time: a front-end has up to 32, and there are few front-ends.
const RANGES: usize = 256;
const PAGE_BYTES: usize = 4096;

/// First byte and the one after the last; both zero: free. A range is taken by setting its end, and counts once
/// its start is set too.
struct Noted {
    start: AtomicUsize,
    end: AtomicUsize,
}

static NOTED: [Noted; RANGES] = [const {
    Noted {
        start: AtomicUsize::new(0),
        end: AtomicUsize::new(0),
    }
}; RANGES];
static FILLED: AtomicBool = AtomicBool::new(false);
static HANDLER: Once = Once::new();

/// A mapped range in which holes are filled, as long as this lives.
#[derive(Debug)]
pub(super) struct Guarded {
    index: usize,
}

impl Guarded {
    /// Guards `range`. None where there are too many already.
    pub(super) fn new(range: &Range<usize>) -> Option<Guarded> {
        HANDLER.call_once(|| {
            // Without the handler a hole ends the process, as it would have anyway.
            let _ = vmm_sys_util::signal::register_signal_handler(libc::SIGBUS, fill);
        });
        let free = |noted: &Noted| {
            noted
                .end
                .compare_exchange(0, range.end, Ordering::SeqCst, Ordering::SeqCst)
                .is_ok()
        };
        let index = NOTED.iter().position(free)?;
        NOTED.get(index)?.start.store(range.start, Ordering::SeqCst);
        Some(Guarded { index })
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if let Some(noted) = NOTED.get(self.index) {
            noted.start.store(0, Ordering::SeqCst);
            noted.end.store(0, Ordering::SeqCst);
        }
    }
}

/// Whether a hole was filled since this was last asked.
pub(super) fn was_filled() -> bool {
    FILLED.load(Ordering::Relaxed) && FILLED.swap(false, Ordering::Relaxed)
}

/// Only what is allowed in a signal handler (signal-safety(7)): atomics and system calls.
extern "C" fn fill(_signal: c_int, info: *mut siginfo_t, _context: *mut c_void) {
    // SAFETY: the kernel passes a siginfo that is valid while the handler runs; SIGBUS has an address.
    let address = unsafe { (*info).si_addr() } as usize;
    let inside = NOTED.iter().any(|noted| {
        let start = noted.start.load(Ordering::SeqCst);
        start != 0 && (start..noted.end.load(Ordering::SeqCst)).contains(&address)
    });
    if inside {
        let page = address & !(PAGE_BYTES - 1);
        // SAFETY: the page lies in a range that is mapped shared from a peer's file and used through volatile
        // accesses only (`Guarded::new`); one page of it is replaced by zeros, which is no more than what
        // the peer can do to it at any time.
        let filled = unsafe {
            libc::mmap(
                page as *mut c_void,
                PAGE_BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED,
                -1,
                0,
            )
        };
        if filled != libc::MAP_FAILED {
            FILLED.store(true, Ordering::Relaxed);
            return;
        }
    }
    // Not ours, or beyond help: the access is made again, with the default action.
    // SAFETY: signal(2) is allowed here, and SIG_DFL is a valid action.
    unsafe { libc::signal(libc::SIGBUS, libc::SIG_DFL) };
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use rustix::fs::{MemfdFlags, ftruncate, memfd_create};
    use vm_memory::{FileOffset, MmapRegion, VolatileMemory};

    use super::*;

    #[test]
    fn a_page_taken_away_reads_as_zeros_and_the_rest_stays() {
        let file = File::from(memfd_create("hole", MemfdFlags::CLOEXEC).unwrap());
        ftruncate(&file, 3 * 4096).unwrap();
        let offset = FileOffset::new(file.try_clone().unwrap(), 0);
        let region = MmapRegion::<()>::from_file(offset, 3 * 4096).unwrap();
        let start = region.as_ptr() as usize;
        let guarded = Guarded::new(&(start..start + region.size())).unwrap();
        for page in 0..3 {
            let at = region.get_ref::<u64>(page * 4096 + 8).unwrap();
            at.store(7);
        }
        ftruncate(&file, 4096).unwrap();
        let read = |at| region.get_ref::<u64>(at).unwrap().load();
        assert_eq!((read(8), read(4096 + 8), read(2 * 4096 + 8)), (7, 0, 0));
        assert!(was_filled());
        drop(guarded);
    }
}
