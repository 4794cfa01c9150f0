use std::io;

use thiserror::Error;

use super::record::Line;

/// Something that reads the stream of records.
pub trait Sink {
    /// Takes one record.
    ///
    /// # Errors
    /// The report cannot be written.
    fn take(&mut self, line: &Line) -> Result<(), SinkError>;

    /// Whether it wants to hear of every frame on the CAN bus.
    fn wants_can_frames(&self) -> bool {
        false
    }
}

/// A report cannot be written.
#[derive(Debug, Error)]
#[error("the report {name} cannot be written")]
pub struct SinkError {
    /// Which report.
    pub name: String,
    /// Why.
    #[source]
    pub source: io::Error,
}

impl SinkError {
    /// Whether whoever read our output has gone away, which is their right.
    pub fn is_broken_pipe(&self) -> bool {
        self.source.kind() == io::ErrorKind::BrokenPipe
    }
}

/// Hands the stream to many sinks.
#[derive(Default)]
pub struct Fan<'s>(Vec<Box<dyn Sink + 's>>);

impl std::fmt::Debug for Fan<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Fan").field(&self.0.len()).finish()
    }
}

impl<'s> Fan<'s> {
    /// Adds a sink.
    pub fn add(&mut self, sink: impl Sink + 's) {
        self.0.push(Box::new(sink));
    }
}

impl Sink for Fan<'_> {
    /// Every sink gets the record, even when one before it fails.
    fn take(&mut self, line: &Line) -> Result<(), SinkError> {
        let mut first = Ok(());
        for sink in &mut self.0 {
            let result = sink.take(line);
            if first.is_ok() {
                first = result;
            }
        }
        first
    }

    fn wants_can_frames(&self) -> bool {
        self.0.iter().any(|sink| sink.wants_can_frames())
    }
}

impl Sink for Vec<Line> {
    fn take(&mut self, line: &Line) -> Result<(), SinkError> {
        self.push(line.clone());
        Ok(())
    }
}
