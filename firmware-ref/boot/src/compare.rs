//! What to do about the preferred version (Fig. 4B and 4C).

use core::cmp::Ordering;

use image::{Package, PackageDefect, Part, Version};

use crate::bank::{Bank, Level};

/// How a controller treats the preferred version.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// L2 follows too (Fig. 4C); otherwise L3 alone (Fig. 4B).
    pub follow_l2: bool,
    /// The more recent version overwrites the older one wherever it is (VC66); otherwise the
    /// store wins, up or down (VC43).
    pub newest_wins: bool,
    /// Behave like the prior art instead, to measure against it.
    pub baseline: Option<Baseline>,
}

/// What controllers did before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Baseline {
    /// Fig. 1A: the application is downloaded from the array at every boot (VC90).
    Download,
    /// Fig. 1B: the application is in flash and nobody compares (VC91).
    NoCompare,
}

impl Policy {
    /// The policy that a board's straps ask for (board manual §5.2). With both baselines set, the
    /// download wins.
    pub fn from_straps(straps: u32) -> Policy {
        let bit = |number: u32| straps & (1 << number) != 0;
        Policy {
            follow_l2: bit(0),
            newest_wins: bit(1),
            baseline: match (bit(3), bit(4)) {
                (true, _) => Some(Baseline::Download),
                (false, true) => Some(Baseline::NoCompare),
                (false, false) => None,
            },
        }
    }

    /// The levels that follow the preferred version, in the order in which they are compared.
    fn levels(&self) -> &'static [Level] {
        if self.follow_l2 {
            &Level::ALL
        } else {
            &[Level::L3]
        }
    }
}

/// What the place of the preferred version holds. These are told apart because a disk that is foreign
/// or out of reach must never look empty (K23): an empty one gets written.
#[expect(
    clippy::large_enum_variant,
    reason = "there is no allocator to box a manifest with"
)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preferred {
    /// The place is reachable and holds no image: the first start (VC67).
    Absent,
    /// Something is there that is no package.
    Invalid(PackageDefect),
    /// The place does not answer.
    Unreachable,
    /// A package; only its manifest was read (VC37).
    Present(Package),
}

/// Where the preferred version is kept: the array, service media, the partner (VC5).
pub trait PreferredSource {
    /// Reads the version information.
    fn preferred(&mut self) -> Preferred;
}

/// One of the two images this controller is running.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BootedImage {
    /// Where it was booted from.
    pub bank: Bank,
    /// What it is.
    pub version: Version,
}

/// The images this controller is running: *these* are compared, not the other banks (VC38).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Booted {
    /// The second level.
    pub l2: BootedImage,
    /// The third level.
    pub l3: BootedImage,
}

impl Booted {
    /// The image of one level.
    pub fn level(&self, level: Level) -> &BootedImage {
        match level {
            Level::L2 => &self.l2,
            Level::L3 => &self.l3,
        }
    }
}

/// What to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Finish this boot with what is in flash (steps 265 and 355).
    Continue,
    /// Store the preferred image and reset (steps 275–280, 325–340 and 330–350).
    Reflash {
        /// The level that differs.
        level: Level,
        /// The bank not booted: the older one, or the one that is not valid (VC39, VC48).
        target: Bank,
        /// The version announced by the store; the image must turn out to be that.
        version: Version,
    },
    /// Write the images that are running to the store, then finish this boot.
    Publish(PublishReason),
    /// Prior art only: load the third level from the store and run that.
    Download(Part),
    /// Touch neither flash nor store. Whether to go operational is the caller's to decide.
    Refuse(Refusal),
}

/// Why the store is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublishReason {
    /// There was nothing (VC67).
    StoreEmpty,
    /// What is running is more recent and that counts here (VC66).
    FlashIsNewer,
}

/// Why nothing is done about a version that may differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// What the store holds is no package.
    StoreInvalid(PackageDefect),
    /// The store does not answer.
    StoreUnreachable,
    /// The store holds nothing, and this policy cannot do without.
    StoreEmpty,
    /// The package says nothing about a level that follows it.
    PartMissing(Level),
}

impl Refusal {
    /// The word used in traces: `cause=…`.
    pub fn as_str(&self) -> &'static str {
        match self {
            Refusal::StoreInvalid(defect) => defect.as_str(),
            Refusal::StoreUnreachable => "unreachable",
            Refusal::StoreEmpty => "absent",
            Refusal::PartMissing(Level::L2) => "no-l2-part",
            Refusal::PartMissing(Level::L3) => "no-l3-part",
        }
    }
}

/// A decision and what it was based on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Comparison {
    /// What the store held; nothing if the policy did not ask.
    pub preferred: Option<Preferred>,
    /// What to do.
    pub action: Action,
}

/// Decides what this boot does about the preferred version.
///
/// A level that differs is re-flashed alone, L2 before L3 (VC52); the reset that follows starts over,
/// so that both levels differing take three boots (VC58).
pub fn compare(policy: &Policy, booted: &Booted, store: &mut impl PreferredSource) -> Comparison {
    if policy.baseline == Some(Baseline::NoCompare) {
        return Comparison {
            preferred: None,
            action: Action::Continue,
        };
    }
    let preferred = store.preferred();
    let download = policy.baseline == Some(Baseline::Download);
    let action = match &preferred {
        Preferred::Unreachable => Action::Refuse(Refusal::StoreUnreachable),
        Preferred::Invalid(defect) => Action::Refuse(Refusal::StoreInvalid(*defect)),
        Preferred::Absent if download => Action::Refuse(Refusal::StoreEmpty),
        Preferred::Absent => Action::Publish(PublishReason::StoreEmpty),
        Preferred::Present(package) if download => package
            .part(Level::L3.kind())
            .map_or(Action::Refuse(Refusal::PartMissing(Level::L3)), |part| {
                Action::Download(*part)
            }),
        Preferred::Present(package) => decide(policy, booted, package),
    };
    Comparison {
        preferred: Some(preferred),
        action,
    }
}

fn decide(policy: &Policy, booted: &Booted, package: &Package) -> Action {
    let mut flash_is_newer = false;
    for level in policy.levels().iter().copied() {
        let Some(part) = package.part(level.kind()) else {
            return Action::Refuse(Refusal::PartMissing(level));
        };
        let running = booted.level(level);
        if running.version == part.version {
            continue;
        }
        let newer = running.version.partial_cmp(&part.version) == Some(Ordering::Greater);
        if policy.newest_wins && newer {
            // Noted, not done at once: what is published is everything that runs, so every level must
            // first be as recent as the store.
            flash_is_newer = true;
            continue;
        }
        return Action::Reflash {
            level,
            target: running.bank.other(),
            version: part.version,
        };
    }
    if flash_is_newer {
        Action::Publish(PublishReason::FlashIsNewer)
    } else {
        Action::Continue
    }
}
