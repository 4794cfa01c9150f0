//! Text without `core::fmt`, which takes 5 KB of a boot ROM of 16: what a ROM tells is said as [`Words`], and everybody
//! else displays the same words.
#![cfg_attr(not(test), no_std)]

use core::fmt;

/// Longest payload of a TRACE (board manual §5.3).
pub const LINE_BYTES: usize = 200;

/// A line in the making: printable ASCII, cut at its length.
#[derive(Clone, Copy, Debug)]
pub struct Line {
    bytes: [u8; LINE_BYTES],
    length: usize,
}

impl Default for Line {
    fn default() -> Line {
        Line {
            bytes: [0; LINE_BYTES],
            length: 0,
        }
    }
}

impl Line {
    /// Adds text. Characters outside printable ASCII become `?`.
    pub fn put(&mut self, text: &str) {
        for byte in text.bytes() {
            // Of a character of more bytes, the first stands for all.
            if byte & 0xc0 != 0x80 {
                self.put_byte(if matches!(byte, b' '..=b'~') {
                    byte
                } else {
                    b'?'
                });
            }
        }
    }

    /// Adds two texts, such as the name of a field and what is in it.
    pub fn put_field(&mut self, name: &str, text: &str) {
        self.put(name);
        self.put(text);
    }

    /// Adds a text and a number in decimal.
    pub fn put_count(&mut self, name: &str, number: u32) {
        self.put(name);
        self.put_number(number);
    }

    /// Adds a number in decimal.
    pub fn put_number(&mut self, number: u32) {
        if number > 9 {
            self.put_number(number / 10);
        }
        self.put_digit(number % 10);
    }

    /// Adds a number in four hexadecimal digits.
    pub fn put_hexadecimal(&mut self, number: u16) {
        for shift in [12, 8, 4, 0] {
            self.put_digit(u32::from(number >> shift & 0xf));
        }
    }

    fn put_digit(&mut self, digit: u32) {
        let digit = b"0123456789abcdef".get(digit as usize);
        self.put_byte(digit.copied().unwrap_or(b'?'));
    }

    fn put_byte(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.length) {
            *place = byte;
            self.length += 1;
        }
    }

    /// What was said.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.put(text);
        Ok(())
    }
}

/// Something that can be said.
pub trait Words {
    /// Says it.
    fn say(&self, line: &mut Line);
}

impl Words for str {
    fn say(&self, line: &mut Line) {
        line.put(self);
    }
}

impl<T: Words + ?Sized> Words for &T {
    fn say(&self, line: &mut Line) {
        (**self).say(line);
    }
}

/// Displays words: for implementations of [`fmt::Display`].
///
/// # Errors
/// Those of the formatter.
pub fn display(words: &impl Words, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let mut line = Line::default();
    words.say(&mut line);
    // It is ASCII.
    f.write_str(core::str::from_utf8(line.as_bytes()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(say: impl FnOnce(&mut Line)) -> String {
        let mut line = Line::default();
        say(&mut line);
        String::from_utf8(line.as_bytes().to_vec()).unwrap()
    }

    #[test]
    fn numbers_read_as_they_always_did() {
        for number in [0, 7, 9, 10, 19, 1000, 65_535, u32::MAX] {
            assert_eq!(said(|line| line.put_number(number)), number.to_string());
        }
        for number in [0, 0xa, 0x1a2b, u16::MAX] {
            let text = said(|line| line.put_hexadecimal(number));
            assert_eq!(text, format!("{number:04x}"));
        }
    }

    #[test]
    fn a_line_is_printable_and_has_an_end() {
        assert_eq!(said(|line| line.put("µs\t€~ ")), "?s??~ ");
        let long = "x".repeat(LINE_BYTES - 1);
        let cut = said(|line| {
            long.as_str().say(line);
            line.put("yz");
        });
        assert_eq!(cut, long + "y");
    }
}
