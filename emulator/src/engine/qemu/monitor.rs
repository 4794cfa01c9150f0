//! QMP: what QEMU says of its machine, and what can be asked.

use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;

use serde_json::{Value, json};

use crate::engine::CrashReport;

/// Longest line taken from a monitor; register listings have about 4 KiB.
const LINE_BYTES: usize = 1 << 20;

/// The monitor of one QEMU.
#[derive(Debug)]
pub(super) struct Monitor {
    socket: UnixStream,
    unread: Vec<u8>,
}

/// Something the monitor said.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Said {
    /// The machine shut itself down.
    Shutdown {
        /// Not by switching itself off, but by what asks for a reset: a triple fault does.
        by_guest_reset: bool,
    },
    /// The answer to a question.
    Answer(Value),
    /// Nothing of interest here.
    Nothing,
    /// QEMU is gone.
    Gone,
}

impl Monitor {
    /// Asks for events from the beginning. What happened before QEMU reads this is told by the answer to
    /// the second question.
    pub(super) fn new(socket: UnixStream) -> std::io::Result<Monitor> {
        let mut monitor = Monitor {
            socket,
            unread: Vec::new(),
        };
        monitor.ask(&json!({"execute": "qmp_capabilities"}))?;
        monitor.ask(&json!({"execute": "query-status"}))?;
        Ok(monitor)
    }

    pub(super) fn socket(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// Sends a command.
    pub(super) fn ask(&mut self, command: &Value) -> std::io::Result<()> {
        self.socket.write_all(format!("{command}\n").as_bytes())
    }

    /// Sends a command of the human monitor.
    pub(super) fn ask_human(&mut self, line: &str) -> std::io::Result<()> {
        let arguments = json!({ "command-line": line });
        self.ask(&json!({"execute": "human-monitor-command", "arguments": arguments}))
    }

    /// Everything it has said; waits for some of it where there is nothing yet.
    pub(super) fn listen(&mut self) -> Vec<Said> {
        let mut piece = [0; 4096];
        match self.socket.read(&mut piece) {
            Ok(n) if n > 0 && self.unread.len() < LINE_BYTES => {
                self.unread.extend(piece.iter().take(n));
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            _ => return vec![Said::Gone],
        }
        let Some(end) = self.unread.iter().rposition(|byte| *byte == b'\n') else {
            return Vec::new();
        };
        let lines: Vec<u8> = self.unread.drain(..=end).collect();
        lines.split(|byte| *byte == b'\n').map(understand).collect()
    }
}

fn understand(line: &[u8]) -> Said {
    let Ok(mut message) = serde_json::from_slice::<Value>(line) else {
        return Said::Nothing;
    };
    let stopped = |status: &Value| status == "shutdown" || status == "guest-panicked";
    if message["event"] == "SHUTDOWN" {
        let by_guest_reset = message["data"]["reason"] != "guest-shutdown";
        return Said::Shutdown { by_guest_reset };
    }
    if stopped(&message["return"]["status"]) {
        let by_guest_reset = true;
        return Said::Shutdown { by_guest_reset };
    }
    match message.get_mut("return") {
        Some(answer) => Said::Answer(answer.take()),
        None => Said::Nothing,
    }
}

/// What `info registers` says, as a report.
pub(super) fn crash_report(listing: &str, cause: &str) -> CrashReport {
    let number = |name: &str| {
        let at = listing.find(name)?;
        let digits = listing.get(at + name.len()..)?.trim_start();
        let end = digits.find(|c: char| !c.is_ascii_hexdigit());
        u64::from_str_radix(digits.get(..end.unwrap_or(digits.len()))?, 16).ok()
    };
    const GENERAL: [&str; 15] = [
        "RAX=", "RBX=", "RCX=", "RDX=", "RSI=", "RDI=", "RBP=", "R8 =", "R9 =", "R10=", "R11=",
        "R12=", "R13=", "R14=", "R15=",
    ];
    // In 32-bit and 16-bit modes the registers have their short names.
    let either = |name: &str| number(name).or_else(|| number(&name.replacen('R', "E", 1)));
    CrashReport {
        cause: cause.to_owned(),
        rip: either("RIP=").unwrap_or(0),
        rsp: either("RSP=").unwrap_or(0),
        cs: u16::try_from(number("CS =").unwrap_or(0)).unwrap_or(0),
        general: GENERAL.map(|name| either(name).unwrap_or(0)),
        cr2: number("CR2=").unwrap_or(0),
    }
}

/// Whether `info registers` says that the CPU is halted.
pub(super) fn is_halted(listing: &str) -> bool {
    listing.contains("HLT=1")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = "\r\nCPU#0\r\nRAX=0000000000000007 RBX=0000000000000000 RCX=000000000000ff01 \
        RDX=0000000000000000\r\nRSI=0 RDI=0 RBP=1f RSP=00000000003f8f20\r\nR8 =0000000000000022 R9 =0 R10=0 \
        R11=0\r\nR12=0 R13=0 R14=0 R15=0000000000000abc\r\nRIP=0000000000221499 RFL=00003046 CPL=3\r\n\
        CS =0033 0000000000000000 00000000 00affb00\r\nCR0=80000033 CR2=0000000000000010 CR3=1000";

    #[test]
    fn registers_are_found_in_a_listing() {
        let report = crash_report(LISTING, "triple fault");
        assert_eq!((report.rip, report.rsp), (0x22_1499, 0x3f_8f20));
        assert_eq!((report.cs, report.cr2), (0x33, 0x10));
        assert_eq!(
            [report.general[0], report.general[7], report.general[14]],
            [7, 0x22, 0xabc]
        );
        let real_mode = crash_report(
            "EAX=00000012\r\nEIP=0000fff0 ESP=7\r\nCS =f000 ffff0000",
            "",
        );
        assert_eq!(
            (real_mode.general[0], real_mode.rip, real_mode.cs),
            (0x12, 0xfff0, 0xf000)
        );
    }

    #[test]
    fn a_shutdown_is_heard_as_event_and_as_status() {
        let event = br#"{"event": "SHUTDOWN", "data": {"guest": true, "reason": "guest-reset"}}"#;
        let by_guest_reset = true;
        assert_eq!(understand(event), Said::Shutdown { by_guest_reset });
        let status = br#"{"return": {"running": false, "status": "shutdown"}}"#;
        assert_eq!(understand(status), Said::Shutdown { by_guest_reset });
        assert_eq!(understand(br#"{"event": "RESUME"}"#), Said::Nothing);
        assert_eq!(understand(b"not json"), Said::Nothing);
        assert_eq!(understand(br#"{"return": "x"}"#), Said::Answer(json!("x")));
    }
}
