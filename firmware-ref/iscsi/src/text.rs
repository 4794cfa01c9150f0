//! `key=value` texts, each ended by a zero byte (RFC 7143 §6.1).

use core::fmt::{self, Write};

/// Longest value of a key, and longest key (§6.1).
const VALUE_MAX: usize = 255;
const KEY_MAX: usize = 63;

/// Bytes that are no text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// The pairs of a text, in order.
pub fn pairs(text: &[u8]) -> impl Iterator<Item = Result<(&str, &str), Malformed>> {
    let parts = text.split(|byte| *byte == 0);
    parts.filter(|part| !part.is_empty()).map(|part| {
        let part = core::str::from_utf8(part).map_err(|_| Malformed)?;
        let (key, value) = part.split_once('=').ok_or(Malformed)?;
        if key.is_empty() || key.len() > KEY_MAX || value.len() > VALUE_MAX {
            return Err(Malformed);
        }
        Ok((key, value))
    })
}

/// The value of a number (§6.1: decimal, or hexadecimal after `0x`).
pub fn number(value: &str) -> Option<u32> {
    match value
        .strip_prefix("0x")
        .or_else(|| value.strip_prefix("0X"))
    {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => value.parse().ok(),
    }
}

/// Whether a list of values has `wanted` among them.
pub fn offers(list: &str, wanted: &str) -> bool {
    list.split(',').any(|value| value == wanted)
}

/// A text under construction.
#[derive(Debug)]
pub struct TextWriter<'a> {
    bytes: &'a mut [u8],
    length: usize,
    overflowed: bool,
}

impl<'a> TextWriter<'a> {
    /// An empty one, to be written into `bytes`.
    pub fn new(bytes: &'a mut [u8]) -> TextWriter<'a> {
        TextWriter {
            bytes,
            length: 0,
            overflowed: false,
        }
    }

    /// Adds a pair.
    pub fn pair(&mut self, key: &str, value: impl fmt::Display) {
        let written = write!(self, "{key}={value}\0");
        self.overflowed |= written.is_err();
    }

    /// Its length; `None` where not everything fitted.
    pub fn length(&self) -> Option<usize> {
        (!self.overflowed).then_some(self.length)
    }
}

impl Write for TextWriter<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length.saturating_add(text.len());
        let place = self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?;
        place.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

/// A name of an initiator or target, kept (§4.2.7.1: at most 223 bytes).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Name {
    bytes: [u8; Name::MAX],
    length: usize,
}

impl Name {
    /// Longest name.
    pub const MAX: usize = 223;

    /// Keeps `name`; `None` for one that is empty or too long.
    pub fn new(name: &str) -> Option<Name> {
        let mut bytes = [0; Name::MAX];
        bytes
            .get_mut(..name.len())?
            .copy_from_slice(name.as_bytes());
        (!name.is_empty()).then_some(Name {
            bytes,
            length: name.len(),
        })
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        let bytes = self.bytes.get(..self.length).unwrap_or_default();
        core::str::from_utf8(bytes).unwrap_or_default()
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_are_written_and_read() {
        let mut bytes = [0; 64];
        let mut writer = TextWriter::new(&mut bytes);
        writer.pair("SessionType", "Discovery");
        writer.pair("MaxBurstLength", 8192);
        let length = writer.length().unwrap();
        let found: Vec<_> = pairs(&bytes[..length]).map(Result::unwrap).collect();
        assert_eq!(
            found,
            [("SessionType", "Discovery"), ("MaxBurstLength", "8192")]
        );
    }

    #[test]
    fn what_does_not_fit_is_noticed() {
        let mut writer_room = [0; 8];
        let mut writer = TextWriter::new(&mut writer_room);
        writer.pair("a", 1);
        writer.pair("long", "value");
        assert_eq!(writer.length(), None);
    }

    #[test]
    fn what_is_no_pair_is_malformed() {
        for text in [&b"novalue\0"[..], b"=1\0", b"a=\xff\0", &[b'a'; 300]] {
            assert_eq!(pairs(text).next(), Some(Err(Malformed)), "{text:?}");
        }
        assert_eq!(number("0x2000"), Some(8192));
        assert_eq!((number("-1"), number("0x")), (None, None));
    }

    proptest! {
        #[test]
        fn any_bytes_are_pairs_or_malformed(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
            for (key, value) in pairs(&bytes).flatten() {
                prop_assert!(key.len() <= KEY_MAX && value.len() <= VALUE_MAX);
            }
        }
    }
}
