//! The images that a rig's masters hold.

use std::collections::BTreeMap;

use distribution::Content::{Combined, Only};
use distribution::container::{Image, write};
use distribution::{Content, Edition, Library, Module, VersionTag};

pub(crate) const NODE_TYPES: [Module; 5] = [
    Module::Drive,
    Module::Communication,
    Module::Work,
    Module::Xy,
    Module::Panel,
];

pub(crate) fn version(edition: Edition) -> VersionTag {
    match edition {
        Edition::Base => VersionTag::from_bytes([1, 0, 0, 0]),
        Edition::Update => VersionTag::from_bytes([2, 0, 0, 0]),
    }
}

/// The code for `content`, different for each.
pub(crate) fn code(edition: Edition, content: Content, length: usize) -> Vec<u8> {
    let seed = 31 * usize::from(content.number()) + if edition == Edition::Base { 1 } else { 7 };
    let byte = |at: usize| u8::try_from((at * 7 + at / 256 + 1) * seed % 251);
    (0..length).map(|at| byte(at).expect("below 251")).collect()
}

#[derive(Clone)]
pub(crate) struct Images {
    pub(crate) length: usize,
    pub(crate) containers: BTreeMap<(bool, u8), Vec<u8>>,
}

impl Images {
    /// Containers with the contents that are named, in both editions.
    pub(crate) fn new(length: usize, contents: &[Content]) -> Images {
        let mut images = Images {
            length,
            containers: BTreeMap::new(),
        };
        for edition in [Edition::Base, Edition::Update] {
            for content in contents {
                images.put(edition, *content);
            }
        }
        images
    }

    pub(crate) fn put(&mut self, edition: Edition, content: Content) {
        let single = [content];
        let all: Vec<Content> = Module::ALL.into_iter().map(Only).collect();
        let parts = if content == Combined {
            &all[..]
        } else {
            &single
        };
        let codes: Vec<Vec<u8>> = parts
            .iter()
            .map(|it| code(edition, *it, self.length))
            .collect();
        let images: Vec<Image<'_>> = parts
            .iter()
            .zip(&codes)
            .map(|(content, bytes)| Image {
                content: *content,
                version: version(edition),
                entry: 4,
                bytes,
            })
            .collect();
        let mut place = vec![0; 8 * self.length + 1024];
        let length = write(&images, &mut place).expect("good images");
        place.truncate(length);
        self.containers
            .insert((edition == Edition::Base, content.number()), place);
    }
}

impl Library for Images {
    fn image(&self, edition: Edition, content: Content) -> Option<&[u8]> {
        let key = (edition == Edition::Base, content.number());
        Some(self.containers.get(&key)?.as_slice())
    }
}
