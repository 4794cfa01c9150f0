//! Parameter data: what an answer carries that does not come from the disk.

/// Largest parameter data this target returns.
pub const PARAMETERS_MAX: usize = 160;

/// Parameter data under construction or ready to travel.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Parameters {
    bytes: [u8; PARAMETERS_MAX],
    length: usize,
}

impl Parameters {
    /// No bytes yet.
    pub const fn new() -> Parameters {
        Parameters {
            bytes: [0; PARAMETERS_MAX],
            length: 0,
        }
    }

    /// The bytes so far.
    pub fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.length).unwrap_or_default()
    }

    /// Appends `bytes`; what does not fit is dropped.
    pub fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            if let Some(place) = self.bytes.get_mut(self.length) {
                *place = byte;
                self.length += 1;
            }
        }
    }

    /// Appends `text` in a field of `width` bytes, left-aligned, padded with spaces
    /// (SPC-4 §4.4.1).
    pub fn push_text(&mut self, text: &[u8], width: usize) {
        for i in 0..width {
            self.push(&[text.get(i).copied().unwrap_or(b' ')]);
        }
    }

    /// Overwrites what stands at `at`; bytes outside are dropped.
    pub fn put(&mut self, at: usize, bytes: &[u8]) {
        for (i, &byte) in bytes.iter().enumerate() {
            if at.saturating_add(i) < self.length
                && let Some(place) = self.bytes.get_mut(at + i)
            {
                *place = byte;
            }
        }
    }

    /// The first `allocation_length` bytes: longer data is cut, not an error (SPC-4 §4.3.4.6).
    #[must_use]
    pub fn truncated(mut self, allocation_length: usize) -> Parameters {
        self.length = self.length.min(allocation_length);
        self
    }

    /// Number of bytes so far, as the 8-bit length fields want it.
    pub(crate) fn length_u8(&self) -> u8 {
        u8::try_from(self.length).unwrap_or(u8::MAX)
    }
}

impl Default for Parameters {
    fn default() -> Parameters {
        Parameters::new()
    }
}

impl core::fmt::Debug for Parameters {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Parameters({:02x?})", self.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_dropped_and_what_is_not_wanted_is_cut() {
        let mut p = Parameters::new();
        p.push(&[1; PARAMETERS_MAX + 5]);
        assert_eq!(p.as_bytes().len(), PARAMETERS_MAX);
        p.put(PARAMETERS_MAX - 1, &[7, 8]);
        assert_eq!(p.truncated(3).as_bytes(), [1, 1, 1]);
    }
}
