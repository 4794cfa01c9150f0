use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

use super::fan::{Sink, SinkError};
use super::record::{Line, Record, Verdict};

/// Keeps a self-contained HTML file: one section a scenario, one lane a place.
///
/// Finished sections are written once; those under way are written behind them and overwritten,
/// so the file is whole whenever somebody looks and writing stays linear in its length.
#[derive(Debug)]
pub struct Html {
    name: String,
    file: File,
    /// Where finished sections end.
    finished: u64,
    running: BTreeMap<String, Section>,
    fresh: usize,
}

#[derive(Debug, Default)]
struct Section {
    id: String,
    head: String,
    lanes: Vec<String>,
    rows: String,
    end: String,
}

/// Records after which running sections are written though none has finished.
const REFRESH: usize = 2_000;
/// The last lane holds what happened at no place of the chassis.
const BENCH: &str = "bench";

const HEAD: &str = include_str!("timeline.html");

impl Html {
    /// Makes the file at `path`.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn create(path: &Path) -> Result<Html, SinkError> {
        let name = path.display().to_string();
        let begin = || {
            let mut file = File::create(path)?;
            file.write_all(HEAD.as_bytes())?;
            Ok(file)
        };
        let file = begin().map_err(|source| SinkError {
            name: name.clone(),
            source,
        })?;
        Ok(Html {
            name,
            file,
            finished: HEAD.len() as u64,
            running: BTreeMap::new(),
            fresh: 0,
        })
    }

    /// Writes `done` for good and everything that runs behind it.
    fn write(&mut self, done: Option<Section>) -> Result<(), SinkError> {
        let write = || {
            self.file.seek(SeekFrom::Start(self.finished))?;
            if let Some(done) = done {
                let text = done.render();
                self.file.write_all(text.as_bytes())?;
                self.finished += text.len() as u64;
            }
            for section in self.running.values() {
                self.file.write_all(section.render().as_bytes())?;
            }
            let end = self.file.stream_position()?;
            self.file.set_len(end)
        };
        self.fresh = 0;
        write().map_err(|source| SinkError {
            name: self.name.clone(),
            source,
        })
    }
}

impl Sink for Html {
    fn take(&mut self, line: &Line) -> Result<(), SinkError> {
        let Some(id) = &line.scenario else {
            return match line.record {
                Record::RunFinished { .. } => self.write(None),
                _ => Ok(()),
            };
        };
        let section = self.running.entry(id.clone()).or_insert_with(|| Section {
            id: id.clone(),
            ..Section::default()
        });
        section.take(&line.record);
        self.fresh += 1;
        match line.record {
            Record::ScenarioFinished { .. } => {
                let done = self.running.remove(id);
                self.write(done)
            }
            Record::ScenarioStarted { .. } => self.write(None),
            _ if self.fresh >= REFRESH => self.write(None),
            _ => Ok(()),
        }
    }
}

impl Section {
    fn take(&mut self, record: &Record) {
        match record {
            Record::ScenarioStarted {
                name,
                path,
                rig,
                seed,
                places,
                repeat,
                ..
            } => {
                self.head = format!(
                    "<h2>{}</h2>\n<p>{} · rig {} · seed {seed}<br><code>{}</code></p>\n",
                    escape(name),
                    escape(path),
                    escape(rig),
                    escape(repeat)
                );
                self.lanes.clone_from(places);
                self.lanes.push(BENCH.to_owned());
            }
            Record::StepStarted { line, text, .. } => {
                self.across("step", &format!("line {line}: {}", escape(text)));
            }
            Record::Happened { time, place, text } => {
                self.lane(&time.to_string(), place, "", &escape(text));
            }
            Record::ConsoleLine { time, place, text } => {
                self.lane(&time.to_string(), place, "console", &escape(text));
            }
            Record::FaultFired { time, text, .. } => {
                self.lane(&time.to_string(), BENCH, "fault", &escape(text));
            }
            Record::InvariantBroken {
                invariant,
                time,
                text,
            } => {
                let text = format!("{} broken: {}", escape(invariant), escape(text));
                self.lane(&time.to_string(), BENCH, "bad", &text);
            }
            Record::Expectation {
                id,
                passed,
                message,
                proves,
                ..
            } => {
                let rows: Vec<String> = proves.iter().map(|row| escape(&row.0)).collect();
                let (class, mark) = if *passed {
                    ("good", "✓")
                } else {
                    ("bad", "✗")
                };
                let text = format!(
                    "{mark} {}: {} {}",
                    escape(&id.part),
                    escape(message),
                    rows.join(" ")
                );
                self.across(class, &text);
            }
            Record::FaultSilent { text, .. } => {
                self.across("bad", &format!("✗ fault never fired: {}", escape(text)));
            }
            Record::Golden {
                path,
                same,
                difference,
                ..
            } => {
                if *same {
                    self.across("good", &format!("✓ as {}", escape(path)));
                } else {
                    let text = format!(
                        "✗ differs from {}<pre>{}</pre>",
                        escape(path),
                        escape(difference)
                    );
                    self.across("bad", &text);
                }
            }
            Record::Figures { figures } => {
                for figure in figures {
                    let text = format!(
                        "{}: {} {}",
                        escape(&figure.name),
                        figure.value,
                        escape(&figure.unit)
                    );
                    self.across("figure", &text);
                }
            }
            Record::ScenarioFinished {
                verdict,
                message,
                time,
                ..
            } => {
                let (class, word) = match verdict {
                    Verdict::Passed => ("good", "passed"),
                    Verdict::Failed => ("bad", "failed"),
                    Verdict::Broken => ("bad", "the bench broke"),
                };
                self.end = format!(
                    "<p class=\"{class}\">{word} at {time} s {}</p>\n",
                    escape(message)
                );
            }
            Record::RunStarted { .. }
            | Record::CanFrame { .. }
            | Record::SweepProgress { .. }
            | Record::RunFinished { .. } => {}
        }
    }

    fn across(&mut self, class: &str, html: &str) {
        let columns = self.lanes.len() + 1;
        self.rows.push_str(&format!(
            "<tr class=\"{class}\"><td colspan=\"{columns}\">{html}</td></tr>\n"
        ));
    }

    fn lane(&mut self, time: &str, place: &str, class: &str, html: &str) {
        let last = self.lanes.len().saturating_sub(1);
        let own = self.lanes.iter().position(|lane| lane == place);
        let lane = own.unwrap_or(last);
        let html = &match own {
            Some(_) => html.to_owned(),
            None => format!("{}: {html}", escape(place)),
        };
        self.rows
            .push_str(&format!("<tr class=\"{class}\"><td>{time}</td>"));
        for index in 0..self.lanes.len() {
            let cell = if index == lane { html } else { "" };
            self.rows.push_str(&format!("<td>{cell}</td>"));
        }
        self.rows.push_str("</tr>\n");
    }

    fn render(&self) -> String {
        let lanes: String = self
            .lanes
            .iter()
            .map(|lane| format!("<th>{}</th>", escape(lane)))
            .collect();
        let end = match self.end.as_str() {
            "" => "<p class=\"bad\">it did not finish</p>\n",
            end => end,
        };
        format!(
            "<section id=\"{}\">\n{}{end}<table>\n<tr><th>virtual time, s</th>{lanes}</tr>\n{}</table>\n</section>\n",
            escape(&self.id),
            self.head,
            self.rows
        )
    }
}

/// Text that stays text within HTML, quotes included.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            _ => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::super::sample::sample;
    use super::*;

    #[test]
    fn the_file_is_whole_after_every_record_that_matters() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("timeline.html");
        let mut sink = Html::create(&path).unwrap();
        for line in sample() {
            sink.take(&line).unwrap();
            let text = fs::read_to_string(&path).unwrap();
            assert_eq!(
                text.matches("<section").count(),
                text.matches("</section>").count()
            );
        }
        let text = fs::read_to_string(&path).unwrap();
        assert!(!text.contains("<script>"));
        insta::assert_snapshot!(text.strip_prefix(HEAD).unwrap());
    }
}
