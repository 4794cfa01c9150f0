//! A controller that does nothing but boot.

use std::cell::{Cell, RefCell};
use std::sync::Arc;

use boot::{
    Action, Bank, BankReader, Booted, BootedImage, Level, NoValid, Order, PackageSink, Policy,
    Preferred, PreferredSource, Publication, PublishError, Reflash, ReflashError, Refusal,
    Selection, Strategy, Unwritable, compare, load, select,
};
use image::{ImageHeader, Package, PartReader, Requirements, Trust, Version};

use crate::flash::{BANK_SIZE, BankState, FlashPort, Operation, Shape};

/// What is in the place of the preferred version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Store {
    /// Nothing.
    Empty,
    /// It does not answer.
    Unreachable,
    /// A package, or something that is none.
    Holding(Arc<Vec<u8>>),
}

/// Which build of the boot logic a board runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Build {
    /// The good one.
    Careful,
    /// `2.0-brick`.
    Brick,
}

/// Everything that outlives a loss of power, and how the board is strapped.
#[derive(Clone, Debug)]
pub struct Board {
    /// The banks, by level and bank.
    pub banks: [[BankState; 2]; 2],
    /// The array, as far as it matters here.
    pub store: Store,
    /// How the preferred version is treated.
    pub policy: Policy,
    /// The key that images must be signed with, if any.
    pub key: Option<[u8; 32]>,
    /// The boot logic.
    pub build: Build,
}

/// How a boot ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BootEnd {
    /// The application runs.
    Operational {
        /// Version of the second level.
        l2: Version,
        /// Version of the third level.
        l3: Version,
    },
    /// An image was stored; the board resets.
    Reset,
    /// No valid image at a level: nothing boots.
    Bricked(Level, NoValid),
    /// The preferred version is not to be followed.
    Refused(Refusal),
    /// The preferred image was not stored.
    NotStored(ReflashError),
    /// The images that run were not published.
    NotPublished(PublishError),
}

/// What boots did, for the sweep to judge.
#[derive(Debug, Default)]
pub struct Trace {
    /// Every persistent operation, in order.
    pub operations: Vec<Operation>,
    /// Headers of all images that were run.
    pub ran: Vec<ImageHeader>,
    /// An operation went to a bank that had been booted.
    pub touched_booted_bank: bool,
    /// Stretches of the package that were read, manifest excluded (VC47).
    pub image_bytes_read: u64,
}

/// Bytes read at once; deliberately no multiple of an image's length.
const BUFFER_SIZE: usize = 1024;
/// The load window of the small images.
pub(crate) const LOAD_ADDRESS: u32 = 0x1000;
const LOAD_END: u32 = 0x3000;
const BANK_LENGTH: u32 = 4096;
const _: () = assert!(BANK_LENGTH as usize == BANK_SIZE);

/// What an image must be to run in the banks of `level`, on a board that demands signatures by `key`.
pub fn requirements(level: Level, key: Option<&[u8; 32]>) -> Requirements<'_> {
    Requirements {
        kind: level.kind(),
        capacity: BANK_LENGTH,
        load_window: LOAD_ADDRESS..LOAD_END,
        trust: key.map_or(Trust::Anyone, Trust::SignedBy),
    }
}

fn index(level: Level, bank: Bank) -> (usize, usize) {
    (
        usize::from(level == Level::L3),
        usize::from(bank == Bank::B),
    )
}

impl Board {
    /// The contents of one bank.
    pub fn bank(&self, level: Level, bank: Bank) -> &BankState {
        let (level, bank) = index(level, bank);
        &self.banks[level][bank]
    }

    /// The contents of one bank, to be damaged.
    pub fn bank_mut(&mut self, level: Level, bank: Bank) -> &mut BankState {
        let (level, bank) = index(level, bank);
        &mut self.banks[level][bank]
    }

    /// Does an operation again, as far as `shape` says. The commit is not among them: what it makes the
    /// preferred version is known from the run that did it.
    pub fn apply(&mut self, operation: &Operation, shape: Shape) {
        if let Operation::Erase { place, .. } | Operation::Program { place, .. } = operation {
            self.bank_mut(place.0, place.1).apply(operation, shape);
        }
    }

    /// One boot, from reset to its end, as L1, L2 and L3 do it.
    pub fn boot(&mut self, trace: &mut Trace) -> BootEnd {
        let log = RefCell::new(std::mem::take(&mut trace.operations));
        let began_with = log.borrow().len();
        let reads = Cell::new(0);
        let end = self.boot_logged(trace, &log, &reads);
        trace.operations = log.into_inner();
        if let Ok(booted) = end.1 {
            let touched = |operation: &Operation| match operation {
                Operation::Erase { place, .. } | Operation::Program { place, .. } => {
                    booted.level(place.0).bank == place.1
                }
                Operation::StoreWrite | Operation::StoreCommit => false,
            };
            trace.touched_booted_bank |= trace.operations[began_with..].iter().any(touched);
        }
        end.0
    }

    fn boot_logged(
        &mut self,
        trace: &mut Trace,
        log: &RefCell<Vec<Operation>>,
        reads: &Cell<u64>,
    ) -> (BootEnd, Result<Booted, ()>) {
        let mut selected = [None; 2];
        for (level, slot) in Level::ALL.into_iter().zip(&mut selected) {
            match self.run_level(level, log, reads) {
                Ok(selection) => {
                    trace.ran.push(selection.header);
                    *slot = Some(selection);
                }
                Err(none) => return (BootEnd::Bricked(level, none), Err(())),
            }
        }
        let [Some(l2), Some(l3)] = selected else {
            unreachable!("both levels were selected");
        };
        let image = |selection: &Selection| BootedImage {
            bank: selection.bank,
            version: selection.header.version,
        };
        let booted = Booted {
            l2: image(&l2),
            l3: image(&l3),
        };
        let comparison = compare(&self.policy, &booted, &mut self.store);
        let end = match comparison.action {
            Action::Continue => operational(&booted),
            Action::Download(part) => {
                trace.image_bytes_read += u64::from(part.length);
                operational(&booted)
            }
            Action::Refuse(refusal) => BootEnd::Refused(refusal),
            Action::Publish(_) => match self.publish(&l2, &l3, log, reads) {
                Ok(()) => operational(&booted),
                Err(error) => BootEnd::NotPublished(error),
            },
            Action::Reflash {
                level,
                target,
                version,
            } => {
                let selection = if level == Level::L2 { &l2 } else { &l3 };
                match self.reflash((level, target), version, selection, log, reads) {
                    Ok(stored) => {
                        trace.image_bytes_read += stored.total_length();
                        BootEnd::Reset
                    }
                    Err(error) => BootEnd::NotStored(error),
                }
            }
        };
        (end, Ok(booted))
    }

    fn run_level(
        &mut self,
        level: Level,
        log: &RefCell<Vec<Operation>>,
        reads: &Cell<u64>,
    ) -> Result<Selection, NoValid> {
        let requirements = requirements(level, self.key.as_ref());
        let [a, b] = &mut self.banks[index(level, Bank::A).0];
        let mut a = FlashPort {
            state: a,
            place: (level, Bank::A),
            log,
            reads,
        };
        let mut b = FlashPort {
            state: b,
            place: (level, Bank::B),
            log,
            reads,
        };
        let mut ram = [0; BANK_SIZE];
        let mut selection = select(&mut a, &mut b, &requirements, &mut [0; BUFFER_SIZE])?;
        loop {
            let flash = if selection.bank == Bank::A {
                &mut a
            } else {
                &mut b
            };
            match load(flash, &selection.header, &mut ram) {
                Ok(()) => return Ok(selection),
                Err(defect) => selection = selection.without_selected(defect)?,
            }
        }
    }

    fn reflash(
        &mut self,
        (level, target): (Level, Bank),
        version: Version,
        selection: &Selection,
        log: &RefCell<Vec<Operation>>,
        reads: &Cell<u64>,
    ) -> Result<ImageHeader, ReflashError> {
        let Store::Holding(package) = &self.store else {
            return Err(ReflashError::Copy);
        };
        let mut bytes: &[u8] = package;
        let part = Package::read(&mut bytes)
            .ok()
            .and_then(|found| found.part(level.kind()).copied());
        let source = PartReader::new(bytes, &part.ok_or(ReflashError::Copy)?);
        let [a, b] = &mut self.banks[index(level, Bank::A).0];
        let a = FlashPort {
            state: a,
            place: (level, Bank::A),
            log,
            reads,
        };
        let b = FlashPort {
            state: b,
            place: (level, Bank::B),
            log,
            reads,
        };
        let (target, booted) = if target == Bank::A { (a, b) } else { (b, a) };
        let order = Order {
            requirements: &requirements(level, self.key.as_ref()),
            version,
            record: selection.next_record(CALENDAR_S),
        };
        let strategy = match self.build {
            Build::Careful => Strategy::Careful,
            Build::Brick => Strategy::EraseBothFirst { booted },
        };
        Reflash::new(order, strategy, source, target, &mut [0; BUFFER_SIZE]).run()
    }

    fn publish(
        &mut self,
        l2: &Selection,
        l3: &Selection,
        log: &RefCell<Vec<Operation>>,
        reads: &Cell<u64>,
    ) -> Result<(), PublishError> {
        let mut sink = StoreSink {
            written: Vec::new(),
            log,
        };
        let mut buffer = [0; BUFFER_SIZE];
        let mut publication = Publication::new(&mut sink, l3.header.version, &mut buffer);
        for (level, selection) in Level::ALL.into_iter().zip([l2, l3]) {
            let (at, bank) = index(level, selection.bank);
            let state = &mut self.banks[at][bank];
            let mut port = FlashPort {
                state,
                place: (level, selection.bank),
                log,
                reads,
            };
            publication.add(&selection.header, BankReader(&mut port))?;
        }
        publication.finish()?;
        log.borrow_mut().push(Operation::StoreCommit);
        self.store = Store::Holding(Arc::new(sink.written));
        Ok(())
    }
}

/// The calendar's battery is flat: the count alone must put what was stored last first (K2).
const CALENDAR_S: u64 = 0;

fn operational(booted: &Booted) -> BootEnd {
    BootEnd::Operational {
        l2: booted.l2.version,
        l3: booted.l3.version,
    }
}

impl PreferredSource for Store {
    fn preferred(&mut self) -> Preferred {
        match self {
            Store::Empty => Preferred::Absent,
            Store::Unreachable => Preferred::Unreachable,
            Store::Holding(bytes) => {
                Package::parse(bytes).map_or_else(Preferred::Invalid, Preferred::Present)
            }
        }
    }
}

/// A free stretch of the store.
struct StoreSink<'a> {
    written: Vec<u8>,
    log: &'a RefCell<Vec<Operation>>,
}

impl PackageSink for &mut StoreSink<'_> {
    fn write_at(&mut self, offset: u32, sectors: &[u8]) -> Result<(), Unwritable> {
        self.log.borrow_mut().push(Operation::StoreWrite);
        let start = offset as usize;
        let end = start + sectors.len();
        if self.written.len() < end {
            self.written.resize(end, 0);
        }
        self.written[start..end].copy_from_slice(sectors);
        Ok(())
    }
}
