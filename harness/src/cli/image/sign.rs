use std::path::{Path, PathBuf};

use clap::Args;
use image_pack as pack;

use super::key::{hex, key_file};
use super::{Contents, complaint, contents, part_bytes, read};
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::{print, write_file};

/// Sign an image, or every image of a package.
///
/// The same key and image always give the same signature. The file is replaced at once or, on any
/// trouble, not at all.
#[derive(Debug, Args)]
pub(super) struct Sign {
    /// The image or package
    #[arg(required_unless_present = "print_key")]
    file: Option<PathBuf>,
    /// The secret key: a file of 32 bytes, or of 64 hexadecimal digits
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Write here instead of replacing the file
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print the public half, for `board.signing_key` of a rig
    #[arg(long)]
    print_key: bool,
}

impl Sign {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let secret = key_file(&self.key)?;
        let public = pack::public_key(&secret)
            .map_err(|error| complaint(&self.key, error.to_string(), "make another key"))?;
        if self.print_key {
            print(&format!("{}\n", hex(&public)))?;
        }
        let Some(file) = &self.file else {
            return Ok(Exit::Good);
        };
        let signed = sign(file, &read(file)?, &secret)?;
        write_file(self.output.as_ref().unwrap_or(file), &signed)?;
        Ok(Exit::Good)
    }
}

fn sign(path: &Path, bytes: &[u8], secret: &[u8; 32]) -> Result<Vec<u8>, CliError> {
    let wrong = |error: pack::PackError| {
        complaint(
            path,
            error.to_string(),
            "pack it anew with `arraybench image pack`",
        )
    };
    // A signature vouches for the body; it is not given to one that its own header disowns.
    match contents(path, bytes)? {
        Contents::Image(_) => {
            super::verify::check_image(path, bytes, None)?;
            let mut signed = bytes.to_vec();
            pack::sign(&mut signed, secret).map_err(wrong)?;
            Ok(signed)
        }
        Contents::Package(package) => {
            super::verify::check_package(path, bytes, &package, None)?;
            let mut parts = Vec::new();
            for part in package.parts() {
                let mut image = part_bytes(path, bytes, part)?.to_vec();
                pack::sign(&mut image, secret).map_err(wrong)?;
                parts.push(image);
            }
            let parts: Vec<&[u8]> = parts.iter().map(Vec::as_slice).collect();
            Ok(pack::package(package.version, &parts).map_err(wrong)?)
        }
    }
}
