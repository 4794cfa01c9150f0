//! An array at a desk: the consoles of all boards in one terminal, and the buttons of the chassis.
//!
//! * [`run`] — reads lines, lets the array live, prints what the boards say.
//! * `session.rs` — the array and its state directory.
//! * `command.rs` — the words behind a colon. `glass.rs` — a panel as text.
//!
//! At a terminal virtual time follows the clock on the wall; from a pipe each line gets two virtual
//! seconds, so that what a script prints is the same every time.

mod command;
mod glass;
mod session;

use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use devices::time::Nanos;

use self::command::{Command, HELP};
use self::session::Session;
use crate::runner::{BenchError, BootRequest};

/// How often a terminal is looked at while nothing is typed.
const TICK: Duration = Duration::from_millis(20);
/// Virtual time that a line from a pipe gets.
const LINE_TIME: Nanos = Nanos::from_secs(2);

/// Plays until the operator leaves.
///
/// # Errors
/// The array cannot be built or run, or the state directory is unusable.
pub fn run(request: &BootRequest) -> Result<(), BenchError> {
    let mut session = Session::open(request)?;
    let mut out = io::stdout();
    let live = io::stdin().is_terminal();
    say(&mut out, &format!("{}\n{HELP}", session.greeting()));
    session.power_on();
    session.advance(LINE_TIME, &mut out)?;
    if live {
        at_terminal(&mut session, &mut out)
    } else {
        from_pipe(&mut session, &mut out)
    }
}

fn from_pipe(session: &mut Session, out: &mut impl Write) -> Result<(), BenchError> {
    for line in io::stdin().lock().lines().map_while(Result::ok) {
        say(out, &format!("> {line}"));
        if !obey(session, &line, out)? {
            return Ok(());
        }
        session.advance(LINE_TIME, out)?;
    }
    Ok(())
}

fn at_terminal(session: &mut Session, out: &mut impl Write) -> Result<(), BenchError> {
    let (sender, lines) = channel();
    // Ends with the process: nothing else can end a thread that reads a terminal.
    thread::spawn(move || {
        for line in io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    let (begin, from) = (Instant::now(), session.now());
    loop {
        match lines.recv_timeout(TICK) {
            Ok(line) if !obey(session, &line, out)? => return Ok(()),
            Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        let wall = u64::try_from(begin.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let due = (from + Nanos(wall)).saturating_sub(session.now());
        session.advance(due, out)?;
    }
}

/// Does what a line says; false when the operator leaves.
fn obey(session: &mut Session, line: &str, out: &mut impl Write) -> Result<bool, BenchError> {
    let Some(words) = line.strip_prefix(':') else {
        session.type_line(line);
        return Ok(true);
    };
    match Command::parse(words) {
        Ok(Command::Quit) => return Ok(false),
        Ok(Command::Help) => say(out, HELP),
        Ok(command) => match session.obey(&command) {
            Ok(answer) if answer.is_empty() => {}
            Ok(answer) => say(out, &answer),
            Err(problem) => say(out, &format!("cannot: {problem}")),
        },
        Err(problem) => say(out, &format!("{problem}; try :help")),
    }
    Ok(true)
}

/// A reader that has gone away is the reader's right.
fn say(out: &mut impl Write, text: &str) {
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
}
