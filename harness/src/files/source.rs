use std::fs::{self, File};
use std::io::Read;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::diagnostic::{FileError, Problem};

/// A text that somebody wrote, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// Path or other name shown in messages.
    pub name: String,
    /// The text.
    pub text: Arc<str>,
}

impl SourceFile {
    /// Largest file of a person's own making: thousands of steps fit, a disk image does not.
    pub const LARGEST_BYTES: u64 = 512 << 10;

    /// Reads the file at `path`.
    ///
    /// # Errors
    /// It is missing, no plain file, too large or not UTF-8.
    pub fn read(path: &Path) -> Result<SourceFile, FileError> {
        let name = path.display().to_string();
        let fail =
            |what: String, remedy: &str| FileError::of(&name, "", Problem::new(what, remedy));
        // Asked before opening: opening a named pipe would wait for its writer.
        let facts = fs::metadata(path).map_err(|error| {
            fail(
                format!("the file cannot be read: {error}"),
                "check the path; it is relative to the current directory",
            )
        })?;
        if !facts.is_file() {
            return Err(fail("this is not a file".to_owned(), "name a .toml file"));
        }
        let mut bytes = Vec::new();
        // The length is not trusted: it may grow, and files in /proc say zero.
        File::open(path)
            .and_then(|file| file.take(Self::LARGEST_BYTES + 1).read_to_end(&mut bytes))
            .map_err(|error| {
                fail(
                    format!("the file cannot be read: {error}"),
                    "check its permissions",
                )
            })?;
        if bytes.len() as u64 > Self::LARGEST_BYTES {
            return Err(fail(
                format!("the file is larger than {} KiB", Self::LARGEST_BYTES >> 10),
                "split it; one story per file",
            ));
        }
        match String::from_utf8(bytes) {
            Ok(text) => Ok(SourceFile {
                name,
                text: text.into(),
            }),
            Err(error) => {
                let valid = error.utf8_error().valid_up_to();
                let text = String::from_utf8_lossy(error.as_bytes()).into_owned();
                let problem = Problem::new("this is not UTF-8 text", "save the file as UTF-8")
                    .at(valid..valid + 1, "first bad byte");
                Err(FileError::of(&name, &text, problem))
            }
        }
    }

    /// The line, counted from 1, of the byte at `offset`.
    pub fn line(&self, offset: usize) -> usize {
        let before = self.text.as_bytes().get(..offset).unwrap_or_default();
        1 + before.iter().filter(|byte| **byte == b'\n').count()
    }

    /// The text of `span` on one line, white space folded.
    pub fn one_line(&self, span: Range<usize>) -> String {
        let text = self.text.get(span).unwrap_or_default();
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}
