//! Storing an image in a bank and publishing one from it: rows VC39, VC44, VC47, VC48, VC67.

use std::cell::{Cell, RefCell};

use boot::{
    Bank, BankReader, Level, Order, PackageSink, Progress, Publication, PublishError, Reflash,
    ReflashError, Strategy, Unwritable, inspect,
};
use boot_sweep::{BankState, FlashPort, Library, Operation, requirements};
use image::{
    Defect, HEADER_SIZE, ImageHeader, Kind, Package, ReadAt, Record, Requirements, Unreadable,
};

const PLAIN: Library = Library { signed: false };
const SIGNED: Library = Library { signed: true };
const RECORD: Record = Record {
    sequence: 7,
    programmed_s: 1234,
};

/// Stores `source` in a bank that held version 1.0; gives the result, the bank and the operations.
fn store(
    source: impl ReadAt,
    rules: &Requirements<'_>,
    buffer: &mut [u8],
    prepare: impl FnOnce(&mut BankState),
) -> (Result<ImageHeader, ReflashError>, BankState, Vec<Operation>) {
    let mut state = BankState::holding(&PLAIN.stored(Kind::L3, "1.0", 1).unwrap());
    prepare(&mut state);
    let (log, reads) = (RefCell::default(), Cell::default());
    let place = (Level::L3, Bank::A);
    let target = FlashPort {
        state: &mut state,
        place,
        log: &log,
        reads: &reads,
    };
    let order = Order {
        requirements: rules,
        version: "2.0".parse().unwrap(),
        record: RECORD,
    };
    let result = Reflash::new(order, Strategy::Careful, source, target, buffer).run();
    (result, state, log.into_inner())
}

fn is_valid(state: &mut BankState) -> bool {
    let (log, reads) = (RefCell::default(), Cell::default());
    let place = (Level::L3, Bank::A);
    let mut port = FlashPort {
        state,
        place,
        log: &log,
        reads: &reads,
    };
    inspect(&mut port, &requirements(Level::L3, None), &mut [0; 256]).is_ok()
}

#[test]
fn a_stored_image_is_the_file_with_a_programming_record() {
    let file = PLAIN.image(Kind::L3, "2.0").unwrap();
    let rules = requirements(Level::L3, None);
    for size in [256, 300, 1024, 4096] {
        let (result, state, _) = store(&file[..], &rules, &mut vec![0; size], |_| {});
        let header = result.unwrap();
        assert_eq!(header.record, RECORD, "VC19");
        assert_eq!(state.bytes[..HEADER_SIZE], header.encode());
        assert_eq!(state.bytes[HEADER_SIZE..file.len()], file[HEADER_SIZE..]);
        assert_eq!(
            header.with_record(Record::PACKED).encode(),
            file[..HEADER_SIZE]
        );
    }
}

#[test]
fn an_image_that_may_not_run_is_never_stored_and_nothing_is_erased() {
    let good = PLAIN.image(Kind::L3, "2.0").unwrap();
    let mut altered = good.clone();
    altered[HEADER_SIZE + 1000] ^= 1;
    let mut longer = good.clone();
    longer.push(0);
    let other_kind = PLAIN.image(Kind::L2, "2.0").unwrap();
    let other_version = PLAIN.image(Kind::L3, "2.0-crash").unwrap();
    let mut altered_signed = SIGNED.image(Kind::L3, "2.0").unwrap();
    altered_signed[90] = 1; // in the component table
    let key = SIGNED.key();
    let anyone = requirements(Level::L3, None);
    let demanding = requirements(Level::L3, key.as_ref());
    let small = Requirements {
        capacity: 1000,
        ..anyone.clone()
    };
    for (source, rules, defect) in [
        (&altered[..], &anyone, Defect::BodyDigest),
        (
            &longer,
            &anyone,
            Defect::WrongLength {
                stated: 1756,
                found: 1757,
            },
        ),
        (
            &good[..1000],
            &anyone,
            Defect::WrongLength {
                stated: 1756,
                found: 1000,
            },
        ),
        (&good[..10], &anyone, Defect::Truncated),
        (
            &other_kind,
            &anyone,
            Defect::WrongKind {
                expected: Kind::L3,
                found: Kind::L2,
            },
        ),
        (&other_version, &anyone, Defect::WrongVersion),
        (
            &good,
            &small,
            Defect::Oversized {
                length: 1756,
                capacity: 1000,
            },
        ),
        (&good, &demanding, Defect::Unsigned),
        (&altered_signed, &demanding, Defect::HeaderCrc),
    ] {
        let (result, mut state, operations) = store(source, rules, &mut [0; 512], |_| {});
        assert_eq!(result, Err(ReflashError::Source(defect)));
        assert!(operations.is_empty() && is_valid(&mut state), "{defect:?}");
    }
    let (result, _, operations) = store(&good[..], &anyone, &mut [0; 255], |_| {});
    assert_eq!((result, operations.len()), (Err(ReflashError::Buffer), 0));
    let signed = SIGNED.image(Kind::L3, "2.0").unwrap();
    assert!(
        store(&signed[..], &demanding, &mut [0; 512], |_| {})
            .0
            .is_ok()
    );
}

/// Delivers other bytes, or none, once it has been read so often.
struct Fickle {
    file: Vec<u8>,
    reads_left: u32,
    fails: bool,
}

impl ReadAt for Fickle {
    fn length(&self) -> u32 {
        (&self.file[..]).length()
    }

    fn read_at(&mut self, offset: u32, out: &mut [u8]) -> Result<(), Unreadable> {
        (&self.file[..]).read_at(offset, out)?;
        if self.reads_left == 0 {
            out[0] ^= 1;
            return if self.fails { Err(Unreadable) } else { Ok(()) };
        }
        self.reads_left -= 1;
        Ok(())
    }
}

#[test]
fn vc48_whatever_fails_on_the_way_leaves_the_target_invalid() {
    let rules = requirements(Level::L3, None);
    let file = PLAIN.image(Kind::L3, "2.0").unwrap();
    // The header twice over and three bufferfuls are read by the check.
    let fickle = |fails| Fickle {
        file: file.clone(),
        reads_left: 6,
        fails,
    };
    let (result, mut state, _) = store(fickle(false), &rules, &mut [0; 512], |_| {});
    assert_eq!(result, Err(ReflashError::ReadBack));
    assert!(!is_valid(&mut state));
    let (result, mut state, _) = store(fickle(true), &rules, &mut [0; 512], |_| {});
    assert_eq!(result, Err(ReflashError::Copy));
    assert!(!is_valid(&mut state));
    let dead = |state: &mut BankState| state.dead = true;
    let (result, _, operations) = store(&file[..], &rules, &mut [0; 512], dead);
    assert_eq!((result, operations.len()), (Err(ReflashError::Erase), 0));
}

#[test]
fn progress_is_told_step_by_step_and_the_header_comes_last() {
    let file = PLAIN.image(Kind::L3, "2.0").unwrap();
    let mut state = BankState::default();
    let (log, reads) = (RefCell::default(), Cell::default());
    let place = (Level::L3, Bank::A);
    let target = FlashPort {
        state: &mut state,
        place,
        log: &log,
        reads: &reads,
    };
    let rules = requirements(Level::L3, None);
    let order = Order {
        requirements: &rules,
        version: "2.0".parse().unwrap(),
        record: RECORD,
    };
    let mut buffer = [0; 1024];
    let mut reflash = Reflash::new(order, Strategy::Careful, &file[..], target, &mut buffer);
    let mut steps = Vec::new();
    while reflash.stored().is_none() {
        let step = reflash.step().unwrap();
        steps.push((step, log.borrow().len()));
    }
    assert_eq!(
        steps,
        [
            (Progress::SourceChecked, 0),
            (Progress::HeaderErased, 1),
            (Progress::Erased, 2),
            (
                Progress::Programmed {
                    done: 1024,
                    of: 1500
                },
                6
            ),
            (
                Progress::Programmed {
                    done: 1500,
                    of: 1500
                },
                8
            ),
            (Progress::BodyChecked, 8),
            (Progress::Finished, 9),
        ]
    );
    assert_eq!(
        reflash.step(),
        Ok(Progress::Finished),
        "nothing more happens"
    );
    assert_eq!(log.borrow().len(), 9);
}

/// Takes a number of writes, then refuses.
struct Sink {
    bytes: Vec<u8>,
    writes_left: u32,
    manifest_written_last: bool,
}

impl PackageSink for &mut Sink {
    fn write_at(&mut self, offset: u32, sectors: &[u8]) -> Result<(), Unwritable> {
        assert!(offset.is_multiple_of(512) && sectors.len().is_multiple_of(512));
        self.writes_left = self.writes_left.checked_sub(1).ok_or(Unwritable)?;
        self.manifest_written_last = offset == 0;
        let end = offset as usize + sectors.len();
        if self.bytes.len() < end {
            self.bytes.resize(end, 0xee);
        }
        self.bytes[offset as usize..end].copy_from_slice(sectors);
        Ok(())
    }
}

fn publish(buffer: &mut [u8], sink: &mut Sink, spoil: bool) -> Result<Package, PublishError> {
    let (log, reads) = (RefCell::default(), Cell::default());
    let mut publication = Publication::new(sink, "2.0".parse().unwrap(), buffer);
    for (kind, version) in [(Kind::L2, "1.1"), (Kind::L3, "2.0")] {
        let mut state = BankState::holding(&PLAIN.stored(kind, version, 9).unwrap());
        let header = ImageHeader::parse(&state.bytes).unwrap();
        if spoil {
            state.bytes[HEADER_SIZE + 300] ^= 1;
        }
        let place = (Level::L3, Bank::A);
        let mut port = FlashPort {
            state: &mut state,
            place,
            log: &log,
            reads: &reads,
        };
        publication.add(&header, BankReader(&mut port))?;
        assert_eq!(publication.add(&header, &[][..]), Err(PublishError::Parts));
    }
    publication.finish()
}

#[test]
fn vc67_what_is_published_is_the_package_that_the_banks_came_from() {
    let sink = || Sink {
        bytes: Vec::new(),
        writes_left: 99,
        manifest_written_last: false,
    };
    let original = PLAIN.package("1.1", "2.0").unwrap();
    for size in [512, 1000, 1024, 8192] {
        let mut sink = sink();
        let package = publish(&mut vec![0; size], &mut sink, false).unwrap();
        assert_eq!(Package::parse(&sink.bytes), Ok(package));
        assert!(sink.bytes == original, "a buffer of {size} bytes");
        assert!(sink.manifest_written_last);
    }
    assert_eq!(
        publish(&mut [0; 511], &mut sink(), false),
        Err(PublishError::Buffer)
    );
    assert_eq!(
        publish(&mut [0; 512], &mut sink(), true),
        Err(PublishError::BodyDigest)
    );
    for writes_left in 0..7 {
        let mut full = Sink {
            writes_left,
            ..sink()
        };
        assert_eq!(
            publish(&mut [0; 512], &mut full, false),
            Err(PublishError::Unwritable)
        );
        assert!(!full.manifest_written_last);
    }
    let mut sink = sink();
    let mut buffer = [0; 512];
    let nothing = Publication::new(&mut sink, "2.0".parse().unwrap(), &mut buffer);
    assert_eq!(nothing.finish(), Err(PublishError::Parts));
}
