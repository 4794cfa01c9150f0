use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use clap::Args;

use super::exit::{CliError, Exit};
use super::output::print;
use crate::device::DeviceError;

/// Send a command to a device that `arraybench device … --control PATH` serves.
///
/// The answer is one line, `ok …` or `error …` (then the exit code is 1). `help` tells the commands of the device; `events`
/// goes on until the device ends or you interrupt it. (Other programs may connect to the socket too: a command a line,
/// an answer a line.)
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Control {
    /// The socket
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// The command
    #[arg(value_name = "COMMAND", required = true, trailing_var_arg = true)]
    command: Vec<String>,
}

const EXAMPLES: &str = "\
Examples:
  arraybench control ./c help          which commands there are
  arraybench control ./c status        how the device is
  arraybench control ./c cut torn      power goes, in the middle of whatever it does
  arraybench control ./c events        what happens, a line each";

impl Control {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let path = self.path.display().to_string();
        let host = |what: &str| {
            let what = format!("{path}: {what}");
            move |source| DeviceError::Host { what, source }
        };
        let mut stream = UnixStream::connect(&self.path).map_err(host(
            "nobody serves this socket; start `arraybench device` with --control",
        ))?;
        let command = self.command.join(" ");
        writeln!(stream, "{command}").map_err(host("the command cannot be sent"))?;
        for line in BufReader::new(stream).lines() {
            let line = line.map_err(host("the answer cannot be read"))?;
            print(&format!("{line}\n"))?;
            if line.starts_with("error ") {
                return Ok(Exit::Failed);
            }
            let ended = line == "ok" || line.starts_with("ok ");
            if ended && command != "events" {
                return Ok(Exit::Good);
            }
        }
        match command.as_str() {
            "events" => Ok(Exit::Good),
            _ => {
                Err(DeviceError::File(format!("{path}: the device ended without an answer")).into())
            }
        }
    }
}
