//! One stream of records feeds every report.
//!
//! * [`Record`], [`Line`] — what runs have to say; a run makes nothing else known.
//! * [`Sink`] — something that reads the stream; [`Fan`] hands it to many.
//! * [`Console`] — progress, failures and totals for people; [`timeline`] — one line an event.
//! * [`CanTraces`] — the frames of CAN buses, for `candump`'s friends and Wireshark.
//! * [`Junit`], [`JsonLines`], [`Html`] — files; each is whole after every scenario that finished,
//!   so a run that dies leaves a report.
//!
//! Reporters see this stream and nothing of the machine.

mod can;
mod console;
mod fan;
mod html;
mod json_lines;
mod junit;
mod record;
#[cfg(test)]
mod sample;
mod timeline;

pub use can::CanTraces;
pub use console::Console;
pub use fan::{Fan, Sink, SinkError};
pub use html::Html;
pub use json_lines::{JsonLines, read_json_lines};
pub use junit::Junit;
pub use record::{Figure, Line, Record, Totals, Verdict};
pub use timeline::timeline;
