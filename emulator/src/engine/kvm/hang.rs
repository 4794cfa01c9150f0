//! Finds a CPU that runs without ever touching a device.
//!
//! A timer on the thread's own CPU clock interrupts KVM_RUN now and then; CPU time, not wall time,
//! so that a loaded machine never makes a healthy board look hung. What a board shows never
//! depends on it: only a board that would run for ever is affected.

use std::cell::OnceCell;
use std::time::Duration;

/// How often KVM_RUN is interrupted, in CPU time.
const TICK: Duration = Duration::from_millis(20);

thread_local! {
    static TIMER: OnceCell<bool> = const { OnceCell::new() };
}

extern "C" fn interrupt(_signal: libc::c_int) {}

/// Makes sure this thread's KVM_RUN is interrupted every [`TICK`] of CPU time. False where the host has
/// no such timer; then a hung board hangs its thread.
pub(super) fn arm_this_thread() -> bool {
    TIMER.with(|timer| *timer.get_or_init(start_timer))
}

/// CPU time this thread has used.
pub(super) fn cpu_time() -> Duration {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is a valid place for the answer.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut now) };
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u32::try_from(now.tv_nsec).unwrap_or(0);
    Duration::new(seconds, nanos)
}

fn start_timer() -> bool {
    let signal = libc::SIGRTMIN();
    // SAFETY: an all-zero sigaction is a valid one; the handler does nothing, and without
    // SA_RESTART system calls return EINTR, which every caller here handles.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = interrupt as *const () as usize;
        if libc::sigaction(signal, &raw const action, std::ptr::null_mut()) != 0 {
            return false;
        }
        let mut event: libc::sigevent = std::mem::zeroed();
        event.sigev_notify = libc::SIGEV_THREAD_ID;
        event.sigev_signo = signal;
        event.sigev_notify_thread_id = libc::gettid();
        let mut timer: libc::timer_t = std::ptr::null_mut();
        let clock = libc::CLOCK_THREAD_CPUTIME_ID;
        if libc::timer_create(clock, &raw mut event, &raw mut timer) != 0 {
            return false;
        }
        let tick = libc::timespec {
            tv_sec: 0,
            tv_nsec: i64::from(TICK.subsec_nanos()),
        };
        let setting = libc::itimerspec {
            it_interval: tick,
            it_value: tick,
        };
        libc::timer_settime(timer, 0, &raw const setting, std::ptr::null_mut()) == 0
    }
}
