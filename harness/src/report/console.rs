use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::fan::{Sink, SinkError};
use super::record::{Line, Record, Verdict};
use super::timeline::timeline;

/// Tells people how a run goes: a bar while it lasts, a line per scenario, and all there is to say
/// about one that did not pass.
#[derive(Debug)]
pub struct Console<W: Write> {
    out: W,
    colours: bool,
    /// Whether every event is shown as it happens.
    show_timeline: bool,
    bar: ProgressBar,
    cases: BTreeMap<String, Case>,
    jobs: usize,
}

#[derive(Debug, Default)]
struct Case {
    /// Held back while other scenarios run beside it, so that stories do not mingle.
    timeline: Vec<String>,
    name: String,
    repeat: String,
    path: String,
    complaints: Vec<String>,
    figures: Vec<String>,
}

const GREEN: &str = "32";
const RED: &str = "31";
const YELLOW: &str = "33";
const DIM: &str = "2";

impl<W: Write> Console<W> {
    /// Writes to `out`; the bar goes to the error output where `bar` says so.
    pub fn new(out: W, colours: bool, bar: bool, show_timeline: bool) -> Console<W> {
        let target = match bar {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        };
        Console {
            out,
            colours,
            show_timeline,
            bar: ProgressBar::with_draw_target(None, target),
            cases: BTreeMap::new(),
            jobs: 1,
        }
    }

    fn paint(&self, code: &str, text: &str) -> String {
        match self.colours {
            true => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            false => text.to_owned(),
        }
    }

    /// Writes above the bar.
    fn say(&mut self, text: &str) -> Result<(), SinkError> {
        let out = &mut self.out;
        self.bar
            .suspend(|| writeln!(out, "{text}").and_then(|()| out.flush()))
            .map_err(|source| SinkError {
                name: "on the console".to_owned(),
                source,
            })
    }

    fn begin(&mut self, planned: usize) {
        // The template is fixed text; without it the bar keeps its usual look.
        if let Ok(style) = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {msg}") {
            self.bar.set_style(style);
        }
        self.bar.set_length(planned as u64);
        self.bar.enable_steady_tick(Duration::from_millis(200));
    }

    /// Moves the bar of a sweep, which says how fast it is and how long it will take.
    fn sweep(&mut self, played: u64, cases: u64, failed: usize) {
        if self.bar.length().is_none() {
            let look = "{bar:30} {pos}/{len} cases, {per_sec}, {eta} left {msg}";
            if let Ok(style) = ProgressStyle::with_template(look) {
                self.bar.set_style(style);
            }
            self.bar.enable_steady_tick(Duration::from_millis(200));
        }
        self.bar.set_length(cases);
        self.bar.set_position(played);
        if failed > 0 {
            self.bar.set_message(format!("{failed} failed"));
        }
    }

    fn end_of_case(
        &mut self,
        id: &str,
        verdict: Verdict,
        message: &str,
        wall_ms: u64,
    ) -> Result<(), SinkError> {
        let case = self.cases.remove(id).unwrap_or_default();
        self.bar.inc(1);
        for line in &case.timeline {
            self.say(line)?;
        }
        let word = match verdict {
            Verdict::Passed => self.paint(GREEN, "pass"),
            Verdict::Failed => self.paint(RED, "FAIL"),
            Verdict::Broken => self.paint(YELLOW, "BROKEN"),
        };
        let wall = self.paint(DIM, &format!("{wall_ms} ms"));
        self.say(&format!("{word} {id}: {} {wall}", case.name))?;
        if self.show_timeline {
            for figure in &case.figures {
                self.say(&format!("     {figure}"))?;
            }
        }
        if verdict == Verdict::Passed {
            return Ok(());
        }
        for complaint in case.complaints.iter().map(String::as_str).chain([message]) {
            for line in complaint.lines() {
                self.say(&format!("     {line}"))?;
            }
        }
        self.say(&format!("     repeat with: {}", case.repeat))
    }
}

impl<W: Write> Sink for Console<W> {
    fn take(&mut self, line: &Line) -> Result<(), SinkError> {
        if self.show_timeline
            && let Some(text) = timeline(line)
        {
            match &line.scenario {
                Some(id) if self.jobs > 1 => {
                    let case = self.cases.entry(id.clone()).or_default();
                    case.timeline.push(text);
                }
                _ => self.say(&text)?,
            }
        }
        let Some(id) = &line.scenario else {
            return match &line.record {
                Record::RunStarted { planned, jobs } => {
                    self.jobs = *jobs;
                    self.begin(*planned);
                    Ok(())
                }
                Record::RunFinished { totals, wall_ms } => {
                    self.bar.finish_and_clear();
                    let word = |count: usize, word: &str| match count {
                        0 => String::new(),
                        _ => format!(", {count} {word}"),
                    };
                    self.say(&format!(
                        "{} passed{}{} in {}.{:03} s",
                        totals.passed,
                        word(totals.failed, "failed"),
                        word(totals.broken, "broken"),
                        wall_ms / 1000,
                        wall_ms % 1000
                    ))
                }
                Record::SweepProgress {
                    played,
                    cases,
                    failed,
                } => {
                    self.sweep(*played, *cases, *failed);
                    Ok(())
                }
                _ => Ok(()),
            };
        };
        let case = self.cases.entry(id.clone()).or_default();
        match &line.record {
            Record::ScenarioStarted {
                name, path, repeat, ..
            } => {
                case.name.clone_from(name);
                case.path.clone_from(path);
                case.repeat.clone_from(repeat);
                self.bar.set_message(id.clone());
            }
            Record::Expectation {
                id,
                line,
                passed: false,
                message,
                ..
            } => {
                let text = format!("{}:{line}: {} did not hold: {message}", case.path, id.part);
                case.complaints.push(text);
            }
            Record::FaultSilent { text, .. } => {
                case.complaints.push(format!("fault never fired: {text}"));
            }
            Record::InvariantBroken {
                invariant,
                time,
                text,
            } => {
                let text = format!("invariant {invariant} broken at {time}: {text}");
                case.complaints.push(text);
            }
            Record::Golden {
                path,
                same: false,
                difference,
                blessed,
            } => {
                if *blessed {
                    let text = format!("blessed {path}");
                    return self.say(&text);
                }
                case.complaints.push(format!(
                    "differs from {path} (read it, then --bless):\n{difference}"
                ));
            }
            Record::Figures { figures } => {
                let lines = figures
                    .iter()
                    .map(|f| format!("{}: {} {}", f.name, f.value, f.unit));
                case.figures.extend(lines);
            }
            Record::ScenarioFinished {
                verdict,
                message,
                wall_ms,
                ..
            } => return self.end_of_case(id, *verdict, message, *wall_ms),
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::sample::sample;
    use super::*;

    fn shown(colours: bool, show_timeline: bool) -> String {
        let mut bytes = Vec::new();
        let mut console = Console::new(&mut bytes, colours, false, show_timeline);
        for line in sample() {
            console.take(&line).unwrap();
        }
        drop(console);
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn a_run_as_people_see_it() {
        insta::assert_snapshot!(shown(false, false));
        insta::assert_snapshot!(shown(false, true));
    }

    #[test]
    fn colours_only_where_asked_for() {
        assert!(!shown(false, true).contains('\u{1b}'));
        assert!(shown(true, false).contains("\u{1b}[31mFAIL"));
    }
}
