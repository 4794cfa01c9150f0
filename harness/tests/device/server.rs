//! The command, served in a folder of its own.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// After so long nothing comes any more.
const PATIENCE: Duration = Duration::from_secs(20);

/// `arraybench device …`, running.
pub(crate) struct Server {
    /// Gone when it ended.
    child: Option<Child>,
    output: BufReader<ChildStdout>,
    folder: PathBuf,
    /// What it said at its start.
    pub(crate) said: String,
}

/// One test at a time: a process that another one starts has our sockets until it is itself, and would keep
/// connections open that we closed.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(crate) fn arraybench(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_arraybench"));
    command.current_dir(folder).stdin(Stdio::null());
    command
}

impl Server {
    /// Starts it with `words`, a socket `s` and a control socket `c`; it can be connected to then.
    pub(crate) fn start(folder: &Path, words: &str) -> Server {
        let child = arraybench(folder)
            .arg("device")
            .args(words.split_whitespace())
            .args(["--socket", "s", "--control", "c"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let mut child = child.unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        while !said.contains("\ncontrol:") {
            if output.read_line(&mut said).unwrap() == 0 {
                let output = child.wait_with_output().unwrap();
                panic!("{}", String::from_utf8_lossy(&output.stderr));
            }
        }
        Server {
            child: Some(child),
            output,
            folder: folder.to_path_buf(),
            said,
        }
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.join("s")
    }

    /// Sends a command to the control socket; the last line of the answer.
    pub(crate) fn control(&self, words: &str) -> String {
        let output = arraybench(&self.folder)
            .args(["control", "c"])
            .args(words.split_whitespace())
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let last = text.lines().last().unwrap_or_default().to_owned();
        assert_eq!(
            output.status.code() == Some(0),
            last.starts_with("ok"),
            "{text}"
        );
        last
    }

    /// Lines of the control socket about what happens from now on.
    pub(crate) fn events(&self) -> BufReader<UnixStream> {
        let mut control = UnixStream::connect(self.folder.join("c")).unwrap();
        control.set_read_timeout(Some(PATIENCE)).unwrap();
        control.write_all(b"events\n").unwrap();
        let mut control = BufReader::new(control);
        let mut answer = String::new();
        control.read_line(&mut answer).unwrap();
        assert_eq!(answer, "ok\n");
        control
    }

    /// Kills it without a warning; what it told of what happened.
    pub(crate) fn kill(mut self) -> String {
        self.child().kill().unwrap();
        self.ended().1
    }

    /// Ends it in good order.
    pub(crate) fn end(mut self) -> String {
        let id = i32::try_from(self.child().id()).unwrap();
        let pid = rustix::process::Pid::from_raw(id).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        let (output, told) = self.ended();
        assert_eq!(output.status.code(), Some(0), "{told}");
        told
    }

    /// The next bytes that it prints.
    pub(crate) fn heard(&mut self, length: usize) -> String {
        let mut bytes = vec![0; length];
        self.output.read_exact(&mut bytes).unwrap();
        String::from_utf8(bytes).unwrap()
    }

    pub(crate) fn type_line(&mut self, line: &str) {
        let keyboard = self.child().stdin.as_mut().unwrap();
        // At once: what comes in two pieces may be read in two.
        let line = format!("{line}\n");
        keyboard.write_all(line.as_bytes()).unwrap();
    }

    fn child(&mut self) -> &mut Child {
        self.child.as_mut().unwrap()
    }

    fn ended(mut self) -> (Output, String) {
        let child = self.child.take().unwrap();
        let output = child.wait_with_output().unwrap();
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!told.contains("panicked"), "{told}");
        (output, told)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // A test that failed leaves nothing behind.
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
