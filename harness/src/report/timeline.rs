use super::record::{Line, Record};

/// The record as a line of the timeline: virtual time, place, what happened.
pub fn timeline(line: &Line) -> Option<String> {
    let (time, place, text) = match &line.record {
        Record::Happened { time, place, text } => (time, place.as_str(), text.clone()),
        Record::ConsoleLine { time, place, text } => (time, place.as_str(), format!("| {text}")),
        Record::FaultFired { time, text, .. } => (time, "bench", format!("fault fired: {text}")),
        Record::InvariantBroken {
            invariant,
            time,
            text,
        } => (
            time,
            "bench",
            format!("INVARIANT {invariant} broken: {text}"),
        ),
        _ => return None,
    };
    let time = time.to_string();
    Some(format!("{time:>16}  {place:<6} {}", harmless(&text)))
}

/// What a guest printed, without what could drive a terminal.
fn harmless(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '?' } else { c })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::sample::sample;
    use super::*;

    #[test]
    fn a_guest_cannot_drive_the_terminal() {
        let line = Line::of(
            "s",
            Record::ConsoleLine {
                time: devices::time::Nanos::ZERO,
                place: "A".to_owned(),
                text: "\u{1b}[2Jboo\r".to_owned(),
            },
        );
        assert_eq!(
            timeline(&line).unwrap(),
            "     0.000000000  A      | ?[2Jboo?"
        );
    }

    #[test]
    fn columns_line_up() {
        let lines: Vec<String> = sample().iter().filter_map(timeline).collect();
        insta::assert_snapshot!(lines.join("\n"));
    }
}
