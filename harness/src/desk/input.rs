//! Where lines come from and where text goes: a terminal with a line editor, or a pipe; and the
//! signals that end a session in order.

use std::io::{self, BufRead, IsTerminal, Write};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{
    Receiver, RecvError, RecvTimeoutError, Sender, SyncSender, channel, sync_channel,
};
use std::thread;
use std::time::Duration;

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};
use rustyline::completion::Completer;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::MemHistory;
use rustyline::validate::Validator;
use rustyline::{Config, Context, Editor, ExternalPrinter, Helper};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::command::COMMANDS;

/// What the operator did.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Input {
    /// Typed a line.
    Line(String),
    /// Has had enough, or the system has.
    Leave,
}

/// The operator's side of a session. As a writer: what the operator sees.
pub(super) struct Inputs {
    events: Receiver<Input>,
    /// Asks the editor for a line, with this prompt.
    prompts: Option<Sender<String>>,
    asked: bool,
    live: bool,
    printer: Option<Box<dyn ExternalPrinter + Send>>,
    unprinted: Vec<u8>,
    /// How the terminal was before.
    before: Option<Termios>,
}

/// The signals that end a session.
const SIGNALS: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

/// Sets `leave` when a signal ends the session, whatever it does at that moment.
pub(super) fn tell_of_signals(leave: &Arc<AtomicBool>) -> io::Result<()> {
    for signal in SIGNALS {
        signal_hook::flag::register(signal, Arc::clone(leave))?;
    }
    Ok(())
}

impl Inputs {
    pub(super) fn open() -> io::Result<Inputs> {
        // A line is taken only when the one before was dealt with, so that a signal waits for no
        // more than that.
        let (sender, events) = sync_channel(0);
        let mut signals = Signals::new(SIGNALS)?;
        let leave = sender.clone();
        // Both threads end with the process: nothing ends one that reads a terminal.
        thread::spawn(move || {
            if signals.forever().next().is_some() {
                let _ = leave.send(Input::Leave);
            }
        });
        let mut inputs = Inputs {
            events,
            prompts: None,
            asked: false,
            live: io::stdin().is_terminal(),
            printer: None,
            unprinted: Vec::new(),
            before: tcgetattr(io::stdin()).ok(),
        };
        if inputs.live && io::stdout().is_terminal() {
            let (prompts, wanted) = channel();
            inputs.prompts = Some(prompts);
            inputs.printer = Some(edit(sender, wanted).map_err(io::Error::other)?);
        } else {
            thread::spawn(move || {
                for line in io::stdin().lock().lines().map_while(Result::ok) {
                    if sender.send(Input::Line(line)).is_err() {
                        return;
                    }
                }
                let _ = sender.send(Input::Leave);
            });
        }
        Ok(inputs)
    }

    /// Whether somebody sits there.
    pub(super) fn live(&self) -> bool {
        self.live
    }

    /// Waits for what the operator does next.
    pub(super) fn next(&mut self, front: char) -> Result<Input, RecvError> {
        self.ask(front);
        let input = self.events.recv();
        self.asked = false;
        input
    }

    /// The same, for a moment.
    pub(super) fn next_within(
        &mut self,
        front: char,
        span: Duration,
    ) -> Result<Input, RecvTimeoutError> {
        self.ask(front);
        let input = self.events.recv_timeout(span);
        if input.is_ok() {
            self.asked = false;
        }
        input
    }

    fn ask(&mut self, front: char) {
        if let Some(prompts) = self.prompts.as_ref().filter(|_| !self.asked) {
            // Without an editor the other channel is closed too, and says so.
            let _ = prompts.send(format!("{front}> "));
            self.asked = true;
        }
    }

    /// Leaves the terminal as it was.
    pub(super) fn close(self) {
        if let Some(before) = &self.before {
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
        if self.asked {
            println!();
        }
    }
}

impl Write for Inputs {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.printer {
            None => io::stdout().write(bytes),
            Some(_) => {
                self.unprinted.extend_from_slice(bytes);
                Ok(bytes.len())
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        let Some(printer) = &mut self.printer else {
            return io::stdout().flush();
        };
        let text = String::from_utf8_lossy(&self.unprinted).into_owned();
        self.unprinted.clear();
        match text.is_empty() {
            true => Ok(()),
            false if self.asked => printer.print(text).map_err(io::Error::other),
            // No line is being edited that the text could tear.
            false => io::stdout().write_all(text.as_bytes()),
        }
    }
}

/// Starts the editor: it reads a line for each prompt that is wanted.
fn edit(
    sender: SyncSender<Input>,
    wanted: Receiver<String>,
) -> rustyline::Result<Box<dyn ExternalPrinter + Send>> {
    let config = Config::builder().auto_add_history(true).build();
    let mut editor: Editor<Words, MemHistory> =
        Editor::with_history(config.clone(), MemHistory::with_config(&config))?;
    editor.set_helper(Some(Words));
    let printer = editor.create_external_printer()?;
    thread::spawn(move || {
        for prompt in wanted {
            let input = match editor.readline(&prompt) {
                Ok(line) => Input::Line(line),
                Err(_) => Input::Leave,
            };
            if sender.send(input).is_err() {
                return;
            }
        }
    });
    Ok(Box::new(printer))
}

/// What the editor knows of the words behind a colon. Those of the firmware are its own business.
struct Words;

/// The commands that a line may become, and where their arguments are hinted at.
fn commands(line: &str) -> impl Iterator<Item = (&'static str, &'static str)> {
    let word = line.strip_prefix(':').map(str::to_owned);
    COMMANDS
        .iter()
        .map(|(name, arguments, _)| (*name, *arguments))
        .filter(move |(name, _)| word.as_ref().is_some_and(|word| name.starts_with(word)))
}

impl Completer for Words {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        at: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let begun = line.get(..at).unwrap_or_default();
        Ok((
            1,
            commands(begun)
                .map(|(name, _)| format!("{name} "))
                .collect(),
        ))
    }
}

impl Hinter for Words {
    type Hint = String;

    fn hint(&self, line: &str, at: usize, _: &Context<'_>) -> Option<String> {
        if at < line.len() || line.len() < 2 {
            return None;
        }
        if let Some(word) = line.strip_suffix(' ') {
            let found = commands(word).find(|(name, _)| word.strip_prefix(':') == Some(name));
            return found.map(|(_, arguments)| arguments.to_owned());
        }
        let (name, arguments) = commands(line).next()?;
        Some(format!("{} {arguments}", name.get(line.len() - 1..)?))
    }
}

impl Highlighter for Words {
    fn highlight_hint<'h>(&self, hint: &'h str) -> std::borrow::Cow<'h, str> {
        format!("\u{1b}[2m{hint}\u{1b}[0m").into()
    }
}

impl Validator for Words {}
impl Helper for Words {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_offered_behind_a_colon_only() {
        let offered = |line| commands(line).map(|(name, _)| name).collect::<Vec<_>>();
        assert_eq!(offered(":p"), ["pull", "panel"]);
        assert_eq!(offered(":"), COMMANDS.map(|(name, ..)| name));
        assert!(offered("p").is_empty() && offered(":zebra").is_empty());
    }
}
