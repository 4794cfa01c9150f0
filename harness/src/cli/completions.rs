use clap::{Args, CommandFactory};
use clap_complete::{Shell, generate};

use super::Arguments;
use super::exit::{CliError, Exit};
use super::output::print;

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
            &mut Arguments::command(),
            "arraybench",
            &mut bytes,
        );
        print(&String::from_utf8_lossy(&bytes))?;
        Ok(Exit::Good)
    }
}
