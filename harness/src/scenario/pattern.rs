use std::fmt;

use emulator::rig::Unit;

use crate::files::nearest;

/// Names of events that the bench and the reference firmware make. A scenario for other firmware
/// adds its own with `events = […]`; a misspelt name in `never` would pass for ever otherwise.
pub const EVENTS: [&str; 62] = [
    // The chassis and the bench.
    "powered-on",
    "powered-off",
    "power-cut",
    "reset",
    "crashed",
    "hung",
    "pulled",
    "inserted",
    "held",
    "released",
    "fenced",
    "watchdog-fired",
    "media-inserted",
    "media-ejected",
    "link-up",
    "link-down",
    "disk-failed",
    "disk-replaced",
    "rebuild-started",
    "rebuild-finished",
    "scrub-started",
    "scrub-finished",
    "medium-fault",
    "driver-fault",
    "checkpoint-taken",
    "checkpoint-restored",
    "host-started",
    "host-stopped",
    "path-lost",
    "path-found",
    // L1 and L2.
    "l1-started",
    "l2-selected",
    "boot-error",
    "l2-started",
    "hardware-found",
    "post-passed",
    "post-failed",
    "l3-selected",
    // L3.
    "l3-started",
    "drivers-loaded",
    "iscsi-session-opened",
    "iscsi-session-closed",
    "disk-version-read",
    "disk-image-absent",
    "disk-image-invalid",
    "disk-unreachable",
    "versions-equal",
    "versions-differ",
    "reflash-started",
    "reflash-finished",
    "reflash-refused",
    "disk-image-published",
    "reset-requested",
    "diagnostics-passed",
    "application-started",
    "operational",
    "role-changed",
    "lun-owned",
    "lun-released",
    "partner-found",
    "partner-lost",
    "mixed-versions",
];

/// An event of the timeline, described: `"A: reflash-started level=3"`.
///
/// Without a place any place will do; of the words only those given must be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventPattern {
    /// Where it happened.
    pub place: Option<Unit>,
    /// The name of the event.
    pub name: String,
    /// `key=value` words it must have.
    pub words: Vec<String>,
}

impl EventPattern {
    /// Longest pattern.
    pub const LONGEST: usize = 200;

    /// Reads a pattern; `more` are event names of the scenario's own.
    ///
    /// # Errors
    /// What is wrong, and the remedy.
    pub fn parse(text: &str, more: &[String]) -> Result<EventPattern, (String, String)> {
        let form = "write it like \"A: reflash-started level=3\"".to_owned();
        if text.len() > Self::LONGEST {
            return Err((
                "an event pattern is at most 200 bytes long".to_owned(),
                form,
            ));
        }
        let (place, rest) = match text.split_once(": ") {
            Some((place, rest)) => {
                let unit = place.parse().map_err(|_| {
                    (
                        format!("`{place}` is no place in the chassis"),
                        form.clone(),
                    )
                })?;
                (Some(unit), rest)
            }
            None => (None, text),
        };
        let mut words = rest.split_whitespace().map(str::to_owned);
        let name = words
            .next()
            .ok_or(("an event has a name".to_owned(), form.clone()))?;
        let known = || {
            EVENTS
                .iter()
                .copied()
                .chain(more.iter().map(String::as_str))
        };
        if !known().any(|event| event == name) {
            let remedy = match nearest(&name, known()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => {
                    "events of your own firmware are made known with events = [\"…\"] at the top"
                        .to_owned()
                }
            };
            return Err((format!("no event is called `{name}`"), remedy));
        }
        let words: Vec<String> = words.collect();
        if let Some(word) = words.iter().find(|word| !word.contains('=')) {
            return Err((format!("`{word}` is not a key=value word"), form));
        }
        Ok(EventPattern { place, name, words })
    }

    /// Whether an event that happened at `place` with the words of `text` is one.
    pub fn matches(&self, place: Option<Unit>, text: &str) -> bool {
        if self.place.is_some() && self.place != place {
            return false;
        }
        let mut given = text.split_whitespace();
        given.next() == Some(&self.name)
            && self
                .words
                .iter()
                .all(|word| given.clone().any(|other| other == word))
    }
}

impl fmt::Display for EventPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.name)?;
        self.words.iter().try_for_each(|word| write!(f, " {word}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_asks_for_what_it_says_and_no_more() {
        let check = |pattern: &str, place: &str, text: &str, wanted: bool| {
            let pattern = EventPattern::parse(pattern, &[]).unwrap();
            assert_eq!(
                pattern.matches(place.parse().ok(), text),
                wanted,
                "{pattern}"
            );
        };
        let happened = "reflash-started level=3 bank=A version=2.0";
        check("reflash-started", "A", happened, true);
        check("A: reflash-started", "A", happened, true);
        check("B: reflash-started", "A", happened, false);
        check(
            "A: reflash-started version=2.0 level=3",
            "A",
            happened,
            true,
        );
        check("A: reflash-started level=2", "A", happened, false);
        check("reflash-started version=2", "A", happened, false);
        check("reflash-finished", "A", happened, false);
        check("shelf: rebuild-started", "shelf", "rebuild-started", true);
    }

    #[test]
    fn a_misspelt_event_is_not_waited_for() {
        let check = |text: &str| EventPattern::parse(text, &["my-event".to_owned()]);
        assert_eq!(
            check("reflash-start").unwrap_err().1,
            "did you mean `reflash-started`?"
        );
        assert!(check("my-event a=1").is_ok());
        assert!(check("").is_err() && check("Q: reset").is_err() && check("reset cold").is_err());
    }
}
