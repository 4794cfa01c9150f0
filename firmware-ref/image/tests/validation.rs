//! Images and packages as they are built are accepted, and no altered one is.

use image::pack::{self, PackError, Recipe};
use image::{
    Component, ComponentKind, Defect, HEADER_SIZE, Kind, Package, PackageDefect, Record,
    Requirements, Trust,
};
use proptest::prelude::*;

const SEED: [u8; 32] = [0x5e; 32];
const BODY_LENGTH: usize = 1000;
const FILE_LENGTH: u32 = 1256;

fn image(kind: Kind, version: &str) -> Vec<u8> {
    let body: Vec<u8> = (0..BODY_LENGTH)
        .map(|n| n.to_le_bytes()[0] ^ kind as u8)
        .collect();
    let recipe = Recipe {
        kind,
        version: version.parse().unwrap(),
        load_address: 0x10_0000,
        entry_offset: 0,
        components: &[Component {
            kind: ComponentKind::Boot,
            offset: 0,
            length: 1000,
        }],
    };
    pack::image(&recipe, &body).unwrap()
}

fn signed(kind: Kind, version: &str) -> Vec<u8> {
    let mut file = image(kind, version);
    pack::sign(&mut file, &SEED).unwrap();
    file
}

fn requirements(trust: Trust<'_>) -> Requirements<'_> {
    Requirements {
        kind: Kind::L2,
        capacity: 2048,
        load_window: 0x10_0000..0x20_0000,
        trust,
    }
}

fn verdict(file: &[u8], requirements: &Requirements<'_>) -> Result<(), Defect> {
    requirements
        .check_file(&mut &*file, &mut [0; 256])
        .map(|_| ())
}

#[test]
fn what_a_bank_demands_is_checked_one_by_one() {
    let file = image(Kind::L2, "1.0");
    let anyone = requirements(Trust::Anyone);
    assert_eq!(verdict(&file, &anyone), Ok(()));

    let wrong = Defect::WrongKind {
        expected: Kind::L2,
        found: Kind::L3,
    };
    assert_eq!(verdict(&image(Kind::L3, "1.0"), &anyone), Err(wrong));

    let exact = Requirements {
        capacity: FILE_LENGTH,
        ..anyone.clone()
    };
    assert_eq!(verdict(&file, &exact), Ok(()));
    let small = Requirements {
        capacity: FILE_LENGTH - 1,
        ..anyone.clone()
    };
    let oversized = Defect::Oversized {
        length: FILE_LENGTH.into(),
        capacity: FILE_LENGTH - 1,
    };
    assert_eq!(verdict(&file, &small), Err(oversized));

    for window in [0x10_0001..0x20_0000, 0x10_0000..0x10_03e7, 0..0] {
        let elsewhere = Requirements {
            load_window: window,
            ..anyone.clone()
        };
        assert_eq!(
            verdict(&file, &elsewhere),
            Err(Defect::LoadAddress(0x10_0000))
        );
    }

    let mut longer = file.clone();
    longer.push(0);
    let wrong = Defect::WrongLength {
        stated: FILE_LENGTH.into(),
        found: FILE_LENGTH + 1,
    };
    assert_eq!(verdict(&longer, &anyone), Err(wrong));
    // In a bank, more may follow.
    assert!(anyone.check_bank(&mut &longer[..], &mut [0; 7]).is_ok());
    assert_eq!(
        anyone.check_bank(&mut &file[..FILE_LENGTH as usize - 1], &mut [0; 256]),
        Err(Defect::Unreadable)
    );
    assert_eq!(verdict(&file[..255], &anyone), Err(Defect::Truncated));
    assert_eq!(
        anyone.check_bank(&mut &file[..], &mut []),
        Err(Defect::Unreadable),
        "no buffer, no verdict"
    );
}

#[test]
fn only_the_fitted_key_is_trusted() {
    let key = pack::public_key(&SEED).unwrap();
    let other = pack::public_key(&[1; 32]).unwrap();
    let demanding = requirements(Trust::SignedBy(&key));
    let file = signed(Kind::L2, "1.0");
    assert_eq!(verdict(&file, &demanding), Ok(()));
    assert_eq!(
        verdict(&image(Kind::L2, "1.0"), &demanding),
        Err(Defect::Unsigned)
    );
    assert_eq!(
        verdict(&file, &requirements(Trust::SignedBy(&other))),
        Err(Defect::Signature)
    );
    assert_eq!(
        verdict(&file, &requirements(Trust::SignedBy(&[0; 32]))),
        Err(Defect::NoKey)
    );
    // A point of small order is a key that anybody can sign for.
    let mut weak = [0; 32];
    weak[0] = 1;
    assert_eq!(
        verdict(&file, &requirements(Trust::SignedBy(&weak))),
        Err(Defect::Signature)
    );

    let mut stored = file.clone();
    pack::stamp(
        &mut stored,
        Record {
            sequence: 7,
            programmed_s: 99,
        },
    )
    .unwrap();
    assert_eq!(
        verdict(&stored, &demanding),
        Ok(()),
        "the record is not signed"
    );
}

#[test]
fn a_package_is_checked_part_by_part() {
    let (l2, l3) = (image(Kind::L2, "1.1"), image(Kind::L3, "2.0"));
    let version = "2.0".parse().unwrap();
    let file = pack::package(version, &[&l2, &l3]).unwrap();
    let package = Package::read(&mut &file[..]).unwrap();
    assert_eq!(package.length as usize, file.len());
    let part = *package.part(Kind::L2).unwrap();
    let rules = requirements(Trust::Anyone);
    let check = |package: &Package, part, file: &[u8]| {
        package
            .check_part(part, &mut &*file, &rules, &mut [0; 64])
            .map(|header| header.version)
    };
    assert_eq!(check(&package, &part, &file), Ok("1.1".parse().unwrap()));

    let lying = image::Part { version, ..part };
    let defect = PackageDefect::Image(Kind::L2, Defect::WrongVersion);
    assert_eq!(check(&package, &lying, &file), Err(defect));

    let mut damaged = file.clone();
    damaged[part.offset as usize + 700] ^= 4;
    assert_eq!(
        check(&package, &part, &damaged),
        Err(PackageDefect::PartDigest(Kind::L2))
    );
    assert_eq!(
        check(&package, &part, &file[..1024]),
        Err(PackageDefect::Unreadable)
    );

    assert_eq!(
        pack::package(version, &[&l2, &l2]),
        Err(PackError::PartTwice(Kind::L2))
    );
    assert_eq!(pack::package(version, &[]), Err(PackError::PartCount(0)));
}

proptest! {
    /// Under a demand for signatures nothing but the programming record may change.
    #[test]
    fn no_altered_image_passes(at in 0..HEADER_SIZE + BODY_LENGTH, flip in 1..=255u8) {
        let key = pack::public_key(&SEED).unwrap();
        let mut file = signed(Kind::L2, "1.0");
        file[at] ^= flip;
        prop_assert!(verdict(&file, &requirements(Trust::SignedBy(&key))).is_err());
        // An attacker mends the CRC too; only the record (last 16 bytes) is free.
        if at < HEADER_SIZE {
            let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC).checksum(&file[..HEADER_SIZE - 4]);
            file[HEADER_SIZE - 4..HEADER_SIZE].copy_from_slice(&crc.to_le_bytes());
            let accepted = verdict(&file, &requirements(Trust::SignedBy(&key))).is_ok();
            prop_assert_eq!(accepted, at >= HEADER_SIZE - 16);
        }
    }
}
