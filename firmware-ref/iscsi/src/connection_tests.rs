use proptest::prelude::*;

use super::tasks::TASK_SET_FULL;
use super::*;
use crate::pdu::{data_length, padding};
use crate::portal::{CONNECTIONS, Portal, PortalMemory};

const IDENTITY: Identity<'static> = Identity {
    name: "iqn.2001-08.example:t",
    portal_group: 1,
    portals: &[[10, 0, 0, 1], [10, 0, 0, 2]],
};
const NORMAL: &str = "InitiatorName=iqn.h TargetName=iqn.2001-08.example:t \
                      MaxRecvDataSegmentLength=512 ";
const DISCOVERY: &str = "InitiatorName=iqn.h SessionType=Discovery ";

/// A portal, and the initiators at the other ends.
struct Bench {
    portal: Portal<'static>,
    command_sn: [u32; CONNECTIONS],
    expected_status_sn: [u32; CONNECTIONS],
}

type Pdu = (Response, Vec<u8>);

impl Bench {
    fn new() -> Bench {
        let memory = Box::leak(Box::new([const { Memory::ZERO }; CONNECTIONS]));
        let memory: &'static mut PortalMemory = memory;
        Bench {
            portal: Portal::new(memory),
            command_sn: [5; CONNECTIONS],
            expected_status_sn: [0; CONNECTIONS],
        }
    }

    /// One whose connection 0 is logged in.
    fn ready(text: &str) -> Bench {
        let mut bench = Bench::new();
        bench.log_in(0, [1; 6], text);
        bench
    }

    fn log_in(&mut self, connection: usize, isid: [u8; 6], text: &str) {
        let mut request = Request::new(0x43, 0x87, 9);
        request.lun[..6].copy_from_slice(&isid);
        let text = text.replace(' ', "\0");
        let (event, answers) = self.send(connection, request, text.as_bytes());
        assert_eq!(event, Some(Event::Opened));
        assert_eq!(answers[0].0.opcode, opcode::LOGIN_RESPONSE);
        assert_eq!((answers[0].0.flags, answers[0].0.word_36.get()), (0x87, 0));
        assert_ne!(answers[0].0.lun[6..], [0; 2], "a handle");
    }

    /// Sends a PDU with the numbers that a good initiator gives it.
    fn send(
        &mut self,
        connection: usize,
        mut request: Request,
        data: &[u8],
    ) -> (Option<Event>, Vec<Pdu>) {
        request.command_sn = self.command_sn[connection].into();
        if !request.is_immediate() && request.operation() != opcode::DATA_OUT {
            self.command_sn[connection] += 1;
        }
        self.send_raw(connection, request, data)
    }

    fn send_raw(
        &mut self,
        connection: usize,
        mut request: Request,
        data: &[u8],
    ) -> (Option<Event>, Vec<Pdu>) {
        request.data_length = data_length(data.len());
        let mut bytes = request.as_bytes().to_vec();
        bytes.extend(data);
        bytes.resize(bytes.len() + padding(data.len()), 0);
        let (taken, event) = self.portal.receive(connection, &bytes, &IDENTITY);
        assert_eq!(taken, bytes.len());
        (event, self.answers(connection))
    }

    /// Everything that the target says, its numbers checked.
    fn answers(&mut self, connection: usize) -> Vec<Pdu> {
        let mut reader = Reader::new(vec![0; PDU_BYTES_MAX]);
        let output = self
            .portal
            .connection(connection)
            .unwrap()
            .output()
            .to_vec();
        let mut rest = output.as_slice();
        let mut found = Vec::new();
        while !rest.is_empty() {
            let taken = reader.push(rest).unwrap();
            rest = &rest[taken..];
            let (header, data) = reader.pdu::<Response>().expect("whole PDUs");
            let counts = match header.opcode {
                opcode::R2T => false,
                opcode::DATA_IN => header.has(flag::STATUS),
                _ => true,
            };
            if counts {
                let expected = &mut self.expected_status_sn[connection];
                if header.opcode == opcode::LOGIN_RESPONSE {
                    *expected = header.status_sn.get();
                }
                assert_eq!(header.status_sn.get(), *expected);
                *expected += 1;
            }
            found.push((*header, data.to_vec()));
            reader.forget();
        }
        let length = output.len();
        self.portal.connection(connection).unwrap().sent(length);
        found
    }

    fn ending(&mut self, connection: usize) -> Option<Cause> {
        self.portal.connection(connection).unwrap().ending()
    }

    fn answer(&mut self, place: usize, tag: u32, answer: Answer<'_>) -> Vec<Pdu> {
        self.portal.answer(0, place, tag, &answer);
        self.answers(0)
    }
}

fn command(tag: u32, flags: u8, expected: u32) -> Request {
    let mut request = Request::new(opcode::SCSI_COMMAND, 0x80 | flags, tag);
    request.word_20 = expected.into();
    request.tail[0] = 0x2a;
    request
}

fn data_out(tag: u32, r2t: &Response, sn: u8, offset: u32, last: bool) -> Request {
    let mut request = Request::new(opcode::DATA_OUT, if last { 0x80 } else { 0 }, tag);
    request.word_20 = r2t.transfer_tag;
    request.tail[7] = sn;
    request.tail[8..12].copy_from_slice(&offset.to_be_bytes());
    request
}

const GOOD: Answer<'static> = Answer {
    status: 0,
    sense: &[],
    data_in: &[],
};

#[test]
fn a_discovery_lists_all_portals_and_ends() {
    let mut bench = Bench::ready(DISCOVERY);
    let mut request = Request::new(opcode::TEXT_REQUEST, 0x80, 3);
    request.word_20 = NO_TAG.into();
    let (_, answers) = bench.send(0, request, b"SendTargets=All\0");
    assert_eq!(answers[0].0.opcode, opcode::TEXT_RESPONSE);
    let text = String::from_utf8(answers[0].1.clone()).unwrap();
    assert_eq!(
        text.replace('\0', " "),
        "TargetName=iqn.2001-08.example:t TargetAddress=10.0.0.1:3260,1 \
         TargetAddress=10.0.0.2:3260,2 "
    );
    // It can do nothing else.
    let (event, answers) = bench.send(0, command(4, 0, 0), &[]);
    assert_eq!((event, answers[0].0.opcode), (None, opcode::REJECT));
    assert_eq!(answers[0].1.len(), HEADER_BYTES);
    let (_, answers) = bench.send(0, Request::new(opcode::LOGOUT_REQUEST, 0x80, 5), &[]);
    assert_eq!(answers[0].0.opcode, opcode::LOGOUT_RESPONSE);
    assert_eq!(bench.ending(0), Some(Cause::Logout));
}

#[test]
fn a_read_comes_in_segments_with_its_status() {
    let mut bench = Bench::ready(NORMAL);
    let (event, _) = bench.send(0, command(7, flag::READ, 1200), &[]);
    assert_eq!(event, Some(Event::Command(0)));
    let data: Vec<u8> = (0..=255).cycle().take(1100).collect();
    let answers = bench.answer(
        0,
        7,
        Answer {
            data_in: &data,
            ..GOOD
        },
    );
    let shape: Vec<_> = answers
        .iter()
        .map(|(h, d)| (h.flags, h.word_36.get(), h.word_40.get(), d.len()))
        .collect();
    assert_eq!(
        shape,
        [(0, 0, 0, 512), (0, 1, 512, 512), (0x83, 2, 1024, 76)]
    );
    assert_eq!(answers[2].0.word_44.get(), 100, "fewer than expected");
    let joined: Vec<u8> = answers.iter().flat_map(|(_, d)| d.clone()).collect();
    assert_eq!(joined, data);
}

#[test]
fn more_data_than_expected_are_cut_and_counted() {
    let mut bench = Bench::ready(NORMAL);
    bench.send(0, command(7, flag::READ, 8), &[]);
    let answers = bench.answer(
        0,
        7,
        Answer {
            data_in: &[1; 36],
            ..GOOD
        },
    );
    assert_eq!(answers[0].0.flags, 0x80 | flag::OVERFLOW | flag::STATUS);
    assert_eq!((answers[0].0.word_44.get(), answers[0].1.len()), (28, 8));
}

#[test]
fn a_write_brings_its_data_or_is_asked_for_them() {
    let mut bench = Bench::ready(&format!(
        "{NORMAL}MaxBurstLength=1024 FirstBurstLength=512 "
    ));
    let all: Vec<u8> = (0..=255).cycle().take(2048).collect();
    let (event, answers) = bench.send(0, command(7, flag::WRITE, 2048), &all[..512]);
    assert_eq!(event, None);
    let r2t = answers[0].0;
    assert_eq!((r2t.opcode, r2t.word_36.get()), (opcode::R2T, 0));
    assert_eq!((r2t.word_40.get(), r2t.word_44.get()), (512, 1024));
    bench.send(0, data_out(7, &r2t, 0, 512, false), &all[512..1000]);
    let (event, answers) = bench.send(0, data_out(7, &r2t, 1, 1000, true), &all[1000..1536]);
    assert_eq!(event, None);
    let r2t = answers[0].0;
    assert_eq!(
        (r2t.word_36.get(), r2t.word_40.get(), r2t.word_44.get()),
        (1, 1536, 512)
    );
    let (event, _) = bench.send(0, data_out(7, &r2t, 0, 1536, true), &all[1536..]);
    assert_eq!(event, Some(Event::Command(0)));
    let found = bench.portal.command(0, 0).unwrap();
    assert_eq!(
        (found.tag, found.lun, found.data_out),
        (7, 0, all.as_slice())
    );
    let answers = bench.answer(0, 7, GOOD);
    assert_eq!(answers[0].0.opcode, opcode::SCSI_RESPONSE);
    // ExpDataSN counts the R2Ts.
    assert_eq!((answers[0].0.flags, answers[0].0.word_36.get()), (0x80, 2));
    // The place is free again; nobody can answer twice.
    assert_eq!(bench.answer(0, 7, GOOD), []);
}

#[test]
fn sense_travels_with_its_length() {
    let mut bench = Bench::ready(NORMAL);
    bench.send(0, command(7, 0, 0), &[]);
    let answers = bench.answer(
        0,
        7,
        Answer {
            status: 2,
            sense: &[0x70; 18],
            data_in: &[],
        },
    );
    assert_eq!(answers[0].0.status, 2);
    assert_eq!(answers[0].1[..3], [0, 18, 0x70]);
    assert_eq!(answers[0].1.len(), 20);
}

#[test]
fn the_window_is_what_there_are_places_for() {
    let mut bench = Bench::ready(NORMAL);
    for tag in 0..TASKS {
        let (event, _) = bench.send(0, command(u32::try_from(tag).unwrap(), 0, 0), &[]);
        assert_eq!(event, Some(Event::Command(tag)));
    }
    // Out of the window: not heard. Immediate: heard, but there is no place.
    let (event, answers) = bench.send_raw(
        0,
        Request {
            command_sn: bench.command_sn[0].into(),
            ..command(99, 0, 0)
        },
        &[],
    );
    assert_eq!((event, answers), (None, vec![]));
    let mut immediate = command(98, 0, 0);
    immediate.opcode |= 0x40;
    let (_, answers) = bench.send(0, immediate, &[]);
    assert_eq!(answers[0].0.status, TASK_SET_FULL);
    let first = answers[0].0.max_command_sn.get();
    let answers = bench.answer(3, 3, GOOD);
    assert_eq!(answers[0].0.max_command_sn.get(), first + 1);
    let (event, _) = bench.send(0, command(99, 0, 0), &[]);
    assert_eq!(event, Some(Event::Command(3)));
}

#[test]
fn a_ping_comes_back() {
    let mut bench = Bench::ready(NORMAL);
    let mut ping = Request::new(opcode::NOP_OUT | 0x40, 0x80, 4);
    ping.word_20 = NO_TAG.into();
    let (_, answers) = bench.send(0, ping, b"ping");
    assert_eq!(answers[0].0.opcode, opcode::NOP_IN);
    assert_eq!(answers[0].1, b"ping");
    ping.task_tag = NO_TAG.into();
    assert_eq!(bench.send(0, ping, &[]).1, []);
}

#[test]
fn commands_that_wait_for_data_can_be_aborted() {
    let mut bench = Bench::ready(&format!("{NORMAL}ImmediateData=No "));
    let (_, answers) = bench.send(0, command(7, flag::WRITE, 512), &[]);
    let r2t = answers[0].0;
    let mut abort = Request::new(opcode::TASK_REQUEST | 0x40, 0x81, 8);
    abort.word_20 = 7.into();
    let (_, answers) = bench.send(0, abort, &[]);
    assert_eq!(
        (answers[0].0.opcode, answers[0].0.response),
        (opcode::TASK_RESPONSE, 0)
    );
    let (_, answers) = bench.send(0, abort, &[]);
    assert_eq!(answers[0].0.response, 1, "no such task");
    // Its data come late.
    let (event, answers) = bench.send(0, data_out(7, &r2t, 0, 0, true), &[0; 512]);
    assert_eq!((event, answers), (None, vec![]));
    assert_eq!(bench.ending(0), None);
}

#[test]
fn a_reset_of_the_unit_concerns_all_sessions() {
    let mut bench = Bench::ready(&format!("{NORMAL}ImmediateData=No "));
    bench.log_in(1, [2; 6], NORMAL);
    bench.send(0, command(7, flag::WRITE, 512), &[]);
    let (event, answers) = bench.send(1, Request::new(opcode::TASK_REQUEST | 0x40, 0x85, 8), &[]);
    assert_eq!((event, answers[0].0.response), (Some(Event::Reset), 0));
    assert!(bench.portal.command(0, 0).is_none());
    let mut other_unit = Request::new(opcode::TASK_REQUEST | 0x40, 0x85, 8);
    other_unit.lun[1] = 1;
    let (event, answers) = bench.send(1, other_unit, &[]);
    assert_eq!((event, answers[0].0.response), (None, 2));
}

#[test]
fn a_session_opened_again_replaces_the_older_one() {
    let mut bench = Bench::ready(NORMAL);
    bench.log_in(1, [2; 6], NORMAL);
    assert_eq!(bench.ending(0), None, "another port of the same initiator");
    bench.log_in(2, [1; 6], NORMAL);
    assert_eq!(bench.ending(0), Some(Cause::Reinstated));
    assert_eq!((bench.ending(1), bench.ending(2)), (None, None));
}

#[test]
fn who_breaks_the_rules_is_dropped() {
    let check = |what: &str, request: Request, data: &[u8], raw: bool, cause: Cause| {
        let mut bench = Bench::ready(&format!("{NORMAL}ImmediateData=No "));
        bench.send(0, command(7, flag::WRITE, 1024), &[]);
        if raw {
            bench.send_raw(0, request, data);
        } else {
            bench.send(0, request, data);
        }
        assert_eq!(bench.ending(0), Some(cause), "{what}");
    };
    let r2t = Response {
        transfer_tag: 1.into(),
        ..Response::new(opcode::R2T, 7)
    };
    let broken = Cause::ProtocolError;
    let out = |sn, offset, last| data_out(7, &r2t, sn, offset, last);
    check(
        "login again",
        Request::new(0x43, 0x87, 1),
        &[],
        false,
        broken,
    );
    check(
        "data with the command",
        command(8, flag::WRITE, 512),
        &[0; 512],
        false,
        broken,
    );
    check(
        "more data follow",
        Request {
            flags: flag::WRITE,
            ..command(8, 0, 512)
        },
        &[],
        false,
        broken,
    );
    check("data too far", out(0, 512, false), &[0; 512], false, broken);
    check("data too many", out(0, 0, true), &[0; 1028], false, broken);
    check(
        "data end too soon",
        out(0, 0, true),
        &[0; 512],
        false,
        broken,
    );
    check(
        "data out of sequence",
        out(1, 0, false),
        &[0; 512],
        false,
        broken,
    );
    let other = Response {
        transfer_tag: 2.into(),
        ..r2t
    };
    check(
        "data nobody asked for",
        data_out(7, &other, 0, 0, true),
        &[0; 1024],
        false,
        broken,
    );
    let gap = Request {
        command_sn: 8.into(),
        ..command(8, 0, 0)
    };
    check("a number left out", gap, &[], true, broken);
}

#[test]
fn nothing_but_a_login_opens_a_session() {
    let mut bench = Bench::new();
    bench.send(0, command(1, 0, 0), &[]);
    assert_eq!(bench.ending(0), Some(Cause::ProtocolError));
    let mut bench = Bench::new();
    let (_, answers) = bench.send(0, Request::new(0x43, 0x87, 1), b"InitiatorName=x\0");
    assert_eq!(answers[0].0.word_36.get(), 0x0207_0000);
    assert_eq!(
        bench.ending(0),
        Some(Cause::LoginRefused(Refusal::MissingParameter))
    );
}

#[test]
fn a_peer_that_does_not_read_is_not_heard() {
    let mut bench = Bench::ready("InitiatorName=iqn.h TargetName=iqn.2001-08.example:t ");
    let mut ping = Request::new(opcode::NOP_OUT | 0x40, 0x80, 4);
    ping.word_20 = NO_TAG.into();
    ping.data_length = data_length(8192);
    let mut bytes = ping.as_bytes().to_vec();
    bytes.resize(48 + 8192, 0xaa);
    let mut heard = 0;
    while bench.portal.receive(0, &bytes, &IDENTITY).0 > 0 {
        heard += 1;
        assert!(heard < 100, "it stops");
    }
    assert_eq!(bench.answers(0).len(), heard);
    assert!(
        bench.portal.receive(0, &bytes, &IDENTITY).0 > 0,
        "it goes on"
    );
}

/// A PDU that is nearly right.
fn any_pdu() -> impl Strategy<Value = (Request, Vec<u8>)> {
    let opcodes = prop_oneof![
        Just(0_u8),
        Just(1),
        Just(2),
        Just(3),
        Just(4),
        Just(5),
        Just(6),
        any::<u8>()
    ];
    let data = proptest::collection::vec(any::<u8>(), 0..300);
    (
        opcodes,
        any::<bool>(),
        any::<u8>(),
        0_u32..3,
        0_u32..9000,
        0_u32..8,
        any::<[u8; 16]>(),
        data,
    )
        .prop_map(
            |(operation, immediate, flags, tag, word_20, command_sn, tail, data)| {
                let mut request = Request::new(operation | u8::from(immediate) << 6, flags, tag);
                request.word_20 = word_20.into();
                request.command_sn = (4 + command_sn).into();
                request.tail = tail;
                (request, data)
            },
        )
}

proptest! {
    /// Whatever a logged-in peer sends, answers fit and stay in order, and commands have their data.
    #[test]
    fn any_pdus_are_answered_or_end_the_session(
        pdus in proptest::collection::vec((any_pdu(), any::<bool>(), 0_usize..9000), 0..60),
    ) {
        let mut bench = Bench::ready(NORMAL);
        for ((request, data), answered, length) in pdus {
            let (event, _) = bench.send_raw(0, request, &data);
            if let Some(Event::Command(place)) = event {
                let found = bench.portal.command(0, place).unwrap();
                prop_assert!(found.data_out.len() <= DATA_MAX);
                let tag = found.tag;
                if answered {
                    let data_in = vec![1; length];
                    bench.answer(place, tag, Answer { data_in: &data_in, ..GOOD });
                }
            }
        }
    }

    #[test]
    fn any_bytes_end_in_nothing_worse_than_a_dropped_connection(
        bytes in proptest::collection::vec(any::<u8>(), 0..2000),
    ) {
        let mut bench = Bench::ready(NORMAL);
        let mut rest = bytes.as_slice();
        while !rest.is_empty() {
            let (taken, _) = bench.portal.receive(0, rest, &IDENTITY);
            prop_assert!(taken > 0);
            rest = &rest[taken..];
        }
    }
}
