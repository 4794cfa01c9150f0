//! `arraybench image`: firmware images and packages as files.

mod inspect;
mod key;
mod pack;
mod sign;
#[cfg(test)]
mod tests;
mod verify;

use std::path::Path;

use ::image::{ImageHeader, Package, PackageDefect, Part};
use clap::{Args, Subcommand};

use super::exit::{CliError, Exit};
use crate::files::{FileError, LARGEST_FIRMWARE_BYTES, Problem, read_binary};

/// Pack, inspect, sign and verify firmware images and packages.
///
/// An image is one level of firmware (L2 or L3) with a header that says kind, version, length, load
/// address and hash. A package is what lies on service media and on the array: one image per level.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Image {
    #[command(subcommand)]
    command: ImageCommand,
}

const EXAMPLES: &str = "\
Examples:
  arraybench image pack --kind l3 --version 2.0 --load 0x200000 body.bin -o l3.img
  arraybench image pack --version 2.0 l2.img l3.img -o 2.0.abp
                                               a package of two images
  arraybench image inspect 2.0.abp             what is in it
  head -c 32 /dev/urandom > secret.key         a new signing key
  arraybench image sign 2.0.abp --key secret.key
  arraybench image sign --key secret.key --print-key
                                               the public half, for a rig's board.signing_key
  arraybench image verify 2.0.abp --key <64 hexadecimal digits>";

#[derive(Debug, Subcommand)]
enum ImageCommand {
    Pack(pack::Pack),
    Inspect(inspect::Inspect),
    Sign(sign::Sign),
    Verify(verify::Verify),
}

impl Image {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        match self.command {
            ImageCommand::Pack(command) => command.run(),
            ImageCommand::Inspect(command) => command.run(),
            ImageCommand::Sign(command) => command.run(),
            ImageCommand::Verify(command) => command.run(),
        }
    }
}

/// Reads a binary file within bounds.
fn read(path: &Path) -> Result<Vec<u8>, CliError> {
    read_binary(path, LARGEST_FIRMWARE_BYTES)
        .map_err(|problem| FileError::of(&path.display().to_string(), "", problem).into())
}

fn complaint(path: &Path, what: impl Into<String>, remedy: &str) -> FileError {
    FileError::of(&path.display().to_string(), "", Problem::new(what, remedy))
}

/// What a file turned out to be.
enum Contents {
    Image(ImageHeader),
    Package(Package),
}

/// Reads the header or manifest that `bytes` begin with.
fn contents(path: &Path, bytes: &[u8]) -> Result<Contents, FileError> {
    match Package::parse(bytes) {
        Ok(package) => return Ok(Contents::Package(package)),
        // Not even meant to be one.
        Err(PackageDefect::Magic | PackageDefect::Truncated) => {}
        Err(defect) => {
            return Err(complaint(
                path,
                defect.to_string(),
                "pack it anew with `arraybench image pack`",
            ));
        }
    }
    ImageHeader::parse(bytes)
        .map(Contents::Image)
        .map_err(|defect| {
            complaint(
                path,
                defect.to_string(),
                "pack it anew with `arraybench image pack`",
            )
        })
}

/// The bytes of one part of a package.
fn part_bytes<'b>(path: &Path, bytes: &'b [u8], part: &Part) -> Result<&'b [u8], FileError> {
    let range = || {
        let start = usize::try_from(part.offset).ok()?;
        let end = start.checked_add(usize::try_from(part.length).ok()?)?;
        bytes.get(start..end)
    };
    range().ok_or_else(|| {
        let what = format!("the file ends within its {} image", part.kind);
        complaint(path, what, "get the whole file")
    })
}
