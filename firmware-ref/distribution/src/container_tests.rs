//! Containers round, changed and made up.

use proptest::prelude::*;

use super::*;

fn image(content: Content, bytes: &[u8]) -> Image<'_> {
    Image {
        content,
        version: VersionTag::from_bytes([1, 0, 0, 0]),
        entry: 0,
        bytes,
    }
}

fn built(images: &[Image<'_>]) -> Result<Vec<u8>, Defect> {
    let mut place = vec![0xee; 4096];
    let length = write(images, &mut place)?;
    place.truncate(length);
    Ok(place)
}

const DRIVE: Content = Content::Only(Module::Drive);
const XY: Content = Content::Only(Module::Xy);

#[test]
fn cd42_each_module_selects_its_own_part_or_the_common_one() {
    let images = [
        image(XY, b"xy"),
        image(Content::All, b"all"),
        image(DRIVE, b"drive"),
    ];
    let bytes = built(&images).unwrap();
    assert_eq!(bytes.len(), 128);
    let contents = Contents::check(&bytes).unwrap();
    for (module, expected) in [
        (Module::Drive, Some(&b"drive"[..])),
        (Module::Xy, Some(b"xy")),
        (Module::Panel, Some(b"all")),
        (Module::Master, None),
    ] {
        let selected = contents.select(module);
        let stored = selected.map(|it| &bytes[it.offset as usize..][..it.length as usize]);
        assert_eq!(stored, expected, "{module:?}");
    }
}

#[test]
fn what_cannot_be_a_container_is_not_built() {
    let long = vec![0; LENGTH_MAX as usize];
    let beyond = Image {
        entry: 5,
        ..image(DRIVE, b"drive")
    };
    for (images, defect) in [
        (vec![], Defect::Oversized),
        (vec![image(DRIVE, b"1"); 9], Defect::Oversized),
        (vec![image(DRIVE, &long)], Defect::Oversized),
        (
            vec![image(DRIVE, b"1"), image(DRIVE, b"2")],
            Defect::Part(1),
        ),
        (vec![image(DRIVE, b"")], Defect::Part(0)),
        (vec![image(Content::Combined, b"1")], Defect::Part(0)),
        (vec![beyond], Defect::Part(0)),
    ] {
        assert_eq!(built(&images), Err(defect));
    }
}

#[test]
fn cd47_no_changed_bit_goes_unnoticed() {
    let good = built(&[image(XY, b"for xy"), image(DRIVE, b"for drives")]).unwrap();
    let contents = Contents::check(&good).unwrap();
    let end = contents
        .parts()
        .map(|part| part.offset + part.length)
        .max()
        .unwrap() as usize;
    // Zeros behind the last part are nobody's.
    for bit in 0..8 * end {
        let mut bytes = good.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(Contents::check(&bytes).is_err(), "bit {bit}");
    }
    for length in 0..good.len() {
        assert_eq!(Contents::check(&good[..length]), Err(Defect::Truncated));
    }
}

proptest! {
    #[test]
    fn what_is_built_is_read(
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..200), 1..=7),
    ) {
        let images: Vec<Image<'_>> = (1..).zip(&bodies)
            .map(|(number, body)| image(Content::from_number(number).unwrap(), body))
            .collect();
        let bytes = built(&images).unwrap();
        let contents = Contents::check(&bytes).unwrap();
        prop_assert_eq!(contents.parts().count(), images.len());
        for (part, image) in contents.parts().zip(&images) {
            prop_assert_eq!(part.content, image.content);
            prop_assert_eq!(&bytes[part.offset as usize..][..part.length as usize], image.bytes);
        }
    }

    /// Sealed again, so that what is behind the sum is reached.
    #[test]
    fn any_table_is_read(
        mut table in prop::collection::vec(any::<u8>(), TABLE_MAX),
        parts in 0..10u8,
        changes in prop::collection::vec((12..TABLE_MAX, 0..8u8), 0..20),
    ) {
        table[..8].copy_from_slice(&[b'A', b'B', b'N', b'I', 1, parts, 0, 0]);
        table[12..].fill(0);
        for (at, to) in changes {
            table[at] = to;
        }
        let length = HEADER + usize::from(parts) * PART;
        if length + 4 <= table.len() {
            let sum = CRC32.checksum(&table[..length]);
            table[length..length + 4].copy_from_slice(&sum.to_le_bytes());
        }
        if let Ok(contents) = Contents::parse(&table) {
            for part in contents.parts() {
                prop_assert!(part.offset + part.length <= contents.total);
                prop_assert!(part.entry < part.length);
            }
        }
    }
}
