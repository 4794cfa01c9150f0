use proptest::prelude::*;

use super::*;
use crate::sense::SenseKey;

const HOST: u64 = 7;

fn identity() -> Identity {
    Identity {
        array: 0x0123_4567_89ab_cdef,
        slot: 0,
        controllers: 2,
        revision: *b"1.0 ",
    }
}

/// A target that owns the unit and whose host has heard of the reset.
fn active() -> Target {
    let mut target = Target::new(identity(), 1000);
    target.set_access_state(0, AccessState::ActiveOptimized);
    target.set_access_state(1, AccessState::Standby);
    assert_eq!(
        sense(send(&mut target, &[0; 6], &[])),
        (SenseKey::UnitAttention, 0x29, 0)
    );
    target
}

fn send(target: &mut Target, cdb: &[u8], data_out: &[u8]) -> Step {
    send_to(target, 0, cdb, data_out)
}

fn send_to(target: &mut Target, lun: u16, bytes: &[u8], data_out: &[u8]) -> Step {
    let mut cdb = [0; 16];
    cdb[..bytes.len()].copy_from_slice(bytes);
    target.begin(&Command {
        initiator: HOST,
        lun,
        cdb,
        data_out,
    })
}

fn sense(step: Step) -> (SenseKey, u8, u8) {
    let Step::Answer(Answer {
        status: Status::CheckCondition,
        sense: Some(sense),
        data_in: DataIn::None,
    }) = step
    else {
        panic!("no check condition: {step:?}");
    };
    (sense.key, sense.code, sense.qualifier)
}

fn data(step: Step) -> Vec<u8> {
    match step {
        Step::Answer(Answer {
            status: Status::Good,
            sense: None,
            data_in: DataIn::Parameters(data),
        }) => data.as_bytes().to_vec(),
        other => panic!("no parameter data: {other:?}"),
    }
}

const GOOD: Step = Step::Answer(Answer {
    status: Status::Good,
    sense: None,
    data_in: DataIn::None,
});

#[test]
fn a_write_is_answered_only_after_a_flush() {
    let mut target = active();
    let cdb = [0x2a, 0, 0, 0, 0, 5, 0, 0, 2, 0];
    let extent = Extent { lba: 5, blocks: 2 };
    let Step::Disk(operation, task) = send(&mut target, &cdb, &[0; 1024]) else {
        panic!("no disk work");
    };
    assert_eq!(operation, DiskOperation::Write(extent));
    let Step::Disk(DiskOperation::Flush, task) = task.resume(Ok(())) else {
        panic!("no flush");
    };
    assert_eq!(task.resume(Ok(())), GOOD);
}

#[test]
fn failures_of_the_disk_become_sense() {
    let check = |operation: &[u8], error, expected| {
        let Step::Disk(_, task) = send(&mut active(), operation, &[0; 512]) else {
            panic!("no disk work");
        };
        assert_eq!(sense(task.resume(Err(error))), expected);
    };
    let read = [0x28, 0, 0, 0, 0, 5, 0, 0, 1, 0];
    let write = [0x2a, 0, 0, 0, 0, 5, 0, 0, 1, 0];
    let standby = (SenseKey::NotReady, 0x04, 0x0b);
    check(&read, DiskError::Medium, (SenseKey::MediumError, 0x11, 0));
    check(&write, DiskError::Medium, (SenseKey::MediumError, 0x0c, 0));
    check(&read, DiskError::NotOwner, standby);
    check(&write, DiskError::NotOwner, standby);
}

#[test]
fn a_read_returns_its_blocks() {
    let mut target = active();
    let cdb = [0x88, 0, 0, 0, 0, 0, 0, 0, 3, 231, 0, 0, 0, 1, 0, 0];
    let Step::Disk(operation, task) = send(&mut target, &cdb, &[]) else {
        panic!("no disk work");
    };
    let extent = Extent {
        lba: 999,
        blocks: 1,
    };
    assert_eq!(operation, DiskOperation::Read(extent));
    assert_eq!(
        task.resume(Ok(())),
        Step::Answer(Answer::good(DataIn::Disk(512)))
    );
}

#[test]
fn wrong_commands_say_what_is_wrong() {
    let check = |cdb: &[u8], data_out: &[u8], expected| {
        let found = sense(send(&mut active(), cdb, data_out));
        assert_eq!(found, expected, "{cdb:x?}");
    };
    let illegal = SenseKey::IllegalRequest;
    check(&[0xff], &[], (illegal, 0x20, 0));
    // Past the end, too long, protection information, short data.
    let past = [0x28, 0, 0, 0, 3, 232, 0, 0, 1, 0];
    check(&past, &[], (illegal, 0x21, 0));
    let long = [0x28, 0, 0, 0, 0, 0, 0, 0, 17, 0];
    check(&long, &[], (illegal, 0x24, 0));
    let protected = [0x28, 0x20, 0, 0, 0, 0, 0, 0, 1, 0];
    check(&protected, &[], (illegal, 0x24, 0));
    let write = [0x2a, 0, 0, 0, 0, 5, 0, 0, 2, 0];
    check(&write, &[0; 512], (SenseKey::AbortedCommand, 0x4b, 0));
    // A page without EVPD, an unknown page, an unknown action, descriptor sense.
    check(&[0x12, 0, 0x83, 0, 96, 0], &[], (illegal, 0x24, 0));
    check(&[0x12, 1, 0x99, 0, 96, 0], &[], (illegal, 0x24, 0));
    check(&[0x9e, 0x11], &[], (illegal, 0x24, 0));
    check(&[0x03, 1, 0, 0, 18], &[], (illegal, 0x24, 0));
    check(&[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 8], &[], (illegal, 0x24, 0));
    check(&[0x1a, 0, 0xc8, 0, 96, 0], &[], (illegal, 0x24, 0));
}

#[test]
fn a_standby_controller_identifies_itself_but_does_not_touch_the_medium() {
    let mut target = active();
    target.set_access_state(0, AccessState::Standby);
    let changed = (SenseKey::UnitAttention, 0x2a, 0x06);
    assert_eq!(sense(send(&mut target, &[0; 6], &[])), changed);
    let standby = (SenseKey::NotReady, 0x04, 0x0b);
    for opcode in [0x00, 0x25, 0x28, 0x2a, 0x35, 0x88, 0x8a, 0x91] {
        assert_eq!(sense(send(&mut target, &[opcode], &[])), standby);
    }
    assert_eq!(sense(send(&mut target, &[0x9e, 0x10], &[])), standby);
    assert_eq!(data(send(&mut target, &[0x12, 0, 0, 0, 96], &[])).len(), 36);
    let luns = send(&mut target, &[0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 16], &[]);
    assert_eq!(data(luns), [0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert!(!data(send(&mut target, &[0x1a, 0, 0x3f, 0, 96], &[])).is_empty());
}

#[test]
fn every_initiator_hears_of_the_reset_once() {
    let mut target = active();
    assert_eq!(send(&mut target, &[0; 6], &[]), GOOD);
    let mut other = |initiator| {
        target.begin(&Command {
            initiator,
            lun: 0,
            cdb: [0; 16],
            data_out: &[],
        })
    };
    let reset = (SenseKey::UnitAttention, 0x29, 0);
    for initiator in 100..100 + INITIATORS as u64 {
        assert_eq!(sense(other(initiator)), reset);
        assert_eq!(other(initiator), GOOD);
    }
    // The table was full of newer ones: the first host is a stranger again.
    assert_eq!(sense(other(HOST)), reset);
    assert_eq!(other(101), GOOD);
}

#[test]
fn every_initiator_hears_of_a_reset_of_the_unit() {
    let mut target = active();
    target.reset();
    let reset = (SenseKey::UnitAttention, 0x29, 0);
    assert_eq!(sense(send(&mut target, &[0; 6], &[])), reset);
    assert_eq!(send(&mut target, &[0; 6], &[]), GOOD);
}

#[test]
fn request_sense_takes_the_attention_away() {
    let mut target = Target::new(identity(), 1000);
    target.set_access_state(0, AccessState::ActiveOptimized);
    let bytes = data(send(&mut target, &[0x03, 0, 0, 0, 18], &[]));
    assert_eq!((bytes[2], bytes[12]), (6, 0x29));
    assert_eq!(send(&mut target, &[0; 6], &[]), GOOD);
    let bytes = data(send(&mut target, &[0x03, 0, 0, 0, 18], &[]));
    assert_eq!((bytes[2], bytes[12]), (0, 0));
}

#[test]
fn both_controllers_name_the_same_unit_and_different_ports() {
    let page = |slot, page| {
        let mut target = Target::new(Identity { slot, ..identity() }, 1000);
        data(send(&mut target, &[0x12, 1, page, 0, 160, 0], &[]))
    };
    assert_eq!(page(0, 0x80), page(1, 0x80));
    assert_eq!(&page(0, 0x80)[4..], b"0123456789abcdef");
    let (a, b) = (page(0, 0x83), page(1, 0x83));
    assert_eq!(a[..44], b[..44]);
    assert_eq!(
        a[44..],
        [1, 0x14, 0, 4, 0, 0, 0, 1, 1, 0x15, 0, 4, 0, 0, 0, 1]
    );
    assert_ne!(a, b);
    assert_eq!(usize::from(a[3]), a.len() - 4);
    assert_eq!(page(0, 0x00)[4..], [0x00, 0x80, 0x83, 0xb0]);
    assert_eq!(page(0, 0xb0)[8..12], [0, 0, 0, 16]);
}

#[test]
fn capacity_mode_pages_and_port_groups() {
    let mut target = active();
    assert_eq!(
        data(send(&mut target, &[0x25], &[])),
        [0, 0, 3, 231, 0, 0, 2, 0]
    );
    let cdb = [0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 12, 0, 0];
    assert_eq!(
        data(send(&mut target, &cdb, &[])),
        [0, 0, 0, 0, 0, 0, 3, 231, 0, 0, 2, 0]
    );
    let caching = data(send(&mut target, &[0x1a, 8, 0x08, 0, 96], &[]));
    assert_eq!(caching[..6], [23, 0, 0x10, 0, 8, 18]);
    assert_eq!(caching[6], 0, "WCE is clear");
    let groups = data(send(
        &mut target,
        &[0xa3, 0x0a, 0, 0, 0, 0, 0, 0, 0, 96],
        &[],
    ));
    assert_eq!(groups.len(), 4 + 2 * 12);
    assert_eq!((groups[4], groups[16]), (0, 2));
}

#[test]
fn other_luns_do_not_exist() {
    let mut target = active();
    let nothing = (SenseKey::IllegalRequest, 0x25, 0);
    assert_eq!(sense(send_to(&mut target, 1, &[0; 6], &[])), nothing);
    let inquiry = send_to(&mut target, 1, &[0x12, 0, 0, 0, 96], &[]);
    assert_eq!(data(inquiry)[0], 0x7f);
}

proptest! {
    /// Whatever arrives, the target answers or asks for disk work inside the unit.
    #[test]
    fn any_cdb_is_answered_inside_the_unit(
        cdb: [u8; 16],
        lun in 0_u16..2,
        length in 0_usize..9000,
    ) {
        let mut target = active();
        let step = target.begin(&Command {
            initiator: HOST, lun, cdb, data_out: &vec![0; length],
        });
        if let Step::Disk(DiskOperation::Read(e) | DiskOperation::Write(e), _) = step {
            prop_assert!(lun == 0);
            prop_assert!(e.blocks > 0 && e.blocks <= TRANSFER_LIMIT);
            prop_assert!(e.lba + u64::from(e.blocks) <= 1000);
        }
    }
}
