//! `--engine`, the same for every command that runs firmware.

use std::collections::BTreeMap;
use std::ffi::OsStr;

use clap::builder::{PossibleValue, TypedValueParser};
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{Arg, Args, Command, ValueEnum};
use emulator::rig::Slot;

use super::exit::CliError;
use crate::runner::{Engine, Engines};

/// What runs the firmware.
#[derive(Clone, Debug, Args)]
pub(super) struct EngineArgument {
    /// What runs the firmware: of all boards, of single ones, or both (`kvm,B=qemu`)
    #[arg(long = "engine", value_name = "ENGINE", value_delimiter = ',', default_value = "auto", value_parser = OneParser)]
    engines: Vec<One>,
}

/// An engine for one board or for all.
#[derive(Clone, Copy, Debug)]
struct One {
    board: Option<Slot>,
    engine: Name,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Name {
    /// The own VMM where it works, else QEMU
    Auto,
    /// The own VMM on /dev/kvm
    Kvm,
    /// Stock QEMU 10.2 or newer, translating guest code
    Qemu,
    /// Stock QEMU on /dev/kvm
    QemuKvm,
}

/// Takes `NAME` and `BOARD=NAME`, and shows the names.
#[derive(Clone, Copy, Debug)]
struct OneParser;

impl TypedValueParser for OneParser {
    type Value = One;

    fn parse_ref(
        &self,
        command: &Command,
        argument: Option<&Arg>,
        value: &OsStr,
    ) -> Result<One, clap::Error> {
        let text = value.to_string_lossy();
        let (board, name) = match text.split_once('=') {
            None => (None, &*text),
            Some((board, name)) => (Some(board), name),
        };
        let board = board.map(str::parse::<Slot>).transpose();
        let wrong = |error: String| {
            let mut wrong = clap::Error::new(ErrorKind::ValueValidation).with_cmd(command);
            let named = argument.map_or_else(|| "--engine".to_owned(), ToString::to_string);
            wrong.insert(ContextKind::InvalidArg, ContextValue::String(named));
            wrong.insert(
                ContextKind::InvalidValue,
                ContextValue::String(text.to_string()),
            );
            wrong.insert(
                ContextKind::Suggested,
                ContextValue::StyledStrs(vec![error.into()]),
            );
            wrong
        };
        let names = || Name::value_variants().iter().map(Name::name);
        let engine = Name::from_str(name, false).map_err(|_| {
            let names: Vec<String> = names().collect();
            wrong(format!("engines are {}", names.join(", ")))
        })?;
        let board = board.map_err(|error| wrong(error.to_string()))?;
        Ok(One { board, engine })
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        let names = Name::value_variants().iter();
        Some(Box::new(names.filter_map(Name::to_possible_value)))
    }
}

impl Name {
    fn name(&self) -> String {
        let value = self.to_possible_value();
        value.map_or_else(String::new, |value| value.get_name().to_owned())
    }

    fn engine(self) -> Engine {
        match self {
            Name::Auto => Engine::Auto,
            Name::Kvm => Engine::Kvm,
            Name::Qemu => Engine::Qemu,
            Name::QemuKvm => Engine::QemuKvm,
        }
    }
}

impl EngineArgument {
    /// What was asked for.
    ///
    /// # Errors
    /// It contradicts itself.
    pub(super) fn choice(&self) -> Result<Engines, CliError> {
        let mut usual = None;
        let mut boards = BTreeMap::new();
        for one in &self.engines {
            let before = match one.board {
                None => usual.replace(one.engine.engine()),
                Some(board) => boards.insert(board, one.engine.engine()),
            };
            if before.is_some() {
                let whose = one.board.map(|board| format!(" of board {board}"));
                return Err(CliError::Usage(format!(
                    "--engine says twice what the engine{} is; say it once",
                    whose.unwrap_or_default()
                )));
            }
        }
        let usual = usual.unwrap_or_default();
        Ok(Engines { usual, boards })
    }

    /// The same for boards that a debugger is to look into.
    ///
    /// # Errors
    /// Only the own VMM was asked for, which lets no debugger in.
    pub(super) fn with_debugger(&self) -> Result<Engines, CliError> {
        let mut engines = self.choice()?;
        let lets_in = |engine: &Engine| matches!(engine, Engine::Qemu | Engine::QemuKvm);
        if engines.usual == Engine::Auto && !engines.boards.values().any(lets_in) {
            engines.usual = Engine::Qemu;
        }
        if lets_in(&engines.usual) || engines.boards.values().any(lets_in) {
            return Ok(engines);
        }
        let why = "the own VMM lets no debugger in; leave out --engine kvm, name a board of which it is not the \
                   engine (--engine kvm,B=qemu), or leave out --gdb";
        Err(CliError::Usage(why.to_owned()))
    }
}
