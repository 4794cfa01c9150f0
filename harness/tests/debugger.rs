//! A debugger comes and goes, and the board it looked into goes on where it was.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// How soon a signal must be obeyed: it is looked for every 100 ms.
const A_MOMENT: Duration = Duration::from_secs(1);

/// A packet of the remote protocol: text, and the sum of its bytes.
fn packet(text: &str) -> Vec<u8> {
    let sum = text.bytes().fold(0_u8, u8::wrapping_add);
    format!("${text}#{sum:02x}").into_bytes()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// A session whose board a debugger can look into. It ends with the test, whatever comes of that.
struct Boot {
    child: Child,
    lines: BufReader<ChildStdout>,
    port: u16,
}

impl Boot {
    fn start(words: &[&str]) -> (Boot, ChildStdin) {
        let port = free_port();
        let mut child = Command::new(env!("CARGO_BIN_EXE_arraybench"))
            .args(["boot", "single", "--gdb", &port.to_string()])
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let keys = child.stdin.take().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        let mut boot = Boot { child, lines, port };
        boot.until("power on  operational");
        (boot, keys)
    }

    /// Reads until a line holds `part`.
    fn until(&mut self, part: &str) {
        let mut lines = self.lines.by_ref().lines().map_while(Result::ok);
        let found = lines.any(|line| line.contains(part));
        assert!(found, "no {part:?} came");
    }

    fn debugger(&self) -> TcpStream {
        let debugger = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let patience = Some(Duration::from_secs(30));
        debugger.set_read_timeout(patience).unwrap();
        debugger
    }
}

impl Drop for Boot {
    fn drop(&mut self) {
        // One that has ended is no trouble. Its QEMU ends with it.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Halted by a signal, whichever.
fn assert_halted(debugger: &mut TcpStream) {
    let mut answer = [0; 4];
    debugger.read_exact(&mut answer).unwrap();
    assert!(answer.starts_with(b"+$T0"), "halted: {answer:?}");
}

#[test]
fn a_board_goes_on_after_a_debugger_looked_into_it() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let (mut boot, mut keys) = Boot::start(&["--state", state.to_str().unwrap()]);
    for _ in 0..2 {
        // The board waits now. QEMU halts its machine for whoever connects, with everything in flight.
        let mut debugger = boot.debugger();
        debugger.write_all(&packet("?")).unwrap();
        // The array moves on, and with it QEMU, when something is typed.
        keys.write_all(b"ver\n").unwrap();
        assert_halted(&mut debugger);
        debugger.write_all(b"+").unwrap();
        debugger.write_all(&packet("D")).unwrap();
        boot.until("A| system version 1.0");
    }
    drop(keys);
    assert!(boot.child.wait().unwrap().success());
}

#[test]
fn a_signal_ends_it_while_a_debugger_has_the_board() {
    let (mut boot, mut keys) = Boot::start(&[]);
    let mut debugger = boot.debugger();
    debugger.write_all(&packet("?")).unwrap();
    keys.write_all(b"ver\n").unwrap();
    assert_halted(&mut debugger);
    // The board is awaited, and never comes.
    let (tell, told) = channel();
    let mut output = boot
        .lines
        .get_ref()
        .as_fd()
        .try_clone_to_owned()
        .map(File::from)
        .unwrap();
    thread::spawn(move || {
        let _ = output.read_to_end(&mut Vec::new());
        let _ = tell.send(());
    });
    kill_process(Pid::from_child(&boot.child), Signal::TERM).unwrap();
    told.recv_timeout(A_MOMENT).expect("it ends at once");
    assert!(boot.child.wait().unwrap().success());
    // QEMU is gone too: it lets go of the debugger.
    debugger.read_to_end(&mut Vec::new()).unwrap();
    drop(keys);
}
