//! The slot an operator puts an upgrade package in: a read-only medium that comes and goes.
//!
//! * [`ServiceMedia`] — the core. Its virtio side is [`crate::block::BlockVirtio`].

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::block::{BlockCore, BlockError, Completion, Destination, Request, SECTOR_BYTES};
use crate::event::DeviceEvent;
use crate::time::Nanos;

/// How long the slot takes to answer a read, however large.
const READ_TIME: Nanos = Nanos::from_millis(1);

/// The slot and what is in it. Every controller sees it on a port of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceMedia {
    medium: Option<Medium>,
    next_ticket: u64,
    /// By ticket: port and answer.
    answers: BTreeMap<u64, (usize, Completion)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Medium {
    label: String,
    bytes: Arc<[u8]>,
}

impl ServiceMedia {
    /// Puts a medium in; one that was there is gone.
    pub fn insert(&mut self, label: &str, bytes: Arc<[u8]>) {
        self.medium = Some(Medium {
            label: label.to_owned(),
            bytes,
        });
    }

    /// Takes the medium out.
    pub fn eject(&mut self) {
        self.medium = None;
    }

    /// What the medium in the slot is called.
    pub fn label(&self) -> Option<&str> {
        self.medium.as_ref().map(|medium| medium.label.as_str())
    }

    fn read(
        &self,
        sector: u64,
        sectors: u32,
        into: &mut dyn Destination,
    ) -> Result<(), BlockError> {
        let medium = self.medium.as_ref().ok_or(BlockError::Failed)?;
        let start = sector
            .checked_mul(SECTOR_BYTES as u64)
            .and_then(|at| usize::try_from(at).ok());
        let length = usize::try_from(sectors)
            .unwrap_or(usize::MAX)
            .saturating_mul(SECTOR_BYTES);
        let end = start.and_then(|start| start.checked_add(length));
        let (Some(start), Some(end)) = (start, end) else {
            return Err(BlockError::OutOfRange);
        };
        if sector.saturating_add(u64::from(sectors)) > self.sectors() {
            return Err(BlockError::OutOfRange);
        }
        // The last sector of a medium may be incomplete; its rest reads as zero.
        let there = medium
            .bytes
            .get(start..end.min(medium.bytes.len()))
            .unwrap_or_default();
        into.append(there);
        into.append(&vec![0; length - there.len()]);
        Ok(())
    }
}

impl BlockCore for ServiceMedia {
    fn sectors(&self) -> u64 {
        self.medium
            .as_ref()
            .map_or(0, |medium| medium.bytes.len().div_ceil(SECTOR_BYTES) as u64)
    }

    fn read_only(&self) -> bool {
        true
    }

    fn submit(
        &mut self,
        now: Nanos,
        port: usize,
        request: Request<'_>,
        _events: &mut Vec<DeviceEvent>,
    ) -> u64 {
        let result = match request {
            Request::Read {
                sector,
                sectors,
                into,
            } => self.read(sector, sectors, into),
            Request::Write { .. } | Request::Flush => Err(BlockError::Failed),
        };
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.answers.insert(
            ticket,
            (
                port,
                Completion {
                    ticket,
                    at: now + READ_TIME,
                    result,
                },
            ),
        );
        ticket
    }

    fn take_completions(&mut self, now: Nanos, port: usize) -> Vec<Completion> {
        let due = self
            .answers
            .extract_if(.., |_, (of, answer)| *of == port && answer.at <= now);
        due.map(|(_, (_, answer))| answer).collect()
    }

    fn forget(&mut self, port: usize) {
        self.answers.retain(|_, (of, _)| *of != port);
    }

    fn deadline(&self, port: usize) -> Option<Nanos> {
        let answers = self.answers.values().filter(|(of, _)| *of == port);
        answers.map(|(_, answer)| answer.at).min()
    }

    fn identity(&self) -> [u8; 20] {
        let mut identity = [0; 20];
        for (shown, byte) in identity.iter_mut().zip(self.label().unwrap_or("").bytes()) {
            *shown = byte;
        }
        identity
    }
}
