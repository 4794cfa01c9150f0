//! What a board said on its console.

use std::collections::BTreeSet;

/// Every line of a console.
#[derive(Clone, Debug, Default)]
pub(super) struct Transcript {
    lines: Vec<String>,
    /// Lines whose end the board did not come to say.
    cut_off: BTreeSet<usize>,
}

/// How far a console was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Which line, from 0.
    pub line: usize,
    /// Bytes of it.
    pub byte: usize,
}

impl Transcript {
    pub(super) fn take(&mut self, line: &str, whole: bool) {
        if !whole {
            self.cut_off.insert(self.lines.len());
        }
        self.lines.push(line.to_owned());
    }

    pub(super) fn lines(&self) -> &[String] {
        &self.lines
    }

    /// Every line that the board said to its end, with its number.
    pub(super) fn whole_lines(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.lines.iter().map(String::as_str).enumerate();
        lines.filter(|(number, _)| !self.cut_off.contains(number))
    }

    /// The place behind everything, where the board is saying `unfinished`.
    pub(super) fn end(&self, unfinished: &str) -> Place {
        Place {
            line: self.lines.len(),
            byte: unfinished.len(),
        }
    }

    /// Looks for `text` within a line from `from` on: the place behind it, or else how far there is nothing
    /// left to look at.
    pub(super) fn find(&self, from: Place, text: &str, unfinished: &str) -> Result<Place, Place> {
        let mut place = from;
        loop {
            let finished = self.lines.get(place.line).map(String::as_str);
            let rest = finished.unwrap_or(unfinished).get(place.byte..);
            if let Some(at) = rest.and_then(|rest| rest.find(text)) {
                place.byte += at + text.len();
                return Ok(place);
            }
            if finished.is_none() {
                return Err(place);
            }
            place = Place {
                line: place.line + 1,
                byte: 0,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(line: usize, byte: usize) -> Place {
        Place { line, byte }
    }

    #[test]
    fn text_is_found_once_and_in_an_unfinished_line_too() {
        let mut said = Transcript::default();
        said.take("=> version", true);
        let prompt = said.find(place(0, 0), "=> ", "=> ");
        assert_eq!(prompt, Ok(place(0, 3)));
        assert_eq!(said.find(place(0, 3), "=> ", ""), Err(place(1, 0)));
        assert_eq!(said.find(place(0, 3), "=> ", "=> "), Ok(place(1, 3)));
        assert_eq!(said.find(place(1, 3), "=> ", "=> "), Err(place(1, 3)));
        // What was found in an unfinished line is not found again in the finished one.
        said.take("=> ls", true);
        assert_eq!(said.find(place(1, 3), "=> ", ""), Err(place(2, 0)));
        assert_eq!(said.end("=>"), place(2, 2));
    }

    #[test]
    fn a_line_cut_off_says_nothing() {
        let mut said = Transcript::default();
        said.take("stored 1", true);
        said.take("stor", false);
        assert_eq!(said.whole_lines().collect::<Vec<_>>(), [(0, "stored 1")]);
        assert_eq!(said.lines().len(), 2);
    }
}
