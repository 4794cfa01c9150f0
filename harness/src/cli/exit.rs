use std::io::{self, Write};
use std::process::ExitCode;

use thiserror::Error;

use super::output::stderr_colours;
use crate::device::DeviceError;
use crate::files::FileError;
use crate::report::SinkError;
use crate::runner::BenchError;

/// How the command ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Everything held.
    Good = 0,
    /// Something did not hold.
    Failed = 1,
    /// The command line is wrong.
    Usage = 2,
    /// A file of the user's is wrong.
    BadFile = 3,
    /// The bench could not do its part.
    Broken = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

impl Exit {
    /// Good where `held`.
    pub(super) fn of(held: bool) -> Exit {
        match held {
            true => Exit::Good,
            false => Exit::Failed,
        }
    }
}

/// Why a command did not get as far as a verdict.
#[derive(Debug, Error)]
pub enum CliError {
    /// The command line makes no sense.
    #[error("{0}")]
    Usage(String),
    /// Files of the user's are wrong.
    #[error("{} files are wrong", .0.len())]
    Files(Vec<FileError>),
    /// The bench could not do its part.
    #[error(transparent)]
    Bench(#[from] BenchError),
    /// A device cannot be served.
    #[error(transparent)]
    Device(DeviceError),
    /// A report cannot be written.
    #[error(transparent)]
    Report(#[from] SinkError),
    /// Output cannot be written.
    #[error("{what}")]
    Output {
        /// What was being written.
        what: String,
        /// Why it failed.
        #[source]
        source: io::Error,
    },
}

impl From<FileError> for CliError {
    fn from(error: FileError) -> CliError {
        CliError::Files(vec![error])
    }
}

impl CliError {
    /// Output to the terminal that failed.
    pub(super) fn stdout(source: io::Error) -> CliError {
        CliError::Output {
            what: "the output cannot be written".to_owned(),
            source,
        }
    }

    fn is_broken_pipe(&self) -> bool {
        match self {
            CliError::Report(error) | CliError::Bench(BenchError::Report(error)) => {
                error.is_broken_pipe()
            }
            CliError::Output { source, .. } => source.kind() == io::ErrorKind::BrokenPipe,
            _ => false,
        }
    }

    /// Tells the user, and says how the command ends.
    pub(super) fn tell(&self) -> Exit {
        // Whoever piped us into `head` has seen enough.
        if self.is_broken_pipe() {
            return Exit::Good;
        }
        let (text, exit) = match self {
            CliError::Usage(what) => {
                let text = format!("error: {what}\n\nFor more information, try '--help'.\n");
                (text, Exit::Usage)
            }
            CliError::Files(errors) => {
                let colours = stderr_colours();
                let shown: String = errors.iter().map(|error| error.render(colours)).collect();
                (shown, Exit::BadFile)
            }
            CliError::Bench(error @ BenchError::State { .. }) => {
                (format!("error: {}\n", error.chain()), Exit::BadFile)
            }
            CliError::Bench(error @ (BenchError::Busy { .. } | BenchError::Host { .. })) => {
                (format!("error: {}\n", error.chain()), Exit::Broken)
            }
            CliError::Bench(error) => (
                format!("error: {}\n`arraybench doctor` says more.\n", error.chain()),
                Exit::Broken,
            ),
            CliError::Device(error) => {
                let exit = match error {
                    DeviceError::Usage(_) => Exit::Usage,
                    DeviceError::File(_) => Exit::BadFile,
                    DeviceError::Busy(_) | DeviceError::Host { .. } => Exit::Broken,
                };
                (format!("error: {error}\n"), exit)
            }
            CliError::Report(error) => {
                (format!("error: {error}: {}\n", error.source), Exit::Broken)
            }
            CliError::Output { what, source } => {
                (format!("error: {what}: {source}\n"), Exit::Broken)
            }
        };
        // With the error output gone there is nobody left to tell.
        let _ = io::stderr().write_all(text.as_bytes());
        exit
    }
}
