//! A map from numbers to values for what is mostly near each other: chunks of a medium, blocks of a
//! cache.
//!
//! Two levels: leaves of [`LEAF`] places, shared with clones until they are changed. So a clone costs a
//! reference count per leaf, and a look-up little more than that of an array.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Places of a leaf.
const LEAF: usize = 512;
const WORDS: usize = LEAF / 64;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Sparse<T> {
    leaves: BTreeMap<u64, Arc<Leaf<T>>>,
}

/// Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Leaf<T> {
    places: Box<[Option<T>]>,
    /// A bit for each place that is used.
    used: [u64; WORDS],
}

impl<T> Leaf<T> {
    /// The first place at `place` or behind it that is used.
    fn used_from(&self, place: usize) -> Option<usize> {
        let first = place / 64;
        let mut mask = u64::MAX << (place % 64);
        for (word, used) in self.used.iter().enumerate().skip(first) {
            let found = used & mask;
            if found != 0 {
                return Some(word * 64 + found.trailing_zeros() as usize);
            }
            mask = u64::MAX;
        }
        None
    }
}

impl<T> Default for Sparse<T> {
    fn default() -> Self {
        Sparse {
            leaves: BTreeMap::new(),
        }
    }
}

impl<T: Clone> Sparse<T> {
    pub(crate) fn len(&self) -> usize {
        let used = |word: &u64| word.count_ones() as usize;
        let leaves = self.leaves.values();
        leaves.flat_map(|leaf| &leaf.used).map(used).sum()
    }

    pub(crate) fn get(&self, index: u64) -> Option<&T> {
        let (leaf, place) = split(index);
        self.leaves.get(&leaf)?.places.get(place)?.as_ref()
    }

    /// The value at `index`, made where there is none.
    pub(crate) fn get_or_insert_with(&mut self, index: u64, make: impl FnOnce() -> T) -> &mut T {
        self.place(index).get_or_insert_with(make)
    }

    /// A place that is to have a value, if it has none.
    pub(crate) fn place(&mut self, index: u64) -> &mut Option<T> {
        let (_, place) = split(index);
        let Leaf { places, used } = self.leaf(index);
        used[place / 64] |= 1 << (place % 64);
        &mut places[place]
    }

    /// The leaf of `index`, made where there is none.
    fn leaf(&mut self, index: u64) -> &mut Leaf<T> {
        let (leaf, _) = split(index);
        let leaf = self.leaves.entry(leaf).or_insert_with(|| {
            Arc::new(Leaf {
                places: std::iter::repeat_with(|| None).take(LEAF).collect(),
                used: [0; WORDS],
            })
        });
        Arc::make_mut(leaf)
    }

    /// Places from `index` on, at least one and at most so many, all of which are to have values. There are more
    /// where these end.
    pub(crate) fn places(&mut self, index: u64, most: u64) -> &mut [Option<T>] {
        let (_, first) = split(index);
        let count = usize::try_from(most).unwrap_or(LEAF).clamp(1, LEAF - first);
        let Leaf { places, used } = self.leaf(index);
        for place in first..first + count {
            used[place / 64] |= 1 << (place % 64);
        }
        &mut places[first..first + count]
    }

    pub(crate) fn remove(&mut self, index: u64) -> Option<T> {
        let (number, place) = split(index);
        let leaf = self.leaves.get_mut(&number)?;
        leaf.places.get(place)?.as_ref()?;
        let Leaf { places, used } = Arc::make_mut(leaf);
        let value = places.get_mut(place).and_then(Option::take);
        used[place / 64] &= !(1 << (place % 64));
        if used.iter().all(|word| *word == 0) {
            self.leaves.remove(&number);
        }
        value
    }

    /// The first value at `index` or behind it.
    pub(crate) fn first_from(&self, index: u64) -> Option<(u64, &T)> {
        let (first, place) = split(index);
        for (number, leaf) in self.leaves.range(first..) {
            // Only in the leaf of `index` itself is there anything to skip.
            let skip = if *number == first { place } else { 0 };
            if let Some(found) = leaf.used_from(skip) {
                return Some((join(*number, found), leaf.places[found].as_ref()?));
            }
        }
        None
    }

    /// Everything, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.leaves.iter().flat_map(|(number, leaf)| {
            let places = leaf.places.iter().enumerate();
            places.filter_map(|(place, value)| Some((join(*number, place), value.as_ref()?)))
        })
    }
}

impl<T: Clone> FromIterator<(u64, T)> for Sparse<T> {
    fn from_iter<I: IntoIterator<Item = (u64, T)>>(values: I) -> Self {
        let mut sparse = Sparse::default();
        for (index, value) in values {
            *sparse.place(index) = Some(value);
        }
        sparse
    }
}

fn split(index: u64) -> (u64, usize) {
    let leaf = LEAF as u64;
    (index / leaf, usize::try_from(index % leaf).unwrap_or(0))
}

fn join(leaf: u64, place: usize) -> u64 {
    leaf * LEAF as u64 + place as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn index() -> impl Strategy<Value = u64> {
        prop_oneof![
            0..5u64,
            (LEAF as u64 - 2..LEAF as u64 + 2),
            Just(u64::MAX),
            any::<u64>()
        ]
    }

    proptest! {
        #[test]
        fn it_is_a_map_and_clones_are_of_their_own(
            steps in proptest::collection::vec((index(), proptest::option::of(any::<u8>())), 0..60),
            asked in index(),
        ) {
            let (mut sparse, mut map) = (Sparse::default(), BTreeMap::new());
            let mut earlier = Vec::new();
            for (index, value) in steps {
                earlier.push((sparse.clone(), map.clone()));
                match value {
                    Some(value) => {
                        *sparse.place(index) = Some(value);
                        map.insert(index, value);
                    }
                    None => prop_assert_eq!(sparse.remove(index), map.remove(&index)),
                }
            }
            earlier.push((sparse, map));
            for (sparse, map) in earlier {
                let all: Vec<(u64, u8)> = sparse.iter().map(|(index, value)| (index, *value)).collect();
                prop_assert_eq!(&all, &map.clone().into_iter().collect::<Vec<_>>());
                prop_assert_eq!(sparse.get(asked), map.get(&asked));
                let next = map.range(asked..).next().map(|(index, value)| (*index, value));
                prop_assert_eq!(sparse.first_from(asked), next);
                prop_assert_eq!(sparse.len(), map.len());
                prop_assert_eq!(sparse, all.into_iter().collect());
            }
        }
    }
}
