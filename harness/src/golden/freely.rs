//! The text of an outcome of boards that run freely: what is the same on every machine, loaded or not.
//!
//! Real time decides when things happen, and which of two places is first. So there are facts, and the order of
//! what happened at one place.

use std::fmt::Write as _;

use super::outcome::{Entry, Outcome};
use super::render::one_line;

/// Events that come or do not come, or say something else, as time has it.
const DECIDED_BY_TIME: [&str; 1] = ["journal-replayed"];

pub(super) fn render(outcome: &Outcome) -> String {
    let mut out = String::new();
    // Writing to a string cannot fail, so the results below carry no news.
    let _ = writeln!(out, "{}", outcome.name);
    let _ = writeln!(out, "rig {} seed {}", outcome.rig, outcome.seed);
    let _ = writeln!(
        out,
        "\nBoards run freely: no times, one order a place, of consoles what was asked for."
    );
    let unknown = outcome.waived.join(", ");
    let _ = writeln!(out, "Not watched: {unknown}.");
    let compared: Vec<&Entry> = outcome.timeline.iter().filter(|e| is_compared(e)).collect();
    let mut places: Vec<&str> = compared.iter().map(|entry| entry.place.as_str()).collect();
    places.sort_unstable();
    places.dedup();
    for place in places {
        let _ = writeln!(out, "\nat {place}");
        for entry in compared.iter().filter(|entry| entry.place == place) {
            let _ = writeln!(out, "  {}", one_line(&entry.text));
        }
    }
    for board in &outcome.boards {
        let _ = writeln!(out, "\nboard {}", board.slot);
        // It says nothing that the bench would know it to be operational by.
        let state = match board.state.as_str() {
            "booting" => "running",
            state => state,
        };
        let _ = writeln!(out, "  state      {state}");
        if !board.serial.is_empty() {
            let _ = writeln!(out, "  serial     {}", board.serial);
            let _ = writeln!(out, "  boots      {}", board.boots);
        }
    }
    let _ = writeln!(out, "\narray");
    let _ = writeln!(out, "  shelf      {}", outcome.array.shelf);
    out
}

fn is_compared(entry: &Entry) -> bool {
    let name = entry.text.split(' ').next().unwrap_or_default();
    name != "|" && !DECIDED_BY_TIME.contains(&name)
}

#[cfg(test)]
mod tests {
    use devices::time::Nanos;

    use super::super::outcome::{ArrayOutcome, BoardOutcome};
    use super::*;

    fn outcome(order: [usize; 6]) -> Outcome {
        let entries = [
            ("A", "powered-on"),
            ("A", "| Linux version 6.1"),
            ("shelf", "powered-on"),
            ("A", "printed \"linux is up\""),
            ("shelf", "journal-replayed sequence=7 sectors=24"),
            ("shelf", "rebuild-finished member=4 slot=2"),
        ];
        let entry = |index: usize| Entry {
            time: Nanos(index as u64 * 7),
            place: entries[index].0.to_owned(),
            text: entries[index].1.to_owned(),
        };
        Outcome {
            name: "Somebody else's firmware".to_owned(),
            rig: "linux-on-shelf".to_owned(),
            seed: 1,
            runs_freely: true,
            waived: vec!["no-brick".to_owned(), "no-mix".to_owned()],
            timeline: order.map(entry).into(),
            boards: vec![BoardOutcome {
                slot: "A".to_owned(),
                serial: "AB1-000A".to_owned(),
                state: "booting".to_owned(),
                boots: 2,
                image_bytes_read: 77,
                ..BoardOutcome::default()
            }],
            array: ArrayOutcome {
                shelf: "optimal".to_owned(),
                ..ArrayOutcome::default()
            },
            ..Outcome::default()
        }
    }

    #[test]
    fn what_time_decides_is_left_out() {
        let text = render(&outcome([0, 1, 2, 3, 4, 5]));
        assert_eq!(text, render(&outcome([2, 4, 0, 5, 1, 3])));
        insta::assert_snapshot!(text);
    }
}
