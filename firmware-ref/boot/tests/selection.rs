//! Which bank is run: rows VC24 to VC35 of the acceptance list.

use std::cell::{Cell, RefCell};

use boot::{Bank, Level, NoValid, Reason, choose, load, select};
use boot_sweep::{BankState, FlashPort, Library, requirements};
use embedded_storage::nor_flash::{ErrorType, NorFlashErrorKind, ReadNorFlash};
use image::pack::{self, Recipe};
use image::{Defect, HEADER_SIZE, ImageHeader, Kind, Record};
use proptest::prelude::*;

const PLAIN: Library = Library { signed: false };
const SIGNED: Library = Library { signed: true };

fn l2(version: &str, sequence: u32) -> Vec<u8> {
    PLAIN.stored(Kind::L2, version, sequence).unwrap()
}

fn outcome(
    files: [&[u8]; 2],
    dead: Option<Bank>,
    key: Option<&[u8; 32]>,
) -> Result<(Bank, Reason, String), NoValid> {
    let [mut a, mut b] = files.map(BankState::holding);
    a.dead = dead == Some(Bank::A);
    b.dead = dead == Some(Bank::B);
    let (log, reads) = (RefCell::default(), Cell::default());
    let place = |bank| (Level::L2, bank);
    let mut a = FlashPort {
        state: &mut a,
        place: place(Bank::A),
        log: &log,
        reads: &reads,
    };
    let mut b = FlashPort {
        state: &mut b,
        place: place(Bank::B),
        log: &log,
        reads: &reads,
    };
    let selected = select(&mut a, &mut b, &requirements(Level::L2, key), &mut [0; 300])?;
    assert!(log.borrow().is_empty(), "selecting only reads");
    Ok((
        selected.bank,
        selected.reason,
        selected.header.version.to_string(),
    ))
}

#[track_caller]
fn check(row: &str, files: [&[u8]; 2], expected: (Bank, Reason, &str)) {
    let (bank, reason, version) = expected;
    assert_eq!(
        outcome(files, None, None),
        Ok((bank, reason, version.to_string())),
        "{row}"
    );
}

#[test]
fn both_valid_the_most_recently_stored_one_runs() {
    check(
        "VC25",
        [&l2("1.0", 1), &l2("2.0", 2)],
        (Bank::B, Reason::Newest, "2.0"),
    );
    check(
        "VC25",
        [&l2("2.0", 2), &l2("1.0", 1)],
        (Bank::A, Reason::Newest, "2.0"),
    );
    check(
        "VC33",
        [&l2("1.0", 9), &l2("2.0", 8)],
        (Bank::A, Reason::Newest, "1.0"),
    );
    check(
        "factory, alike",
        [&l2("1.0", 1), &l2("1.0", 1)],
        (Bank::A, Reason::Newest, "1.0"),
    );

    let dated = |programmed_s| {
        let mut file = l2("1.0", 1);
        pack::stamp(
            &mut file,
            Record {
                sequence: 1,
                programmed_s,
            },
        )
        .unwrap();
        file
    };
    check(
        "VC19, VC25 by date",
        [&dated(5), &dated(6)],
        (Bank::B, Reason::Newest, "1.0"),
    );
}

#[test]
fn what_is_not_valid_does_not_run() {
    let good = l2("1.0", 1);
    let mut flipped = l2("2.0", 2);
    flipped[HEADER_SIZE + 5] ^= 1;
    let mut torn = l2("2.0", 2);
    torn[200..HEADER_SIZE].fill(0xff);
    let short = &l2("2.0", 2)[..HEADER_SIZE + 100];
    let other_kind = PLAIN.stored(Kind::L3, "2.0", 2).unwrap();
    let body = vec![7; 4096];
    let recipe = Recipe {
        kind: Kind::L2,
        version: "2.0".parse().unwrap(),
        load_address: 0x1000,
        entry_offset: 0,
        components: &[],
    };
    let oversized = pack::image(&recipe, &body).unwrap();
    let elsewhere = pack::image(
        &Recipe {
            load_address: 0,
            ..recipe
        },
        &body[..9],
    )
    .unwrap();

    for (row, bad, defect) in [
        ("VC26 body altered", &flipped[..], Defect::BodyDigest),
        ("VC48 header torn", &torn, Defect::HeaderCrc),
        ("shorter than it says", short, Defect::BodyDigest),
        (
            "wrong kind",
            &other_kind,
            Defect::WrongKind {
                expected: Kind::L2,
                found: Kind::L3,
            },
        ),
        (
            "oversized",
            &oversized[..4096],
            Defect::Oversized {
                length: 4352,
                capacity: 4096,
            },
        ),
        ("loads over its loader", &elsewhere, Defect::LoadAddress(0)),
        ("erased", &[], Defect::Blank),
        ("noise", &[0xa5; 4096], Defect::Magic),
    ] {
        check(row, [&good, bad], (Bank::A, Reason::OnlyValid, "1.0"));
        check(row, [bad, &good], (Bank::B, Reason::OnlyValid, "1.0"));
        let none = Err(NoValid {
            a: defect,
            b: Defect::Blank,
        });
        assert_eq!(outcome([bad, &[]], None, None), none, "VC27, VC31: {row}");
    }
}

#[test]
fn vc20_a_dead_chip_leaves_the_other_bank() {
    let files: [&[u8]; 2] = [&l2("1.0", 1), &l2("2.0", 2)];
    let only = |bank, version: &str| Ok((bank, Reason::OnlyValid, version.to_string()));
    assert_eq!(outcome(files, Some(Bank::B), None), only(Bank::A, "1.0"));
    assert_eq!(outcome(files, Some(Bank::A), None), only(Bank::B, "2.0"));
    let none = Err(NoValid {
        a: Defect::Unreadable,
        b: Defect::Blank,
    });
    assert_eq!(outcome([&[], &[]], Some(Bank::A), None), none);
}

#[test]
fn where_signatures_are_demanded_an_unsigned_image_never_runs() {
    let key = SIGNED.key();
    let signed = SIGNED.stored(Kind::L2, "1.0", 1).unwrap();
    let unsigned = l2("2.0", 2);
    let expected = Ok((Bank::A, Reason::OnlyValid, "1.0".to_string()));
    assert_eq!(outcome([&signed, &unsigned], None, key.as_ref()), expected);
    let none = Err(NoValid {
        a: Defect::Unsigned,
        b: Defect::Unsigned,
    });
    assert_eq!(outcome([&unsigned, &unsigned], None, key.as_ref()), none);
}

/// A bank whose content is another one every time its body is read.
struct Unsteady {
    contents: Vec<Vec<u8>>,
}

impl ErrorType for Unsteady {
    type Error = NorFlashErrorKind;
}

impl ReadNorFlash for Unsteady {
    const READ_SIZE: usize = 1;

    fn read(&mut self, offset: u32, bytes: &mut [u8]) -> Result<(), NorFlashErrorKind> {
        let start = offset as usize;
        bytes.copy_from_slice(&self.contents[0][start..start + bytes.len()]);
        if offset >= 256 && self.contents.len() > 1 {
            self.contents.remove(0);
        }
        Ok(())
    }

    fn capacity(&self) -> usize {
        4096
    }
}

#[test]
fn only_the_copy_that_was_checked_runs() {
    let padded = |mut file: Vec<u8>| {
        file.resize(4096, 0xff);
        file
    };
    let (old, new) = (padded(l2("1.0", 1)), padded(l2("2.0", 2)));
    let mut damaged = new.clone();
    damaged[HEADER_SIZE] ^= 0x80;
    let mut a = Unsteady {
        contents: vec![old],
    };
    let mut b = Unsteady {
        contents: vec![new, damaged],
    };
    let rules = requirements(Level::L2, None);
    let mut ram = [0; 1024];
    let selected = select(&mut a, &mut b, &rules, &mut [0; 1024]).unwrap();
    assert_eq!(selected.bank, Bank::B);
    let defect = load(&mut b, &selected.header, &mut ram).unwrap_err();
    assert_eq!(defect, Defect::BodyDigest);
    let selected = selected.without_selected(defect).unwrap();
    assert_eq!(
        (selected.bank, selected.reason),
        (Bank::A, Reason::OnlyValid)
    );
    assert_eq!(load(&mut a, &selected.header, &mut ram), Ok(()));
    assert_eq!(ram[..600], l2("1.0", 1)[HEADER_SIZE..]);
    // Both gone: the error condition, not a loop.
    let none = NoValid {
        a: Defect::Unreadable,
        b: Defect::BodyDigest,
    };
    assert_eq!(selected.without_selected(Defect::Unreadable), Err(none));
}

#[test]
fn a_body_larger_than_its_place_in_memory_is_not_loaded() {
    let file = l2("1.0", 1);
    let header = ImageHeader::parse(&file).unwrap();
    let mut bank = Unsteady {
        contents: vec![file],
    };
    let oversized = Defect::Oversized {
        length: 856,
        capacity: 855,
    };
    assert_eq!(load(&mut bank, &header, &mut [0; 599]), Err(oversized));
}

proptest! {
    /// VC25, VC26, VC27, VC33, VC35 at once: a valid bank is selected if there is one, the other is not
    /// newer, and its version has no say.
    #[test]
    fn a_choice_depends_on_validity_and_storing_order_alone(
        records in any::<[(u32, u64, bool); 2]>(),
        versions in any::<[bool; 2]>(),
    ) {
        let bank = |index: usize| {
            let (sequence, programmed_s, valid) = records[index];
            let file = l2(if versions[index] { "2.0" } else { "1.0" }, 0);
            let header = ImageHeader::parse(&file).unwrap();
            let record = Record { sequence, programmed_s };
            if valid { Ok(header.with_record(record)) } else { Err(Defect::HeaderCrc) }
        };
        let banks = [bank(0), bank(1)];
        match choose(banks[0], banks[1]) {
            Ok(selected) => {
                let index = usize::from(selected.bank == Bank::B);
                prop_assert_eq!(banks[index], Ok(selected.header));
                prop_assert_eq!(banks[1 - index], selected.other);
                if let Ok(other) = selected.other {
                    prop_assert!(!other.record.is_newer_than(&selected.header.record));
                    prop_assert_eq!(selected.reason, Reason::Newest);
                } else {
                    prop_assert_eq!(selected.reason, Reason::OnlyValid);
                }
            }
            Err(_) => prop_assert!(banks.iter().all(Result::is_err)),
        }
    }
}
