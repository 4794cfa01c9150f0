//! The `arraybench` command: arguments, one file per command, exit codes.
//!
//! Glue only: commands read files, ask the [`crate::runner`], feed [`crate::report`] and turn the
//! result into an [`Exit`].

mod boot;
mod bridge;
mod completions;
mod control;
mod coverage;
mod device;
mod doctor;
mod engine;
mod exit;
mod image;
mod output;
mod run;
mod select;
mod sweep;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use exit::{CliError, Exit};

/// Boots virtual storage arrays on real firmware, cuts their power, and compares what happened.
#[derive(Debug, Parser)]
#[command(name = "arraybench", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes:
  0  everything held
  1  something did not hold: an expectation, an invariant, a golden, a row
  2  the command line is wrong
  3  a scenario, rig, image, package or record file is wrong
  4  the bench could not do its part: no engine, no firmware, no space

First steps:
  arraybench doctor                     what this machine can do
  arraybench run --all                  every scenario
  arraybench boot partner-pair          a pair of controllers to play with";

// What each does, and how, is said at its arguments.
#[derive(Debug, Subcommand)]
enum Command {
    Run(run::Run),
    Boot(boot::Boot),
    Sweep(sweep::Sweep),
    Image(image::Image),
    Coverage(coverage::CoverageCommand),
    Device(device::Device),
    Control(control::Control),
    Doctor(doctor::Doctor),
    Completions(completions::Completions),
}

/// Runs the command that was typed.
pub fn main() -> ExitCode {
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version come this way too, and are no error. A reader who left is none either.
            let exit = if error.use_stderr() {
                Exit::Usage
            } else {
                Exit::Good
            };
            let _ = error.print();
            return exit.into();
        }
    };
    let result = match arguments.command {
        Command::Run(command) => command.run(),
        Command::Boot(command) => command.run(),
        Command::Sweep(command) => command.run(),
        Command::Image(command) => command.run(),
        Command::Coverage(command) => command.run(),
        Command::Device(command) => command.run(),
        Command::Control(command) => command.run(),
        Command::Doctor(command) => command.run(),
        Command::Completions(command) => command.run(),
    };
    match result {
        Ok(exit) => exit.into(),
        Err(error) => error.tell().into(),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_arguments_make_sense() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_teaches_with_examples() {
        let mut command = Arguments::command();
        command.build();
        for sub in command
            .get_subcommands_mut()
            .filter(|sub| sub.get_name() != "help")
        {
            let help = sub.render_long_help().to_string();
            let name = sub.get_name();
            assert!(help.contains(&format!("arraybench {name}")), "{help}");
            assert!(help.contains("Examples:"), "{name}");
            // More than the one line of the overview, where there is more to say.
            let before_usage = help.split("Usage:").next().unwrap_or_default();
            let teaches = before_usage.trim().lines().count() > 1;
            assert!(teaches || name == "completions", "{help}");
        }
    }
}
