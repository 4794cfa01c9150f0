//! The images for nodes, in memory: what a broadcast is read from (steps 300, 301; CD13, CD31). They are kept in
//! the array, as a part of the packages there.

use distribution::container::{Contents, Image, write};
use distribution::{Content, Edition, Library, Module};
use image::{HEADER_SIZE, Kind, PartReader, ReadAt, Version};
use system_area::{Catalogue, Entry, ExtentReader};

use crate::hardware::Hardware;

/// What the images of one edition may take: all together, and once more each for itself.
const EDITION_BYTES: usize = 1 << 20;
/// Both editions.
pub(super) const MEMORY_BYTES: usize = 2 * EDITION_BYTES;

/// From and to, in an edition's memory.
type Stretch = (usize, usize);

/// The images of one package.
#[derive(Debug)]
struct Shelf {
    memory: &'static mut [u8],
    /// The part that was read, by its digest.
    digest: Option<[u8; 32]>,
    version: Option<Version>,
    whole: Option<(Content, Stretch)>,
    single: [Option<Stretch>; Module::ALL.len()],
    /// The common image, where it is one of several.
    common: Option<Stretch>,
}

/// Both editions.
#[derive(Debug)]
pub(super) struct Images {
    base: Shelf,
    update: Shelf,
    /// Base and update are one package.
    is_updated: bool,
}

impl Images {
    pub(super) fn new(memory: &'static mut [u8]) -> Images {
        let (base, update) = memory.split_at_mut(EDITION_BYTES.min(memory.len()));
        Images {
            base: Shelf::new(base),
            update: Shelf::new(update),
            is_updated: true,
        }
    }

    /// Whether there are images of that edition.
    pub(super) fn has_any(&self, edition: Edition) -> bool {
        self.shelf(edition)
            .is_some_and(|shelf| shelf.whole.is_some())
    }

    /// The version of the images of that edition.
    pub(super) fn version(&self, edition: Edition) -> Option<Version> {
        let shelf = self.shelf(edition)?;
        shelf.whole.and(shelf.version)
    }

    fn shelf(&self, edition: Edition) -> Option<&Shelf> {
        match edition {
            Edition::Base => Some(&self.base),
            Edition::Update => (!self.is_updated).then_some(&self.update),
        }
    }

    /// Reads what the catalogue has and memory has not.
    pub(super) fn read(&mut self, hardware: &Hardware, catalogue: &Catalogue) {
        let update = catalogue.node_update();
        self.is_updated = update.is_none();
        self.base
            .read(hardware, Edition::Base, catalogue.node_base());
        if update.is_some() {
            self.update.read(hardware, Edition::Update, update);
        }
    }
}

impl Library for Images {
    fn image(&self, edition: Edition, content: Content) -> Option<&[u8]> {
        let shelf = self.shelf(edition)?;
        let (from, to) = shelf.stretch(content)?;
        shelf.memory.get(from..to)
    }
}

impl Shelf {
    fn new(memory: &'static mut [u8]) -> Shelf {
        Shelf {
            memory,
            digest: None,
            version: None,
            whole: None,
            single: [None; Module::ALL.len()],
            common: None,
        }
    }

    fn stretch(&self, content: Content) -> Option<Stretch> {
        let (kept, whole) = self.whole?;
        match content {
            _ if kept == content => Some(whole),
            Content::Combined => None,
            Content::All => self.common,
            Content::Only(module) => *self.single.get(usize::from(module as u8 - 1))?,
        }
    }

    fn read(&mut self, hardware: &Hardware, edition: Edition, entry: Option<&Entry>) {
        let part = entry.and_then(|entry| Some((entry, entry.package.part(Kind::Node)?)));
        let digest = part.map(|(_, part)| part.digest);
        if digest == self.digest {
            return;
        }
        self.digest = digest;
        self.version = part.map(|(_, part)| part.version);
        self.whole = None;
        let Some((entry, part)) = part else {
            return;
        };
        let (control, edition) = (&hardware.control, edition.as_str());
        let (version, length) = (part.version, part.length);
        let mut stored = ExtentReader::new(hardware.array(), entry.extent);
        let bytes = usize::try_from(part.length).unwrap_or(usize::MAX);
        let room = bytes.checked_sub(HEADER_SIZE);
        let room = room.and_then(|bytes| self.memory.get_mut(..bytes));
        let Some(body) = room else {
            return control.trace(format_args!(
                "node-images-refused edition={edition} cause=too-large"
            ));
        };
        let header = u32::try_from(HEADER_SIZE).unwrap_or(0);
        if PartReader::new(&mut stored, part)
            .read_at(header, body)
            .is_err()
        {
            self.digest = None;
            return control.trace(format_args!(
                "node-images-refused edition={edition} cause=disk-failed"
            ));
        }
        match self.sort() {
            Ok(()) => control.trace(format_args!(
                "node-images-ready edition={edition} version={version} bytes={length}"
            )),
            Err(cause) => {
                self.whole = None;
                let cause = cause.as_str();
                control.trace(format_args!(
                    "node-images-refused edition={edition} cause={cause}"
                ));
            }
        }
    }

    /// Makes of the container at the beginning of memory one for each of its images (CD29).
    fn sort(&mut self) -> Result<(), distribution::Defect> {
        let contents = Contents::parse(self.memory)?;
        let total = contents.total as usize;
        let (whole, mut rest) = self.memory.split_at_mut(total.min(self.memory.len()));
        let contents = Contents::check(whole)?;
        self.single = [None; Module::ALL.len()];
        self.common = None;
        let mut from = total;
        let count = contents.parts().count();
        for part in contents.parts() {
            if count == 1 {
                self.whole = Some((part.content, (0, total)));
                return Ok(());
            }
            let begin = part.offset as usize;
            let image = Image {
                content: part.content,
                version: part.version,
                entry: part.entry,
                bytes: whole
                    .get(begin..begin + part.length as usize)
                    .unwrap_or_default(),
            };
            let length = write(&[image], rest)?;
            let stretch = Some((from, from + length));
            match part.content {
                Content::Only(module) => {
                    if let Some(place) = self.single.get_mut(usize::from(module as u8 - 1)) {
                        *place = stretch;
                    }
                }
                Content::All | Content::Combined => self.common = stretch,
            }
            rest = core::mem::take(&mut rest).split_at_mut(length).1;
            from += length;
        }
        self.whole = Some((Content::Combined, (0, total)));
        Ok(())
    }
}
