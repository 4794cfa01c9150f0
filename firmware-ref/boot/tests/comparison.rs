//! What is done about the preferred version: rows VC36 to VC58, VC66 to VC69, VC90, VC91 and K23.

use boot::{
    Action, Bank, Baseline, Booted, BootedImage, Level, Policy, Preferred, PreferredSource,
    PublishReason, Refusal, compare,
};
use boot_sweep::Library;
use image::{Kind, Package, PackageDefect};
use proptest::prelude::*;

struct Store {
    holds: Preferred,
    asked: u32,
}

impl PreferredSource for Store {
    fn preferred(&mut self) -> Preferred {
        self.asked += 1;
        self.holds
    }
}

const L3_FOLLOWS: Policy = Policy {
    follow_l2: false,
    newest_wins: false,
    baseline: None,
};
const BOTH_FOLLOW: Policy = Policy {
    follow_l2: true,
    newest_wins: false,
    baseline: None,
};
const NEWEST_WINS: Policy = Policy {
    follow_l2: true,
    newest_wins: true,
    baseline: None,
};
const DOWNLOAD: Policy = Policy {
    baseline: Some(Baseline::Download),
    ..L3_FOLLOWS
};
const NO_COMPARE: Policy = Policy {
    baseline: Some(Baseline::NoCompare),
    ..L3_FOLLOWS
};

fn package(l2: &str, l3: &str) -> Preferred {
    let file = Library { signed: false }.package(l2, l3).unwrap();
    Preferred::Present(Package::parse(&file).unwrap())
}

fn without(kind: Kind) -> Preferred {
    let Preferred::Present(mut package) = package("1.0", "1.0") else {
        unreachable!()
    };
    for slot in &mut package.parts {
        *slot = slot.filter(|part| part.kind != kind);
    }
    Preferred::Present(package)
}

/// L2 was booted from bank A, L3 from bank B.
fn booted(l2: &str, l3: &str) -> Booted {
    let image = |bank, version: &str| BootedImage {
        bank,
        version: version.parse().unwrap(),
    };
    Booted {
        l2: image(Bank::A, l2),
        l3: image(Bank::B, l3),
    }
}

fn reflash(level: Level, version: &str) -> Action {
    let target = if level == Level::L2 { Bank::B } else { Bank::A };
    Action::Reflash {
        level,
        target,
        version: version.parse().unwrap(),
    }
}

#[track_caller]
fn check(row: &str, policy: Policy, running: (&str, &str), holds: Preferred, expected: Action) {
    let mut store = Store { holds, asked: 0 };
    let comparison = compare(&policy, &booted(running.0, running.1), &mut store);
    assert_eq!(comparison.action, expected, "{row}");
    let asked = u32::from(comparison.preferred.is_some());
    assert_eq!(
        store.asked, asked,
        "{row}: the store is asked once or not at all"
    );
}

#[test]
fn l3_alone_follows_the_store_up_and_down() {
    let old = ("1.0", "1.0");
    check(
        "VC42, VC69",
        L3_FOLLOWS,
        old,
        package("1.0", "1.0"),
        Action::Continue,
    );
    check(
        "VC39, VC68",
        L3_FOLLOWS,
        old,
        package("1.0", "2.0"),
        reflash(Level::L3, "2.0"),
    );
    check(
        "VC43",
        L3_FOLLOWS,
        ("1.0", "2.0"),
        package("1.0", "1.0"),
        reflash(Level::L3, "1.0"),
    );
    let other_build = package("1.0", "2.0-crash");
    check(
        "VC43",
        L3_FOLLOWS,
        ("1.0", "2.0"),
        other_build,
        reflash(Level::L3, "2.0-crash"),
    );
    check(
        "VC50 is off",
        L3_FOLLOWS,
        old,
        package("2.0", "1.0"),
        Action::Continue,
    );
    check(
        "VC51 is off",
        L3_FOLLOWS,
        old,
        without(Kind::L2),
        Action::Continue,
    );
}

#[test]
fn both_levels_follow_the_store_l2_first() {
    let old = ("1.0", "1.0");
    check(
        "VC56",
        BOTH_FOLLOW,
        old,
        package("1.0", "1.0"),
        Action::Continue,
    );
    check(
        "VC52, VC53",
        BOTH_FOLLOW,
        old,
        package("2.0", "1.0"),
        reflash(Level::L2, "2.0"),
    );
    check(
        "VC54, VC55",
        BOTH_FOLLOW,
        old,
        package("1.0", "2.0"),
        reflash(Level::L3, "2.0"),
    );
    check(
        "VC58 first",
        BOTH_FOLLOW,
        old,
        package("2.0", "2.0"),
        reflash(Level::L2, "2.0"),
    );
    let half = ("2.0", "1.0");
    check(
        "VC58 second",
        BOTH_FOLLOW,
        half,
        package("2.0", "2.0"),
        reflash(Level::L3, "2.0"),
    );
    check(
        "VC58 third",
        BOTH_FOLLOW,
        ("2.0", "2.0"),
        package("2.0", "2.0"),
        Action::Continue,
    );
}

#[test]
fn vc66_the_more_recent_version_wins_wherever_it_is() {
    let newer = Action::Publish(PublishReason::FlashIsNewer);
    let equal = package("1.0", "1.0");
    check(
        "equal",
        NEWEST_WINS,
        ("1.0", "1.0"),
        equal,
        Action::Continue,
    );
    check("flash", NEWEST_WINS, ("1.0", "2.0"), equal, newer);
    check("flash", NEWEST_WINS, ("2.0", "2.0"), equal, newer);
    let store = package("1.1", "2.0");
    check(
        "store",
        NEWEST_WINS,
        ("1.1", "1.9"),
        store,
        reflash(Level::L3, "2.0"),
    );
    check(
        "each, L3 first",
        NEWEST_WINS,
        ("2.0", "1.0"),
        store,
        reflash(Level::L3, "2.0"),
    );
    check("then L2", NEWEST_WINS, ("2.0", "2.0"), store, newer);
    check(
        "each, L2 first",
        NEWEST_WINS,
        ("1.0", "3.0"),
        store,
        reflash(Level::L2, "1.1"),
    );
    // Two builds of one number: neither is more recent, and then the array's word counts.
    let build = package("1.0", "2.0-crash");
    check(
        "builds",
        NEWEST_WINS,
        ("1.0", "2.0"),
        build,
        reflash(Level::L3, "2.0-crash"),
    );
}

#[test]
fn k23_only_a_store_that_is_really_empty_is_written() {
    let empty = Action::Publish(PublishReason::StoreEmpty);
    let torn = PackageDefect::ManifestCrc;
    for policy in [L3_FOLLOWS, BOTH_FOLLOW, NEWEST_WINS] {
        let is = |holds, action| check("K23", policy, ("1.0", "1.0"), holds, action);
        is(Preferred::Absent, empty);
        is(
            Preferred::Unreachable,
            Action::Refuse(Refusal::StoreUnreachable),
        );
        is(
            Preferred::Invalid(torn),
            Action::Refuse(Refusal::StoreInvalid(torn)),
        );
        is(
            without(Kind::L3),
            Action::Refuse(Refusal::PartMissing(Level::L3)),
        );
    }
    let missing = Action::Refuse(Refusal::PartMissing(Level::L2));
    check(
        "VC57",
        BOTH_FOLLOW,
        ("1.0", "1.0"),
        without(Kind::L2),
        missing,
    );
}

#[test]
fn the_prior_art_downloads_always_or_never_compares() {
    let new = package("2.0", "2.0");
    let Preferred::Present(found) = new else {
        unreachable!()
    };
    let part = *found.part(Kind::L3).unwrap();
    let same = ("2.0", "2.0");
    check("VC90", DOWNLOAD, same, new, Action::Download(part));
    check(
        "VC90",
        DOWNLOAD,
        ("1.0", "1.0"),
        new,
        Action::Download(part),
    );
    let refused = |refusal| Action::Refuse(refusal);
    check(
        "VC90",
        DOWNLOAD,
        same,
        Preferred::Absent,
        refused(Refusal::StoreEmpty),
    );
    check(
        "VC90",
        DOWNLOAD,
        same,
        Preferred::Unreachable,
        refused(Refusal::StoreUnreachable),
    );
    let no_l3 = refused(Refusal::PartMissing(Level::L3));
    check("VC90", DOWNLOAD, same, without(Kind::L3), no_l3);
    for holds in [new, Preferred::Absent, Preferred::Unreachable] {
        check("VC91", NO_COMPARE, ("1.0", "1.0"), holds, Action::Continue);
    }
}

#[test]
fn straps_are_those_of_the_board_manual() {
    for (straps, policy) in [
        (0b0_0000, L3_FOLLOWS),
        (0b0_0001, BOTH_FOLLOW),
        (0b0_0011, NEWEST_WINS),
        (0b0_0100, L3_FOLLOWS), // signatures are a matter of trust, not of policy
        (0b0_1000, DOWNLOAD),
        (0b1_0000, NO_COMPARE),
        (0b1_1000, DOWNLOAD),
        (0x300, L3_FOLLOWS), // where the store is, is the source's business
    ] {
        assert_eq!(Policy::from_straps(straps), policy, "{straps:#b}");
    }
}

proptest! {
    /// VC38, VC39, VC48, VC52, VC53 for any versions: what is re-flashed differs, into the bank that was
    /// not booted, L2 before L3, to what the store says; and nothing is done about equals.
    #[test]
    fn a_reflash_is_of_the_first_level_that_differs(
        straps in 0..4u32, bank in any::<[bool; 2]>(), number in any::<[(u8, u8); 2]>(),
    ) {
        let texts = ["1.0", "1.1", "2.0", "2.0-crash"];
        let text = |choice: u8| texts[usize::from(choice) % 4];
        let mut running = booted(text(number[0].0), text(number[1].0));
        running.l2.bank = if bank[0] { Bank::A } else { Bank::B };
        running.l3.bank = if bank[1] { Bank::A } else { Bank::B };
        let (l2, l3) = (text(number[0].1), text(number[1].1));
        let policy = Policy::from_straps(straps);
        let holds = package(l2, l3);
        let action = compare(&policy, &running, &mut Store { holds, asked: 0 }).action;
        let l2_differs = policy.follow_l2 && running.l2.version.as_str() != l2;
        let l3_differs = running.l3.version.as_str() != l3;
        match action {
            Action::Continue => prop_assert!(!l2_differs && !l3_differs),
            Action::Reflash { level, target, version } => {
                let wanted = if level == Level::L2 { l2 } else { l3 };
                prop_assert_eq!(version.as_str(), wanted);
                prop_assert_ne!(running.level(level).version, version);
                prop_assert_ne!(target, running.level(level).bank);
                prop_assert!(level == Level::L2 || !l2_differs || policy.newest_wins);
            }
            Action::Publish(PublishReason::FlashIsNewer) => prop_assert!(policy.newest_wins),
            other => prop_assert!(false, "{other:?}"),
        }
    }
}
