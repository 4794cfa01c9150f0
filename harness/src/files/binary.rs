use std::fs::{self, File};
use std::io::Read;
use std::path::Path;

use super::diagnostic::Problem;

/// Largest firmware file: larger than any bank or package area that a rig can have.
pub const LARGEST_FIRMWARE_BYTES: u64 = 32 << 20;

/// Opens a file for reading; says how long it is.
///
/// # Errors
/// It is missing or no plain file.
pub fn open_file(path: &Path) -> Result<(File, u64), Problem> {
    let cannot = |error: std::io::Error| {
        let what = format!("the file cannot be read: {error}");
        Problem::new(what, "check the path and its permissions")
    };
    // Asked before opening: opening a named pipe would wait for its writer.
    let facts = fs::metadata(path).map_err(cannot)?;
    if !facts.is_file() {
        return Err(Problem::new("this is not a file", "name a plain file"));
    }
    let file = File::open(path).map_err(cannot)?;
    Ok((file, facts.len()))
}

/// Reads a binary file of at most `most` bytes.
///
/// # Errors
/// It is missing, no plain file or too large.
pub fn read_binary(path: &Path, most: u64) -> Result<Vec<u8>, Problem> {
    let (file, _) = open_file(path)?;
    let mut bytes = Vec::new();
    file.take(most.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(|error| {
            let what = format!("the file cannot be read: {error}");
            Problem::new(what, "check the disk it is on")
        })?;
    if bytes.len() as u64 > most {
        let what = format!("the file is larger than {} KiB", most >> 10);
        return Err(Problem::new(what, "name the right file"));
    }
    Ok(bytes)
}
