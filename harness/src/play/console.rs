//! Typing on a board's console, and what it prints.

use devices::time::Nanos;
use emulator::array::Source;
use emulator::board::Cpu;
use emulator::rig::Slot;

use super::act::describe;
use super::{Answered, PlayError, Player, answered, failed, index};
use crate::scenario::{Answer, ConsoleStep, Socket, Step};
use crate::stage::{Stage, Waited};

/// A console that prints nothing for so long has said all: lines of one answer come with the time
/// between them that a board needs to look into its flash.
const CONSOLE_QUIET: Nanos = Nanos::from_millis(100);
/// Lines of an answer that a message shows, the last ones.
const ANSWER_SHOWN: usize = 20;

impl Player<'_> {
    /// Types a line, and waits for what the step expects to be answered.
    pub(super) fn console(
        &mut self,
        step: &Step,
        console: &ConsoleStep,
    ) -> Result<Vec<Answered>, PlayError> {
        let slot = index(console.board);
        let before = self.stage.console(slot).len();
        let now = self.stage.array.now();
        // A serial port hears what the key of a terminal sends.
        let end = if self.stage.array.runs_freely() {
            '\r'
        } else {
            '\n'
        };
        let line = format!("{}{end}", console.line);
        self.stage.note(
            &console.board.to_string(),
            format!("typed {:?}", console.line),
        );
        // What is there by now is no answer.
        self.read[slot] = self.stage.console_end(slot);
        let board = self.stage.array.board_mut(Source::Board(slot))?;
        if board.console_mut().type_bytes(now, line.as_bytes()) < line.len() {
            let why = format!("{} reads nothing: no room to type more", console.board);
            return Ok(failed(step, why));
        }
        if console.answer == Answer::Later {
            return Ok(Vec::new());
        }
        let deadline = self.deadline(console.within.0);
        let found = |stage: &Stage| {
            let lines = stage.console(slot).get(before..).unwrap_or_default();
            match &console.answer {
                // Nobody will answer any more.
                Answer::Unasked | Answer::Later => !lines.is_empty() || is_dead(stage, slot),
                Answer::Contains(part) => lines.iter().any(|line| line.contains(part)),
                Answer::Lines(wanted) => {
                    wanted.is_empty() || lines.windows(wanted.len()).any(|seen| seen == wanted)
                }
            }
        };
        let waited = self.stage.run_until(deadline, found)?;
        if console.answer == Answer::Unasked {
            self.until_console_is_quiet(slot, deadline)?;
            let board = self.stage.array.board_mut(Source::Board(slot))?;
            if board.console().unread() == 0 {
                return Ok(Vec::new());
            }
            let state = describe(&self.stage, Socket::Slot(console.board), &self.scenario.rig);
            let why = format!("{:?} was not read: {state}", console.line);
            return Ok(failed(step, why));
        }
        let met = matches!(waited, Waited::Met(_));
        let seen = self.stage.console(slot).get(before..).unwrap_or_default();
        let skipped = seen.len().saturating_sub(ANSWER_SHOWN);
        let shown = seen.get(skipped..).unwrap_or_default();
        let before = match skipped {
            0 => String::new(),
            _ => format!("{skipped} lines and "),
        };
        let message = format!("{:?} answered {before}{shown:?}", console.line);
        if met && self.stage.array.runs_freely() {
            self.note_printed(console);
        }
        Ok(vec![answered("console", met, message)])
    }

    /// Of boards that run freely a golden has those lines alone that were asked for.
    fn note_printed(&mut self, console: &ConsoleStep) {
        let lines = match &console.answer {
            Answer::Contains(part) => std::slice::from_ref(part),
            Answer::Lines(lines) => lines.as_slice(),
            Answer::Unasked | Answer::Later => &[],
        };
        for line in lines {
            let who = console.board.to_string();
            self.stage.note(&who, format!("printed {line:?}"));
        }
    }

    fn until_console_is_quiet(&mut self, slot: usize, deadline: Nanos) -> Result<(), PlayError> {
        loop {
            let before = self.stage.console(slot).len();
            let quiet = (self.stage.array.now() + CONSOLE_QUIET).min(deadline);
            let waited = self
                .stage
                .run_until(quiet, |stage| stage.console(slot).len() > before)?;
            if !matches!(waited, Waited::Met(_)) {
                return Ok(());
            }
        }
    }

    /// Waits until a board has printed `text` since it was last typed to or awaited.
    pub(super) fn await_text(
        &mut self,
        text: &str,
        board: Slot,
        within: Nanos,
    ) -> Result<Vec<Answered>, PlayError> {
        let slot = index(board);
        let deadline = self.deadline(within);
        let mut read = self.read[slot];
        let waited = self.stage.run_until(deadline, |stage| {
            let found = stage.find_on_console(slot, read, text);
            read = found.unwrap_or_else(|reached| reached);
            found.is_ok()
        })?;
        self.read[slot] = read;
        let met = matches!(waited, Waited::Met(_));
        let message = match waited {
            Waited::Met(at) => format!("{board} printed {text:?} at {at}"),
            _ => {
                let last = self.stage.last_words(slot);
                format!("{board} did not print {text:?} within {within} s; the last was {last:?}")
            }
        };
        if met {
            self.stage
                .note(&board.to_string(), format!("printed {text:?}"));
        }
        Ok(vec![answered("await_text", met, message)])
    }
}

/// Whether nothing the board's firmware could do comes any more by itself.
fn is_dead(stage: &Stage, slot: usize) -> bool {
    let board = stage.array.boards().get(slot);
    board.is_none_or(|board| !matches!(board.cpu(), Cpu::Live | Cpu::InReset))
}
