use std::fmt::Write as _;

use super::outcome::{BoardOutcome, HostOutcome, NodesOutcome, Outcome};

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
    if !outcome.nodes.is_empty() {
        let _ = writeln!(out, "\nnodes");
        for nodes in &outcome.nodes {
            let _ = writeln!(out, "  {}", nodes_line(nodes));
        }
    }
    if let Some(can) = &outcome.can {
        let _ = writeln!(out, "\ncan");
        let _ = writeln!(out, "  frames     {}", can.frames);
        for (name, trouble) in &can.troubled {
            let _ = writeln!(out, "  {name:<10} {trouble}");
        }
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

/// Nodes that are alike, in one line.
pub(crate) fn nodes_line(nodes: &NodesOutcome) -> String {
    let NodesOutcome {
        kind,
        state,
        version,
        names,
    } = nodes;
    let (count, names) = (names.len(), runs(names));
    format!("{kind:<14} {count:>3} {state:<11} {version:<5} {names}")
}

/// Names in one line: `drive-1…98, drive-100`.
fn runs(names: &[String]) -> String {
    let mut runs: Vec<(&str, u32, u32)> = Vec::new();
    let mut out = Vec::new();
    let numbered = |name: &'_ str| {
        let (stem, number) = name.rsplit_once('-')?;
        // Only what is written as a group writes it.
        let number: u32 = number
            .parse()
            .ok()
            .filter(|n: &u32| n.to_string() == number)?;
        Some((stem.len(), number))
    };
    for name in names {
        let Some((stem, number)) = numbered(name).and_then(|(at, n)| Some((name.get(..at)?, n)))
        else {
            out.push((name.as_str(), None));
            continue;
        };
        match runs.last_mut() {
            Some((known, _, last)) if *known == stem && last.checked_add(1) == Some(number) => {
                *last = number;
            }
            _ => {
                out.push((stem, Some(runs.len())));
                runs.push((stem, number, number));
            }
        }
    }
    let text = |(name, run): &(&str, Option<usize>)| match run.and_then(|run| runs.get(run)) {
        None => (*name).to_owned(),
        Some((stem, first, last)) if first == last => format!("{stem}-{first}"),
        Some((stem, first, last)) => format!("{stem}-{first}…{last}"),
    };
    let texts: Vec<String> = out.iter().map(text).collect();
    texts.join(", ")
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

    use super::super::outcome::{ArrayOutcome, CanOutcome, Entry};
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
            nodes: vec![
                NodesOutcome {
                    kind: "xy".to_owned(),
                    state: "minimal".to_owned(),
                    names: vec!["xy-left".to_owned()],
                    ..NodesOutcome::default()
                },
                NodesOutcome {
                    kind: "drive".to_owned(),
                    state: "operational".to_owned(),
                    version: "2.0".to_owned(),
                    names: [
                        "drive-1", "drive-2", "drive-3", "drive-5", "spare", "base-6",
                    ]
                    .map(str::to_owned)
                    .to_vec(),
                },
            ],
            can: Some(CanOutcome {
                frames: 1234,
                troubled: vec![("xy".to_owned(), "bus-off tec=256 rec=0".to_owned())],
            }),
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
