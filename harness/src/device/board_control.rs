//! Board control, for firmware that is to run where nothing else of a board is.

use devices::board_control::{
    BoardControl as Board, BoardControlCore, BoardControlVirtio, BoardIdentity, ResetReason,
};
use devices::event::DeviceEvent;
use devices::midplane::Midplane;
use devices::time::Nanos;
use emulator::serve::Hardware;
use emulator::service::Visit;

use super::serving::calendar_s;
use super::{line, unknown};

/// One slot of a chassis of its own.
#[derive(Debug)]
pub struct BoardControl {
    port: BoardControlVirtio,
    board: Board,
    midplane: Midplane,
}

impl BoardControl {
    /// What the commands are.
    pub const HELP: &str = "";

    /// A board in slot A of a chassis with one slot.
    pub fn new(serial: &str) -> BoardControl {
        let identity = BoardIdentity {
            slots: 1,
            ram_mib: 16,
            serial: serial.to_owned(),
            ..BoardIdentity::default()
        };
        let mut board = Board::new(identity);
        let midplane = Midplane::new(1, calendar_s());
        let calendar = midplane.calendar_seconds(Nanos::ZERO);
        board.board_reset(ResetReason::PowerOn, Nanos::ZERO, calendar);
        BoardControl {
            port: BoardControlVirtio::default(),
            board,
            midplane,
        }
    }
}

impl Hardware for BoardControl {
    fn with<V: Visit>(&mut self, _port: usize, visit: V) -> V::Answer {
        let mut core = BoardControlCore {
            board: &mut self.board,
            midplane: &mut self.midplane,
        };
        visit.visit(&mut self.port, &mut core)
    }

    fn heard(&mut self, now: Nanos, events: &mut Vec<DeviceEvent>, news: &mut Vec<String>) {
        news.extend(events.drain(..).filter_map(line));
        if let Some(kind) = self.board.take_reset_request() {
            // Whoever has the virtual machine can do it; the board is told as if it had been done.
            news.push(format!("reset-requested kind={kind:?}").to_lowercase());
            let calendar = self.midplane.calendar_seconds(now);
            self.board.board_reset(ResetReason::Cold, now, calendar);
            self.midplane.slot_reset(0);
        }
        for command in self.midplane.take_commands() {
            news.push(format!("midplane {command:?}").to_lowercase());
        }
    }

    fn command(
        &mut self,
        _now: Nanos,
        command: &str,
        _news: &mut Vec<String>,
    ) -> Result<String, String> {
        match command {
            "status" => Ok(format!(
                "board-control; serial {}; boots {}; {}",
                self.board.identity.serial,
                self.board.identity.boots,
                if self.board.waiting() {
                    "waits"
                } else {
                    "does not wait"
                },
            )),
            _ => unknown(command),
        }
    }

    fn put_away(&mut self, _now: Nanos) {}
}
