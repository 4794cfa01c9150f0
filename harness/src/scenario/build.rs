//! Where an image comes from.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use image::{HEADER_SIZE, ImageHeader, Kind, MANIFEST_SIZE, Package, PackageDefect};

use crate::files::{LARGEST_FIRMWARE_BYTES, Problem, nearest, open_file};
use crate::firmware;

/// Where an image comes from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Build {
    /// A build of the reference firmware.
    Reference(String),
    /// A file of somebody's own: an image, or a package with one for each level.
    File(PathBuf),
}

/// Builds of the reference firmware. The last ones are known to be bad.
pub const REFERENCE_BUILDS: [&str; 11] = [
    "1.0",
    "1.1",
    "2.0",
    "1.0-iscsi",
    "2.0-iscsi",
    "1.0-nodes",
    "2.0-nodes",
    "2.0-crash",
    "2.0-hang",
    "2.0-mute",
    "2.0-brick",
];

const PACK_IT: &str = "make it with `arraybench image pack`";

/// What a firmware file says it is.
pub(crate) enum FirmwareFile {
    /// One image.
    Image(ImageHeader),
    /// A package of images.
    Package(Package),
}

impl FirmwareFile {
    /// What a file of `length` bytes that begins with `head` is.
    ///
    /// # Errors
    /// It is neither, or not all of it is there.
    fn parse(head: &[u8], length: u64) -> Result<FirmwareFile, Problem> {
        let (found, whole) = match Package::parse(head) {
            Ok(package) => (FirmwareFile::Package(package), u64::from(package.length)),
            // Not even meant to be one.
            Err(PackageDefect::Magic | PackageDefect::Truncated) => {
                let header = ImageHeader::parse(head)
                    .map_err(|defect| Problem::new(defect.to_string(), PACK_IT))?;
                (FirmwareFile::Image(header), header.total_length())
            }
            Err(defect) => return Err(Problem::new(defect.to_string(), PACK_IT)),
        };
        if whole != length {
            let what = format!("its header says {whole} bytes, the file has {length}");
            return Err(Problem::new(what, "get the whole file"));
        }
        Ok(found)
    }

    /// Reads the header of the file at `path`.
    ///
    /// # Errors
    /// It is no firmware.
    pub(crate) fn read(path: &Path) -> Result<FirmwareFile, Problem> {
        let (file, length) = open_file(path)?;
        if length > LARGEST_FIRMWARE_BYTES {
            let what = format!(
                "the file is larger than {} MiB",
                LARGEST_FIRMWARE_BYTES >> 20
            );
            return Err(Problem::new(what, "no image or package is that large"));
        }
        let mut head = Vec::new();
        file.take(HEADER_SIZE.max(MANIFEST_SIZE) as u64)
            .read_to_end(&mut head)
            .map_err(|error| Problem::new(error.to_string(), "check the disk it is on"))?;
        FirmwareFile::parse(&head, length)
    }
}

impl fmt::Display for Build {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Build::Reference(name) => f.write_str(name),
            Build::File(path) => path.display().fmt(f),
        }
    }
}

impl Build {
    /// A build by name, or a file (recognised by a `/`) relative to `folder`.
    ///
    /// # Errors
    /// What is wrong, and the remedy.
    pub fn parse(text: &str, folder: &Path) -> Result<Build, (String, String)> {
        if text.contains('/') {
            let path = folder.join(text);
            if !path.is_file() {
                return Err((
                    format!("there is no file {}", path.display()),
                    "check the path; it is relative to the file that names it".to_owned(),
                ));
            }
            return match FirmwareFile::read(&path) {
                Ok(_) => Ok(Build::File(path)),
                Err(Problem { what, remedy, .. }) => {
                    Err((format!("{} is no firmware: {what}", path.display()), remedy))
                }
            };
        }
        if REFERENCE_BUILDS.contains(&text) {
            return Ok(Build::Reference(text.to_owned()));
        }
        let remedy = match nearest(text, REFERENCE_BUILDS) {
            // Another version number is no slip of a finger.
            Some(meant) if text.contains('-') => format!("did you mean \"{meant}\"?"),
            _ => format!(
                "builds are {}; a file of your own is named with a `/`: \"./my.img\"",
                REFERENCE_BUILDS.join(", ")
            ),
        };
        Err((format!("there is no build \"{text}\""), remedy))
    }

    /// Images for nodes by version, or a file (recognised by a `/`) relative to `folder`.
    ///
    /// # Errors
    /// What is wrong, and the remedy.
    pub(crate) fn parse_nodes(text: &str, folder: &Path) -> Result<Build, (String, String)> {
        if text.contains('/') {
            return Build::parse(text, folder);
        }
        if firmware::node_library(text).is_some() {
            return Ok(Build::Reference(text.to_owned()));
        }
        let known = firmware::node_versions().join(", ");
        let remedy = format!("nodes have {known}; a file of your own is named with a `/`");
        Err((format!("there are no images \"{text}\" for nodes"), remedy))
    }

    /// The reference build of `kind`. A special build differs in L3 only; its L2 is that of the version
    /// it is a variant of.
    pub(crate) fn reference(version: &str, kind: Kind) -> Option<&'static [u8]> {
        let number = version.split('-').next().unwrap_or(version);
        let found = firmware::find(kind, version).or_else(|| firmware::find(kind, number));
        found.map(|firmware| firmware.bytes)
    }

    /// The images for nodes that come with it: a build that serves nodes comes with those of its own
    /// number, a package of somebody's own with those in it.
    pub(crate) fn node_images(&self) -> Option<Build> {
        match self {
            Build::Reference(version) => {
                let number = version.strip_suffix("-nodes")?;
                Some(Build::Reference(number.to_owned()))
            }
            Build::File(path) => match FirmwareFile::read(path) {
                Ok(FirmwareFile::Package(it)) => it.part(Kind::Node).map(|_| self.clone()),
                _ => None,
            },
        }
    }

    /// How long its image of `kind` is.
    ///
    /// # Errors
    /// It has none.
    pub fn image_bytes(&self, kind: Kind) -> Result<u64, Problem> {
        let none = || {
            let what = format!("{self} has no {kind} image");
            let remedy = "pack one image a level into a package: `arraybench image pack --help`";
            Problem::new(what, remedy)
        };
        match self {
            Build::Reference(version) if kind == Kind::Node => {
                let image = firmware::node_library(version).ok_or_else(none)?;
                Ok(image.len() as u64)
            }
            Build::Reference(version) => {
                let image = Build::reference(version, kind).ok_or_else(none)?;
                Ok(image.len() as u64)
            }
            Build::File(path) => match FirmwareFile::read(path)? {
                FirmwareFile::Image(header) if header.kind == kind => Ok(header.total_length()),
                FirmwareFile::Image(_) => Err(none()),
                FirmwareFile::Package(package) => {
                    let part = package.part(kind).ok_or_else(none)?;
                    Ok(u64::from(part.length))
                }
            },
        }
    }
}
