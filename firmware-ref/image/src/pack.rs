//! Building and signing images and packages, on the host.

use std::fmt;

use ed25519_compact::{KeyPair, Seed};
use sha2::{Digest, Sha256};

use crate::defect::Defect;
use crate::header::{Component, HEADER_SIZE, ImageHeader, Kind, MAX_COMPONENTS};
use crate::package::{MANIFEST_SIZE, MAX_PARTS, Package, Part};
use crate::record::Record;
use crate::version::Version;

/// What is to be said in the header of a new image.
#[derive(Clone, Debug)]
pub struct Recipe<'a> {
    /// What it is for.
    pub kind: Kind,
    /// Its version.
    pub version: Version,
    /// Where in RAM the body runs.
    pub load_address: u32,
    /// Where in the body execution begins.
    pub entry_offset: u32,
    /// What the body is made of.
    pub components: &'a [Component],
}

/// Why nothing was built.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PackError {
    /// More components than the table has entries.
    TooManyComponents(usize),
    /// More parts than a manifest has entries, or none.
    PartCount(usize),
    /// Larger than 4 GiB.
    TooLarge,
    /// Two parts of one kind.
    PartTwice(Kind),
    /// What would have been built, or was given, is no valid image.
    Image(Defect),
    /// A signing key's seed is 32 bytes and not all zero.
    Key,
}

impl fmt::Display for PackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PackError::TooManyComponents(count) => {
                write!(
                    f,
                    "{count} components, at most {MAX_COMPONENTS} fit the table"
                )
            }
            PackError::PartCount(count) => {
                write!(f, "{count} images, a package has 1 to {MAX_PARTS}")
            }
            PackError::TooLarge => f.write_str("larger than 4 GiB"),
            PackError::PartTwice(kind) => write!(f, "two images of kind {kind}"),
            PackError::Image(defect) => defect.fmt(f),
            PackError::Key => f.write_str("a signing key is 32 bytes, not all of them zero"),
        }
    }
}

impl std::error::Error for PackError {}

/// Builds an unsigned image file.
pub fn image(recipe: &Recipe<'_>, body: &[u8]) -> Result<Vec<u8>, PackError> {
    let mut components = [None; MAX_COMPONENTS];
    if recipe.components.len() > MAX_COMPONENTS {
        return Err(PackError::TooManyComponents(recipe.components.len()));
    }
    for (slot, component) in components.iter_mut().zip(recipe.components) {
        *slot = Some(*component);
    }
    let header = ImageHeader {
        kind: recipe.kind,
        version: recipe.version,
        body_length: u32::try_from(body.len()).map_err(|_| PackError::TooLarge)?,
        load_address: recipe.load_address,
        entry_offset: recipe.entry_offset,
        body_digest: Sha256::digest(body).into(),
        components,
        signature: [0; 64],
        record: Record::PACKED,
    };
    let mut file = header.encode().to_vec();
    file.extend_from_slice(body);
    // The parser is the judge of what may be in a header.
    ImageHeader::parse(&file).map_err(PackError::Image)?;
    Ok(file)
}

/// The public key that belongs to the secret `seed`.
pub fn public_key(seed: &[u8; 32]) -> Result<[u8; 32], PackError> {
    Ok(*key_pair(seed)?.pk)
}

fn key_pair(seed: &[u8; 32]) -> Result<KeyPair, PackError> {
    KeyPair::try_from_seed(Seed::new(*seed)).map_err(|_| PackError::Key)
}

/// Signs an image file in place. The same key and image always give the same signature.
pub fn sign(file: &mut [u8], seed: &[u8; 32]) -> Result<(), PackError> {
    let mut header = ImageHeader::parse(file).map_err(PackError::Image)?;
    let signature = key_pair(seed)?.sk.sign(header.signed_bytes(), None);
    header.signature.copy_from_slice(&*signature);
    replace_header(file, &header)
}

/// Stamps an image file as if a controller had stored it, for flash that is filled at the factory.
pub fn stamp(file: &mut [u8], record: Record) -> Result<(), PackError> {
    let header = ImageHeader::parse(file).map_err(PackError::Image)?;
    replace_header(file, &header.with_record(record))
}

fn replace_header(file: &mut [u8], header: &ImageHeader) -> Result<(), PackError> {
    let place = file
        .get_mut(..HEADER_SIZE)
        .ok_or(PackError::Image(Defect::Truncated))?;
    place.copy_from_slice(&header.encode());
    Ok(())
}

/// Builds a package of image files; each begins at a sector, so that it can be read without its
/// neighbours.
pub fn package(version: Version, images: &[&[u8]]) -> Result<Vec<u8>, PackError> {
    if images.is_empty() || images.len() > MAX_PARTS {
        return Err(PackError::PartCount(images.len()));
    }
    let mut file = vec![0; MANIFEST_SIZE];
    let mut package = Package {
        version,
        length: 0,
        parts: [None; MAX_PARTS],
    };
    for (index, image) in images.iter().enumerate() {
        let header = ImageHeader::parse(image).map_err(PackError::Image)?;
        if package.part(header.kind).is_some() {
            return Err(PackError::PartTwice(header.kind));
        }
        let length = u32::try_from(image.len()).map_err(|_| PackError::TooLarge)?;
        if header.total_length() != u64::from(length) {
            let stated = header.total_length();
            return Err(PackError::Image(Defect::WrongLength {
                stated,
                found: length,
            }));
        }
        package.parts[index] = Some(Part {
            kind: header.kind,
            version: header.version,
            offset: u32::try_from(file.len()).map_err(|_| PackError::TooLarge)?,
            length,
            digest: Sha256::digest(image).into(),
        });
        file.extend_from_slice(image);
        file.resize(file.len().next_multiple_of(MANIFEST_SIZE), 0);
    }
    package.length = u32::try_from(file.len()).map_err(|_| PackError::TooLarge)?;
    file[..MANIFEST_SIZE].copy_from_slice(&package.encode());
    Ok(file)
}
