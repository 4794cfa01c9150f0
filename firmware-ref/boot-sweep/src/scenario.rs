//! Where a boot begins and where it must end.

use std::sync::Arc;

use boot::{Bank, Baseline, Level, Policy};
use image::pack::{self, PackError, Recipe};
use image::{HEADER_SIZE, Kind, Record, Version};

use crate::board::{Board, BootEnd, Build, LOAD_ADDRESS, Store};
use crate::flash::BankState;

/// What a bank holds at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// An image, stored as the how-manieth.
    Image(&'static str, u32),
    /// An image with one bit of its body flipped.
    Corrupt(&'static str, u32),
    /// Nothing.
    Erased,
}

/// How a story must end, whatever happens in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expectation {
    /// Boots until then without a cut; after any cut there must be no more than this again.
    pub boots: u32,
    /// Version of L2 that runs then.
    pub l2: &'static str,
    /// Version of L3 that runs then.
    pub l3: &'static str,
    /// Version that the store has then.
    pub store: &'static str,
}

/// A story to be swept.
#[derive(Clone, Debug)]
pub struct Scenario {
    /// Said in reports.
    pub name: &'static str,
    /// Acceptance rows.
    pub covers: &'static [&'static str],
    /// Levels L2 and L3, banks A and B.
    pub banks: [[Slot; 2]; 2],
    /// Versions of L2 and L3 in the store, if there are any.
    pub store: Option<(&'static str, &'static str)>,
    /// How the preferred version is treated.
    pub policy: Policy,
    /// Whether all is signed and signatures are demanded.
    pub signed: bool,
    /// The end.
    pub expectation: Expectation,
}

/// Builds the small images and packages of the sweep.
#[derive(Clone, Copy, Debug)]
pub struct Library {
    /// Whether they are signed.
    pub signed: bool,
}

/// Secret half of the key that the sweep's boards are fitted with.
const SEED: [u8; 32] = [0xab; 32];
const L2_BODY_LENGTH: u16 = 600;
const L3_BODY_LENGTH: u16 = 1500;

impl Library {
    /// The key to fit to a board that runs these images.
    pub fn key(&self) -> Option<[u8; 32]> {
        if self.signed {
            pack::public_key(&SEED).ok()
        } else {
            None
        }
    }

    /// An image file.
    pub fn image(&self, kind: Kind, version: &str) -> Result<Vec<u8>, PackError> {
        let length = if kind == Kind::L2 {
            L2_BODY_LENGTH
        } else {
            L3_BODY_LENGTH
        };
        let version: Version = version
            .parse()
            .map_err(|error| PackError::Image(image::Defect::Version(error)))?;
        let salt = version.number().0.to_le_bytes()[0] ^ version.number().1.to_le_bytes()[0] << 4;
        let body: Vec<u8> = (0..length).map(|at| at.to_le_bytes()[0] ^ salt).collect();
        let components = &[];
        let recipe = Recipe {
            kind,
            version,
            load_address: LOAD_ADDRESS,
            entry_offset: 0,
            components,
        };
        let mut file = pack::image(&recipe, &body)?;
        if self.signed {
            pack::sign(&mut file, &SEED)?;
        }
        Ok(file)
    }

    /// An image file as it lies in flash.
    pub fn stored(&self, kind: Kind, version: &str, sequence: u32) -> Result<Vec<u8>, PackError> {
        let mut file = self.image(kind, version)?;
        pack::stamp(
            &mut file,
            Record {
                sequence,
                programmed_s: 1000,
            },
        )?;
        Ok(file)
    }

    /// A package.
    pub fn package(&self, l2: &str, l3: &str) -> Result<Vec<u8>, PackError> {
        let (l2, l3) = (self.image(Kind::L2, l2)?, self.image(Kind::L3, l3)?);
        let version = image::ImageHeader::parse(&l3)
            .map_err(PackError::Image)?
            .version;
        pack::package(version, &[&l2, &l3])
    }
}

impl Scenario {
    /// The board as the story begins.
    pub fn board(&self, build: Build) -> Result<Board, PackError> {
        let library = Library {
            signed: self.signed,
        };
        let bank = |level: Level, slot: Slot| -> Result<BankState, PackError> {
            Ok(match slot {
                Slot::Erased => BankState::default(),
                Slot::Image(version, sequence) => {
                    BankState::holding(&library.stored(level.kind(), version, sequence)?)
                }
                Slot::Corrupt(version, sequence) => {
                    let mut file = library.stored(level.kind(), version, sequence)?;
                    file[HEADER_SIZE + 300] ^= 0x10;
                    BankState::holding(&file)
                }
            })
        };
        let level = |level: Level, slots: [Slot; 2]| -> Result<[BankState; 2], PackError> {
            Ok([bank(level, slots[0])?, bank(level, slots[1])?])
        };
        Ok(Board {
            banks: [
                level(Level::L2, self.banks[0])?,
                level(Level::L3, self.banks[1])?,
            ],
            store: match self.store {
                None => Store::Empty,
                Some((l2, l3)) => Store::Holding(Arc::new(library.package(l2, l3)?)),
            },
            policy: self.policy,
            key: library.key(),
            build,
        })
    }

    /// Whether a boot ended, and left the store, as it must.
    pub fn is_met(&self, end: &BootEnd, board: &Board) -> bool {
        let BootEnd::Operational { l2, l3 } = end else {
            return false;
        };
        let Store::Holding(package) = &board.store else {
            return false;
        };
        let store = image::Package::parse(package);
        l2.as_str() == self.expectation.l2
            && l3.as_str() == self.expectation.l3
            && store.is_ok_and(|store| store.version.as_str() == self.expectation.store)
    }

    /// The stories that are swept.
    pub fn all() -> Vec<Scenario> {
        use Slot::{Corrupt, Erased, Image};
        let l3_follows = Policy::default();
        let both_follow = Policy {
            follow_l2: true,
            ..l3_follows
        };
        let newest_wins = Policy {
            newest_wins: true,
            ..both_follow
        };
        let no_compare = Policy {
            baseline: Some(Baseline::NoCompare),
            ..l3_follows
        };
        let old = [Image("1.0", 1), Image("1.0", 2)];
        let ends = |boots, l2, l3, store| Expectation {
            boots,
            l2,
            l3,
            store,
        };
        let story = |name, covers, l2, l3, store, policy, expectation| Scenario {
            name,
            covers,
            banks: [l2, l3],
            store,
            policy,
            signed: false,
            expectation,
        };
        let mut all = vec![
            story(
                "upgrade of L3",
                &["VC39", "VC45", "VC48", "VC68"],
                old,
                old,
                Some(("1.0", "2.0")),
                l3_follows,
                ends(2, "1.0", "2.0", "2.0"),
            ),
            story(
                "downgrade of L3",
                &["VC33", "VC43"],
                old,
                [Image("2.0", 8), Image("2.0", 7)],
                Some(("1.0", "1.0")),
                l3_follows,
                ends(2, "1.0", "1.0", "1.0"),
            ),
            story(
                "newest L3 corrupt, older one boots and repairs it",
                &["VC26", "VC34"],
                old,
                [Image("1.0", 1), Corrupt("2.0", 2)],
                Some(("1.0", "2.0")),
                l3_follows,
                ends(2, "1.0", "2.0", "2.0"),
            ),
            story(
                "one bank of each level erased, both differ",
                &["VC21", "VC30", "VC58"],
                [Erased, Image("1.0", 1)],
                [Image("1.0", 1), Erased],
                Some(("1.1", "1.1")),
                both_follow,
                ends(3, "1.1", "1.1", "1.1"),
            ),
            story(
                "upgrade of both levels",
                &["VC50", "VC52", "VC53", "VC54", "VC55", "VC58"],
                old,
                old,
                Some(("2.0", "2.0")),
                both_follow,
                ends(3, "2.0", "2.0", "2.0"),
            ),
            story(
                "replacement controller of another version",
                &["VC49", "VC73"],
                [Image("0.9", 40), Image("0.9", 41)],
                [Image("2.0", 41), Image("0.9", 40)],
                Some(("1.1", "1.1")),
                both_follow,
                ends(3, "1.1", "1.1", "1.1"),
            ),
            story(
                "normal boot",
                &["VC42", "VC47", "VC69"],
                old,
                old,
                Some(("1.0", "1.0")),
                both_follow,
                ends(1, "1.0", "1.0", "1.0"),
            ),
            story(
                "no image on disk",
                &["VC67"],
                old,
                old,
                None,
                l3_follows,
                ends(1, "1.0", "1.0", "1.0"),
            ),
            story(
                "newest wins, flash is newer",
                &["VC66"],
                [Image("2.0", 1), Image("2.0", 2)],
                [Image("2.0", 1), Image("2.0", 2)],
                Some(("1.0", "1.0")),
                newest_wins,
                ends(1, "2.0", "2.0", "2.0"),
            ),
            story(
                "newest wins, each side has the newer one of a level",
                &["VC66"],
                old,
                [Image("1.1", 1), Image("2.0", 2)],
                Some(("1.1", "1.1")),
                newest_wins,
                ends(2, "1.1", "2.0", "2.0"),
            ),
            story(
                "prior art 1B, nobody compares",
                &["VC91"],
                old,
                old,
                Some(("2.0", "2.0")),
                no_compare,
                ends(1, "1.0", "1.0", "2.0"),
            ),
        ];
        all.push(Scenario {
            name: "upgrade of L3, signatures demanded",
            signed: true,
            ..all[0].clone()
        });
        all
    }

    /// The banks of one level and one bank, by name, for reports.
    pub fn slot(&self, level: Level, bank: Bank) -> Slot {
        self.banks[usize::from(level == Level::L3)][usize::from(bank == Bank::B)]
    }
}
