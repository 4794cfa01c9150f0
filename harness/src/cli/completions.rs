use clap::builder::PossibleValuesParser;
use clap::{Args, Command, CommandFactory};
use clap_complete::{Shell, generate};

use super::Arguments;
use super::exit::{CliError, Exit};
use super::output::print;
use super::select::{name_of, project_scenarios};
use crate::files::built_in_rig_names;

/// Print completions for a shell.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Completions {
    /// Which shell
    shell: Shell,
}

const EXAMPLES: &str = "\
Examples:
  arraybench completions bash > ~/.local/share/bash-completion/completions/arraybench
  arraybench completions fish > ~/.config/fish/completions/arraybench.fish";

impl Completions {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let mut bytes = Vec::new();
        generate(
            self.shell,
            &mut with_names(Arguments::command()),
            "arraybench",
            &mut bytes,
        );
        print(&String::from_utf8_lossy(&bytes))?;
        Ok(Exit::Good)
    }
}

/// The command with the names that go beside paths, for shells to offer. The command that is run
/// takes any word, and complains itself.
fn with_names(command: Command) -> Command {
    let files = project_scenarios().unwrap_or_default();
    let scenarios: Vec<String> = files.iter().map(|file| name_of(file).to_owned()).collect();
    let rigs: Vec<&str> = built_in_rig_names().collect();
    let offer = |command: Command, sub: &str, argument: &str, names: PossibleValuesParser| {
        command.mut_subcommand(sub, |sub| {
            sub.mut_arg(argument, |arg| arg.value_parser(names))
        })
    };
    let command = offer(command, "boot", "rig", rigs.into());
    let command = offer(command, "run", "files", scenarios.clone().into());
    let command = offer(command, "coverage", "files", scenarios.clone().into());
    offer(command, "sweep", "scenario", scenarios.into())
}
