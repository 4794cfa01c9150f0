//! A debugger comes and goes, and the board it looked into goes on where it was.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};

/// A packet of the remote protocol: text, and the sum of its bytes.
fn packet(text: &str) -> Vec<u8> {
    let sum = text.bytes().fold(0_u8, u8::wrapping_add);
    format!("${text}#{sum:02x}").into_bytes()
}

#[test]
fn a_board_goes_on_after_a_debugger_looked_into_it() {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
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
