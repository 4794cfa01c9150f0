use std::io::{BufRead, Write};

use super::fan::{Sink, SinkError};
use super::record::Line;

/// Writes one JSON object a line, each at once.
#[derive(Debug)]
pub struct JsonLines<W: Write> {
    name: String,
    writer: W,
}

impl<W: Write> JsonLines<W> {
    /// Writes to `writer`, called `name` in messages.
    pub fn new(name: &str, writer: W) -> JsonLines<W> {
        JsonLines {
            name: name.to_owned(),
            writer,
        }
    }
}

impl<W: Write> Sink for JsonLines<W> {
    fn take(&mut self, line: &Line) -> Result<(), SinkError> {
        let mut write = || {
            let mut text = serde_json::to_string(line)?;
            text.push('\n');
            self.writer.write_all(text.as_bytes())?;
            self.writer.flush()
        };
        write().map_err(|source| SinkError {
            name: self.name.clone(),
            source,
        })
    }
}

/// Longest line of a record file; a line is one event or one message.
const LONGEST_LINE: usize = 1 << 20;

/// Reads back what [`JsonLines`] wrote.
///
/// # Errors
/// The line that is no record, and why.
pub fn read_json_lines(reader: impl BufRead) -> Result<Vec<Line>, String> {
    let mut lines = Vec::new();
    let mut reader = reader;
    for number in 1_usize.. {
        let mut text = String::new();
        let read = std::io::Read::take(&mut reader, LONGEST_LINE as u64)
            .read_line(&mut text)
            .map_err(|error| format!("line {number} cannot be read: {error}"))?;
        if read == 0 {
            break;
        }
        if read == LONGEST_LINE && !text.ends_with('\n') {
            return Err(format!("line {number} is too long to be a record"));
        }
        if text.trim().is_empty() {
            continue;
        }
        let line = serde_json::from_str(&text)
            .map_err(|error| format!("line {number} is no record of a run: {error}"))?;
        lines.push(line);
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::super::sample::sample;
    use super::*;

    #[test]
    fn written_and_read_is_the_same() {
        let mut bytes = Vec::new();
        let mut sink = JsonLines::new("test", &mut bytes);
        for line in sample() {
            sink.take(&line).unwrap();
        }
        assert_eq!(read_json_lines(bytes.as_slice()).unwrap(), sample());
    }

    #[test]
    fn the_form_is_stable() {
        let mut bytes = Vec::new();
        for line in sample() {
            JsonLines::new("test", &mut bytes).take(&line).unwrap();
        }
        insta::assert_snapshot!(String::from_utf8(bytes).unwrap());
    }

    #[test]
    fn a_line_that_is_no_record_is_named() {
        let error = read_json_lines(&b"\n{\"x\":1}\n"[..]).unwrap_err();
        assert!(error.starts_with("line 2 is no record"), "{error}");
    }
}
