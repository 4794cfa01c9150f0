use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

use super::{KEPT_BYTES, KEPT_LINES, MAX_INPUT_BYTES, MAX_LINE_BYTES};
use crate::time::Nanos;

/// The core: what firmware printed and what was typed for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Console {
    lines: VecDeque<String>,
    /// The line being printed.
    partial: Vec<u8>,
    /// The end of everything printed.
    recent: VecDeque<u8>,
    /// Bytes ever printed.
    printed: u64,
    input: VecDeque<u8>,
    typed_at: Nanos,
}

impl Console {
    /// The last complete lines, oldest first.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.lines.iter().map(String::as_str)
    }

    /// The line that is not complete yet.
    pub fn unfinished_line(&self) -> String {
        shown(&self.partial)
    }

    /// Bytes ever printed: the position of whoever has read everything.
    pub fn printed(&self) -> u64 {
        self.printed
    }

    /// What was printed from position `from` on, as far as it is remembered, as it was printed.
    pub fn output_since(&self, from: u64) -> Vec<u8> {
        let missed = usize::try_from(self.printed.saturating_sub(from)).unwrap_or(usize::MAX);
        let skipped = self.recent.len().saturating_sub(missed);
        self.recent.iter().skip(skipped).copied().collect()
    }

    /// Types at `now`; returns how many bytes there was room for.
    pub fn type_bytes(&mut self, now: Nanos, bytes: &[u8]) -> usize {
        let taken = bytes
            .len()
            .min(MAX_INPUT_BYTES - self.input.len().min(MAX_INPUT_BYTES));
        self.input.extend(&bytes[..taken]);
        if taken > 0 {
            self.typed_at = now;
        }
        taken
    }

    /// Bytes typed and not yet read by firmware.
    pub fn unread(&self) -> usize {
        self.input.len()
    }

    /// The board lost power: what was typed is gone, and a line it did not finish is as complete
    /// as it will ever be.
    pub fn power_lost(&mut self) -> Option<String> {
        self.input.clear();
        (!self.partial.is_empty()).then(|| self.end_line())
    }

    /// When something was last typed that is not yet read.
    pub(super) fn pending_since(&self) -> Option<Nanos> {
        (!self.input.is_empty()).then_some(self.typed_at)
    }

    /// Firmware printed; returns the lines that became complete.
    pub fn print(&mut self, bytes: &[u8]) -> Vec<String> {
        self.printed = self.printed.saturating_add(bytes.len() as u64);
        self.recent.extend(bytes);
        let surplus = self.recent.len().saturating_sub(KEPT_BYTES);
        self.recent.drain(..surplus);
        let mut complete = Vec::new();
        for byte in bytes {
            if *byte == b'\n' {
                complete.push(self.end_line());
                continue;
            }
            if self.partial.len() == MAX_LINE_BYTES {
                complete.push(self.end_line());
            }
            self.partial.push(*byte);
        }
        complete
    }

    /// Firmware reads up to `room` typed bytes.
    pub fn read(&mut self, room: usize) -> Vec<u8> {
        let n = room.min(self.input.len());
        self.input.drain(..n).collect()
    }

    /// What was typed and is not read yet.
    pub fn peek(&self) -> Vec<u8> {
        self.input.iter().copied().collect()
    }

    fn end_line(&mut self) -> String {
        let mut bytes = std::mem::take(&mut self.partial);
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        let line = shown(&bytes);
        self.lines.push_back(line.clone());
        let surplus = self.lines.len().saturating_sub(KEPT_LINES);
        self.lines.drain(..surplus);
        line
    }
}

/// A line as it may stand in a report: control characters would play tricks there.
fn shown(bytes: &[u8]) -> String {
    let mut line = String::with_capacity(bytes.len());
    for character in String::from_utf8_lossy(bytes).chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    line
}
