//! An array at a desk: the consoles of all boards in one terminal, and the buttons of the chassis.
//!
//! * [`run`] — takes lines, lets the array live, prints what the boards say.
//! * `session.rs` — the array. `state.rs` — its state directory.
//! * `input.rs` — where lines come from: a terminal with an editor, a pipe, a signal.
//! * `debugger.rs` — what a debugger of the boards needs.
//! * `command.rs` — the words behind a colon. `glass.rs` — a panel as text.
//!
//! At a terminal virtual time follows the clock on the wall; from a pipe each line gets two virtual
//! seconds, so that what a script prints is the same every time. Boards that run freely have real time alone; with a
//! bridge to a real CAN bus virtual time follows the clock from a pipe as well.

mod command;
mod debugger;
mod glass;
mod input;
mod session;
mod state;

use std::io::Write;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use devices::time::Nanos;

use self::command::{Command, help};
use self::input::{Input, Inputs};
use self::session::Session;
use crate::runner::{BenchError, BootRequest};
use emulator::engine::EngineChoice;

/// How often the array moves on while nothing is typed.
const TICK: Duration = Duration::from_millis(20);
/// The same with something real on the CAN bus.
const BRIDGED_TICK: Duration = Duration::from_millis(1);
/// Longest virtual time of one tick: a slow machine lags, and still listens to its operator.
const TICK_MAX: Nanos = Nanos::from_millis(200);
/// Virtual time that a line from a pipe gets.
const LINE_TIME: Nanos = Nanos::from_secs(2);

/// Plays until the operator leaves, or a signal asks for it.
///
/// # Errors
/// The array cannot be built or run, or the state directory is unusable.
pub fn run(request: &BootRequest, engine: &EngineChoice) -> Result<(), BenchError> {
    let debugger = match request.debugger {
        None => None,
        Some(port) => {
            let folder = std::env::temp_dir().join(format!("arraybench-debugger-{port}"));
            Some(debugger::prepare(
                &folder,
                port,
                request.rig.slots().count(),
            )?)
        }
    };
    let unread = |source| BenchError::Host {
        what: "lines cannot be read".to_owned(),
        source,
    };
    if let Some(debugging) = engine.debugging() {
        // A board that a debugger has may never come back to hear that the operator leaves.
        input::tell_of_signals(&debugging.leave).map_err(unread)?;
    }
    let mut session = Session::open(request, engine)?;
    let mut inputs = Inputs::open().map_err(unread)?;
    say(&mut inputs, &format!("{}\n{}", session.greeting(), help()));
    if let Some(text) = debugger {
        say(&mut inputs, &text);
    }
    session.power_on();
    let first = match session.is_bridged() {
        true => TICK_MAX,
        false => LINE_TIME,
    };
    session.advance(first, &mut inputs)?;
    say(&mut inputs, &session.status());
    let left = if inputs.live() || session.is_bridged() {
        live(&mut session, &mut inputs)
    } else {
        line_by_line(&mut session, &mut inputs)
    };
    inputs.close();
    left
}

fn line_by_line(session: &mut Session, inputs: &mut Inputs) -> Result<(), BenchError> {
    while let Ok(Input::Line(line)) = inputs.next(session.front()) {
        say(inputs, &format!("> {line}"));
        if !obey(session, &line, inputs)? {
            return Ok(());
        }
        session.advance(LINE_TIME, inputs)?;
    }
    Ok(())
}

fn live(session: &mut Session, inputs: &mut Inputs) -> Result<(), BenchError> {
    let mut last = Instant::now();
    // Boards that run freely want to be served, whatever the operator does, and frames not to wait.
    let (patience, least) = if session.runs_freely() {
        (Duration::ZERO, TICK)
    } else if session.is_bridged() {
        (BRIDGED_TICK, Duration::ZERO)
    } else {
        (TICK, Duration::ZERO)
    };
    loop {
        match inputs.next_within(session.front(), patience) {
            Ok(Input::Line(line)) if !obey(session, &line, inputs)? => return Ok(()),
            Ok(Input::Line(_)) | Err(RecvTimeoutError::Timeout) => {}
            Ok(Input::Leave) | Err(RecvTimeoutError::Disconnected) => return Ok(()),
        }
        let wall = last.elapsed().max(least);
        last = Instant::now();
        let wall = Nanos(u64::try_from(wall.as_nanos()).unwrap_or(u64::MAX));
        session.advance(wall.min(TICK_MAX), inputs)?;
        session.show_unfinished(inputs);
    }
}

/// Does what a line says; false when the operator leaves.
fn obey(session: &mut Session, line: &str, out: &mut impl Write) -> Result<bool, BenchError> {
    let Some(words) = line.strip_prefix(':') else {
        if let Err(problem) = session.type_line(line) {
            say(out, &format!("nobody reads this: {problem}"));
        }
        return Ok(true);
    };
    match Command::parse(words, session.rig()) {
        Ok(Command::Quit) => return Ok(false),
        Ok(Command::Help) => say(out, &help()),
        Ok(command) => match session.obey(&command) {
            Ok(answer) if answer.is_empty() => {}
            Ok(answer) => say(out, &answer),
            Err(problem) => say(out, &format!("cannot: {problem}")),
        },
        Err(problem) => say(out, &problem),
    }
    Ok(true)
}

/// A reader that has gone away is the reader's right.
fn say(out: &mut impl Write, text: &str) {
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use socketcan::{CanDataFrame, EmbeddedFrame, Socket, StandardId};

    use super::*;
    use crate::can_bridge::tests::interface;
    use crate::files::load_rig;
    use crate::runner::Engines;
    use crate::scenario::contents::Build;

    #[test]
    fn nodes_are_heard_outside_and_hear_what_is_said_there() {
        let request = BootRequest {
            rig: load_rig("nodes-alone", Path::new("")).unwrap(),
            firmware: Build::parse("1.0", Path::new("")).unwrap(),
            state: None,
            seed: 1,
            debugger: None,
            can_bridge: None,
        };
        let engine = Engines::default().choose().unwrap();
        let mut session = Session::open(&request, &engine).unwrap();
        let (interface, there) = interface();
        session.join(interface);
        session.power_on();
        let mut out = Vec::new();
        session.advance(Nanos::from_secs(3), &mut out).unwrap();
        let asked = std::iter::from_fn(|| there.read_frame().ok()).count();
        assert!(asked >= 5, "each node asks for its image: {asked}");
        let id = StandardId::new(0x7ff).unwrap();
        there
            .write_frame(&CanDataFrame::new(id, &[1]).unwrap())
            .unwrap();
        session.advance(Nanos::from_millis(5), &mut out).unwrap();
        let status = session.status();
        assert!(
            status.contains(&format!("bridge test0 out {asked} in 1 lost 0")),
            "{status}"
        );
        assert_eq!(String::from_utf8(out).unwrap(), "");
    }
}
