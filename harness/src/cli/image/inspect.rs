use std::fmt::Write as _;
use std::path::PathBuf;

use ::image::{ImageHeader, Package};
use clap::Args;

use super::key::hex;
use super::{Contents, contents, part_bytes, read};
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::print;

/// Show what an image or package says of itself. Checks the header only; `verify` checks all.
#[derive(Debug, Args)]
pub(super) struct Inspect {
    /// The image or package
    file: PathBuf,
}

impl Inspect {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let bytes = read(&self.file)?;
        let text = match contents(&self.file, &bytes)? {
            Contents::Image(header) => image_text(&header, ""),
            Contents::Package(package) => {
                let mut text = package_text(&package);
                for part in package.parts() {
                    let bytes = part_bytes(&self.file, &bytes, part)?;
                    match ImageHeader::parse(bytes) {
                        Ok(header) => text.push_str(&image_text(&header, "  ")),
                        Err(defect) => {
                            let _ = writeln!(text, "  {} image: {defect}", part.kind);
                        }
                    }
                }
                text
            }
        };
        print(&text)?;
        Ok(Exit::Good)
    }
}

fn package_text(package: &Package) -> String {
    format!(
        "package\nversion     {}\nlength      {} bytes\n",
        package.version, package.length
    )
}

fn image_text(header: &ImageHeader, indent: &str) -> String {
    let mut out = String::new();
    let mut line = |name: &str, value: String| {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{indent}{name:<11} {value}");
    };
    line("image", header.kind.to_string());
    line("version", header.version.to_string());
    line(
        "length",
        format!(
            "{} bytes, of which {} body",
            header.total_length(),
            header.body_length
        ),
    );
    line(
        "runs at",
        format!(
            "{:#x}, entered at {:#x}",
            header.load_address,
            u64::from(header.load_address) + u64::from(header.entry_offset)
        ),
    );
    line("SHA-256", hex(&header.body_digest));
    for component in header.components() {
        let (kind, offset, length) = (component.kind.as_str(), component.offset, component.length);
        line(
            "component",
            format!("{kind}, {length} bytes at {offset:#x}"),
        );
    }
    line(
        "signature",
        if header.is_signed() { "there" } else { "none" }.to_owned(),
    );
    let record = header.record;
    if record != ::image::Record::PACKED {
        line(
            "stored",
            format!(
                "as number {}, at {} s since 1970",
                record.sequence, record.programmed_s
            ),
        );
    }
    out
}
