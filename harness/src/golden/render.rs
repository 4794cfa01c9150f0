use std::fmt::Write as _;

use super::outcome::{BoardOutcome, HostOutcome, Outcome};

/// The one stable text of an outcome.
pub fn render(outcome: &Outcome) -> String {
    if outcome.runs_freely {
        return super::freely::render(outcome);
    }
    let mut out = String::new();
    // Writing to a string cannot fail, so the results below carry no news.
    let _ = writeln!(out, "{}", outcome.name);
    let _ = writeln!(out, "rig {} seed {}", outcome.rig, outcome.seed);
    let _ = writeln!(out, "\ntimeline (virtual seconds)");
    for entry in &outcome.timeline {
        let time = entry.time.to_string();
        let _ = writeln!(
            out,
            "{time:>16}  {:<6} {}",
            entry.place,
            one_line(&entry.text)
        );
    }
    let _ = writeln!(out, "{:>16}  bench  ended", outcome.end.to_string());
    for board in &outcome.boards {
        let _ = writeln!(out);
        render_board(&mut out, board);
    }
    let array = &outcome.array;
    let _ = writeln!(out, "\narray");
    let _ = writeln!(out, "  preferred  {}", array.preferred);
    let _ = writeln!(out, "  shelf      {}", array.shelf);
    for (lun, owner) in &array.owners {
        let _ = writeln!(out, "  {lun:<10} owner {owner}");
    }
    if let Some(host) = &outcome.host {
        let _ = writeln!(out);
        render_host(&mut out, host);
    }
    out
}

fn render_board(out: &mut String, board: &BoardOutcome) {
    let _ = writeln!(out, "board {}", board.slot);
    let mut field = |name: &str, value: &str| {
        if !value.is_empty() {
            let _ = writeln!(out, "  {name:<10} {value}");
        }
    };
    field("state", &board.state);
    if board.serial.is_empty() {
        return;
    }
    field("serial", &board.serial);
    field("role", &board.role);
    field("runs", &board.version);
    field("boots", &board.boots.to_string());
    field(
        "downloaded",
        &format!("{} image bytes", board.image_bytes_read),
    );
    for (bank, contents) in &board.banks {
        field(bank, contents);
    }
}

fn render_host(out: &mut String, host: &HostOutcome) {
    let _ = writeln!(out, "host");
    let counts = [
        ("reads", host.reads),
        ("writes", host.writes),
        ("errors", host.errors),
        ("lost", host.lost),
        ("failovers", host.failovers),
    ];
    for (name, count) in counts {
        let _ = writeln!(out, "  {name:<10} {count}");
    }
    for (lun, outage) in &host.outages {
        let _ = writeln!(out, "  {lun:<10} longest outage {outage} s");
    }
}

/// What a guest printed stays on its line and cannot imitate another.
pub(super) fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect::<String>()
        .trim_end()
        .to_owned()
}

#[cfg(test)]
mod tests {
    use devices::time::Nanos;

    use super::super::outcome::{ArrayOutcome, Entry};
    use super::*;

    #[test]
    fn the_layout_is_stable() {
        let entry = |millis, place: &str, text: &str| Entry {
            time: Nanos::from_millis(millis),
            place: place.to_owned(),
            text: text.to_owned(),
        };
        let outcome = Outcome {
            scenario: "swap".to_owned(),
            name: "A board is swapped".to_owned(),
            rig: "partner-pair".to_owned(),
            seed: 1,
            end: Nanos::from_millis(61_000),
            timeline: vec![
                entry(0, "bench", "powered-on domain=chassis"),
                entry(1, "A", "l1-started reset=power-on"),
                entry(2, "A", "| ready\n0.9 B forged"),
                entry(60_000, "shelf", "rebuild-started member=2"),
            ],
            boards: vec![
                BoardOutcome {
                    slot: "A".to_owned(),
                    serial: "AB1-000A".to_owned(),
                    state: "operational".to_owned(),
                    role: "master".to_owned(),
                    version: "1.0".to_owned(),
                    boots: 1,
                    image_bytes_read: 0,
                    banks: vec![
                        ("L2A".to_owned(), "1.0 valid sequence=2".to_owned()),
                        ("L3B".to_owned(), "empty".to_owned()),
                    ],
                },
                BoardOutcome {
                    slot: "B".to_owned(),
                    state: "absent".to_owned(),
                    ..BoardOutcome::default()
                },
            ],
            array: ArrayOutcome {
                preferred: "l2=1.0 l3=1.0".to_owned(),
                shelf: "rebuilding".to_owned(),
                owners: vec![("lun0".to_owned(), "A epoch=3".to_owned())],
            },
            host: Some(HostOutcome {
                reads: 10,
                writes: 12,
                outages: vec![("lun0".to_owned(), Nanos::from_micros(250))],
                ..HostOutcome::default()
            }),
            ..Outcome::default()
        };
        insta::assert_snapshot!(render(&outcome));
    }
}
