use super::*;

fn pair() -> Midplane {
    let mut midplane = Midplane::new(2, 1_000);
    for slot in 0..2 {
        midplane.set_present(slot, true);
        midplane.set_powered(slot, true);
    }
    midplane
}

type Step = (u32, LockAction, Result<(), Refusal>, Option<u32>, u64);

/// Plays requests on lock 3: (slot, action, outcome, owner after, epoch after).
fn check(midplane: &mut Midplane, steps: &[Step]) {
    for (n, (slot, action, outcome, owner, epoch)) in steps.iter().enumerate() {
        let answer = midplane.lock(*slot, 3, *action);
        let expected = LockAnswer {
            owner: *owner,
            epoch: *epoch,
            outcome: *outcome,
        };
        assert_eq!(answer, expected, "step {n}");
    }
}

#[test]
fn a_lock_has_one_owner_and_each_ownership_a_higher_epoch() {
    use LockAction::{Acquire, Query, Release};
    let no = Err(Refusal::Refused);
    check(
        &mut pair(),
        &[
            (0, Query, Ok(()), None, 0),
            (0, Release, no, None, 0),
            (0, Acquire, Ok(()), Some(0), 1),
            (0, Acquire, Ok(()), Some(0), 1),
            (1, Acquire, no, Some(0), 1),
            (1, Release, no, Some(0), 1),
            (0, Release, Ok(()), None, 1),
            (1, Acquire, Ok(()), Some(1), 2),
            (0, Query, Ok(()), Some(1), 2),
        ],
    );
}

#[test]
fn take_fences_the_previous_owner_until_it_resets() {
    use LockAction::{Acquire, Take};
    let no = Err(Refusal::Refused);
    let mut midplane = pair();
    check(
        &mut midplane,
        &[
            (0, Take, Ok(()), Some(0), 1),
            (0, Take, Ok(()), Some(0), 1),
            (1, Take, Ok(()), Some(1), 2),
            (0, Take, no, Some(1), 2),
        ],
    );
    assert_eq!(midplane.take_commands(), [MidplaneCommand::Fence(0)]);
    assert_eq!(midplane.lock(0, 4, Acquire).outcome, no);
    assert!(midplane.fenced(0) && !midplane.fenced(1));
    midplane.slot_reset(0);
    assert!(!midplane.fenced(0));
    assert_eq!(midplane.lock(0, 4, Acquire).outcome, Ok(()));
}

#[test]
fn whoever_resets_loses_power_or_is_pulled_or_held_loses_its_locks() {
    let ends: [fn(&mut Midplane); 4] = [
        |midplane| midplane.slot_reset(0),
        |midplane| midplane.set_powered(0, false),
        |midplane| midplane.set_present(0, false),
        |midplane| {
            midplane.hold(1, 0, HoldAction::Hold).unwrap();
        },
    ];
    for end in ends {
        let mut midplane = pair();
        midplane.lock(0, 0, LockAction::Acquire);
        midplane.lock(0, 15, LockAction::Acquire);
        midplane.lock(1, 7, LockAction::Acquire);
        end(&mut midplane);
        let owners = [0, 15, 7].map(|lock| midplane.lock_owner(lock));
        assert_eq!(owners, [None, None, Some(1)]);
    }
}

#[test]
fn hold_and_release_are_told_once() {
    let mut midplane = pair();
    let held = SlotLines {
        present: true,
        powered: true,
        held: true,
    };
    for _ in 0..2 {
        assert_eq!(midplane.hold(0, 1, HoldAction::Hold), Ok(held));
    }
    assert_eq!(midplane.hold(0, 1, HoldAction::Query), Ok(held));
    assert_eq!(midplane.take_commands(), [MidplaneCommand::Hold(1)]);
    midplane.slot_reset(0);
    assert!(midplane.lines(1).held);
    for _ in 0..2 {
        assert!(!midplane.hold(0, 1, HoldAction::Release).unwrap().held);
    }
    assert_eq!(midplane.take_commands(), [MidplaneCommand::Release(1)]);
}

#[test]
fn nobody_holds_itself_and_the_dead_hold_nobody() {
    let mut midplane = pair();
    let own = midplane.hold(0, 0, HoldAction::Hold);
    assert_eq!(own, Err(Refusal::Refused));
    assert_eq!(midplane.hold(0, 2, HoldAction::Query), Err(Refusal::NoSuch));
    midplane.hold(0, 1, HoldAction::Hold).unwrap();
    midplane.take_commands();
    midplane.set_present(0, false);
    assert_eq!(midplane.take_commands(), [MidplaneCommand::Release(1)]);
    assert!(!midplane.lines(1).held && !midplane.lines(0).powered);
}

#[test]
fn numbers_out_of_range_are_answered() {
    let mut midplane = pair();
    let answer = midplane.lock(0, 16, LockAction::Take);
    assert_eq!(answer.outcome, Err(Refusal::NoSuch));
    midplane.slot_reset(9);
    midplane.set_powered(9, true);
    midplane.set_present(9, false);
    assert_eq!(midplane.lines(9), SlotLines::default());
}

#[test]
fn the_calendar_runs_with_virtual_time() {
    assert_eq!(pair().calendar_seconds(Nanos(2_999_999_999)), 1_002);
}

#[test]
fn a_board_in_no_slot_may_only_look() {
    let mut midplane = pair();
    let no = Err(Refusal::Refused);
    for action in [LockAction::Acquire, LockAction::Take, LockAction::Release] {
        assert_eq!(midplane.lock(2, 0, action).outcome, no, "{action:?}");
    }
    assert_eq!(midplane.lock(2, 0, LockAction::Query).outcome, Ok(()));
    for action in [HoldAction::Hold, HoldAction::Release] {
        assert_eq!(
            midplane.hold(2, 0, action),
            Err(Refusal::Refused),
            "{action:?}"
        );
    }
    assert!(midplane.hold(2, 0, HoldAction::Query).is_ok());
    assert!(midplane.take_commands().is_empty());
}
