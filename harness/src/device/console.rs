//! The console, with this terminal as the other end.

use std::io::Write;
use std::os::fd::BorrowedFd;

use devices::console::{Console as Terminal, ConsoleVirtio};
use devices::event::DeviceEvent;
use devices::time::Nanos;
use emulator::serve::Hardware;
use emulator::service::Visit;

use super::{line, unknown};

/// The console and its port.
#[derive(Debug)]
pub struct Console {
    port: ConsoleVirtio,
    terminal: Terminal,
    /// How much of what was printed has been shown.
    shown: u64,
    /// Nobody types any more.
    silent: bool,
}

impl Console {
    /// What the commands are.
    pub const HELP: &str = "type TEXT                types a line";

    /// A console on which nothing was printed.
    pub fn new() -> Console {
        Console {
            port: ConsoleVirtio::default(),
            terminal: Terminal::default(),
            shown: 0,
            silent: false,
        }
    }
}

impl Default for Console {
    fn default() -> Console {
        Console::new()
    }
}

impl Hardware for Console {
    fn with<V: Visit>(&mut self, _port: usize, visit: V) -> V::Answer {
        visit.visit(&mut self.port, &mut &mut self.terminal)
    }

    fn heard(&mut self, _now: Nanos, events: &mut Vec<DeviceEvent>, news: &mut Vec<String>) {
        news.extend(events.drain(..).filter_map(line));
        if self.terminal.printed() > self.shown {
            let text = self.terminal.output_since(self.shown);
            self.shown = self.terminal.printed();
            let mut out = std::io::stdout().lock();
            // A reader that left is no reason to stop.
            let _ = out.write_all(&text).and_then(|()| out.flush());
        }
    }

    fn command(
        &mut self,
        now: Nanos,
        command: &str,
        _news: &mut Vec<String>,
    ) -> Result<String, String> {
        match command.split_once(' ').unwrap_or((command, "")) {
            ("type", text) => {
                let line = format!("{text}\n");
                match self.terminal.type_bytes(now, line.as_bytes()) < line.len() {
                    true => Err("the driver reads nothing: no room to type more".to_owned()),
                    false => Ok(String::new()),
                }
            }
            ("status", "") => Ok(format!(
                "console; printed {} bytes; typed and not read {}",
                self.terminal.printed(),
                self.terminal.unread()
            )),
            _ => unknown(command),
        }
    }

    fn outside(&self) -> Option<BorrowedFd<'_>> {
        (!self.silent).then(rustix::stdio::stdin)
    }

    fn hear_outside(&mut self, now: Nanos, news: &mut Vec<String>) {
        let mut bytes = [0; 1024];
        match rustix::io::read(rustix::stdio::stdin(), &mut bytes) {
            Ok(0) | Err(_) => self.silent = true,
            Ok(read) => {
                let typed = bytes.get(..read).unwrap_or_default();
                if self.terminal.type_bytes(now, typed) < typed.len() {
                    news.push("typed-in-vain cause=the-driver-reads-nothing".to_owned());
                }
            }
        }
    }

    fn put_away(&mut self, _now: Nanos) {}
}
