use std::path::PathBuf;
use std::str::FromStr;

use ::image::{Component, ComponentKind, Kind, Version};
use clap::Args;
use image_pack as pack;

use super::{complaint, read};
use crate::cli::exit::{CliError, Exit};
use crate::cli::output::{print, write_file};

/// Make an image out of a body, or a package out of images.
///
/// With --kind the one FILE is the body of an image: flat bytes, as they lie in RAM. Without it the
/// FILES are images, one per level, and the result is a package.
#[derive(Debug, Args)]
pub(super) struct Pack {
    /// The body, or the images
    #[arg(value_name = "FILES", required = true)]
    files: Vec<PathBuf>,
    /// Version: MAJOR.MINOR or MAJOR.MINOR-BUILD
    #[arg(long)]
    version: String,
    /// Make an image of this kind: l1, l2, l3, adapter, node or node-rom
    #[arg(long)]
    kind: Option<String>,
    /// Where in RAM the body runs
    #[arg(long, value_name = "ADDRESS", requires = "kind", value_parser = number)]
    load: Option<u32>,
    /// Where in the body execution begins
    #[arg(long, value_name = "OFFSET", requires = "kind", value_parser = number, default_value = "0")]
    entry: u32,
    /// A stretch of the body, e.g. application:0x1000:0x400 (boot-code, drivers, os, application)
    #[arg(
        long = "component",
        value_name = "KIND:OFFSET:LENGTH",
        requires = "kind"
    )]
    components: Vec<ComponentArgument>,
    /// The file to write
    #[arg(long, short, value_name = "FILE")]
    output: PathBuf,
}

/// Where the levels run on the AB-1 board (manual of the reference firmware).
const USUAL_LOAD: [(Kind, u32); 2] = [(Kind::L2, 0x10_0000), (Kind::L3, 0x20_0000)];

fn number(text: &str) -> Result<u32, String> {
    let parsed = match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16),
        None => text.parse(),
    };
    parsed.map_err(|_| format!("`{text}` is no number; write 4096 or 0x1000"))
}

#[derive(Clone, Copy, Debug)]
struct ComponentArgument(Component);

impl FromStr for ComponentArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<ComponentArgument, String> {
        let mut parts = text.split(':');
        let mut next = || {
            parts
                .next()
                .ok_or_else(|| format!("`{text}` is not KIND:OFFSET:LENGTH"))
        };
        let (kind, offset, length) = (next()?, next()?, next()?);
        let known = ComponentKind::ALL
            .into_iter()
            .find(|known| known.as_str() == kind);
        let words = || ComponentKind::ALL.map(|kind| kind.as_str()).join(", ");
        Ok(ComponentArgument(Component {
            kind: known.ok_or_else(|| format!("`{kind}` is none of {}", words()))?,
            offset: number(offset)?,
            length: number(length)?,
        }))
    }
}

fn kind(text: &str) -> Result<Kind, CliError> {
    let known = Kind::ALL
        .into_iter()
        .find(|kind| kind.as_str().eq_ignore_ascii_case(text));
    known.ok_or_else(|| {
        let words = Kind::ALL.map(|kind| kind.as_str()).join(", ");
        CliError::Usage(format!("there is no kind `{text}`; kinds are {words}"))
    })
}

impl Pack {
    pub(super) fn run(self) -> Result<Exit, CliError> {
        let version: Version = self
            .version
            .parse()
            .map_err(|error| CliError::Usage(format!("--version {}: {error}", self.version)))?;
        let bytes = match &self.kind {
            Some(text) => self.image(kind(text)?, version)?,
            None => self.package(version)?,
        };
        write_file(&self.output, &bytes)?;
        print(&format!(
            "{}: {} bytes\n",
            self.output.display(),
            bytes.len()
        ))?;
        Ok(Exit::Good)
    }

    fn image(&self, kind: Kind, version: Version) -> Result<Vec<u8>, CliError> {
        let [body_path] = self.files.as_slice() else {
            return Err(CliError::Usage(
                "an image has one body; name one file".to_owned(),
            ));
        };
        let usual = USUAL_LOAD.iter().find(|(known, _)| *known == kind);
        let load_address = self
            .load
            .or(usual.map(|(_, address)| *address))
            .ok_or_else(|| {
                CliError::Usage(format!(
                    "say with --load where an image of kind {kind} runs"
                ))
            })?;
        let body = read(body_path)?;
        let components: Vec<Component> = self.components.iter().map(|c| c.0).collect();
        let recipe = pack::Recipe {
            kind,
            version,
            load_address,
            entry_offset: self.entry,
            components: &components,
        };
        pack::image(&recipe, &body).map_err(|error| {
            let remedy = "mend the body, or what is said of it on the command line";
            complaint(body_path, error.to_string(), remedy).into()
        })
    }

    fn package(&self, version: Version) -> Result<Vec<u8>, CliError> {
        let images = self
            .files
            .iter()
            .map(|path| read(path))
            .collect::<Result<Vec<_>, _>>()?;
        for (path, bytes) in self.files.iter().zip(&images) {
            super::verify::check_image(path, bytes, None)?;
        }
        let parts: Vec<&[u8]> = images.iter().map(Vec::as_slice).collect();
        pack::package(version, &parts).map_err(|error| {
            CliError::Usage(format!("no package can be made of these images: {error}"))
        })
    }
}
