//! A debugger comes and goes, and the board it looked into goes on where it was.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// A packet of the remote protocol: text, and the sum of its bytes.
fn packet(text: &str) -> Vec<u8> {
    let sum = text.bytes().fold(0_u8, u8::wrapping_add);
    format!("${text}#{sum:02x}").into_bytes()
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

#[test]
fn a_board_goes_on_after_a_debugger_looked_into_it() {
    let port = free_port();
    let folder = tempfile::tempdir().unwrap();
    let mut boot = Command::new(env!("CARGO_BIN_EXE_arraybench"))
        .args(["boot", "single", "--gdb", &port.to_string(), "--state"])
        .arg(folder.path().join("state"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut keys = boot.stdin.take().unwrap();
    let mut lines = BufReader::new(boot.stdout.take().unwrap()).lines();
    let mut until = |part: &str| {
        let found = lines
            .by_ref()
            .map_while(Result::ok)
            .find(|line| line.contains(part));
        assert!(found.is_some(), "no {part:?} came");
    };
    until("power on  operational");
    for _ in 0..2 {
        // The board waits now. QEMU halts its machine for whoever connects, with everything in flight.
        let mut debugger = TcpStream::connect(("127.0.0.1", port)).unwrap();
        debugger.write_all(&packet("?")).unwrap();
        // The array moves on, and with it QEMU, when something is typed.
        keys.write_all(b"ver\n").unwrap();
        let mut answer = [0; 4];
        debugger.read_exact(&mut answer).unwrap();
        assert!(
            answer.starts_with(b"+$T0"),
            "stopped by a signal: {answer:?}"
        );
        debugger.write_all(b"+").unwrap();
        debugger.write_all(&packet("D")).unwrap();
        until("A| system version 1.0");
    }
    drop(keys);
    assert!(boot.wait().unwrap().success());
}

#[test]
fn a_signal_ends_it_while_a_debugger_has_the_board() {
    let port = free_port();
    let mut boot = Command::new(env!("CARGO_BIN_EXE_arraybench"))
        .args(["boot", "single", "--gdb", &port.to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut keys = boot.stdin.take().unwrap();
    let mut lines = BufReader::new(boot.stdout.take().unwrap()).lines();
    let operational = |line: &String| line.contains("power on  operational");
    assert!(
        lines
            .by_ref()
            .map_while(Result::ok)
            .any(|it| operational(&it))
    );
    let mut debugger = TcpStream::connect(("127.0.0.1", port)).unwrap();
    debugger
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    debugger.write_all(&packet("?")).unwrap();
    keys.write_all(b"ver\n").unwrap();
    let mut answer = [0; 4];
    debugger.read_exact(&mut answer).unwrap();
    assert!(answer.starts_with(b"+$T0"), "halted: {answer:?}");
    // The board is awaited, and never comes.
    let pid = Pid::from_child(&boot);
    kill_process(pid, Signal::TERM).unwrap();
    // QEMU is gone too: it lets go of the debugger.
    debugger.read_to_end(&mut Vec::new()).unwrap();
    assert!(boot.wait().unwrap().success());
    drop(keys);
}
