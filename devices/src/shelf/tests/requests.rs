//! Ports, answers, times and counters.

use super::*;

const READ: Request = Request::Read {
    sector: 2,
    sectors: 4,
};

fn write(sector: u64, sectors: u64) -> Request {
    Request::Write {
        sector,
        data: pattern(sector, sectors, 1),
    }
}

#[test]
fn a_write_is_quick_a_flush_is_not() {
    let mut bench = Bench::new(Level::Five, 3, 0, 7);
    let written = bench.ask(&write(0, 1));
    assert_eq!(written.at, Nanos::from_micros(10));
    assert_eq!(bench.operations(), [], "nothing but the cache knows of it");
    bench.flush();
    let operations: Vec<String> = bench
        .operations()
        .iter()
        .map(|operation| {
            let Operation { kind, unit, .. } = operation;
            let sector = operation.address / STORED_BYTES as u64;
            let sectors = operation.length / STORED_BYTES as u64;
            format!("{} {unit} {sector}+{sectors}", kind.as_str())
        })
        .collect();
    let expected = [
        "flush 0 0+0",
        // Header and two sectors with their addresses, on two members.
        "member-write 0 8+3",
        "member-write 1 8+3",
        "member-write 0 136+1",
        "member-write 2 136+1",
    ];
    assert_eq!(operations, expected);
    // 10 µs to write, 10 to choose, journal and place one after the other, members in parallel.
    let (journal, place) = (200_000 + 3 * 520 * 5, 200_000 + 520 * 5);
    assert_eq!(bench.now, Nanos(20_000 + journal + place));
}

#[test]
fn a_member_reads_one_thing_at_a_time() {
    let mut bench = Bench::new(Level::Zero, 2, 0, 7);
    let (first, second, third) = (Nanos(102_560), Nanos(205_120), Nanos(102_560));
    for sector in [0, 1, 2] {
        bench.submit(&Request::Read { sector, sectors: 1 });
    }
    bench.settle();
    let done = bench.answers(0);
    let times: Vec<Nanos> = done.iter().map(|done| done.at).collect();
    assert_eq!(times, [first, second, third]);
}

#[test]
fn a_full_cache_makes_writes_wait() {
    let mut settings = settings(Level::One);
    settings.cache_bytes = 1024;
    let mut bench = Bench::with(&settings, 2, 0, 7);
    assert_eq!(bench.ask(&write(0, 2)).at, Nanos::from_micros(10));
    let waited = bench.ask(&write(2, 2));
    assert!(waited.at > Nanos::from_micros(400), "{}", waited.at);
    bench.cut(Shape::Lost, 0);
    bench.power_on();
    assert_eq!(bench.read(0, 4), Ok(pattern(0, 4, 1)), "it is durable");
}

#[test]
fn where_nothing_takes_time_everything_is_done_at_once() {
    for (level, members) in ALL {
        let mut settings = settings(level);
        settings.cache_bytes = 1024;
        settings.timing = DiskTiming {
            read: Nanos::ZERO,
            write: Nanos::ZERO,
            byte: Nanos::ZERO,
            cache: Nanos::ZERO,
        };
        let mut bench = Bench::with(&settings, members, 0, 7);
        for sector in 0..7 {
            bench.submit(&write(sector, 3));
            bench.submit(&Request::Flush);
            bench.submit(&READ);
            assert_eq!(bench.answers(0).len(), 3, "{level:?} sector {sector}");
        }
        assert_eq!((bench.step(), bench.inconsistent_row()), (false, None));
    }
}

#[test]
fn what_cannot_be_is_refused() {
    let mut bench = Bench::new(Level::Five, 3, 0, 7);
    let end = bench.shelf.sectors();
    let data = vec![0; 100];
    let wrong = [
        Request::Read {
            sector: end,
            sectors: 1,
        },
        Request::Read {
            sector: u64::MAX,
            sectors: u32::MAX,
        },
        write(end - 1, 2),
        Request::Write { sector: 0, data },
    ];
    for request in wrong {
        assert_eq!(bench.ask(&request).result, Err(BlockError::OutOfRange));
    }
    bench.shelf.fence(0);
    assert_eq!(bench.ask(&write(0, 1)).result, Err(BlockError::Fenced));
    assert_eq!(bench.ask(&READ).result, Ok(vec![0; 2048]));
    bench.shelf.unfence(0);
    bench.write(0, &pattern(0, 1, 1));
    bench.cut(Shape::Lost, 0);
    for request in [READ, write(0, 1), Request::Flush] {
        assert_eq!(bench.ask(&request).result, Err(BlockError::PoweredOff));
    }
}

#[test]
fn what_was_in_progress_fails_when_the_power_goes() {
    let mut bench = Bench::new(Level::Five, 3, 0, 7);
    let answered = bench.submit(&READ);
    while bench.step() {}
    let requests = [READ, write(0, 1), Request::Flush];
    let asked = requests.map(|request| bench.submit(&request));
    bench.cut(Shape::Done, 0);
    let done = bench.answers(0);
    assert_eq!(done.len(), 1, "what was done before is as it was");
    assert_eq!((done[0].ticket, done[0].result.is_ok()), (answered, true));
    bench.settle();
    let done = bench.answers(0);
    let failed: Vec<u64> = done.iter().map(|done| done.ticket).collect();
    assert_eq!(failed, asked);
    assert!(
        done.iter()
            .all(|done| done.result == Err(BlockError::PoweredOff))
    );
}

#[test]
fn ports_share_the_volume_but_not_the_answers() {
    let mut bench = Bench::new(Level::Six, 4, 0, 7);
    bench.submit_to(0, &write(0, 8));
    bench.submit_to(0, &Request::Flush);
    let read = bench.submit_to(1, &READ);
    bench.submit_to(1, &Request::Flush);
    bench.shelf.forget(0);
    assert_eq!(bench.answers(1), [], "not yet");
    assert!(bench.step());
    assert_eq!(bench.answers(0), []);
    let done = Answer {
        ticket: read,
        at: Nanos::from_micros(10),
        result: Ok(pattern(2, 4, 1)),
    };
    assert_eq!(bench.answers(1), [done], "what port 0 wrote");
    bench.settle();
    assert_eq!(bench.answers(0), [], "forgotten");
    assert_eq!(bench.answers(1).len(), 1, "flushed");
}

#[test]
fn regions_count_what_touches_them() {
    let mut bench = Bench::new(Level::Five, 3, 0, 7);
    bench.ask(&READ);
    bench.write(0, &pattern(0, 3, 1));
    let counters = |port, region| {
        let c = bench.shelf.counters(port, region);
        [
            c.read_requests,
            c.read_bytes,
            c.write_requests,
            c.write_bytes,
        ]
    };
    assert_eq!(counters(0, "system"), [1, 1024, 1, 1536]);
    assert_eq!(counters(0, "host"), [1, 1024, 0, 0]);
    assert_eq!(counters(1, "system"), [0; 4]);
    assert_eq!(counters(0, "nowhere"), [0; 4]);
    let read: u64 = (0..3)
        .map(|n| bench.shelf.member_counters(n).read_bytes)
        .sum();
    assert_eq!(read, 2048);
}
