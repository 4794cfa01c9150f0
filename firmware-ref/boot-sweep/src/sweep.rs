//! Cutting power everywhere, and judging what comes of it.

use boot::Level;
use image::ImageHeader;
use image::pack::PackError;

use crate::board::{Board, BootEnd, Build, Store, Trace};
use crate::flash::{Operation, Shape};
use crate::scenario::Scenario;

/// How far a sweep goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For each cut in a row, how many torn outcomes are tried at every operation; as many cuts
    /// as there are entries.
    pub torn: &'static [u32],
}

/// What went wrong in a case.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum ViolationKind {
    /// A level had no valid image.
    Bricked,
    /// The story did not end as it must, or not within the boots it may take.
    NotConverged,
    /// The bank that booted was erased or programmed.
    BootedBankTouched,
    /// An image ran that was in no bank and no package of the story.
    ForeignImageRan,
}

/// A case that went wrong, with the way to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// What.
    pub kind: ViolationKind,
    /// For each cut the number of the operation since the reset before it, and what became of
    /// that operation.
    pub cuts: Vec<(usize, Shape)>,
    /// How the last boot ended.
    pub end: BootEnd,
}

/// What a sweep found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Operations of the story without a cut.
    pub operations: usize,
    /// Runs with at least one cut.
    pub cases: u64,
    /// What went wrong.
    pub violations: Vec<Violation>,
}

impl Report {
    /// Whether something of this kind went wrong.
    pub fn has(&self, kind: ViolationKind) -> bool {
        self.violations
            .iter()
            .any(|violation| violation.kind == kind)
    }
}

/// Boots a board until it is not to be reset any more, or as often as `limit` says.
pub fn run_to_the_end(board: &mut Board, limit: u32, trace: &mut Trace) -> (u32, BootEnd) {
    let mut boots = 1;
    loop {
        let end = board.boot(trace);
        if end != BootEnd::Reset || boots >= limit {
            return (boots, end);
        }
        boots += 1;
    }
}

/// Sweeps one story: exhaustive over operations, and over the given number of torn outcomes of each.
pub fn sweep(scenario: &Scenario, build: Build, limits: Limits) -> Result<Report, PackError> {
    let board = scenario.board(build)?;
    let mut sweep = Sweep {
        scenario,
        known: known_images(&board),
        report: Report::default(),
        cuts: Vec::new(),
    };
    sweep.explore(&board, limits.torn);
    Ok(sweep.report)
}

/// All that may ever run in a story: what its banks and its package hold.
fn known_images(board: &Board) -> Vec<[u8; 32]> {
    let in_banks = board.banks.iter().flatten().map(|bank| &bank.bytes[..]);
    let package: &[u8] = match &board.store {
        Store::Holding(package) => package,
        Store::Empty | Store::Unreachable => &[],
    };
    let in_package = package.chunks(512).filter(|sector| sector.len() >= 256);
    let images = in_banks.chain(in_package);
    images
        .filter_map(|bytes| ImageHeader::parse(bytes).ok())
        .map(|header| header.body_digest)
        .collect()
}

struct Sweep<'a> {
    scenario: &'a Scenario,
    known: Vec<[u8; 32]>,
    report: Report,
    cuts: Vec<(usize, Shape)>,
}

impl Sweep<'_> {
    /// Runs from `start` to the end, judges that, then cuts power at each of the operations seen.
    fn explore(&mut self, start: &Board, torn: &[u32]) {
        let mut board = start.clone();
        let mut trace = Trace::default();
        let limit = self.scenario.expectation.boots;
        let (_, end) = run_to_the_end(&mut board, limit, &mut trace);
        self.judge(&board, end, &trace);
        if self.cuts.is_empty() {
            self.report.operations = trace.operations.len();
        } else {
            self.report.cases += 1;
        }
        let Some((outcomes, deeper)) = torn.split_first() else {
            return;
        };

        // The medium as it is when each operation begins is found by doing the ones before it again,
        // which is much cheaper than booting again.
        let mut before = start.clone();
        let last = trace.operations.len().wrapping_sub(1);
        for (number, operation) in trace.operations.iter().enumerate() {
            // A torn write to the store's free stretch is as good as a lost one, and a commit
            // happens whole or not at all.
            let in_flash = matches!(
                operation,
                Operation::Erase { .. } | Operation::Program { .. }
            );
            let seeds = if in_flash { 0..*outcomes } else { 0..0 };
            let torn = seeds.map(|seed| Shape::Torn(distinct(seed, number)));
            // Done is what the next operation finds when it is lost, so it is tried at the last only.
            let done = (number == last).then_some(Shape::Done);
            for shape in [Shape::Lost].into_iter().chain(torn).chain(done) {
                let mut cut = before.clone();
                perform(&mut cut, operation, shape, &board);
                self.cuts.push((number, shape));
                self.explore(&cut, deeper);
                self.cuts.pop();
            }
            perform(&mut before, operation, Shape::Done, &board);
        }
    }

    fn judge(&mut self, board: &Board, end: BootEnd, trace: &Trace) {
        let mut blame = |kind| {
            self.report.violations.push(Violation {
                kind,
                cuts: self.cuts.clone(),
                end,
            });
        };
        if matches!(end, BootEnd::Bricked(Level::L2 | Level::L3, _)) {
            blame(ViolationKind::Bricked);
        } else if !self.scenario.is_met(&end, board) {
            blame(ViolationKind::NotConverged);
        }
        if trace.touched_booted_bank {
            blame(ViolationKind::BootedBankTouched);
        }
        if trace
            .ran
            .iter()
            .any(|header| !self.known.contains(&header.body_digest))
        {
            blame(ViolationKind::ForeignImageRan);
        }
    }
}

/// Numbers differ between operations, so that a program and the next are not torn alike; the last two
/// bits choose how far an erase came and are kept.
fn distinct(seed: u32, number: usize) -> u32 {
    let number = u32::try_from(number).unwrap_or(u32::MAX);
    seed.wrapping_add(number.wrapping_mul(0x1_0004))
}

fn perform(board: &mut Board, operation: &Operation, shape: Shape, finished: &Board) {
    board.apply(operation, shape);
    if matches!(operation, Operation::StoreCommit) && shape == Shape::Done {
        board.store = finished.store.clone();
    }
}
