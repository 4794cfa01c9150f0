//! `arraybench boot` from outside: what it keeps when it is killed, and how it is left.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Longer than this a terminal is never silent.
const PATIENCE: Timespec = Timespec {
    tv_sec: 30,
    tv_nsec: 0,
};

/// A session on a pipe.
struct Desk {
    child: Child,
    lines: BufReader<ChildStdout>,
    input: Option<ChildStdin>,
    /// Marks sent and not yet answered.
    marks: u32,
}

/// A command that there is not: its answer says that all before it was carried out.
const MARK: &str = ":zebra";

fn boot(rig: &str, state: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_arraybench"));
    command.args(["boot", rig, "--state"]).arg(state);
    command
}

impl Desk {
    fn open(rig: &str, state: &Path) -> Desk {
        let mut child = boot(rig, state)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let input = child.stdin.take();
        let mut desk = Desk {
            child,
            lines,
            input,
            marks: 0,
        };
        // The status after power-on; whatever follows finds a session that takes lines.
        desk.ask("", "shelf:");
        desk
    }

    fn say(&mut self, line: &str) {
        writeln!(self.input.as_mut().unwrap(), "{line}").unwrap();
    }

    /// Types a line and reads until a line holds `wanted`, not a moment longer.
    fn ask(&mut self, line: &str, wanted: &str) -> String {
        self.say(line);
        self.say(MARK);
        self.marks += 1;
        let mut heard = String::new();
        loop {
            let begin = heard.len();
            let bytes = self.lines.read_line(&mut heard).unwrap();
            let said = heard[begin..].trim_end();
            if said.contains(wanted) {
                return said.to_owned();
            }
            self.marks -= u32::from(said.starts_with("`:zebra`"));
            assert!(bytes > 0 && self.marks > 0, "no `{wanted}` in:\n{heard}");
        }
    }

    /// The way no program can prepare for.
    fn kill(mut self) {
        self.child.kill().unwrap();
        assert_eq!(self.child.wait().unwrap().signal(), Some(9));
    }

    fn signal(mut self, name: &str) -> ExitStatus {
        let process = self.child.id().to_string();
        let sent = Command::new("kill").args(["-s", name, &process]).status();
        assert!(sent.unwrap().success());
        self.child.wait().unwrap()
    }

    fn end(mut self) -> ExitStatus {
        drop(self.input.take());
        self.child.wait().unwrap()
    }
}

#[test]
fn a_kill_at_any_moment_loses_nothing_that_was_acknowledged() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("array");

    // At once: the first state is whole or made anew.
    Desk::open("single", &state).kill();

    // The array said that 2.0 is installed: from then on it is, and the board follows.
    let mut desk = Desk::open("single", &state);
    desk.say(":media 2.0");
    desk.ask("boot -i", "A| installed 2.0");
    desk.kill();
    let mut desk = Desk::open("single", &state);
    desk.ask("ver", "system version 2.0");
    desk.kill();
    let mut desk = Desk::open("single", &state);
    let banks = desk.ask("ver", "L3B");
    assert!(banks.contains("2.0"), "{banks}");
    desk.kill();

    // Killed while a board is between slot and desk, it is where the desk said it is.
    let mut desk = Desk::open("single", &state);
    desk.ask(":pull a", "pulled AB1-000A");
    desk.kill();
    let mut desk = Desk::open("single", &state);
    desk.ask(
        ":insert a SPARE-1 1.0",
        "SPARE-1 is in slot A, new, with 1.0",
    );
    desk.kill();
    let mut desk = Desk::open("single", &state);
    desk.ask(":status", "A SPARE-1");
    desk.ask(":status", "on the desk: AB1-000A");
    assert!(desk.end().success());
}

#[test]
fn a_kill_during_a_reflash_leaves_a_board_that_boots() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("array");
    let mut desk = Desk::open("single", &state);
    let rounds = [
        ("2.0", "reset cause=cold"),
        ("1.1", "reflash-started"),
        ("2.0", "l3-started"),
        ("1.1", "reflash-finished"),
    ];
    for (version, moment) in rounds {
        desk.say(":timeline on");
        desk.say(&format!(":media {version}"));
        desk.ask("boot -i", &format!("A| installed {version}"));
        // A whole re-flash takes longer than one line.
        desk.say("reset");
        desk.ask("", moment);
        desk.kill();
        desk = Desk::open("single", &state);
        // Time for a whole re-flash.
        desk.say("");
        let status = desk.ask(":status", "A AB1-000A");
        let wanted = format!("runs {version}");
        assert!(
            status.contains("operational") && status.contains(&wanted),
            "{status}"
        );
    }
    assert!(desk.end().success());
}

#[test]
fn one_state_directory_is_for_one_process() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("array");
    let desk = Desk::open("single", &state);
    let second = boot("single", &state).output().unwrap();
    let error = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(4), "{error}");
    let holder = format!("in use by process {}", desk.child.id());
    assert!(
        error.contains(&holder) && error.contains(":quit"),
        "{error}"
    );
    assert!(error.contains(&state.display().to_string()), "{error}");
    desk.kill();
    // The lock went with the process.
    assert!(Desk::open("single", &state).end().success());
}

#[test]
fn signals_end_a_session_in_order() {
    let folder = tempfile::tempdir().unwrap();
    for (at, name) in ["INT", "TERM", "HUP"].into_iter().enumerate() {
        let desk = Desk::open("single", &folder.path().join(at.to_string()));
        assert_eq!(desk.signal(name).code(), Some(0), "{name}");
    }
}

#[test]
fn a_state_of_another_kind_is_refused_with_its_remedy() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("array");
    assert!(Desk::open("single", &state).end().success());
    let refused = |rig: &str, wanted: &str| {
        let output = boot(rig, &state).stdin(Stdio::null()).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(3), "{error}");
        assert!(
            error.contains(wanted) && error.contains("another"),
            "{error}"
        );
    };
    refused("partner-pair", "belongs to another rig, `single`");
    let disk = state.join("disk-0");
    std::fs::write(&disk, "short").unwrap();
    refused("single", "disk-0");
    std::fs::write(state.join("array.json"), "{\"format\": 1}").unwrap();
    refused("single", "it has format 1");
    std::fs::write(state.join("array.json"), "{").unwrap();
    refused("single", "array.json");
}

/// Opens a terminal: the end that a person sits at, and the one that a program has.
fn terminal() -> (File, File) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&person).unwrap();
    unlockpt(&person).unwrap();
    let name = ptsname(&person, Vec::new()).unwrap();
    let program = File::options()
        .read(true)
        .write(true)
        .open(Path::new(name.to_str().unwrap()))
        .unwrap();
    (File::from(person), program)
}

/// A session at a terminal. It ends with the test, whatever comes of that.
struct Seat {
    child: Child,
    person: File,
    shown: String,
}

impl Seat {
    fn take(rig: &str, state: &Path) -> Seat {
        let (person, program) = terminal();
        let child = boot(rig, state)
            .stdin(program.try_clone().unwrap())
            .stdout(program)
            .spawn()
            .unwrap();
        let shown = String::new();
        Seat {
            child,
            person,
            shown,
        }
    }

    fn say(&mut self, keys: &[u8]) {
        self.person.write_all(keys).unwrap();
    }

    /// Reads until `wanted` was shown, and forgets all up to its end.
    fn wait_for(&mut self, wanted: &str) {
        loop {
            if let Some(at) = self.shown.find(wanted) {
                self.shown.drain(..at + wanted.len());
                return;
            }
            let mut waiting = [PollFd::new(&self.person, PollFlags::IN)];
            let came = poll(&mut waiting, Some(&PATIENCE)).unwrap();
            assert!(came > 0, "no {wanted:?} in:\n{}", self.shown);
            let mut bytes = [0; 512];
            let n = self.person.read(&mut bytes).unwrap();
            self.shown.push_str(&String::from_utf8_lossy(&bytes[..n]));
        }
    }

    fn quit(&mut self) {
        self.say(b":quit\r");
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn at_a_terminal_keys_that_come_at_once_are_all_read() {
    let folder = tempfile::tempdir().unwrap();
    let mut seat = Seat::take("single", &folder.path().join("array"));
    seat.wait_for("A> ");
    seat.say(b"ver\r");
    seat.wait_for("L3A 1.0");
    seat.quit();
}

#[test]
fn at_a_terminal_a_prompt_is_shown_while_it_waits() {
    let folder = tempfile::tempdir().unwrap();
    let mut seat = Seat::take("u-boot-on-shelf", &folder.path().join("array"));
    // A key stops it before it starts a kernel.
    seat.wait_for("autoboot");
    seat.say(b"\r");
    for answer in ["one", "two"] {
        seat.wait_for("A| => ");
        seat.say(format!("echo {answer}\r").as_bytes());
        seat.wait_for(&format!("A| => echo {answer}"));
        seat.wait_for(&format!("A| {answer}"));
    }
    seat.wait_for("A| => ");
    seat.quit();
}
