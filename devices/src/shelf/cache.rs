//! The volatile write cache: sectors of the volume, sealed as the members will store them.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::pool::Pool;
use super::sector::{self, BLOCK_SECTORS, Part, STORED_BYTES, Stored};
use crate::block::{SECTOR_BYTES, Source};
use crate::medium::Chunk;
use crate::sparse::Sparse;

/// The volatile write cache, by sector of the volume.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cache {
    /// Written since the running round began.
    pub(super) dirty: Sectors,
    /// What the running round has still to do.
    pub(super) leaving: Sectors,
    /// What blocks are made of.
    #[serde(skip)]
    pub(super) pool: Pool,
}

impl Cache {
    /// How many of so many sectors, all of one block, are cached or not just as the first one is; and
    /// these, if they are.
    pub(super) fn find(&self, sector: u64, most: u64) -> (u64, Option<Part<'_>>) {
        let (newer, dirty) = self.dirty.find(sector, most);
        if dirty.is_some() {
            return (newer, dirty);
        }
        self.leaving.find(sector, newer)
    }

    /// Seals what comes next from `from` into so many sectors.
    pub(super) fn write(&mut self, sector: u64, sectors: u64, from: &mut dyn Source) {
        let (mut next, end) = (sector, sector + sectors);
        while next < end {
            let (begun, left) = (next % BLOCK_SECTORS, end - next);
            if begun == 0 && left >= BLOCK_SECTORS {
                let blocks = left / BLOCK_SECTORS;
                next += self.dirty.write_blocks(next, blocks, from, &mut self.pool);
            } else {
                let sectors = left.min(BLOCK_SECTORS - begun);
                fill(self.dirty.make(next, sectors), from);
                next += sectors;
            }
        }
    }

    pub(super) fn bytes(&self) -> u64 {
        (self.dirty.count + self.leaving.count) * SECTOR_BYTES as u64
    }

    /// Takes everything out, sector by sector, newest content of each.
    pub(super) fn drain(&mut self) -> Vec<(u64, Stored)> {
        let mut all = std::mem::take(&mut self.leaving);
        for (sector, stored) in std::mem::take(&mut self.dirty).each() {
            all.put(sector, &stored);
        }
        all.each().collect()
    }
}

/// Sectors of the volume, in blocks of eight.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sectors {
    blocks: Sparse<Block>,
    count: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Block {
    /// Bit n: sector n is there.
    there: u8,
    chunk: Chunk,
}

impl Block {
    /// How many sectors from `first` on, at most so many, are there or not just as the first one is; and
    /// whether they are.
    fn stretch(&self, first: u64, most: u64) -> (u64, bool) {
        let rest = self.there >> first;
        let there = rest & 1 == 1;
        let same = if there {
            rest.trailing_ones()
        } else {
            rest.trailing_zeros()
        };
        (most.min(same.into()), there)
    }
}

impl Sectors {
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// See [`Cache::find`].
    fn find(&self, sector: u64, most: u64) -> (u64, Option<Part<'_>>) {
        let cached = || self.blocks.get(sector / BLOCK_SECTORS);
        let Some(block) = (!self.is_empty()).then(cached).flatten() else {
            return (most, None);
        };
        let first = sector % BLOCK_SECTORS;
        let (sectors, there) = block.stretch(first, most);
        let stored = || Part::of(Cow::Borrowed(&block.chunk), first, sectors);
        (sectors, there.then(stored))
    }

    /// Seals what comes next from `from` into whole blocks, at least one and at most so many; how many sectors
    /// that were.
    fn write_blocks(
        &mut self,
        sector: u64,
        most: u64,
        from: &mut dyn Source,
        pool: &mut Pool,
    ) -> u64 {
        let places = self.blocks.places(sector / BLOCK_SECTORS, most);
        for place in places.iter_mut() {
            let (there, chunk) = match place.take() {
                Some(block) => (block.there, Some(block.chunk)),
                None => (0, None),
            };
            let own = chunk.and_then(|mut chunk| chunk.is_unshared().then_some(chunk));
            self.count += u64::from(there.count_zeros());
            *place = Some(Block {
                there: u8::MAX,
                chunk: own.unwrap_or_else(|| pool.take()),
            });
        }
        // Whose they are is settled for all of them before the first is filled: that would have to wait for
        // memory to have taken what is under way to it.
        let chunks = places.iter_mut().flatten();
        let chunks: Vec<_> = chunks.map(|block| block.chunk.bytes_mut()).collect();
        let sectors = chunks.len() as u64 * BLOCK_SECTORS;
        for chunk in chunks {
            fill(chunk.as_chunks_mut().0, from);
        }
        sectors
    }

    /// Puts in sectors, all of one block.
    pub(super) fn put(&mut self, sector: u64, stored: &Stored) {
        let places = self.make(sector, stored.sectors());
        places.as_flattened_mut().copy_from_slice(stored);
    }

    /// Places for sectors of one block, which count as there from now on.
    fn make(&mut self, sector: u64, sectors: u64) -> &mut [[u8; STORED_BYTES]] {
        let block = self
            .blocks
            .get_or_insert_with(sector / BLOCK_SECTORS, || Block {
                there: 0,
                chunk: Chunk::zeros(),
            });
        let first = sector % BLOCK_SECTORS;
        let new = mask(first, sectors) & !block.there;
        block.there |= new;
        self.count += u64::from(new.count_ones());
        let places = block.chunk.bytes_mut().as_chunks_mut().0;
        let place = |sector| usize::try_from(sector).unwrap_or(places.len());
        let range = place(first)..place(first + sectors);
        places.get_mut(range).unwrap_or_default()
    }

    /// The first sectors that follow each other in one block: which one is the first, and how many.
    pub(super) fn first(&self) -> Option<(u64, u64)> {
        let (number, block) = self.blocks.first_from(0)?;
        let first = u64::from(block.there.trailing_zeros());
        let (sectors, _) = block.stretch(first, BLOCK_SECTORS);
        Some((number * BLOCK_SECTORS + first, sectors))
    }

    /// Takes sectors of one block out, if that is there.
    pub(super) fn take(&mut self, sector: u64, sectors: u64) -> Option<Stored> {
        let (number, first) = (sector / BLOCK_SECTORS, sector % BLOCK_SECTORS);
        let there = self.blocks.get(number)?.there;
        let gone = mask(first, sectors);
        self.count -= u64::from((there & gone).count_ones());
        let chunk = if there & !gone == 0 {
            self.blocks.remove(number)?.chunk
        } else {
            let block = self.blocks.place(number).as_mut()?;
            block.there &= !gone;
            block.chunk.clone()
        };
        Some(Part::of(Cow::Owned(chunk), first, sectors))
    }

    /// Each sector by itself.
    fn each(&self) -> impl Iterator<Item = (u64, Stored)> {
        self.blocks.iter().flat_map(|(number, block)| {
            let there = (0..BLOCK_SECTORS).filter(|n| block.there >> n & 1 == 1);
            let stored = |n| Part::of(Cow::Owned(block.chunk.clone()), n, 1);
            there.map(move |n| (number * BLOCK_SECTORS + n, stored(n)))
        })
    }
}

/// Seals what comes next from `from` into these sectors.
fn fill(places: &mut [[u8; STORED_BYTES]], from: &mut dyn Source) {
    let mut filled = |place: &mut [u8]| {
        if let Some(place) = place.as_mut_array() {
            sector::seal(place);
        }
    };
    from.take_sectors(places.as_flattened_mut(), STORED_BYTES, &mut filled);
}

fn mask(first: u64, sectors: u64) -> u8 {
    let end = first + sectors;
    (0..8)
        .filter(|n| (first..end).contains(n))
        .fold(0, |mask, n| mask | 1 << n)
}

impl Serialize for Sectors {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let blocks: Vec<(u64, &Block)> = self.blocks.iter().collect();
        blocks.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Sectors {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let blocks = Vec::<(u64, Block)>::deserialize(deserializer)?;
        let there = |(_, block): &(u64, Block)| u64::from(block.there.count_ones());
        Ok(Sectors {
            count: blocks.iter().map(there).sum(),
            blocks: blocks.into_iter().collect(),
        })
    }
}
