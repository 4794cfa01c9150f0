//! Completing a row: what is missing from what is there.

use std::borrow::Cow;

use super::geometry::{Geometry, Level, Role};
use super::gf;
use super::sector::{self, Part, STORED_BYTES, Stored};
use crate::medium::Chunk;

/// As many sectors of every slot of a row, at the same offset, all good; `None` where they cannot
/// be read.
pub(super) type Images = Vec<Option<Stored>>;

/// Fills in what is missing. False, and nothing filled in, where too much is.
pub(super) fn complete(geometry: &Geometry, row: u64, images: &mut Images) -> bool {
    let missing = images.iter().filter(|image| image.is_none()).count();
    if missing > geometry.tolerates() {
        return false;
    }
    match geometry.level {
        Level::Zero => {}
        Level::One => {
            let Some(good) = images.iter().flatten().next().cloned() else {
                return false;
            };
            images.fill(Some(good));
        }
        // P is the sum of the columns, so each of them and P is the sum of all the others.
        Level::Five => {
            if let Some(slot) = images.iter().position(Option::is_none) {
                let rest = sum(images.iter().flatten().map(|image| (&**image, 1)));
                put(images, slot, rest);
            }
        }
        Level::Six if missing > 0 => complete_six(geometry, row, images),
        Level::Six => {}
    }
    true
}

/// Computes P and Q (or the mirrors) anew from the columns, which must all be there.
pub(super) fn encode(geometry: &Geometry, row: u64, images: &mut Images) {
    for (slot, role) in geometry.roles(row) {
        let weighted = |column: usize| match role {
            Role::Q => gf::power_of_two(column),
            _ => 1,
        };
        if matches!(role, Role::P | Role::Q) {
            let value = sum(columns(geometry, row, images)
                .flat_map(|(column, image)| Some((image?, weighted(column)))));
            put(images, slot, value);
        }
    }
    if geometry.level == Level::One {
        let good = images.first().cloned().flatten();
        images.fill(good);
    }
}

/// The columns of a row of levels 0, 5 and 6, with what is known of them.
fn columns<'a>(
    geometry: &Geometry,
    row: u64,
    images: &'a Images,
) -> impl Iterator<Item = (usize, Option<&'a [u8]>)> {
    let roles: Vec<(usize, Role)> = geometry.roles(row).collect();
    roles.into_iter().filter_map(|(slot, role)| match role {
        Role::Data(column) => Some((column, images.get(slot).and_then(Option::as_deref))),
        Role::P | Role::Q => None,
    })
}

/// Level 6 with one or two images missing.
fn complete_six(geometry: &Geometry, row: u64, images: &mut Images) {
    let find = |images: &Images, wanted| {
        let (slot, _) = geometry.roles(row).find(|(_, role)| *role == wanted)?;
        images.get(slot).cloned().flatten()
    };
    let (p, q) = (find(images, Role::P), find(images, Role::Q));
    let lost: Vec<usize> = columns(geometry, row, images)
        .filter_map(|(column, image)| image.is_none().then_some(column))
        .collect();
    // What P and Q would be if the lost columns were zero; their difference to the real ones
    // tells what the lost columns add.
    let rest = |weight: fn(usize) -> u8| {
        sum(columns(geometry, row, images)
            .flat_map(|(column, image)| Some((image?, weight(column)))))
    };
    let (rest_p, rest_q) = (rest(|_| 1), rest(gf::power_of_two));
    let found: Vec<(usize, Stored)> = match (lost.as_slice(), p, q) {
        (&[x], Some(p), _) => vec![(x, difference(&p, &rest_p))],
        (&[x], None, Some(q)) => {
            let weight = gf::inverse(gf::power_of_two(x));
            vec![(x, sum([(&*difference(&q, &rest_q), weight)].into_iter()))]
        }
        // Dx + Dy = a and 2^x·Dx + 2^y·Dy = b, so Dx = (b + 2^y·a) / (2^x + 2^y).
        (&[x, y], Some(p), Some(q)) => {
            let (a, b) = (difference(&p, &rest_p), difference(&q, &rest_q));
            let (of_x, of_y) = (gf::power_of_two(x), gf::power_of_two(y));
            let scale = gf::inverse(of_x ^ of_y);
            let terms = [(&*b, scale), (&*a, gf::multiply(of_y, scale))];
            let at_x = sum(terms.into_iter());
            let at_y = difference(&a, &at_x);
            vec![(x, at_x), (y, at_y)]
        }
        _ => Vec::new(),
    };
    for (column, image) in found {
        let slot = geometry.slot_of(row, column);
        put(images, slot, image);
    }
    encode(geometry, row, images);
}

fn put(images: &mut Images, slot: usize, image: Stored) {
    if let Some(place) = images.get_mut(slot) {
        *place = Some(image);
    }
}

fn difference(a: &[u8], b: &[u8]) -> Stored {
    sum([(a, 1), (b, 1)].into_iter())
}

/// The weighted sum of good sectors, which are good. Of none it is none, which others add to as zeros.
fn sum<'a>(terms: impl Iterator<Item = (&'a [u8], u8)>) -> Stored {
    let mut chunk = Chunk::zeros();
    let total = chunk.bytes_mut();
    let (mut length, mut weighted) = (0, false);
    for (image, weight) in terms {
        gf::add_multiple(total, image, weight);
        length = image.len().max(length);
        weighted |= weight != 1;
    }
    // Products, other than sums, have other checksums.
    if weighted {
        total.as_chunks_mut().0.iter_mut().for_each(sector::seal);
    }
    Part::of(Cow::Owned(chunk), 0, (length / STORED_BYTES) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::power::mix;

    /// A row of made-up columns with parity.
    fn row_of(geometry: &Geometry, row: u64) -> Images {
        let image = |role| match role {
            Role::Data(column) => {
                let word = |n| mix(row * 100 + column as u64, n).to_le_bytes();
                Stored::seal(&(0..192).flat_map(word).collect::<Vec<u8>>())
            }
            Role::P | Role::Q => Stored::seal(&[]),
        };
        let mut images: Images = geometry
            .roles(row)
            .map(|(_, role)| Some(image(role)))
            .collect();
        encode(geometry, row, &mut images);
        images
    }

    #[test]
    fn every_tolerated_loss_is_made_good_and_no_greater_one() {
        let shapes = [
            (Level::Zero, 3),
            (Level::One, 2),
            (Level::One, 3),
            (Level::Five, 3),
            (Level::Five, 5),
            (Level::Six, 4),
            (Level::Six, 7),
        ];
        for (level, members) in shapes {
            let geometry = Geometry {
                level,
                members,
                chunk_sectors: 1,
                rows: 8,
            };
            for row in 0..8 {
                let whole = row_of(&geometry, row);
                for lost in 0u32..1 << members {
                    let gone = |slot: usize| lost >> slot & 1 == 1;
                    let mut images = whole.clone();
                    for (slot, image) in images.iter_mut().enumerate() {
                        *image = image.take().filter(|_| !gone(slot));
                    }
                    let enough = lost.count_ones() as usize <= geometry.tolerates();
                    let case = format!("{level:?} of {members}, row {row}, lost {lost:#b}");
                    assert_eq!(complete(&geometry, row, &mut images), enough, "{case}");
                    assert!(!enough || images == whole, "{case}");
                }
            }
        }
    }
}
