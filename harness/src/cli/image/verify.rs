use std::path::{Path, PathBuf};

use ::image::{ImageHeader, Kind, Package, Requirements, Trust};
use clap::Args;

use super::key::{hex_key, key_file};
use super::{Contents, complaint, contents, part_bytes, read};
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::print;
use crate::files::FileError;

/// Check everything there is to check: headers, lengths, hashes and, with --key, signatures.
///
/// Exits with 3 where anything is wrong.
#[derive(Debug, Args)]
pub(super) struct Verify {
    /// The image or package
    file: PathBuf,
    /// Demand signatures by the owner of this public key: 64 hexadecimal digits, or a file of them
    #[arg(long, value_name = "KEY")]
    key: Option<String>,
}

impl Verify {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let key = match &self.key {
            None => None,
            Some(text) => match hex_key(text) {
                Some(key) => Some(key),
                None => Some(key_file(Path::new(text))?),
            },
        };
        let bytes = read(&self.file)?;
        let what = match contents(&self.file, &bytes)? {
            Contents::Image(_) => {
                let header = check_image(&self.file, &bytes, key.as_ref())?;
                format!("image {} {}", header.kind, header.version)
            }
            Contents::Package(package) => {
                check_package(&self.file, &bytes, &package, key.as_ref())?;
                format!(
                    "package {} of {} images",
                    package.version,
                    package.parts().count()
                )
            }
        };
        let signed = if key.is_some() {
            ", signed by that key"
        } else {
            ""
        };
        print(&format!(
            "{}: {what}, nothing wrong{signed}\n",
            self.file.display()
        ))?;
        Ok(Exit::Good)
    }
}

const REMEDY: &str = "get the file again, or pack and sign it anew with `arraybench image`";

fn requirements(kind: Kind, key: Option<&[u8; 32]>) -> Requirements<'_> {
    Requirements {
        kind,
        capacity: u32::MAX,
        load_window: 0..u32::MAX,
        trust: key.map_or(Trust::Anyone, Trust::SignedBy),
    }
}

/// Checks an image file to the last byte.
pub(super) fn check_image(
    path: &Path,
    bytes: &[u8],
    key: Option<&[u8; 32]>,
) -> Result<ImageHeader, FileError> {
    let wrong = |what: String| complaint(path, what, REMEDY);
    let header = ImageHeader::parse(bytes).map_err(|defect| wrong(defect.to_string()))?;
    requirements(header.kind, key)
        .check_file(&mut &*bytes, &mut [0; 4096])
        .map_err(|defect| wrong(defect.to_string()))
}

/// Checks a package to the last byte.
pub(super) fn check_package(
    path: &Path,
    bytes: &[u8],
    package: &Package,
    key: Option<&[u8; 32]>,
) -> Result<(), FileError> {
    if u64::from(package.length) != bytes.len() as u64 {
        let what = format!(
            "the manifest says {} bytes, the file has {}",
            package.length,
            bytes.len()
        );
        return Err(complaint(path, what, REMEDY));
    }
    for part in package.parts() {
        part_bytes(path, bytes, part)?;
        package
            .check_part(
                part,
                &mut &*bytes,
                &requirements(part.kind, key),
                &mut [0; 4096],
            )
            .map_err(|defect| complaint(path, defect.to_string(), REMEDY))?;
    }
    Ok(())
}
