use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::Range;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, NamedSource, SourceCode,
};
use thiserror::Error;

/// One thing wrong with a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub remedy: String,
    /// Where, and what to write under it.
    pub place: Option<(Range<usize>, String)>,
}

impl Problem {
    /// A problem with the file as a whole.
    pub fn new(what: impl Into<String>, remedy: impl Into<String>) -> Problem {
        Problem {
            what: what.into(),
            remedy: remedy.into(),
            place: None,
        }
    }

    /// The same problem, at a place.
    #[must_use]
    pub fn at(mut self, span: Range<usize>, label: impl Into<String>) -> Problem {
        self.place = Some((span, label.into()));
        self
    }
}

/// Collects problems, so that a file is complained about once and not line by line.
#[derive(Debug, Default)]
pub struct Findings(RefCell<Vec<Problem>>);

impl Findings {
    /// Notes one problem.
    pub fn add(&self, problem: Problem) {
        self.0.borrow_mut().push(problem);
    }

    /// Notes a problem at `span`.
    pub fn at(
        &self,
        span: Range<usize>,
        label: &str,
        what: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.add(Problem::new(what, remedy).at(span, label));
    }

    /// Whether nothing is wrong so far.
    pub fn is_empty(&self) -> bool {
        self.0.borrow().is_empty()
    }

    /// Everything noted, in the order of the file.
    pub fn into_problems(self) -> Vec<Problem> {
        let mut problems = self.0.into_inner();
        // The same text can be read twice, once for each bank it stands for.
        let mut seen = BTreeSet::new();
        problems.retain(|problem| {
            let start = problem.place.as_ref().map(|(span, _)| span.start);
            seen.insert((start, problem.what.clone()))
        });
        problems.sort_by_key(|problem| problem.place.as_ref().map_or(0, |(span, _)| span.start));
        problems
    }
}

/// A file that cannot be used, and why.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub struct FileError {
    name: String,
    text: String,
    problems: Vec<Problem>,
}

impl fmt::Display for FileError {
    /// The plain form; [`FileError::render`] has the one for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.render(false).trim_end())
    }
}

/// More of them would bury the first, which often causes the rest.
const PROBLEMS_SHOWN: usize = 12;
/// What is shown of a line; a hostile file may have one line of half a megabyte.
const LINE_CHARS: usize = 160;
const WIDTH: usize = 100;

impl FileError {
    /// An error with one problem.
    pub fn of(name: &str, text: &str, problem: Problem) -> FileError {
        FileError::new(name, text, vec![problem])
    }

    /// An error with many.
    pub fn new(name: &str, text: &str, problems: Vec<Problem>) -> FileError {
        FileError {
            name: name.to_owned(),
            text: text.to_owned(),
            problems,
        }
    }

    /// Everything that is wrong.
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// The error as people read it: file, line, the text with a mark under the culprit, remedy.
    pub fn render(&self, colours: bool) -> String {
        let theme = match colours {
            true => GraphicalTheme::unicode(),
            false => GraphicalTheme::unicode_nocolor(),
        };
        let handler = GraphicalReportHandler::new_themed(theme)
            .with_links(false)
            // A name broken at its dash cannot be pasted.
            .with_word_separator(textwrap::WordSeparator::AsciiSpace)
            .with_word_splitter(textwrap::WordSplitter::NoHyphenation)
            .with_width(WIDTH);
        let mut out = String::new();
        for problem in self.problems.iter().take(PROBLEMS_SHOWN) {
            let report = Report::new(&self.name, &self.text, problem);
            // Writing to a string fails only if the renderer gives up; then the bare words stay.
            if handler.render_report(&mut out, &report).is_err() {
                out.push_str(&format!("{report}\n"));
            }
            out.push('\n');
        }
        if let Some(more) = self
            .problems
            .len()
            .checked_sub(PROBLEMS_SHOWN)
            .filter(|n| *n > 0)
        {
            out.push_str(&format!("  … and {more} more problems in {}\n", self.name));
        }
        out
    }
}

/// One problem with the few lines it is about, as miette wants it.
#[derive(Debug)]
struct Report<'p> {
    problem: &'p Problem,
    what: String,
    label: Option<LabeledSpan>,
    source: NamedSource<String>,
}

impl<'p> Report<'p> {
    fn new(name: &str, text: &str, problem: &'p Problem) -> Report<'p> {
        let shown = problem.place.as_ref().map(|(span, label)| {
            let (text, span) = excerpt(text, span.clone());
            (
                text,
                LabeledSpan::new(Some(harmless(label)), span.start, span.len()),
            )
        });
        let (text, label) =
            shown.map_or((String::new(), None), |(text, label)| (text, Some(label)));
        // A problem without a place shows no excerpt that would name the file.
        let what = match label {
            Some(_) => harmless(&problem.what),
            None => format!("{}: {}", harmless(name), harmless(&problem.what)),
        };
        Report {
            problem,
            what,
            label,
            source: NamedSource::new(harmless(name), text),
        }
    }
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl std::error::Error for Report<'_> {}

impl Diagnostic for Report<'_> {
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(harmless(&self.problem.remedy)))
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.label.as_ref().map(|_| &self.source as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let label = self.label.clone()?;
        Some(Box::new(std::iter::once(label)))
    }
}

/// The text with only the lines around `span` kept (so that line numbers stay true), long lines
/// cut short, and the span moved accordingly.
fn excerpt(text: &str, span: Range<usize>) -> (String, Range<usize>) {
    let start = floor(text, span.start.min(text.len()));
    let end = floor(text, span.end.clamp(start, text.len()));
    let mut out = String::new();
    let mut moved = 0..0;
    let mut offset = 0;
    for line in text.split_inclusive('\n') {
        let (begins, ends) = (offset, offset + line.len());
        offset = ends;
        let body = line.strip_suffix('\n').unwrap_or(line);
        let holds = (begins..ends).contains(&start) || (start == text.len() && ends == start);
        if holds {
            let from = (start - begins).min(body.len());
            // A span over many lines is shown by its first.
            let to = (end - begins).min(body.len()).max(from);
            let (shown, within) = cut_short(body, from..to);
            moved = out.len() + within.start..out.len() + within.end;
            out.push_str(&shown);
        } else if begins.abs_diff(start) < 2 * LINE_CHARS {
            out.push_str(&cut_short(body, 0..0).0);
        }
        if line.ends_with('\n') {
            out.push('\n');
        }
    }
    (out, moved)
}

/// At most [`LINE_CHARS`] characters of `line`, those around `keep`.
fn cut_short(line: &str, keep: Range<usize>) -> (String, Range<usize>) {
    let line = harmless_same_length(line);
    if line.len() <= LINE_CHARS {
        return (line, keep);
    }
    let from = floor(&line, keep.start.saturating_sub(LINE_CHARS / 4));
    let to = floor(&line, (from + LINE_CHARS).min(line.len()));
    let before = if from > 0 { "…" } else { "" };
    let after = if to < line.len() { "…" } else { "" };
    let shift = |at: usize| at.clamp(from, to) - from + before.len();
    let kept = shift(keep.start)..shift(keep.end);
    let middle = line.get(from..to).unwrap_or_default();
    (format!("{before}{middle}{after}"), kept)
}

/// The largest character boundary at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    text.floor_char_boundary(at)
}

/// Text from a file without what could drive a terminal, byte positions kept.
fn harmless_same_length(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            out.extend(std::iter::repeat_n(' ', c.len_utf8()));
        } else {
            out.push(c);
        }
    }
    out
}

/// A message that may quote a file, without what could drive a terminal, and not too long.
fn harmless(text: &str) -> String {
    const LONGEST: usize = 600;
    let mut out: String = text
        .chars()
        .take(LONGEST)
        .map(|c| if c.is_control() && c != '\n' { '?' } else { c })
        .collect();
    if text.chars().nth(LONGEST).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_names_file_line_and_remedy() {
        let text = "name = \"x\"\nslots = 9\n";
        let problem = Problem::new("9 is out of bounds", "choose from 1 to 3").at(19..20, "here");
        insta::assert_snapshot!(FileError::of("pair.toml", text, problem).render(false));
    }

    #[test]
    fn a_huge_line_and_terminal_codes_are_shown_short_and_harmless() {
        let text = format!(
            "a = 1\n{}\u{1b}[31mKEY{}\n",
            "x".repeat(300_000),
            "y".repeat(100_000)
        );
        let at = text.find("KEY").unwrap();
        let problem = Problem::new("bad \u{1b}[31m", "mend it").at(at..at + 3, "here");
        let shown = FileError::of("f", &text, problem).render(false);
        assert!(!shown.contains('\u{1b}'), "{shown}");
        assert!(shown.contains("KEY") && shown.contains("[f:2:"), "{shown}");
        assert!(shown.len() < 2_000, "{}", shown.len());
    }

    #[test]
    fn any_span_can_be_shown() {
        let text = "ä = \"é\"\nö";
        for start in 0..20 {
            for end in start..20 {
                let problem = Problem::new("what", "remedy").at(start..end, "here");
                assert!(
                    FileError::of("f", text, problem)
                        .render(false)
                        .contains("remedy")
                );
            }
        }
    }
}
