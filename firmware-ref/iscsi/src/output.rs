//! PDUs on their way out.

use zerocopy::IntoBytes;

use crate::pdu::{HEADER_BYTES, Response, data_length, padding};

/// Bytes that wait for TCP, in one stretch of memory.
#[derive(Debug)]
pub(crate) struct Output<'m> {
    bytes: &'m mut [u8],
    start: usize,
    end: usize,
}

impl<'m> Output<'m> {
    pub(crate) fn new(bytes: &'m mut [u8]) -> Output<'m> {
        Output {
            bytes,
            start: 0,
            end: 0,
        }
    }

    pub(crate) fn clear(&mut self) {
        self.start = 0;
        self.end = 0;
    }

    pub(crate) fn room(&self) -> usize {
        self.bytes.len() - (self.end - self.start)
    }

    pub(crate) fn waiting(&self) -> &[u8] {
        self.bytes.get(self.start..self.end).unwrap_or_default()
    }

    pub(crate) fn sent(&mut self, bytes: usize) {
        self.start = self.start.saturating_add(bytes).min(self.end);
        if self.start == self.end {
            self.clear();
        }
    }

    /// Adds a PDU; `header` gets its data's length here. The connection takes nothing in that could
    /// need more room than there is.
    pub(crate) fn put(&mut self, mut header: Response, parts: &[&[u8]]) {
        let data: usize = parts.iter().map(|part| part.len()).sum();
        header.data_length = data_length(data);
        if self.bytes.len() - self.end < HEADER_BYTES + data + padding(data) {
            self.bytes.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
        }
        self.append(header.as_bytes());
        for part in parts {
            self.append(part);
        }
        let zeros = [0; 4];
        self.append(zeros.get(..padding(data)).unwrap_or_default());
    }

    fn append(&mut self, bytes: &[u8]) {
        let end = self.end.saturating_add(bytes.len());
        if let Some(place) = self.bytes.get_mut(self.end..end) {
            place.copy_from_slice(bytes);
            self.end = end;
        }
    }
}
