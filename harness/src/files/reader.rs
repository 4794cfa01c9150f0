use std::cell::RefCell;
use std::fmt::Display;
use std::ops::{Range, RangeInclusive};
use std::str::FromStr;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::diagnostic::Findings;
use super::suggest::nearest;

/// A TOML value with its place.
pub type Value<'t> = Spanned<DeValue<'t>>;

/// One TOML table, read key by key.
///
/// Every wrong value is noted in the [`Findings`] and read as absent, so reading goes on and finds
/// the next. Keys that nobody asked for are noted by [`Reader::finish`], with a suggestion out of
/// those that were asked for.
#[derive(Debug)]
pub struct Reader<'t> {
    table: &'t DeTable<'t>,
    span: Range<usize>,
    what: String,
    findings: &'t Findings,
    asked: RefCell<Vec<&'static str>>,
}

impl<'t> Reader<'t> {
    /// Reads `table`; `what` names it in messages (`a cut step`).
    pub fn new(
        table: &'t DeTable<'t>,
        span: Range<usize>,
        what: impl Into<String>,
        findings: &'t Findings,
    ) -> Reader<'t> {
        Reader {
            table,
            span,
            what: what.into(),
            findings,
            asked: RefCell::default(),
        }
    }

    /// Reads `value` as a table, noting where it is none.
    pub fn of(value: &'t Value<'t>, what: &str, findings: &'t Findings) -> Option<Reader<'t>> {
        match value.get_ref() {
            DeValue::Table(table) => Some(Reader::new(table, value.span(), what, findings)),
            other => {
                findings.at(
                    value.span(),
                    "here",
                    format!("{what} is a table, not {}", article(other)),
                    "write it in braces: { key = value }",
                );
                None
            }
        }
    }

    /// Where the table is.
    pub fn span(&self) -> Range<usize> {
        self.span.clone()
    }

    /// Where `key` is, or the whole table where it is absent.
    pub fn span_of(&self, key: &str) -> Range<usize> {
        self.table.get(key).map_or(self.span(), Spanned::span)
    }

    /// Where problems go.
    pub fn findings(&self) -> &'t Findings {
        self.findings
    }

    /// Notes a problem at `key`.
    pub fn complain(&self, key: &str, what: impl Into<String>, remedy: impl Into<String>) {
        self.findings.at(self.span_of(key), "here", what, remedy);
    }

    /// Whether the table has `key`; it counts as asked for.
    pub fn has(&self, key: &'static str) -> bool {
        self.value(key).is_some()
    }

    /// All keys with their places, whether asked for or not.
    pub fn keys(&self) -> impl Iterator<Item = (&'t str, Range<usize>)> {
        self.table
            .keys()
            .map(|key| (key.get_ref().as_ref(), key.span()))
    }

    /// All entries, for tables whose keys are names (`{ A = 1, B = 2 }`).
    pub fn entries(&self) -> impl Iterator<Item = (&'t str, Range<usize>, &'t Value<'t>)> {
        self.table
            .iter()
            .map(|(key, value)| (key.get_ref().as_ref(), key.span(), value))
    }

    /// The raw value of `key`.
    pub fn value(&self, key: &'static str) -> Option<&'t Value<'t>> {
        self.asked.borrow_mut().push(key);
        self.table.get(key)
    }

    /// The text of `key`.
    pub fn string(&self, key: &'static str) -> Option<&'t str> {
        string_of(self.value(key)?, key, self.findings)
    }

    /// The text of `key`, of at most `longest` bytes; noted where it is absent.
    pub fn required(&self, key: &'static str, longest: usize, remedy: &str) -> Option<&'t str> {
        if !self.has(key) {
            self.findings.at(
                self.span(),
                "here",
                format!("{} needs `{key}`", self.what),
                remedy,
            );
            return None;
        }
        let text = self.string(key)?;
        if text.is_empty() || text.len() > longest {
            self.complain(key, format!("`{key}` has 1 to {longest} bytes"), remedy);
            return None;
        }
        Some(text)
    }

    /// The text of `key`, parsed.
    pub fn parsed<T: FromStr<Err: Display>>(&self, key: &'static str) -> Option<T> {
        let text = self.string(key)?;
        text.parse()
            .map_err(|error: T::Err| self.complain(key, error.to_string(), "correct it"))
            .ok()
    }

    /// The text of `key` as one of a closed set of words.
    pub fn word<T: Copy>(&self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let value = self.value(key)?;
        let text = string_of(value, key, self.findings)?;
        word_of(text, value.span(), key, words, self.findings)
    }

    /// The number of `key`, within bounds.
    pub fn integer(&self, key: &'static str, bounds: RangeInclusive<u64>) -> Option<u64> {
        let value = self.value(key)?;
        integer_of(value, key, bounds, self.findings)
    }

    /// The yes or no of `key`.
    pub fn flag(&self, key: &'static str) -> Option<bool> {
        let value = self.value(key)?;
        let flag = value.get_ref().as_bool();
        if flag.is_none() {
            let wrong = article(value.get_ref());
            self.complain(
                key,
                format!("`{key}` is true or false, not {wrong}"),
                "drop the quotes",
            );
        }
        flag
    }

    /// The texts of `key`: an array of texts, or one text alone.
    pub fn strings(&self, key: &'static str) -> Vec<(&'t str, Range<usize>)> {
        let Some(value) = self.value(key) else {
            return Vec::new();
        };
        let items = match value.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            _ => vec![value],
        };
        items
            .into_iter()
            .filter_map(|item| Some((string_of(item, key, self.findings)?, item.span())))
            .collect()
    }

    /// The table of `key`.
    pub fn table(&self, key: &'static str) -> Option<Reader<'t>> {
        Reader::of(self.value(key)?, &format!("`{key}`"), self.findings)
    }

    /// The elements of the array of `key`.
    pub fn array(&self, key: &'static str) -> Option<Vec<&'t Value<'t>>> {
        let value = self.value(key)?;
        match value.get_ref() {
            DeValue::Array(items) => Some(items.iter().collect()),
            other => {
                let wrong = article(other);
                self.complain(
                    key,
                    format!("`{key}` is an array, not {wrong}"),
                    "write it in brackets: [ … ]",
                );
                None
            }
        }
    }

    /// Notes every key that nobody asked for.
    pub fn finish(self) {
        let asked = self.asked.into_inner();
        for (key, _) in self.table {
            let word = key.get_ref().as_ref();
            if asked.contains(&word) {
                continue;
            }
            let remedy = match nearest(word, asked.iter().copied()) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => {
                    let mut known = asked.clone();
                    known.sort_unstable();
                    known.dedup();
                    format!("{} knows: {}", self.what, known.join(", "))
                }
            };
            self.findings.at(
                key.span(),
                "not known here",
                format!("{} has no key `{word}`", self.what),
                remedy,
            );
        }
    }
}

/// A value as a text, noting where it is none.
pub fn string_of<'t>(value: &'t Value<'t>, key: &str, findings: &Findings) -> Option<&'t str> {
    let text = value.get_ref().as_str();
    if text.is_none() {
        findings.at(
            value.span(),
            "here",
            format!("`{key}` is a text, not {}", article(value.get_ref())),
            "write it in quotes",
        );
    }
    text
}

/// A value as a whole number within bounds, noting where it is none.
pub fn integer_of(
    value: &Value<'_>,
    key: &str,
    bounds: RangeInclusive<u64>,
    findings: &Findings,
) -> Option<u64> {
    let (least, most) = (bounds.start(), bounds.end());
    let number = value
        .get_ref()
        .as_integer()
        .and_then(|n| u64::from_str_radix(n.as_str(), n.radix()).ok())
        .filter(|n| bounds.contains(n));
    if number.is_none() {
        findings.at(
            value.span(),
            "here",
            format!("`{key}` is a whole number from {least} to {most}"),
            "correct it",
        );
    }
    number
}

/// A text as one of a closed set of words, noting where it is none.
pub fn word_of<T: Copy>(
    text: &str,
    span: Range<usize>,
    key: &str,
    words: &[(&str, T)],
    findings: &Findings,
) -> Option<T> {
    let found = words.iter().find(|(word, _)| *word == text);
    if found.is_none() {
        let known: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
        let remedy = match nearest(text, known.iter().copied()) {
            Some(meant) => format!("did you mean \"{meant}\"?"),
            None => format!("say one of: {}", known.join(", ")),
        };
        findings.at(
            span,
            "here",
            format!("`{key}` cannot be \"{text}\""),
            remedy,
        );
    }
    found.map(|(_, meaning)| *meaning)
}

/// The kind of a value in words.
fn article(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "a true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    }
}
