//! Which of two masters is active, case by case.

use super::*;

const MS: u64 = 1_000_000;

fn heartbeat(slot: u8, state: MasterState, epoch: u16) -> Heartbeat {
    Heartbeat {
        node: slot,
        slot,
        state,
        epoch: Epoch(epoch),
        update: UpdateState::default(),
    }
}

/// Slot 1, active in epoch 5 or standby in it.
fn slot_1(authority: Authority, active: bool) -> Mastership {
    let mut it = Mastership::new(1, 1, authority, 0);
    it.epoch = Epoch(5);
    it.active = active;
    it
}

#[test]
fn what_a_heartbeat_changes() {
    use Authority::{Bus, Lock};
    use Cause::{Deposed, Handover};
    use MasterState::{Active, Leaving, Standby};
    for (authority, active, slot, state, epoch, change) in [
        (Bus, true, 0, Active, 6, Some((false, Deposed))),
        (Bus, true, 0, Active, 5, Some((false, Deposed))),
        (Bus, true, 2, Active, 5, None),
        (Bus, true, 0, Active, 4, None),
        (Bus, true, 0, Standby, 9, None),
        (Bus, true, 0, Leaving, 5, None),
        (Bus, false, 0, Active, 6, None),
        (Bus, false, 0, Leaving, 5, Some((true, Handover))),
        (Bus, false, 0, Leaving, 4, None),
        (Lock, true, 0, Active, 6, Some((false, Deposed))),
        (Lock, true, 0, Active, 5, None),
        (Lock, false, 0, Leaving, 5, None),
    ] {
        let mut it = slot_1(authority, active);
        let change = change.map(|(active, cause)| Change { active, cause });
        let heard = heartbeat(slot, state, epoch);
        assert_eq!(
            it.heard(0, &heard),
            change,
            "{authority:?} {active} {heard:?}"
        );
    }
}

#[test]
fn with_a_lock_its_answer_decides_and_silence_does_not() {
    let mut it = slot_1(Authority::Lock, false);
    assert_eq!(it.tick(u64::MAX), None);
    for (owner, epoch, change) in [
        (Some(0), 6, None),
        (Some(1), 7, Some((true, Cause::Lock))),
        (Some(1), 7, None),
        // Lost and won again meanwhile.
        (Some(1), 9, Some((true, Cause::Lock))),
        (None, 9, Some((false, Cause::Lock))),
        (None, 9, None),
    ] {
        let change = change.map(|(active, cause)| Change { active, cause });
        assert_eq!(it.lock(0, owner, Epoch(epoch)), change);
        assert_eq!(it.epoch(), Epoch(epoch));
    }
    let mut it = slot_1(Authority::Bus, false);
    assert_eq!(it.lock(0, Some(1), Epoch(7)), None, "there is no lock");
}

#[test]
fn a_standby_waits_for_lower_slots_and_the_one_that_left_waits_longer() {
    let mut it = Mastership::new(1, 1, Authority::Bus, 0);
    assert_eq!(it.tick(550 * MS - 1), None);
    let alone = Change {
        active: true,
        cause: Cause::Alone,
    };
    assert_eq!(it.tick(550 * MS), Some(alone));
    assert_eq!(it.epoch(), Epoch(1));
    let left = it.hand_over(600 * MS);
    assert!(left.is_some_and(|it| !it.active));
    let said = it.heartbeat(600 * MS).map(|it| it.state);
    assert_eq!(said, Some(MasterState::Leaving));
    let said = it.heartbeat(700 * MS).map(|it| it.state);
    assert_eq!(said, Some(MasterState::Standby));
    assert_eq!(it.tick(1649 * MS), None);
    assert!(it.tick(1650 * MS).is_some(), "nobody took it");
}
