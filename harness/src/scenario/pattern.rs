use std::collections::BTreeSet;
use std::fmt;

use crate::files::nearest;

/// Names of events that the bench, its devices and the reference firmware make: all of them and no
/// others. A scenario for other firmware adds its own with `events = […]`; a misspelt name in
/// `never` would pass for ever otherwise.
pub const EVENTS: [&str; 129] = [
    // The chassis, and what was done to it.
    "powered-on",
    "powered-off",
    "power-cut",
    "reset",
    "crashed",
    "hung",
    "halted",
    "last-words",
    "held",
    "fenced",
    "inserted",
    "pulled",
    "media-inserted",
    "media-ejected",
    "flash-broke",
    "board-broke",
    "board-mended",
    "link-up",
    "link-down",
    "typed",
    "printed",
    "noted",
    "restored",
    // The host.
    "host-started",
    "host-stopped",
    "host-verified",
    // Devices.
    "driver-fault",
    "medium-fault",
    "watchdog-fired",
    "flash-command-ignored",
    "frame-lost",
    "frames-overran",
    // The shelf.
    "member-failed",
    "member-replaced",
    "member-stale",
    "rebuild-began",
    "rebuild-finished",
    "scrub-finished",
    "journal-replayed",
    // The CAN bus.
    "can-error-active",
    "can-error-warning",
    "can-error-passive",
    "can-bus-off",
    "can-recovered",
    "can-overrun",
    "can-fault-fired",
    "can-broke",
    "can-mended",
    "can-frame-began",
    // Nodes of the CAN bus, and what serves them.
    "node-rom-started",
    "bus-failed",
    "panel-failed",
    "self-test-failed",
    "minimally-operational",
    "image-requested",
    "broadcast-dropped",
    "image-loaded",
    "reboot-ordered",
    "flash-loaded",
    "flash-damaged",
    "flash-programming",
    "flash-programmed",
    "flash-failed",
    "distribution-active",
    "distribution-standby",
    "window-opened",
    "window-closed",
    "broadcast-started",
    "broadcast-finished",
    "broadcast-stopped",
    "image-missing",
    "image-refused",
    "node-operational",
    "node-failed",
    "node-images-ready",
    "node-images-refused",
    "update-started",
    "set-started",
    "set-updated",
    "update-finished",
    "update-refused",
    "update-aborted",
    // L1 and L2.
    "l1-started",
    "l2-selected",
    "boot-error",
    "l2-started",
    "hardware-found",
    "post-passed",
    "post-degraded",
    "post-failed",
    "l3-selected",
    // L3.
    "l3-started",
    "version-mismatch",
    "drivers-loaded",
    "iscsi-session-opened",
    "iscsi-session-closed",
    "disk-version-read",
    "disk-image-absent",
    "disk-image-invalid",
    "disk-unreachable",
    "versions-equal",
    "versions-differ",
    "compare-refused",
    "flash-is-newer",
    "reflash-started",
    "reflash-finished",
    "reflash-failed",
    "reflash-refused",
    "disk-image-published",
    "publish-refused",
    "application-downloaded",
    "download-refused",
    "reset-requested",
    "diagnostics-passed",
    "diagnostics-failed",
    "application-started",
    "operational",
    "role-changed",
    "lun-owned",
    "lun-released",
    "lun-barred",
    "partner-found",
    "partner-lost",
    "mixed-versions",
    "package-installed",
    "package-refused",
    "controller-disabled",
    "controller-enabled",
    "controller-reset",
];

/// An event of the timeline, described: `"A: reflash-started level=3"`.
///
/// Without a place any place will do; of the words only those given must be there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventPattern {
    /// Where it happened, as the scenario says it; a word may stand for several places.
    pub place: Option<String>,
    /// The places that this is.
    pub places: BTreeSet<String>,
    /// The name of the event.
    pub name: String,
    /// `key=value` words it must have.
    pub words: Vec<String>,
}

impl EventPattern {
    /// Longest pattern.
    pub const LONGEST: usize = 200;

    /// Reads a pattern; `places` tells where a word says that something happened, or else what words there are;
    /// `more` are event names of the scenario's own.
    ///
    /// # Errors
    /// What is wrong, and the remedy.
    pub fn parse(
        text: &str,
        places: impl Fn(&str) -> Result<BTreeSet<String>, Vec<String>>,
        more: &[String],
    ) -> Result<EventPattern, (String, String)> {
        let form = "write it like \"A: reflash-started level=3\"".to_owned();
        if text.len() > Self::LONGEST {
            return Err((
                "an event pattern is at most 200 bytes long".to_owned(),
                form,
            ));
        }
        let (place, places, rest) = match text.split_once(": ") {
            Some((place, rest)) => match places(place) {
                Ok(places) => (Some(place.to_owned()), places, rest),
                Err(known) => {
                    let remedy = match nearest(place, known.iter().map(String::as_str)) {
                        Some(meant) if meant.len() > 1 => format!("did you mean `{meant}`?"),
                        _ => form,
                    };
                    return Err((format!("this rig has no place `{place}`"), remedy));
                }
            },
            None => (None, BTreeSet::new(), text),
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
        Ok(EventPattern {
            place,
            places,
            name,
            words,
        })
    }

    /// Whether an event that happened at `place` with the words of `text` is one.
    pub fn matches(&self, place: &str, text: &str) -> bool {
        if self.place.is_some() && !self.places.contains(place) {
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
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.name)?;
        self.words.iter().try_for_each(|word| write!(f, " {word}"))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn places(word: &str) -> Result<BTreeSet<String>, Vec<String>> {
        let known = ["A", "B", "shelf", "drive-1"].map(str::to_owned);
        match word {
            "drive-*" => Ok(["drive-1", "drive-2"].map(str::to_owned).into()),
            _ if known.iter().any(|it| it == word) => Ok(BTreeSet::from([word.to_owned()])),
            _ => Err(known.to_vec()),
        }
    }

    #[test]
    fn a_pattern_asks_for_what_it_says_and_no_more() {
        let check = |pattern: &str, place: &str, text: &str, wanted: bool| {
            let pattern = EventPattern::parse(pattern, places, &[]).unwrap();
            assert_eq!(pattern.matches(place, text), wanted, "{pattern}");
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
        check("shelf: rebuild-began", "shelf", "rebuild-began", true);
        check("drive-1: reset", "drive-1", "reset cause=cold", true);
        check("drive-1: reset", "A", "reset cause=cold", false);
        check("drive-*: reset", "drive-2", "reset cause=cold", true);
        check("drive-*: reset", "A", "reset cause=cold", false);
    }

    #[test]
    fn a_misspelt_event_is_not_waited_for() {
        let check = |text: &str| EventPattern::parse(text, places, &["my-event".to_owned()]);
        assert_eq!(
            check("reflash-start").unwrap_err().1,
            "did you mean `reflash-started`?"
        );
        assert!(check("my-event a=1").is_ok());
        assert!(check("").is_err() && check("Q: reset").is_err() && check("reset cold").is_err());
    }

    /// Everything that makes events, tests left out.
    fn sources() -> Vec<String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let mut folders = vec![
            root.join("devices/src"),
            root.join("emulator/src"),
            root.join("harness/src/play"),
            root.join("harness/src/stage"),
        ];
        for level in [
            "l1",
            "l2",
            "l3",
            "next-level",
            "cluster",
            "distribution",
            "node",
            "node-rom",
            "node-image",
        ] {
            folders.push(root.join("firmware-ref").join(level).join("src"));
        }
        let mut texts = Vec::new();
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.file_name().unwrap().to_string_lossy().into_owned();
                // What a device served alone tells its operator is no event of a scenario.
                let apart = ["tests", "conformance", "serve"].contains(&name.as_str());
                if path.is_dir() && apart {
                    continue;
                }
                if path.is_dir() {
                    folders.push(path);
                } else if name.ends_with(".rs") && !name.ends_with("tests.rs") {
                    let text = std::fs::read_to_string(path).unwrap();
                    let code = text.split("#[cfg(test)]").next().unwrap();
                    texts.push(code.to_owned());
                }
            }
        }
        texts
    }

    #[test]
    fn every_name_is_made_somewhere() {
        let sources = sources();
        for name in EVENTS {
            let ends = ["\"", " "].map(|end| format!("\"{name}{end}"));
            let made = |text: &String| ends.iter().any(|literal| text.contains(literal));
            assert!(sources.iter().any(made), "nobody makes `{name}`");
        }
    }

    /// The name at the beginning of a string literal that is a name alone or goes on with a key.
    fn event_name(text: &str) -> Option<&str> {
        let (name, rest) = text.split_once(' ').unwrap_or((text, ""));
        let kebab = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        let key = rest.split('=').next().unwrap_or("");
        let good = name.contains('-') && name.chars().all(kebab);
        let keyed = rest.contains('=') && key.chars().all(kebab);
        (good && (rest.is_empty() || keyed)).then_some(name)
    }

    #[test]
    fn every_event_that_is_made_has_its_name_here() {
        // What a medium fault says after its name.
        const DETAILS: [&str; 11] = [
            "bad-sector-recovered",
            "cache-lost",
            "dead-chip-addressed",
            "flash-file-failed",
            "medium-failed",
            "parity-mismatch-repaired",
            "programmed-over-data",
            "reset-cut-operation",
            "sector-unreadable",
            "stuck-bits-read",
            "unstable-bits-read",
        ];
        let mut seen = 0;
        for text in sources() {
            for marker in ["trace(format_args!(", "trace_choice(", "Notice(", ".note("] {
                for (at, _) in text.match_indices(marker) {
                    // The literal of the call, wherever the formatter has put it.
                    let call = &text[at..text.len().min(at + 160)];
                    let call = call.split(';').next().unwrap_or(call);
                    let found = call.split('"').skip(1).step_by(2);
                    for name in found.filter_map(event_name) {
                        assert!(EVENTS.contains(&name), "`{name}` is not in the list");
                        seen += 1;
                    }
                }
            }
            for (at, _) in text.match_indices('"') {
                let literal = text[at + 1..].split('"').next().unwrap_or("");
                let Some(name) = event_name(literal) else {
                    continue;
                };
                let keyed = text[at + 1 + name.len()..].starts_with(' ');
                assert!(
                    !keyed || EVENTS.contains(&name) || DETAILS.contains(&name),
                    "`{name}` is not in the list"
                );
            }
        }
        assert!(seen > 40, "{seen}");
    }

    #[test]
    fn the_firmware_manual_names_the_same_traces() {
        let manual = Path::new(env!("CARGO_MANIFEST_DIR")).join("../firmware-ref/MANUAL.md");
        let text = std::fs::read_to_string(manual).unwrap();
        let (_, traces) = text.split_once("Traces of L3").unwrap();
        let (traces, _) = traces.split_once("\n## ").unwrap();
        let mut told: Vec<&str> = traces.split('`').skip(1).step_by(2).collect();
        let first = EVENTS.iter().position(|name| *name == "l3-started");
        let mut made = EVENTS[first.unwrap()..].to_vec();
        // Every level makes this one.
        made.push("boot-error");
        made.sort_unstable();
        told.sort_unstable();
        assert_eq!(told, made);
    }

    #[test]
    fn every_event_that_happened_in_a_golden_has_its_name_here() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../golden");
        let mut seen = 0;
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|end| end != "snap") {
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let parts = || text.split("\n\n");
            // Time and place before it; or, of boards that run freely, a part for each place.
            let told = |beginning: &'static str, nth| {
                let parts = parts().filter(move |part| part.starts_with(beginning));
                let lines = parts.flat_map(|part| part.lines().skip(1));
                lines.map(move |line| line.split_whitespace().nth(nth).unwrap())
            };
            for name in told("timeline", 2).chain(told("at ", 0)) {
                let known = EVENTS.contains(&name) || name == "|" || name == "ended";
                assert!(known, "{}: `{name}`", path.display());
                seen += 1;
            }
        }
        assert!(seen > 1000, "{seen}");
    }
}
