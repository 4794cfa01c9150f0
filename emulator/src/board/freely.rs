//! A board whose firmware knows no board control: it never waits, and is served as its kicks come.

use std::time::Duration;

use devices::board_control::ResetKind;
use devices::event::DeviceEvent;
use devices::time::Nanos;

use super::life::Which;
use super::{Board, BoardNotice, Cpu};
use crate::engine::{EngineError, Stop};
use crate::shared::Shared;

impl Board {
    /// Whether its CPU runs and never waits.
    pub(crate) fn runs_freely(&self) -> bool {
        self.fitting.runs_freely && self.cpu == Cpu::Live
    }

    /// Hears what the CPU has to say, for at most `patience` of real time.
    pub(crate) fn listen(&mut self, patience: Duration) -> Result<Stop, EngineError> {
        self.type_on_serial_port();
        self.engine.run_freely(&mut self.slots, patience)
    }

    /// Does at `now` what the CPU asked for. A reset that it wants is returned.
    pub(crate) fn answer(
        &mut self,
        stop: Stop,
        now: Nanos,
        shared: &mut Shared,
        notices: &mut Vec<BoardNotice>,
    ) -> Result<Option<ResetKind>, EngineError> {
        match stop {
            Stop::Notified { slot, .. } => self.service(Which::One(slot), now, shared, notices),
            Stop::Quiet => {}
            Stop::Printed(bytes) => {
                let lines = self.local.console.print(&bytes).into_iter();
                notices.extend(lines.map(DeviceEvent::ConsoleLine).map(BoardNotice::Device));
            }
            Stop::WantsReset => return Ok(Some(ResetKind::Cold)),
            Stop::Crashed(report) => self.stopped(Cpu::Crashed(report), notices)?,
            Stop::Hung(report) => self.stopped(Cpu::Hung(report), notices)?,
            Stop::Halted => self.stopped(Cpu::Halted, notices)?,
        }
        Ok(None)
    }

    /// What was typed on the console goes to the serial port, where such firmware reads.
    fn type_on_serial_port(&mut self) {
        let typed = self.local.console.peek();
        if !typed.is_empty() {
            let taken = self.engine.type_bytes(&typed);
            self.local.console.read(taken);
        }
    }
}
