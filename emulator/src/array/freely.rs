//! How an array of boards advances whose firmware knows no board control.
//!
//! Design §4: such boards are served as they come, and the clock follows real time. So nothing here is
//! deterministic but the order of what depends on each other, and a golden of such a run tells no times. This is the
//! one place below the harness where real time is looked at.

use std::time::{Duration, Instant};

use devices::board_control::{ResetKind, ResetReason};
use devices::time::Nanos;

use super::event::{EventKind, Source};
use super::{Array, ArrayError, Step};
use crate::board::Cpu;

/// Longest time without a look at what else is due: buttons are pressed between steps.
const LOOK: Duration = Duration::from_millis(10);

/// The clock of such an array: real time, except that nobody waits for a board that is off.
#[derive(Debug)]
pub(super) struct RealClock {
    began: Instant,
    skipped: Nanos,
}

impl RealClock {
    pub(super) fn new() -> RealClock {
        RealClock {
            began: Instant::now(),
            skipped: Nanos::ZERO,
        }
    }

    fn now(&self) -> Nanos {
        let elapsed = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Nanos(elapsed) + self.skipped
    }

    /// Goes on to `at` at once.
    fn skip_to(&mut self, at: Nanos) {
        let missing = at.0.saturating_sub(self.now().0);
        self.skipped += Nanos(missing);
    }
}

impl Array {
    /// Lets freely running boards run for a moment, at most to `until`.
    pub(super) fn step_freely(&mut self, until: Nanos) -> Result<Step, ArrayError> {
        self.look_at_clock();
        let noted = self.events.len();
        self.serve_all()?;
        if self.now >= until {
            return Ok(Step::Idle);
        }
        let next = self.deadline().unwrap_or(Nanos::NEVER).min(until);
        let live: Vec<usize> = (0..self.boards.len())
            .filter(|slot| self.boards[*slot].runs_freely())
            .collect();
        if live.is_empty() {
            // Whoever waits may have waited for what just happened, such as the cut that took the power.
            if self.events.len() > noted {
                return Ok(Step::Advanced);
            }
            // Nobody is there for whom time would pass.
            if next == Nanos::NEVER {
                return Ok(Step::Idle);
            }
            self.skip_to(next);
            return Ok(Step::Advanced);
        }
        let share = u32::try_from(live.len()).unwrap_or(1);
        let until_next = Duration::from_nanos(next.0.saturating_sub(self.now.0));
        let patience = until_next.min(LOOK / share);
        for slot in live {
            self.hear_board(slot, patience)?;
        }
        Ok(Step::Advanced)
    }

    fn hear_board(&mut self, slot: usize, patience: Duration) -> Result<(), ArrayError> {
        let failed = |source| ArrayError::Engine {
            board: Source::Board(slot),
            source,
        };
        let stop = self.boards[slot].listen(patience).map_err(failed)?;
        self.look_at_clock();
        let mut notices = Vec::new();
        let board = &mut self.boards[slot];
        let answered = board.answer(stop, self.now, &mut self.shared, &mut notices);
        let halted = *board.cpu() == Cpu::Halted;
        self.note_board(slot, notices);
        if halted {
            self.note(Source::Board(slot), EventKind::Halted);
        }
        if let Some(ResetKind::Cold) = answered.map_err(failed)? {
            self.begin_reset(slot, ResetReason::Cold);
        }
        self.settle(slot);
        Ok(())
    }

    fn look_at_clock(&mut self) {
        if let Some(clock) = &self.real_clock {
            self.now = self.now.max(clock.now());
        }
    }

    fn skip_to(&mut self, at: Nanos) {
        if let Some(clock) = &mut self.real_clock {
            clock.skip_to(at);
        }
    }
}
