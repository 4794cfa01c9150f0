use std::env;
use std::fs;
use std::io::{self, IsTerminal, Write};
use std::path::Path;

use super::exit::CliError;

/// Colours were not turned off (no-color.org).
fn colours_wanted() -> bool {
    env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Whether the output is a terminal that may be coloured.
pub(super) fn stdout_colours() -> bool {
    io::stdout().is_terminal() && colours_wanted()
}

/// Whether the error output is a terminal that may be coloured.
pub(super) fn stderr_colours() -> bool {
    io::stderr().is_terminal() && colours_wanted()
}

/// Whether a progress bar would be seen.
pub(super) fn bar_wanted() -> bool {
    io::stderr().is_terminal()
}

/// Prints text.
pub(super) fn print(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(CliError::stdout)
}

/// Writes a file, whole or not at all.
pub(super) fn write_file(path: &Path, bytes: &[u8]) -> Result<(), CliError> {
    let mut new = path.to_path_buf().into_os_string();
    new.push(".new");
    let new = Path::new(&new);
    let write = || {
        let mut file = fs::File::create(new)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(new, path)
    };
    write().map_err(|source| {
        let _ = fs::remove_file(new);
        CliError::Output {
            what: format!("{} cannot be written", path.display()),
            source,
        }
    })
}
